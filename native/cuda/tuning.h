// Launch parameters. None of them changes a result. Each states the device and date of the measurement that set it, or
// "unmeasured".
#pragma once

#include "../core/platform.h"

namespace nc {
inline namespace NC_LEVEL {

// Threads of a forward block whose rows have at most this many lanes. unmeasured
constexpr int kForwardThreads = 128;

// Vectors per thread of the fast kernels, one kernel for each value: up to 1024, 2048, .. elements of a row of 32
// threads. unmeasured
constexpr int kVecsPerThread[] = {1, 2, 4, 8, 12, 16};

// Minimum 16-byte words of x that a forward thread has in flight; a thread with fewer in one row takes several rows.
// With one row of one word and all 2048 threads of an SM, 32 KB would be in flight only while no thread waits for
// anything else, and a reduction, a store and the start of another block follow each thread's one load. 3.35 TB/s at
// 700 ns of latency need 18 KB at all times, 4.8 TB/s 25 KB. unmeasured
constexpr int kForwardWords = 4;
constexpr int forward_rows(int words_per_vec, int vecs_per_thread) {
  return words_per_vec * vecs_per_thread < kForwardWords ? kForwardWords / (words_per_vec * vecs_per_thread) : 1;
}

// Blocks of 256 threads whose registers must fit an SM. With several rows per thread: 1024 threads of 64 registers, or
// 768 of 80 where a wider weight would spill at 64; those have 48 KB in flight. From compute capability 10.0 on the
// compiler pairs float operations, and with them registers: 512 of 128. unmeasured
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 1000
constexpr int forward_blocks(int rows, bool) { return rows == 1 ? 1 : 2; }
#else
constexpr int forward_blocks(int rows, bool wide_weight) { return rows == 1 ? 1 : wide_weight ? 3 : 4; }
#endif

// Vectors per thread of the kernels for unaligned rows. There are fewer kernels than for aligned rows: the data in
// flight is in shared memory, so an unused vector costs only registers and branches, and each kernel takes as long to
// compile. At N = 769 in bfloat16 the forward's 80 registers allow 6 blocks of 4 rows per SM, with 37 KB in flight; at
// 16383 the shared memory of 64 KB allows 3, with 96 KB. unmeasured
constexpr int kUnalignedVecsPerThread[] = {1, 4, 8, 16};
// For the backward. Its shared memory allows two blocks in any case, and its kernels take longer to compile. unmeasured
constexpr int kUnalignedBackwardVecsPerThread[] = {4, 16};

// Minimum threads per row of these kernels: one for each element before the row's first 16-byte boundary and after its
// last one. Rows of up to 64 elements have fewer threads and use the generic kernels. unmeasured
constexpr int kUnalignedLanes = 16;

// Maximum weight words that a thread loads together with x. Larger weights are loaded after the statistics, when only x
// is in registers: with 2, LayerNorm's kernels of several rows would spill. unmeasured
constexpr int kEarlyWords = 1;

// 16-byte words of each of residual, weight and bias that a forward thread loads together. unmeasured
constexpr int kLoadedWords = 4;

// Vectors per thread from which LayerNorm keeps its dbias sums in shared memory instead of registers: with 16, two sums
// of 128 floats exceed the 255 registers of a thread; with 12, two sums of 96 fit for some formats only. unmeasured
constexpr bool bias_sums_are_shared(bool layer_norm, int vecs_per_thread) { return layer_norm && vecs_per_thread > 8; }

// Rows that a backward row slot processes at once. A warp waits some 400 cycles for the sums of a row, and short rows
// offer little other work: 200 instructions per vector take some 600 cycles, where memory needs 850 for the eight warps
// of N = 256 and 425 for the four of N = 64, at 3.35 TB/s. unmeasured
constexpr int backward_rows(int vecs_per_thread) { return vecs_per_thread == 1 ? 4 : vecs_per_thread == 2 ? 2 : 1; }

// Candidate numbers of pipeline stages per row slot, in flight at once; the largest that fits is used: see
// plan_shared_memory in launch_plan.cu. unmeasured
constexpr int kStages[] = {8, 4, 3, 2, 1};

// Second step of the backward: columns per block and maximum threads per column. unmeasured
constexpr int kColumnsPerBlock = 32;
constexpr int kMaxThreadsPerColumn = 16;

}  // namespace NC_LEVEL
}  // namespace nc
