// The CPU kernels of one vector level.
#pragma once

#include "../core/arguments.h"
#include "../core/platform.h"

namespace nc {

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
