// Everything that kernels ask of the machine they run on, accesses of global memory included: the only file that names
// CUDA intrinsics. How kernels are launched is launch.h. Kernels are written against this interface alone, so that
// another implementation, with fibres for threads, runs them on any host (tests/native/simt_host); a compiler that is
// not nvcc takes that one.
//
// Warps have 32 threads. Blocks have a multiple of 32 threads, in one dimension. Shuffles, warp and block barriers are
// reached by all threads of the warp or block, or by none.
#pragma once

#if !defined(__CUDACC__)
#include <simt_host.h>
#else

#include <cuda_runtime.h>

#include <cstdint>

#include "../core/dtype.h"

#define NC_DEVICE __device__ __forceinline__
// Code that runs on the device and is not worth a copy per use.
#define NC_DEVICE_CALLED static __device__ __noinline__
// threads: the most that a block of the kernel ever has; blocks: as many of them fit one multiprocessor's registers.
#define NC_KERNEL(threads, blocks) __global__ __launch_bounds__(threads, blocks)
#define NC_UNROLL _Pragma("unroll")
// For loops whose body is large: one copy of it.
#define NC_ROLLED _Pragma("unroll 1")

namespace nc {
namespace simt {

NC_DEVICE int thread_index() { return static_cast<int>(threadIdx.x); }
NC_DEVICE int thread_count() { return static_cast<int>(blockDim.x); }
NC_DEVICE int64_t block_index() { return static_cast<int64_t>(blockIdx.x); }
NC_DEVICE int block_row() { return static_cast<int>(blockIdx.y); }

// The block's dynamic shared memory, 16-byte aligned, as many bytes as the launch gave.
NC_DEVICE char* shared_memory() {
  extern __shared__ __align__(16) char memory[];
  return memory;
}

NC_DEVICE void block_barrier() { __syncthreads(); }
NC_DEVICE void warp_barrier() { __syncwarp(); }

template <class T>
NC_DEVICE T shuffle_xor(T value, int mask) {
  return __shfl_xor_sync(0xffffffffu, value, mask);
}

// Clusters: blocks that run together and reach each other's shared memory. What a thread wrote before it arrived is
// seen by every thread of the cluster that has waited. Each arrive is followed by its wait. In a launch without
// clusters these are not to be called.
#if __CUDA_ARCH__ >= 900
NC_DEVICE int cluster_rank() {
  uint32_t rank;
  asm("mov.u32 %0, %%cluster_ctarank;" : "=r"(rank));
  return static_cast<int>(rank);
}
NC_DEVICE void cluster_arrive() { asm volatile("barrier.cluster.arrive.release.aligned;" ::: "memory"); }
NC_DEVICE void cluster_wait() { asm volatile("barrier.cluster.wait.acquire.aligned;" ::: "memory"); }
// Where block `rank` of the cluster has what this block has at p, in shared memory.
template <class T>
NC_DEVICE T* of_cluster_block(T* p, int rank) {
  uint64_t there;
  asm("mapa.u64 %0, %1, %2;" : "=l"(there) : "l"(reinterpret_cast<uint64_t>(p)), "r"(rank));
  return reinterpret_cast<T*>(there);
}
#else
// Older devices are never given a launch with clusters.
NC_DEVICE int cluster_rank() { return 0; }
NC_DEVICE void cluster_arrive() {}
NC_DEVICE void cluster_wait() {}
template <class T>
NC_DEVICE T* of_cluster_block(T* p, int) {
  return p;
}
#endif

// 16 bytes in one access; the address is a multiple of 16.
struct alignas(16) Word16 {
  uint32_t w[4];
};
NC_DEVICE Word16 load16(const void* p) {
  const uint4 v = *reinterpret_cast<const uint4*>(p);
  return {{v.x, v.y, v.z, v.w}};
}
NC_DEVICE void store16(void* p, Word16 v) { *reinterpret_cast<uint4*>(p) = make_uint4(v.w[0], v.w[1], v.w[2], v.w[3]); }
// Of global memory that is read once: the caches need not keep it.
NC_DEVICE Word16 load16_once(const void* p) {
  const uint4 v = __ldcs(reinterpret_cast<const uint4*>(p));
  return {{v.x, v.y, v.z, v.w}};
}

// Of global memory that nothing writes while the kernel runs: the load may move past stores.
NC_DEVICE Word16 load16_constant(const void* p) {
  const uint4 v = __ldg(reinterpret_cast<const uint4*>(p));
  return {{v.x, v.y, v.z, v.w}};
}

// One value of global memory; the address is a multiple of its size.
template <class T>
NC_DEVICE T load_value(const void* p) {
  return *reinterpret_cast<const T*>(p);
}
template <class T>
NC_DEVICE void store_value(void* p, T v) {
  *reinterpret_cast<T*>(p) = v;
}
// The same at any address.
template <class T>
NC_DEVICE T load_anywhere(const void* p) {
  T v;
  memcpy(&v, p, sizeof(v));
  return v;
}
template <class T>
NC_DEVICE void store_anywhere(void* p, T v) {
  memcpy(p, &v, sizeof(v));
}

// The low half of a pair of words, shifted to the right by less than 32 bits.
NC_DEVICE uint32_t funnel_right(uint32_t low, uint32_t high, int bits) {
  return __funnelshift_r(low, high, static_cast<uint32_t>(bits));
}

// Asynchronous copies of 16 bytes from global to this block's shared memory, both 16-byte aligned. The copies that a
// thread has started since its last commit form a group; a wait returns when all but the thread's latest `Pending`
// groups have arrived, and only then may that thread, and after a barrier others, read them.
NC_DEVICE void copy_async16(void* shared, const void* global) {
  const uint32_t target = static_cast<uint32_t>(__cvta_generic_to_shared(shared));
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16;" ::"r"(target), "l"(global) : "memory");
}
// The same for 16 bytes of a 32-byte sector whose other half is copied next: the sector stays in the first-level cache.
NC_DEVICE void copy_async16_part(void* shared, const void* global) {
  const uint32_t target = static_cast<uint32_t>(__cvta_generic_to_shared(shared));
  asm volatile("cp.async.ca.shared.global [%0], [%1], 16;" ::"r"(target), "l"(global) : "memory");
}
NC_DEVICE void copy_async_commit() { asm volatile("cp.async.commit_group;" ::: "memory"); }
template <int Pending>
NC_DEVICE void copy_async_wait() {
  asm volatile("cp.async.wait_group %0;" ::"n"(Pending) : "memory");
}

// Two numbers rounded to nearest even into the halves of a word; NaN becomes 0x7fff.
NC_DEVICE uint32_t bfloat16_pair(float low, float high) {
  uint32_t pair;
  asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(pair) : "f"(high), "f"(low));
  return pair;
}
NC_DEVICE uint32_t float16_pair(float low, float high) {
  uint32_t pair;
  asm("cvt.rn.f16x2.f32 %0, %1, %2;" : "=r"(pair) : "f"(high), "f"(low));
  return pair;
}
// The float of a float16 code in the low half of a word, exactly.
NC_DEVICE float from_float16(uint32_t code) {
  float value;
  asm("{.reg .b16 h; cvt.u16.u32 h, %1; cvt.f32.f16 %0, h;}" : "=f"(value) : "r"(code));
  return value;
}

// Two numbers rounded to nearest even into FP8, saturating, in the lower halves of a word; of NaN some NaN.
#if __CUDA_ARCH__ >= 890
NC_DEVICE uint32_t float8_e4m3_pair(float low, float high) {
  uint16_t pair;
  asm("cvt.rn.satfinite.e4m3x2.f32 %0, %1, %2;" : "=h"(pair) : "f"(high), "f"(low));
  return pair;
}
NC_DEVICE uint32_t float8_e5m2_pair(float low, float high) {
  uint16_t pair;
  asm("cvt.rn.satfinite.e5m2x2.f32 %0, %1, %2;" : "=h"(pair) : "f"(high), "f"(low));
  return pair;
}
#else
// Older devices do it in integers.
NC_DEVICE uint32_t float8_e4m3_pair(float low, float high) {
  return float8_bits<Float8E4m3, uint32_t>(low) | float8_bits<Float8E4m3, uint32_t>(high) << 8;
}
NC_DEVICE uint32_t float8_e5m2_pair(float low, float high) {
  return float8_bits<Float8E5m2, uint32_t>(low) | float8_bits<Float8E5m2, uint32_t>(high) << 8;
}
#endif

// 8 bytes in one access; the address is a multiple of 8.
struct alignas(8) Word8 {
  uint32_t w[2];
};
NC_DEVICE Word8 load8(const void* p) {
  const uint2 v = *reinterpret_cast<const uint2*>(p);
  return {{v.x, v.y}};
}
NC_DEVICE void store8(void* p, Word8 v) { *reinterpret_cast<uint2*>(p) = make_uint2(v.w[0], v.w[1]); }

// Raises a number in global memory, that any thread may raise, to at least `value`.
NC_DEVICE void atomic_max(uint32_t* p, uint32_t value) { atomicMax(p, value); }

// The kernel as the runtime's functions take it. On the host.
template <class Parameters>
const void* function_of(void (*kernel)(Parameters)) {
  return reinterpret_cast<const void*>(kernel);
}

}  // namespace simt
}  // namespace nc

#endif
