// The host implementation of native/cuda/simt.cuh: the same functions, with fibres as threads. A violation of
// simt.cuh's rules makes the launch fail with a reason, also if hardware might tolerate it.
//
// The threads of a block, or of all blocks of a cluster, are alive together; blocks and clusters run one after another,
// in an unspecified order. A seeded generator (control.h) picks the next thread whenever one has to wait.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <type_traits>

#include "core/dtype.h"

#define NC_DEVICE inline
#define NC_DEVICE_CALLED static __attribute__((noinline, unused))
#define NC_KERNEL(threads, blocks)
#define NC_UNROLL
#define NC_ROLLED

namespace nc {
namespace simt {
namespace host {

// A thread's coordinates.
struct Position {
  int index, count;
  int64_t block;
  int block_row;
  int cluster_rank;
  char* shared_memory;
  bool counted;  // whether its global-memory accesses are counted
};
extern thread_local const Position* position __attribute__((tls_model("initial-exec"), visibility("hidden")));

void block_barrier(const char* file, int line);
void warp_barrier();
void shuffle(const void* give, void* take, int bytes, int mask);
void cluster_arrive();
void cluster_wait(const char* file, int line);
// Offset from this block's shared memory to that of another block of its cluster.
ptrdiff_t to_cluster_block(const void* p, int rank);
// copy: moves 16 bytes, in the caller's code, which sanitizers instrument.
void copy_async16(void* shared, const void* global, void (*copy)(void* to, const void* from));
void copy_async_commit();
void copy_async_wait(int pending, const char* file, int line);
enum Access { kLoad, kStore, kCopy };
void count(Access kind, const void* p, unsigned bytes);
// Ends the launch.
[[noreturn]] void fail(const char* format, ...) __attribute__((format(printf, 1, 2)));
[[noreturn]] void fail_misaligned(const char* what, const void* p, unsigned expected);

inline void require_aligned(const char* what, const void* p, unsigned to = 16) {
  if (reinterpret_cast<uintptr_t>(p) % to != 0) fail_misaligned(what, p, to);
}

// The host address of bytes that a kernel of the device accesses; ends the launch if there are none. Memory that is
// read as constant also ends the launch if it is written meanwhile.
enum Use { kReads, kReadsConstant, kWrites };
void* reach(const void* p, unsigned bytes, Use how);

// Every kernel access to possible global memory uses this.
template <class T>
T load(const void* p, Use how = kReads) {
  if (position->counted) count(kLoad, p, sizeof(T));
  T v;
  std::memcpy(&v, reach(p, sizeof(T), how), sizeof(v));
  return v;
}
template <class T>
void store(void* p, T v) {
  if (position->counted) count(kStore, p, sizeof(T));
  std::memcpy(reach(p, sizeof(T), kWrites), &v, sizeof(v));
}

struct LaunchShape {
  int64_t blocks;
  int block_rows, threads, cluster, shared_bytes;
};
// Registers how to call a kernel that the runtime knows by its address alone.
void know(const void* kernel, void (*call)(const void* kernel, const void* parameters), size_t parameter_bytes);

}  // namespace host

NC_DEVICE int thread_index() { return host::position->index; }
NC_DEVICE int thread_count() { return host::position->count; }
NC_DEVICE int64_t block_index() { return host::position->block; }
NC_DEVICE int block_row() { return host::position->block_row; }
NC_DEVICE char* shared_memory() { return host::position->shared_memory; }

// Barriers record their call site: tests leave them out one by one.
NC_DEVICE void block_barrier(const char* file = __builtin_FILE(), int line = __builtin_LINE()) {
  host::block_barrier(file, line);
}
NC_DEVICE void warp_barrier() { host::warp_barrier(); }

template <class T>
NC_DEVICE T shuffle_xor(T value, int mask) {
  static_assert(std::is_trivially_copyable_v<T> && sizeof(T) <= 16);
  T other;
  host::shuffle(&value, &other, sizeof(T), mask);
  return other;
}

NC_DEVICE int cluster_rank() { return host::position->cluster_rank; }
NC_DEVICE void cluster_arrive() { host::cluster_arrive(); }
NC_DEVICE void cluster_wait(const char* file = __builtin_FILE(), int line = __builtin_LINE()) {
  host::cluster_wait(file, line);
}
NC_DEVICE void cluster_arrive_relaxed() { cluster_arrive(); }
template <class T>
NC_DEVICE T* of_cluster_block(T* p, int rank) {
  return reinterpret_cast<T*>(reinterpret_cast<intptr_t>(p) + host::to_cluster_block(p, rank));
}

// Launches run one after another.
NC_DEVICE void permit_next_launch() {}
NC_DEVICE void wait_for_previous_launch() {}

struct alignas(16) Word16 {
  uint32_t w[4];
};
NC_DEVICE Word16 load16(const void* p) {
  host::require_aligned("load16", p);
  return host::load<Word16>(p);
}
NC_DEVICE void store16(void* p, Word16 v) {
  host::require_aligned("store16", p);
  host::store(p, v);
}
NC_DEVICE Word16 load16_once(const void* p) { return load16(p); }
NC_DEVICE Word16 load16_constant(const void* p) {
  host::require_aligned("load16_constant", p);
  return host::load<Word16>(p, host::kReadsConstant);
}

template <class T>
NC_DEVICE T load_value(const void* p) {
  host::require_aligned("load_value", p, sizeof(T));
  return host::load<T>(p);
}
template <class T>
NC_DEVICE void store_value(void* p, T v) {
  host::require_aligned("store_value", p, sizeof(T));
  host::store(p, v);
}
template <class T>
NC_DEVICE T load_anywhere(const void* p) {
  return host::load<T>(p);
}
template <class T>
NC_DEVICE void store_anywhere(void* p, T v) {
  host::store(p, v);
}

NC_DEVICE uint32_t funnel_right(uint32_t low, uint32_t high, int bits) {
  return static_cast<uint32_t>(((static_cast<uint64_t>(high) << 32) | low) >> (bits & 31));
}

NC_DEVICE void copy_async16(void* shared, const void* global) {
  host::copy_async16(shared, global, [](void* to, const void* from) { std::memcpy(to, from, 16); });
}
NC_DEVICE void copy_async16_part(void* shared, const void* global) { copy_async16(shared, global); }
NC_DEVICE void copy_async_commit() { host::copy_async_commit(); }
template <int Pending>
NC_DEVICE void copy_async_wait(const char* file = __builtin_FILE(), int line = __builtin_LINE()) {
  static_assert(Pending >= 0);
  host::copy_async_wait(Pending, file, line);
}

// The device's conversions differ from the library's in the NaN that they produce.
NC_DEVICE uint32_t bfloat16_pair(float low, float high) {
  const auto code = [](float v) { return v != v ? 0x7fffu : encode_bfloat16(v); };
  return code(low) | code(high) << 16;
}
NC_DEVICE uint32_t float16_pair(float low, float high) {
  const auto code = [](float v) { return v != v ? 0x7fffu : encode_float16(v); };
  return code(low) | code(high) << 16;
}
NC_DEVICE float from_float16(uint32_t code) { return decode<Float16>(code & 0xffffu); }

// NaN as the device produces it, in either format.
NC_DEVICE uint32_t float8_e4m3_pair(float low, float high) {
  const auto code = [](float v) { return v != v ? 0x7fu : encode<Float8E4m3>(static_cast<double>(v)); };
  return code(low) | code(high) << 8;
}
NC_DEVICE uint32_t float8_e5m2_pair(float low, float high) {
  const auto code = [](float v) { return v != v ? 0x7fu : encode<Float8E5m2>(static_cast<double>(v)); };
  return code(low) | code(high) << 8;
}

struct alignas(8) Word8 {
  uint32_t w[2];
};
NC_DEVICE Word8 load8(const void* p) {
  host::require_aligned("load8", p, 8);
  return host::load<Word8>(p);
}
NC_DEVICE void store8(void* p, Word8 v) {
  host::require_aligned("store8", p, 8);
  host::store(p, v);
}

NC_DEVICE void atomic_max(uint32_t* p, uint32_t value) {
  host::require_aligned("atomic_max", p, 4);
  auto* const at = static_cast<uint32_t*>(host::reach(p, 4, host::kWrites));
  uint32_t present = __atomic_load_n(at, __ATOMIC_RELAXED);
  while (present < value &&
         !__atomic_compare_exchange_n(at, &present, value, true, __ATOMIC_RELAXED, __ATOMIC_RELAXED)) {
  }
}

template <class Parameters>
const void* function_of(void (*kernel)(Parameters)) {
  static_assert(std::is_trivially_copyable_v<Parameters> && sizeof(Parameters) <= 4096);
  const void* const function = reinterpret_cast<const void*>(kernel);
  host::know(
      function,
      [](const void* of, const void* p) {
        reinterpret_cast<void (*)(Parameters)>(const_cast<void*>(of))(*static_cast<const Parameters*>(p));
      },
      sizeof(Parameters));
  return function;
}

}  // namespace simt
}  // namespace nc
