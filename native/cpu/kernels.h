// The CPU kernels of one vector level.
#pragma once

#include "../core/arguments.h"
#include "../core/platform.h"

namespace nc {

// One table per vector level.
struct CpuKernels {
  void (*forward)(const NormSpec&, const ForwardArguments&);
  void (*backward)(const NormSpec&, const BackwardArguments&);
  void (*columns)(const NormSpec&, const ColumnArguments&);
  void (*rotary)(const RotarySpec&, const RotaryArguments&);
  void (*fp8_amax)(const Fp8AmaxArguments&);
  void (*fp8_quantize)(const Fp8QuantizeArguments&);
  void (*fp8_dequantize)(const Fp8DequantizeArguments&);
  void (*copy)(char* to, const char* from, int64_t bytes);
};

// The kernels of the level being compiled.
inline namespace NC_LEVEL {
void norm_forward(const NormSpec&, const ForwardArguments&);
void norm_backward(const NormSpec&, const BackwardArguments&);
void norm_columns(const NormSpec&, const ColumnArguments&);
void rotary(const RotarySpec&, const RotaryArguments&);
void fp8_amax(const Fp8AmaxArguments&);
void fp8_quantize(const Fp8QuantizeArguments&);
void fp8_dequantize(const Fp8DequantizeArguments&);
void copy(char* to, const char* from, int64_t bytes);
}  // namespace NC_LEVEL

}  // namespace nc
