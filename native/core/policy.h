// Where values are rounded; no other file decides it. Forward and backward of a norm's affine step, the residual sum,
// and the rotation of a pair, for an element or a vector. V is float, double or a vector of them.
#pragma once

#include "dtype.h"
#include "row_math.h"

namespace nc {
inline namespace NC_LEVEL {

// A policy known at compile time or at run time.
template <ScaleRounding R, GammaOffset G>
struct StaticPolicy {
  static NC_INLINE constexpr ScaleRounding rounding() { return R; }
  static NC_INLINE constexpr GammaOffset offset() { return G; }
};
struct RuntimePolicy {
  ScaleRounding scale_rounding;
  GammaOffset gamma_offset;
  NC_INLINE ScaleRounding rounding() const { return scale_rounding; }
  NC_INLINE GammaOffset offset() const { return gamma_offset; }
};

// The simplest policy with the same results for a float32 computation, so that policies which differ in name alone
// share a kernel. Roundings to input and weight are the same if both have one type, and none if that type is float32,
// with one exception: the sum of dweight adds rounded products under ScaleRounding::input and ::weight, fused ones
// under ::compute.
constexpr ScaleRounding simplest_rounding(ScaleRounding rounding, DType input, DType weight, bool sums_dweight) {
  const ScaleRounding same = rounding == ScaleRounding::weight && weight == input ? ScaleRounding::input : rounding;
  const DType target = same == ScaleRounding::weight ? weight : input;
  return target == DType::float32 && !sums_dweight ? ScaleRounding::compute : same;
}
constexpr GammaOffset simplest_offset(GammaOffset offset, DType weight) {
  return offset == GammaOffset::one_in_weight && weight == DType::float32 ? GammaOffset::one_in_compute : offset;
}

template <DType I, DType W>
NC_INLINE StaticFormat<promote(I, W)> promoted(StaticFormat<I>, StaticFormat<W>) {
  return {};
}
NC_INLINE RuntimeFormat promoted(RuntimeFormat i, RuntimeFormat w) { return {promote(i.type, w.type)}; }

// The residual sum, unrounded (normalised under ResidualRounding::compute) or rounded (stored; normalised under
// ResidualRounding::input).
template <class V>
NC_INLINE V residual_sum(V x, V residual) {
  return x + residual;
}
template <class I, class V>
NC_INLINE V rounded_residual_sum(I input, V x, V residual) {
  return round_to(input, residual_sum(x, residual));
}

// Policy: StaticPolicy or RuntimePolicy. I, W: formats of input and weight.
template <class Policy, class I, class W>
struct AffinePolicy {
  Policy policy;
  I input;
  W weight;

  // g
  template <class V>
  NC_INLINE V gamma(V w, V one) const {
    switch (policy.offset()) {
      case GammaOffset::one_in_compute:
        return w + one;
      case GammaOffset::one_in_weight:
        return round_to(weight, w + one);
      default:
        return w;
    }
  }

  // Forward: all values but y are intermediates whose NaNs derive from x, weight and bias, so round_intermediate
  // suffices.

  // n
  template <class V>
  NC_INLINE V normalised_value(V xhat) const {
    switch (policy.rounding()) {
      case ScaleRounding::input:
        return round_intermediate(input, xhat);
      case ScaleRounding::weight:
        return round_intermediate(weight, xhat);
      default:
        return xhat;
    }
  }
  // rd_P
  template <class V>
  NC_INLINE V product(V v) const {
    switch (policy.rounding()) {
      case ScaleRounding::input:
        return round_intermediate(promoted(input, weight), v);
      case ScaleRounding::weight:
        return round_intermediate(weight, v);
      default:
        return v;
    }
  }
  // rd_P(n * g)
  template <class V>
  NC_INLINE V apply_weight(V n, V g) const {
    return product(n * g);
  }
  // rd_P(t + b)
  template <class V>
  NC_INLINE V add_bias(V t, V b) const {
    return product(t + b);
  }
  // rd_P before the store of y. Omitted if the store rounds to P itself.
  template <class Y, class V>
  NC_INLINE V before_store(Y y, V v) const {
    switch (policy.rounding()) {
      case ScaleRounding::input:
        return promoted(input, weight).dtype() == y.dtype() ? v : product(v);
      case ScaleRounding::weight:
        return weight.dtype() == y.dtype() ? v : product(v);
      default:
        return v;
    }
  }

  // Backward: dy has format y; mean and rstd are numbers or canonical NaNs. Unless both dy and weight have 16 bits, the
  // low bits of a NaN could carry into its sign when rounded, so NaN is made canonical.
  template <class T, class Y, class V>
  NC_INLINE V gradient_as(T type, Y y, V v) const {
    return bytes_of(weight.dtype()) == 2 && bytes_of(y.dtype()) == 2 ? round_intermediate(type, v) : round_to(type, v);
  }
  // h = rd_T(rd_P(dy * g)), the gradient at the normalised value
  template <class Y, class V>
  NC_INLINE V gradient(Y y, V dy, V g) const {
    const V v = dy * g;
    const auto product = promoted(input, weight);
    switch (policy.rounding()) {
      case ScaleRounding::input:
        return gradient_as(input, y, product.dtype() == input.dtype() ? v : gradient_as(product, y, v));
      case ScaleRounding::weight:
        return gradient_as(weight, y, v);
      default:
        return v;
    }
  }
  // sum + one row's contribution to dweight: dy * xhat, or rd_P(dy * n).
  template <class Y, class V>
  NC_INLINE V add_weight_gradient(V sum, Y y, V dy, V xhat) const {
    switch (policy.rounding()) {
      case ScaleRounding::input:
        return sum + gradient_as(promoted(input, weight), y, dy * gradient_as(input, y, xhat));
      case ScaleRounding::weight:
        return sum + gradient_as(weight, y, dy * gradient_as(weight, y, xhat));
      default:
        return fma(dy, xhat, sum);
    }
  }
};

// Rotary position embedding. Rounding: Static... or Runtime..., X: the format of x.
template <RotaryRounding R>
struct StaticRotaryRounding {
  static NC_INLINE constexpr RotaryRounding rounding() { return R; }
};
struct RuntimeRotaryRounding {
  RotaryRounding rotary_rounding;
  NC_INLINE RotaryRounding rounding() const { return rotary_rounding; }
};

// Rotation of a pair. The store rounds the results to the type of x. NaNs of cos and sin are canonical. The gradient is
// the rotation by the negative angle: with -sin for sin, every product and sum rounds as in an autograd engine.
template <class Rounding, class X>
struct Rotate {
  Rounding policy;
  X x;

  // Rounds a product, if the policy rounds products.
  template <class V>
  NC_INLINE V to_product(V v) const {
    return policy.rounding() == RotaryRounding::input ? round_intermediate(x, v) : v;
  }
  template <class V>
  NC_INLINE V first(V x1, V x2, V cos, V sin) const {
    return to_product(x1 * cos) - to_product(x2 * sin);
  }
  template <class V>
  NC_INLINE V second(V x1, V x2, V cos, V sin) const {
    return to_product(x2 * cos) + to_product(x1 * sin);
  }
};

}  // namespace NC_LEVEL
}  // namespace nc
