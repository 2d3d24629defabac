// The number formats and the conversions between them, element by element. Only this file knows the bit layouts;
// cpu/vec8.h, cpu/vec16.h and cuda/vec8.cuh convert vectors with the constants defined here.
//
// All conversions round to nearest, ties to even. NaN becomes the format's canonical quiet NaN. Overflow becomes
// infinity, except in FP8, which saturates at its largest finite value (infinities included). Subnormals are kept.
#pragma once

#include <cstring>

#include "platform.h"
#include "spec.h"

namespace nc {
inline namespace NC_LEVEL {

NC_INLINE constexpr int bytes_of(DType t) {
  switch (t) {
    case DType::float64:
      return 8;
    case DType::float32:
      return 4;
    case DType::bfloat16:
    case DType::float16:
      return 2;
    default:
      return 1;
  }
}

// The frameworks' promotion: the wider type; float32 for bfloat16 with float16.
NC_INLINE constexpr DType promote(DType a, DType b) {
  if (a == b) return a;
  if (a == DType::float64 || b == DType::float64) return DType::float64;
  return DType::float32;
}

template <class To, class From>
NC_INLINE To bit_cast(From from) {
  static_assert(sizeof(To) == sizeof(From));
  To to;
  memcpy(&to, &from, sizeof(to));
  return to;
}

// A binary format of at most 16 bits: sign, exponent, mantissa.
template <int ExponentBits, int MantissaBits, uint32_t MaxFinite, uint32_t Overflow, uint32_t QuietNan>
struct SmallFloat {
  static constexpr int exponent_bits = ExponentBits;
  static constexpr int mantissa_bits = MantissaBits;
  static constexpr int bias = (1 << (ExponentBits - 1)) - 1;
  static constexpr uint32_t sign_bit = 1u << (ExponentBits + MantissaBits);
  static constexpr uint32_t max_finite = MaxFinite;  // codes without sign
  static constexpr uint32_t overflow = Overflow;
  static constexpr uint32_t infinity = ((1u << ExponentBits) - 1) << MantissaBits;  // a number in E4M3
  static constexpr uint32_t quiet_nan = QuietNan;
};
using Bfloat16 = SmallFloat<8, 7, 0x7f7f, 0x7f80, 0x7fc0>;
using Float16 = SmallFloat<5, 10, 0x7bff, 0x7c00, 0x7e00>;
using Float8E4m3 = SmallFloat<4, 3, 0x7e, 0x7e, 0x7f>;
using Float8E5m2 = SmallFloat<5, 2, 0x7b, 0x7b, 0x7e>;

// One rounding from float64, in integers: correct for every format, subnormals included.
template <class Format>
NC_INLINE uint32_t encode(double value) {
  const uint64_t bits = bit_cast<uint64_t>(value);
  const uint64_t magnitude = bits & 0x7fffffffffffffffull;
  const uint32_t sign = (bits >> 63) != 0 ? Format::sign_bit : 0;
  if (magnitude > 0x7ff0000000000000ull) return Format::quiet_nan;
  const int exponent = static_cast<int>(magnitude >> 52) - 1023;
  constexpr int min_exponent = 1 - Format::bias;
  const bool normal = exponent >= min_exponent;
  const int shift = 52 - Format::mantissa_bits + (normal ? 0 : min_exponent - exponent);
  if (shift >= 54) return sign;  // below half of the smallest subnormal
  if (exponent > Format::bias + 1) return sign | Format::overflow;
  const uint64_t significand = (magnitude & 0xfffffffffffffull) | 0x10000000000000ull;
  const uint64_t rest = significand & ((1ull << shift) - 1);
  const uint64_t half = 1ull << (shift - 1);
  uint32_t code = static_cast<uint32_t>(significand >> shift);
  if (rest > half || (rest == half && (code & 1) != 0)) ++code;
  // A carry out of the mantissa correctly increments the exponent.
  if (normal) code += static_cast<uint32_t>(exponent - min_exponent) << Format::mantissa_bits;
  return sign | (code > Format::max_finite ? Format::overflow : code);
}

template <class Format>
NC_INLINE float decode(uint32_t code) {
  const uint32_t magnitude = code & (Format::sign_bit - 1);
  const uint32_t sign = (code & Format::sign_bit) != 0 ? 0x80000000u : 0;
  const uint32_t mantissa_mask = (1u << Format::mantissa_bits) - 1;
  if (magnitude > Format::max_finite) {
    const bool infinity = magnitude == Format::infinity;
    return bit_cast<float>(sign | (infinity ? 0x7f800000u : 0x7fc00000u));
  }
  if (magnitude <= mantissa_mask && Format::exponent_bits < 8) {
    constexpr int ulp_exponent = 1 - Format::bias - Format::mantissa_bits;
    const float ulp = bit_cast<float>(static_cast<uint32_t>(ulp_exponent + 127) << 23);
    return bit_cast<float>(bit_cast<uint32_t>(static_cast<float>(magnitude) * ulp) | sign);
  }
  const uint32_t rebias = static_cast<uint32_t>(127 - Format::bias) << 23;
  return bit_cast<float>(sign | ((magnitude << (23 - Format::mantissa_bits)) + rebias));
}

// Rounds the bits of a float to bfloat16 in the upper half, in few steps; the caller handles NaN. U is uint32_t or a
// vector of it.
template <class U>
NC_INLINE U bfloat16_round_bits(U bits) {
  return bits + 0x7fffu + ((bits >> 16) & 1u);
}

NC_INLINE uint32_t encode_bfloat16(float value) {
  if (value != value) return Bfloat16::quiet_nan;
  return bfloat16_round_bits(bit_cast<uint32_t>(value)) >> 16;
}
NC_INLINE float decode_bfloat16(uint32_t code) { return bit_cast<float>(code << 16); }

NC_INLINE uint32_t encode_float16(float value) {
  const uint32_t bits = bit_cast<uint32_t>(value);
  const uint32_t magnitude = bits & 0x7fffffffu;
  const uint32_t sign = (bits >> 16) & 0x8000u;
  if (magnitude > 0x7f800000u) return Float16::quiet_nan;
  if (magnitude >= 0x477ff000u) return sign | 0x7c00u;  // 65520, the tie above 65504
  if (magnitude < 0x38800000u) {
    // Subnormal: the ulp of 0.5f is 2^-24, float16's smallest step, so the addition rounds.
    return sign | (bit_cast<uint32_t>(bit_cast<float>(magnitude) + 0.5f) - 0x3f000000u);
  }
  return sign | ((magnitude + 0xfffu + ((magnitude >> 13) & 1u) - 0x38000000u) >> 13);
}

// FP8 from float in fewer steps. V is float or a vector of float; U is uint32_t or a vector of the same length.
template <class Format, class U, class V>
NC_INLINE U float8_bits(V value) {
  constexpr int shift = 23 - Format::mantissa_bits;
  constexpr uint32_t rebias = static_cast<uint32_t>(127 - Format::bias) << 23;
  constexpr uint32_t most = (Format::max_finite << shift) + rebias;
  constexpr uint32_t least_normal = (1u << 23) + rebias;
  const U bits = bit_cast<U>(value);
  const U magnitude = bits & 0x7fffffffu;
  const U clamped = magnitude > most ? U{} + most : magnitude;
  // Subnormals take the exponent of the smallest normal number.
  const U exponent = (clamped & 0x7f800000u) > least_normal ? clamped & 0x7f800000u : U{} + least_normal;
  // A float whose ulp is the format's step at this exponent: adding it rounds.
  const U shifter = exponent + (static_cast<uint32_t>(shift) << 23);
  const U steps = bit_cast<U>(bit_cast<V>(clamped) + bit_cast<V>(shifter)) - shifter;
  const U code = steps + ((exponent - least_normal) >> shift);
  return (value != value) ? U{} + Format::quiet_nan : code | ((bits ^ magnitude) >> 24);
}
template <class Format, class V, class U>
NC_INLINE V float8_value(U code) {
  constexpr int shift = 23 - Format::mantissa_bits;
  constexpr uint32_t rebias = static_cast<uint32_t>(127 - Format::bias) << 23;
  // A float whose ulp is the format's smallest step. No intermediate is a float32 subnormal, which many processors
  // handle slowly.
  constexpr uint32_t shifter = static_cast<uint32_t>(127 + 23 + 1 - Format::bias - Format::mantissa_bits) << 23;
  const U magnitude = code & 0x7fu;
  const U sign = (code & 0x80u) << 24;
  const U normal = (magnitude << shift) + rebias;
  const U subnormal = bit_cast<U>(bit_cast<V>(magnitude | shifter) - bit_cast<float>(shifter));
  const U finite = magnitude < (1u << Format::mantissa_bits) ? subnormal : normal;
  constexpr bool has_infinity = Format::infinity > Format::max_finite;
  const U nan = U{} + 0x7fc00000u;
  const U special = has_infinity ? (magnitude == Format::infinity ? U{} + 0x7f800000u : nan) : nan;
  return bit_cast<V>((magnitude > Format::max_finite ? special : finite) | sign);
}

// E8M0, the format of block scales: 2^(code - 127), 255 for NaN. value = element * scale.
NC_INLINE float decode_e8m0(uint32_t code) {
  if (code == 255) return bit_cast<float>(uint32_t{0x7fc00000});
  return bit_cast<float>(code == 0 ? uint32_t{0x00400000} : code << 23);
}

// Rounds float or double to a format and back. V may be a vector: see cpu/vec8.h.
template <class V>
struct Rounding;

template <>
struct Rounding<float> {
  static NC_INLINE float float32(float v) { return v; }
  static NC_INLINE float bfloat16(float v) { return decode_bfloat16(encode_bfloat16(v)); }
  static NC_INLINE float float16(float v) { return decode<Float16>(encode_float16(v)); }
};

template <>
struct Rounding<double> {
  static NC_INLINE double float32(double v) { return static_cast<double>(static_cast<float>(v)); }
  static NC_INLINE double bfloat16(double v) { return decode_bfloat16(encode<Bfloat16>(v)); }
  static NC_INLINE double float16(double v) { return decode<Float16>(encode<Float16>(v)); }
};

// A format known at compile time or at run time.
template <DType T>
struct StaticFormat {
  static NC_INLINE constexpr DType dtype() { return T; }
};
struct RuntimeFormat {
  DType type;
  NC_INLINE DType dtype() const { return type; }
};

// rd_T(v), kept in the compute type.
template <class V>
NC_INLINE V round_as(DType type, V v) {
  switch (type) {
    case DType::float32:
      return Rounding<V>::float32(v);
    case DType::bfloat16:
      return Rounding<V>::bfloat16(v);
    case DType::float16:
      return Rounding<V>::float16(v);
    default:
      return v;
  }
}
template <DType T, class V>
NC_INLINE V round_to(StaticFormat<T>, V v) {
  return round_as(T, v);
}
template <class V>
inline NC_NOINLINE V round_to(RuntimeFormat format, V v) {
  return round_as(format.type, v);
}

// rd_T(v) of an intermediate value: a NaN stays a NaN but is not made canonical, because every store does that. NaN
// operands are canonical, loaded from memory of format T, or computed from such. Vectors overload it with fewer steps.
template <class Format, class V>
NC_INLINE V round_intermediate(Format format, V v) {
  return round_to(format, v);
}

// Scalar loads and stores, for code that need not be fast.
NC_INLINE double load_scalar(DType t, const void* p) {
  uint16_t half;
  uint8_t byte;
  float single;
  double wide;
  switch (t) {
    case DType::float64:
      memcpy(&wide, p, 8);
      return wide;
    case DType::float32:
      memcpy(&single, p, 4);
      return single;
    case DType::bfloat16:
      memcpy(&half, p, 2);
      return decode<Bfloat16>(half);
    case DType::float16:
      memcpy(&half, p, 2);
      return decode<Float16>(half);
    case DType::float8_e4m3:
      memcpy(&byte, p, 1);
      return decode<Float8E4m3>(byte);
    case DType::float8_e8m0:
      memcpy(&byte, p, 1);
      return decode_e8m0(byte);
    default:
      memcpy(&byte, p, 1);
      return decode<Float8E5m2>(byte);
  }
}

// Any format but E8M0: for block scales see core/fp8_scale.h.
NC_INLINE void store_scalar(DType t, void* p, double v) {
  float single;
  uint16_t half;
  uint8_t byte;
  switch (t) {
    case DType::float64:
      if (v != v) v = bit_cast<double>(uint64_t{0x7ff8000000000000});
      memcpy(p, &v, 8);
      return;
    case DType::float32:
      single = v != v ? bit_cast<float>(uint32_t{0x7fc00000}) : static_cast<float>(v);
      memcpy(p, &single, 4);
      return;
    case DType::bfloat16:
      half = static_cast<uint16_t>(encode<Bfloat16>(v));
      memcpy(p, &half, 2);
      return;
    case DType::float16:
      half = static_cast<uint16_t>(encode<Float16>(v));
      memcpy(p, &half, 2);
      return;
    case DType::float8_e4m3:
      byte = static_cast<uint8_t>(encode<Float8E4m3>(v));
      memcpy(p, &byte, 1);
      return;
    default:
      byte = static_cast<uint8_t>(encode<Float8E5m2>(v));
      memcpy(p, &byte, 1);
      return;
  }
}

}  // namespace NC_LEVEL
}  // namespace nc
