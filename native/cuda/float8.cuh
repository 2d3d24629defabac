// Vectors of 8 FP8 elements: the counterpart of vec8.cuh.
#pragma once

#include "../core/fp8_scale.h"
#include "parameters.h"
#include "vec8.cuh"

namespace nc {
inline namespace NC_LEVEL {

using PackedFloat8 = simt::Word8;

// Makes NaN canonical, whatever NaN the device produced.
template <class Format>
NC_DEVICE uint32_t float8_pair(float low, float high) {
  uint32_t pair = Format::mantissa_bits == 3 ? simt::float8_e4m3_pair(low, high) : simt::float8_e5m2_pair(low, high);
  if (low != low) pair = (pair & 0xff00u) | Format::quiet_nan;
  if (high != high) pair = (pair & 0x00ffu) | Format::quiet_nan << 8;
  return pair;
}

template <class Format>
NC_DEVICE PackedFloat8 packed_float8(const Vec8<float>& v) {
  PackedFloat8 p;
  NC_UNROLL for (int i = 0; i < 2; ++i) {
    p.w[i] = float8_pair<Format>(v.v[4 * i], v.v[4 * i + 1]) | float8_pair<Format>(v.v[4 * i + 2], v.v[4 * i + 3])
                                                                   << 16;
  }
  return p;
}
template <class Format>
NC_DEVICE PackedFloat8 packed_float8(const Vec8<double>& v) {
  PackedFloat8 p{};
  NC_UNROLL for (int i = 0; i < kVecWidth; ++i) p.w[i / 4] |= encode<Format>(v.v[i]) << (8 * (i % 4));
  return p;
}
// Rounds to nearest even, saturating. The format is uniform across a kernel's threads.
template <class C>
NC_DEVICE PackedFloat8 packed_float8(DType format, const Vec8<C>& v) {
  return format == DType::float8_e4m3 ? packed_float8<Float8E4m3>(v) : packed_float8<Float8E5m2>(v);
}

template <class Format>
NC_DEVICE Vec8<float> unpacked_float8(PackedFloat8 p) {
  Vec8<float> r;
  NC_UNROLL for (int i = 0; i < kVecWidth; ++i) {
    r.v[i] = float8_value<Format, float>(p.w[i / 4] >> (8 * (i % 4)) & 0xffu);
  }
  return r;
}
NC_DEVICE Vec8<float> unpacked_float8(DType format, PackedFloat8 p) {
  return format == DType::float8_e4m3 ? unpacked_float8<Float8E4m3>(p) : unpacked_float8<Float8E5m2>(p);
}

// Vector number `vec` of an FP8 row, with `count` valid elements. words: rows are 8-byte aligned, so whole vectors take
// one access.
NC_DEVICE void store_float8(bool words, char* row, int vec, int count, PackedFloat8 p) {
  char* const to = row + static_cast<int64_t>(vec) * kVecWidth;
  if (words && count == kVecWidth) return simt::store8(to, p);
  NC_UNROLL for (int i = 0; i < kVecWidth; ++i) {
    if (i < count) store_at(to, i, static_cast<uint8_t>(p.w[i / 4] >> (8 * (i % 4))));
  }
}
NC_DEVICE PackedFloat8 load_float8(bool words, const char* row, int vec, int count) {
  const char* const from = row + static_cast<int64_t>(vec) * kVecWidth;
  if (words && count == kVecWidth) return simt::load8(from);
  PackedFloat8 p{};
  NC_UNROLL for (int i = 0; i < kVecWidth; ++i) {
    if (i < count) p.w[i / 4] |= static_cast<uint32_t>(load_at<uint8_t>(from, i)) << (8 * (i % 4));
  }
  return p;
}

// The largest magnitude of a vector, ignoring NaN.
template <class C>
NC_DEVICE C largest_magnitude(const Vec8<C>& v) {
  C largest = 0;
  NC_UNROLL for (int i = 0; i < kVecWidth; ++i) largest = larger_magnitude(largest, v.v[i]);
  return largest;
}

// Atomic maximum of a non-negative float32 in global memory: its bits order like its value.
NC_DEVICE void atomic_max(char* address, float to) {
  simt::atomic_max(reinterpret_cast<uint32_t*>(address), bit_cast<uint32_t>(to));
}

}  // namespace NC_LEVEL
}  // namespace nc
