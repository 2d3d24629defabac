// Common to all calls: alignment checks of addresses and strides, and launches on a device.
#pragma once

#include <initializer_list>

#include "launch.h"
#include "runtime.h"

namespace nc {
inline namespace NC_LEVEL {

// True if all these numbers, addresses and strides, are multiples of a power of two.
template <class... Numbers>
bool all_multiples(int64_t of, Numbers... numbers) {
  for (const int64_t number : {static_cast<int64_t>(numbers)...}) {
    if (number % of != 0) return false;
  }
  return true;
}
inline int64_t at(const void* p) { return reinterpret_cast<int64_t>(p); }

template <class Parameters>
int32_t launch_on(int32_t device, const Launch<Parameters>& l, const Parameters& p, int64_t stream) {
  const cuda_runtime::CurrentDevice current(device);
  return current.error() != 0 ? current.error() : launch(l, p, stream);
}

}  // namespace NC_LEVEL
}  // namespace nc
