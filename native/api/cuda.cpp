// CUDA devices, their memory and streams, through the plugin.
#include <cinttypes>
#include <cstdio>
#include <cstring>

#include "cuda_plugin.h"
#include "tensor.h"

namespace nc {
namespace {

// A valid device index, with the plugin.
class Device {
 public:
  explicit Device(int32_t index) : plugin_(*require_cuda().plugin), index_(index) {
    require_device(cuda(), "device", index);
  }

  const CudaPlugin& plugin() const { return plugin_; }
  int32_t index() const { return index_; }
  void require(int32_t error, const char* what) const { require_success(plugin_, error, what, index_); }

 private:
  const CudaPlugin& plugin_;
  int32_t index_;
};

// The size of the first version of nc_cuda_device.
constexpr size_t kFirstDeviceVersion = sizeof(nc_cuda_device);

void require_bytes(int64_t bytes) {
  if (bytes < 0) fail(NC_INVALID_ARGUMENT, "bytes: %" PRId64 ", expected at least 0", bytes);
}

}  // namespace
}  // namespace nc

extern "C" {

int32_t nc_cuda_device_count(int32_t* count) NC_NOEXCEPT {
  return nc::guarded([&] {
    if (count == nullptr) nc::fail(NC_INVALID_ARGUMENT, "count: null, expected an address");
    *count = nc::require_cuda().devices;
  });
}

int32_t nc_cuda_device_query(int32_t device, nc_cuda_device* answer) NC_NOEXCEPT {
  return nc::guarded([&] {
    if (answer == nullptr) nc::fail(NC_INVALID_ARGUMENT, "answer: null, expected a nc_cuda_device");
    const uint32_t size = answer->struct_size;
    if (size < nc::kFirstDeviceVersion) {
      nc::fail(NC_INVALID_ARGUMENT, "answer: struct_size %u, expected at least %zu", size, nc::kFirstDeviceVersion);
    }
    const nc::Device on(device);
    nc::CudaDevice properties{};
    on.require(on.plugin().device(device, &properties), "querying the properties");
    nc_cuda_device known{};
    known.struct_size = size;
    known.compute_capability = properties.compute_capability;
    known.multiprocessors = properties.multiprocessors;
    known.memory_bytes = properties.memory_bytes;
    static_assert(sizeof(known.name) == sizeof(properties.name));
    std::memcpy(known.name, properties.name, sizeof(known.name));
    known.name[sizeof(known.name) - 1] = '\0';
    // A caller of an older header has fewer fields; the further fields of a newer one are left alone.
    std::memcpy(answer, &known, size < sizeof(known) ? size : sizeof(known));
  });
}

int32_t nc_cuda_allocate(int32_t device, int64_t bytes, int64_t* address) NC_NOEXCEPT {
  return nc::guarded([&] {
    nc::require_bytes(bytes);
    if (address == nullptr) nc::fail(NC_INVALID_ARGUMENT, "address: null, expected a pointer to the result");
    const nc::Device on(device);
    char what[64];
    std::snprintf(what, sizeof(what), "allocating %" PRId64 " bytes", bytes);
    // At least one byte: an allocation of 0 bytes has no address.
    on.require(on.plugin().allocate(device, bytes > 0 ? bytes : 1, address), what);
  });
}

int32_t nc_cuda_free(int32_t device, int64_t address) NC_NOEXCEPT {
  return nc::guarded([&] {
    const nc::Device on(device);
    if (address != 0) on.require(on.plugin().free(device, address), "freeing memory");
  });
}

int32_t nc_cuda_copy(int32_t device, int64_t target, int64_t source, int64_t bytes, int64_t stream) NC_NOEXCEPT {
  return nc::guarded([&] {
    nc::require_bytes(bytes);
    const nc::Device on(device);
    if (bytes == 0) return;
    const nc::Tensor to = nc::vector("target", target, bytes, 1);
    const nc::Tensor from = nc::vector("source", source, bytes, 1);
    nc::require_present(to, "there are bytes to copy");
    nc::require_present(from, "there are bytes to copy");
    nc::require_apart(to, from);
    on.require(on.plugin().copy(device, target, source, bytes, stream), "copying");
  });
}

int32_t nc_cuda_zero(int32_t device, int64_t address, int64_t bytes, int64_t stream) NC_NOEXCEPT {
  return nc::guarded([&] {
    nc::require_bytes(bytes);
    const nc::Device on(device);
    if (bytes == 0) return;
    nc::require_present(nc::vector("address", address, bytes, 1), "there are bytes to zero");
    on.require(on.plugin().zero(device, address, bytes, stream), "zeroing memory");
  });
}

int32_t nc_cuda_stream_create(int32_t device, int64_t* stream) NC_NOEXCEPT {
  return nc::guarded([&] {
    if (stream == nullptr) nc::fail(NC_INVALID_ARGUMENT, "stream: null, expected a pointer to the result");
    const nc::Device on(device);
    on.require(on.plugin().stream_create(device, stream), "creating a stream");
  });
}

int32_t nc_cuda_stream_destroy(int32_t device, int64_t stream) NC_NOEXCEPT {
  return nc::guarded([&] {
    const nc::Device on(device);
    if (stream != 0) on.require(on.plugin().stream_destroy(device, stream), "destroying a stream");
  });
}

int32_t nc_cuda_stream_synchronize(int32_t device, int64_t stream) NC_NOEXCEPT {
  return nc::guarded([&] {
    const nc::Device on(device);
    on.require(on.plugin().stream_synchronize(device, stream), "waiting for the stream");
  });
}

}  // extern "C"
