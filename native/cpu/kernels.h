// The CPU kernels of one vector level.
#pragma once

#include "../core/arguments.h"
#include "../core/platform.h"

namespace nc {

// A function of a type that only the file which selected it knows: it casts the function back.
using SelectedFunction = void (*)();

// The functions that a vector level selected for a spec. Selected once, for a plan; `run` gets them with every call.
struct CpuForward {
  void (*run)(const NormSpec&, const CpuForward&, const ForwardArguments&);
  SelectedFunction statistics, normalise, sum;
};

// How the workspace of a backward holds the elements of a row: see partial_sum_layout.h.
struct PartialSumOrder {
  bool by_vec16;
  bool even_odd;
};

struct CpuBackward {
  void (*run)(const NormSpec&, const CpuBackward&, const BackwardArguments&);
  SelectedFunction reduce;
  SelectedFunction finish;               // for any outputs
  SelectedFunction finish_training;      // for those of the usual training step
  SelectedFunction finish_non_temporal;  // the same, with non-temporal stores
  PartialSumOrder partial_sums;
};

struct CpuColumns {
  using Run = void (*)(const NormSpec&, PartialSumOrder, const ColumnArguments&);
  Run weight_type, float32;  // by the type of the gradient
  PartialSumOrder partial_sums;

  void run(const NormSpec& spec, const ColumnArguments& a) const {
    (a.dtype == DType::float32 ? float32 : weight_type)(spec, partial_sums, a);
  }
};

struct CpuRotary {
  void (*run)(const RotarySpec&, const CpuRotary&, const RotaryArguments&);
  SelectedFunction bring, rotate;
};

struct CpuFp8 {
  void (*amax)(const Fp8AmaxArguments&);
  void (*quantize)(const Fp8QuantizeArguments&);
  void (*dequantize)(const Fp8DequantizeArguments&);
};

// One table per vector level.
struct CpuKernels {
  CpuForward (*select_forward)(const NormSpec&);
  CpuBackward (*select_backward)(const NormSpec&);
  CpuColumns (*select_columns)(const NormSpec&);
  CpuRotary (*select_rotary)(const RotarySpec&);
  CpuFp8 (*select_fp8)(const Fp8Spec&);
  void (*copy)(char* to, const char* from, int64_t bytes);
};

// The kernels of the level being compiled.
inline namespace NC_LEVEL {
CpuForward select_forward(const NormSpec&);
CpuBackward select_backward(const NormSpec&);
CpuColumns select_columns(const NormSpec&);
CpuRotary select_rotary(const RotarySpec&);
CpuFp8 select_fp8(const Fp8Spec&);
void copy(char* to, const char* from, int64_t bytes);
}  // namespace NC_LEVEL

}  // namespace nc
