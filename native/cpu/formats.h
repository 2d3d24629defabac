// The combinations of formats and policy with specialised kernels. All others use one generic kernel that switches on
// formats and policy for every vector: the same source, hence the same bits, but slower. The plain level has only the
// generic kernel. The tables are short because they determine the compile time of the library.
#pragma once

#include "../core/policy.h"
#include "row_reduce.h"

namespace nc {
inline namespace NC_LEVEL {

// Input, weight and output formats, and the policy: each a Static... or Runtime... type.
template <class X, class W, class Y, class P>
struct Formats {
  // bfloat16 in and out: unpacked and packed without shuffles.
  static constexpr Order order =
      X::dtype() == DType::bfloat16 && Y::dtype() == DType::bfloat16 ? Order::even_odd : Order::natural;
  using Whole = Full16<order>;
  // Natural order if weight and bias are wider: splitting them would cost more than it saves.
  static constexpr Order forward_order = W::dtype() == X::dtype() ? order : Order::natural;
  X x;
  W weight;
  Y y;
  P policy;
  NC_INLINE AffinePolicy<P, X, W> affine() const { return {policy, x, weight}; }
};

struct RuntimeFormats {
  using Whole = FullVec;
  RuntimeFormat x, weight, y;
  RuntimePolicy policy;
  NC_INLINE AffinePolicy<RuntimePolicy, RuntimeFormat, RuntimeFormat> affine() const { return {policy, x, weight}; }
};

NC_INLINE RuntimeFormats runtime_formats(const NormSpec& spec) {
  return {{spec.x}, {spec.weight}, {spec.y}, {spec.scale_rounding, spec.gamma_offset}};
}

// Kernels that sum dweight tell more policies apart: see simplest_rounding.
enum class Sums { no_dweight, dweight };

// Calls f(Formats) with static formats and policy, or returns false if the spec has no specialised kernel.
template <Sums S, DType X, DType W, DType Y, class F>
inline bool with_policy(const NormSpec& spec, F f) {
  using R = ScaleRounding;
  using G = GammaOffset;
  const auto call = [&](auto rounding, auto offset) {
    constexpr R simplest = simplest_rounding(decltype(rounding)::value, X, W, S == Sums::dweight);
    using Policy = StaticPolicy<simplest, simplest_offset(decltype(offset)::value, W)>;
    f(Formats<StaticFormat<X>, StaticFormat<W>, StaticFormat<Y>, Policy>{});
    return true;
  };
  const auto offset = [&](auto offset) {
    return spec.scale_rounding == R::compute && call(std::integral_constant<R, R::compute>{}, offset);
  };
  switch (spec.gamma_offset) {
    case G::none:
      switch (spec.scale_rounding) {
        case R::compute:
          return call(std::integral_constant<R, R::compute>{}, std::integral_constant<G, G::none>{});
        case R::input:
          return call(std::integral_constant<R, R::input>{}, std::integral_constant<G, G::none>{});
        case R::weight:
          return call(std::integral_constant<R, R::weight>{}, std::integral_constant<G, G::none>{});
      }
      return false;
    case G::one_in_compute:
      return offset(std::integral_constant<G, G::one_in_compute>{});
    case G::one_in_weight:
      return offset(std::integral_constant<G, G::one_in_weight>{});
  }
  return false;
}

template <Sums S = Sums::no_dweight, class F>
inline bool with_static_formats(const NormSpec& spec, F f) {
#if defined(NC_STATIC_KERNELS)
  using D = DType;
  if (spec.compute != Compute::float32 || !spec.has_weight || lanes(spec.hidden_size) < kFewestStaticLanes) {
    return false;
  }
  const auto is = [&](D x, D w, D y) { return spec.x == x && spec.weight == w && spec.y == y; };
  if (is(D::float32, D::float32, D::float32)) return with_policy<S, D::float32, D::float32, D::float32>(spec, f);
  if (is(D::bfloat16, D::bfloat16, D::bfloat16)) return with_policy<S, D::bfloat16, D::bfloat16, D::bfloat16>(spec, f);
  if (is(D::float16, D::float16, D::float16)) return with_policy<S, D::float16, D::float16, D::float16>(spec, f);
  if (is(D::bfloat16, D::float32, D::bfloat16)) return with_policy<S, D::bfloat16, D::float32, D::bfloat16>(spec, f);
  if (is(D::float16, D::float32, D::float16)) return with_policy<S, D::float16, D::float32, D::float16>(spec, f);
  if (is(D::bfloat16, D::float32, D::float32)) return with_policy<S, D::bfloat16, D::float32, D::float32>(spec, f);
  if (is(D::float16, D::float32, D::float32)) return with_policy<S, D::float16, D::float32, D::float32>(spec, f);
#else
  (void)spec;
  (void)f;
#endif
  return false;
}

// The same for the forward, with further formats for a quantised y.
template <class F>
inline bool with_static_forward_formats(const NormSpec& spec, F f) {
  if (with_static_formats(spec, f)) return true;
#if defined(NC_STATIC_KERNELS)
  using D = DType;
  const bool takes_it = spec.scaling != Scaling::none && spec.compute == Compute::float32 && spec.has_weight &&
                        lanes(spec.hidden_size) >= kFewestStaticLanes && spec.y == D::float32;
  if (takes_it && spec.x == D::bfloat16 && spec.weight == D::bfloat16) {
    return with_policy<Sums::no_dweight, D::bfloat16, D::bfloat16, D::float32>(spec, f);
  }
  if (takes_it && spec.x == D::float16 && spec.weight == D::float16) {
    return with_policy<Sums::no_dweight, D::float16, D::float16, D::float32>(spec, f);
  }
#endif
  return false;
}

}  // namespace NC_LEVEL
}  // namespace nc
