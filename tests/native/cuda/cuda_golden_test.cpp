// The golden hashes on CUDA devices, the simulator's or real ones. golden.h has the cases.

#include <gtest/gtest.h>

#include "support/cuda_test.h"
#include "support/golden.h"

namespace {

using namespace golden;

class CudaGoldenHashes : public ::testing::TestWithParam<std::string> {};

INSTANTIATE_TEST_SUITE_P(Cuda, CudaGoldenHashes, ::testing::ValuesIn(parts()),
                         [](const auto& info) { return info.param; });

// Each case on one of the devices.
TEST_P(CudaGoldenHashes, Agree) {
  const std::vector<int32_t> devices = harness::cudaDevices();
  expectHashes(GetParam(), "CUDA", [&](const Case& c) {
    Where where;
    where.cuda_device = devices[fnv1a(c.name) / 7 % devices.size()];
    return where;
  });
}

}  // namespace
