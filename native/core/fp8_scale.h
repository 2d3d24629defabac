// FP8 scales. Quantising multiplies by the scale and rounds once; dequantising multiplies by the inverse scale. amax,
// the largest magnitude, is float32; it ignores NaN and includes infinities.
#pragma once

#include "dtype.h"

namespace nc {
inline namespace NC_LEVEL {

// Elements per E8M0 scale.
constexpr int kScaleBlock = 32;

NC_INLINE constexpr float largest_of(DType format) { return format == DType::float8_e4m3 ? 448.0f : 57344.0f; }

// largest / amax / 2^margin: maps amax to 2^-margin of the format's largest value. Optionally rounded down to a power
// of two; clamped to float32's normal range. 1 if amax is 0, infinite or NaN.
NC_INLINE float scale_of(float amax, DType format, int margin, bool power_of_two) {
  constexpr uint32_t least = 0x00800000u, most = 0x7f7fffffu;
  if (!(amax > 0.0f && bit_cast<uint32_t>(amax) <= most)) return 1.0f;
  const float shrink = bit_cast<float>(static_cast<uint32_t>(127 - margin) << 23);  // 2^-margin
  // largest * shrink is exact, so the quotient is rounded once and overflows only if the true value does.
  uint32_t bits = bit_cast<uint32_t>(largest_of(format) * shrink / amax);
  if (bits < least) bits = least;
  if (bits > most) bits = most;
  return bit_cast<float>(power_of_two ? bits & 0x7f800000u : bits);
}

NC_INLINE float inverse_of(float scale) { return 1.0f / scale; }

// The E8M0 code of the smallest power of two p with amax / p <= the format's largest value, which is 1.75 times a power
// of two in both formats. 0 if amax is 0; 254 if it is infinite.
NC_INLINE uint32_t e8m0_of(float amax, DType format) {
  const uint32_t bits = bit_cast<uint32_t>(amax);
  if (bits >= 0x7f800000u) return bits == 0x7f800000u ? 254 : 255;
  const uint32_t largest_exponent = format == DType::float8_e4m3 ? 8 : 15;
  const uint32_t exponent = (bits >> 23) + ((bits & 0x7fffffu) > 0x600000u ? 1 : 0);
  return exponent > largest_exponent ? exponent - largest_exponent : 0;
}
// The exact inverse of an E8M0 scale, 2^(127 - code): quantising multiplies by it. The code is not 255.
NC_INLINE float block_scale_of(uint32_t code) {
  return bit_cast<float>(code == 254 ? uint32_t{0x00400000} : (254 - code) << 23);
}

// max(amax, |v|); a NaN v is ignored.
template <class C>
NC_INLINE C larger_magnitude(C amax, C v) {
  const C magnitude = v < C(0) ? -v : v;
  return magnitude > amax ? magnitude : amax;
}

}  // namespace NC_LEVEL
}  // namespace nc
