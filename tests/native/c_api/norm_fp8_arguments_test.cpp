// The C interface of FP8 outputs: every wrong argument is refused with a message that names it, and nothing is written.

#include <gtest/gtest.h>

#include <functional>

#include "c_api/refusal.h"
#include "support/fp8_cases.h"

namespace {

using namespace harness;

constexpr int64_t kRows = 3, kN = 40, kBlocks = kRows * 2;

// A call's arguments by name, and the buffers they point at.
struct Call {
  Tensor x_tensor{NC_FLOAT32, kRows, kN, kN, 0}, weight_tensor{NC_FLOAT32, 1, kN, kN, 0},
      y_tensor{NC_FLOAT8_E4M3, kRows, kN, kN, 0}, scale_tensor{NC_FLOAT32, 1, 2, 2, 0},
      amax_tensor{NC_FLOAT32, 1, 2, 2, 0}, inverse_tensor{NC_FLOAT32, 1, 2 * kBlocks, 2 * kBlocks, 0},
      rstd_tensor{NC_FLOAT32, 1, kRows, kRows, 0};
  int64_t rows = kRows, begin = 0, end = kRows, x = x_tensor.address(), x_stride = kN, weight = weight_tensor.address(),
          y = y_tensor.address(), y_stride = kN, y_scale = 0, y_amax = 0, y_scale_inv = 0, rstd = rstd_tensor.address();

  explicit Call(int32_t scaling) {
    if (scaling == NC_SCALING_TENSOR) {
      y_scale = scale_tensor.address();
      y_amax = amax_tensor.address();
    } else {
      y_scale_inv = inverse_tensor.address();
    }
  }
  int32_t operator()(int64_t plan) const {
    auto args = argsOf<nc_norm_forward_args>();
    args.rows = rows;
    args.x = x, args.x_stride = x_stride;
    args.weight = weight;
    args.y = y, args.y_stride = y_stride;
    args.y_scale = y_scale, args.y_amax = y_amax, args.y_scale_inv = y_scale_inv;
    args.rstd = rstd;
    alignas(NC_CALL_ALIGNMENT) char call[NC_CALL_BYTES];
    int64_t units[2];
    const int32_t status = nc_norm_forward_begin(plan, &args, call, units);
    return status != NC_OK ? status : nc_call_run(call, 0, begin, end);
  }
  std::vector<std::vector<uint8_t>> memory() const {
    return {x_tensor.memory(),    weight_tensor.memory(),  y_tensor.memory(),   scale_tensor.memory(),
            amax_tensor.memory(), inverse_tensor.memory(), rstd_tensor.memory()};
  }
};

struct Wrong {
  std::function<void(Call&)> change;
  std::vector<std::string> parts;
};

void expectRefused(int64_t plan, Call& call, const std::vector<std::string>& parts) {
  const auto before = call.memory();
  harness::expectRefused(NC_INVALID_ARGUMENT, call(plan), parts, "the call");
  EXPECT_TRUE(before == call.memory()) << nc_last_error() << ": something was written";
}

void expectAllRefused(int32_t scaling, const std::vector<Wrong>& wrongs) {
  const Plan plan(fp8Case(NC_RMS_NORM, NC_FLOAT32, NC_FLOAT32, NC_FLOAT8_E4M3, scaling, kN).spec);
  for (size_t i = 0; i < wrongs.size(); ++i) {
    SCOPED_TRACE("scaling " + std::to_string(scaling) + ", wrong call " + std::to_string(i));
    Call call(scaling);
    wrongs[i].change(call);
    expectRefused(plan, call, wrongs[i].parts);
  }
  const Call right(scaling);
  EXPECT_EQ(NC_OK, right(plan)) << nc_last_error();
}

TEST(NormFp8Arguments, OneScale) {
  expectAllRefused(NC_SCALING_TENSOR, {{[](Call& c) { c.y_scale = 0; }, {"y_scale: address 0"}},
                                       {[](Call& c) { c.y_scale += 2; }, {"y_scale: address", "multiple of 4"}},
                                       {[](Call& c) { c.y_amax += 1; }, {"y_amax: address", "multiple of 4"}},
                                       {[](Call& c) { c.y_scale_inv = c.inverse_tensor.address(); },
                                        {"y_scale_inv: address", "expected 0"}},
                                       {[](Call& c) { c.y_amax = c.y_scale; }, {"y_amax: shares memory with y_scale"}},
                                       {[](Call& c) { c.y_amax = c.weight; }, {"y_amax: shares memory with weight"}},
                                       {[](Call& c) { c.y_amax = c.rstd; }, {"rstd: shares memory with y_amax"}},
                                       {[](Call& c) { c.y_scale = c.y; }, {"y: shares memory with y_scale"}},
                                       {[](Call& c) { c.y = c.x; }, {"y: shares memory with x"}},
                                       {[](Call& c) { c.y_stride = kN - 1; }, {"y: row stride 39"}},
                                       {[](Call& c) { c.end = kRows + 1; }, {"row range: 0 to 4"}},
                                       {[](Call& c) { c.y = 0; }, {"y: address 0"}}});
}

TEST(NormFp8Arguments, ScalesOfRows) {
  expectAllRefused(
      NC_SCALING_ROW,
      {{[](Call& c) { c.y_scale_inv = 0; }, {"y_scale_inv: address 0"}},
       {[](Call& c) { c.y_scale_inv += 2; }, {"y_scale_inv: address", "multiple of 4"}},
       {[](Call& c) { c.y_scale = c.scale_tensor.address(); }, {"y_scale: address", "expected 0"}},
       {[](Call& c) { c.y_amax = c.amax_tensor.address(); }, {"y_amax: address", "expected 0"}},
       {[](Call& c) { c.y_scale_inv = c.x + 4 * (kRows * kN - 1); }, {"y_scale_inv: shares memory with x"}},
       {[](Call& c) { c.y_scale_inv = c.rstd; }, {"rstd: shares memory with y_scale_inv"}}});
}

TEST(NormFp8Arguments, ScalesOfBlocks) {
  expectAllRefused(NC_SCALING_BLOCK,
                   {{[](Call& c) { c.y_scale_inv = 0; }, {"y_scale_inv: address 0"}},
                    {[](Call& c) { c.y_scale = c.scale_tensor.address(); }, {"y_scale: address", "expected 0"}},
                    {[](Call& c) { c.y_scale_inv = c.y - kBlocks + 1; }, {"y: shares memory with y_scale_inv"}}});
  // Codes are bytes: any address is aligned.
  const Plan plan(fp8Case(NC_RMS_NORM, NC_FLOAT32, NC_FLOAT32, NC_FLOAT8_E4M3, NC_SCALING_BLOCK, kN).spec);
  Call call(NC_SCALING_BLOCK);
  call.y_scale_inv += 1;
  EXPECT_EQ(NC_OK, call(plan)) << nc_last_error();
}

TEST(NormFp8Arguments, OnlyForFp8Plans) {
  const Plan plain(makeSpec(NC_RMS_NORM, NC_FLOAT32, NC_FLOAT32, NC_FLOAT32, kN));
  Call call(NC_SCALING_TENSOR);
  expectRefused(plain, call, {"y_scale: address", "y is not FP8"});
  EXPECT_EQ(NC_INVALID_ARGUMENT, call(0));
}

// For no rows the call reads and writes nothing, and amax is unchanged.
TEST(NormFp8Arguments, NoRows) {
  for (const int32_t scaling : {NC_SCALING_TENSOR, NC_SCALING_ROW, NC_SCALING_BLOCK}) {
    const Plan plan(fp8Case(NC_RMS_NORM, NC_FLOAT32, NC_FLOAT32, NC_FLOAT8_E4M3, scaling, kN).spec);
    Call call(scaling);
    call.rows = call.end = 0;
    call.x = call.y = call.y_scale_inv = 0;
    const auto before = call.memory();
    EXPECT_EQ(NC_OK, call(plan)) << nc_last_error();
    EXPECT_TRUE(before == call.memory());
  }
}

}  // namespace
