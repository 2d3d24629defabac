// Plans launches: selects by alignment among the kernels of a norm, and lays out the shared memory.
#include "device_call.h"
#include "launch_plan.h"
#include "norm_backward_layout.h"
#include "unaligned_row.cuh"

namespace nc {
inline namespace NC_LEVEL {
namespace {

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

// Rows per thread of the selected kernel.
int fast_forward_rows(const NormKernels& k, const NormSpec& spec) {
  return spec.scaling != Scaling::none ? 1 : forward_rows(words_per_vec(spec.x), compiled_vecs_for(k.vecs_per_thread));
}
int unaligned_forward_rows(const NormKernels& k, const NormSpec& spec) {
  return forward_rows(words_per_vec(spec.x), unaligned_vecs_for(k.vecs_per_thread));
}
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

// Shared memory of a persistent forward block: two reduction scratches, the arrival of copies, and the next rows' x.
int persistent_shared_bytes(const NormSpec& spec) {
  const RowShape shape = row_shape(spec.hidden_size);
  const int vecs = compiled_vecs_for(static_cast<int>(ceil_div(shape.vecs_per_segment, shape.lanes)));
  const int words = words_per_vec(spec.x) * vecs;
  const int scratch = 2 * static_cast<int>(sizeof(ReduceScratch<Sums<float, 1>>)) + 16;
  return scratch + (vecs == 0 ? 0 : 16 * words * forward_rows(words, 1) * forward_threads(shape));
}

// Reduction scratch of the generic kernels, sized for the largest value type.
constexpr int kGenericSharedBytes = static_cast<int>(sizeof(ReduceScratch<CountedMoments<double>>));

// Plans the shared memory of a backward block; false if not even one row per row slot fits. Prefers several blocks per
// SM where registers allow it: an SM has little more shared memory than the maximum of one block. Otherwise plans one
// block with as many rows in flight as fit.
bool plan_shared_memory(const NormKernels& k, const NormSpec& spec, int threads, int64_t rows_per_slot,
                        BackwardParameters& p, int& shared_bytes) {
  const bool shared_sums = bias_sums_are_shared(spec.op == Op::layer_norm, compiled_vecs_for(k.vecs_per_thread));
  p.rows_at_once = backward_rows(compiled_vecs_for(k.vecs_per_thread));
  const int stage = backward_stage_bytes(p, threads);
  const auto fits = [&](int stages, bool weight_staged, int limit) {
    p.weight_staged = kStagedWeight && weight_staged && p.a.weight != nullptr;
    p.stages = stages;
    shared_bytes = backward_weights_offset() + backward_weights_bytes(p, spec.weight) +
                   backward_bias_bytes(p, shared_sums, threads) + stages * stage;
    // No more stages than rows.
    return shared_bytes <= limit && (stages == 1 || stages * p.rows_at_once < 2 * rows_per_slot);
  };
  for (int blocks = k.backward_blocks; blocks > 1; blocks /= 2) {
    // With fewer groups the places of more than two blocks per SM would stay empty.
    if (blocks > 2 && p.groups <= 256) continue;
    for (const int stages : kStages) {
      if (stages >= kSharingStages && fits(stages, true, k.shared_bytes / blocks - 1024)) return true;
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
  if (k.unaligned_backward_blocks > 1) {
    for (const int stages : kStages) {
      if (fits(stages, k.shared_bytes / 2 - 1024)) return true;
    }
  }
  for (const int stages : kStages) {
    if (fits(stages, k.shared_bytes)) return true;
  }
  return false;
}

}  // namespace

int forward_threads(const RowShape& shape) { return shape.lanes > kForwardThreads ? shape.lanes : kForwardThreads; }
int backward_threads(const RowShape& shape) {
  return static_cast<int>(ceil_div(row_slots(shape.n) * shape.lanes, kLaneGroup)) * kLaneGroup;
}
// Reduction scratch for the sums and, with Scaling::row, for the maximum.
int forward_shared_bytes(const NormSpec& spec) {
  if (kPersistentBlocks > 0) return persistent_shared_bytes(spec);
  return static_cast<int>(sizeof(ReduceScratch<Sums<float, 1>>) +
                          (spec.scaling == Scaling::row ? sizeof(ReduceScratch<MaxAbs<float>>) : 0));
}
static_assert(sizeof(ReduceScratch<Sums<float, 1>>) == sizeof(ReduceScratch<MaxAbs<float>>));

int unaligned_forward_shared_bytes(const NormKernels& k, const NormSpec& spec) {
  int bytes = 0;
  unaligned_forward_layout(k, spec, true, true, true, &bytes);
  return bytes;
}

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
  const bool persistent = kPersistentBlocks > 0 && fast && l.cluster == 1;
  if (persistent && l.blocks > kPersistentBlocks) l.blocks = kPersistentBlocks;
  return selected;
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

SelectedLaunch<ColumnsParameters> columns_launch(const NormKernels& k, const NormSpec& spec,
                                                 const ColumnArguments* gradients, int32_t count) {
  const int64_t n = spec.hidden_size;
  SelectedLaunch<ColumnsParameters> selected{};
  ColumnsParameters& p = selected.parameters;
  for (int32_t i = 0; i < count; ++i) p.of[i] = gradients[i];
  p.n = n;
  p.groups = groups(gradients[0].rows, n);
  p.group_stride = row_slots(n) * n;
  // A block has whole warps.
  p.threads_per_column = kColumnsPerBlock < kLaneGroup ? kLaneGroup / kColumnsPerBlock : 1;
  while (p.threads_per_column < kMaxThreadsPerColumn && p.threads_per_column < p.groups) p.threads_per_column *= 2;
  Launch<ColumnsParameters>& l = selected.launch;
  l.kernel = k.columns;
  l.threads = kColumnsPerBlock * p.threads_per_column;
  l.cluster = 1;
  l.blocks = ceil_div(n, kColumnsPerBlock);
  l.block_rows = count;
  l.overlaps = kOverlappedColumns;
  l.shared_bytes = l.threads * (spec.compute == Compute::float64 ? 8 : 4);
  return selected;
}

}  // namespace NC_LEVEL
}  // namespace nc
