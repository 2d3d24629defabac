// FP8 of one matrix at a time on CUDA devices. Threads stride over the vectors of all rows. The instances of a kernel
// differ only in how they access vectors: as words or element by element.
#pragma once

#include "access.cuh"
#include "float8.cuh"

namespace nc {
inline namespace NC_LEVEL {

constexpr int kFp8Threads = 256;
constexpr int kBlockOctets = kScaleBlock / kVecWidth;

// The octets of a thread: its global index, then every further one at the stride of all threads. A row is padded to
// whole scale blocks.
struct Octets {
  int64_t rows, columns;
  int64_t per_row;
  int64_t rounds;                  // per thread
  int64_t step_rows, step_octets;  // stride from one round to the next
};

class OctetPlace {
 public:
  NC_DEVICE explicit OctetPlace(const Octets& o)
      : row(0), octet(simt::block_index() * kFp8Threads + simt::thread_index()) {
    if (o.rows == 1) return;
    row = octet / o.per_row;
    octet -= row * o.per_row;
  }
  NC_DEVICE void advance(const Octets& o) {
    row += o.step_rows;
    octet += o.step_octets;
    if (octet < o.per_row) return;
    octet -= o.per_row;
    ++row;
  }
  // Number of valid elements of the octet.
  NC_DEVICE int count(const Octets& o) const {
    const int64_t left = row < o.rows ? o.columns - octet * kVecWidth : 0;
    return static_cast<int>(left < 0 ? 0 : left < kVecWidth ? left : kVecWidth);
  }

  int64_t row, octet;
};

// A wide format on 16-byte boundaries, FP8 on 8-byte ones. A partial octet at the end of a row is accessed element by
// element. Loaded data stays packed until it is used, so that no instruction waits for it earlier.
template <DType T>
struct InWords {
  static constexpr int rounds_together = 4;
  static constexpr int width = bytes_of(T);
  using Loaded = Packed<T>;
  NC_DEVICE explicit InWords(DType, Access) {}

  NC_DEVICE Loaded load(const char* row, int64_t octet, int count) const {
    const char* const from = row + octet * (kVecWidth * width);
    if (count == kVecWidth) return load_once<T>(from, 0);
    Loaded part{};
    NC_UNROLL for (int i = 0; i < kVecWidth; ++i) {
      if (i >= count) continue;
      const char* const p = from + i * width;
      const uint32_t bits =
          width == 4 ? load_raw<uint32_t>(Access::elements, p) : load_raw<uint16_t>(Access::elements, p);
      const int word = i * width / 4;
      part.w[word / 4].w[word % 4] |= bits << (i * width % 4 * 8);
    }
    return part;
  }
  NC_DEVICE Octet<float> values(const Loaded& loaded) const { return unpacked(loaded); }
  NC_DEVICE void store(char* row, int64_t octet, int count, const Octet<float>& v) const {
    const Access access = count == kVecWidth ? Access::octets : Access::elements;
    nc::store(StaticFormat<T>{}, access, row + octet * (kVecWidth * width), 0, count, v);
  }
  NC_DEVICE Octet8 load_float8(const char* row, int64_t octet, int count) const {
    return nc::load_float8(true, row + octet * kVecWidth, 0, count);
  }
  NC_DEVICE void store_float8(char* row, int64_t octet, int count, Octet8 p) const {
    nc::store_float8(true, row + octet * kVecWidth, 0, count, p);
  }
};

// Any wide format at any alignment.
struct ByElements {
  static constexpr int rounds_together = 1;
  using Loaded = Octet<float>;
  RuntimeFormat format;
  Access access;
  NC_DEVICE ByElements(DType type, Access wide) : format{type}, access(wide) {}

  NC_DEVICE int64_t offset(int64_t octet) const { return octet * (kVecWidth * bytes_of(format.type)); }
  NC_DEVICE Loaded load(const char* row, int64_t octet, int count) const {
    return nc::load<float>(format, access, row + offset(octet), 0, count);
  }
  NC_DEVICE Octet<float> values(const Loaded& loaded) const { return loaded; }
  NC_DEVICE void store(char* row, int64_t octet, int count, const Octet<float>& v) const {
    nc::store(format, access, row + offset(octet), 0, count, v);
  }
  NC_DEVICE Octet8 load_float8(const char* row, int64_t octet, int count) const {
    return nc::load_float8(false, row + octet * kVecWidth, 0, count);
  }
  NC_DEVICE void store_float8(char* row, int64_t octet, int count, Octet8 p) const {
    nc::store_float8(false, row + octet * kVecWidth, 0, count, p);
  }
};

// Calls use(place, count, load(place, count)) for each octet of a thread, and loads `Together` octets before using the
// first. All threads do the same number of rounds: count is 0 where a thread has no octet, and nothing is loaded there.
template <int Together, class Value, class Load, class Use>
NC_DEVICE void for_each_octet(const Octets& o, Load load, Use use) {
  OctetPlace next(o);
  for (int64_t round = 0; round < o.rounds; round += Together) {
    OctetPlace place = next;
    Value values[Together];
    NC_UNROLL for (int i = 0; i < Together; ++i) {
      const int count = next.count(o);
      values[i] = count > 0 ? load(next, count) : Value{};
      next.advance(o);
    }
    NC_UNROLL for (int i = 0; i < Together; ++i) {
      use(place, place.count(o), values[i]);
      place.advance(o);
    }
  }
}

// Atomically maximises *amax once per block with the largest value of the block's threads.
NC_DEVICE void raise_by_block(char* amax, float largest) {
  NC_UNROLL for (int mask = 16; mask > 0; mask /= 2) {
    largest = larger_magnitude(largest, simt::shuffle_xor(largest, mask));
  }
  float* const of_warps = reinterpret_cast<float*>(simt::shared_memory());
  if (simt::thread_index() % 32 == 0) of_warps[simt::thread_index() / 32] = largest;
  simt::block_barrier();
  if (simt::thread_index() != 0) return;
  NC_UNROLL for (int warp = 1; warp < kFp8Threads / 32; ++warp) largest = larger_magnitude(largest, of_warps[warp]);
  if (largest > 0) raise(amax, largest);
}
constexpr int kRaiseBytes = kFp8Threads / 32 * 4;

struct AmaxParameters {
  Fp8AmaxArguments a;
  Octets octets;
  Access access;
};
template <class A>
NC_KERNEL(kFp8Threads, 2)
void fp8_amax_kernel(const AmaxParameters p) {
  const A access(p.a.x, p.access);
  float largest = 0;
  for_each_octet<A::rounds_together, typename A::Loaded>(
      p.octets,
      [&](const OctetPlace& place, int count) {
        return access.load(p.a.from + place.row * p.a.stride, place.octet, count);
      },
      [&](const OctetPlace&, int, const typename A::Loaded& x) {
        largest = larger_magnitude(largest, largest_magnitude(access.values(x)));
      });
  raise_by_block(p.a.amax, largest);
}

struct QuantizeParameters {
  Fp8QuantizeArguments a;
  Octets octets;
  Access access;
};
template <class A>
NC_KERNEL(kFp8Threads, 2)
void fp8_quantize_kernel(const QuantizeParameters p) {
  const A access(p.a.x, p.access);
  const Octet<float> scale = Octet<float>::all(simt::load_value<float>(p.a.scale));
  float largest = 0;
  for_each_octet<A::rounds_together, typename A::Loaded>(
      p.octets,
      [&](const OctetPlace& place, int count) {
        return access.load(p.a.from + place.row * p.a.from_stride, place.octet, count);
      },
      [&](const OctetPlace& place, int count, const typename A::Loaded& x) {
        const Octet<float> v = access.values(x);
        largest = larger_magnitude(largest, largest_magnitude(v));
        if (count == 0) return;
        access.store_float8(p.a.to + place.row * p.a.to_stride, place.octet, count,
                            packed_float8(p.a.format, v * scale));
      });
  if (p.a.amax != nullptr) raise_by_block(p.a.amax, largest);
}

// Four consecutive threads hold a scale block: a row has a multiple of four octets.
template <class A>
NC_KERNEL(kFp8Threads, 2)
void fp8_quantize_blocks_kernel(const QuantizeParameters p) {
  const A access(p.a.x, p.access);
  const int64_t blocks = p.octets.per_row / kBlockOctets;
  for_each_octet<A::rounds_together, typename A::Loaded>(
      p.octets,
      [&](const OctetPlace& place, int count) {
        return access.load(p.a.from + place.row * p.a.from_stride, place.octet, count);
      },
      [&](const OctetPlace& place, int count, const typename A::Loaded& x) {
        const Octet<float> v = access.values(x);
        float largest = largest_magnitude(v);
        NC_UNROLL for (int mask = 1; mask < kBlockOctets; mask *= 2) {
          largest = larger_magnitude(largest, simt::shuffle_xor(largest, mask));
        }
        if (count == 0) return;
        const uint32_t code = e8m0_of(largest, p.a.format);
        if (place.octet % kBlockOctets == 0) {
          simt::store_value(p.a.block_scales + place.row * blocks + place.octet / kBlockOctets,
                            static_cast<uint8_t>(code));
        }
        access.store_float8(p.a.to + place.row * p.a.to_stride, place.octet, count,
                            packed_float8(p.a.format, v * Octet<float>::all(block_scale_of(code))));
      });
}

struct DequantizeParameters {
  Fp8DequantizeArguments a;
  Octets octets;
  Access access;
};
NC_DEVICE float scale_inv_at(const DequantizeParameters& p, const OctetPlace& place) {
  if (p.a.scaling == Scaling::block) {
    const int64_t blocks = p.octets.per_row / kBlockOctets;
    const char* const code = p.a.scale_inv + place.row * blocks + place.octet / kBlockOctets;
    return decode_e8m0(simt::load_value<uint8_t>(code));
  }
  return simt::load_value<float>(p.a.scale_inv + (p.a.scaling == Scaling::row ? place.row : 0) * sizeof(float));
}
template <class A>
NC_KERNEL(kFp8Threads, 2)
void fp8_dequantize_kernel(const DequantizeParameters p) {
  const A access(p.a.y, p.access);
  struct Codes {
    Octet8 q;
    float scale_inv;
  };
  for_each_octet<A::rounds_together, Codes>(
      p.octets,
      [&](const OctetPlace& place, int count) -> Codes {
        return {access.load_float8(p.a.from + place.row * p.a.from_stride, place.octet, count), scale_inv_at(p, place)};
      },
      [&](const OctetPlace& place, int count, const Codes& codes) {
        if (count == 0) return;
        access.store(p.a.to + place.row * p.a.to_stride, place.octet, count,
                     unpacked_float8(p.a.format, codes.q) * Octet<float>::all(codes.scale_inv));
      });
}

struct ScaleParameters {
  Fp8ScaleArguments a;
};
NC_KERNEL(kFp8Threads, 1)
void fp8_scale_kernel(const ScaleParameters p) {
  const int64_t i = simt::block_index() * kFp8Threads + simt::thread_index();
  if (i >= p.a.count) return;
  const int64_t at = i * static_cast<int64_t>(sizeof(float));
  const float amax = simt::load_value<float>(p.a.amax + at);
  const float scale = scale_of(amax, p.a.format, p.a.margin, p.a.power_of_two);
  if (p.a.scale != nullptr) simt::store_value(p.a.scale + at, scale);
  if (p.a.scale_inv != nullptr) simt::store_value(p.a.scale_inv + at, inverse_of(scale));
}

}  // namespace NC_LEVEL
}  // namespace nc
