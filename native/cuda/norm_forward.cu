// The forward kernels of one triple of formats: NC_X, NC_W, NC_Y.
#include "hot_table.h"
#include "norm_forward.cuh"
#include "norm_forward_any.cuh"

namespace nc {
inline namespace NC_LEVEL {
#define NC_THIS_TRIPLE NC_TRIPLE_OF(NC_X, NC_W, NC_Y)
namespace NC_THIS_TRIPLE {

ForwardFunction hot_forward(bool rounds_first, bool layer_norm, int kept) {
  return hot_kernel<ForwardFunction, DType::NC_X, DType::NC_W, DType::NC_Y>(
      rounds_first, layer_norm, kept, [](auto rounds, auto layer, auto octets) -> ForwardFunction {
        using F = HotFormats<DType::NC_X, DType::NC_W, DType::NC_Y, decltype(rounds)::value>;
        constexpr int kept = decltype(octets)::value;
        return norm_forward<F, StaticNorm<decltype(layer)::value>, kept, forward_rows(words_of_octet(F::x), kept)>;
      });
}

// The format of y and the norm are looked up at run time: a few branches beside the memory accesses, for fewer kernels.
ForwardFunction hot_forward_fp8(bool rounds_first, int kept) {
  return hot_fp8_kernel<ForwardFunction, DType::NC_X, DType::NC_Y>(
      rounds_first, kept, [](auto rounds, auto octets) -> ForwardFunction {
        using F = HotFormats<DType::NC_X, DType::NC_W, DType::float8_e4m3, decltype(rounds)::value>;
        return norm_forward<F, RuntimeNorm, decltype(octets)::value, 1>;
      });
}

// For any policy and either norm, for the same reason.
ForwardFunction shifted_forward(int kept) {
  return with_shifted_kept<ForwardFunction>(kept, [](auto octets) -> ForwardFunction {
    constexpr int rows = forward_rows(words_of_octet(DType::NC_X), decltype(octets)::value);
    return norm_forward_shifted<AnyPolicyFormats<DType::NC_X, DType::NC_W, DType::NC_Y>, decltype(octets)::value, rows>;
  });
}

ForwardFunction any_forward() { return norm_forward_any<CommonFormats<DType::NC_X, DType::NC_W, DType::NC_Y>, false>; }

}  // namespace NC_THIS_TRIPLE
}  // namespace NC_LEVEL
}  // namespace nc
