#include "c_api/fake_plugin.h"

#include <cstdio>
#include <cstdlib>

#if !defined(FAKE_PLUGIN_VERSION)
#define FAKE_PLUGIN_VERSION nc::kCudaPluginVersion
#endif

namespace {

FakePlugin fake;

constexpr int64_t kAddress = 0x10000, kStream = 0x5000;

template <class... Values>
int32_t called(const char* name, Values... values) {
  std::string call = name;
  ((call += " " + std::to_string(values)), ...);
  fake.calls.push_back(call);
  const auto error = fake.errors.find(name);
  return error == fake.errors.end() ? 0 : error->second;
}

int32_t device_count(int32_t* count) {
  *count = fake.devices;
  return called("device_count");
}

int32_t device(int32_t index, nc::CudaDevice* answer) {
  *answer = {};
  answer->compute_capability = 80 + index * 10;
  answer->multiprocessors = 100 + index;
  answer->memory_bytes = (int64_t{1} << 34) + index;
  answer->host_memory_visible = fake.host_memory_visible;
  std::snprintf(answer->name, sizeof(answer->name), "Fake %d", index);
  return called("device", index);
}

const char* error_name(int32_t error) { return error == 2 ? "cudaErrorMemoryAllocation" : "cudaErrorFake"; }
const char* error_text(int32_t error) { return error == 2 ? "out of memory" : "a fake error"; }

int32_t allocate(int32_t device, int64_t bytes, int64_t* address) {
  const int32_t error = called("allocate", device, bytes);
  if (error == 0) *address = kAddress;
  return error;
}
int32_t free(int32_t device, int64_t address) { return called("free", device, address); }
int32_t copy(int32_t device, int64_t target, int64_t source, int64_t bytes, int64_t stream) {
  return called("copy", device, target, source, bytes, stream);
}
int32_t zero(int32_t device, int64_t address, int64_t bytes, int64_t stream) {
  return called("zero", device, address, bytes, stream);
}
int32_t stream_create(int32_t device, int64_t* stream) {
  const int32_t error = called("stream_create", device);
  if (error == 0) *stream = kStream;
  return error;
}
int32_t stream_destroy(int32_t device, int64_t stream) { return called("stream_destroy", device, stream); }
int32_t stream_synchronize(int32_t device, int64_t stream) { return called("stream_synchronize", device, stream); }

int32_t memory_device(int64_t address, int32_t* device) {
  fake.lookups.push_back(address);
  const auto place = fake.places.find(address);
  *device = place == fake.places.end() ? fake.place : place->second;
  const auto error = fake.errors.find("memory_device");
  return error == fake.errors.end() ? 0 : error->second;
}

int32_t prepare(int32_t device, const nc::NormSpec& spec, nc::CudaNorm* norm) {
  norm->device = device;
  norm->spec = spec;
  std::snprintf(norm->kernels, sizeof(norm->kernels), "kernels for device %d", device);
  fake.prepared = *norm;
  return called("prepare", device);
}
int32_t forward(const nc::CudaNorm& norm, const nc::ForwardArguments& a, int64_t stream) {
  fake.norm = norm;
  fake.forward = a;
  return called("forward", norm.device, stream);
}
int32_t backward(const nc::CudaNorm& norm, const nc::BackwardArguments& a, int64_t stream) {
  fake.norm = norm;
  fake.backward = a;
  return called("backward", norm.device, stream);
}
int32_t columns(const nc::CudaNorm& norm, const nc::ColumnArguments* gradients, int32_t count, int64_t stream) {
  fake.norm = norm;
  fake.columns.assign(gradients, gradients + count);
  return called("columns", norm.device, stream);
}

int32_t describe(const nc::CudaNorm& norm, char* text, int64_t capacity) {
  std::snprintf(text, static_cast<size_t>(capacity), "%s", norm.kernels);
  return called("describe", norm.device, capacity);
}

int32_t host_allocate(int64_t bytes, int64_t* address) {
  const int32_t error = called("host_allocate", bytes);
  if (error == 0) *address = reinterpret_cast<int64_t>(std::malloc(static_cast<size_t>(bytes)));
  return error;
}
int32_t host_free(int64_t address) {
  std::free(reinterpret_cast<void*>(address));
  return called("host_free");
}

int32_t rotary_prepare(int32_t device, const nc::RotarySpec& spec) {
  fake.rotary_spec = spec;
  return called("rotary_prepare", device);
}
int32_t rotary(int32_t device, const nc::RotarySpec& spec, const nc::RotaryArguments& a, int64_t stream) {
  fake.rotary_spec = spec;
  fake.rotary = a;
  return called("rotary", device, stream);
}
int32_t fp8_amax(int32_t device, const nc::Fp8AmaxArguments& a, int64_t stream) {
  fake.amax = a;
  return called("fp8_amax", device, stream);
}
int32_t fp8_scale(int32_t device, const nc::Fp8ScaleArguments& a, int64_t stream) {
  fake.scale = a;
  return called("fp8_scale", device, stream);
}
int32_t fp8_quantize(int32_t device, const nc::Fp8QuantizeArguments& a, int64_t stream) {
  fake.quantize = a;
  return called("fp8_quantize", device, stream);
}
int32_t fp8_dequantize(int32_t device, const nc::Fp8DequantizeArguments& a, int64_t stream) {
  fake.dequantize = a;
  return called("fp8_dequantize", device, stream);
}

const nc::CudaPlugin table = {FAKE_PLUGIN_VERSION,
                              device_count,
                              device,
                              error_name,
                              error_text,
                              allocate,
                              free,
                              copy,
                              zero,
                              stream_create,
                              stream_destroy,
                              stream_synchronize,
                              memory_device,
                              host_allocate,
                              host_free,
                              prepare,
                              forward,
                              backward,
                              columns,
                              describe,
                              rotary_prepare,
                              rotary,
                              fp8_amax,
                              fp8_scale,
                              fp8_quantize,
                              fp8_dequantize};

}  // namespace

extern "C" {
__attribute__((visibility("default"))) const nc::CudaPlugin* nc_cuda_plugin() { return &table; }
__attribute__((visibility("default"))) FakePlugin& fake_plugin() { return fake; }
}
