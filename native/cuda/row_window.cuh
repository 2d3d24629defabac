// Rows that begin at any address of their elements and end anywhere, 16 bytes at a time all the same: through shared
// memory, where a segment of a row lies as it does in memory between 16-byte boundaries. Less than 16 bytes before the
// first boundary and after the last one are moved element by element, a thread each, so that nothing is touched that
// belongs to another row. Threads take their octets from there, or leave them there, each of two neighbouring words.
#pragma once

#include "octet.cuh"
#include "tuning.h"

namespace nc {
inline namespace NC_LEVEL {

template <int Bytes>
struct RawElement;
template <>
struct RawElement<4> {
  using Type = uint32_t;
};
template <>
struct RawElement<2> {
  using Type = uint16_t;
};

// 16-byte words of shared memory that hold a segment of as many octets, wherever it begins, and one more, which is read
// and not used.
NC_INLINE constexpr int window_words(DType t, int octets) { return octets * words_of_octet(t) + 1; }

// Words of which each has its bytes from `shift` on, and then those of the next one; a multiple of the element's size.
template <int ElementBytes, int Words>
struct Joined {
  simt::Word16 w[Words];

  NC_DEVICE Joined(const char* from, int shift) {
    uint32_t in[4 * Words + 4];
    NC_UNROLL for (int i = 0; i <= Words; ++i) {
      const simt::Word16 word = simt::load16(from + 16 * i);
      NC_UNROLL for (int j = 0; j < 4; ++j) in[4 * i + j] = word.w[j];
    }
    const bool by_two = (shift & 8) != 0, by_one = (shift & 4) != 0;
    NC_UNROLL for (int i = 0; i < 4 * Words + 2; ++i) in[i] = by_two ? in[i + 2] : in[i];
    NC_UNROLL for (int i = 0; i < 4 * Words + 1; ++i) in[i] = by_one ? in[i + 1] : in[i];
    NC_UNROLL for (int i = 0; i < 4 * Words; ++i) {
      w[i / 4].w[i % 4] = ElementBytes == 4 ? in[i] : simt::funnel_right(in[i], in[i + 1], 8 * (shift & 3));
    }
  }
};

// A segment of a row in global memory: `bytes` from `address` on, a multiple of T's size. Its ends, before the first
// and after the last boundary, have less than 16 bytes each, and the row has at least as many lanes as both elements.
template <DType T>
struct Window {
  static constexpr int kElement = bytes_of(T), kMost = 16 / kElement;
  using Raw = typename RawElement<kElement>::Type;
  static_assert(2 * kMost <= kShiftedLanes && kPacket <= kShiftedLanes);

  int64_t address;
  int bytes;
  int head;   // bytes before the first boundary
  int words;  // from there on

  NC_DEVICE Window(const char* at, int length)
      : address(reinterpret_cast<int64_t>(at)), bytes(length), head(static_cast<int>(-address & 15)) {
    if (head > bytes) head = bytes;
    words = (bytes - head) / 16;
  }
  NC_DEVICE int shift() const { return static_cast<int>(address & 15); }
  NC_DEVICE char* at(int byte) const { return reinterpret_cast<char*>(address) + byte; }

  // To `to` in three parts. Its whole words, which each thread that starts some waits for; the row's lanes share them.
  template <bool Cached>
  NC_DEVICE void start(char* to, int lane, int lanes) const {
    char* const first = to + shift() + head;
    for (int w = lane; w < words; w += lanes) {
      if constexpr (Cached) {
        simt::copy_async16_part(first + 16 * w, at(head + 16 * w));
      } else {
        simt::copy_async16(first + 16 * w, at(head + 16 * w));
      }
    }
  }
  // The elements at its ends, one for each of the first lanes, which may hold it for a while.
  NC_DEVICE Raw load_end(int lane) const {
    const int byte = byte_of_end(lane);
    return byte >= 0 ? simt::load_value<Raw>(at(byte)) : Raw(0);
  }
  NC_DEVICE void set_end(char* to, int lane, Raw element) const {
    const int byte = byte_of_end(lane);
    if (byte >= 0) simt::store_value(to + shift() + byte, element);
  }
  // And +0 for the elements that its last octet lacks.
  NC_DEVICE void clear_rest(char* to, int lane) const {
    constexpr int octet = kPacket * kElement;
    const int byte = bytes + lane * kElement;
    if (byte < (bytes + octet - 1) / octet * octet) simt::store_value(to + shift() + byte, Raw(0));
  }

  // Octet number `octet` of the segment, of what was brought to `from`.
  NC_DEVICE Packed<T> octet(const char* from, int octet) const {
    constexpr int count = Packed<T>::words;
    const Joined<kElement, count> joined(from + 16 * count * octet, shift());
    Packed<T> p;
    NC_UNROLL for (int i = 0; i < count; ++i) p.w[i] = joined.w[i];
    return p;
  }

  // From shared memory, where its octets have been stored one after the other from `from` on, to its place. The lanes
  // of a row share the work, after they have waited for each other.
  NC_DEVICE void put(const char* from, int lane, int lanes) const {
    for (int w = lane; w < words; w += lanes) {
      simt::store16(at(head + 16 * w), Joined<kElement, 1>(from + 16 * w, head).w[0]);
    }
    const int byte = byte_of_end(lane);
    if (byte >= 0) simt::store_value(at(byte), simt::load_value<Raw>(from + byte));
  }

 private:
  // Where the element of that number among those at the ends lies; -1 if there are fewer.
  NC_DEVICE int byte_of_end(int lane) const {
    const bool first = lane < kMost;
    const int byte = first ? lane * kElement : head + 16 * words + (lane - kMost) * kElement;
    return byte < (first ? head : bytes) ? byte : -1;
  }
};

}  // namespace NC_LEVEL
}  // namespace nc
