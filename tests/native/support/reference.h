// The tests' own norms, sharing no code with the library.
//
// Exact: RMSNorm and LayerNorm, forward and backward, in long double, with no rounding policy. Model<C>: the rounding
// policies and the order of every sum, written as plain loops over one element at a time in the compute type C. It
// predicts every result of the library bit for bit.
#pragma once

#include <cmath>
#include <cstdint>
#include <vector>

#include "normcore/normcore.h"
#include "support/numbers.h"

namespace reference {

// The summation order of a shape: the four functions of the shape, as plain numbers.
struct Order {
  int64_t lanes, segments;    // of a row
  int64_t groups, row_slots;  // of the column sums
};

struct Inputs {
  int64_t rows, n;
  std::vector<double> x, residual, weight, bias, dy, dresidual;  // empty: absent
};

struct Outputs {
  std::vector<double> y, residual_out, mean, rstd, dx;  // rounded to their formats
  std::vector<double> dweight, dbias;                   // sums in the compute type, not yet rounded
};

inline bool hasWeight(int32_t affine) { return affine == NC_AFFINE_WEIGHT || affine == NC_AFFINE_WEIGHT_AND_BIAS; }
inline bool hasBias(int32_t affine) { return affine == NC_AFFINE_BIAS || affine == NC_AFFINE_WEIGHT_AND_BIAS; }

// v[0] + ... as a tree: the upper part is added to the lower one, at half the next power of two, a quarter, ...
template <class T, class Combine>
T halve(std::vector<T> v, Combine combine) {
  size_t power = 1;
  while (power < v.size()) power *= 2;
  for (size_t s = power / 2; s >= 1; s /= 2) {
    for (size_t i = 0; i < s && i + s < v.size(); ++i) v[i] = combine(v[i], v[i + s]);
  }
  return v[0];
}

// The order of a row's sums. T starts as T{}; step(accumulator, i) adds element i; combine(lower, upper) merges.
template <class T, class Step, class Combine>
T reduceRow(int64_t n, const Order& order, Step step, Combine combine) {
  const int64_t vectors = (n + 7) / 8;
  const int64_t per_segment = (vectors + order.segments - 1) / order.segments;
  std::vector<T> segments;
  for (int64_t s = 0; s < order.segments; ++s) {
    const int64_t begin = std::min(vectors, s * per_segment), end = std::min(vectors, begin + per_segment);
    std::vector<T> lanes;
    for (int64_t t = 0; t < order.lanes; ++t) {
      std::vector<T> positions(8);
      for (int64_t vec = begin + t; vec < end; vec += order.lanes) {
        for (int64_t k = 0; k < 8 && vec * 8 + k < n; ++k) {
          positions[static_cast<size_t>(k)] = step(positions[static_cast<size_t>(k)], vec * 8 + k);
        }
      }
      lanes.push_back(halve(positions, combine));
    }
    std::vector<T> groups;
    for (size_t g = 0; g < lanes.size(); g += 32) {
      const size_t group_end = std::min(lanes.size(), g + 32);
      groups.push_back(halve(std::vector<T>(lanes.begin() + static_cast<std::ptrdiff_t>(g),
                                            lanes.begin() + static_cast<std::ptrdiff_t>(group_end)),
                             combine));
    }
    segments.push_back(halve(groups, combine));
  }
  return halve(segments, combine);
}

// The order of a column's sums over rows.
template <class T, class Step>
T reduceColumn(int64_t rows, const Order& order, Step step) {
  const auto add = [](T a, T b) { return a + b; };
  std::vector<T> groups;
  for (int64_t g = 0; g < order.groups; ++g) {
    const int64_t begin = g * rows / order.groups, end = (g + 1) * rows / order.groups;
    std::vector<T> lanes;
    for (int64_t r = 0; r < order.row_slots; ++r) {
      T sum{};
      for (int64_t row = begin + r; row < end; row += order.row_slots) sum = step(sum, row);
      lanes.push_back(sum);
    }
    groups.push_back(halve(lanes, add));
  }
  return groups.empty() ? T{} : halve(groups, add);
}

template <class C>
struct Moments {
  C count{}, mean{}, m2{};
};

template <class C>
class Model {
 public:
  Model(const nc_norm_spec& spec, const Order& order) : spec_(spec), order_(order), n_(spec.hidden_size) {
    // Without weight and bias there is no second type: WEIGHT rounds to the input's.
    if (spec.affine == NC_AFFINE_NONE) spec_.weight_dtype = spec.x_dtype;
  }

  // All outputs of the forward. With inputs.residual, the sum is computed first.
  Outputs forward(const Inputs& in) const {
    Outputs out;
    const auto size = static_cast<size_t>(in.rows * n_);
    out.y.resize(size);
    if (!in.residual.empty()) out.residual_out.resize(size);
    std::vector<C> z(static_cast<size_t>(n_));
    for (int64_t row = 0; row < in.rows; ++row) {
      for (int64_t i = 0; i < n_; ++i) {
        const auto at = static_cast<size_t>(row * n_ + i);
        C v = static_cast<C>(in.x[at]);
        if (!in.residual.empty()) {
          v = v + static_cast<C>(in.residual[at]);
          const C rounded = rd(spec_.x_dtype, v);
          out.residual_out[at] = rounded;
          if (spec_.residual_rounding == NC_RESIDUAL_INPUT) v = rounded;
        }
        z[static_cast<size_t>(i)] = v;
      }
      C mean{}, rstd{};
      statistics(z, mean, rstd);
      out.mean.push_back(mean);
      out.rstd.push_back(rstd);
      for (int64_t i = 0; i < n_; ++i) {
        const C xhat = (z[static_cast<size_t>(i)] - mean) * rstd;
        out.y[static_cast<size_t>(row * n_ + i)] = y(in, i, isLayerNorm() ? xhat : z[static_cast<size_t>(i)] * rstd);
      }
    }
    return out;
  }

  // Adds dx and the column sums to out, whose mean and rstd are the saved ones; in.x is the normalised tensor.
  void backward(const Inputs& in, Outputs& out) const {
    const auto size = static_cast<size_t>(in.rows * n_);
    out.dx.resize(size);
    std::vector<C> h(static_cast<size_t>(n_)), hats(static_cast<size_t>(n_));
    const C count = static_cast<C>(n_);
    for (int64_t row = 0; row < in.rows; ++row) {
      for (int64_t i = 0; i < n_; ++i) {
        h[static_cast<size_t>(i)] = gradientAtNormalised(in, row, i);
        hats[static_cast<size_t>(i)] = hat(in, out, row, i);
      }
      const auto add = [](C a, C b) { return a + b; };
      const C c1 =
          reduceRow<C>(
              n_, order_,
              [&](C sum, int64_t i) { return std::fma(h[static_cast<size_t>(i)], hats[static_cast<size_t>(i)], sum); },
              add) /
          count;
      const C c2 = reduceRow<C>(
                       n_, order_, [&](C sum, int64_t i) { return sum + h[static_cast<size_t>(i)]; }, add) /
                   count;
      const C rstd = static_cast<C>(out.rstd[static_cast<size_t>(row)]);
      for (int64_t i = 0; i < n_; ++i) {
        C t = h[static_cast<size_t>(i)] - hats[static_cast<size_t>(i)] * c1;
        if (isLayerNorm()) t = t - c2;
        t = rstd * t;
        const auto at = static_cast<size_t>(row * n_ + i);
        if (!in.dresidual.empty()) t = t + static_cast<C>(in.dresidual[at]);
        out.dx[at] = rd(spec_.x_dtype, t);
      }
    }
    for (int64_t i = 0; i < n_; ++i) {
      out.dweight.push_back(reduceColumn<C>(in.rows, order_, [&](C sum, int64_t row) {
        const C dy = static_cast<C>(in.dy[static_cast<size_t>(row * n_ + i)]);
        if (spec_.scale_rounding == NC_ROUND_COMPUTE) return std::fma(dy, hat(in, out, row, i), sum);
        return sum + rd(productFormat(), dy * rd(roundedFormat(), hat(in, out, row, i)));
      }));
      out.dbias.push_back(reduceColumn<C>(in.rows, order_, [&](C sum, int64_t row) {
        return sum + static_cast<C>(in.dy[static_cast<size_t>(row * n_ + i)]);
      }));
    }
  }

  void statistics(const std::vector<C>& z, C& mean, C& rstd) const {
    const auto add = [](C a, C b) { return a + b; };
    const C count = static_cast<C>(n_), epsilon = static_cast<C>(spec_.epsilon);
    const auto sum = [&](C acc, int64_t i) { return acc + z[static_cast<size_t>(i)]; };
    const auto squares = [&](C acc, int64_t i) {
      return std::fma(z[static_cast<size_t>(i)], z[static_cast<size_t>(i)], acc);
    };
    C variance;
    if (!isLayerNorm()) {
      variance = reduceRow<C>(n_, order_, squares, add) / count;
    } else if (spec_.variance == NC_VARIANCE_WELFORD) {
      const Moments<C> m = welford(z);
      mean = m.mean;
      variance = m.m2 / count;
    } else {
      mean = reduceRow<C>(n_, order_, sum, add) / count;
      if (spec_.variance == NC_VARIANCE_TWO_PASS) {
        variance = reduceRow<C>(
                       n_, order_,
                       [&](C acc, int64_t i) {
                         const C xc = z[static_cast<size_t>(i)] - mean;
                         return std::fma(xc, xc, acc);
                       },
                       add) /
                   count;
      } else {
        variance = reduceRow<C>(n_, order_, squares, add) / count - mean * mean;
        if (variance < 0) variance = 0;
      }
    }
    rstd = 1 / std::sqrt(variance + epsilon);
  }

 private:
  static C rd(int32_t code, C v) { return static_cast<C>(round(format(code), static_cast<double>(v))); }

  bool isLayerNorm() const { return spec_.op == NC_LAYER_NORM; }

  // The format of the rounded normalised value, and that of its product with the weight.
  int32_t roundedFormat() const { return spec_.scale_rounding == NC_ROUND_INPUT ? spec_.x_dtype : spec_.weight_dtype; }
  int32_t productFormat() const {
    return spec_.scale_rounding == NC_ROUND_INPUT ? promote(spec_.x_dtype, spec_.weight_dtype) : spec_.weight_dtype;
  }

  C gamma(const Inputs& in, int64_t i) const {
    const C w = static_cast<C>(in.weight[static_cast<size_t>(i)]);
    if (spec_.gamma_offset == NC_GAMMA_ONE_IN_COMPUTE) return w + 1;
    if (spec_.gamma_offset == NC_GAMMA_ONE_IN_WEIGHT) return rd(spec_.weight_dtype, w + 1);
    return w;
  }

  double y(const Inputs& in, int64_t i, C xhat) const {
    const bool rounds = spec_.scale_rounding != NC_ROUND_COMPUTE;
    C t = rounds ? rd(roundedFormat(), xhat) : xhat;
    if (hasWeight(spec_.affine)) {
      t = t * gamma(in, i);
      if (rounds) t = rd(productFormat(), t);
    }
    if (hasBias(spec_.affine)) {
      t = t + static_cast<C>(in.bias[static_cast<size_t>(i)]);
      if (rounds) t = rd(productFormat(), t);
    }
    return rd(spec_.y_dtype, t);
  }

  C hat(const Inputs& in, const Outputs& out, int64_t row, int64_t i) const {
    C xc = static_cast<C>(in.x[static_cast<size_t>(row * n_ + i)]);
    if (isLayerNorm()) xc = xc - static_cast<C>(out.mean[static_cast<size_t>(row)]);
    return xc * static_cast<C>(out.rstd[static_cast<size_t>(row)]);
  }

  C gradientAtNormalised(const Inputs& in, int64_t row, int64_t i) const {
    C h = static_cast<C>(in.dy[static_cast<size_t>(row * n_ + i)]);
    if (hasWeight(spec_.affine)) h = h * gamma(in, i);
    if (spec_.scale_rounding == NC_ROUND_COMPUTE) return h;
    return rd(roundedFormat(), rd(productFormat(), h));
  }

  Moments<C> welford(const std::vector<C>& z) const {
    return reduceRow<Moments<C>>(
        n_, order_,
        [&](Moments<C> m, int64_t i) {
          const C x = z[static_cast<size_t>(i)];
          m.count = m.count + 1;
          const C delta = x - m.mean;
          m.mean = m.mean + delta / m.count;
          m.m2 = std::fma(delta, x - m.mean, m.m2);
          return m;
        },
        [](Moments<C> a, Moments<C> b) {
          if (b.count == 0) return a;
          Moments<C> m;
          m.count = a.count + b.count;
          const C delta = b.mean - a.mean, fraction = b.count / m.count;
          m.mean = a.mean + delta * fraction;
          m.m2 = (a.m2 + b.m2) + (delta * delta) * (a.count * fraction);
          return m;
        });
  }

  nc_norm_spec spec_;
  Order order_;
  int64_t n_;
};

// One row, exactly: the formulas without rounding.
struct ExactRow {
  long double mean = 0, variance = 0, rstd = 0;
  std::vector<long double> xhat;

  ExactRow(int32_t op, const double* x, int64_t n, double epsilon) : xhat(static_cast<size_t>(n)) {
    if (op == NC_LAYER_NORM) {
      for (int64_t i = 0; i < n; ++i) mean += x[i];
      mean /= static_cast<long double>(n);
    }
    for (int64_t i = 0; i < n; ++i) variance += (x[i] - mean) * (x[i] - mean);
    variance /= static_cast<long double>(n);
    rstd = 1 / std::sqrt(variance + static_cast<long double>(epsilon));
    for (int64_t i = 0; i < n; ++i) xhat[static_cast<size_t>(i)] = (x[i] - mean) * rstd;
  }

  // dx of a row from h = dy * g.
  std::vector<long double> dx(int32_t op, const std::vector<long double>& h) const {
    const size_t n = xhat.size();
    long double c1 = 0, c2 = 0;
    for (size_t i = 0; i < n; ++i) {
      c1 += h[i] * xhat[i];
      if (op == NC_LAYER_NORM) c2 += h[i];
    }
    c1 /= static_cast<long double>(n);
    c2 /= static_cast<long double>(n);
    std::vector<long double> result(n);
    for (size_t i = 0; i < n; ++i) result[i] = rstd * (h[i] - xhat[i] * c1 - c2);
    return result;
  }
};

}  // namespace reference
