// The operations of simd.h for NEON.
#pragma once

#include <arm_neon.h>

namespace nc {
inline namespace NC_LEVEL {

struct Quads {
  F32x4 q[2];
};
NC_INLINE Vec8<float> fma(Vec8<float> a, Vec8<float> b, Vec8<float> c) {
  const Quads x = bit_cast<Quads>(a.v), y = bit_cast<Quads>(b.v), z = bit_cast<Quads>(c.v);
  Quads r;
  for (int i = 0; i < 2; ++i) {
    r.q[i] =
        reinterpret_cast<F32x4>(vfmaq_f32(reinterpret_cast<float32x4_t>(z.q[i]), reinterpret_cast<float32x4_t>(x.q[i]),
                                          reinterpret_cast<float32x4_t>(y.q[i])));
  }
  return {bit_cast<VectorOf<float>::type>(r)};
}
NC_INLINE bool any_nan(Vec8<float> a, Vec8<float> b) {
  const Quads nan = bit_cast<Quads>((a.v != a.v) | (b.v != b.v));
  return vmaxvq_u32(vorrq_u32(reinterpret_cast<uint32x4_t>(nan.q[0]), reinterpret_cast<uint32x4_t>(nan.q[1]))) != 0;
}
NC_INLINE U16x8 rounded_float16_bits(Vec8<float> a) {
  const Quads x = bit_cast<Quads>(a.v);
  const float16x4_t low = vcvt_f16_f32(reinterpret_cast<float32x4_t>(x.q[0]));
  const float16x4_t high = vcvt_f16_f32(reinterpret_cast<float32x4_t>(x.q[1]));
  return reinterpret_cast<U16x8>(vreinterpretq_u16_f16(vcombine_f16(low, high)));
}
NC_INLINE U16x8 to_float16_bits(Vec8<float> a) {
  const U16x8 code = rounded_float16_bits(a);
  return ((code & (Float16::sign_bit - 1)) > Float16::infinity) ? (U16x8{} + Float16::quiet_nan) : code;
}
NC_INLINE Vec8<float> from_float16_bits(U16x8 code) {
  const float16x8_t half = vreinterpretq_f16_u16(reinterpret_cast<uint16x8_t>(code));
  Quads r;
  r.q[0] = reinterpret_cast<F32x4>(vcvt_f32_f16(vget_low_f16(half)));
  r.q[1] = reinterpret_cast<F32x4>(vcvt_f32_f16(vget_high_f16(half)));
  return {bit_cast<VectorOf<float>::type>(r)};
}
NC_INLINE U32x8 widened(U16x8 a) { return __builtin_convertvector(a, U32x8); }
NC_INLINE U16x8 low_halves(U32x8 a) { return __builtin_convertvector(a, U16x8); }
NC_INLINE U32x8 widened(U8x8 a) { return __builtin_convertvector(a, U32x8); }
NC_INLINE U8x8 low_bytes(U32x8 a) { return __builtin_convertvector(a, U8x8); }
NC_INLINE Vec8<double> fma(Vec8<double> a, Vec8<double> b, Vec8<double> c) {
  Vec8<double> r = a;
  for (int i = 0; i < kVecWidth; ++i) r.v[i] = fma(a.v[i], b.v[i], c.v[i]);
  return r;
}

NC_INLINE void store_non_temporal(char* p, U32x8 v) {
  uint32x4_t halves[2];
  memcpy(halves, &v, sizeof(v));
  asm volatile("stnp %q0, %q1, [%2]" : : "w"(halves[0]), "w"(halves[1]), "r"(p) : "memory");
}
NC_INLINE void store_fence() {}

NC_INLINE U32x8 load_bytes(const char* p, int64_t bytes) {
  alignas(32) char all[32] = {};
  memcpy(all, p, static_cast<size_t>(bytes));
  return load_raw<U32x8>(all);
}

}  // namespace NC_LEVEL
}  // namespace nc
