// Kernel arguments, common to both backends. Strides are in bytes; addresses are those of row 0.
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
  // CPU only. far: the tensors are not cached, so prefetch the next rows. streams: non-temporal stores for y.
  bool prefetch, non_temporal;
  // Quantised y only, by scaling.
  const char* y_scale;  // tensor: a float32
  char* y_amax;         // tensor: a float32, updated by atomic maximum; or null
  char* y_scale_inv;    // row: [rows] float32; block: [rows, ceil(N / 32)] E8M0
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
  bool prefetch, non_temporal;  // as in the forward; streams: non-temporal stores for dx
  char* dweight_partials;       // or null: see workspace.h
  char* dbias_partials;         // or null
};

// The sum of one gradient's partial sums over row slots and groups. The CUDA kernels overwrite `parts`.
struct ColumnArguments {
  int64_t rows, column_begin, column_end;
  char* partials;
  char* gradient;
  DType dtype;
  bool accumulate;
};

// Byte strides of [batch, seq, heads]; the elements of a head are contiguous. Token (b, s) has number b * seq + s.
struct HeadStrides {
  int64_t batch, seq, head;
};
struct RotaryArguments {
  int64_t seq, heads;
  int64_t token_begin, token_end;
  const char* x;
  HeadStrides x_strides;
  const char* cos;  // [rows, rotary_dim / 2]; token (b, s) uses row b * table_batch_rows + s
  const char* sin;
  int64_t table_batch_rows;  // 0: every batch has the same positions
  char* y;                   // may be x, at the strides of x
  HeadStrides y_strides;
  bool backward;  // rotates by the negative angle
};

// FP8 conversions of rows x columns elements.
struct Fp8AmaxArguments {
  DType x;
  int64_t rows, columns;
  const char* from;
  int64_t stride;
  char* amax;  // a float32, updated by atomic maximum
};
struct Fp8ScaleArguments {
  DType format;
  int32_t margin;
  bool power_of_two;
  int64_t count;
  const char* amax;  // [count] float32
  char* scale;       // [count] float32, or null
  char* scale_inv;   // [count] float32, or null
};
struct Fp8QuantizeArguments {
  DType x, format;
  Scaling scaling;  // tensor or block
  int64_t rows, columns;
  const char* from;
  int64_t from_stride;
  char* to;
  int64_t to_stride;
  const char* scale;   // tensor: a float32
  char* amax;          // tensor: a float32, updated by atomic maximum; or null
  char* block_scales;  // block: [rows, ceil(columns / 32)] in E8M0
};
struct Fp8DequantizeArguments {
  DType format, y;
  Scaling scaling;  // tensor, row or block
  int64_t rows, columns;
  const char* from;
  int64_t from_stride;
  const char* scale_inv;  // tensor: a float32; row: [rows] float32; block: [rows, ceil(columns / 32)] in E8M0
  char* to;
  int64_t to_stride;
};

}  // namespace nc
