// Vectors at any address, in any format: whole ones on 16-byte boundaries as words, all others element by element. For
// the generic kernels.
#pragma once

#include "parameters.h"
#include "vec8.cuh"

namespace nc {
inline namespace NC_LEVEL {

template <class Raw>
NC_DEVICE Raw load_raw(Alignment alignment, const char* p) {
  return alignment != Alignment::none ? simt::load_value<Raw>(p) : simt::load_anywhere<Raw>(p);
}
template <class Raw>
NC_DEVICE void store_raw(Alignment alignment, char* p, Raw raw) {
  if (alignment != Alignment::none) {
    simt::store_value(p, raw);
  } else {
    simt::store_anywhere(p, raw);
  }
}

template <DType T, class C>
NC_DEVICE C load_element(Alignment alignment, const char* p) {
  if constexpr (T == DType::float64) {
    return static_cast<C>(load_raw<double>(alignment, p));
  } else if constexpr (T == DType::float32) {
    return static_cast<C>(load_raw<float>(alignment, p));
  } else if constexpr (T == DType::bfloat16) {
    return static_cast<C>(decode_bfloat16(load_raw<uint16_t>(alignment, p)));
  } else {
    return static_cast<C>(simt::from_float16(load_raw<uint16_t>(alignment, p)));
  }
}

NC_DEVICE uint16_t encoded(StaticFormat<DType::bfloat16>, float v) { return static_cast<uint16_t>(encode_bfloat16(v)); }
NC_DEVICE uint16_t encoded(StaticFormat<DType::float16>, float v) { return static_cast<uint16_t>(encode_float16(v)); }
NC_DEVICE uint16_t encoded(StaticFormat<DType::bfloat16>, double v) {
  return static_cast<uint16_t>(encode<Bfloat16>(v));
}
NC_DEVICE uint16_t encoded(StaticFormat<DType::float16>, double v) { return static_cast<uint16_t>(encode<Float16>(v)); }

template <DType T, class C>
NC_DEVICE void store_element(Alignment alignment, char* p, C v) {
  if constexpr (T == DType::float64) {
    store_raw(alignment, p, static_cast<double>(v));
  } else if constexpr (T == DType::float32) {
    store_raw(alignment, p, static_cast<float>(v));
  } else {
    store_raw(alignment, p, encoded(StaticFormat<T>{}, v));
  }
}

// Vector number `vec` of a row, with `count` valid elements; the others are 0.
template <class C, DType T>
NC_DEVICE Vec8<C> load(StaticFormat<T>, Alignment alignment, const char* row, int vec, int count) {
  Vec8<C> r;
  if constexpr (T != DType::float64) {
    if (alignment == Alignment::vector) {
      const Vec8<float> v = unpacked(load_once<T>(row, vec));
      NC_UNROLL for (int i = 0; i < kVecWidth; ++i) r.v[i] = static_cast<C>(v.v[i]);
      return r;
    }
  }
  const char* p = row + vec * (kVecWidth * bytes_of(T));
  NC_UNROLL for (int i = 0; i < kVecWidth; ++i) {
    r.v[i] = i < count ? load_element<T, C>(alignment, p + i * bytes_of(T)) : C(0);
  }
  return r;
}
template <class C>
NC_DEVICE_CALLED Vec8<C> load(RuntimeFormat format, Alignment alignment, const char* row, int vec, int count) {
  switch (format.type) {
    case DType::float64:
      return load<C>(StaticFormat<DType::float64>{}, alignment, row, vec, count);
    case DType::float32:
      return load<C>(StaticFormat<DType::float32>{}, alignment, row, vec, count);
    case DType::bfloat16:
      return load<C>(StaticFormat<DType::bfloat16>{}, alignment, row, vec, count);
    default:
      return load<C>(StaticFormat<DType::float16>{}, alignment, row, vec, count);
  }
}

// Stores rd_T(v).
template <class C, DType T>
NC_DEVICE void store(StaticFormat<T>, Alignment alignment, char* row, int vec, int count, const Vec8<C>& v) {
  if constexpr (T != DType::float64 && sizeof(C) == sizeof(float)) {
    if (alignment == Alignment::vector) return store<T>(row, vec, packed<T>(v));
  }
  char* p = row + vec * (kVecWidth * bytes_of(T));
  NC_UNROLL for (int i = 0; i < kVecWidth; ++i) {
    if (i < count) store_element<T>(alignment, p + i * bytes_of(T), v.v[i]);
  }
}
template <class C>
NC_DEVICE_CALLED void store(RuntimeFormat format, Alignment alignment, char* row, int vec, int count,
                            const Vec8<C>& v) {
  switch (format.type) {
    case DType::float64:
      return store(StaticFormat<DType::float64>{}, alignment, row, vec, count, v);
    case DType::float32:
      return store(StaticFormat<DType::float32>{}, alignment, row, vec, count, v);
    case DType::bfloat16:
      return store(StaticFormat<DType::bfloat16>{}, alignment, row, vec, count, v);
    default:
      return store(StaticFormat<DType::float16>{}, alignment, row, vec, count, v);
  }
}

}  // namespace NC_LEVEL
}  // namespace nc
