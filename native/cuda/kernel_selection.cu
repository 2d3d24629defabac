// Selects the kernels of a norm, and prepares them for their launches.
#include <cstring>

#include "../core/fp8_scale.h"
#include "device_call.h"
#include "formats.cuh"
#include "kernel_selection.h"
#include "launch_plan.h"
#include "runtime.h"

namespace nc {
inline namespace NC_LEVEL {

NormKernels kernels_of(const CudaNorm& norm) {
  NormKernels kernels;
  memcpy(&kernels, norm.kernels, sizeof(kernels));
  return kernels;
}

namespace {

struct DTypesKernels {
  DType x, weight, y;
  CommonKernels kernels;
};
#if !defined(NC_RUNTIME_KERNELS_ONLY)
#define NC_ENTRY(x, weight, y)                                                             \
  {DType::x,                                                                               \
   DType::weight,                                                                          \
   DType::y,                                                                               \
   {NC_DTYPES(x, weight, y)::fast_forward, NC_DTYPES(x, weight, y)::fast_backward,         \
    NC_DTYPES(x, weight, y)::fast_forward_fp8, NC_DTYPES(x, weight, y)::unaligned_forward, \
    NC_DTYPES(x, weight, y)::unaligned_backward, NC_DTYPES(x, weight, y)::generic_forward, \
    NC_DTYPES(x, weight, y)::generic_backward}},
const DTypesKernels kDTypesKernels[] = {NC_COMMON_FORMATS(NC_ENTRY)};
#undef NC_ENTRY
const CommonKernels* common_kernels(const NormSpec& s, DType y) {
  if (s.compute != Compute::float32) return nullptr;
  for (const DTypesKernels& t : kDTypesKernels) {
    if (s.x == t.x && s.weight == t.weight && y == t.y) return &t.kernels;
  }
  return nullptr;
}
#else
const CommonKernels* common_kernels(const NormSpec&, DType) { return nullptr; }
#endif

// Policies that share a fast kernel: see FastPolicy.
bool rounds_before_weight(const NormSpec& s) {
  if (s.x == DType::float32) return false;
  return s.scale_rounding == ScaleRounding::input || (s.scale_rounding == ScaleRounding::weight && s.weight == s.x);
}
bool rounds_weight_grad(const NormSpec& s) {
  return !rounds_before_weight(s) && s.scale_rounding != ScaleRounding::compute;
}

// Whether no FP8 scale block crosses a segment boundary.
bool has_whole_blocks(const RowShape& shape) {
  return shape.segments == 1 || shape.vecs_per_segment % (kScaleBlock / kVecWidth) == 0;
}

NormKernels select_kernels(const NormSpec& spec, const CudaDevice& device) {
  NormKernels k{};
  k.shape = row_shape(spec.hidden_size);
  const int vecs_per_thread = static_cast<int>(ceil_div(k.shape.vecs_per_segment, k.shape.lanes));
  k.vecs_per_thread = vecs_per_thread;
  k.shared_bytes = static_cast<int>(device.shared_bytes);
  k.rounds_weight_grad = rounds_weight_grad(spec);
  const bool quantized = spec.scaling != Scaling::none;
  k.generic_forward = quantized ? generic_forward_fp8(spec.compute) : generic_forward(spec.compute);
  k.generic_backward = generic_backward(spec.compute);
  k.columns = columns_kernel(spec.compute);
  const int compiled_vecs = compiled_vecs_for(vecs_per_thread);
  const bool layer_norm = spec.op == Op::layer_norm;
  const bool takes_rows = compiled_vecs != 0;
  const bool takes_statistics = takes_rows && (!layer_norm || spec.variance == Variance::two_pass);
  if (const CommonKernels* common = common_kernels(spec, spec.y)) {
    k.generic_backward = common->generic_backward();
    if (takes_rows) k.fast_backward = common->fast_backward(rounds_before_weight(spec), layer_norm, compiled_vecs);
    if (takes_rows && k.shape.lanes >= kUnalignedLanes) {
      k.unaligned_backward = common->unaligned_backward(layer_norm, unaligned_backward_vecs_for(vecs_per_thread));
    }
    if (!quantized) k.generic_forward = common->generic_forward();
    if (!quantized && takes_statistics) {
      k.fast_forward = common->fast_forward(rounds_before_weight(spec), layer_norm, compiled_vecs);
      if (k.shape.lanes >= kUnalignedLanes)
        k.unaligned_forward = common->unaligned_forward(unaligned_vecs_for(vecs_per_thread));
    }
  }
  const CommonKernels* const common_fp8 = quantized ? common_kernels(spec, spec.x) : nullptr;
  if (common_fp8 != nullptr && takes_statistics && (spec.scaling != Scaling::block || has_whole_blocks(k.shape))) {
    k.fast_forward = common_fp8->fast_forward_fp8(rounds_before_weight(spec), compiled_vecs);
  }
  return k;
}

constexpr int kRegisters = 65536;  // of an SM, on every device so far
constexpr int kClusterCapability = 90;

// Loads a kernel and sets its launch attributes. Drops the kernel and stores the reason if the device cannot hold its
// clusters. shared_bytes: dynamic shared memory of a launch of this norm.
template <class Parameters>
int32_t prepare_kernel(void (*&kernel)(Parameters), Absence& absence, const RowShape& shape, const CudaDevice& device,
                       int threads, int shared_bytes, KernelFacts* facts) {
  const auto leave_out = [&](Absence why) {
    kernel = nullptr;
    absence = why;
    return 0;
  };
  if (kernel == nullptr) return leave_out(Absence::not_compiled);
  absence = Absence::none;
  if (shape.segments > 1 && device.clusters == 0) return leave_out(Absence::no_clusters);
  if (const int32_t error = load_kernel(kernel, facts)) return error;
  // The maximum for all norms that use this kernel, not the amount that this norm needs.
  const int permitted = static_cast<int>(device.shared_bytes) - facts->shared_bytes;
  if (const int32_t error = permit(kernel, permitted, device.clusters != 0)) return error;
  if (shape.segments == 1) return 0;
  // A newer device can run code compiled for an older one, but that code has no cluster instructions.
  if (facts->compute_capability < kClusterCapability) return leave_out(Absence::code_lacks_clusters);
  Launch<Parameters> l{};
  l.kernel = kernel;
  l.blocks = l.cluster = shape.segments;
  l.block_rows = 1;
  l.threads = threads;
  l.shared_bytes = shared_bytes;
  int count = 0;
  if (const int32_t error = clusters_at_once(l, &count)) return error;
  return count == 0 ? leave_out(Absence::cluster_does_not_fit) : 0;
}

}  // namespace

int32_t prepare(int32_t index, const NormSpec& spec, CudaNorm* norm) {
  CudaDevice device{};
  if (const int32_t error = cuda_runtime::device(index, &device)) return error;
  NormKernels k = select_kernels(spec, device);
  const cuda_runtime::CurrentDevice current(index);
  if (current.error() != 0) return current.error();
  KernelFacts facts{};
  if (const int32_t error = load_kernel(k.generic_forward, &facts)) return error;
  if (const int32_t error = load_kernel(k.generic_backward, &facts)) return error;
  if (const int32_t error = load_kernel(k.columns, &facts)) return error;
  const int of_forward = forward_threads(k.shape), of_backward = backward_threads(k.shape);
  if (const int32_t error = prepare_kernel(k.fast_forward, k.no_fast_forward, k.shape, device, of_forward,
                                           forward_shared_bytes(spec), &facts)) {
    return error;
  }
  const int unaligned_bytes = k.unaligned_forward != nullptr ? unaligned_forward_shared_bytes(k, spec) : 0;
  if (const int32_t error =
          prepare_kernel(k.unaligned_forward, k.no_unaligned_forward, k.shape, device, of_forward,
                         unaligned_bytes < k.shared_bytes ? unaligned_bytes : k.shared_bytes, &facts)) {
    return error;
  }
  // The backward uses all of a block's shared memory, or a part of it if several fit the registers of an SM.
  const auto prepare_backward = [&](BackwardFunction& kernel, Absence& absence, int& blocks) -> int32_t {
    if (const int32_t error = prepare_kernel(kernel, absence, k.shape, device, of_backward, k.shared_bytes, &facts)) {
      return error;
    }
    blocks = kernel != nullptr ? kBackwardBlocks : 1;
    while (blocks > 1 && blocks * of_backward * facts.registers > kRegisters) blocks /= 2;
    return kernel != nullptr ? prefer_shared_memory(kernel) : 0;
  };
  if (const int32_t error =
          prepare_backward(k.unaligned_backward, k.no_unaligned_backward, k.unaligned_backward_blocks)) {
    return error;
  }
  if (const int32_t error = prepare_backward(k.fast_backward, k.no_fast_backward, k.backward_blocks)) return error;
  norm->device = index;
  norm->spec = spec;
  memcpy(norm->kernels, &k, sizeof(k));
  return 0;
}

}  // namespace NC_LEVEL
}  // namespace nc
