// What the C wall hands to the kernels of either backend. Strides are in bytes, addresses those of row 0.
#pragma once

#include <cstdint>

#include "spec.h"

namespace nc {

struct ForwardArguments {
  int64_t row_begin, row_end;
  const char* x;
  int64_t x_stride;
  const char* residual;  // or null
  int64_t residual_stride;
  const char* weight;  // or null
  const char* bias;    // or null
  char* y;
  int64_t y_stride;
  char* residual_out;  // or null
  int64_t residual_out_stride;
  char* mean;  // or null
  char* rstd;  // or null
};

struct BackwardArguments {
  int64_t rows, group_begin, group_end;
  const char* x;
  int64_t x_stride;
  const char* weight;  // or null
  const char* dy;
  int64_t dy_stride;
  const char* mean;  // or null
  const char* rstd;
  const char* dresidual;  // or null
  int64_t dresidual_stride;
  char* dx;  // or null
  int64_t dx_stride;
  char* dweight_parts;  // or null: [groups, row_lanes, N] in the compute type
  char* dbias_parts;    // or null
};

// One gradient's shares, summed over row lanes and groups: consumed in the process.
struct ColumnArguments {
  int64_t rows, column_begin, column_end;
  char* parts;
  char* gradient;
  DType dtype;
  bool accumulate;
};

}  // namespace nc
