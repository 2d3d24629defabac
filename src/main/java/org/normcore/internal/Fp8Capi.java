package org.normcore.internal;

import org.normcore.Device;
import org.normcore.internal.capi.global.normcore;

/**
 * The FP8 part of the C interface, on the CPU or, in a stream, on a CUDA device, with statuses
 * turned into exceptions. {@code normcore.h} documents each call. The stream is ignored on the CPU.
 */
public final class Fp8Capi {
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
    NativeLibrary.ensureLoaded();
    Capi.check(
        device.isCpu()
            ? normcore.nc_fp8_amax(normcore.NC_CPU_BEST, x, xType, rows, columns, xStride, amax)
            : normcore.nc_cuda_fp8_amax(
                device.index(), x, xType, rows, columns, xStride, amax, stream));
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
    NativeLibrary.ensureLoaded();
    int rounded = powerOfTwo ? 1 : 0;
    Capi.check(
        device.isCpu()
            ? normcore.nc_fp8_scale(format, margin, rounded, 1, amax, scale, scaleInv)
            : normcore.nc_cuda_fp8_scale(
                device.index(), format, margin, rounded, 1, amax, scale, scaleInv, stream));
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
    NativeLibrary.ensureLoaded();
    Capi.check(
        device.isCpu()
            ? normcore.nc_fp8_quantize(
                normcore.NC_CPU_BEST,
                x,
                xType,
                rows,
                columns,
                xStride,
                q,
                format,
                columns,
                scale,
                amax)
            : normcore.nc_cuda_fp8_quantize(
                device.index(),
                x,
                xType,
                rows,
                columns,
                xStride,
                q,
                format,
                columns,
                scale,
                amax,
                stream));
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
    NativeLibrary.ensureLoaded();
    Capi.check(
        device.isCpu()
            ? normcore.nc_fp8_quantize_blocks(
                normcore.NC_CPU_BEST,
                x,
                xType,
                rows,
                columns,
                xStride,
                q,
                format,
                columns,
                scaleInv)
            : normcore.nc_cuda_fp8_quantize_blocks(
                device.index(),
                x,
                xType,
                rows,
                columns,
                xStride,
                q,
                format,
                columns,
                scaleInv,
                stream));
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
    NativeLibrary.ensureLoaded();
    Capi.check(
        device.isCpu()
            ? normcore.nc_fp8_dequantize(
                normcore.NC_CPU_BEST,
                scaling,
                q,
                format,
                rows,
                columns,
                columns,
                scaleInv,
                y,
                yType,
                yStride)
            : normcore.nc_cuda_fp8_dequantize(
                device.index(),
                scaling,
                q,
                format,
                rows,
                columns,
                columns,
                scaleInv,
                y,
                yType,
                yStride,
                stream));
  }
}
