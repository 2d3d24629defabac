// The gate: every family of fast kernels once, against the CPU's bits. The kit runs this before it times anything, and
// continues only if all of it passes.
#include <gtest/gtest.h>

#include "support/cuda_test.h"

namespace {

using namespace harness;

// Several rows per block for short rows, more than one row group, and a cluster for each of the longest rows.
struct Size {
  int64_t n, rows;
};
void PrintTo(const Size& size, std::ostream* to) { *to << size.rows << " x " << size.n; }
constexpr Size kSizes[] = {{64, 2051}, {256, 515}, {1024, 131}, {4096, 33}, {16384, 9}, {32768, 5}, {262144, 2}};

using Family = std::tuple<Size, int32_t, int32_t>;
class GpuGate : public ::testing::TestWithParam<Family> {};

std::string familyName(const ::testing::TestParamInfo<Family>& info) {
  const auto& [size, op, dtype] = info.param;
  return std::string(op == NC_RMS_NORM ? "Rms_" : "Layer_") + formatName(dtype) + "_" + std::to_string(size.n);
}

INSTANTIATE_TEST_SUITE_P(Hot, GpuGate,
                         ::testing::Combine(::testing::ValuesIn(kSizes), ::testing::Values(NC_RMS_NORM, NC_LAYER_NORM),
                                            ::testing::Values(NC_BFLOAT16, NC_FLOAT32)),
                         familyName);

TEST_P(GpuGate, IsTheCpus) {
  const auto& [size, op, dtype] = GetParam();
  Case c;
  c.spec = makeSpec(op, dtype, dtype, dtype, size.n);
  c.rows = size.rows;
  c.dweight_dtype = c.dbias_dtype = dtype;
  const Data data = draw(c, 50);
  EXPECT_TRUE(same(c, run(c, data), run(c, data, onDevice(0))));
  // In 16-bit types, norms that round the normalised value have separate kernels.
  if (dtype == NC_FLOAT32) return;
  c.spec.scale_rounding = NC_ROUND_INPUT;
  EXPECT_TRUE(same(c, run(c, data), run(c, data, onDevice(0))));
}

}  // namespace
