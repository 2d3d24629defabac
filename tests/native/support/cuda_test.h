// CUDA kernels against the CPU's, on any plugin found: a real one, or the simulator.
#pragma once

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "support/harness.h"

namespace harness {

// One after the other: devices differ in how kernels are selected and launched.
inline std::vector<int32_t> cudaDevices() {
  int32_t count = 0;
  check(nc_cuda_device_count(&count));
  std::vector<int32_t> devices;
  for (int32_t device = 0; device < count; ++device) devices.push_back(device);
  return devices;
}

// Whether the devices are simulated. Seconds of a device's work take the simulator hours, so there some sweeps leave
// out cases that take the same path as others.
inline bool onSimulator() {
  nc_cuda_device device{};
  device.struct_size = sizeof(device);
  check(nc_cuda_device_query(0, &device));
  return std::string(device.name).find("not a GPU") != std::string::npos;
}

// The formats that have kernels of their own.
struct DTypes {
  int32_t x, weight, y;
};
inline void PrintTo(const DTypes& t, std::ostream* to) {
  for (const int32_t dtype : {t.x, t.weight, t.y}) *to << reference::format(dtype).name << ' ';
}
inline const std::vector<DTypes>& fastDTypes() {
  static const std::vector<DTypes> all = {
      {NC_FLOAT32, NC_FLOAT32, NC_FLOAT32}, {NC_BFLOAT16, NC_BFLOAT16, NC_BFLOAT16},
      {NC_FLOAT16, NC_FLOAT16, NC_FLOAT16}, {NC_BFLOAT16, NC_FLOAT32, NC_BFLOAT16},
      {NC_FLOAT16, NC_FLOAT32, NC_FLOAT16}, {NC_BFLOAT16, NC_FLOAT32, NC_FLOAT32},
      {NC_FLOAT16, NC_FLOAT32, NC_FLOAT32},
  };
  return all;
}

inline Form onDevice(int32_t device) {
  Form form;
  form.cuda_device = device;
  return form;
}

inline std::string formatName(int32_t dtype) { return reference::format(dtype).name; }

}  // namespace harness
