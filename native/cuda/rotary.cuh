// Rotary position embedding on CUDA devices.
//
//   y1 = x1 * cos - x2 * sin, y2 = x2 * cos + x1 * sin, rounded as the policy says
//
// A thread rotates eight pairs of a head, and the same eight pairs of several heads if there are many, so that it loads
// their cosines and sines once. Threads of a warp take neighbouring pairs, then neighbouring heads. Elements that are
// not rotated are copied as vectors. No thread reads what another writes, so y may be x.
#pragma once

#include "../core/policy.h"
#include "access.cuh"

namespace nc {
inline namespace NC_LEVEL {

struct RotaryParameters {
  RotarySpec spec;
  RotaryArguments a;
  Access access;        // to x and y
  Access table_access;  // to cos and sin
  int64_t threads;      // with work
  int64_t head_groups;  // stride between the heads of a thread
  int turned;           // octets of pairs of a head; the last one may be partial
  int copied;           // octets of elements that are not rotated; 0 in place
};

constexpr int kRotaryThreads = 128;

// Maximum heads per thread: all of their words are in flight at once.
NC_INLINE constexpr int heads_together(DType x) { return 16 / bytes_of(x) / 2; }

// The octet and the heads of a thread.
struct RotaryPlace {
  int octet;
  int64_t head;  // the first one
  int64_t table_row;
  const char* x;  // of the token
  char* y;

  NC_DEVICE RotaryPlace(const RotaryParameters& p, int64_t thread) {
    const int64_t octets = p.turned + p.copied;
    octet = static_cast<int>(thread % octets);
    head = thread / octets % p.head_groups;
    const int64_t token = thread / octets / p.head_groups;
    const int64_t b = token / p.a.seq, s = token % p.a.seq;
    table_row = b * p.a.table_batch_rows + s;
    x = p.a.x + b * p.a.x_strides.batch + s * p.a.x_strides.seq;
    y = p.a.y + b * p.a.y_strides.batch + s * p.a.y_strides.seq;
  }
};

template <class Raw>
NC_DEVICE void copy_elements(Access access, const char* from, char* to, int count) {
  const int bytes = static_cast<int>(sizeof(Raw));
  for (int i = 0; i < count; ++i) store_raw(access, to + i * bytes, load_raw<Raw>(access, from + i * bytes));
}

// Copies octet number `octet` of the elements that are not rotated, bit for bit.
NC_DEVICE void copy_octet(const RotaryParameters& p, const RotaryPlace& place, int octet) {
  const int width = bytes_of(p.spec.x);
  const int first = p.spec.rotary_dim + octet * kVecWidth;
  const int rest = p.spec.head_dim - first;
  const int count = rest < kVecWidth ? rest : kVecWidth;
  for (int64_t head = place.head; head < p.a.heads; head += p.head_groups) {
    const char* const from = place.x + head * p.a.x_strides.head + first * width;
    char* const to = place.y + head * p.a.y_strides.head + first * width;
    if (p.access == Access::octets && count == kVecWidth) {
      for (int i = 0; i < kVecWidth * width; i += 16) simt::store16(to + i, simt::load16_once(from + i));
    } else if (width == 2) {
      copy_elements<uint16_t>(p.access, from, to, count);
    } else {
      copy_elements<uint32_t>(p.access, from, to, count);
    }
  }
}

// Eight pairs.
struct OctetPair {
  Octet<float> x1, x2;
};

NC_DEVICE OctetPair taken_apart(const Octet<float>& low, const Octet<float>& high) {
  OctetPair p;
  NC_UNROLL for (int i = 0; i < kVecWidth / 2; ++i) {
    p.x1.v[i] = low.v[2 * i];
    p.x2.v[i] = low.v[2 * i + 1];
    p.x1.v[kVecWidth / 2 + i] = high.v[2 * i];
    p.x2.v[kVecWidth / 2 + i] = high.v[2 * i + 1];
  }
  return p;
}
// Interleaves x1 and x2 into low and high.
NC_DEVICE OctetPair put_together(const OctetPair& p) {
  OctetPair r;
  NC_UNROLL for (int i = 0; i < kVecWidth / 2; ++i) {
    r.x1.v[2 * i] = p.x1.v[i];
    r.x1.v[2 * i + 1] = p.x2.v[i];
    r.x2.v[2 * i] = p.x1.v[kVecWidth / 2 + i];
    r.x2.v[2 * i + 1] = p.x2.v[kVecWidth / 2 + i];
  }
  return r;
}

// The backward rotates by the negative angle.
NC_DEVICE Octet<float> directed(const RotaryParameters& p, const Octet<float>& sin) {
  return sin * Octet<float>::all(p.a.backward ? -1.0f : 1.0f);
}

template <class X>
NC_DEVICE OctetPair turned(const RotaryParameters& p, X x, const OctetPair& pair, const Octet<float>& cos,
                           const Octet<float>& sin) {
  const Rotate<RuntimeRotaryRounding, X> turn{{p.spec.rounding}, x};
  return {turn.first(pair.x1, pair.x2, cos, sin), turn.second(pair.x1, pair.x2, cos, sin)};
}

// For whole octets on 16-byte boundaries, in the formats in common use. T: the table's format.
template <DType X, DType T, RotaryLayout L>
class RotaryKernel {
 public:
  static NC_DEVICE void run(const RotaryParameters& p) {
    const int64_t thread = simt::block_index() * simt::thread_count() + simt::thread_index();
    if (thread >= p.threads) return;
    const RotaryPlace place(p, thread);
    if (place.octet >= p.turned) return copy_octet(p, place, place.octet - p.turned);
    Packed<X> low[kTogether] = {}, high[kTogether] = {};
    each(p, place, [&](int k, int64_t head) {
      const char* const x = place.x + head * p.a.x_strides.head;
      low[k] = load_once<X>(x, low_octet(place.octet));
      high[k] = load_once<X>(x + high_bytes(p), high_octet(place.octet));
    });
    const int64_t row_bytes = int64_t{p.turned} * (kVecWidth * bytes_of(T));
    const Octet<float> cos = unpacked(load_parameter<T>(p.a.cos + place.table_row * row_bytes, place.octet));
    const Octet<float> sin =
        directed(p, unpacked(load_parameter<T>(p.a.sin + place.table_row * row_bytes, place.octet)));
    each(p, place, [&](int k, int64_t head) {
      char* const y = place.y + head * p.a.y_strides.head;
      OctetPair pair{unpacked(low[k]), unpacked(high[k])};
      if constexpr (kInterleaved) pair = taken_apart(pair.x1, pair.x2);
      pair = turned(p, StaticFormat<X>{}, pair, cos, sin);
      if constexpr (kInterleaved) pair = put_together(pair);
      store<X>(y, low_octet(place.octet), packed<X>(pair.x1));
      store<X>(y + high_bytes(p), high_octet(place.octet), packed<X>(pair.x2));
    });
  }

 private:
  static constexpr bool kInterleaved = L == RotaryLayout::interleaved;
  static constexpr int kTogether = heads_together(X);

  // Position of eight pairs in a head: an octet in each half, or two neighbouring octets.
  static NC_DEVICE int low_octet(int octet) { return kInterleaved ? 2 * octet : octet; }
  static NC_DEVICE int high_octet(int octet) { return kInterleaved ? 2 * octet + 1 : octet; }
  static NC_DEVICE int high_bytes(const RotaryParameters& p) {
    return kInterleaved ? 0 : p.turned * (kVecWidth * bytes_of(X));
  }

  template <class Body>
  static NC_DEVICE void each(const RotaryParameters& p, const RotaryPlace& place, Body f) {
    NC_UNROLL for (int k = 0; k < kTogether; ++k) {
      const int64_t head = place.head + k * p.head_groups;
      if (head < p.a.heads) f(k, head);
    }
  }
};

// Generic kernel for any formats, dimensions and alignment.
class AnyRotaryKernel {
 public:
  static NC_DEVICE void run(const RotaryParameters& p) {
    const int64_t thread = simt::block_index() * simt::thread_count() + simt::thread_index();
    if (thread >= p.threads) return;
    const RotaryPlace place(p, thread);
    if (place.octet >= p.turned) return copy_octet(p, place, place.octet - p.turned);
    const RuntimeFormat format{p.spec.x}, table{p.spec.table};
    const bool interleaved = p.spec.layout == RotaryLayout::interleaved;
    const int half = p.spec.rotary_dim / 2;
    const int rest = half - place.octet * kVecWidth;
    const int pairs = rest < kVecWidth ? rest : kVecWidth;
    // Octet indices as in RotaryKernel, and their numbers of valid elements.
    const int low = interleaved ? 2 * place.octet : place.octet;
    const int high = interleaved ? 2 * place.octet + 1 : place.octet;
    const int low_count = !interleaved ? pairs : 2 * pairs < kVecWidth ? 2 * pairs : kVecWidth;
    const int high_count = !interleaved ? pairs : 2 * pairs > kVecWidth ? 2 * pairs - kVecWidth : 0;
    const int high_bytes = interleaved ? 0 : half * bytes_of(p.spec.x);
    const int64_t angles = place.table_row * half * bytes_of(p.spec.table);
    const Octet<float> cos = load<float>(table, p.table_access, p.a.cos + angles, place.octet, pairs);
    const Octet<float> sin = directed(p, load<float>(table, p.table_access, p.a.sin + angles, place.octet, pairs));
    for (int64_t head = place.head; head < p.a.heads; head += p.head_groups) {
      const char* const x = place.x + head * p.a.x_strides.head;
      char* const y = place.y + head * p.a.y_strides.head;
      OctetPair pair{load<float>(format, p.access, x, low, low_count),
                     load<float>(format, p.access, x + high_bytes, high, high_count)};
      if (interleaved) pair = taken_apart(pair.x1, pair.x2);
      pair = turned(p, format, pair, cos, sin);
      if (interleaved) pair = put_together(pair);
      store(format, p.access, y, low, low_count, pair.x1);
      store(format, p.access, y + high_bytes, high, high_count, pair.x2);
    }
  }
};

template <DType X, DType T, RotaryLayout L>
NC_KERNEL(kRotaryThreads, 1)
void rotary_octets(const RotaryParameters p) {
  RotaryKernel<X, T, L>::run(p);
}

}  // namespace NC_LEVEL
}  // namespace nc
