// float32 from compute capability 10.0 on: a vector in one 32-byte load and one 32-byte store. Device only.
#pragma once

#include "cuda/vec8.cuh"

namespace nc {
inline namespace NC_LEVEL {

template <>
NC_DEVICE Packed<DType::float32> load_once<DType::float32>(const char* row, int vec) {
  Packed<DType::float32> p;
  uint32_t(&a)[4] = p.w[0].w;
  uint32_t(&b)[4] = p.w[1].w;
  asm volatile("ld.global.v8.b32 {%0, %1, %2, %3, %4, %5, %6, %7}, [%8];"
               : "=r"(a[0]), "=r"(a[1]), "=r"(a[2]), "=r"(a[3]), "=r"(b[0]), "=r"(b[1]), "=r"(b[2]), "=r"(b[3])
               : "l"(address_of<DType::float32>(row, vec)));
  return p;
}

template <>
NC_DEVICE void store<DType::float32>(char* row, int vec, const Packed<DType::float32>& p) {
  const uint32_t(&a)[4] = p.w[0].w;
  const uint32_t(&b)[4] = p.w[1].w;
  asm volatile("st.global.v8.b32 [%8], {%0, %1, %2, %3, %4, %5, %6, %7};" ::"r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]),
               "r"(b[0]), "r"(b[1]), "r"(b[2]), "r"(b[3]), "l"(row + vec * 32)
               : "memory");
}

}  // namespace NC_LEVEL
}  // namespace nc
