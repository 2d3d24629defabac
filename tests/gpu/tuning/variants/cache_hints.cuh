// Loads and stores of vectors with the cache hints NC_TUNE_LOAD and NC_TUNE_STORE. Device only.
#pragma once

#include "cuda/vec8.cuh"

// The product's.
#ifndef NC_TUNE_LOAD
#define NC_TUNE_LOAD load_streaming
#endif
#ifndef NC_TUNE_STORE
#define NC_TUNE_STORE store_plain
#endif

namespace nc {
inline namespace NC_LEVEL {
namespace hints {

NC_DEVICE uint4 load_streaming(const uint4* p) { return __ldcs(p); }
NC_DEVICE uint4 load_plain(const uint4* p) { return *p; }
NC_DEVICE uint4 load_l2(const uint4* p) { return __ldcg(p); }
NC_DEVICE uint4 load_no_allocate(const uint4* p) {
  uint4 v;
  asm volatile("ld.global.L1::no_allocate.L2::256B.v4.u32 {%0, %1, %2, %3}, [%4];"
               : "=r"(v.x), "=r"(v.y), "=r"(v.z), "=r"(v.w)
               : "l"(p));
  return v;
}

NC_DEVICE void store_plain(uint4* p, uint4 v) { *p = v; }
NC_DEVICE void store_streaming(uint4* p, uint4 v) { __stcs(p, v); }
NC_DEVICE void store_l2(uint4* p, uint4 v) { __stcg(p, v); }
NC_DEVICE void store_evict_first(uint4* p, uint4 v) {
  uint64_t policy;
  asm volatile("createpolicy.fractional.L2::evict_first.b64 %0, 1.0;" : "=l"(policy));
  asm volatile("st.global.L2::cache_hint.v4.u32 [%0], {%1, %2, %3, %4}, %5;" ::"l"(p), "r"(v.x), "r"(v.y), "r"(v.z),
               "r"(v.w), "l"(policy)
               : "memory");
}

template <DType T>
NC_DEVICE Packed<T> load(const char* row, int vec) {
  Packed<T> p;
  NC_UNROLL for (int i = 0; i < Packed<T>::words; ++i) {
    const uint4 v = NC_TUNE_LOAD(reinterpret_cast<const uint4*>(address_of<T>(row, vec)) + i);
    p.w[i] = {{v.x, v.y, v.z, v.w}};
  }
  return p;
}
template <DType T>
NC_DEVICE void store(char* row, int vec, const Packed<T>& p) {
  uint4* const to = reinterpret_cast<uint4*>(row + vec * (kVecWidth * bytes_of(T)));
  NC_UNROLL for (int i = 0; i < Packed<T>::words; ++i) {
    NC_TUNE_STORE(to + i, make_uint4(p.w[i].w[0], p.w[i].w[1], p.w[i].w[2], p.w[i].w[3]));
  }
}

}  // namespace hints

// For the formats of NC_TUNE_FEW_KERNELS.
template <>
NC_DEVICE Packed<DType::float32> load_once<DType::float32>(const char* row, int vec) {
  return hints::load<DType::float32>(row, vec);
}
template <>
NC_DEVICE Packed<DType::bfloat16> load_once<DType::bfloat16>(const char* row, int vec) {
  return hints::load<DType::bfloat16>(row, vec);
}
template <>
NC_DEVICE void store<DType::float32>(char* row, int vec, const Packed<DType::float32>& p) {
  hints::store<DType::float32>(row, vec, p);
}
template <>
NC_DEVICE void store<DType::bfloat16>(char* row, int vec, const Packed<DType::bfloat16>& p) {
  hints::store<DType::bfloat16>(row, vec, p);
}

}  // namespace NC_LEVEL
}  // namespace nc
