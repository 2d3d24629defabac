// A vector of 8 consecutive elements of a row, held by one thread: arithmetic, packed forms in 16-byte words, loads and
// stores. The counterpart of cpu/vec8.h.
#pragma once

#include "../core/dtype.h"
#include "../core/reduction_order.h"
#include "../core/row_math.h"
#include "simt.cuh"

namespace nc {
inline namespace NC_LEVEL {

template <class C>
struct Vec8 {
  C v[kVecWidth];

  static NC_DEVICE Vec8 all(C c) {
    Vec8 r;
    NC_UNROLL for (int i = 0; i < kVecWidth; ++i) r.v[i] = c;
    return r;
  }
  static NC_DEVICE Vec8 zero() { return all(C(0)); }

  friend NC_DEVICE Vec8 operator+(Vec8 a, Vec8 b) {
    NC_UNROLL for (int i = 0; i < kVecWidth; ++i) a.v[i] = a.v[i] + b.v[i];
    return a;
  }
  friend NC_DEVICE Vec8 operator-(Vec8 a, Vec8 b) {
    NC_UNROLL for (int i = 0; i < kVecWidth; ++i) a.v[i] = a.v[i] - b.v[i];
    return a;
  }
  friend NC_DEVICE Vec8 operator*(Vec8 a, Vec8 b) {
    NC_UNROLL for (int i = 0; i < kVecWidth; ++i) a.v[i] = a.v[i] * b.v[i];
    return a;
  }
  friend NC_DEVICE Vec8 operator/(Vec8 a, Vec8 b) {
    NC_UNROLL for (int i = 0; i < kVecWidth; ++i) a.v[i] = a.v[i] / b.v[i];
    return a;
  }
};

template <class C>
NC_DEVICE Vec8<C> fma(Vec8<C> a, Vec8<C> b, Vec8<C> c) {
  NC_UNROLL for (int i = 0; i < kVecWidth; ++i) c.v[i] = fma(a.v[i], b.v[i], c.v[i]);
  return c;
}

// Tree reduction, as in core/reduction_order.h.
template <class C>
NC_DEVICE C sum_of_positions(Vec8<C> a) {
  const C s0 = a.v[0] + a.v[4], s1 = a.v[1] + a.v[5], s2 = a.v[2] + a.v[6], s3 = a.v[3] + a.v[7];
  return (s0 + s2) + (s1 + s3);
}

NC_DEVICE float low_bfloat16(uint32_t pair) { return decode_bfloat16(pair & 0xffffu); }
NC_DEVICE float high_bfloat16(uint32_t pair) { return decode_bfloat16(pair >> 16); }

// The device rounds pairs in one instruction. A NaN in registers need not be canonical: stores make it so.
template <>
struct Rounding<Vec8<float>> {
  static NC_DEVICE Vec8<float> float32(Vec8<float> a) { return a; }
  static NC_DEVICE Vec8<float> bfloat16(Vec8<float> a) {
    NC_UNROLL for (int i = 0; i < kVecWidth; i += 2) {
      const uint32_t pair = simt::bfloat16_pair(a.v[i], a.v[i + 1]);
      a.v[i] = low_bfloat16(pair);
      a.v[i + 1] = high_bfloat16(pair);
    }
    return a;
  }
  static NC_DEVICE Vec8<float> float16(Vec8<float> a) {
    NC_UNROLL for (int i = 0; i < kVecWidth; i += 2) {
      const uint32_t pair = simt::float16_pair(a.v[i], a.v[i + 1]);
      a.v[i] = simt::from_float16(pair & 0xffffu);
      a.v[i + 1] = simt::from_float16(pair >> 16);
    }
    return a;
  }
};
template <>
struct Rounding<Vec8<double>> {
  static NC_DEVICE Vec8<double> float32(Vec8<double> a) {
    NC_UNROLL for (int i = 0; i < kVecWidth; ++i) a.v[i] = Rounding<double>::float32(a.v[i]);
    return a;
  }
  static NC_DEVICE Vec8<double> bfloat16(Vec8<double> a) {
    NC_UNROLL for (int i = 0; i < kVecWidth; ++i) a.v[i] = Rounding<double>::bfloat16(a.v[i]);
    return a;
  }
  static NC_DEVICE Vec8<double> float16(Vec8<double> a) {
    NC_UNROLL for (int i = 0; i < kVecWidth; ++i) a.v[i] = Rounding<double>::float16(a.v[i]);
    return a;
  }
};

// v for the valid elements, 0 for the others.
template <class C>
NC_DEVICE Vec8<C> where_present(int count, Vec8<C> v) {
  NC_UNROLL for (int i = 0; i < kVecWidth; ++i) v.v[i] = i < count ? v.v[i] : C(0);
  return v;
}

NC_INLINE constexpr int words_per_vec(DType t) { return kVecWidth * bytes_of(t) / 16; }

// The in-memory representation.
template <DType T>
struct Packed {
  static constexpr int words = words_per_vec(T);
  simt::Word16 w[words];
};

// Replaces a NaN in either half, 0x7fff from the device, by the canonical NaN of the format.
template <class Format>
NC_DEVICE uint32_t with_canonical_nan(uint32_t pair) {
  // Adding 1 carries into the sign of a positive half only from 0x7fff; negative halves are masked.
  const uint32_t nan = (pair + 0x00010001u) & ~pair & 0x80008000u;
  return pair - (nan >> 15) * (0x7fffu - Format::quiet_nan);
}

template <DType T>
NC_DEVICE Vec8<float> unpacked(const Packed<T>& p) {
  Vec8<float> r;
  NC_UNROLL for (int i = 0; i < Packed<T>::words; ++i) {
    NC_UNROLL for (int j = 0; j < 4; ++j) {
      const uint32_t word = p.w[i].w[j];
      if constexpr (T == DType::float32) {
        r.v[4 * i + j] = bit_cast<float>(word);
      } else if constexpr (T == DType::bfloat16) {
        r.v[2 * j] = low_bfloat16(word);
        r.v[2 * j + 1] = high_bfloat16(word);
      } else {
        r.v[2 * j] = simt::from_float16(word & 0xffffu);
        r.v[2 * j + 1] = simt::from_float16(word >> 16);
      }
    }
  }
  return r;
}

// rd_T(v)
template <DType T>
NC_DEVICE Packed<T> packed(Vec8<float> v) {
  Packed<T> p;
  NC_UNROLL for (int i = 0; i < Packed<T>::words; ++i) {
    NC_UNROLL for (int j = 0; j < 4; ++j) {
      if constexpr (T == DType::float32) {
        p.w[i].w[j] = bit_cast<uint32_t>(v.v[4 * i + j]);
      } else if constexpr (T == DType::bfloat16) {
        p.w[i].w[j] = with_canonical_nan<Bfloat16>(simt::bfloat16_pair(v.v[2 * j], v.v[2 * j + 1]));
      } else {
        p.w[i].w[j] = with_canonical_nan<Float16>(simt::float16_pair(v.v[2 * j], v.v[2 * j + 1]));
      }
    }
  }
  return p;
}

// Element `index` of an aligned array in global memory.
template <class T>
NC_DEVICE T load_at(const char* array, int64_t index) {
  return simt::load_value<T>(array + index * static_cast<int64_t>(sizeof(T)));
}
template <class T>
NC_DEVICE void store_at(char* array, int64_t index, T v) {
  simt::store_value(array + index * static_cast<int64_t>(sizeof(T)), v);
}

// Vector number `vec` of a row in global memory; every vector is full and 16-byte aligned.
template <DType T>
NC_DEVICE const char* address_of(const char* row, int vec) {
  return row + vec * (kVecWidth * bytes_of(T));
}
template <DType T>
NC_DEVICE Packed<T> load_once(const char* row, int vec) {
  Packed<T> p;
  NC_UNROLL for (int i = 0; i < Packed<T>::words; ++i) p.w[i] = simt::load16_once(address_of<T>(row, vec) + 16 * i);
  return p;
}
template <DType T>
NC_DEVICE Packed<T> load_parameter(const char* row, int vec) {
  Packed<T> p;
  NC_UNROLL for (int i = 0; i < Packed<T>::words; ++i) {
    p.w[i] = simt::load16_constant(address_of<T>(row, vec) + 16 * i);
  }
  return p;
}
template <DType T>
NC_DEVICE void store(char* row, int vec, const Packed<T>& p) {
  char* to = row + vec * (kVecWidth * bytes_of(T));
  NC_UNROLL for (int i = 0; i < Packed<T>::words; ++i) simt::store16(to + 16 * i, p.w[i]);
}

}  // namespace NC_LEVEL
}  // namespace nc

// A variant's specialisations of load_once and store.
#ifdef NC_TUNE_ACCESS_HEADER
#include NC_TUNE_ACCESS_HEADER
#endif
