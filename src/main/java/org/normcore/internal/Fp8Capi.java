package org.normcore.internal;

import java.lang.ref.Reference;
import java.nio.ByteBuffer;
import java.util.Arrays;
import org.bytedeco.javacpp.BytePointer;
import org.normcore.Device;
import org.normcore.internal.capi.global.normcore;
import org.normcore.internal.capi.nc_fp8_spec;

/**
 * The FP8 part of the C interface, on the CPU or, in a stream, on a CUDA device, with statuses
 * turned into exceptions. {@code normcore.h} documents each call. The stream is ignored on the CPU.
 *
 * <p>The plans are few, one for each combination of device, formats and scaling in use. They are
 * made when first needed and kept, so calls allocate nothing.
 */
public final class Fp8Capi {
  private static final CallContextPool CONTEXTS = new CallContextPool(1, Runnable::run);

  private static volatile Plans plans = new Plans(new long[0], new long[0]);

  private Fp8Capi() {}

  /** Sets a float32 to the maximum of its value and the largest magnitude of a matrix. */
  public static void amax(
      Device device,
      long x,
      int xType,
      long rows,
      long columns,
      long xStride,
      long amax,
      long stream) {
    long plan = plan(device, xType, 0, normcore.NC_FLOAT8_E4M3, normcore.NC_SCALING_TENSOR);
    CallContext context = CONTEXTS.take();
    run(
        context,
        shaped(context.call.fp8Amax(plan), rows, columns)
            .setMatrix(Fields.Fp8.X, x, xStride)
            .set(Fields.Fp8.AMAX, amax),
        device,
        stream);
  }

  /** Computes one scale and its inverse from an amax. */
  public static void scale(
      Device device,
      int format,
      int margin,
      boolean powerOfTwo,
      long amax,
      long scale,
      long scaleInv,
      long stream) {
    long plan = plan(key(device, 0, 0, format, normcore.NC_SCALING_TENSOR, margin, powerOfTwo));
    CallContext context = CONTEXTS.take();
    run(
        context,
        context
            .call
            .fp8Scale(plan)
            .set(Fields.Fp8.COUNT, 1)
            .set(Fields.Fp8.AMAX, amax)
            .set(Fields.Fp8.SCALE, scale)
            .set(Fields.Fp8.SCALE_INV, scaleInv),
        device,
        stream);
  }

  /**
   * Quantises with one scale into contiguous rows and updates amax with the maximum, unless the
   * address of amax is 0.
   */
  public static void quantize(
      Device device,
      long x,
      int xType,
      long rows,
      long columns,
      long xStride,
      long q,
      int format,
      long scale,
      long amax,
      long stream) {
    long plan = plan(device, xType, 0, format, normcore.NC_SCALING_TENSOR);
    CallContext context = CONTEXTS.take();
    run(
        context,
        shaped(context.call.fp8Quantize(plan), rows, columns)
            .setMatrix(Fields.Fp8.X, x, xStride)
            .setMatrix(Fields.Fp8.Q, q, columns)
            .set(Fields.Fp8.SCALE, scale)
            .set(Fields.Fp8.AMAX, amax),
        device,
        stream);
  }

  /** Quantises by blocks into contiguous rows. */
  public static void quantizeBlocks(
      Device device,
      long x,
      int xType,
      long rows,
      long columns,
      long xStride,
      long q,
      int format,
      long scaleInv,
      long stream) {
    long plan = plan(device, xType, 0, format, normcore.NC_SCALING_BLOCK);
    CallContext context = CONTEXTS.take();
    run(
        context,
        shaped(context.call.fp8Quantize(plan), rows, columns)
            .setMatrix(Fields.Fp8.X, x, xStride)
            .setMatrix(Fields.Fp8.Q, q, columns)
            .set(Fields.Fp8.SCALE_INV, scaleInv),
        device,
        stream);
  }

  /** Dequantises contiguous rows. */
  public static void dequantize(
      Device device,
      int scaling,
      long q,
      int format,
      long rows,
      long columns,
      long scaleInv,
      long y,
      int yType,
      long yStride,
      long stream) {
    long plan = plan(device, 0, yType, format, scaling);
    CallContext context = CONTEXTS.take();
    run(
        context,
        shaped(context.call.fp8Dequantize(plan), rows, columns)
            .setMatrix(Fields.Fp8.Q, q, columns)
            .set(Fields.Fp8.SCALE_INV, scaleInv)
            .setMatrix(Fields.Fp8.Y, y, yStride),
        device,
        stream);
  }

  private static NativeCall shaped(NativeCall call, long rows, long columns) {
    return call.set(Fields.Fp8.ROWS, rows).set(Fields.Fp8.COLUMNS, columns);
  }

  private static void run(CallContext context, NativeCall call, Device device, long stream) {
    try {
      Capi.check(call.set(Fields.Fp8.STREAM, device.isCpu() ? 0 : stream).run());
    } finally {
      context.release();
    }
  }

  private static long plan(Device device, int xType, int yType, int format, int scaling) {
    return plan(key(device, xType, yType, format, scaling, 0, false));
  }

  /** Returns the plan of a spec that {@link #key} has packed. */
  private static long plan(long key) {
    long plan = plans.find(key);
    return plan != 0 ? plan : make(key);
  }

  private static synchronized long make(long key) {
    long plan = plans.find(key);
    if (plan == 0) {
      plan = create(key);
      plans = plans.with(key, plan);
    }
    return plan;
  }

  /** Packs a spec, one byte for each of its fields. */
  private static long key(
      Device device,
      int xType,
      int yType,
      int format,
      int scaling,
      int margin,
      boolean powerOfTwo) {
    long key = device.isCpu() ? 0 : device.index() + 1;
    key = key << Byte.SIZE | xType;
    key = key << Byte.SIZE | yType;
    key = key << Byte.SIZE | format;
    key = key << Byte.SIZE | scaling;
    key = key << Byte.SIZE | margin;
    return key << Byte.SIZE | (powerOfTwo ? 1 : 0);
  }

  private static long create(long key) {
    NativeLibrary.ensureLoaded();
    int device = (int) (key >>> 6 * Byte.SIZE);
    ByteBuffer memory = Memory.structure(nc_fp8_spec.class);
    try (nc_fp8_spec spec = new nc_fp8_spec(new BytePointer(memory))) {
      spec.struct_size(spec.sizeof())
          .x_dtype(field(key, 5))
          .y_dtype(field(key, 4))
          .format(field(key, 3))
          .scaling(field(key, 2))
          .margin(field(key, 1))
          .power_of_two(field(key, 0))
          .device_type(device == 0 ? normcore.NC_DEVICE_CPU : normcore.NC_DEVICE_CUDA)
          .device_index(Math.max(0, device - 1));
      long[] plan = new long[1];
      Capi.check(normcore.nc_fp8_plan_create(spec, plan));
      return plan[0];
    } finally {
      Reference.reachabilityFence(memory);
    }
  }

  private static int field(long key, int index) {
    return (int) (key >>> index * Byte.SIZE) & 0xff;
  }

  /** Handles by key; immutable. */
  private record Plans(long[] keys, long[] handles) {
    long find(long key) {
      for (int i = 0; i < keys.length; i++) {
        if (keys[i] == key) {
          return handles[i];
        }
      }
      return 0;
    }

    Plans with(long key, long handle) {
      long[] newKeys = Arrays.copyOf(keys, keys.length + 1);
      long[] newHandles = Arrays.copyOf(handles, keys.length + 1);
      newKeys[keys.length] = key;
      newHandles[keys.length] = handle;
      return new Plans(newKeys, newHandles);
    }
  }
}
