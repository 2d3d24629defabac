// Backward of RMSNorm and LayerNorm on the CPU, first step: dx, and the row groups' partial sums of dweight and dbias.
//
//   xhat = (x - mean) * rstd;  h: the gradient at the normalised value, by the policy
//   c1 = sum(h * xhat) / N;  c2 = sum(h) / N (LayerNorm only)
//   dx = rd_I(rstd * (h - xhat * c1 - c2) (+ dresidual))
//   dweight: dy * xhat or rd_P(dy * n), by the policy, summed over the group's rows; dbias: dy, likewise
//
// Two passes over a row: the first computes c1 and c2 in the order of reduction_order.h, the second does the rest
// elementwise. The first pass runs for a batch of rows, then the second for one tile of columns of all of them.
#include <limits>

#include "formats.h"
#include "kernels.h"
#include "partial_sum_tree.h"
#include "row_reduce.h"

namespace nc {
inline namespace NC_LEVEL {
namespace {

// The requested outputs. The usual training step has specialised kernels; the others branch on these.
struct Outputs {
  bool dx, dweight, dbias, dresidual;
  bool non_temporal;  // non-temporal stores for dx
};
constexpr Outputs training_outputs(bool layer_norm, bool non_temporal) {
  return {true, true, layer_norm, false, non_temporal};
}
bool is_training_step(const Outputs& w, bool layer_norm) {
  return w.dx && w.dweight && w.dbias == layer_norm && !w.dresidual;
}

template <class C>
struct BackwardRow {
  const char* x;
  const char* dy;
  const char* dresidual;
  char* dx;
  C* dweight;
  C* dbias;
  C mean, rstd, c1, c2;
  bool is_first_row;   // the first row of its row slot: the partial sums are uninitialised
  const char* next_x;  // the row to prefetch, or null
  const char* next_dy;
};

// Calls use(dy, h, xhat). A callback, because the compiler would pass a returned struct through memory.
template <class C, bool Centred, class F, class Extent, class Use>
NC_INLINE void with_gradients(const F& formats, const BackwardRow<C>& r, const char* weight, int64_t first,
                              Extent extent, Use use) {
  const auto affine = formats.affine();
  const auto dy = load<C>(formats.y, r.dy, first, extent);
  using V = std::remove_const_t<decltype(dy)>;
  const V x = load<C>(formats.x, r.x, first, extent);
  // RMSNorm: mean is +0, and x - 0 is x.
  const V xhat = Centred ? normalised_by(x, V::all(-r.mean), V::all(r.rstd)) : x * V::all(r.rstd);
  const V one = V::all(C(1));
  // Kernels with static formats require a weight.
  const bool has_weight = kIsFull16<typename F::Whole> || weight != nullptr;
  const V g = has_weight ? affine.gamma(load<C>(formats.weight, weight, first, extent), one) : one;
  use(dy, affine.gradient(formats.y, dy, g), xhat);
}

// A step of reduce_row: adds h * xhat and h to the row's sums.
template <bool LayerNorm, class C, class F>
NC_INLINE auto adding_gradients(const F formats, const BackwardRow<C> row, const char* weight) {
  return [=](int64_t first, auto extent, auto& acc) NC_LAMBDA_INLINE {
    with_gradients<C, LayerNorm>(formats, row, weight, first, extent, [&](auto, auto h, auto xhat) NC_LAMBDA_INLINE {
      using V = decltype(h);
      const V present = where_present(extent, h, V::zero());
      acc[0] = fma(present, where_present(extent, xhat, V::zero()), acc[0]);
      if constexpr (LayerNorm) acc[1] = acc[1] + present;
    });
  };
}

// Columns begin .. end - 1 of the second pass: kStretch of them, plus the rest of the row if that is less than sixteen.
struct ColumnRange {
  int64_t begin, end;
};
constexpr int64_t kColumnTile = 1024;

// Read in place of uninitialised partial sums.
template <class C>
alignas(64) constexpr C kZeros[kColumnTile + kColumnPadding] = {};

// NonTemporal: std::true_type, std::false_type, or bool for kernels of which one serves both cases.
template <bool LayerNorm, class NonTemporal, class C, class F>
NC_INLINE void finish_row(const F& formats, ColumnRange columns, const char* weight, const BackwardRow<C>& row,
                          const Outputs outputs, NonTemporal non_temporal) {
  using Whole = typename F::Whole;
  const auto affine = formats.affine();
  // A copy: the compiler must assume that the stores alias a reference.
  const BackwardRow<C> r = row;
  const C* const dweight_before = r.is_first_row || !outputs.dweight ? kZeros<C> : r.dweight + columns.begin;
  const C* const dbias_before = r.is_first_row || !outputs.dbias ? kZeros<C> : r.dbias + columns.begin;
  const auto at = [=](int64_t first, auto extent, char* to, int64_t target, int64_t offset,
                      bool non_temporal_dx) NC_LAMBDA_INLINE {
    with_gradients<C, LayerNorm>(formats, r, weight, first, extent, [=](auto dy, auto h, auto xhat) NC_LAMBDA_INLINE {
      using V = decltype(h);
      if (outputs.dx) {
        const V c1 = V::all(r.c1), rstd = V::all(r.rstd);
        // RMSNorm: c2 is +0, and subtracting it changes nothing.
        V dx = LayerNorm ? input_gradient(h, xhat, rstd, c1, V::all(r.c2)) : rstd * (h - xhat * c1);
        if (outputs.dresidual) dx = dx + load<C>(formats.x, r.dresidual, first, extent);
        if constexpr (kIsFull16<Whole>) {
          store(formats.x, to, target, extent, dx, non_temporal_dx);
        } else {
          store(formats.x, to, target, extent, dx);
        }
      }
      if (outputs.dweight) {
        const V sum = load_sum(dweight_before, offset - columns.begin, extent);
        store_sum(r.dweight, offset, extent, affine.add_weight_gradient(sum, formats.y, dy, xhat));
      }
      if (outputs.dbias) {
        const V sum = load_sum(dbias_before, offset - columns.begin, extent);
        store_sum(r.dbias, offset, extent, sum + dy);
      }
    });
  };
  if constexpr (kIsFull16<Whole>) {
    constexpr int64_t width = bytes_of(decltype(formats.x)::dtype()), dy_width = bytes_of(decltype(formats.y)::dtype());
    const auto prefetch_next = [=](int64_t first) NC_LAMBDA_INLINE {
      if (r.next_x == nullptr) return;
      prefetch<kPrefetchElements * width>(r.next_x + first * width);
      prefetch<kPrefetchElements * dy_width>(r.next_dy + first * dy_width);
    };
    // The overlapping last sixteen: dx is computed first because it may be in place; partial sums have separate slots.
    U32x8 last_dx[Whole::count * width / sizeof(U32x8)] = {};
    const int64_t last_offset = columns.end / kColumnPadding * kColumnPadding;
    for_each_vec16(
        columns.begin, columns.end, prefetch_next,
        [=](int64_t first) NC_LAMBDA_INLINE { at(first, Whole{}, r.dx, first, first, non_temporal); },
        [&](int64_t first)
            NC_LAMBDA_INLINE { at(first, Whole{}, reinterpret_cast<char*>(last_dx), 0, last_offset, false); },
        [&](int64_t first) NC_LAMBDA_INLINE {
          if (outputs.dx) memcpy(r.dx + first * width, last_dx, sizeof(last_dx));
        });
  } else {
    for_each_vec(columns.end - columns.begin, [=](int64_t from, auto extent) NC_LAMBDA_INLINE {
      const int64_t first = columns.begin + from;
      at(first, extent, r.dx, first, first, false);
    });
  }
}

template <class C>
using ReduceRows = void (*)(const NormSpec&, const char* weight, BackwardRow<C>* rows, int count);
template <class C>
using FinishRows = void (*)(const NormSpec&, ColumnRange, const char* weight, const BackwardRow<C>* rows, int count,
                            const Outputs&);

// Blocks, Even: as in reduce_rows.
template <class F, bool LayerNorm, int Blocks, bool Even>
void reduce_static(const NormSpec& spec, const char* weight, BackwardRow<float>* rows, int count) {
  const float n = static_cast<float>(spec.hidden_size);
  float sums[LayerNorm ? 2 : 1][kMostRows];
  reduce_rows<Blocks, Even>(typename F::Whole{}, spec.hidden_size, count, sums,
                            [=](int k) NC_LAMBDA_INLINE { return adding_gradients<LayerNorm>(F{}, rows[k], weight); });
  for (auto& of_rows : sums) {
    for_each_row<Blocks>(count, [&](int k) NC_LAMBDA_INLINE { of_rows[k] = of_rows[k] / n; });
  }
  for (int k = 0; k < count; ++k) {
    rows[k].c1 = sums[0][k];
    if constexpr (LayerNorm) rows[k].c2 = sums[1][k];
  }
}
template <class F, bool LayerNorm>
void finish_static(const NormSpec&, ColumnRange columns, const char* weight, const BackwardRow<float>* rows, int count,
                   const Outputs& outputs) {
  const bool non_temporal = outputs.non_temporal;
  for (int k = 0; k < count; ++k) finish_row<LayerNorm>(F{}, columns, weight, rows[k], outputs, non_temporal);
}
template <class F, bool LayerNorm, bool NonTemporal>
void finish_training(const NormSpec&, ColumnRange columns, const char* weight, const BackwardRow<float>* rows,
                     int count, const Outputs&) {
  constexpr Outputs training = training_outputs(LayerNorm, NonTemporal);
  constexpr std::bool_constant<NonTemporal> non_temporal;
  for (int k = 0; k < count; ++k) finish_row<LayerNorm>(F{}, columns, weight, rows[k], training, non_temporal);
}
// RMSNorm runs as LayerNorm with mean = c2 = +0, which changes no bit.
template <class C>
void reduce_generic(const NormSpec& spec, const char* weight, BackwardRow<C>* rows, int count) {
  const C n = static_cast<C>(spec.hidden_size);
  for (int k = 0; k < count; ++k) {
    C sums[2];
    reduce_row(FullVec{}, spec.hidden_size, sums, adding_gradients<true>(runtime_formats(spec), rows[k], weight));
    rows[k].c1 = sums[0] / n;
    rows[k].c2 = spec.op == Op::rms_norm ? C(0) : sums[1] / n;
  }
}
template <class C>
void finish_generic(const NormSpec& spec, ColumnRange columns, const char* weight, const BackwardRow<C>* rows,
                    int count, const Outputs& outputs) {
  for (int k = 0; k < count; ++k) finish_row<true>(runtime_formats(spec), columns, weight, rows[k], outputs, false);
}

template <class F, bool LayerNorm>
auto select_reduce(const NormSpec& spec) {
  // The first pass of a short row is dominated by its per-row cost.
  if (lanes(spec.hidden_size) == 2 * kVecWidth) return reduce_static<F, LayerNorm, 2, false>;
  if (lanes(spec.hidden_size) == 4 * kVecWidth) {
    const bool even = spec.hidden_size % (4 * kVecWidth * kVecWidth) == 0;
    return even ? reduce_static<F, LayerNorm, 4, true> : reduce_static<F, LayerNorm, 4, false>;
  }
  return reduce_static<F, LayerNorm, 0, false>;
}

template <class C>
struct RowKernels {
  ReduceRows<C> reduce;
  FinishRows<C> finish, finish_training, finish_non_temporal;
};

template <class C>
RowKernels<C> select_row_kernels(const NormSpec& spec) {
  RowKernels<C> kernels{reduce_generic<C>, finish_generic<C>, finish_generic<C>, finish_generic<C>};
  if constexpr (sizeof(C) == sizeof(float)) {
    const bool layer_norm = spec.op == Op::layer_norm;
    with_static_formats(spec, [&](auto formats) {
      using F = decltype(formats);
      kernels.reduce = layer_norm ? select_reduce<F, true>(spec) : select_reduce<F, false>(spec);
    });
    with_static_formats<Sums::dweight>(spec, [&](auto formats) {
      using F = decltype(formats);
      kernels.finish = layer_norm ? finish_static<F, true> : finish_static<F, false>;
      kernels.finish_training = layer_norm ? finish_training<F, true, false> : finish_training<F, false, false>;
      kernels.finish_non_temporal = layer_norm ? finish_training<F, true, true> : finish_training<F, false, true>;
    });
  }
  return kernels;
}

template <class C>
C load_statistic(const char* values, int64_t row) {
  C value = 0;
  if (values != nullptr) memcpy(&value, values + row * static_cast<int64_t>(sizeof(C)), sizeof(C));
  return value == value ? value : std::numeric_limits<C>::quiet_NaN();
}

// Rows per batch. Two long rows, so that a tile of the weight and of the partial sums is read once for both; 4 and 6
// were slower, because they and the prefetched rows do not fit the cache. More short rows, because the first pass of a
// row ends in a chain of dependent operations.
constexpr int kFewestTogether = 2;
constexpr int64_t kTogetherBytes = 8192;

int rows_together(const NormSpec& spec) {
  const int64_t rows = kTogetherBytes / (spec.hidden_size * (bytes_of(spec.x) + bytes_of(spec.y)));
  return static_cast<int>(rows < kFewestTogether ? kFewestTogether : rows < kMostRows ? rows : kMostRows);
}

// Prefetches the next batch if it fits the L2 cache beside the current one.
constexpr int64_t kPrefetchBytes = 192 << 10;

template <class C>
class BackwardPass {
 public:
  BackwardPass(const NormSpec& norm_spec, const CpuBackward& selected, const BackwardArguments& arguments)
      : spec(norm_spec),
        a(arguments),
        n(spec.hidden_size),
        group_count(groups(a.rows, n)),
        rows_per_group(group_count == 0 ? 0 : a.rows / group_count),
        rest(group_count == 0 ? 0 : a.rows % group_count),
        layout(selected.partial_sums, n),
        stride(layout.stride()),
        row_slot_count(row_slots(n)),
        outputs{a.dx != nullptr, a.dweight_partials != nullptr, a.dbias_partials != nullptr, a.dresidual != nullptr,
                a.non_temporal},
        reduce(reinterpret_cast<ReduceRows<C>>(selected.reduce)),
        finish(reinterpret_cast<FinishRows<C>>(!is_training_step(outputs, spec.op == Op::layer_norm) ? selected.finish
                                               : outputs.non_temporal ? selected.finish_non_temporal
                                                                      : selected.finish_training)),
        together(rows_together(spec)),
        prefetches(a.prefetch && together * n * (bytes_of(spec.x) + bytes_of(spec.y)) <= kPrefetchBytes) {}

  void run() {
    PartialSumTree<C> dweight(a.dweight_partials, layout, a), dbias(a.dbias_partials, layout, a);
    for_each_group(group_count, a.group_begin, a.group_end, [&](const TreeStep& step) {
      if (step.combines) {
        dweight.combine(step);
        dbias.combine(step);
      } else {
        take_group(step, dweight.begin_group(), dbias.begin_group());
        const int64_t rows = begin_of(step.group + 1) - begin_of(step.group);
        dweight.end_group(step, rows);
        dbias.end_group(step, rows);
      }
    });
    if (a.non_temporal) store_fence();
  }

 private:
  // group_begin of core/reduction_order.h with fewer divisions.
  int64_t begin_of(int64_t group) const {
    return group * rows_per_group + (rest == 0 ? 0 : group * rest / group_count);
  }

  void take_group(const TreeStep& step, C* dweight, C* dbias) {
    const int64_t begin = begin_of(step.group), end = begin_of(step.group + 1);
    // The last batch of a group prefetches the first of the next group.
    const int64_t after = step.next < 0 ? -1 : begin_of(step.next);
    for (int64_t i = begin; i < end; i += together) {
      const int64_t count = end - i < together ? end - i : together;
      const int64_t next = i + count < end ? i + count : after;
      take(i, static_cast<int>(count), prefetches ? next : -1, i - begin, dweight, dbias);
    }
  }

  // Processes rows first .. first + count - 1, the first of which is row `index` of the group. Prefetches the rows from
  // `next`, unless it is negative.
  void take(int64_t first, int count, int64_t next, int64_t index, C* dweight, C* dbias) {
    BackwardRow<C> rows[kMostRows];
    for (int k = 0; k < count; ++k) {
      const int64_t row = first + k, row_slot = (index + k) & (row_slot_count - 1);
      const bool prefetch_next = next >= 0 && next + k < a.rows;
      rows[k] = {a.x + row * a.x_stride,
                 a.dy + row * a.dy_stride,
                 a.dresidual == nullptr ? nullptr : a.dresidual + row * a.dresidual_stride,
                 a.dx == nullptr ? nullptr : a.dx + row * a.dx_stride,
                 dweight == nullptr ? nullptr : dweight + row_slot * stride,
                 dbias == nullptr ? nullptr : dbias + row_slot * stride,
                 load_statistic<C>(a.mean, row),
                 load_statistic<C>(a.rstd, row),
                 C(0),
                 C(0),
                 index + k < row_slot_count,
                 prefetch_next ? a.x + (next + k) * a.x_stride : nullptr,
                 prefetch_next ? a.dy + (next + k) * a.dy_stride : nullptr};
    }
    if (outputs.dx) reduce(spec, a.weight, rows, count);
    for (int64_t column = 0; column < n;) {
      const ColumnRange columns{column, n - column < kColumnTile + kColumnPadding ? n : column + kColumnTile};
      finish(spec, columns, a.weight, rows, count, outputs);
      column = columns.end;
    }
  }

  const NormSpec& spec;
  const BackwardArguments& a;
  const int64_t n, group_count, rows_per_group, rest;
  const PartialSumLayout layout;
  const int64_t stride, row_slot_count;
  const Outputs outputs;
  const ReduceRows<C> reduce;
  const FinishRows<C> finish;
  const int together;
  const bool prefetches;
};

template <class C>
void run(const NormSpec& spec, const CpuBackward& selected, const BackwardArguments& a) {
  BackwardPass<C>(spec, selected, a).run();
}

template <class C>
CpuBackward select(const NormSpec& spec) {
  const RowKernels<C> kernels = select_row_kernels<C>(spec);
  return {run<C>,
          reinterpret_cast<SelectedFunction>(kernels.reduce),
          reinterpret_cast<SelectedFunction>(kernels.finish),
          reinterpret_cast<SelectedFunction>(kernels.finish_training),
          reinterpret_cast<SelectedFunction>(kernels.finish_non_temporal),
          partial_sum_order(spec)};
}

}  // namespace

CpuBackward select_backward(const NormSpec& spec) {
  return spec.compute == Compute::float64 ? select<double>(spec) : select<float>(spec);
}

}  // namespace NC_LEVEL
}  // namespace nc
