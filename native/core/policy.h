// Where values are rounded: the only file that decides it. Forward and backward of the affine part of a norm, for one
// element or a packet of them, the residual sum, and pairs that a rotary embedding turns. A kernel picks among these by
// the policy's enums when it is chosen; what they round is said here.
#pragma once

#include "dtype.h"
#include "row_math.h"

namespace nc {
inline namespace NC_LEVEL {

// The choice, known when the kernel is compiled or when it runs.
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

template <DType I, DType W>
NC_INLINE StaticFormat<promote(I, W)> promoted(StaticFormat<I>, StaticFormat<W>) {
  return {};
}
NC_INLINE RuntimeFormat promoted(RuntimeFormat i, RuntimeFormat w) { return {promote(i.type, w.type)}; }

// The residual sum: as it is stored (ResidualRounding::input normalises that one), or unrounded.
template <class V>
NC_INLINE V residual_sum(V x, V residual) {
  return x + residual;
}
template <class I, class V>
NC_INLINE V rounded_residual_sum(I input, V x, V residual) {
  return round_to(input, residual_sum(x, residual));
}

// Policy: one of the above. I, W: formats of input and weight.
template <class Policy, class I, class W>
struct Scale {
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

  // The forward's values are only computed with until they are stored, and their NaNs were made of those of x, weight
  // and bias.

  // n
  template <class V>
  NC_INLINE V normalised_value(V xhat) const {
    switch (policy.rounding()) {
      case ScaleRounding::input:
        return round_kept(input, xhat);
      case ScaleRounding::weight:
        return round_kept(weight, xhat);
      default:
        return xhat;
    }
  }
  // rd_P
  template <class V>
  NC_INLINE V product(V v) const {
    switch (policy.rounding()) {
      case ScaleRounding::input:
        return round_kept(promoted(input, weight), v);
      case ScaleRounding::weight:
        return round_kept(weight, v);
      default:
        return v;
    }
  }
  // rd_P(n * g)
  template <class V>
  NC_INLINE V scaled(V n, V g) const {
    return product(n * g);
  }
  // rd_P(t + b)
  template <class V>
  NC_INLINE V shifted(V t, V b) const {
    return product(t + b);
  }
  // rd_P of what is then stored as y: left to the store where that rounds to the same type.
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

  // The backward's: dy is of format y, mean and rstd are numbers or canonical NaNs. Where neither dy nor weight are of
  // 16 bits a NaN's other bits could carry a rounding into its sign, so it is given its canonical form.
  template <class T, class Y, class V>
  NC_INLINE V gradient_as(T type, Y y, V v) const {
    return bytes_of(weight.dtype()) == 2 && bytes_of(y.dtype()) == 2 ? round_kept(type, v) : round_to(type, v);
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
  // One row's share of dweight, dy * xhat or rd_P(dy * n), added to what the rows before it made.
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

// A pair of elements, turned; what is stored of it is rounded to x's type. A NaN of cos or sin is canonical. The
// gradient is that of the negative angle: with -sin for sin every product and every sum rounds as an autograd engine's
// would.
template <class Rounding, class X>
struct Turn {
  Rounding policy;
  X x;

  // rd(x1 * cos): of each product where they are rounded apart.
  template <class V>
  NC_INLINE V to_product(V v) const {
    return policy.rounding() == RotaryRounding::input ? round_kept(x, v) : v;
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
