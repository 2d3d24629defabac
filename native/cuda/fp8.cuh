// FP8 of one matrix at a time on CUDA devices. Threads stride over the vectors of all rows. The instances of a kernel
// differ only in how they access vectors: as words or element by element.
#pragma once

#include "float8.cuh"
#include "generic_access.cuh"

namespace nc {
inline namespace NC_LEVEL {

constexpr int kFp8Threads = 256;
constexpr int kBlockVecs = kScaleBlock / kVecWidth;

// The vectors of a thread: its global index, then every further one at the stride of all threads. A row is padded to
// whole scale blocks.
struct VecGrid {
  int64_t rows, columns;
  int64_t per_row;
  int64_t rounds;                // per thread
  int64_t step_rows, step_vecs;  // stride from one round to the next
};

class VecCoord {
 public:
  NC_DEVICE explicit VecCoord(const VecGrid& o)
      : row(0), vec(simt::block_index() * kFp8Threads + simt::thread_index()) {
    if (o.rows == 1) return;
    row = vec / o.per_row;
    vec -= row * o.per_row;
  }
  NC_DEVICE void advance(const VecGrid& o) {
    row += o.step_rows;
    vec += o.step_vecs;
    if (vec < o.per_row) return;
    vec -= o.per_row;
    ++row;
  }
  // Number of valid elements of the vector.
  NC_DEVICE int count(const VecGrid& o) const {
    const int64_t left = row < o.rows ? o.columns - vec * kVecWidth : 0;
    return static_cast<int>(left < 0 ? 0 : left < kVecWidth ? left : kVecWidth);
  }

  int64_t row, vec;
};

// A wide format on 16-byte boundaries, FP8 on 8-byte ones. A partial vector at the end of a row is accessed element by
// element. Loaded data stays packed until it is used, so that no instruction waits for it earlier.
template <DType T>
struct InWords {
  static constexpr int rounds_together = 4;
  static constexpr int width = bytes_of(T);
  using Loaded = Packed<T>;
  NC_DEVICE explicit InWords(DType, Alignment) {}

  NC_DEVICE Loaded load(const char* row, int64_t vec, int count) const {
    const char* const from = row + vec * (kVecWidth * width);
    if (count == kVecWidth) return load_once<T>(from, 0);
    Loaded part{};
    NC_UNROLL for (int i = 0; i < kVecWidth; ++i) {
      if (i >= count) continue;
      const char* const p = from + i * width;
      const uint32_t bits =
          width == 4 ? load_raw<uint32_t>(Alignment::element, p) : load_raw<uint16_t>(Alignment::element, p);
      const int word = i * width / 4;
      part.w[word / 4].w[word % 4] |= bits << (i * width % 4 * 8);
    }
    return part;
  }
  NC_DEVICE Vec8<float> values(const Loaded& loaded) const { return unpacked(loaded); }
  NC_DEVICE void store(char* row, int64_t vec, int count, const Vec8<float>& v) const {
    const Alignment alignment = count == kVecWidth ? Alignment::vector : Alignment::element;
    nc::store(StaticFormat<T>{}, alignment, row + vec * (kVecWidth * width), 0, count, v);
  }
  NC_DEVICE PackedFloat8 load_float8(const char* row, int64_t vec, int count) const {
    return nc::load_float8(true, row + vec * kVecWidth, 0, count);
  }
  NC_DEVICE void store_float8(char* row, int64_t vec, int count, PackedFloat8 p) const {
    nc::store_float8(true, row + vec * kVecWidth, 0, count, p);
  }
};

// Any wide format at any alignment.
struct ByElements {
  static constexpr int rounds_together = 1;
  using Loaded = Vec8<float>;
  RuntimeFormat format;
  Alignment alignment;
  NC_DEVICE ByElements(DType type, Alignment wide) : format{type}, alignment(wide) {}

  NC_DEVICE int64_t offset(int64_t vec) const { return vec * (kVecWidth * bytes_of(format.type)); }
  NC_DEVICE Loaded load(const char* row, int64_t vec, int count) const {
    return nc::load<float>(format, alignment, row + offset(vec), 0, count);
  }
  NC_DEVICE Vec8<float> values(const Loaded& loaded) const { return loaded; }
  NC_DEVICE void store(char* row, int64_t vec, int count, const Vec8<float>& v) const {
    nc::store(format, alignment, row + offset(vec), 0, count, v);
  }
  NC_DEVICE PackedFloat8 load_float8(const char* row, int64_t vec, int count) const {
    return nc::load_float8(false, row + vec * kVecWidth, 0, count);
  }
  NC_DEVICE void store_float8(char* row, int64_t vec, int count, PackedFloat8 p) const {
    nc::store_float8(false, row + vec * kVecWidth, 0, count, p);
  }
};

// Calls use(coord, count, load(coord, count)) for each vector of a thread, and loads `Together` vectors before using
// the first. All threads do the same number of rounds: count is 0 where a thread has no vector, and nothing is loaded
// there.
template <int Together, class Value, class Load, class Use>
NC_DEVICE void for_each_vec(const VecGrid& o, Load load, Use use) {
  VecCoord next(o);
  for (int64_t round = 0; round < o.rounds; round += Together) {
    VecCoord coord = next;
    Value values[Together];
    NC_UNROLL for (int i = 0; i < Together; ++i) {
      const int count = next.count(o);
      values[i] = count > 0 ? load(next, count) : Value{};
      next.advance(o);
    }
    NC_UNROLL for (int i = 0; i < Together; ++i) {
      use(coord, coord.count(o), values[i]);
      coord.advance(o);
    }
  }
}

// Atomically maximises *amax once per block with the largest value of the block's threads.
NC_DEVICE void block_atomic_max(char* amax, float largest) {
  NC_UNROLL for (int mask = 16; mask > 0; mask /= 2) {
    largest = larger_magnitude(largest, simt::shuffle_xor(largest, mask));
  }
  float* const of_warps = reinterpret_cast<float*>(simt::shared_memory());
  if (simt::thread_index() % 32 == 0) of_warps[simt::thread_index() / 32] = largest;
  simt::block_barrier();
  if (simt::thread_index() != 0) return;
  NC_UNROLL for (int warp = 1; warp < kFp8Threads / 32; ++warp) largest = larger_magnitude(largest, of_warps[warp]);
  if (largest > 0) atomic_max(amax, largest);
}
constexpr int kBlockMaxBytes = kFp8Threads / 32 * 4;

struct AmaxParameters {
  Fp8AmaxArguments a;
  VecGrid vecs;
  Alignment alignment;
};
template <class A>
NC_KERNEL(kFp8Threads, 2)
void fp8_amax_kernel(const AmaxParameters p) {
  const A accessor(p.a.x, p.alignment);
  float largest = 0;
  for_each_vec<A::rounds_together, typename A::Loaded>(
      p.vecs,
      [&](const VecCoord& coord, int count) {
        return accessor.load(p.a.from + coord.row * p.a.stride, coord.vec, count);
      },
      [&](const VecCoord&, int, const typename A::Loaded& x) {
        largest = larger_magnitude(largest, largest_magnitude(accessor.values(x)));
      });
  block_atomic_max(p.a.amax, largest);
}

struct QuantizeParameters {
  Fp8QuantizeArguments a;
  VecGrid vecs;
  Alignment alignment;
};
template <class A>
NC_KERNEL(kFp8Threads, 2)
void fp8_quantize_kernel(const QuantizeParameters p) {
  const A accessor(p.a.x, p.alignment);
  const Vec8<float> scale = Vec8<float>::all(simt::load_value<float>(p.a.scale));
  float largest = 0;
  for_each_vec<A::rounds_together, typename A::Loaded>(
      p.vecs,
      [&](const VecCoord& coord, int count) {
        return accessor.load(p.a.from + coord.row * p.a.from_stride, coord.vec, count);
      },
      [&](const VecCoord& coord, int count, const typename A::Loaded& x) {
        const Vec8<float> v = accessor.values(x);
        largest = larger_magnitude(largest, largest_magnitude(v));
        if (count == 0) return;
        accessor.store_float8(p.a.to + coord.row * p.a.to_stride, coord.vec, count,
                              packed_float8(p.a.format, v * scale));
      });
  if (p.a.amax != nullptr) block_atomic_max(p.a.amax, largest);
}

// Four consecutive threads hold a scale block: a row has a multiple of four vectors.
template <class A>
NC_KERNEL(kFp8Threads, 2)
void fp8_quantize_blocks_kernel(const QuantizeParameters p) {
  const A accessor(p.a.x, p.alignment);
  const int64_t blocks = p.vecs.per_row / kBlockVecs;
  for_each_vec<A::rounds_together, typename A::Loaded>(
      p.vecs,
      [&](const VecCoord& coord, int count) {
        return accessor.load(p.a.from + coord.row * p.a.from_stride, coord.vec, count);
      },
      [&](const VecCoord& coord, int count, const typename A::Loaded& x) {
        const Vec8<float> v = accessor.values(x);
        float largest = largest_magnitude(v);
        NC_UNROLL for (int mask = 1; mask < kBlockVecs; mask *= 2) {
          largest = larger_magnitude(largest, simt::shuffle_xor(largest, mask));
        }
        if (count == 0) return;
        const uint32_t code = e8m0_of(largest, p.a.format);
        if (coord.vec % kBlockVecs == 0) {
          simt::store_value(p.a.block_scales + coord.row * blocks + coord.vec / kBlockVecs, static_cast<uint8_t>(code));
        }
        accessor.store_float8(p.a.to + coord.row * p.a.to_stride, coord.vec, count,
                              packed_float8(p.a.format, v * Vec8<float>::all(block_scale_of(code))));
      });
}

struct DequantizeParameters {
  Fp8DequantizeArguments a;
  VecGrid vecs;
  Alignment alignment;
};
NC_DEVICE float scale_inv_at(const DequantizeParameters& p, const VecCoord& coord) {
  if (p.a.scaling == Scaling::block) {
    const int64_t blocks = p.vecs.per_row / kBlockVecs;
    const char* const code = p.a.scale_inv + coord.row * blocks + coord.vec / kBlockVecs;
    return decode_e8m0(simt::load_value<uint8_t>(code));
  }
  return simt::load_value<float>(p.a.scale_inv + (p.a.scaling == Scaling::row ? coord.row : 0) * sizeof(float));
}
template <class A>
NC_KERNEL(kFp8Threads, 2)
void fp8_dequantize_kernel(const DequantizeParameters p) {
  const A accessor(p.a.y, p.alignment);
  struct Codes {
    PackedFloat8 q;
    float scale_inv;
  };
  for_each_vec<A::rounds_together, Codes>(
      p.vecs,
      [&](const VecCoord& coord, int count) -> Codes {
        return {accessor.load_float8(p.a.from + coord.row * p.a.from_stride, coord.vec, count), scale_inv_at(p, coord)};
      },
      [&](const VecCoord& coord, int count, const Codes& codes) {
        if (count == 0) return;
        accessor.store(p.a.to + coord.row * p.a.to_stride, coord.vec, count,
                       unpacked_float8(p.a.format, codes.q) * Vec8<float>::all(codes.scale_inv));
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
