// Tests that need a real GPU to run in reasonable time: many waves of blocks, and rows beyond 2^31 elements away, give
// the CPU's bits. tests/native/cuda/cuda_norm_test.cpp, part of the same program, sweeps formats, policies and sizes.
#include <gtest/gtest.h>

#include <vector>

#include "bits/device_memory.h"
#include "support/cuda_test.h"

namespace {

using namespace harness;

struct Size {
  int64_t rows, n;
};

using Shape = std::tuple<int32_t, bool, Size>;
class GpuManyRows : public ::testing::TestWithParam<Shape> {};

std::string shapeName(const ::testing::TestParamInfo<Shape>& info) {
  const auto& [op, narrow, size] = info.param;
  return std::string(op == NC_RMS_NORM ? "Rms" : "Layer") + (narrow ? "_bf16_" : "_f32_") + std::to_string(size.rows) +
         "x" + std::to_string(size.n);
}

INSTANTIATE_TEST_SUITE_P(Shapes, GpuManyRows,
                         ::testing::Combine(::testing::Values(NC_RMS_NORM, NC_LAYER_NORM), ::testing::Bool(),
                                            ::testing::Values(Size{60001, 72}, Size{8192, 1024}, Size{2051, 4096},
                                                              Size{513, 16384}, Size{131, 65536}, Size{33, 262144})),
                         shapeName);

TEST_P(GpuManyRows, AreTheCpus) {
  const auto& [op, narrow, size] = GetParam();
  const int32_t dtype = narrow ? NC_BFLOAT16 : NC_FLOAT32;
  Case c;
  c.spec = makeSpec(op, dtype, dtype, dtype, size.n);
  c.spec.scale_rounding = narrow ? NC_ROUND_INPUT : NC_ROUND_COMPUTE;
  c.rows = size.rows;
  const Data data = draw(c, 20);
  EXPECT_TRUE(same(c, run(c, data), run(c, data, onDevice(0))));
}

TEST(GpuFarRows, BeyondTwoToThe31Elements) {
  constexpr int64_t kRows = 4, kStride = (int64_t{1} << 30) + 8;
  for (const int32_t op : {NC_RMS_NORM, NC_LAYER_NORM}) {
    for (const int64_t n : {229, 4096, 20000}) {
      Case c;
      c.spec = makeSpec(op, NC_BFLOAT16, NC_BFLOAT16, NC_BFLOAT16, n);
      c.rows = kRows;
      const Data data = draw(c, 21);
      const Result expected = run(c, data);

      const int64_t row = n * 2;
      const DeviceMemory x(2 * ((kRows - 1) * kStride + n)), y(2 * ((kRows - 1) * kStride + n));
      if (!x.fits() || !y.fits()) GTEST_SKIP() << "13 GB of device memory were not to be had";
      const DeviceMemory weight(row), bias(row), mean(kRows * 4), rstd(kRows * 4);
      const auto put = [&](const Bits& bits, size_t first, int64_t target) {
        std::vector<uint16_t> codes(bits.begin() + static_cast<std::ptrdiff_t>(first),
                                    bits.begin() + static_cast<std::ptrdiff_t>(first) + n);
        copy(target, addressOf(codes.data()), row);
      };
      for (int64_t r = 0; r < kRows; ++r) put(data.x, static_cast<size_t>(r * n), x.at(2 * r * kStride));
      put(data.weight, 0, weight.at(0));
      if (c.hasBias()) put(data.bias, 0, bias.at(0));

      nc_norm_spec spec = c.spec;
      spec.device_type = NC_DEVICE_CUDA;
      const Plan plan(spec);
      auto args = argsOf<nc_norm_forward_args>();
      args.rows = kRows;
      args.x = x.at(0), args.y = y.at(0);
      args.x_stride = args.y_stride = kStride;
      args.weight = weight.at(0);
      if (c.hasBias()) args.bias = bias.at(0);
      if (c.isLayerNorm()) args.mean = mean.at(0);
      args.rstd = rstd.at(0);
      check(nc_norm_forward(plan, &args));
      for (int64_t r = 0; r < kRows; ++r) {
        std::vector<uint16_t> codes(static_cast<size_t>(n));
        copy(addressOf(codes.data()), y.at(2 * r * kStride), row);
        EXPECT_TRUE(std::equal(codes.begin(), codes.end(), expected.y.begin() + static_cast<std::ptrdiff_t>(r * n)))
            << c.describe() << ", row " << r;
      }
    }
  }
}

}  // namespace
