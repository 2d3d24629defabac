// The interface between libnormcore.so and the CUDA plugin: one exported function that returns this table.
// libnormcore.so is built, loaded and used without CUDA. The plugin links the CUDA runtime statically.
//
// Errors are the CUDA runtime's own numbers, 0 for success. Nothing throws. A call that takes a device makes it current
// for the calling thread and restores the previous one. A call that takes a stream is asynchronous, allocates nothing
// and never synchronises.
#pragma once

#include <cstdint>

#include "../core/arguments.h"
#include "../core/spec.h"

namespace nc {

// Incremented with every change of the table or of its argument structures, so that a library and a plugin of different
// builds refuse each other.
constexpr int32_t kCudaPluginVersion = 3;

struct CudaDevice {
  int32_t compute_capability;  // major * 10 + minor
  int32_t multiprocessors;
  int64_t memory_bytes;
  int64_t shared_bytes;         // maximum dynamic shared memory of a block
  int32_t clusters;             // 1 if the device supports clusters
  int32_t host_memory_visible;  // 1 if kernels can access memory unknown to the CUDA runtime
  char name[256];
};

// The kernels that prepare selected for a norm on a device. Trivially copyable.
struct CudaNorm {
  int32_t device;
  NormSpec spec;
  alignas(8) char kernels[512];
};

// Results of memory_device other than a device index.
constexpr int32_t kAnyDevice = -1;      // managed or pinned memory
constexpr int32_t kUnknownMemory = -2;  // unknown to the CUDA runtime: ordinary host memory or an invalid address

struct CudaPlugin {
  int32_t version;  // kCudaPluginVersion

  int32_t (*device_count)(int32_t* count);
  int32_t (*device)(int32_t index, CudaDevice* answer);
  const char* (*error_name)(int32_t error);  // "cudaErrorInvalidValue"
  const char* (*error_text)(int32_t error);  // "invalid argument"

  int32_t (*allocate)(int32_t device, int64_t bytes, int64_t* address);  // 256-byte aligned
  int32_t (*free)(int32_t device, int64_t address);
  int32_t (*copy)(int32_t device, int64_t target, int64_t source, int64_t bytes, int64_t stream);  // any direction
  int32_t (*zero)(int32_t device, int64_t address, int64_t bytes, int64_t stream);
  int32_t (*stream_create)(int32_t device, int64_t* stream);
  int32_t (*stream_destroy)(int32_t device, int64_t stream);
  int32_t (*stream_synchronize)(int32_t device, int64_t stream);
  int32_t (*memory_device)(int64_t address, int32_t* device);
  int32_t (*host_allocate)(int64_t bytes, int64_t* address);  // page-locked, for all devices
  int32_t (*host_free)(int64_t address);

  // Selects the kernels for a valid spec and loads them on the device.
  int32_t (*prepare)(int32_t device, const NormSpec& spec, CudaNorm* norm);
  // All rows: row_begin is 0. Also writes a quantised y.
  int32_t (*forward)(const CudaNorm& norm, const ForwardArguments& a, int64_t stream);
  // All groups: group_begin is 0.
  int32_t (*backward)(const CudaNorm& norm, const BackwardArguments& a, int64_t stream);
  // One or two gradients, all columns: column_begin is 0.
  int32_t (*columns)(const CudaNorm& norm, const ColumnArguments* gradients, int32_t count, int64_t stream);
  // Writes the kernel names of a norm's calls, one line for each kind of call, zero-terminated and truncated to
  // `capacity` bytes.
  int32_t (*describe)(const CudaNorm& norm, char* text, int64_t capacity);

  // Loads the kernels of a valid spec on the device.
  int32_t (*rotary_prepare)(int32_t device, const RotarySpec& spec);
  // All tokens: token_begin is 0.
  int32_t (*rotary)(int32_t device, const RotarySpec& spec, const RotaryArguments& a, int64_t stream);

  int32_t (*fp8_amax)(int32_t device, const Fp8AmaxArguments& a, int64_t stream);
  int32_t (*fp8_scale)(int32_t device, const Fp8ScaleArguments& a, int64_t stream);
  int32_t (*fp8_quantize)(int32_t device, const Fp8QuantizeArguments& a, int64_t stream);
  int32_t (*fp8_dequantize)(int32_t device, const Fp8DequantizeArguments& a, int64_t stream);
};

}  // namespace nc

// The function that the plugin exports, and its type.
#define NC_CUDA_PLUGIN_SYMBOL "nc_cuda_plugin"
extern "C" {
typedef const nc::CudaPlugin* (*nc_cuda_plugin_function)(void);
}
