// Launch numbers, as data. None of them changes a bit of any result. Each carries the device and date of the
// measurement that set it, or the word unmeasured.
#pragma once

#include "../core/platform.h"

namespace nc {
inline namespace NC_LEVEL {

// Threads of a forward block whose rows have at most as many lanes: unmeasured.
constexpr int kForwardThreads = 128;

// The most octets that a lane of the hot kernels holds, one kernel each: 1024, 2048, .. elements a row of 32 lanes.
// unmeasured
constexpr int kKeptOctets[] = {1, 2, 4, 8, 12, 16};

// 16-byte words of x that a thread of the forward has on their way at least: where one row has fewer for it, it takes
// several. With one row of one word, and all of a multiprocessor's 2048 threads, 32 KB would be on their way while
// none of them waits for anything else, and each thread's one load is followed by a reduction, a store and another
// block's start; 3.35 TB/s at 700 ns of latency need 18 KB at all times, 4.8 TB/s 25 KB. unmeasured
constexpr int kForwardWords = 4;
constexpr int forward_rows(int words_of_octet, int kept) {
  return words_of_octet * kept < kForwardWords ? kForwardWords / (words_of_octet * kept) : 1;
}

// Blocks of 256 threads whose registers a multiprocessor is to hold. With several rows of a thread: 1024 threads of 64
// registers, or, where a wider weight would make these spill, 768 of 80, which have 48 KB on their way. From compute
// capability 10.0 on the compiler pairs float operations, and registers with them: 512 of 128. unmeasured
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 1000
constexpr int forward_blocks(int rows, bool) { return rows == 1 ? 1 : 2; }
#else
constexpr int forward_blocks(int rows, bool wide_weight) { return rows == 1 ? 1 : wide_weight ? 3 : 4; }
#endif

// The octets of a lane in the kernels for rows that begin at any element or end within an octet. Fewer kernels than for
// aligned rows: what is on its way is in shared memory, so octets that a lane lacks cost it registers and branches
// alone, and each kernel takes as long to compile. At N = 769 in bfloat16 the forward's 80 registers let 6 blocks of 4
// rows run on a multiprocessor, with 37 KB on their way; at 16383 the shared memory of 64 KB lets 3, with 96 KB.
// unmeasured
constexpr int kShiftedKeptOctets[] = {1, 4, 8, 16};
// Of the backward, whose shared memory lets two blocks run anyway and whose kernels take longer to compile. unmeasured
constexpr int kShiftedBackwardOctets[] = {4, 16};

// The fewest lanes of a row that these kernels take: one for each of the elements before the row's first 16-byte
// boundary and after its last one. Rows of up to 64 elements have fewer, and go element by element. unmeasured
constexpr int kShiftedLanes = 16;

// The most words of weight that a lane loads along with x. More wait for the statistics, when x alone is in registers:
// with 2, LayerNorm's kernels of several rows would spill. unmeasured
constexpr int kEarlyWords = 1;

// 16-byte words of the residual, of the weight, of the bias that a thread of the forward loads together. unmeasured
constexpr int kLoadedWords = 4;

// LayerNorm's dbias sums move from registers to shared memory from so many octets on: with 16, two sums of 128 floats
// would not fit the 255 registers of a thread, with 12 two of 96 do so for some formats only. unmeasured
constexpr bool bias_sums_are_shared(bool layer_norm, int kept) { return layer_norm && kept > 8; }

// Rows of a row lane that the backward works on at once. A warp waits some 400 cycles for the sums of a row, and short
// rows give it little else to do: with 200 instructions an octet some 600 cycles, where memory needs 850 for the eight
// warps of N = 256 and 425 for the four of N = 64, at 3.35 TB/s. unmeasured
constexpr int backward_rows(int kept) { return kept == 1 ? 4 : kept == 2 ? 2 : 1; }

// How often as many rows of a row lane may be on their way at once, the most that fit first: see lay_out in plugin.cu.
// unmeasured
constexpr int kStages[] = {8, 4, 3, 2, 1};

// The second step of the backward: columns of a block, and the most threads to a column. unmeasured
constexpr int kColumnsPerBlock = 32;
constexpr int kMostGroupLanes = 16;

}  // namespace NC_LEVEL
}  // namespace nc
