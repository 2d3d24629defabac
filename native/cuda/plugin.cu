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
#include "row_window.cuh"
#include "runtime.h"
#include "tuning.h"

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
  int octets_per_lane;  // maximum
  int shared_bytes;     // maximum of a block
  bool two_blocks;      // two blocks of the backward fit the registers of an SM
  bool two_shifted_blocks;
  bool by_product;
  ForwardFunction hot_forward, shifted_forward, any_forward;  // hot_* and shifted_* may be null
  BackwardFunction hot_backward, shifted_backward, any_backward;
  ColumnsFunction columns;
  // The reason for each null pointer above.
  Absence no_hot_forward, no_shifted_forward, no_hot_backward, no_shifted_backward;
};
static_assert(sizeof(NormKernels) <= sizeof(CudaNorm::kernels));

NormKernels kernels_of(const CudaNorm& norm) {
  NormKernels kernels;
  memcpy(&kernels, norm.kernels, sizeof(kernels));
  return kernels;
}

Access access_of(const NormSpec& s, const ForwardArguments& a) {
  const bool quantized = s.scaling != Scaling::none;
  if (s.hidden_size % kVecWidth == 0 &&
      all_multiples(16, at(a.x), a.x_stride, at(a.residual), a.residual_stride, at(a.weight), at(a.bias),
                    at(a.residual_out), a.residual_out_stride) &&
      (quantized || all_multiples(16, at(a.y), a.y_stride))) {
    return Access::octets;
  }
  // Strides are multiples of the element size.
  const bool elements = all_multiples(bytes_of(s.x), at(a.x), at(a.residual), at(a.residual_out)) &&
                        all_multiples(bytes_of(s.weight), at(a.weight), at(a.bias)) &&
                        (quantized || all_multiples(bytes_of(s.y), at(a.y)));
  return elements ? Access::elements : Access::bytes;
}

Access access_of(const NormSpec& s, const BackwardArguments& a) {
  if (s.hidden_size % kVecWidth == 0 && all_multiples(16, at(a.x), a.x_stride, at(a.weight), at(a.dy), a.dy_stride,
                                                      at(a.dresidual), a.dresidual_stride, at(a.dx), a.dx_stride)) {
    return Access::octets;
  }
  const bool elements = all_multiples(bytes_of(s.x), at(a.x), at(a.dresidual), at(a.dx)) &&
                        all_multiples(bytes_of(s.weight), at(a.weight)) && all_multiples(bytes_of(s.y), at(a.dy));
  return elements ? Access::elements : Access::bytes;
}

template <int Count>
int least_kept(const int (&kernels)[Count], int octets_per_lane) {
  for (const int kept : kernels) {
    if (octets_per_lane <= kept) return kept;
  }
  return 0;
}
int kept_for(int octets_per_lane) { return least_kept(kKeptOctets, octets_per_lane); }
int shifted_kept_for(int octets_per_lane) { return least_kept(kShiftedKeptOctets, octets_per_lane); }
int shifted_backward_kept_for(int octets_per_lane) { return least_kept(kShiftedBackwardOctets, octets_per_lane); }

struct Triple {
  DType x, weight, y;
  CommonKernels kernels;
};
#if !defined(NC_RUNTIME_KERNELS_ONLY)
#define NC_ENTRY(x, weight, y)                                                          \
  {DType::x,                                                                            \
   DType::weight,                                                                       \
   DType::y,                                                                            \
   {NC_TRIPLE(x, weight, y)::hot_forward, NC_TRIPLE(x, weight, y)::hot_backward,        \
    NC_TRIPLE(x, weight, y)::hot_forward_fp8, NC_TRIPLE(x, weight, y)::shifted_forward, \
    NC_TRIPLE(x, weight, y)::shifted_backward, NC_TRIPLE(x, weight, y)::any_forward,    \
    NC_TRIPLE(x, weight, y)::any_backward}},
const Triple kTriples[] = {NC_COMMON_FORMATS(NC_ENTRY)};
#undef NC_ENTRY
const CommonKernels* common_kernels(const NormSpec& s, DType y) {
  if (s.compute != Compute::float32) return nullptr;
  for (const Triple& t : kTriples) {
    if (s.x == t.x && s.weight == t.weight && y == t.y) return &t.kernels;
  }
  return nullptr;
}
#else
const CommonKernels* common_kernels(const NormSpec&, DType) { return nullptr; }
#endif

// Policies that share a fast kernel: see HotPolicy.
bool rounds_first(const NormSpec& s) {
  if (s.x == DType::float32) return false;
  return s.scale_rounding == ScaleRounding::input || (s.scale_rounding == ScaleRounding::weight && s.weight == s.x);
}
bool by_product(const NormSpec& s) { return !rounds_first(s) && s.scale_rounding != ScaleRounding::compute; }

// Whether no FP8 scale block crosses a segment boundary.
bool has_whole_blocks(const RowShape& shape) {
  return shape.segments == 1 || shape.octets_per_segment % (kScaleBlock / kVecWidth) == 0;
}

NormKernels chosen(const NormSpec& spec, const CudaDevice& device) {
  NormKernels k{};
  k.shape = row_shape(spec.hidden_size);
  const int octets_per_lane = static_cast<int>(ceil_div(k.shape.octets_per_segment, k.shape.lanes));
  k.octets_per_lane = octets_per_lane;
  k.shared_bytes = static_cast<int>(device.shared_bytes);
  k.by_product = by_product(spec);
  const bool quantized = spec.scaling != Scaling::none;
  k.any_forward = quantized ? any_forward_fp8(spec.compute) : any_forward(spec.compute);
  k.any_backward = any_backward(spec.compute);
  k.columns = columns_kernel(spec.compute);
  const int kept = kept_for(octets_per_lane);
  const bool layer_norm = spec.op == Op::layer_norm;
  const bool takes_rows = kept != 0;
  const bool takes_statistics = takes_rows && (!layer_norm || spec.variance == Variance::two_pass);
  if (const CommonKernels* common = common_kernels(spec, spec.y)) {
    k.any_backward = common->any_backward();
    if (takes_rows) k.hot_backward = common->hot_backward(rounds_first(spec), layer_norm, kept);
    if (takes_rows && k.shape.lanes >= kShiftedLanes) {
      k.shifted_backward = common->shifted_backward(layer_norm, shifted_backward_kept_for(octets_per_lane));
    }
    if (!quantized) k.any_forward = common->any_forward();
    if (!quantized && takes_statistics) {
      k.hot_forward = common->hot_forward(rounds_first(spec), layer_norm, kept);
      if (k.shape.lanes >= kShiftedLanes)
        k.shifted_forward = common->shifted_forward(shifted_kept_for(octets_per_lane));
    }
  }
  const CommonKernels* const common_fp8 = quantized ? common_kernels(spec, spec.x) : nullptr;
  if (common_fp8 != nullptr && takes_statistics && (spec.scaling != Scaling::block || has_whole_blocks(k.shape))) {
    k.hot_forward = common_fp8->hot_forward_fp8(rounds_first(spec), kept);
  }
  return k;
}

constexpr int kRegisters = 65536;  // of an SM, on every device so far
constexpr int kClusterCapability = 90;

// Loads a kernel and sets its launch attributes. Drops the kernel and stores the reason if the device cannot hold its
// clusters. shared_bytes: dynamic shared memory of a launch of this norm.
template <class Parameters>
int32_t ready(void (*&kernel)(Parameters), Absence& absence, const RowShape& shape, const CudaDevice& device,
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
int hot_forward_rows(const NormKernels& k, const NormSpec& spec) {
  return spec.scaling != Scaling::none ? 1 : forward_rows(words_of_octet(spec.x), kept_for(k.octets_per_lane));
}
int shifted_forward_rows(const NormKernels& k, const NormSpec& spec) {
  return forward_rows(words_of_octet(spec.x), shifted_kept_for(k.octets_per_lane));
}
int forward_threads(const RowShape& shape) { return shape.lanes > kForwardThreads ? shape.lanes : kForwardThreads; }
int backward_threads(const RowShape& shape) {
  return static_cast<int>(ceil_div(row_slots(shape.n) * shape.lanes, kLaneGroup)) * kLaneGroup;
}
// Reduction scratch for the sums and, with Scaling::row, for the maximum.
int forward_shared_bytes(const NormSpec& spec) {
  return static_cast<int>(sizeof(Meeting<Sums<float, 1>>) +
                          (spec.scaling == Scaling::row ? sizeof(Meeting<Largest<float>>) : 0));
}
static_assert(sizeof(Meeting<Sums<float, 1>>) == sizeof(Meeting<Largest<float>>));

// Shared-memory layout of a forward block for unaligned rows; `bytes` receives the total size.
ForwardWindows forward_windows(const NormKernels& k, const NormSpec& spec, bool weight, bool bias, bool residual,
                               int* bytes) {
  const int rows = forward_threads(k.shape) / k.shape.lanes * shifted_forward_rows(k, spec);
  const auto window_bytes = [&](DType t) { return 16 * window_words(t, k.shape.octets_per_segment); };
  int end = static_cast<int>(sizeof(Meeting<Sums<float, 1>>)) * shifted_forward_rows(k, spec);
  const auto add = [&end](int size) { return (end += size) - size; };
  ForwardWindows w{};
  w.row_bytes = window_bytes(bytes_of(spec.y) > bytes_of(spec.x) ? spec.y : spec.x);
  w.weight = add(weight ? window_bytes(spec.weight) : 0);
  w.bias = add(bias ? window_bytes(spec.weight) : 0);
  w.rows = add(rows * w.row_bytes);
  w.residuals = add(residual ? rows * w.row_bytes : 0);
  *bytes = end;
  return w;
}

int32_t prepare(int32_t index, const NormSpec& spec, CudaNorm* norm) {
  CudaDevice device{};
  if (const int32_t error = cuda_runtime::device(index, &device)) return error;
  NormKernels k = chosen(spec, device);
  const cuda_runtime::CurrentDevice current(index);
  if (current.error() != 0) return current.error();
  KernelFacts facts{};
  if (const int32_t error = load_kernel(k.any_forward, &facts)) return error;
  if (const int32_t error = load_kernel(k.any_backward, &facts)) return error;
  if (const int32_t error = load_kernel(k.columns, &facts)) return error;
  const int of_forward = forward_threads(k.shape), of_backward = backward_threads(k.shape);
  if (const int32_t error =
          ready(k.hot_forward, k.no_hot_forward, k.shape, device, of_forward, forward_shared_bytes(spec), &facts)) {
    return error;
  }
  int window_bytes = 0;
  if (k.shifted_forward != nullptr) forward_windows(k, spec, true, true, true, &window_bytes);
  if (const int32_t error = ready(k.shifted_forward, k.no_shifted_forward, k.shape, device, of_forward,
                                  window_bytes < k.shared_bytes ? window_bytes : k.shared_bytes, &facts)) {
    return error;
  }
  // The backward uses all of a block's shared memory, or half of it if two blocks fit the registers of an SM.
  const auto ready_backward = [&](BackwardFunction& kernel, Absence& absence, bool& two_blocks) -> int32_t {
    if (const int32_t error = ready(kernel, absence, k.shape, device, of_backward, k.shared_bytes, &facts)) {
      return error;
    }
    two_blocks = kernel != nullptr && 2 * of_backward * facts.registers <= kRegisters;
    return kernel != nullptr ? prefer_shared_memory(kernel) : 0;
  };
  if (const int32_t error = ready_backward(k.shifted_backward, k.no_shifted_backward, k.two_shifted_blocks)) {
    return error;
  }
  if (const int32_t error = ready_backward(k.hot_backward, k.no_hot_backward, k.two_blocks)) return error;
  norm->device = index;
  norm->spec = spec;
  memcpy(norm->kernels, &k, sizeof(k));
  return 0;
}

// Reduction scratch of the generic kernels, sized for the largest value type.
constexpr int kAnySharedBytes = static_cast<int>(sizeof(Meeting<CountedMoments<double>>));

template <class Parameters>
struct Chosen {
  Launch<Parameters> launch;
  Parameters parameters;
};

Chosen<ForwardParameters> forward_launch(const NormKernels& k, const NormSpec& spec, const ForwardArguments& a) {
  Chosen<ForwardParameters> chosen{};
  ForwardParameters& p = chosen.parameters;
  p.spec = spec;
  p.shape = k.shape;
  p.a = a;
  p.access = access_of(spec, a);
  p.y_words = all_multiples(kVecWidth, at(a.y), a.y_stride);
  const bool sum_is_rounded =
      a.residual == nullptr || spec.residual_rounding == ResidualRounding::input || spec.x == DType::float32;
  const bool takes_sums = sum_is_rounded && all_multiples(4, at(a.mean), at(a.rstd));
  const bool hot = k.hot_forward != nullptr && p.access == Access::octets && takes_sums &&
                   (spec.scaling == Scaling::none || p.y_words);
  Launch<ForwardParameters>& l = chosen.launch;
  l.kernel = k.any_forward;
  l.threads = forward_threads(k.shape);
  l.block_rows = 1;
  l.cluster = 1;
  l.shared_bytes = kAnySharedBytes;
  int rows = 1;  // per thread
  if (hot) {
    l.kernel = k.hot_forward;
    l.cluster = k.shape.segments;
    l.shared_bytes = forward_shared_bytes(spec);
    rows = hot_forward_rows(k, spec);
  } else if (k.shifted_forward != nullptr && p.access != Access::bytes && takes_sums) {
    int bytes = 0;
    p.windows = forward_windows(k, spec, a.weight != nullptr, a.bias != nullptr, a.residual != nullptr, &bytes);
    if (bytes <= k.shared_bytes) {
      l.kernel = k.shifted_forward;
      l.cluster = k.shape.segments;
      l.shared_bytes = bytes;
      rows = shifted_forward_rows(k, spec);
    }
  }
  p.rows_per_block = l.threads / k.shape.lanes * rows;
  l.blocks = ceil_div(a.row_end, p.rows_per_block) * l.cluster;
  return chosen;
}

int32_t forward(const CudaNorm& norm, const ForwardArguments& a, int64_t stream) {
  const Chosen<ForwardParameters> chosen = forward_launch(kernels_of(norm), norm.spec, a);
  return launch_on(norm.device, chosen.launch, chosen.parameters, stream);
}

// Plans the shared memory of a backward block; false if not even one row per row slot fits. Prefers two blocks per SM
// where registers allow it: an SM has little more shared memory than the maximum of one block. Otherwise plans one
// block with as many rows in flight as fit.
bool lay_out(const NormKernels& k, const NormSpec& spec, int threads, int64_t rows_per_lane, BackwardParameters& p,
             int& shared_bytes) {
  const bool shared_sums = bias_sums_are_shared(spec.op == Op::layer_norm, kept_for(k.octets_per_lane));
  p.rows_at_once = backward_rows(kept_for(k.octets_per_lane));
  const int stage = backward_stage_bytes(p, threads);
  const auto fits = [&](int stages, bool weight_staged, int limit) {
    p.weight_staged = weight_staged && p.a.weight != nullptr;
    p.stages = stages;
    shared_bytes = backward_weights_offset() + backward_weights_bytes(p, spec.weight) +
                   backward_bias_bytes(p, shared_sums, threads) + stages * stage;
    // No more stages than rows.
    return shared_bytes <= limit && (stages == 1 || stages * p.rows_at_once < 2 * rows_per_lane);
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
bool lay_out_windows(const NormKernels& k, const NormSpec& spec, int threads, int64_t rows_per_lane,
                     BackwardParameters& p, int& shared_bytes) {
  const bool shared_sums =
      bias_sums_are_shared(spec.op == Op::layer_norm, shifted_backward_kept_for(k.octets_per_lane)) &&
      p.a.dbias_partials != nullptr;
  const auto window_bytes = [&](DType t) { return 16 * window_words(t, k.shape.octets_per_segment); };
  BackwardWindows& w = p.windows;
  w.weight = backward_weights_offset();
  w.bias_sums = w.weight + (p.a.weight != nullptr ? window_bytes(spec.weight) : 0);
  w.dx = w.bias_sums + backward_bias_bytes(p, shared_sums, threads);
  w.dx_bytes = p.a.dx != nullptr ? window_bytes(spec.x) : 0;
  w.stages = w.dx + p.row_slots * w.dx_bytes;
  w.dy = window_bytes(spec.x);
  w.dresidual = w.dy + window_bytes(spec.y);
  w.stage_bytes = w.dresidual + (p.a.dresidual != nullptr ? window_bytes(spec.x) : 0);
  p.weight_staged = p.a.weight != nullptr;
  p.rows_at_once = 1;
  // Memory for the reduction over row slots and for storing the group's partial sum.
  const int sums = backward_bias_bytes(p, p.row_slots > 1, threads), share = window_bytes(DType::float32);
  const auto fits = [&](int stages, int limit) {
    p.stages = stages;
    const int rows = w.stages + stages * p.row_slots * w.stage_bytes, most = sums > share ? sums : share;
    shared_bytes = rows > w.dx + most ? rows : w.dx + most;
    return shared_bytes <= limit && stages < 2 * rows_per_lane;
  };
  if (k.two_shifted_blocks) {
    for (const int stages : kStages) {
      if (fits(stages, k.shared_bytes / 2 - 1024)) return true;
    }
  }
  for (const int stages : kStages) {
    if (fits(stages, k.shared_bytes)) return true;
  }
  return false;
}

Chosen<BackwardParameters> backward_launch(const NormKernels& k, const NormSpec& spec, const BackwardArguments& a) {
  const int64_t n = spec.hidden_size;
  Chosen<BackwardParameters> chosen{};
  BackwardParameters& p = chosen.parameters;
  p.spec = spec;
  p.shape = k.shape;
  p.a = a;
  p.access = access_of(spec, a);
  p.groups = groups(a.rows, n);
  p.row_slots = row_slots(n);
  p.by_product = k.by_product;
  p.octets_per_lane = k.octets_per_lane;
  p.staged_words = kVecWidth * (bytes_of(spec.x) * (a.dresidual != nullptr ? 2 : 1) + bytes_of(spec.y)) / 16;
  Launch<BackwardParameters>& l = chosen.launch;
  l.threads = backward_threads(k.shape);
  const int64_t rows_per_lane = ceil_div(a.rows, p.groups * p.row_slots);
  const bool takes_sums = all_multiples(4, at(a.mean), at(a.rstd), at(a.dweight_partials), at(a.dbias_partials)) &&
                          (a.dbias_partials == nullptr || spec.op == Op::layer_norm);
  if (k.hot_backward != nullptr && p.access == Access::octets && takes_sums &&
      all_multiples(16, at(a.dweight_partials), at(a.dbias_partials)) &&
      lay_out(k, spec, l.threads, rows_per_lane, p, l.shared_bytes)) {
    l.kernel = k.hot_backward;
    l.cluster = k.shape.segments;
  } else if (k.shifted_backward != nullptr && p.access != Access::bytes && takes_sums &&
             lay_out_windows(k, spec, l.threads, rows_per_lane, p, l.shared_bytes)) {
    l.kernel = k.shifted_backward;
    l.cluster = k.shape.segments;
  } else {
    l.kernel = k.any_backward;
    l.cluster = 1;
    l.shared_bytes = kAnySharedBytes;
  }
  l.blocks = p.groups * l.cluster;
  l.block_rows = 1;
  return chosen;
}

int32_t backward(const CudaNorm& norm, const BackwardArguments& a, int64_t stream) {
  const Chosen<BackwardParameters> chosen = backward_launch(kernels_of(norm), norm.spec, a);
  return launch_on(norm.device, chosen.launch, chosen.parameters, stream);
}

int32_t columns(const CudaNorm& norm, const ColumnArguments* gradients, int32_t count, int64_t stream) {
  const NormKernels k = kernels_of(norm);
  const int64_t n = norm.spec.hidden_size;
  ColumnsParameters p{};
  for (int32_t i = 0; i < count; ++i) p.of[i] = gradients[i];
  p.n = n;
  p.groups = groups(gradients[0].rows, n);
  p.group_stride = row_slots(n) * n;
  p.group_lanes = 1;
  while (p.group_lanes < kMostGroupLanes && p.group_lanes < p.groups) p.group_lanes *= 2;
  Launch<ColumnsParameters> l{};
  l.kernel = k.columns;
  l.threads = kColumnsPerBlock * p.group_lanes;
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

// Writes the kernel's name with the vectors per thread, or, for the generic kernel, the reason.
template <class Function>
void describe_choice(Text& text, const NormKernels& k, Function launched, const char* family, Function hot,
                     int hot_kept, Function shifted, int shifted_kept, Absence absence) {
  if (launched == hot) {
    text.add("norm_%s, %d octets a thread\n", family, hot_kept);
    return;
  }
  if (launched == shifted) {
    text.add("norm_%s_shifted, %d octets a thread\n", family, shifted_kept);
    return;
  }
  text.add("norm_%s_any; ", family);
  switch (absence) {
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
  Absence absence(Absence no_hot, Absence no_shifted) const {
    return aligned && spec.hidden_size % kVecWidth == 0 ? no_hot : no_shifted;
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
  describe_choice(text, k, forward_launch(k, spec, a).launch.kernel, "forward", k.hot_forward,
                  kept_for(k.octets_per_lane), k.shifted_forward, shifted_kept_for(k.octets_per_lane),
                  t.absence(k.no_hot_forward, k.no_shifted_forward));
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
  describe_choice(text, k, backward_launch(k, spec, a).launch.kernel, "backward", k.hot_backward,
                  kept_for(k.octets_per_lane), k.shifted_backward, shifted_backward_kept_for(k.octets_per_lane),
                  t.absence(k.no_hot_backward, k.no_shifted_backward));
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
