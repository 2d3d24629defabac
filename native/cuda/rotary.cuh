// Rotary position embedding on CUDA devices.
//
//   y1 = x1 * cos - x2 * sin, y2 = x2 * cos + x1 * sin, rounded as the policy says
//
// A thread rotates eight pairs of a head, and the same eight pairs of several heads if there are many, so that it loads
// their cosines and sines once. Threads of a warp take neighbouring pairs, then neighbouring heads. Elements that are
// not rotated are copied as vectors. No thread reads what another writes, so y may be x.
#pragma once

#include "../core/policy.h"
#include "generic_access.cuh"

namespace nc {
inline namespace NC_LEVEL {

struct RotaryParameters {
  RotarySpec spec;
  RotaryArguments a;
  Alignment alignment;        // to x and y
  Alignment table_alignment;  // to cos and sin
  int64_t threads;            // with work
  int64_t head_groups;        // stride between the heads of a thread
  int rotated;                // vectors of pairs of a head; the last one may be partial
  int copied;                 // vectors of elements that are not rotated; 0 in place
};

constexpr int kRotaryThreads = 128;

// Maximum heads per thread: all of their words are in flight at once.
NC_INLINE constexpr int heads_together(DType x) { return 16 / bytes_of(x) / 2; }

// The vector and the heads of a thread.
struct RotaryCoord {
  int vec;
  int64_t head;  // the first one
  int64_t table_row;
  const char* x;  // of the token
  char* y;

  NC_DEVICE RotaryCoord(const RotaryParameters& p, int64_t thread) {
    const int64_t vecs = p.rotated + p.copied;
    vec = static_cast<int>(thread % vecs);
    head = thread / vecs % p.head_groups;
    const int64_t token = thread / vecs / p.head_groups;
    const int64_t b = token / p.a.seq, s = token % p.a.seq;
    table_row = b * p.a.table_batch_rows + s;
    x = p.a.x + b * p.a.x_strides.batch + s * p.a.x_strides.seq;
    y = p.a.y + b * p.a.y_strides.batch + s * p.a.y_strides.seq;
  }
};

template <class Raw>
NC_DEVICE void copy_elements(Alignment alignment, const char* from, char* to, int count) {
  const int bytes = static_cast<int>(sizeof(Raw));
  for (int i = 0; i < count; ++i) store_raw(alignment, to + i * bytes, load_raw<Raw>(alignment, from + i * bytes));
}

// Copies vector number `vector` of the elements that are not rotated, bit for bit.
NC_DEVICE void copy_vec(const RotaryParameters& p, const RotaryCoord& coord, int vec) {
  const int width = bytes_of(p.spec.x);
  const int first = p.spec.rotary_dim + vec * kVecWidth;
  const int rest = p.spec.head_dim - first;
  const int count = rest < kVecWidth ? rest : kVecWidth;
  for (int64_t head = coord.head; head < p.a.heads; head += p.head_groups) {
    const char* const from = coord.x + head * p.a.x_strides.head + first * width;
    char* const to = coord.y + head * p.a.y_strides.head + first * width;
    if (p.alignment == Alignment::vector && count == kVecWidth) {
      for (int i = 0; i < kVecWidth * width; i += 16) simt::store16(to + i, simt::load16_once(from + i));
    } else if (width == 2) {
      copy_elements<uint16_t>(p.alignment, from, to, count);
    } else {
      copy_elements<uint32_t>(p.alignment, from, to, count);
    }
  }
}

// Eight pairs.
struct Vec8Pair {
  Vec8<float> x1, x2;
};

NC_DEVICE Vec8Pair taken_apart(const Vec8<float>& low, const Vec8<float>& high) {
  Vec8Pair p;
  NC_UNROLL for (int i = 0; i < kVecWidth / 2; ++i) {
    p.x1.v[i] = low.v[2 * i];
    p.x2.v[i] = low.v[2 * i + 1];
    p.x1.v[kVecWidth / 2 + i] = high.v[2 * i];
    p.x2.v[kVecWidth / 2 + i] = high.v[2 * i + 1];
  }
  return p;
}
// Interleaves x1 and x2 into low and high.
NC_DEVICE Vec8Pair put_together(const Vec8Pair& p) {
  Vec8Pair r;
  NC_UNROLL for (int i = 0; i < kVecWidth / 2; ++i) {
    r.x1.v[2 * i] = p.x1.v[i];
    r.x1.v[2 * i + 1] = p.x2.v[i];
    r.x2.v[2 * i] = p.x1.v[kVecWidth / 2 + i];
    r.x2.v[2 * i + 1] = p.x2.v[kVecWidth / 2 + i];
  }
  return r;
}

// The backward rotates by the negative angle.
NC_DEVICE Vec8<float> directed(const RotaryParameters& p, const Vec8<float>& sin) {
  return sin * Vec8<float>::all(p.a.backward ? -1.0f : 1.0f);
}

template <class X>
NC_DEVICE Vec8Pair rotated(const RotaryParameters& p, X x, const Vec8Pair& pair, const Vec8<float>& cos,
                           const Vec8<float>& sin) {
  const Rotate<RuntimeRotaryRounding, X> rotate{{p.spec.rounding}, x};
  return {rotate.first(pair.x1, pair.x2, cos, sin), rotate.second(pair.x1, pair.x2, cos, sin)};
}

// For whole vectors on 16-byte boundaries, in the formats in common use. T: the table's format.
template <DType X, DType T, RotaryLayout L>
class RotaryKernel {
 public:
  static NC_DEVICE void run(const RotaryParameters& p) {
    const int64_t thread = simt::block_index() * simt::thread_count() + simt::thread_index();
    if (thread >= p.threads) return;
    const RotaryCoord coord(p, thread);
    if (coord.vec >= p.rotated) return copy_vec(p, coord, coord.vec - p.rotated);
    Packed<X> low[kTogether] = {}, high[kTogether] = {};
    each(p, coord, [&](int k, int64_t head) {
      const char* const x = coord.x + head * p.a.x_strides.head;
      low[k] = load_once<X>(x, low_vec(coord.vec));
      high[k] = load_once<X>(x + high_bytes(p), high_vec(coord.vec));
    });
    const int64_t row_bytes = int64_t{p.rotated} * (kVecWidth * bytes_of(T));
    const Vec8<float> cos = unpacked(load_parameter<T>(p.a.cos + coord.table_row * row_bytes, coord.vec));
    const Vec8<float> sin = directed(p, unpacked(load_parameter<T>(p.a.sin + coord.table_row * row_bytes, coord.vec)));
    each(p, coord, [&](int k, int64_t head) {
      char* const y = coord.y + head * p.a.y_strides.head;
      Vec8Pair pair{unpacked(low[k]), unpacked(high[k])};
      if constexpr (kInterleaved) pair = taken_apart(pair.x1, pair.x2);
      pair = rotated(p, StaticFormat<X>{}, pair, cos, sin);
      if constexpr (kInterleaved) pair = put_together(pair);
      store<X>(y, low_vec(coord.vec), packed<X>(pair.x1));
      store<X>(y + high_bytes(p), high_vec(coord.vec), packed<X>(pair.x2));
    });
  }

 private:
  static constexpr bool kInterleaved = L == RotaryLayout::interleaved;
  static constexpr int kTogether = heads_together(X);

  // Position of eight pairs in a head: a vector in each half, or two neighbouring vectors.
  static NC_DEVICE int low_vec(int vec) { return kInterleaved ? 2 * vec : vec; }
  static NC_DEVICE int high_vec(int vec) { return kInterleaved ? 2 * vec + 1 : vec; }
  static NC_DEVICE int high_bytes(const RotaryParameters& p) {
    return kInterleaved ? 0 : p.rotated * (kVecWidth * bytes_of(X));
  }

  template <class Body>
  static NC_DEVICE void each(const RotaryParameters& p, const RotaryCoord& coord, Body f) {
    NC_UNROLL for (int k = 0; k < kTogether; ++k) {
      const int64_t head = coord.head + k * p.head_groups;
      if (head < p.a.heads) f(k, head);
    }
  }
};

// Generic kernel for any formats, dimensions and alignment.
class GenericRotaryKernel {
 public:
  static NC_DEVICE void run(const RotaryParameters& p) {
    const int64_t thread = simt::block_index() * simt::thread_count() + simt::thread_index();
    if (thread >= p.threads) return;
    const RotaryCoord coord(p, thread);
    if (coord.vec >= p.rotated) return copy_vec(p, coord, coord.vec - p.rotated);
    const RuntimeFormat format{p.spec.x}, table{p.spec.table};
    const bool interleaved = p.spec.layout == RotaryLayout::interleaved;
    const int half = p.spec.rotary_dim / 2;
    const int rest = half - coord.vec * kVecWidth;
    const int pairs = rest < kVecWidth ? rest : kVecWidth;
    // Vector indices as in RotaryKernel, and their numbers of valid elements.
    const int low = interleaved ? 2 * coord.vec : coord.vec;
    const int high = interleaved ? 2 * coord.vec + 1 : coord.vec;
    const int low_count = !interleaved ? pairs : 2 * pairs < kVecWidth ? 2 * pairs : kVecWidth;
    const int high_count = !interleaved ? pairs : 2 * pairs > kVecWidth ? 2 * pairs - kVecWidth : 0;
    const int high_bytes = interleaved ? 0 : half * bytes_of(p.spec.x);
    const int64_t angles = coord.table_row * half * bytes_of(p.spec.table);
    const Vec8<float> cos = load<float>(table, p.table_alignment, p.a.cos + angles, coord.vec, pairs);
    const Vec8<float> sin = directed(p, load<float>(table, p.table_alignment, p.a.sin + angles, coord.vec, pairs));
    for (int64_t head = coord.head; head < p.a.heads; head += p.head_groups) {
      const char* const x = coord.x + head * p.a.x_strides.head;
      char* const y = coord.y + head * p.a.y_strides.head;
      Vec8Pair pair{load<float>(format, p.alignment, x, low, low_count),
                    load<float>(format, p.alignment, x + high_bytes, high, high_count)};
      if (interleaved) pair = taken_apart(pair.x1, pair.x2);
      pair = rotated(p, format, pair, cos, sin);
      if (interleaved) pair = put_together(pair);
      store(format, p.alignment, y, low, low_count, pair.x1);
      store(format, p.alignment, y + high_bytes, high, high_count, pair.x2);
    }
  }
};

template <DType X, DType T, RotaryLayout L>
NC_KERNEL(kRotaryThreads, 1)
void rotary_aligned(const RotaryParameters p) {
  RotaryKernel<X, T, L>::run(p);
}

}  // namespace NC_LEVEL
}  // namespace nc
