// The formulas of both norms. V is float, double or a vector of them. The compiler must not contract or reassociate any
// expression here: a fused multiply-add occurs only where fma is written.
#pragma once

#include "platform.h"

namespace nc {
inline namespace NC_LEVEL {

NC_INLINE float fma(float a, float b, float c) { return __builtin_fmaf(a, b, c); }
NC_INLINE double fma(double a, double b, double c) { return __builtin_fma(a, b, c); }
NC_INLINE float square_root(float v) { return __builtin_sqrtf(v); }
NC_INLINE double square_root(double v) { return __builtin_sqrt(v); }

// rstd = 1 / sqrt(variance + epsilon)
template <class C>
NC_INLINE C reciprocal_deviation(C variance, C epsilon) {
  return C(1) / square_root(variance + epsilon);
}

// E[x^2] - E[x]^2, clamped at 0: rounding can make it negative.
template <class C>
NC_INLINE C variance_of_sums(C mean, C mean_of_squares) {
  const C variance = mean_of_squares - mean * mean;
  return variance < C(0) ? C(0) : variance;
}

// xhat = (x - mean) * rstd. RMSNorm passes mean = +0: x - 0 is x, bit for bit.
template <class V>
NC_INLINE V normalised(V x, V mean, V rstd) {
  return (x - mean) * rstd;
}

// The same from -mean: x + (-mean) is x - mean, bit for bit, and x86 folds the load of x into
// an addition but not into a subtraction.
template <class V>
NC_INLINE V normalised_by(V x, V minus_mean, V rstd) {
  return (x + minus_mean) * rstd;
}

// rstd * (h - xhat * c1 - c2). RMSNorm passes c2 = +0, which changes no bit.
template <class V>
NC_INLINE V input_gradient(V h, V xhat, V rstd, V c1, V c2) {
  return rstd * (h - xhat * c1 - c2);
}

// Welford's running moments.
template <class V>
struct Moments {
  V mean, m2;
};
// Adds x. `count` includes it.
template <class V>
NC_INLINE Moments<V> welford_add(Moments<V> m, V x, V count) {
  const V delta = x - m.mean;
  const V mean = m.mean + delta / count;
  return {mean, fma(delta, x - mean, m.m2)};
}

// Chan's merge of the moments of na and nb values. Its rounding is not symmetric: `a` is always the lower lane.
template <class V>
NC_INLINE Moments<V> welford_merge(Moments<V> a, V na, Moments<V> b, V nb) {
  const V fraction = nb / (na + nb);
  const V delta = b.mean - a.mean;
  return {a.mean + delta * fraction, (a.m2 + b.m2) + (delta * delta) * (na * fraction)};
}

}  // namespace NC_LEVEL
}  // namespace nc
