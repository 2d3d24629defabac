package org.normcore.cli.bench;

import com.google.gson.JsonObject;
import java.util.List;
import java.util.Optional;
import org.normcore.DType;
import org.normcore.NormKind;
import org.normcore.cli.OptionNames;

/**
 * The measurements of one operation.
 *
 * @param op the operation
 * @param direction infer, forward, backward, quantize or dequantize
 * @param dtype the type of all tensors
 * @param rows the number of rows
 * @param hiddenSize the length of a row
 * @param nanos the median time of a call on all rows
 * @param latencyNanos the median time of a call on one row: on the CPU in one thread, on a CUDA
 *     device as the average of a sequence of calls
 * @param bytes the minimum bytes read and written
 * @param copyBytesPerSecond the speed of a plain copy of the same number of bytes in the same run,
 *     on the CPU by {@code memcpy}
 * @param cpu the measurements that exist on the CPU only
 */
record BenchCase(
    BenchOp op,
    String direction,
    DType dtype,
    long rows,
    long hiddenSize,
    double nanos,
    double latencyNanos,
    long bytes,
    double copyBytesPerSecond,
    Optional<CpuFigures> cpu) {

  /** Makes a case of a CUDA device. */
  static BenchCase onDevice(
      BenchOp op,
      String direction,
      DType dtype,
      long rows,
      long hiddenSize,
      double nanos,
      double latencyNanos,
      long bytes,
      double copy) {
    return new BenchCase(
        op, direction, dtype, rows, hiddenSize, nanos, latencyNanos, bytes, copy, Optional.empty());
  }

  /** Makes a case of the CPU. */
  static BenchCase onCpu(
      BenchOp op, String direction, DType dtype, long rows, long hiddenSize, CpuFigures cpu) {
    Throughput all = cpu.all();
    return new BenchCase(
        op,
        direction,
        dtype,
        rows,
        hiddenSize,
        all.call().median(),
        cpu.oneRow().median(),
        all.bytes(),
        all.copyBytesPerSecond(),
        Optional.of(cpu));
  }

  /**
   * The cases of all directions on a CUDA device; each pair of times is for all rows and for one
   * row.
   */
  static List<BenchCase> allOnDevice(
      NormKind kind,
      DType dtype,
      long rows,
      long hiddenSize,
      double[] infer,
      double[] forward,
      double[] backward,
      double copy) {
    BenchOp op = BenchOp.of(kind);
    long tensor = rows * hiddenSize * dtype.bytes();
    return List.of(
        onDevice(op, "infer", dtype, rows, hiddenSize, infer[0], infer[1], 2 * tensor, copy),
        onDevice(op, "forward", dtype, rows, hiddenSize, forward[0], forward[1], 2 * tensor, copy),
        onDevice(
            op, "backward", dtype, rows, hiddenSize, backward[0], backward[1], 3 * tensor, copy));
  }

  double bytesPerSecond() {
    return bytes / nanos * 1e9;
  }

  double shareOfCopy() {
    return bytesPerSecond() / copyBytesPerSecond;
  }

  JsonObject json() {
    JsonObject json = new JsonObject();
    json.addProperty("op", OptionNames.of(op));
    json.addProperty("direction", direction);
    json.addProperty("dtype", OptionNames.of(dtype));
    json.addProperty("rows", rows);
    json.addProperty("hidden", hiddenSize);
    json.addProperty("median_seconds", nanos / 1e9);
    json.addProperty("one_row_seconds", latencyNanos / 1e9);
    json.addProperty("bytes", bytes);
    json.addProperty("bytes_per_second", bytesPerSecond());
    json.addProperty("copy_bytes_per_second", copyBytesPerSecond);
    json.addProperty("share_of_copy", shareOfCopy());
    cpu.ifPresent(figures -> figures.addTo(json));
    return json;
  }
}
