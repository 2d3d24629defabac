// What kernels are given, by value.
#pragma once

#include "../core/arguments.h"
#include "../core/platform.h"

namespace nc {
inline namespace NC_LEVEL {

// How a row lies over threads: octet o of segment s belongs to lane o % lanes of block s of the row's cluster. A row is
// short enough for int.
struct RowShape {
  int n;
  int octets;  // of the row, the last one perhaps a part
  int octets_per_segment;
  int segments, segments_log2;  // powers of two, as are the lanes
  int lanes, lanes_log2;
};

// What all addresses and strides of a call allow.
enum class Access {
  bytes,     // some element lies across the natural boundary of its type
  elements,  // elements lie on their boundaries
  octets     // rows begin on 16-byte boundaries and have whole octets
};

// A forward block's shared memory behind where sums meet, if its rows begin anywhere: offsets of weight, bias, and of
// as many rows as the block takes, one after the other, twice where there is a residual.
struct ForwardWindows {
  int weight, bias, rows, residuals;
  int row_bytes;
};

struct ForwardParameters {
  NormSpec spec;
  RowShape shape;
  ForwardArguments a;
  Access access;  // of all but a quantised y
  bool y_words;   // rows of a quantised y begin on 8-byte boundaries
  int rows_per_block;
  ForwardWindows windows;  // of rows that begin anywhere
};

// A backward block's shared memory, if its rows begin anywhere: offsets of the weight, of the sums of dbias where
// registers would not do, of one row of dx for each row lane, and of the stages. A stage has of each row lane a row of
// x, of dy and of dresidual.
struct BackwardWindows {
  int weight, bias_sums, dx, stages;
  int dx_bytes, stage_bytes;  // of a row lane
  int dy, dresidual;          // from a row lane's x on
};

struct BackwardParameters {
  NormSpec spec;
  RowShape shape;
  BackwardArguments a;
  Access access;
  int64_t groups;
  int row_lanes;
  int octets_per_lane;
  int stages;          // rows of a row lane that are on their way at once
  int staged_words;    // 16-byte words of an octet of x, dy and dresidual together
  bool weight_staged;  // the weight is copied to shared memory once per block
  bool by_product;     // see HotPolicy
  BackwardWindows windows;
};

struct ColumnsParameters {
  ColumnArguments of[2];  // the grid's rows: dweight, dbias
  int64_t n;
  int64_t groups;
  int64_t group_stride;  // elements between the groups' shares
  int group_lanes;       // threads to a column: a power of two, with the rest of 256 groups in a thread
};

}  // namespace NC_LEVEL
}  // namespace nc
