// Kernel parameters, passed by value.
#pragma once

#include "../core/arguments.h"
#include "../core/platform.h"

namespace nc {
inline namespace NC_LEVEL {

// How a row is distributed over threads: lane o % lanes of block s of the row's cluster holds vector v of segment s. A
// row length fits int.
struct RowShape {
  int n;
  int vecs;  // of the row; the last one may be partial
  int vecs_per_segment;
  int segments, segments_log2;  // powers of two, as are the lanes
  int lanes, lanes_log2;
};

// The alignment of all addresses and strides of a call.
enum class Alignment {
  none,     // some element crosses its natural boundary
  element,  // elements are naturally aligned
  vector    // rows begin on 16-byte boundaries and consist of whole vectors
};

// Shared-memory layout of a forward block for unaligned rows, after the reduction scratch: offsets of weight, bias, and
// the block's rows, one after the other; and of as many rows again if there is a residual.
struct UnalignedForwardLayout {
  int weight, bias, rows, residuals;
  int row_bytes;
};

struct ForwardParameters {
  NormSpec spec;
  RowShape shape;
  ForwardArguments a;
  Alignment alignment;  // of all but a quantised y
  bool y_words;         // a quantised y has 8-byte aligned rows
  int rows_per_block;
  UnalignedForwardLayout layout;  // for unaligned rows
};

// Shared-memory layout of a backward block for unaligned rows: offsets of the weight, of the dbias sums that do not fit
// registers, of one dx row per row slot, and of the stages. A stage holds a row of x, of dy and of dresidual for each
// row slot.
struct UnalignedBackwardLayout {
  int weight, bias_sums, dx, stages;
  int dx_bytes, stage_bytes;  // per row slot
  int dy, dresidual;          // relative to a row slot's x
};

struct BackwardParameters {
  NormSpec spec;
  RowShape shape;
  BackwardArguments a;
  Alignment alignment;
  int64_t groups;
  int row_slots;
  int vecs_per_thread;
  int rows_at_once;         // per row slot
  int stages;               // of rows_at_once rows, in flight at once
  int staged_words;         // 16-byte words of a vector of x, dy and dresidual together
  bool weight_staged;       // the weight is copied to shared memory once per block
  bool rounds_weight_grad;  // see FastPolicy
  UnalignedBackwardLayout layout;
};

struct ColumnsParameters {
  ColumnArguments of[2];  // the grid's rows: dweight, dbias
  int64_t n;
  int64_t groups;
  int64_t group_stride;    // elements between partial sums of consecutive groups
  int threads_per_column;  // threads per column: a power of two; a thread sums the rest of up to 256 groups
};

}  // namespace NC_LEVEL
}  // namespace nc
