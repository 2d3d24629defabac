// The launches of a norm's calls: kernel, grid, shared memory, parameters.
#pragma once

#include "kernel_selection.h"
#include "launch.h"
#include "parameters.h"

namespace nc {
inline namespace NC_LEVEL {

template <class Parameters>
struct SelectedLaunch {
  Launch<Parameters> launch;
  Parameters parameters;
};

SelectedLaunch<ForwardParameters> forward_launch(const NormKernels& k, const NormSpec& spec, const ForwardArguments& a);
SelectedLaunch<BackwardParameters> backward_launch(const NormKernels& k, const NormSpec& spec,
                                                   const BackwardArguments& a);
// The second step of a backward, for one or two gradients.
SelectedLaunch<ColumnsParameters> columns_launch(const NormKernels& k, const NormSpec& spec,
                                                 const ColumnArguments* gradients, int32_t count);

// For the preparation of kernels: threads of a block, and the maximum dynamic shared memory of a forward block.
int forward_threads(const RowShape& shape);
int backward_threads(const RowShape& shape);
int forward_shared_bytes(const NormSpec& spec);
int unaligned_forward_shared_bytes(const NormKernels& k, const NormSpec& spec);

}  // namespace NC_LEVEL
}  // namespace nc
