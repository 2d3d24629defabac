// The formulas of both norms, as the arithmetic of a row: V is float or double, or a packet of them. No expression here
// may be contracted or reassociated; products go into a sum by fma where, and only where, it is written.
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

// E[x^2] - E[x]^2, which rounding can make negative.
template <class C>
NC_INLINE C variance_of_sums(C mean, C mean_of_squares) {
  const C variance = mean_of_squares - mean * mean;
  return variance < C(0) ? C(0) : variance;
}

// xhat = (x - mean) * rstd. RMSNorm comes with mean = +0: x - 0 is x, bit for bit.
template <class V>
NC_INLINE V normalised(V x, V mean, V rstd) {
  return (x - mean) * rstd;
}

// The same, given -mean: x + (-mean) is x - mean, bit for bit, and processors add what they read from memory.
template <class V>
NC_INLINE V normalised_by(V x, V minus_mean, V rstd) {
  return (x + minus_mean) * rstd;
}

// rstd * (h - xhat * c1 - c2). RMSNorm comes with c2 = +0, which changes nothing.
template <class V>
NC_INLINE V input_gradient(V h, V xhat, V rstd, V c1, V c2) {
  return rstd * (h - xhat * c1 - c2);
}

// Welford's running moments: one value more. `count` includes it.
template <class V>
struct Moments {
  V mean, m2;
};
template <class V>
NC_INLINE Moments<V> welford_add(Moments<V> m, V x, V count) {
  const V delta = x - m.mean;
  const V mean = m.mean + delta / count;
  return {mean, fma(delta, x - mean, m.m2)};
}

// Chan's merge of the moments of na and nb values. Not symmetric in its rounding: the first is always the lower lane.
template <class V>
NC_INLINE Moments<V> welford_merge(Moments<V> a, V na, Moments<V> b, V nb) {
  const V share = nb / (na + nb);
  const V delta = b.mean - a.mean;
  return {a.mean + delta * share, (a.m2 + b.m2) + (delta * delta) * (na * share)};
}

}  // namespace NC_LEVEL
}  // namespace nc
