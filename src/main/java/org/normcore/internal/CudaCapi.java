package org.normcore.internal;

import java.lang.ref.Reference;
import java.nio.ByteBuffer;
import java.util.List;
import org.bytedeco.javacpp.BytePointer;
import org.jspecify.annotations.Nullable;
import org.normcore.CudaDevice;
import org.normcore.Device;
import org.normcore.internal.capi.global.normcore;
import org.normcore.internal.capi.nc_cuda_device;

/**
 * The CUDA part of the C interface with statuses turned into exceptions. {@code normcore.h}
 * documents each call.
 *
 * <p>{@link NativeCall} has the calls of plans.
 */
public final class CudaCapi {
  private static final int KERNELS_TEXT_BYTES = 2048;

  private CudaCapi() {}

  /** Returns why there is no CUDA device, or null if there is one. */
  public static @Nullable String unavailability() {
    NativeLibrary.ensureLoaded();
    return normcore.nc_cuda_device_count(new int[1]) == normcore.NC_OK ? null : Capi.lastError();
  }

  /** Returns the number of CUDA devices, 0 if CUDA is unavailable. */
  public static int deviceCount() {
    NativeLibrary.ensureLoaded();
    int[] count = new int[1];
    return normcore.nc_cuda_device_count(count) == normcore.NC_OK ? count[0] : 0;
  }

  /** Returns the properties of a device. */
  public static CudaDevice device(int index) {
    NativeLibrary.ensureLoaded();
    ByteBuffer memory = Memory.structure(nc_cuda_device.class);
    try (nc_cuda_device answer = new nc_cuda_device(new BytePointer(memory))) {
      answer.struct_size(answer.sizeof());
      Capi.check(normcore.nc_cuda_device_query(index, answer));
      return new CudaDevice(
          Device.cuda(index),
          answer.name().getString(),
          answer.compute_capability(),
          answer.multiprocessors(),
          answer.memory_bytes());
    } finally {
      Reference.reachabilityFence(memory);
    }
  }

  /** Returns the kernels that the plan of a norm launches, one per line. */
  public static List<String> normKernels(long plan) {
    try (BytePointer text = new BytePointer(KERNELS_TEXT_BYTES)) {
      Capi.check(normcore.nc_cuda_norm_kernels(plan, text.address(), text.capacity()));
      return text.limit(BytePointer.strlen(text)).getString().lines().toList();
    }
  }

  /** Returns the address of new memory of a device. */
  public static long allocate(int device, long bytes) {
    NativeLibrary.ensureLoaded();
    long[] address = new long[1];
    Capi.check(normcore.nc_cuda_allocate(device, bytes, address));
    return address[0];
  }

  /** Frees memory of a device. */
  public static void free(int device, long address) {
    Capi.check(normcore.nc_cuda_free(device, address));
  }

  /** Returns the address of new host memory, page-locked for all devices. */
  public static long allocateHost(long bytes) {
    NativeLibrary.ensureLoaded();
    long[] address = new long[1];
    Capi.check(normcore.nc_cuda_host_allocate(bytes, address));
    return address[0];
  }

  /** Frees page-locked host memory. */
  public static void freeHost(long address) {
    Capi.check(normcore.nc_cuda_host_free(address));
  }

  /** Copies bytes between any two of host memory and devices. */
  public static void copy(int device, long target, long source, long bytes, long stream) {
    NativeLibrary.ensureLoaded();
    Capi.check(normcore.nc_cuda_copy(device, target, source, bytes, stream));
  }

  /** Sets bytes of a device's memory to 0. */
  public static void zero(int device, long address, long bytes, long stream) {
    Capi.check(normcore.nc_cuda_zero(device, address, bytes, stream));
  }

  /** Returns the address of a new stream. */
  public static long createStream(int device) {
    NativeLibrary.ensureLoaded();
    long[] stream = new long[1];
    Capi.check(normcore.nc_cuda_stream_create(device, stream));
    return stream[0];
  }

  /** Destroys a stream. */
  public static void destroyStream(int device, long stream) {
    Capi.check(normcore.nc_cuda_stream_destroy(device, stream));
  }

  /** Waits for all work in a stream. */
  public static void synchronizeStream(int device, long stream) {
    NativeLibrary.ensureLoaded();
    Capi.check(normcore.nc_cuda_stream_synchronize(device, stream));
  }
}
