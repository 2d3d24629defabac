// mean and rstd of a row, by operation and variance algorithm. The mean of RMSNorm is +0.
#pragma once

#include <type_traits>

#include "../core/policy.h"
#include "row_reduce.h"

namespace nc {
inline namespace NC_LEVEL {

template <class C>
struct RowStatistics {
  C mean, rstd;
};

// The extent by which the statistics pass reads a row of a format.
template <class Format>
struct Walk {
  using Whole = FullVec;
};
template <DType T>
struct Walk<StaticFormat<T>> {
  static constexpr Order order = T == DType::bfloat16 ? Order::even_odd : Order::natural;
  using Whole = Full16<order>;
};

// A row in memory.
template <class C, class Format>
struct PlainRow {
  using Whole = typename Walk<Format>::Whole;
  Format format;
  const char* x;
  template <class Extent>
  NC_INLINE auto operator()(int64_t first, Extent extent) const {
    return load<C>(format, x, first, extent);
  }
};

// The unrounded sum of two rows (ResidualRounding::compute).
template <class C>
struct SumRow {
  using Whole = FullVec;
  RuntimeFormat format;
  const char* x;
  const char* residual;
  template <class Extent>
  NC_INLINE Vec8<C> operator()(int64_t first, Extent extent) const {
    return residual_sum(load<C>(format, x, first, extent), load<C>(format, residual, first, extent));
  }
};

// Steps of reduce_row.
template <class Row>
NC_INLINE auto adding(Row row) {
  return [=](int64_t first, auto extent, auto& acc) NC_LAMBDA_INLINE { acc[0] = acc[0] + row(first, extent); };
}
template <class Row>
NC_INLINE auto adding_squares(Row row) {
  return [=](int64_t first, auto extent, auto& acc) NC_LAMBDA_INLINE {
    const auto x = row(first, extent);
    acc[0] = fma(x, x, acc[0]);
  };
}
template <class C, class Row>
NC_INLINE auto adding_centred_squares(Row row, C mean) {
  return [=](int64_t first, auto extent, auto& acc) NC_LAMBDA_INLINE {
    const auto x = row(first, extent);
    using V = std::remove_const_t<decltype(x)>;
    const V xc = where_present(extent, x + V::all(-mean), V::zero());
    acc[0] = fma(xc, xc, acc[0]);
  };
}

template <class C, class Row, class Step>
NC_INLINE C mean_of(const Row&, int64_t n, Step step) {
  C sums[1];
  reduce_row(typename Row::Whole{}, n, sums, step);
  return sums[0] / static_cast<C>(n);
}

// Welford's moments with their count: at the end of a row, positions and lanes hold different numbers of values.
// Welford's algorithm is slow (a division per element); this code favours exactness.
template <class C>
struct CountedMoments {
  Moments<C> moments;
  C count;
};
template <class C>
NC_INLINE CountedMoments<C> combine(CountedMoments<C> lower, CountedMoments<C> upper) {
  // At the end of a row `upper` may be empty. `lower` is empty only if `upper` is.
  if (upper.count == C(0)) return lower;
  return {welford_merge(lower.moments, lower.count, upper.moments, upper.count), lower.count + upper.count};
}

template <class C, class Row>
NC_INLINE CountedMoments<C> lane_moments(const Row& row, int64_t n, int64_t vec, int64_t end, int lane_count) {
  Moments<Vec8<C>> m{Vec8<C>::zero(), Vec8<C>::zero()};
  C whole = 0;
  int extra = 0;  // positions that hold one more value
  for (; vec < end; vec += lane_count) {
    const int64_t first = vec * kVecWidth;
    const Vec8<C> count = Vec8<C>::all(whole + C(1));
    if (first + kVecWidth <= n) {
      m = welford_add(m, row(first, FullVec{}), count);
      whole += C(1);
    } else {
      const PartialVec partial{static_cast<int>(n - first)};
      const Moments<Vec8<C>> longer = welford_add(m, row(first, partial), count);
      m = {where_present(partial, longer.mean, m.mean), where_present(partial, longer.m2, m.m2)};
      extra = partial.count;
    }
  }
  CountedMoments<C> positions[kVecWidth];
  for (int i = 0; i < kVecWidth; ++i) positions[i] = {{m.mean.v[i], m.m2.v[i]}, whole + (i < extra ? C(1) : C(0))};
  return tree_reduce(positions, kVecWidth, combine<C>);
}

template <class C, class Row>
NC_INLINE Moments<C> welford(const Row& row, int64_t n) {
  const int lane_count = lanes(n);
  const int64_t per_segment = vectors_per_segment(n);
  CountedMoments<C> of_segments[kMaxSegments];
  for (int s = 0; s < segments(n); ++s) {
    const int64_t begin = s * per_segment;
    const int64_t end = begin + per_segment < vectors(n) ? begin + per_segment : vectors(n);
    CountedMoments<C> of_lanes[kMaxLanes];
    for (int lane = 0; lane < lane_count; ++lane) {
      of_lanes[lane] = lane_moments<C>(row, n, begin + lane, end, lane_count);
    }
    const int group = lane_count < kLaneGroup ? lane_count : kLaneGroup;
    CountedMoments<C> of_groups[kMaxLanes / kLaneGroup];
    for (int g = 0; g < lane_count / group; ++g) of_groups[g] = tree_reduce(of_lanes + g * group, group, combine<C>);
    of_segments[s] = tree_reduce(of_groups, lane_count / group, combine<C>);
  }
  return tree_reduce(of_segments, segments(n), combine<C>).moments;
}

template <class C, class Row>
NC_INLINE RowStatistics<C> rms_statistics(const Row& row, int64_t n, C epsilon) {
  return {C(0), reciprocal_deviation(mean_of<C>(row, n, adding_squares(row)), epsilon)};
}

template <class C, class Row>
NC_INLINE RowStatistics<C> two_pass_statistics(const Row& row, int64_t n, C epsilon) {
  const C mean = mean_of<C>(row, n, adding(row));
  return {mean, reciprocal_deviation(mean_of<C>(row, n, adding_centred_squares(row, mean)), epsilon)};
}

template <class C, class Row>
NC_INLINE RowStatistics<C> welford_statistics(const Row& row, int64_t n, C epsilon) {
  const Moments<C> m = welford<C>(row, n);
  return {m.mean, reciprocal_deviation(m.m2 / static_cast<C>(n), epsilon)};
}

template <class C, class Row>
NC_INLINE RowStatistics<C> sum_of_squares_statistics(const Row& row, int64_t n, C epsilon) {
  C sums[2];
  reduce_row(typename Row::Whole{}, n, sums, [&](int64_t first, auto extent, auto& acc) NC_LAMBDA_INLINE {
    const auto x = row(first, extent);
    acc[0] = acc[0] + x;
    acc[1] = fma(x, x, acc[1]);
  });
  const C mean = sums[0] / static_cast<C>(n);
  return {mean, reciprocal_deviation(variance_of_sums(mean, sums[1] / static_cast<C>(n)), epsilon)};
}

// Statistics of a batch of rows, so that the per-row operations run as vectors.
template <class C>
struct BatchStatistics {
  C mean[kMostRows], rstd[kMostRows];
  NC_INLINE RowStatistics<C> operator[](int k) const { return {mean[k], rstd[k]}; }
};

// RMSNorm and two-pass LayerNorm of rows row_of(0) .. row_of(count - 1). Blocks, Even: as in reduce_rows.
template <int Blocks, bool Even, class RowOf>
NC_INLINE void statistics_of_rows(bool rms_norm, RowOf row_of, int count, int64_t n, float epsilon,
                                  BatchStatistics<float>& statistics) {
  using Whole = typename decltype(row_of(0))::Whole;
  const float elements = static_cast<float>(n);
  float* const mean = statistics.mean;
  float* const rstd = statistics.rstd;
  float sums[1][kMostRows];
  if (rms_norm) {
    for_each_row<Blocks>(count, [=](int k) NC_LAMBDA_INLINE { mean[k] = 0; });
    reduce_rows<Blocks, Even>(Whole{}, n, count, sums,
                              [&](int k) NC_LAMBDA_INLINE { return adding_squares(row_of(k)); });
  } else {
    reduce_rows<Blocks, Even>(Whole{}, n, count, sums, [&](int k) NC_LAMBDA_INLINE { return adding(row_of(k)); });
    for_each_row<Blocks>(count, [&](int k) NC_LAMBDA_INLINE { mean[k] = sums[0][k] / elements; });
    reduce_rows<Blocks, Even>(Whole{}, n, count, sums,
                              [&](int k) NC_LAMBDA_INLINE { return adding_centred_squares(row_of(k), mean[k]); });
  }
  for_each_row<Blocks>(count,
                       [&](int k) NC_LAMBDA_INLINE { rstd[k] = reciprocal_deviation(sums[0][k] / elements, epsilon); });
}

}  // namespace NC_LEVEL
}  // namespace nc
