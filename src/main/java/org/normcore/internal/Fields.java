package org.normcore.internal;

import org.bytedeco.javacpp.Loader;
import org.bytedeco.javacpp.Pointer;
import org.normcore.internal.capi.nc_fp8_args;
import org.normcore.internal.capi.nc_norm_backward_args;
import org.normcore.internal.capi.nc_norm_forward_args;
import org.normcore.internal.capi.nc_rotary_args;

/**
 * The offsets of the fields of the C structures of operands, as compiled. {@code normcore.h}
 * documents the fields. The name of a matrix stands for its address and its row stride, which is
 * the next field.
 */
public final class Fields {
  private Fields() {}

  /** Fields of {@code nc_norm_forward_args}. */
  public static final class Forward {
    static final int BYTES = size(nc_norm_forward_args.class);
    static final int ROWS = field("rows");
    public static final int X = matrix("x");
    public static final int RESIDUAL = matrix("residual");
    public static final int WEIGHT = field("weight");
    public static final int BIAS = field("bias");
    public static final int Y = matrix("y");
    public static final int RESIDUAL_OUT = matrix("residual_out");
    public static final int MEAN = field("mean");
    public static final int RSTD = field("rstd");
    public static final int Y_SCALE = field("y_scale");
    public static final int Y_AMAX = field("y_amax");
    public static final int Y_SCALE_INV = field("y_scale_inv");
    public static final int STREAM = field("stream");

    private Forward() {}

    private static int field(String name) {
      return offset(nc_norm_forward_args.class, name);
    }

    private static int matrix(String name) {
      return offsetOfMatrix(nc_norm_forward_args.class, name);
    }
  }

  /** Fields of {@code nc_norm_backward_args}. Dtypes and modes have 32 bits. */
  public static final class Backward {
    static final int BYTES = size(nc_norm_backward_args.class);
    static final int ROWS = field("rows");
    public static final int X = matrix("x");
    public static final int WEIGHT = field("weight");
    public static final int DY = matrix("dy");
    public static final int MEAN = field("mean");
    public static final int RSTD = field("rstd");
    public static final int DRESIDUAL = matrix("dresidual");
    public static final int DX = matrix("dx");
    public static final int WORKSPACE = field("workspace");
    public static final int WORKSPACE_BYTES = field("workspace_bytes");
    public static final int DWEIGHT = field("dweight");
    public static final int DBIAS = field("dbias");
    public static final int DWEIGHT_DTYPE = field("dweight_dtype");
    public static final int DWEIGHT_MODE = field("dweight_mode");
    public static final int DBIAS_DTYPE = field("dbias_dtype");
    public static final int DBIAS_MODE = field("dbias_mode");
    public static final int STREAM = field("stream");

    private Backward() {}

    private static int field(String name) {
      return offset(nc_norm_backward_args.class, name);
    }

    private static int matrix(String name) {
      return offsetOfMatrix(nc_norm_backward_args.class, name);
    }
  }

  /** Fields of {@code nc_rotary_args}. {@code BACKWARD} has 32 bits. */
  public static final class Rotary {
    static final int BYTES = size(nc_rotary_args.class);
    public static final int BACKWARD = field("backward");
    public static final int BATCH = field("batch");
    public static final int SEQ = field("seq");
    public static final int HEADS = field("heads");

    /** The address of x, followed by its strides of batch, seq and head. */
    public static final int X = heads("x");

    public static final int COS = field("cos");
    public static final int SIN = field("sin");
    public static final int TABLE_BATCH_ROWS = field("table_batch_rows");

    /** The address of y, followed by its strides of batch, seq and head. */
    public static final int Y = heads("y");

    public static final int STREAM = field("stream");

    private Rotary() {}

    private static int field(String name) {
      return offset(nc_rotary_args.class, name);
    }

    private static int heads(String name) {
      int offset = field(name);
      requireNext(offset, 1, field(name + "_batch_stride"));
      requireNext(offset, 2, field(name + "_seq_stride"));
      requireNext(offset, 3, field(name + "_head_stride"));
      return offset;
    }
  }

  /** Fields of {@code nc_fp8_args}. */
  static final class Fp8 {
    static final int BYTES = size(nc_fp8_args.class);
    static final int ROWS = field("rows");
    static final int COLUMNS = field("columns");
    static final int COUNT = field("count");
    static final int X = matrix("x");
    static final int Q = matrix("q");
    static final int Y = matrix("y");
    static final int AMAX = field("amax");
    static final int SCALE = field("scale");
    static final int SCALE_INV = field("scale_inv");
    static final int STREAM = field("stream");

    private Fp8() {}

    private static int field(String name) {
      return offset(nc_fp8_args.class, name);
    }

    private static int matrix(String name) {
      return offsetOfMatrix(nc_fp8_args.class, name);
    }
  }

  private static int size(Class<? extends Pointer> structure) {
    NativeLibrary.ensureLoaded();
    return Loader.sizeof(structure);
  }

  private static int offset(Class<? extends Pointer> structure, String field) {
    NativeLibrary.ensureLoaded();
    return Loader.offsetof(structure, field);
  }

  private static int offsetOfMatrix(Class<? extends Pointer> structure, String field) {
    int offset = offset(structure, field);
    requireNext(offset, 1, offset(structure, field + "_stride"));
    return offset;
  }

  private static void requireNext(int offset, int index, int actual) {
    if (actual != offset + index * Long.BYTES) {
      throw new AssertionError("normcore.h: fields are not in the expected order");
    }
  }
}
