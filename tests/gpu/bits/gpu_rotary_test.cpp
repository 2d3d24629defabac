// Tests of rotary position embedding that need a real GPU to run in reasonable time: many waves of blocks, and tokens
// beyond 2^31 elements away. tests/native/cuda/cuda_rotary_test.cpp, part of the same program, sweeps formats and
// dimensions.
#include <gtest/gtest.h>

#include "bits/device_memory.h"
#include "support/cuda_test.h"
#include "support/rotary_harness.h"

namespace {

using namespace harness;

class GpuManyTokens : public ::testing::TestWithParam<std::tuple<int32_t, int32_t, bool>> {};

INSTANTIATE_TEST_SUITE_P(Forms, GpuManyTokens,
                         ::testing::Combine(::testing::ValuesIn(rotaryDtypes()),
                                            ::testing::Values(NC_ROTARY_HALF_SPLIT, NC_ROTARY_INTERLEAVED),
                                            ::testing::Bool()));

TEST_P(GpuManyTokens, AreTheCpus) {
  const auto& [dtype, layout, narrow] = GetParam();
  RotaryCase c = makeRotary(dtype, narrow ? dtype : NC_FLOAT32, layout, NC_ROTARY_ROUND_INPUT, 128, narrow ? 128 : 64);
  c.batch = 2;
  c.seq = 613;
  c.heads = 27;
  c.table_batch_rows = narrow ? c.seq : 0;
  c.backward = narrow ? 1 : 0;
  const RotaryData d = drawRotary(c, 30);
  RotaryForm form;
  form.heads_first = narrow;
  const Bits expected = runRotary(c, d, form);
  form.cuda_device = 0;
  EXPECT_TRUE(sameBits(c, expected, runRotary(c, d, form)));
  form.in_place = true;
  EXPECT_TRUE(sameBits(c, expected, runRotary(c, d, form)));
}

TEST(GpuFarTokens, BeyondTwoToThe31Elements) {
  constexpr int64_t kStride = (int64_t{1} << 31) + 8;
  for (const int32_t head_dim : {64, 62}) {
    RotaryCase c = makeRotary(NC_BFLOAT16, NC_BFLOAT16, NC_ROTARY_HALF_SPLIT, NC_ROTARY_ROUND_INPUT, head_dim, 32);
    c.batch = 1;
    c.seq = 2;
    const RotaryData d = drawRotary(c, 31);
    const Bits expected = predictRotary(c, d);
    const int64_t token = c.heads * head_dim, table = c.tableRows() * c.half();
    const DeviceMemory x(2 * (kStride + token));
    if (!x.fits()) GTEST_SKIP() << "4 GB of device memory were not to be had";
    const DeviceMemory cos(2 * table), sin(2 * table);
    const auto put = [&](const Bits& bits, int64_t first, int64_t count, int64_t target) {
      std::vector<uint16_t> codes(bits.begin() + first, bits.begin() + first + count);
      copy(target, addressOf(codes.data()), 2 * count);
    };
    for (int64_t s = 0; s < 2; ++s) put(d.x, s * token, token, x.at(2 * s * kStride));
    put(d.cos, 0, table, cos.at(0));
    put(d.sin, 0, table, sin.at(0));
    nc_rotary_spec spec = c.spec;
    spec.device_type = NC_DEVICE_CUDA;
    const RotaryPlan plan(spec);
    HeadStrides strides(c, {});
    strides.seq = kStride;
    const nc_rotary_args args = argsOf(c, strides, {x.at(0), x.at(0), cos.at(0), sin.at(0)});
    check(nc_rotary_apply(plan, &args));
    Bits actual;
    for (int64_t s = 0; s < 2; ++s) {
      std::vector<uint16_t> codes(static_cast<size_t>(token));
      copy(addressOf(codes.data()), x.at(2 * s * kStride), 2 * token);
      actual.insert(actual.end(), codes.begin(), codes.end());
    }
    EXPECT_TRUE(sameBits(c, expected, actual));
  }
}

}  // namespace
