// The plugin's table: selects the kernels of a norm and launches them.
#include <cstdarg>
#include <cstdio>
#include <cstring>

#include "../core/fp8_scale.h"
#include "elementwise.h"
#include "kernels.h"
#include "launching.h"
#include "norm_backward_layout.h"
#include "plugin.h"
#include "runtime.h"
#include "tuning.h"
#include "unaligned_row.cuh"

namespace nc {
inline namespace NC_LEVEL {
namespace {

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
  bool two_blocks;      // two blocks of the backward fit the registers of an SM
  bool two_unaligned_blocks;
  bool rounds_weight_grad;
  ForwardFunction fast_forward, unaligned_forward, generic_forward;  // hot_* and shifted_* may be null
  BackwardFunction fast_backward, unaligned_backward, generic_backward;
  ColumnsFunction columns;
  // The reason for each null pointer above.
  Absence no_fast_forward, no_unaligned_forward, no_fast_backward, no_unaligned_backward;
};
static_assert(sizeof(NormKernels) <= sizeof(CudaNorm::kernels));

NormKernels kernels_of(const CudaNorm& norm) {
  NormKernels kernels;
  memcpy(&kernels, norm.kernels, sizeof(kernels));
  return kernels;
}

Alignment alignment_of(const NormSpec& s, const ForwardArguments& a) {
  const bool quantized = s.scaling != Scaling::none;
  if (s.hidden_size % kVecWidth == 0 &&
      all_multiples(16, at(a.x), a.x_stride, at(a.residual), a.residual_stride, at(a.weight), at(a.bias),
                    at(a.residual_out), a.residual_out_stride) &&
      (quantized || all_multiples(16, at(a.y), a.y_stride))) {
    return Alignment::vector;
  }
  // Strides are multiples of the element size.
  const bool elements = all_multiples(bytes_of(s.x), at(a.x), at(a.residual), at(a.residual_out)) &&
                        all_multiples(bytes_of(s.weight), at(a.weight), at(a.bias)) &&
                        (quantized || all_multiples(bytes_of(s.y), at(a.y)));
  return elements ? Alignment::element : Alignment::none;
}

Alignment alignment_of(const NormSpec& s, const BackwardArguments& a) {
  if (s.hidden_size % kVecWidth == 0 && all_multiples(16, at(a.x), a.x_stride, at(a.weight), at(a.dy), a.dy_stride,
                                                      at(a.dresidual), a.dresidual_stride, at(a.dx), a.dx_stride)) {
    return Alignment::vector;
  }
  const bool elements = all_multiples(bytes_of(s.x), at(a.x), at(a.dresidual), at(a.dx)) &&
                        all_multiples(bytes_of(s.weight), at(a.weight)) && all_multiples(bytes_of(s.y), at(a.dy));
  return elements ? Alignment::element : Alignment::none;
}

template <int Count>
int smallest_fitting(const int (&kernels)[Count], int vecs_per_thread) {
  for (const int compiled_vecs : kernels) {
    if (vecs_per_thread <= compiled_vecs) return compiled_vecs;
  }
  return 0;
}
int compiled_vecs_for(int vecs_per_thread) { return smallest_fitting(kVecsPerThread, vecs_per_thread); }
int unaligned_vecs_for(int vecs_per_thread) { return smallest_fitting(kUnalignedVecsPerThread, vecs_per_thread); }
int unaligned_backward_vecs_for(int vecs_per_thread) {
  return smallest_fitting(kUnalignedBackwardVecsPerThread, vecs_per_thread);
}

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

// Rows per thread of the selected kernel.
int fast_forward_rows(const NormKernels& k, const NormSpec& spec) {
  return spec.scaling != Scaling::none ? 1 : forward_rows(words_per_vec(spec.x), compiled_vecs_for(k.vecs_per_thread));
}
int unaligned_forward_rows(const NormKernels& k, const NormSpec& spec) {
  return forward_rows(words_per_vec(spec.x), unaligned_vecs_for(k.vecs_per_thread));
}
int forward_threads(const RowShape& shape) { return shape.lanes > kForwardThreads ? shape.lanes : kForwardThreads; }
int backward_threads(const RowShape& shape) {
  return static_cast<int>(ceil_div(row_slots(shape.n) * shape.lanes, kLaneGroup)) * kLaneGroup;
}
// Reduction scratch for the sums and, with Scaling::row, for the maximum.
int forward_shared_bytes(const NormSpec& spec) {
  return static_cast<int>(sizeof(ReduceScratch<Sums<float, 1>>) +
                          (spec.scaling == Scaling::row ? sizeof(ReduceScratch<MaxAbs<float>>) : 0));
}
static_assert(sizeof(ReduceScratch<Sums<float, 1>>) == sizeof(ReduceScratch<MaxAbs<float>>));

// Shared-memory layout of a forward block for unaligned rows; `bytes` receives the total size.
UnalignedForwardLayout unaligned_forward_layout(const NormKernels& k, const NormSpec& spec, bool weight, bool bias,
                                                bool residual, int* bytes) {
  const int rows = forward_threads(k.shape) / k.shape.lanes * unaligned_forward_rows(k, spec);
  const auto unaligned_row_bytes = [&](DType t) { return 16 * unaligned_row_words(t, k.shape.vecs_per_segment); };
  int end = static_cast<int>(sizeof(ReduceScratch<Sums<float, 1>>)) * unaligned_forward_rows(k, spec);
  const auto add = [&end](int size) { return (end += size) - size; };
  UnalignedForwardLayout w{};
  w.row_bytes = unaligned_row_bytes(bytes_of(spec.y) > bytes_of(spec.x) ? spec.y : spec.x);
  w.weight = add(weight ? unaligned_row_bytes(spec.weight) : 0);
  w.bias = add(bias ? unaligned_row_bytes(spec.weight) : 0);
  w.rows = add(rows * w.row_bytes);
  w.residuals = add(residual ? rows * w.row_bytes : 0);
  *bytes = end;
  return w;
}

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
  int unaligned_row_bytes = 0;
  if (k.unaligned_forward != nullptr) unaligned_forward_layout(k, spec, true, true, true, &unaligned_row_bytes);
  if (const int32_t error =
          prepare_kernel(k.unaligned_forward, k.no_unaligned_forward, k.shape, device, of_forward,
                         unaligned_row_bytes < k.shared_bytes ? unaligned_row_bytes : k.shared_bytes, &facts)) {
    return error;
  }
  // The backward uses all of a block's shared memory, or half of it if two blocks fit the registers of an SM.
  const auto prepare_backward = [&](BackwardFunction& kernel, Absence& absence, bool& two_blocks) -> int32_t {
    if (const int32_t error = prepare_kernel(kernel, absence, k.shape, device, of_backward, k.shared_bytes, &facts)) {
      return error;
    }
    two_blocks = kernel != nullptr && 2 * of_backward * facts.registers <= kRegisters;
    return kernel != nullptr ? prefer_shared_memory(kernel) : 0;
  };
  if (const int32_t error = prepare_backward(k.unaligned_backward, k.no_unaligned_backward, k.two_unaligned_blocks)) {
    return error;
  }
  if (const int32_t error = prepare_backward(k.fast_backward, k.no_fast_backward, k.two_blocks)) return error;
  norm->device = index;
  norm->spec = spec;
  memcpy(norm->kernels, &k, sizeof(k));
  return 0;
}

// Reduction scratch of the generic kernels, sized for the largest value type.
constexpr int kGenericSharedBytes = static_cast<int>(sizeof(ReduceScratch<CountedMoments<double>>));

template <class Parameters>
struct SelectedLaunch {
  Launch<Parameters> launch;
  Parameters parameters;
};

SelectedLaunch<ForwardParameters> forward_launch(const NormKernels& k, const NormSpec& spec,
                                                 const ForwardArguments& a) {
  SelectedLaunch<ForwardParameters> selected{};
  ForwardParameters& p = selected.parameters;
  p.spec = spec;
  p.shape = k.shape;
  p.a = a;
  p.alignment = alignment_of(spec, a);
  p.y_words = all_multiples(kVecWidth, at(a.y), a.y_stride);
  const bool sum_is_rounded =
      a.residual == nullptr || spec.residual_rounding == ResidualRounding::input || spec.x == DType::float32;
  const bool takes_sums = sum_is_rounded && all_multiples(4, at(a.mean), at(a.rstd));
  const bool fast = k.fast_forward != nullptr && p.alignment == Alignment::vector && takes_sums &&
                    (spec.scaling == Scaling::none || p.y_words);
  Launch<ForwardParameters>& l = selected.launch;
  l.kernel = k.generic_forward;
  l.threads = forward_threads(k.shape);
  l.block_rows = 1;
  l.cluster = 1;
  l.shared_bytes = kGenericSharedBytes;
  int rows = 1;  // per thread
  if (fast) {
    l.kernel = k.fast_forward;
    l.cluster = k.shape.segments;
    l.shared_bytes = forward_shared_bytes(spec);
    rows = fast_forward_rows(k, spec);
  } else if (k.unaligned_forward != nullptr && p.alignment != Alignment::none && takes_sums) {
    int bytes = 0;
    p.layout = unaligned_forward_layout(k, spec, a.weight != nullptr, a.bias != nullptr, a.residual != nullptr, &bytes);
    if (bytes <= k.shared_bytes) {
      l.kernel = k.unaligned_forward;
      l.cluster = k.shape.segments;
      l.shared_bytes = bytes;
      rows = unaligned_forward_rows(k, spec);
    }
  }
  p.rows_per_block = l.threads / k.shape.lanes * rows;
  l.blocks = ceil_div(a.row_end, p.rows_per_block) * l.cluster;
  return selected;
}

int32_t forward(const CudaNorm& norm, const ForwardArguments& a, int64_t stream) {
  const SelectedLaunch<ForwardParameters> selected = forward_launch(kernels_of(norm), norm.spec, a);
  return launch_on(norm.device, selected.launch, selected.parameters, stream);
}

// Plans the shared memory of a backward block; false if not even one row per row slot fits. Prefers two blocks per SM
// where registers allow it: an SM has little more shared memory than the maximum of one block. Otherwise plans one
// block with as many rows in flight as fit.
bool plan_shared_memory(const NormKernels& k, const NormSpec& spec, int threads, int64_t rows_per_slot,
                        BackwardParameters& p, int& shared_bytes) {
  const bool shared_sums = bias_sums_are_shared(spec.op == Op::layer_norm, compiled_vecs_for(k.vecs_per_thread));
  p.rows_at_once = backward_rows(compiled_vecs_for(k.vecs_per_thread));
  const int stage = backward_stage_bytes(p, threads);
  const auto fits = [&](int stages, bool weight_staged, int limit) {
    p.weight_staged = weight_staged && p.a.weight != nullptr;
    p.stages = stages;
    shared_bytes = backward_weights_offset() + backward_weights_bytes(p, spec.weight) +
                   backward_bias_bytes(p, shared_sums, threads) + stages * stage;
    // No more stages than rows.
    return shared_bytes <= limit && (stages == 1 || stages * p.rows_at_once < 2 * rows_per_slot);
  };
  if (k.two_blocks) {
    for (const int stages : kStages) {
      if (fits(stages, true, k.shared_bytes / 2 - 1024)) return true;
    }
  }
  for (const bool weight_staged : {true, false}) {
    for (const int stages : kStages) {
      if (stages > 1 && fits(stages, weight_staged, k.shared_bytes)) return true;
    }
  }
  return fits(1, true, k.shared_bytes) || fits(1, false, k.shared_bytes);
}

// The same for unaligned rows, whose weight is always staged.
bool plan_unaligned_shared_memory(const NormKernels& k, const NormSpec& spec, int threads, int64_t rows_per_slot,
                                  BackwardParameters& p, int& shared_bytes) {
  const bool shared_sums =
      bias_sums_are_shared(spec.op == Op::layer_norm, unaligned_backward_vecs_for(k.vecs_per_thread)) &&
      p.a.dbias_partials != nullptr;
  const auto unaligned_row_bytes = [&](DType t) { return 16 * unaligned_row_words(t, k.shape.vecs_per_segment); };
  UnalignedBackwardLayout& w = p.layout;
  w.weight = backward_weights_offset();
  w.bias_sums = w.weight + (p.a.weight != nullptr ? unaligned_row_bytes(spec.weight) : 0);
  w.dx = w.bias_sums + backward_bias_bytes(p, shared_sums, threads);
  w.dx_bytes = p.a.dx != nullptr ? unaligned_row_bytes(spec.x) : 0;
  w.stages = w.dx + p.row_slots * w.dx_bytes;
  w.dy = unaligned_row_bytes(spec.x);
  w.dresidual = w.dy + unaligned_row_bytes(spec.y);
  w.stage_bytes = w.dresidual + (p.a.dresidual != nullptr ? unaligned_row_bytes(spec.x) : 0);
  p.weight_staged = p.a.weight != nullptr;
  p.rows_at_once = 1;
  // Memory for the reduction over row slots and for storing the group's partial sum.
  const int sums = backward_bias_bytes(p, p.row_slots > 1, threads), partial = unaligned_row_bytes(DType::float32);
  const auto fits = [&](int stages, int limit) {
    p.stages = stages;
    const int rows = w.stages + stages * p.row_slots * w.stage_bytes, most = sums > partial ? sums : partial;
    shared_bytes = rows > w.dx + most ? rows : w.dx + most;
    return shared_bytes <= limit && stages < 2 * rows_per_slot;
  };
  if (k.two_unaligned_blocks) {
    for (const int stages : kStages) {
      if (fits(stages, k.shared_bytes / 2 - 1024)) return true;
    }
  }
  for (const int stages : kStages) {
    if (fits(stages, k.shared_bytes)) return true;
  }
  return false;
}

SelectedLaunch<BackwardParameters> backward_launch(const NormKernels& k, const NormSpec& spec,
                                                   const BackwardArguments& a) {
  const int64_t n = spec.hidden_size;
  SelectedLaunch<BackwardParameters> selected{};
  BackwardParameters& p = selected.parameters;
  p.spec = spec;
  p.shape = k.shape;
  p.a = a;
  p.alignment = alignment_of(spec, a);
  p.groups = groups(a.rows, n);
  p.row_slots = row_slots(n);
  p.rounds_weight_grad = k.rounds_weight_grad;
  p.vecs_per_thread = k.vecs_per_thread;
  p.staged_words = kVecWidth * (bytes_of(spec.x) * (a.dresidual != nullptr ? 2 : 1) + bytes_of(spec.y)) / 16;
  Launch<BackwardParameters>& l = selected.launch;
  l.threads = backward_threads(k.shape);
  const int64_t rows_per_slot = ceil_div(a.rows, p.groups * p.row_slots);
  const bool takes_sums = all_multiples(4, at(a.mean), at(a.rstd), at(a.dweight_partials), at(a.dbias_partials)) &&
                          (a.dbias_partials == nullptr || spec.op == Op::layer_norm);
  if (k.fast_backward != nullptr && p.alignment == Alignment::vector && takes_sums &&
      all_multiples(16, at(a.dweight_partials), at(a.dbias_partials)) &&
      plan_shared_memory(k, spec, l.threads, rows_per_slot, p, l.shared_bytes)) {
    l.kernel = k.fast_backward;
    l.cluster = k.shape.segments;
  } else if (k.unaligned_backward != nullptr && p.alignment != Alignment::none && takes_sums &&
             plan_unaligned_shared_memory(k, spec, l.threads, rows_per_slot, p, l.shared_bytes)) {
    l.kernel = k.unaligned_backward;
    l.cluster = k.shape.segments;
  } else {
    l.kernel = k.generic_backward;
    l.cluster = 1;
    l.shared_bytes = kGenericSharedBytes;
  }
  l.blocks = p.groups * l.cluster;
  l.block_rows = 1;
  return selected;
}

int32_t backward(const CudaNorm& norm, const BackwardArguments& a, int64_t stream) {
  const SelectedLaunch<BackwardParameters> selected = backward_launch(kernels_of(norm), norm.spec, a);
  return launch_on(norm.device, selected.launch, selected.parameters, stream);
}

int32_t columns(const CudaNorm& norm, const ColumnArguments* gradients, int32_t count, int64_t stream) {
  const NormKernels k = kernels_of(norm);
  const int64_t n = norm.spec.hidden_size;
  ColumnsParameters p{};
  for (int32_t i = 0; i < count; ++i) p.of[i] = gradients[i];
  p.n = n;
  p.groups = groups(gradients[0].rows, n);
  p.group_stride = row_slots(n) * n;
  p.threads_per_column = 1;
  while (p.threads_per_column < kMaxThreadsPerColumn && p.threads_per_column < p.groups) p.threads_per_column *= 2;
  Launch<ColumnsParameters> l{};
  l.kernel = k.columns;
  l.threads = kColumnsPerBlock * p.threads_per_column;
  l.cluster = 1;
  l.blocks = ceil_div(n, kColumnsPerBlock);
  l.block_rows = count;
  l.shared_bytes = l.threads * (norm.spec.compute == Compute::float64 ? 8 : 4);
  return launch_on(norm.device, l, p, stream);
}

// A text buffer that truncates at its capacity.
class Text {
 public:
  Text(char* to, int64_t capacity) : next_(to), left_(capacity) {
    if (left_ > 0) *next_ = '\0';
  }
  __attribute__((format(printf, 2, 3))) void add(const char* format, ...) {
    if (left_ <= 1) return;
    va_list arguments;
    va_start(arguments, format);
    const int wanted = std::vsnprintf(next_, static_cast<size_t>(left_), format, arguments);
    va_end(arguments);
    const int64_t added = wanted < 0 ? 0 : wanted < left_ ? wanted : left_ - 1;
    next_ += added;
    left_ -= added;
  }

 private:
  char* next_;
  int64_t left_;
};

// The kernel that a call launches, and those that it could have launched.
template <class Function>
struct Choice {
  const char* direction;
  Function launched, fast, unaligned;
  int fast_vecs, unaligned_vecs;  // of a thread
  Absence absence;                // why the generic kernel is launched
};

// Writes the kernel's name with the vectors per thread, or, for the generic kernel, the reason.
template <class Function>
void describe_choice(Text& text, const NormKernels& k, const Choice<Function>& c) {
  if (c.launched == c.fast) {
    text.add("norm_%s, %d vectors a thread\n", c.direction, c.fast_vecs);
    return;
  }
  if (c.launched == c.unaligned) {
    text.add("norm_%s_unaligned, %d vectors a thread\n", c.direction, c.unaligned_vecs);
    return;
  }
  text.add("norm_%s_generic; ", c.direction);
  switch (c.absence) {
    case Absence::none:
      text.add("the faster kernel is left out: its part of a row does not fit a block's shared memory, %d bytes\n",
               k.shared_bytes);
      break;
    case Absence::not_compiled:
      text.add("no faster kernel is compiled for these dtypes, this policy and this hidden size\n");
      break;
    case Absence::no_clusters:
      text.add("the faster kernel is left out: a row takes clusters of %d blocks, the device has no clusters\n",
               k.shape.segments);
      break;
    case Absence::code_lacks_clusters:
      text.add(
          "the faster kernel is left out: a row takes clusters of %d blocks, the code is for compute capabilities"
          " below 9.0\n",
          k.shape.segments);
      break;
    case Absence::cluster_does_not_fit:
      text.add("the faster kernel is left out: the device does not hold a cluster of %d blocks\n", k.shape.segments);
      break;
  }
}

// Tensors of a described call, with dummy addresses: on a 256-byte boundary, or one element after it.
struct DescribedTensors {
  const NormSpec& spec;
  bool aligned;

  char* vector() const { return reinterpret_cast<char*>(int64_t{1} << 40); }
  char* rows(DType type) const { return vector() + (aligned ? 0 : bytes_of(type)); }
  int64_t stride(DType type) const { return (spec.hidden_size + (aligned ? 0 : 1)) * bytes_of(type); }
  // Why such a call has no fast kernel, or Absence::none.
  Absence absence(Absence no_fast, Absence no_unaligned) const {
    return aligned && spec.hidden_size % kVecWidth == 0 ? no_fast : no_unaligned;
  }
};

constexpr int64_t kDescribedRows = 4096;

void describe_forward(Text& text, const NormKernels& k, const DescribedTensors& t, bool residual) {
  const NormSpec& spec = t.spec;
  ForwardArguments a{};
  a.row_end = kDescribedRows;
  a.x = t.rows(spec.x);
  a.x_stride = t.stride(spec.x);
  a.y = t.rows(spec.y);
  a.y_stride = t.stride(spec.y);
  a.weight = spec.has_weight ? t.vector() : nullptr;
  a.bias = spec.has_bias ? t.vector() : nullptr;
  if (residual) {
    a.residual = a.residual_out = t.rows(spec.x);
    a.residual_stride = a.residual_out_stride = a.x_stride;
  }
  text.add("forward %s%s: ", t.aligned ? "aligned" : "unaligned", residual ? " residual" : "");
  Choice<ForwardFunction> c{};
  c.direction = "forward";
  c.launched = forward_launch(k, spec, a).launch.kernel;
  c.fast = k.fast_forward;
  c.fast_vecs = compiled_vecs_for(k.vecs_per_thread);
  c.unaligned = k.unaligned_forward;
  c.unaligned_vecs = unaligned_vecs_for(k.vecs_per_thread);
  c.absence = t.absence(k.no_fast_forward, k.no_unaligned_forward);
  describe_choice(text, k, c);
}

void describe_backward(Text& text, const NormKernels& k, const DescribedTensors& t, bool residual) {
  const NormSpec& spec = t.spec;
  BackwardArguments a{};
  a.rows = kDescribedRows;
  a.group_end = groups(kDescribedRows, spec.hidden_size);
  a.x = t.rows(spec.x);
  a.dx = t.rows(spec.x);
  a.x_stride = a.dx_stride = t.stride(spec.x);
  a.dy = t.rows(spec.y);
  a.dy_stride = t.stride(spec.y);
  a.weight = spec.has_weight ? t.vector() : nullptr;
  a.dweight_partials = t.vector();
  a.dbias_partials = spec.op == Op::layer_norm ? t.vector() : nullptr;
  if (residual) {
    a.dresidual = t.rows(spec.x);
    a.dresidual_stride = a.x_stride;
  }
  text.add("backward %s%s: ", t.aligned ? "aligned" : "unaligned", residual ? " residual" : "");
  Choice<BackwardFunction> c{};
  c.direction = "backward";
  c.launched = backward_launch(k, spec, a).launch.kernel;
  c.fast = k.fast_backward;
  c.fast_vecs = compiled_vecs_for(k.vecs_per_thread);
  c.unaligned = k.unaligned_backward;
  c.unaligned_vecs = unaligned_backward_vecs_for(k.vecs_per_thread);
  c.absence = t.absence(k.no_fast_backward, k.no_unaligned_backward);
  describe_choice(text, k, c);
}

// Calls with many rows, aligned and not, without and with a residual.
int32_t describe(const CudaNorm& norm, char* to, int64_t capacity) {
  const NormKernels k = kernels_of(norm);
  Text text(to, capacity);
  for (const bool forward : {true, false}) {
    for (const bool aligned : {true, false}) {
      for (const bool residual : {false, true}) {
        (forward ? describe_forward : describe_backward)(text, k, {norm.spec, aligned}, residual);
      }
    }
  }
  return 0;
}

const CudaPlugin kPlugin = {
    kCudaPluginVersion,
    cuda_runtime::device_count,
    cuda_runtime::device,
    cuda_runtime::error_name,
    cuda_runtime::error_text,
    cuda_runtime::allocate,
    cuda_runtime::free,
    cuda_runtime::copy,
    cuda_runtime::zero,
    cuda_runtime::stream_create,
    cuda_runtime::stream_destroy,
    cuda_runtime::stream_synchronize,
    cuda_runtime::memory_device,
    cuda_runtime::host_allocate,
    cuda_runtime::host_free,
    prepare,
    forward,
    backward,
    columns,
    describe,
    rotary_prepare,
    rotary,
    fp8_amax,
    fp8_scale,
    fp8_quantize,
    fp8_dequantize,
};

}  // namespace
}  // namespace NC_LEVEL
}  // namespace nc

extern "C" __attribute__((visibility("default"))) const nc::CudaPlugin* nc_cuda_plugin(void) { return &nc::kPlugin; }
