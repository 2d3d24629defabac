// What the C wall hands to the CPU kernels of one vector level. Strides are in bytes, addresses those of row 0.
#pragma once

#include <cstdint>

#include "../core/platform.h"
#include "../core/spec.h"

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

// One table a vector level.
struct CpuKernels {
  void (*forward)(const NormSpec&, const ForwardArguments&);
  void (*backward)(const NormSpec&, const BackwardArguments&);
  void (*columns)(const NormSpec&, const ColumnArguments&);
};

// Those of the level that is being compiled.
inline namespace NC_LEVEL {
void norm_forward(const NormSpec&, const ForwardArguments&);
void norm_backward(const NormSpec&, const BackwardArguments&);
void norm_columns(const NormSpec&, const ColumnArguments&);
}  // namespace NC_LEVEL

}  // namespace nc
