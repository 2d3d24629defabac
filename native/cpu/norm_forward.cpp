// Forward of RMSNorm and LayerNorm on the CPU.
//
//   y = the policy's rounding of (x - mean) * rstd * g (+ b), mean and rstd in the compute type
//
// A row is read from memory once: the statistics pass loads it into the cache, and the scaling pass reads it there and
// prefetches the next rows. Outputs too large for the caches use non-temporal stores.
#include "formats.h"
#include "kernels.h"
#include "quantized_row.h"
#include "statistics.h"

namespace nc {
inline namespace NC_LEVEL {
namespace {

// Arguments of the scaling pass of a row, besides the row.
struct RowRange {
  int64_t n;
  const char* weight;
  const char* bias;
  char* y;
  bool non_temporal;
  const char* next;  // the row to prefetch, or null
};

// Rows of a matrix.
struct Rows {
  const char* x;
  int64_t stride;
  int count;
  const char* row(int k) const { return x + k * stride; }
};

// y of a Vec8 or Vec16, before it is rounded to its type.
template <class C, bool Centred, class F, class V, class Extent>
NC_INLINE V affine_value(const F& formats, const RowRange& r, bool has_weight, bool has_bias, int64_t first,
                         Extent extent, V x, RowStatistics<C> s) {
  const auto affine = formats.affine();
  const V xhat = Centred ? normalised_by(x, V::all(-s.mean), V::all(s.rstd)) : x * V::all(s.rstd);
  V t = affine.normalised_value(xhat);
  if (has_weight) {
    const V g = affine.gamma(load<C>(formats.weight, r.weight, first, extent), V::all(C(1)));
    t = has_bias ? affine.apply_weight(t, g) : affine.before_store(formats.y, t * g);
  }
  if (has_bias) t = affine.before_store(formats.y, t + load<C>(formats.weight, r.bias, first, extent));
  return t;
}

// Prefetch distance of y in bytes, for ordinary stores. It may reach into the next row.
constexpr int64_t kPrefetchYBytes = 2048;

// Static formats, sixteen elements at a time. Centred: LayerNorm. RMSNorm's mean is +0, and x - 0 is x.
template <class F, bool Centred>
NC_INLINE void normalise_static(RowRange r, const char* row, RowStatistics<float> s, bool has_bias) {
  const F formats{};
  using Whole = Full16<F::forward_order>;
  constexpr int width = bytes_of(decltype(formats.x)::dtype()), y_width = bytes_of(decltype(formats.y)::dtype());
  // Capture by value: the compiler must assume that the stores alias a reference.
  const auto value = [=](int64_t first) NC_LAMBDA_INLINE {
    const auto x = load<float>(formats.x, row, first, Whole{});
    return affine_value<float, Centred>(formats, r, true, has_bias, first, Whole{}, x, s);
  };
  const auto write = [=](int64_t first, auto y, bool whole)
                         NC_LAMBDA_INLINE { store(formats.y, r.y, first, Whole{}, y, r.non_temporal && whole); };
  const auto prefetch_next = [=](int64_t first) NC_LAMBDA_INLINE {
    if (r.next == nullptr) return;
    prefetch<kPrefetchElements * width>(r.next + first * width);
    if (!r.non_temporal) prefetch<kPrefetchElements * y_width>(r.y + kPrefetchYBytes + first * y_width);
  };
  for_each_vec16(0, r.n, prefetch_next, value, write);
}

// Generic: a vector at a time. after_load(first, extent, x) runs before x is scaled.
template <class C, class F, class Row, class AfterLoad>
NC_INLINE void normalise_row(const F& formats, RowRange r, Row row, RowStatistics<C> statistics, bool has_weight,
                             bool has_bias, AfterLoad after_load) {
  for_each_vec(r.n, [=](int64_t first, auto extent) NC_LAMBDA_INLINE {
    const Vec8<C> x = row(first, extent);
    after_load(first, extent, x);
    store(formats.y, r.y, first, extent,
          affine_value<C, true>(formats, r, has_weight, has_bias, first, extent, x, statistics));
  });
}

struct NothingMore {
  template <class Extent, class P>
  NC_INLINE void operator()(int64_t, Extent, P) const {}
};

// Scales rows. The range is that of the first row; y and next advance by a stride per row.
struct Strides {
  int64_t y, next;
};
template <class C>
using NormaliseRows = void (*)(const NormSpec&, RowRange, Strides, Rows, const BatchStatistics<C>&);

template <class C, class Row>
NC_INLINE RowStatistics<C> statistics_of(const NormSpec& spec, const Row& row) {
  const int64_t n = spec.hidden_size;
  const C epsilon = static_cast<C>(spec.epsilon);
  if (spec.op == Op::rms_norm) return rms_statistics<C>(row, n, epsilon);
  switch (spec.variance) {
    case Variance::welford:
      return welford_statistics<C>(row, n, epsilon);
    case Variance::sum_of_squares:
      return sum_of_squares_statistics<C>(row, n, epsilon);
    default:
      return two_pass_statistics<C>(row, n, epsilon);
  }
}

template <class C>
using PlainStatistics = void (*)(const NormSpec&, Rows, BatchStatistics<C>&);

template <class C, class Format>
NC_INLINE void statistics_one_by_one(const NormSpec& spec, Format format, Rows rows, BatchStatistics<C>& statistics) {
  for (int k = 0; k < rows.count; ++k) {
    const RowStatistics<C> of_row = statistics_of<C>(spec, PlainRow<C, Format>{format, rows.row(k)});
    statistics.mean[k] = of_row.mean;
    statistics.rstd[k] = of_row.rstd;
  }
}
template <class C>
void generic_statistics(const NormSpec& spec, Rows rows, BatchStatistics<C>& statistics) {
  statistics_one_by_one(spec, RuntimeFormat{spec.x}, rows, statistics);
}
#if defined(NC_STATIC_KERNELS)
template <DType X>
void statistics_one_by_one(const NormSpec& spec, Rows rows, BatchStatistics<float>& statistics) {
  statistics_one_by_one(spec, StaticFormat<X>{}, rows, statistics);
}
template <DType X, int Blocks, bool Even>
void statistics_together(const NormSpec& spec, Rows rows, BatchStatistics<float>& statistics) {
  const auto row_of = [&](int k) NC_LAMBDA_INLINE { return PlainRow<float, StaticFormat<X>>{{}, rows.row(k)}; };
  statistics_of_rows<Blocks, Even>(spec.op == Op::rms_norm, row_of, rows.count, spec.hidden_size,
                                   static_cast<float>(spec.epsilon), statistics);
}

// Short rows have a kernel per number of lanes: their per-row cost dominates.
template <DType X>
PlainStatistics<float> static_statistics(const NormSpec& spec) {
  if (spec.op == Op::layer_norm && spec.variance != Variance::two_pass) return statistics_one_by_one<X>;
  const int lane_count = lanes(spec.hidden_size);
  const bool even = spec.hidden_size % (lane_count * kVecWidth) == 0;
  switch (lane_count) {
    case kVecWidth:
      return even ? statistics_together<X, 1, true> : statistics_together<X, 1, false>;
    case 2 * kVecWidth:
      return even ? statistics_together<X, 2, true> : statistics_together<X, 2, false>;
    case 4 * kVecWidth:
      return even ? statistics_together<X, 4, true> : statistics_together<X, 4, false>;
    default:
      return statistics_together<X, 0, false>;
  }
}
#endif

template <class C>
PlainStatistics<C> select_statistics(const NormSpec& spec) {
#if defined(NC_STATIC_KERNELS)
  if constexpr (sizeof(C) == sizeof(float)) {
    if (lanes(spec.hidden_size) >= kFewestStaticLanes) {
      if (spec.x == DType::float32) return static_statistics<DType::float32>(spec);
      if (spec.x == DType::bfloat16) return static_statistics<DType::bfloat16>(spec);
      if (spec.x == DType::float16) return static_statistics<DType::float16>(spec);
    }
  }
#endif
  (void)spec;
  return generic_statistics<C>;
}

// Usual: RMSNorm without bias, LayerNorm with bias.
template <class F, bool DefaultBias, bool Centred>
void normalise_static_rows(const NormSpec& spec, RowRange r, Strides strides, Rows rows,
                           const BatchStatistics<float>& statistics) {
  for (int k = 0; k < rows.count; ++k) {
    normalise_static<F, Centred>(r, rows.row(k), statistics[k], DefaultBias ? Centred : spec.has_bias);
    r.y += strides.y;
    if (r.next != nullptr) r.next += strides.next;
  }
}

template <class C>
void normalise_generic_rows(const NormSpec& spec, RowRange r, Strides strides, Rows rows,
                            const BatchStatistics<C>& statistics) {
  const RuntimeFormats formats = runtime_formats(spec);
  for (int k = 0; k < rows.count; ++k) {
    normalise_row(formats, r, PlainRow<C, RuntimeFormat>{formats.x, rows.row(k)}, statistics[k], spec.has_weight,
                  spec.has_bias, NothingMore{});
    r.y += strides.y;
  }
}

template <class C>
NormaliseRows<C> select_normalise(const NormSpec& spec) {
  NormaliseRows<C> normalise = normalise_generic_rows<C>;
  if constexpr (sizeof(C) == sizeof(float)) {
    with_static_forward_formats(spec, [&](auto formats) {
      using F = decltype(formats);
      const bool centred = spec.op == Op::layer_norm;
      normalise = centred != spec.has_bias ? normalise_static_rows<F, false, true>
                  : centred                ? normalise_static_rows<F, true, true>
                                           : normalise_static_rows<F, true, false>;
    });
  }
  return normalise;
}

// One row of residual_out = rd_I(x + residual).
template <class C>
using SumRows = void (*)(const NormSpec&, const char* x, const char* residual, char* out);

template <class C>
void sum_generic_rows(const NormSpec& spec, const char* x, const char* residual, char* out) {
  const RuntimeFormat format{spec.x};
  for_each_vec(spec.hidden_size, [&](int64_t first, auto extent) NC_LAMBDA_INLINE {
    const Vec8<C> sum = residual_sum(load<C>(format, x, first, extent), load<C>(format, residual, first, extent));
    store(format, out, first, extent, sum);
  });
}
#if defined(NC_STATIC_KERNELS)
template <DType X>
void sum_static_rows(const NormSpec& spec, const char* x, const char* residual, char* out) {
  const StaticFormat<X> format{};
  const Full16<Walk<StaticFormat<X>>::order> whole{};
  const auto sum = [=](int64_t first) NC_LAMBDA_INLINE {
    return residual_sum(load<float>(format, x, first, whole), load<float>(format, residual, first, whole));
  };
  for_each_vec16(
      0, spec.hidden_size, [](int64_t) NC_LAMBDA_INLINE {}, sum,
      [=](int64_t first, auto v, bool) NC_LAMBDA_INLINE { store(format, out, first, whole, v); });
}
#endif

template <class C>
SumRows<C> sum_rows(const NormSpec& spec) {
#if defined(NC_STATIC_KERNELS)
  if constexpr (sizeof(C) == sizeof(float)) {
    if (lanes(spec.hidden_size) < kFewestStaticLanes) return sum_generic_rows<C>;
    if (spec.x == DType::float32) return sum_static_rows<DType::float32>;
    if (spec.x == DType::bfloat16) return sum_static_rows<DType::bfloat16>;
    if (spec.x == DType::float16) return sum_static_rows<DType::float16>;
  }
#endif
  (void)spec;
  return sum_generic_rows<C>;
}

// The rows to normalise: x, or the rounded residual sum, which it stores first (ResidualRounding::input).
template <class C>
Rows plain_rows(const NormSpec& spec, const ForwardArguments& a, SumRows<C> sum, int64_t first, int count) {
  const char* const x = a.x + first * a.x_stride;
  if (a.residual == nullptr) return {x, a.x_stride, count};
  char* const out = a.residual_out + first * a.residual_out_stride;
  const char* const residual = a.residual + first * a.residual_stride;
  for (int k = 0; k < count; ++k) {
    sum(spec, x + k * a.x_stride, residual + k * a.residual_stride, out + k * a.residual_out_stride);
  }
  return {out, a.residual_out_stride, count};
}

template <class C>
void save(const ForwardArguments& a, int64_t row, int count, const BatchStatistics<C>& s) {
  constexpr int64_t width = sizeof(C);
  const auto save_to = [&](char* saved, const C* values) {
    if (saved != nullptr) memcpy(saved + row * width, values, static_cast<size_t>(count * width));
  };
  save_to(a.mean, s.mean);
  save_to(a.rstd, s.rstd);
}

// Normalises the unrounded sum (ResidualRounding::compute). It is computed twice from cached rows, and stored in the
// scaling pass, so that y and residual_out may overwrite x and residual.
template <class C>
void forward_unrounded_sums(const NormSpec& spec, const ForwardArguments& a) {
  const RuntimeFormats formats = runtime_formats(spec);
  for (int64_t i = a.row_begin; i < a.row_end; ++i) {
    const SumRow<C> row{formats.x, a.x + i * a.x_stride, a.residual + i * a.residual_stride};
    const RowStatistics<C> s = statistics_of<C>(spec, row);
    save<C>(a, i, 1, {{s.mean}, {s.rstd}});
    char* out = a.residual_out + i * a.residual_out_stride;
    const RowRange r{spec.hidden_size, a.weight, a.bias, a.y + i * a.y_stride, false, nullptr};
    normalise_row(formats, r, row, s, spec.has_weight, spec.has_bias,
                  [&](int64_t first, auto extent, Vec8<C> sum)
                      NC_LAMBDA_INLINE { store(formats.x, out, first, extent, sum); });
  }
}

// Rows per batch: the statistics of all of them are computed before the first is scaled. The statistics of a row end in
// a chain of dependent operations; several rows overlap theirs.
constexpr int64_t kTogetherBytes = 16384;

int rows_together(const NormSpec& spec) {
  const int64_t rows = kTogetherBytes / (spec.hidden_size * bytes_of(spec.x));
  return static_cast<int>(rows < 1 ? 1 : rows < kMostRows ? rows : kMostRows);
}

// The selected functions, with their types.
template <class C>
struct ForwardFunctions {
  PlainStatistics<C> statistics;
  NormaliseRows<C> normalise;
  SumRows<C> sum;

  explicit ForwardFunctions(const CpuForward& selected)
      : statistics(reinterpret_cast<PlainStatistics<C>>(selected.statistics)),
        normalise(reinterpret_cast<NormaliseRows<C>>(selected.normalise)),
        sum(reinterpret_cast<SumRows<C>>(selected.sum)) {}
};

template <class C>
void forward_rows(const NormSpec& spec, const CpuForward& selected, const ForwardArguments& a) {
  const bool sums_are_rounded = spec.residual_rounding == ResidualRounding::input;
  if (a.residual != nullptr && !sums_are_rounded) return forward_unrounded_sums<C>(spec, a);
  const auto [statistics, normalise, sum] = ForwardFunctions<C>(selected);
  const int together = rows_together(spec);
  for (int64_t i = a.row_begin; i < a.row_end; i += together) {
    const int count = static_cast<int>(a.row_end - i < together ? a.row_end - i : together);
    const Rows rows = plain_rows<C>(spec, a, sum, i, count);
    BatchStatistics<C> of_rows;
    statistics(spec, rows, of_rows);
    // Only a whole batch: the rows after the last do not exist.
    const bool prefetch_next = a.prefetch && i + 2 * count <= a.row_end;
    const char* const next = prefetch_next ? a.x + (i + count) * a.x_stride : nullptr;
    normalise(spec, {spec.hidden_size, a.weight, a.bias, a.y + i * a.y_stride, a.non_temporal, next},
              {a.y_stride, a.x_stride}, rows, of_rows);
    save(a, i, count, of_rows);
  }
  if (a.non_temporal) store_fence();
}

// FP8 y: scales the values that would be rounded to y's type. The kernels for a y in the compute type compute them, one
// tile of the row at a time.
template <class C>
NormSpec spec_of_values(NormSpec spec) {
  if (spec.scaling != Scaling::none) spec.y = ComputeFormat<C>::dtype();
  return spec;
}
template <class C>
void forward_quantized(const NormSpec& spec, const CpuForward& selected, const ForwardArguments& a) {
  const NormSpec values_spec = spec_of_values<C>(spec);
  const ForwardFunctions<C> functions(selected);
  const RuntimeFormats formats = runtime_formats(values_spec);
  const bool unrounded_sums = a.residual != nullptr && spec.residual_rounding == ResidualRounding::compute;
  const int64_t x_width = bytes_of(spec.x), weight_width = bytes_of(spec.weight);
  const auto tile = [&](int64_t first, int64_t count, C* values) -> RowRange {
    const int64_t offset = first * weight_width;
    return {count,
            a.weight == nullptr ? nullptr : a.weight + offset,
            a.bias == nullptr ? nullptr : a.bias + offset,
            reinterpret_cast<char*>(values),
            false,
            nullptr};
  };
  MaxAbs<C> amax;
  for (int64_t i = a.row_begin; i < a.row_end; ++i) {
    BatchStatistics<C> s;
    if (unrounded_sums) {
      const SumRow<C> row{formats.x, a.x + i * a.x_stride, a.residual + i * a.residual_stride};
      const RowStatistics<C> of_row = statistics_of<C>(spec, row);
      s = {{of_row.mean}, {of_row.rstd}};
      char* const out = a.residual_out + i * a.residual_out_stride;
      write_quantized_row<C>(spec, a, i, amax, [&](int64_t begin, int64_t count, C* values, bool last) {
        const SumRow<C> tile_row{formats.x, row.x + begin * x_width, row.residual + begin * x_width};
        normalise_row(formats, tile(begin, count, values), tile_row, of_row, spec.has_weight, spec.has_bias,
                      [&](int64_t first, auto extent, Vec8<C> sum) NC_LAMBDA_INLINE {
                        if (last) store(formats.x, out + begin * x_width, first, extent, sum);
                      });
      });
    } else {
      const Rows row = plain_rows<C>(spec, a, functions.sum, i, 1);
      functions.statistics(spec, row, s);
      write_quantized_row<C>(spec, a, i, amax, [&](int64_t begin, int64_t count, C* values, bool) {
        functions.normalise(values_spec, tile(begin, count, values), {0, 0}, {row.x + begin * x_width, 0, 1}, s);
      });
    }
    save(a, i, 1, s);
  }
  if (a.y_amax != nullptr) atomic_max(a.y_amax, amax.value());
}

template <class C>
CpuForward select(const NormSpec& spec) {
  return {spec.scaling == Scaling::none ? forward_rows<C> : forward_quantized<C>,
          reinterpret_cast<SelectedFunction>(select_statistics<C>(spec)),
          reinterpret_cast<SelectedFunction>(select_normalise<C>(spec_of_values<C>(spec))),
          reinterpret_cast<SelectedFunction>(sum_rows<C>(spec))};
}

}  // namespace

CpuForward select_forward(const NormSpec& spec) {
  return spec.compute == Compute::float64 ? select<double>(spec) : select<float>(spec);
}

}  // namespace NC_LEVEL
}  // namespace nc
