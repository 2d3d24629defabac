// Launch parameters. None of them changes a result. Each states the device and date of the measurement that set it, or
// "unmeasured". Each is a macro with a default, for variants of tests/gpu/tuning, and a constant, which the code uses.
// A paragraph holds both: variants.py finds what a macro affects by paragraphs.
#pragma once

#include "../core/platform.h"
#include "../core/reduction_order.h"

namespace nc {
inline namespace NC_LEVEL {

// Threads of a forward block whose rows have at most this many lanes. unmeasured
#ifndef NC_TUNE_FORWARD_THREADS
#define NC_TUNE_FORWARD_THREADS 128
#endif
constexpr int kForwardThreads = NC_TUNE_FORWARD_THREADS;
constexpr int kMaxForwardThreads = kForwardThreads > kMaxLanes ? kForwardThreads : kMaxLanes;

// Vectors per thread of the fast kernels, one kernel for each value: up to 1024, 2048, .. elements of a row of 32
// threads. unmeasured
#ifndef NC_TUNE_VECS_PER_THREAD
#define NC_TUNE_VECS_PER_THREAD 1, 2, 4, 8, 12, 16
#endif
constexpr int kVecsPerThread[] = {NC_TUNE_VECS_PER_THREAD};

// Minimum 16-byte words of x that a forward thread has in flight; a thread with fewer in one row takes several rows.
// With one row of one word and all 2048 threads of an SM, 32 KB would be in flight only while no thread waits for
// anything else, and a reduction, a store and the start of another block follow each thread's one load. 3.35 TB/s at
// 700 ns of latency need 18 KB at all times, 4.8 TB/s 25 KB. unmeasured
#ifndef NC_TUNE_FORWARD_WORDS
#define NC_TUNE_FORWARD_WORDS 4
#endif
constexpr int kForwardWords = NC_TUNE_FORWARD_WORDS;
constexpr int forward_rows(int words_per_vec, int vecs_per_thread) {
  return words_per_vec * vecs_per_thread < kForwardWords ? kForwardWords / (words_per_vec * vecs_per_thread) : 1;
}

// Blocks of 256 threads whose registers must fit an SM. With several rows per thread: 1024 threads of 64 registers, or
// 768 of 80 where a wider weight would spill at 64; those have 48 KB in flight. From compute capability 10.0 on the
// compiler pairs float operations, and with them registers: 512 of 128. With one row of up to 4 or up to 8 vectors per
// thread: no limit. unmeasured
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 1000
#define NC_PAIRED_REGISTERS 1
#else
#define NC_PAIRED_REGISTERS 0
#endif
#ifndef NC_TUNE_FORWARD_BLOCKS
#define NC_TUNE_FORWARD_BLOCKS (NC_PAIRED_REGISTERS ? 2 : 4)
#endif
#ifndef NC_TUNE_FORWARD_BLOCKS_WIDE_WEIGHT
#define NC_TUNE_FORWARD_BLOCKS_WIDE_WEIGHT (NC_PAIRED_REGISTERS ? 2 : 3)
#endif
#ifndef NC_TUNE_FORWARD_BLOCKS_4_VECS
#define NC_TUNE_FORWARD_BLOCKS_4_VECS 1
#endif
#ifndef NC_TUNE_FORWARD_BLOCKS_8_VECS
#define NC_TUNE_FORWARD_BLOCKS_8_VECS 1
#endif
constexpr int forward_blocks(int rows, int vecs_per_thread, bool wide_weight) {
  if (rows > 1) return wide_weight ? NC_TUNE_FORWARD_BLOCKS_WIDE_WEIGHT : NC_TUNE_FORWARD_BLOCKS;
  return vecs_per_thread <= 4   ? NC_TUNE_FORWARD_BLOCKS_4_VECS
         : vecs_per_thread <= 8 ? NC_TUNE_FORWARD_BLOCKS_8_VECS
                                : 1;
}

// Blocks of a forward launch without clusters, each of which takes several batches of rows; 0: a block for each batch.
// Others need a kernel that loops, from NC_TUNE_FORWARD_HEADER: see norm_forward.cuh. unmeasured
#ifndef NC_TUNE_PERSISTENT_BLOCKS
#define NC_TUNE_PERSISTENT_BLOCKS 0
#endif
constexpr int kPersistentBlocks = NC_TUNE_PERSISTENT_BLOCKS;

// Vectors per thread of the kernels for unaligned rows. There are fewer kernels than for aligned rows: the data in
// flight is in shared memory, so an unused vector costs only registers and branches, and each kernel takes as long to
// compile. At N = 769 in bfloat16 the forward's 80 registers allow 6 blocks of 4 rows per SM, with 37 KB in flight; at
// 16383 the shared memory of 64 KB allows 3, with 96 KB. unmeasured
#ifndef NC_TUNE_UNALIGNED_VECS_PER_THREAD
#define NC_TUNE_UNALIGNED_VECS_PER_THREAD 1, 4, 8, 16
#endif
constexpr int kUnalignedVecsPerThread[] = {NC_TUNE_UNALIGNED_VECS_PER_THREAD};

// For the backward. Its shared memory allows two blocks in any case, and its kernels take longer to compile. unmeasured
#ifndef NC_TUNE_UNALIGNED_BACKWARD_VECS_PER_THREAD
#define NC_TUNE_UNALIGNED_BACKWARD_VECS_PER_THREAD 4, 16
#endif
constexpr int kUnalignedBackwardVecsPerThread[] = {NC_TUNE_UNALIGNED_BACKWARD_VECS_PER_THREAD};

// Minimum threads per row of these kernels: one for each element before the row's first 16-byte boundary and after its
// last one. Rows of up to 64 elements have fewer threads and use the generic kernels. unmeasured
#ifndef NC_TUNE_UNALIGNED_LANES
#define NC_TUNE_UNALIGNED_LANES 16
#endif
constexpr int kUnalignedLanes = NC_TUNE_UNALIGNED_LANES;

// Maximum weight words that a thread loads together with x. Larger weights are loaded after the statistics, when only x
// is in registers: with 2, LayerNorm's kernels of several rows would spill. unmeasured
#ifndef NC_TUNE_EARLY_WORDS
#define NC_TUNE_EARLY_WORDS 1
#endif
constexpr int kEarlyWords = NC_TUNE_EARLY_WORDS;

// 16-byte words of each of residual, weight and bias that a forward thread loads together. unmeasured
#ifndef NC_TUNE_LOADED_WORDS
#define NC_TUNE_LOADED_WORDS 4
#endif
constexpr int kLoadedWords = NC_TUNE_LOADED_WORDS;

// Whether a row sum over several warps ends with a second barrier. Double-buffered scratch needs none. unmeasured
#ifndef NC_TUNE_SECOND_BARRIER
#define NC_TUNE_SECOND_BARRIER 0
#endif
constexpr bool kSecondBarrier = NC_TUNE_SECOND_BARRIER;

// Whether the first arrive of a cluster's blocks, before which nothing has been written, is relaxed. The other one is
// compiled to a memory fence of the whole device. unmeasured
#ifndef NC_TUNE_RELAXED_CLUSTER_START
#define NC_TUNE_RELAXED_CLUSTER_START 0
#endif
constexpr bool kRelaxedClusterStart = NC_TUNE_RELAXED_CLUSTER_START;

// Maximum vectors per thread for which LayerNorm keeps its dbias sums in registers instead of shared memory: with 16,
// two sums of 128 floats exceed the 255 registers of a thread; with 12, two sums of 96 fit for some formats only.
// unmeasured
#ifndef NC_TUNE_REGISTER_BIAS_VECS
#define NC_TUNE_REGISTER_BIAS_VECS 8
#endif
constexpr bool bias_sums_are_shared(bool layer_norm, int vecs_per_thread) {
  return layer_norm && vecs_per_thread > NC_TUNE_REGISTER_BIAS_VECS;
}

// Rows that a backward row slot processes at once, with one, two and four vectors per thread. A warp waits some 400
// cycles for the sums of a row, and short rows offer little other work: 200 instructions per vector take some 600
// cycles, where memory needs 850 for the eight warps of N = 256 and 425 for the four of N = 64, at 3.35 TB/s.
// unmeasured
#ifndef NC_TUNE_BACKWARD_ROWS_1_VEC
#define NC_TUNE_BACKWARD_ROWS_1_VEC 4
#endif
#ifndef NC_TUNE_BACKWARD_ROWS_2_VECS
#define NC_TUNE_BACKWARD_ROWS_2_VECS 2
#endif
#ifndef NC_TUNE_BACKWARD_ROWS_4_VECS
#define NC_TUNE_BACKWARD_ROWS_4_VECS 1
#endif
constexpr int backward_rows(int vecs_per_thread) {
  return vecs_per_thread == 1   ? NC_TUNE_BACKWARD_ROWS_1_VEC
         : vecs_per_thread == 2 ? NC_TUNE_BACKWARD_ROWS_2_VECS
         : vecs_per_thread == 4 ? NC_TUNE_BACKWARD_ROWS_4_VECS
                                : 1;
}

// Blocks of 256 threads of the backward whose registers must fit an SM, for up to 8 vectors per thread, or 4 of
// LayerNorm; 1: no limit. unmeasured
#ifndef NC_TUNE_BACKWARD_BOUND
#define NC_TUNE_BACKWARD_BOUND 1
#endif
constexpr int backward_bound(bool layer_norm, int vecs_per_thread) {
  return vecs_per_thread <= (layer_norm ? 4 : 8) ? NC_TUNE_BACKWARD_BOUND : 1;
}

// Maximum backward blocks per SM, a power of two; as many share the shared memory as fit the registers. unmeasured
#ifndef NC_TUNE_BACKWARD_BLOCKS
#define NC_TUNE_BACKWARD_BLOCKS 2
#endif
constexpr int kBackwardBlocks = NC_TUNE_BACKWARD_BLOCKS;

// Candidate numbers of pipeline stages per row slot, in flight at once; the largest that fits is used: see
// plan_shared_memory in launch_plan.cu. unmeasured
#ifndef NC_TUNE_STAGES
#define NC_TUNE_STAGES 8, 4, 3, 2, 1
#endif
constexpr int kStages[] = {NC_TUNE_STAGES};

// Minimum stages of each block for which several blocks share an SM. unmeasured
#ifndef NC_TUNE_SHARING_STAGES
#define NC_TUNE_SHARING_STAGES 1
#endif
constexpr int kSharingStages = NC_TUNE_SHARING_STAGES;

// Whether the backward copies the weight to shared memory where it fits, instead of reading the caches for each row.
// unmeasured
#ifndef NC_TUNE_STAGED_WEIGHT
#define NC_TUNE_STAGED_WEIGHT 1
#endif
constexpr bool kStagedWeight = NC_TUNE_STAGED_WEIGHT;

// Whether the backward has a second copy of its loop without conditions, for whole rows. unmeasured
#ifndef NC_TUNE_WHOLE_ROWS
#define NC_TUNE_WHOLE_ROWS 0
#endif
constexpr bool kWholeRows = NC_TUNE_WHOLE_ROWS;

// Second step of the backward: columns per block and maximum threads per column. unmeasured
#ifndef NC_TUNE_COLUMNS_PER_BLOCK
#define NC_TUNE_COLUMNS_PER_BLOCK 32
#endif
constexpr int kColumnsPerBlock = NC_TUNE_COLUMNS_PER_BLOCK;

#ifndef NC_TUNE_THREADS_PER_COLUMN
#define NC_TUNE_THREADS_PER_COLUMN 16
#endif
constexpr int kMaxThreadsPerColumn = NC_TUNE_THREADS_PER_COLUMN;

// Whether the blocks of the second step start before the first step has ended, and wait for its memory. unmeasured
#ifndef NC_TUNE_OVERLAPPED_COLUMNS
#define NC_TUNE_OVERLAPPED_COLUMNS 0
#endif
constexpr bool kOverlappedColumns = NC_TUNE_OVERLAPPED_COLUMNS;

// Not a parameter: variants are built without the kernels that are not timed. Left are two combinations of formats and
// the policies that do not round before the weight; no FP8, no unaligned rows, the generic kernels with run-time
// formats.
#ifndef NC_TUNE_FEW_KERNELS
#define NC_TUNE_FEW_KERNELS 0
#endif
constexpr bool kFewKernels = NC_TUNE_FEW_KERNELS;

}  // namespace NC_LEVEL
}  // namespace nc
