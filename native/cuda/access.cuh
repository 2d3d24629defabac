// Vectors at any address, in any format: whole ones on 16-byte boundaries as words, all others element by element. For
// the generic kernels.
#pragma once

#include "octet.cuh"
#include "parameters.h"

namespace nc {
inline namespace NC_LEVEL {

template <class Raw>
NC_DEVICE Raw load_raw(Access access, const char* p) {
  return access != Access::bytes ? simt::load_value<Raw>(p) : simt::load_anywhere<Raw>(p);
}
template <class Raw>
NC_DEVICE void store_raw(Access access, char* p, Raw raw) {
  if (access != Access::bytes) {
    simt::store_value(p, raw);
  } else {
    simt::store_anywhere(p, raw);
  }
}

template <DType T, class C>
NC_DEVICE C load_element(Access access, const char* p) {
  if constexpr (T == DType::float64) {
    return static_cast<C>(load_raw<double>(access, p));
  } else if constexpr (T == DType::float32) {
    return static_cast<C>(load_raw<float>(access, p));
  } else if constexpr (T == DType::bfloat16) {
    return static_cast<C>(decode_bfloat16(load_raw<uint16_t>(access, p)));
  } else {
    return static_cast<C>(simt::from_float16(load_raw<uint16_t>(access, p)));
  }
}

NC_DEVICE uint16_t encoded(StaticFormat<DType::bfloat16>, float v) { return static_cast<uint16_t>(encode_bfloat16(v)); }
NC_DEVICE uint16_t encoded(StaticFormat<DType::float16>, float v) { return static_cast<uint16_t>(encode_float16(v)); }
NC_DEVICE uint16_t encoded(StaticFormat<DType::bfloat16>, double v) {
  return static_cast<uint16_t>(encode<Bfloat16>(v));
}
NC_DEVICE uint16_t encoded(StaticFormat<DType::float16>, double v) { return static_cast<uint16_t>(encode<Float16>(v)); }

template <DType T, class C>
NC_DEVICE void store_element(Access access, char* p, C v) {
  if constexpr (T == DType::float64) {
    store_raw(access, p, static_cast<double>(v));
  } else if constexpr (T == DType::float32) {
    store_raw(access, p, static_cast<float>(v));
  } else {
    store_raw(access, p, encoded(StaticFormat<T>{}, v));
  }
}

// Octet number `octet` of a row, with `count` valid elements; the others are 0.
template <class C, DType T>
NC_DEVICE Octet<C> load(StaticFormat<T>, Access access, const char* row, int octet, int count) {
  Octet<C> r;
  if constexpr (T != DType::float64) {
    if (access == Access::octets) {
      const Octet<float> v = unpacked(load_once<T>(row, octet));
      NC_UNROLL for (int i = 0; i < kVecWidth; ++i) r.v[i] = static_cast<C>(v.v[i]);
      return r;
    }
  }
  const char* p = row + octet * (kVecWidth * bytes_of(T));
  NC_UNROLL for (int i = 0; i < kVecWidth; ++i) {
    r.v[i] = i < count ? load_element<T, C>(access, p + i * bytes_of(T)) : C(0);
  }
  return r;
}
template <class C>
NC_DEVICE_CALLED Octet<C> load(RuntimeFormat format, Access access, const char* row, int octet, int count) {
  switch (format.type) {
    case DType::float64:
      return load<C>(StaticFormat<DType::float64>{}, access, row, octet, count);
    case DType::float32:
      return load<C>(StaticFormat<DType::float32>{}, access, row, octet, count);
    case DType::bfloat16:
      return load<C>(StaticFormat<DType::bfloat16>{}, access, row, octet, count);
    default:
      return load<C>(StaticFormat<DType::float16>{}, access, row, octet, count);
  }
}

// Stores rd_T(v).
template <class C, DType T>
NC_DEVICE void store(StaticFormat<T>, Access access, char* row, int octet, int count, const Octet<C>& v) {
  if constexpr (T != DType::float64 && sizeof(C) == sizeof(float)) {
    if (access == Access::octets) return store<T>(row, octet, packed<T>(v));
  }
  char* p = row + octet * (kVecWidth * bytes_of(T));
  NC_UNROLL for (int i = 0; i < kVecWidth; ++i) {
    if (i < count) store_element<T>(access, p + i * bytes_of(T), v.v[i]);
  }
}
template <class C>
NC_DEVICE_CALLED void store(RuntimeFormat format, Access access, char* row, int octet, int count, const Octet<C>& v) {
  switch (format.type) {
    case DType::float64:
      return store(StaticFormat<DType::float64>{}, access, row, octet, count, v);
    case DType::float32:
      return store(StaticFormat<DType::float32>{}, access, row, octet, count, v);
    case DType::bfloat16:
      return store(StaticFormat<DType::bfloat16>{}, access, row, octet, count, v);
    default:
      return store(StaticFormat<DType::float16>{}, access, row, octet, count, v);
  }
}

}  // namespace NC_LEVEL
}  // namespace nc
