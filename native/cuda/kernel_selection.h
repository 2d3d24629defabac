// The kernels of a norm on a device.
#pragma once

#include "kernels.h"
#include "plugin.h"
#include "tuning.h"

namespace nc {
inline namespace NC_LEVEL {

// Why a kernel is absent.
enum class Absence : uint8_t {
  none,                 // the kernel is present
  not_compiled,         // by design: none is compiled for these formats, policy and hidden size
  no_clusters,          // the device does not support clusters
  code_lacks_clusters,  // the code was compiled for a device without clusters
  cluster_does_not_fit  // the device cannot hold one cluster of this size
};

// Stored by prepare in CudaNorm::kernels.
struct NormKernels {
  RowShape shape;
  int vecs_per_thread;  // maximum
  int shared_bytes;     // maximum of a block
  int backward_blocks;  // per SM, as its registers allow: a power of two
  int unaligned_backward_blocks;
  bool rounds_weight_grad;
  ForwardFunction fast_forward, unaligned_forward, generic_forward;  // fast and unaligned ones may be null
  BackwardFunction fast_backward, unaligned_backward, generic_backward;
  ColumnsFunction columns;
  // The reason for each null pointer above.
  Absence no_fast_forward, no_unaligned_forward, no_fast_backward, no_unaligned_backward;
};
static_assert(sizeof(NormKernels) <= sizeof(CudaNorm::kernels));
NormKernels kernels_of(const CudaNorm& norm);

// Selects the kernels for a valid spec, loads them on the device and sets their attributes.
int32_t prepare(int32_t device, const NormSpec& spec, CudaNorm* norm);

// Kernels are compiled for some numbers of vectors per thread. The smallest sufficient one, or 0.
template <int Count>
inline int smallest_fitting(const int (&kernels)[Count], int vecs_per_thread) {
  for (const int compiled_vecs : kernels) {
    if (vecs_per_thread <= compiled_vecs) return compiled_vecs;
  }
  return 0;
}
inline int compiled_vecs_for(int vecs_per_thread) { return smallest_fitting(kVecsPerThread, vecs_per_thread); }
inline int unaligned_vecs_for(int vecs_per_thread) {
  return smallest_fitting(kUnalignedVecsPerThread, vecs_per_thread);
}
inline int unaligned_backward_vecs_for(int vecs_per_thread) {
  return smallest_fitting(kUnalignedBackwardVecsPerThread, vecs_per_thread);
}

}  // namespace NC_LEVEL
}  // namespace nc
