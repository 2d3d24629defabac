// Unaligned rows, moved with 16-byte accesses through shared memory. A segment lies there at its global address modulo
// 16. The elements before the first and after the last 16-byte boundary, less than 16 bytes at each end, are moved one
// per thread, so that no other row is touched. A thread's vector spans two neighbouring words of shared memory.
#pragma once

#include "tuning.h"
#include "vec8.cuh"

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

// 16-byte words of shared memory for a segment of this many vectors at any alignment; one more word is read and not
// used.
NC_INLINE constexpr int unaligned_row_words(DType t, int vecs) { return vecs * words_per_vec(t) + 1; }

// Realigned words: each combines its own bytes from `shift` on with the first bytes of the next word. `shift` is a
// multiple of the element size.
template <int ElementBytes, int Words>
struct Realigned {
  simt::Word16 w[Words];

  NC_DEVICE Realigned(const char* from, int shift) {
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

// A segment of a row in global memory: `bytes` bytes at `address`, a multiple of T's size. Each end, before the first
// and after the last 16-byte boundary, has less than 16 bytes, and the row has at least as many lanes as both ends have
// elements.
template <DType T>
struct UnalignedRow {
  static constexpr int kElement = bytes_of(T), kMost = 16 / kElement;
  using Raw = typename RawElement<kElement>::Type;
  static_assert(2 * kMost <= kUnalignedLanes && kVecWidth <= kUnalignedLanes);

  int64_t address;
  int bytes;
  int head;   // bytes before the first boundary
  int words;  // whole 16-byte words after the head

  NC_DEVICE UnalignedRow(const char* at, int length)
      : address(reinterpret_cast<int64_t>(at)), bytes(length), head(static_cast<int>(-address & 15)) {
    if (head > bytes) head = bytes;
    words = (bytes - head) / 16;
  }
  NC_DEVICE int shift() const { return static_cast<int>(address & 15); }
  NC_DEVICE char* at(int byte) const { return reinterpret_cast<char*>(address) + byte; }

  // A copy to shared memory has three parts. First the whole words, distributed over the row's lanes; each thread waits
  // for the copies that it started.
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
  // Second, the elements at both ends, one per lane; the caller may keep them in registers for a while.
  NC_DEVICE Raw load_end(int lane) const {
    const int byte = byte_of_end(lane);
    return byte >= 0 ? simt::load_value<Raw>(at(byte)) : Raw(0);
  }
  NC_DEVICE void set_end(char* to, int lane, Raw element) const {
    const int byte = byte_of_end(lane);
    if (byte >= 0) simt::store_value(to + shift() + byte, element);
  }
  // Third, +0 for the missing elements of the last vector.
  NC_DEVICE void clear_rest(char* to, int lane) const {
    constexpr int vec = kVecWidth * kElement;
    const int byte = bytes + lane * kElement;
    if (byte < (bytes + vec - 1) / vec * vec) simt::store_value(to + shift() + byte, Raw(0));
  }

  // Vector number `vec` of the segment, read from its copy at `from`.
  NC_DEVICE Packed<T> vec(const char* from, int vec) const {
    constexpr int count = Packed<T>::words;
    const Realigned<kElement, count> realigned(from + 16 * count * vec, shift());
    Packed<T> p;
    NC_UNROLL for (int i = 0; i < count; ++i) p.w[i] = realigned.w[i];
    return p;
  }

  // Stores the segment, whose vectors are contiguous in shared memory at `from`, to global memory. The lanes of a row
  // split the work; the caller synchronises them before.
  NC_DEVICE void put(const char* from, int lane, int lanes) const {
    for (int w = lane; w < words; w += lanes) {
      simt::store16(at(head + 16 * w), Realigned<kElement, 1>(from + 16 * w, head).w[0]);
    }
    const int byte = byte_of_end(lane);
    if (byte >= 0) simt::store_value(at(byte), simt::load_value<Raw>(from + byte));
  }

 private:
  // Byte offset of end element number `lane`; -1 if there are fewer.
  NC_DEVICE int byte_of_end(int lane) const {
    const bool first = lane < kMost;
    const int byte = first ? lane * kElement : head + 16 * words + (lane - kMost) * kElement;
    return byte < (first ? head : bytes) ? byte : -1;
  }
};

}  // namespace NC_LEVEL
}  // namespace nc
