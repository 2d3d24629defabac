// The machine interface of the kernels, including global-memory accesses: the only file that names CUDA intrinsics.
// launch.h launches kernels. Kernels use this interface alone, so that an implementation with fibres as threads runs
// them on any host (tests/native/simulator); a compiler other than nvcc selects that implementation.
//
// Warps have 32 threads. Blocks are one-dimensional and have a multiple of 32 threads. All threads of the warp or
// block, or none, must reach a shuffle, warp barrier or block barrier.
#pragma once

#if !defined(__CUDACC__)
#include <simt_host.h>
#else

#include <cuda_runtime.h>

#include <cstdint>

#include "../core/dtype.h"

#define NC_DEVICE __device__ __forceinline__
// Device code not worth inlining at each use.
#define NC_DEVICE_CALLED static __device__ __noinline__
// threads: maximum block size of the kernel; blocks: how many blocks of that size must fit the registers of an SM.
#define NC_KERNEL(threads, blocks) __global__ __launch_bounds__(threads, blocks)
#define NC_UNROLL _Pragma("unroll")
// For loops with a large body: prevents unrolling.
#define NC_ROLLED _Pragma("unroll 1")

namespace nc {
namespace simt {

NC_DEVICE int thread_index() { return static_cast<int>(threadIdx.x); }
NC_DEVICE int thread_count() { return static_cast<int>(blockDim.x); }
NC_DEVICE int64_t block_index() { return static_cast<int64_t>(blockIdx.x); }
NC_DEVICE int block_row() { return static_cast<int>(blockIdx.y); }

// The block's dynamic shared memory, 16-byte aligned; its size is set by the launch.
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

// Clusters: blocks that run concurrently and can access each other's shared memory. Writes that a thread makes before
// cluster_arrive are visible to every thread of the cluster after cluster_wait. Each arrive needs a matching wait. A
// launch without clusters must not call these functions.
#if __CUDA_ARCH__ >= 900
NC_DEVICE int cluster_rank() {
  uint32_t rank;
  asm("mov.u32 %0, %%cluster_ctarank;" : "=r"(rank));
  return static_cast<int>(rank);
}
NC_DEVICE void cluster_arrive() { asm volatile("barrier.cluster.arrive.release.aligned;" ::: "memory"); }
NC_DEVICE void cluster_wait() { asm volatile("barrier.cluster.wait.acquire.aligned;" ::: "memory"); }
// An arrive that makes no writes visible.
NC_DEVICE void cluster_arrive_relaxed() { asm volatile("barrier.cluster.arrive.relaxed.aligned;" ::: "memory"); }
// Maps p, in this block's shared memory, to the same location in block `rank` of the cluster.
template <class T>
NC_DEVICE T* of_cluster_block(T* p, int rank) {
  uint64_t there;
  asm("mapa.u64 %0, %1, %2;" : "=l"(there) : "l"(reinterpret_cast<uint64_t>(p)), "r"(rank));
  return reinterpret_cast<T*>(there);
}
#else
// Stubs: older devices never get a launch with clusters.
NC_DEVICE int cluster_rank() { return 0; }
NC_DEVICE void cluster_arrive() {}
NC_DEVICE void cluster_wait() {}
NC_DEVICE void cluster_arrive_relaxed() {}
template <class T>
NC_DEVICE T* of_cluster_block(T* p, int) {
  return p;
}
#endif

// Launches that overlap: permits the next launch to start, and waits for the previous one's end and memory.
#if __CUDA_ARCH__ >= 900
NC_DEVICE void permit_next_launch() { asm volatile("griddepcontrol.launch_dependents;"); }
NC_DEVICE void wait_for_previous_launch() { asm volatile("griddepcontrol.wait;" ::: "memory"); }
#else
// Stubs: older devices run launches one after another.
NC_DEVICE void permit_next_launch() {}
NC_DEVICE void wait_for_previous_launch() {}
#endif

// A 16-byte word, moved in one access; the address is a multiple of 16.
struct alignas(16) Word16 {
  uint32_t w[4];
};
NC_DEVICE Word16 load16(const void* p) {
  const uint4 v = *reinterpret_cast<const uint4*>(p);
  return {{v.x, v.y, v.z, v.w}};
}
NC_DEVICE void store16(void* p, Word16 v) { *reinterpret_cast<uint4*>(p) = make_uint4(v.w[0], v.w[1], v.w[2], v.w[3]); }
// Streaming load, for global memory that is read once.
NC_DEVICE Word16 load16_once(const void* p) {
  const uint4 v = __ldcs(reinterpret_cast<const uint4*>(p));
  return {{v.x, v.y, v.z, v.w}};
}

// Read-only load, for global memory that nothing writes while the kernel runs: the compiler may move it past stores.
NC_DEVICE Word16 load16_constant(const void* p) {
  const uint4 v = __ldg(reinterpret_cast<const uint4*>(p));
  return {{v.x, v.y, v.z, v.w}};
}

// One value in global memory; the address is a multiple of its size.
template <class T>
NC_DEVICE T load_value(const void* p) {
  return *reinterpret_cast<const T*>(p);
}
template <class T>
NC_DEVICE void store_value(void* p, T v) {
  *reinterpret_cast<T*>(p) = v;
}
// The same at any alignment.
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

// The low word of the pair shifted right by `bits`, less than 32.
NC_DEVICE uint32_t funnel_right(uint32_t low, uint32_t high, int bits) {
  return __funnelshift_r(low, high, static_cast<uint32_t>(bits));
}

// Asynchronous copies of 16 bytes from global memory to this block's shared memory; both addresses are 16-byte aligned.
// The copies that a thread has started since its last commit form a group. A wait returns when all but the thread's
// latest `Pending` groups have completed. Only then may that thread read them, and other threads after a barrier.
NC_DEVICE void copy_async16(void* shared, const void* global) {
  const uint32_t target = static_cast<uint32_t>(__cvta_generic_to_shared(shared));
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16;" ::"r"(target), "l"(global) : "memory");
}
// The same for half of a 32-byte sector whose other half is copied next: the sector stays in L1.
NC_DEVICE void copy_async16_part(void* shared, const void* global) {
  const uint32_t target = static_cast<uint32_t>(__cvta_generic_to_shared(shared));
  asm volatile("cp.async.ca.shared.global [%0], [%1], 16;" ::"r"(target), "l"(global) : "memory");
}
NC_DEVICE void copy_async_commit() { asm volatile("cp.async.commit_group;" ::: "memory"); }
template <int Pending>
NC_DEVICE void copy_async_wait() {
  asm volatile("cp.async.wait_group %0;" ::"n"(Pending) : "memory");
}

// Rounds two numbers to nearest even into the halves of a word; NaN becomes 0x7fff.
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
// The exact float value of the float16 code in the low half of a word.
NC_DEVICE float from_float16(uint32_t code) {
  float value;
  asm("{.reg .b16 h; cvt.u16.u32 h, %1; cvt.f32.f16 %0, h;}" : "=f"(value) : "r"(code));
  return value;
}

// Rounds two numbers to nearest even into FP8, saturating, in the low 16 bits of a word; NaN gives an unspecified NaN.
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
// Integer implementation for older devices.
NC_DEVICE uint32_t float8_e4m3_pair(float low, float high) {
  return float8_bits<Float8E4m3, uint32_t>(low) | float8_bits<Float8E4m3, uint32_t>(high) << 8;
}
NC_DEVICE uint32_t float8_e5m2_pair(float low, float high) {
  return float8_bits<Float8E5m2, uint32_t>(low) | float8_bits<Float8E5m2, uint32_t>(high) << 8;
}
#endif

// An 8-byte word, moved in one access; the address is a multiple of 8.
struct alignas(8) Word8 {
  uint32_t w[2];
};
NC_DEVICE Word8 load8(const void* p) {
  const uint2 v = *reinterpret_cast<const uint2*>(p);
  return {{v.x, v.y}};
}
NC_DEVICE void store8(void* p, Word8 v) { *reinterpret_cast<uint2*>(p) = make_uint2(v.w[0], v.w[1]); }

// Atomic maximum in global memory.
NC_DEVICE void atomic_max(uint32_t* p, uint32_t value) { atomicMax(p, value); }

// Host code: the kernel's address as the runtime's functions take it.
template <class Parameters>
const void* function_of(void (*kernel)(Parameters)) {
  return reinterpret_cast<const void*>(kernel);
}

}  // namespace simt
}  // namespace nc

#endif
