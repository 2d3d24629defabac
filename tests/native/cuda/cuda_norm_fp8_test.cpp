// FP8 outputs of the norms on CUDA devices, bit for bit against the CPU.

#include <gtest/gtest.h>

#include "support/cuda_test.h"
#include "support/fp8_cases.h"

namespace {

using namespace harness;

void expectAsOnCpu(const Case& c, const Data& data, const Form& form) {
  Form on_cpu = form;
  on_cpu.cuda_device = -1;
  EXPECT_TRUE(same(c, run(c, data, on_cpu), run(c, data, form))) << "device " << form.cuda_device;
}

class CudaFp8Outputs : public ::testing::TestWithParam<std::tuple<int32_t, int32_t, int32_t>> {};
INSTANTIATE_TEST_SUITE_P(Types, CudaFp8Outputs,
                         ::testing::Combine(::testing::Values(NC_RMS_NORM, NC_LAYER_NORM),
                                            ::testing::ValuesIn(kNormTypes), ::testing::ValuesIn(kNormTypes)),
                         fp8TypesName);

// On each device in turn.
TEST_P(CudaFp8Outputs, EveryCombination) {
  const auto [op, x, w] = GetParam();
  const std::vector<int32_t> devices = cudaDevices();
  forEveryFp8Combination(op, x, w, {5, 8, 31, 32, 33, 40, 264}, [&](const Case& c, uint64_t turn) {
    SCOPED_TRACE("seed " + std::to_string(turn));
    expectAsOnCpu(c, draw(c, turn), onDevice(devices[turn % devices.size()]));
    return !HasFailure();
  });
}

// The pairs of x and weight with fast kernels, under the policies that these have compiled in or look up.
class CudaFp8Fast : public ::testing::TestWithParam<std::pair<int32_t, int32_t>> {
 protected:
  Case next(int64_t rows, int64_t n) {
    ++turn_;
    const auto [x, w] = GetParam();
    const int32_t scaling = NC_SCALING_TENSOR + static_cast<int32_t>(turn_ % 3);
    Case c = fp8Case(turn_ % 4 < 2 ? NC_RMS_NORM : NC_LAYER_NORM, x, w, turn_ % 5 < 3 ? NC_FLOAT8_E4M3 : NC_FLOAT8_E5M2,
                     scaling, n);
    c.spec.scale_rounding = static_cast<int32_t>(turn_ / 3 % 3);
    c.spec.gamma_offset = static_cast<int32_t>(turn_ / 9 % 3);
    c.spec.y_power_of_two = scaling == NC_SCALING_ROW && turn_ % 2 == 0;
    c.residual = turn_ % 7 < 3;
    c.rows = rows;
    return c;
  }
  void expectOnEveryDevice(const Case& c) const {
    for (const int32_t device : cudaDevices()) expectAsOnCpu(c, draw(c, turn_), onDevice(device));
  }

 private:
  uint64_t turn_ = 0;
};
INSTANTIATE_TEST_SUITE_P(Pairs, CudaFp8Fast,
                         ::testing::Values(std::pair(NC_FLOAT32, NC_FLOAT32), std::pair(NC_BFLOAT16, NC_BFLOAT16),
                                           std::pair(NC_FLOAT16, NC_FLOAT16), std::pair(NC_BFLOAT16, NC_FLOAT32),
                                           std::pair(NC_FLOAT16, NC_FLOAT32)),
                         [](const auto& info) {
                           return formatName(info.param.first) + "_" + formatName(info.param.second);
                         });

// Every size with every scaling, at every number of vectors per thread.
TEST_P(CudaFp8Fast, EverySize) {
  for (const int64_t n : {1,   7,    8,    16,   24,   32,   40,   229,  256,  264,  512,   768,
                          769, 1024, 2048, 3072, 3080, 4096, 5120, 6144, 6152, 8192, 12288, 16384}) {
    for (int i = 0; i < 3; ++i) expectOnEveryDevice(next(1 + (n + i) % 3, n));
  }
}

// 16392: the segments end within scale blocks.
TEST_P(CudaFp8Fast, RowsOfSeveralSegments) {
  const bool few = onSimulator() && GetParam().first == NC_FLOAT16;  // the sizes of all are those of bfloat16
  for (const int64_t n : {16392, 16416, 20480, 32768, 65536, 131072}) {
    if (few && n > 20000) continue;
    for (int i = 0; i < 3; ++i) expectOnEveryDevice(next(2, n));
  }
}

TEST_P(CudaFp8Fast, ManyRows) {
  for (const int64_t rows : {0, 4, 33, 130}) {
    for (const int64_t n : {8, 48, 256, 1032}) {
      for (int i = 0; i < 3; ++i) expectOnEveryDevice(next(rows, n));
    }
  }
}

TEST_P(CudaFp8Fast, AnyAddressAndStride) {
  for (const size_t offset : {0, 1, 2, 8, 16}) {
    for (const int64_t extra : {0, 1, 8, 16}) {
      for (int i = 0; i < 3; ++i) {
        const Case c = next(3, 320);
        Form form = onDevice(0);
        form.offset = offset;
        form.extra_stride = extra;
        if (c.residual) form.residual_out = i == 0 ? Form::kX : i == 1 ? Form::kResidual : Form::kOwn;
        expectAsOnCpu(c, draw(c, 3), form);
      }
    }
  }
}

TEST(CudaFp8Values, AnyMagnitude) {
  for (const Case& c : specialFp8Cases()) {
    for (const Data& data : specialFp8Data(c)) {
      expectAsOnCpu(c, data, onDevice(0));
      if (HasFailure()) return;
    }
  }
}

}  // namespace
