// float32: two neighbouring threads load whole 32-byte sectors, one vector after the other, and swap halves by
// shuffles; the same for stores. Only for rows of whole pairs of vectors.
#pragma once

#include "cuda/vec8.cuh"

namespace nc {
inline namespace NC_LEVEL {

template <>
NC_DEVICE Packed<DType::float32> load_once<DType::float32>(const char* row, int vec) {
  const bool odd = vec % 2 != 0;
  const char* const pair = address_of<DType::float32>(row, vec - vec % 2) + (odd ? 16 : 0);
  const simt::Word16 of_even = simt::load16_once(pair), of_odd = simt::load16_once(pair + 32);
  Packed<DType::float32> p;
  NC_UNROLL for (int j = 0; j < 4; ++j) {
    const uint32_t got = simt::shuffle_xor(odd ? of_even.w[j] : of_odd.w[j], 1);
    p.w[0].w[j] = odd ? got : of_even.w[j];
    p.w[1].w[j] = odd ? of_odd.w[j] : got;
  }
  return p;
}

template <>
NC_DEVICE void store<DType::float32>(char* row, int vec, const Packed<DType::float32>& p) {
  const bool odd = vec % 2 != 0;
  char* const pair = row + (vec - vec % 2) * 32 + (odd ? 16 : 0);
  simt::Word16 of_even, of_odd;
  NC_UNROLL for (int j = 0; j < 4; ++j) {
    const uint32_t got = simt::shuffle_xor(odd ? p.w[0].w[j] : p.w[1].w[j], 1);
    of_even.w[j] = odd ? got : p.w[0].w[j];
    of_odd.w[j] = odd ? p.w[1].w[j] : got;
  }
  simt::store16(pair, of_even);
  simt::store16(pair + 32, of_odd);
}

}  // namespace NC_LEVEL
}  // namespace nc
