// The tests' own number formats, computed on values with frexp, ldexp and nearbyint, where the library works on bits.
// Nothing here is shared with the library.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>

#include "normcore/normcore.h"

namespace reference {

struct Format {
  int32_t code;  // NC_FLOAT64 ...
  const char* name;
  int bytes;
  int fraction_bits;
  int bias;
  double max;
  bool saturates;     // FP8: an infinity or an overflow becomes max
  bool has_infinity;  // E4M3 uses the top exponent for numbers and has one NaN per sign
  uint64_t nan;       // the canonical quiet NaN
};

inline constexpr Format kFormats[] = {
    {NC_FLOAT64, "f64", 8, 52, 1023, std::numeric_limits<double>::max(), false, true, 0x7FF8000000000000u},
    {NC_FLOAT32, "f32", 4, 23, 127, std::numeric_limits<float>::max(), false, true, 0x7FC00000u},
    {NC_BFLOAT16, "bf16", 2, 7, 127, 0x1.FEp127, false, true, 0x7FC0u},
    {NC_FLOAT16, "f16", 2, 10, 15, 65504.0, false, true, 0x7E00u},
    {NC_FLOAT8_E4M3, "e4m3", 1, 3, 7, 448.0, true, false, 0x7Fu},
    {NC_FLOAT8_E5M2, "e5m2", 1, 2, 15, 57344.0, true, true, 0x7Eu},
};

inline const Format& format(int32_t code) { return kFormats[code]; }

inline uint64_t signBit(const Format& f) { return uint64_t{1} << (8 * f.bytes - 1); }

// The exponent of the format's smallest subnormal number.
inline int smallestExponent(const Format& f) { return 1 - f.bias - f.fraction_bits; }

// The value of a pattern. Every format's values are values of double.
inline double decode(const Format& f, uint64_t bits) {
  const uint64_t fraction = bits & ((uint64_t{1} << f.fraction_bits) - 1);
  const uint64_t exponent = (bits & (signBit(f) - 1)) >> f.fraction_bits;
  const uint64_t top = (signBit(f) - 1) >> f.fraction_bits;
  double magnitude;
  if (f.has_infinity && exponent == top) {
    magnitude = fraction == 0 ? std::numeric_limits<double>::infinity() : std::numeric_limits<double>::quiet_NaN();
  } else if (!f.has_infinity && (bits & (signBit(f) - 1)) == signBit(f) - 1) {
    magnitude = std::numeric_limits<double>::quiet_NaN();
  } else if (exponent == 0) {
    magnitude = std::ldexp(static_cast<double>(fraction), smallestExponent(f));
  } else {
    magnitude = std::ldexp(static_cast<double>(fraction + (uint64_t{1} << f.fraction_bits)),
                           static_cast<int>(exponent) + smallestExponent(f) - 1);
  }
  return (bits & signBit(f)) != 0 ? -magnitude : magnitude;
}

// The value nearest to v in the format, ties to even.
inline double round(const Format& f, double v) {
  if (std::isnan(v) || v == 0 || f.code == NC_FLOAT64) return v;
  const double beyond = std::copysign(f.saturates ? f.max : std::numeric_limits<double>::infinity(), v);
  if (std::isinf(v)) return beyond;
  int exponent;
  std::frexp(v, &exponent);
  const int quantum = std::max(exponent - 1 - f.fraction_bits, smallestExponent(f));
  const double rounded = std::ldexp(std::nearbyint(std::ldexp(v, -quantum)), quantum);
  return std::fabs(rounded) > f.max ? beyond : rounded;
}

// The pattern of the rounded value; any NaN gives the canonical one.
inline uint64_t encode(const Format& f, double v) {
  v = round(f, v);
  if (std::isnan(v)) return f.nan;
  const uint64_t sign = std::signbit(v) ? signBit(f) : 0;
  if (v == 0) return sign;
  if (std::isinf(v)) {
    if (f.saturates) return sign | encode(f, f.max);
    return sign | ((signBit(f) - 1) >> f.fraction_bits << f.fraction_bits);
  }
  int exponent;
  std::frexp(v, &exponent);
  const int quantum = std::max(exponent - 1 - f.fraction_bits, smallestExponent(f));
  const uint64_t significand = static_cast<uint64_t>(std::ldexp(std::fabs(v), -quantum));
  // A normal number's hidden bit carries into the exponent field.
  return sign | (significand + (static_cast<uint64_t>(quantum - smallestExponent(f)) << f.fraction_bits));
}

inline uint64_t loadBits(const Format& f, const void* at) {
  uint64_t bits = 0;
  std::memcpy(&bits, at, static_cast<size_t>(f.bytes));  // little endian, as every machine the library supports
  return bits;
}

inline void storeBits(const Format& f, void* at, uint64_t bits) {
  std::memcpy(at, &bits, static_cast<size_t>(f.bytes));
}

inline double load(const Format& f, const void* at) { return decode(f, loadBits(f, at)); }

inline void store(const Format& f, void* at, double v) { storeBits(f, at, encode(f, v)); }

// The wider of two formats: equal formats stay, bfloat16 with float16 is float32.
inline int32_t promote(int32_t a, int32_t b) {
  if (a == b) return a;
  if (a == NC_FLOAT64 || b == NC_FLOAT64) return NC_FLOAT64;
  return NC_FLOAT32;
}

}  // namespace reference
