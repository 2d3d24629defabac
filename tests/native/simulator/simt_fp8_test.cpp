// Properties of the FP8 kernels that need the simulator: which of them ran and with how many blocks, no thread order
// changes a bit, the barrier is needed, and offsets beyond 2^31 elements are computed in 64 bits.

#include <cuda_runtime.h>
#include <gtest/gtest.h>

#include <functional>
#include <set>
#include <stdexcept>

#include "simulator/control.h"
#include "support/cuda_test.h"
#include "support/fp8.h"
#include "support/sparse_memory.h"

namespace {

using namespace fp8;
using harness::onDevice;
using nc::simt::control;

class SimulatedFp8 : public ::testing::Test {
 protected:
  void SetUp() override {
    before_ = control();
    control().records = true;
  }
  void TearDown() override { control() = before_; }

  // The single launch of a call.
  template <class Call>
  static nc::simt::LaunchRecord launchOf(Call call) {
    control().launches.clear();
    call();
    EXPECT_EQ(1u, control().launches.size());
    return control().launches.at(0);
  }

 private:
  nc::simt::Control before_;
};

TEST_F(SimulatedFp8, NoSeedChangesABit) {
  const Predicted predicted(draw(NC_BFLOAT16, 19, 229, 1), NC_FLOAT8_E5M2, 1);
  for (uint64_t seed = 1; seed < 13; ++seed) {
    control().seed = seed;
    Form form = onDevice(static_cast<int32_t>(seed % 2));
    form.offset = seed % 4 < 2 ? 0 : 1;
    form.extra_stride = seed % 8 < 4 ? 0 : 3;
    predicted.expectIn(form);
  }
}

// Without the barrier a warp's largest magnitude is read too early.
TEST_F(SimulatedFp8, TheBarrierIsNeeded) {
  Matrix m{NC_FLOAT32, 1, 2048, Bits(2048, bitsOf(1))};
  m.bits[2000] = bitsOf(3);
  const nc::simt::LaunchRecord launch = launchOf([&] { EXPECT_EQ(3, runAmax(m, onDevice(0))); });
  ASSERT_EQ(1u, launch.sites.size());
  control().skips = true;
  control().skipped_launch = 0;
  control().skipped_site = launch.sites[0];
  bool noticed = false;
  for (control().seed = 1; control().seed <= 20 && !noticed; ++control().seed) {
    control().launches.clear();
    try {
      noticed = runAmax(m, onDevice(0)) != 3;
    } catch (const std::runtime_error&) {
      noticed = true;
      EXPECT_EQ(cudaSuccess, cudaDeviceReset());
    }
  }
  EXPECT_TRUE(noticed);
}

// One kernel for whole words of each format, and a generic one, also for misaligned tensors.
TEST_F(SimulatedFp8, EveryKernelRuns) {
  struct Calls {
    const char* name;
    std::function<void(int32_t dtype, const Form&)> call;
  };
  const auto matrix = [](int32_t dtype) { return draw(dtype, 3, 72, 2); };
  const auto dequantize = [](int32_t scaling) {
    return [=](int32_t dtype, const Form& form) {
      const Matrix q = draw(NC_FLOAT8_E4M3, 3, 72, 2);
      const Bits scales(scaling == NC_SCALING_BLOCK ? 9 : scaling == NC_SCALING_ROW ? 3 : 1, 100);
      runDequantize(q, scaling, scales, dtype, form);
    };
  };
  const std::vector<Calls> all = {
      {"amax", [&](int32_t dtype, const Form& form) { runAmax(matrix(dtype), form); }},
      {"quantize",
       [&](int32_t dtype, const Form& form) { runQuantize(matrix(dtype), NC_FLOAT8_E4M3, 1, false, form); }},
      {"quantize_blocks",
       [&](int32_t dtype, const Form& form) { runQuantizeBlocks(matrix(dtype), NC_FLOAT8_E4M3, form); }},
      {"dequantize", dequantize(NC_SCALING_TENSOR)},
  };
  std::set<const void*> kernels;
  for (const Calls& calls : all) {
    SCOPED_TRACE(calls.name);
    std::set<const void*> in_words, by_elements;
    for (const int32_t dtype : kWide) {
      const auto kernelOf = [&](int64_t extra_stride, size_t offset) {
        Form form = onDevice(0);
        form.extra_stride = extra_stride;
        form.offset = offset;
        return launchOf([&] { calls.call(dtype, form); }).kernel;
      };
      const void* const words = kernelOf(0, 0);
      in_words.insert(words);
      EXPECT_EQ(words, kernelOf(8, 0));
      EXPECT_EQ(words, kernelOf(0, 16));
      for (const auto& [extra, offset] : std::vector<std::pair<int64_t, size_t>>{{1, 0}, {0, 1}, {0, 4}, {0, 2}}) {
        by_elements.insert(kernelOf(extra, offset));
      }
      EXPECT_EQ(0u, by_elements.count(words));
    }
    EXPECT_EQ(3u, in_words.size());
    EXPECT_EQ(1u, by_elements.size());
    kernels.insert(in_words.begin(), in_words.end());
    kernels.insert(by_elements.begin(), by_elements.end());
  }
  EXPECT_EQ(16u, kernels.size());
  // One kernel looks up the scaling at run time.
  const auto kernelOf = [&](int32_t scaling) {
    return launchOf([&] { dequantize(scaling)(NC_BFLOAT16, onDevice(0)); }).kernel;
  };
  EXPECT_EQ(kernelOf(NC_SCALING_TENSOR), kernelOf(NC_SCALING_ROW));
  EXPECT_EQ(kernelOf(NC_SCALING_TENSOR), kernelOf(NC_SCALING_BLOCK));
}

// Contiguous rows are merged into one, so threads spend nothing on row ends. The grid is small.
TEST_F(SimulatedFp8, Grids) {
  const auto blocksOf = [&](int64_t rows, int64_t columns, int64_t extra_stride, bool in_blocks) {
    Form form = onDevice(0);
    form.extra_stride = extra_stride;
    const Matrix m{NC_BFLOAT16, rows, columns, Bits(static_cast<size_t>(rows * columns), 0x3f80)};
    return launchOf([&] {
             if (in_blocks) {
               runQuantizeBlocks(m, NC_FLOAT8_E4M3, form);
             } else {
               runQuantize(m, NC_FLOAT8_E4M3, 1, false, form);
             }
           })
        .blocks;
  };
  EXPECT_EQ(1, blocksOf(1, 1, 0, false));
  EXPECT_EQ(1, blocksOf(1, 2048, 0, false));
  EXPECT_EQ(2, blocksOf(1, 2049, 0, false));
  EXPECT_EQ(1, blocksOf(2048, 1, 0, false));
  EXPECT_EQ(32, blocksOf(2048, 1, 1, false));
  EXPECT_EQ(8, blocksOf(256, 64, 0, true));
  EXPECT_EQ(32, blocksOf(2048, 8, 0, true));
  EXPECT_EQ(2048, blocksOf(140000, 1, 1, false));
}

// Rows 2^31 elements apart, aligned and unaligned.
TEST_F(SimulatedFp8, OffsetsBeyond31Bits) {
  constexpr int64_t kRows = 3, kColumns = 77;
  for (const int64_t stride : {(int64_t{1} << 31) + 16, (int64_t{1} << 31) + 17}) {
    const int64_t elements = (kRows - 1) * stride + kColumns;
    const harness::SparseMemory x(2 * elements), q(elements), y(2 * elements);
    const Matrix m = draw(NC_BFLOAT16, kRows, kColumns, 3);
    const auto read = [&](const harness::SparseMemory& from, const Format& f) {
      Bits bits;
      for (int64_t i = 0; i < kRows * kColumns; ++i) {
        const int64_t element = i / kColumns * stride + i % kColumns;
        bits.push_back(reference::loadBits(f, from.at(element * f.bytes)));
      }
      return bits;
    };
    for (int64_t i = 0; i < kRows * kColumns; ++i) {
      const int64_t element = i / kColumns * stride + i % kColumns;
      reference::storeBits(reference::format(NC_BFLOAT16), x.at(2 * element), m.bits[static_cast<size_t>(i)]);
    }
    const Format& e4m3 = reference::format(NC_FLOAT8_E4M3);
    Tensor scale = floats(0.3f), amax = floats(0.0f), codes = codesOf(m, {});
    harness::Residence at(0);
    nc_fp8_args args = argsOf(m);
    args.x = x.address(), args.q = q.address(), args.y = y.address();
    args.x_stride = args.q_stride = args.y_stride = stride;
    const Fp8Plan by_tensor(makeFp8(NC_BFLOAT16, NC_FLOAT8_E4M3, NC_SCALING_TENSOR, 0, 0));
    const Fp8Plan by_block(makeFp8(NC_BFLOAT16, NC_FLOAT8_E4M3, NC_SCALING_BLOCK, NC_FLOAT16, 0));
    args.amax = at(amax);
    check(nc_fp8_amax(by_tensor, &args));
    args.amax = 0;
    args.scale = at(scale);
    check(nc_fp8_quantize(by_tensor, &args));
    check(nc_cuda_stream_synchronize(0, 0));
    EXPECT_TRUE(same("q", NC_FLOAT8_E4M3, quantizedByOne(m, NC_FLOAT8_E4M3, 0.3f), read(q, e4m3)));
    args.scale = 0;
    args.scale_inv = at(codes);
    check(nc_fp8_quantize(by_block, &args));
    check(nc_fp8_dequantize(by_block, &args));
    at.bringBack();
    const Blocks expected = quantizedByBlocks(m, NC_FLOAT8_E4M3);
    EXPECT_EQ(bitsOf(largestMagnitude(m)), amax.bits(0, 0));
    EXPECT_TRUE(same("q by blocks", NC_FLOAT8_E4M3, expected.q, read(q, e4m3)));
    EXPECT_EQ(expected.codes, codes.contents());
    EXPECT_TRUE(
        same("y", NC_FLOAT16,
             dequantized({NC_FLOAT8_E4M3, kRows, kColumns, expected.q}, NC_SCALING_BLOCK, expected.codes, NC_FLOAT16),
             read(y, reference::format(NC_FLOAT16))));
  }
}

TEST_F(SimulatedFp8, ErrorsOfTheRuntimeAreNamed) {
  const Matrix m = draw(NC_FLOAT32, 2, 9, 4);
  const auto expectNamed = [&](const char* what, auto call) {
    control().next_launch_error = 9;
    try {
      call();
      ADD_FAILURE() << what << ": no error";
    } catch (const std::runtime_error& e) {
      const std::string message = e.what();
      EXPECT_NE(std::string::npos, message.find("status " + std::to_string(NC_CUDA_ERROR))) << message;
      EXPECT_NE(std::string::npos, message.find(std::string(what) + " on CUDA device 0")) << message;
      EXPECT_NE(std::string::npos, message.find("cudaErrorInvalidConfiguration")) << message;
    }
  };
  const Form form = onDevice(0);
  expectNamed("starting the computation of amax", [&] { runAmax(m, form); });
  expectNamed("starting the quantisation", [&] { runQuantize(m, NC_FLOAT8_E4M3, 1, true, form); });
  expectNamed("starting the quantisation of blocks", [&] { runQuantizeBlocks(m, NC_FLOAT8_E4M3, form); });
  expectNamed("starting the dequantisation",
              [&] { runDequantize(draw(NC_FLOAT8_E5M2, 2, 9, 4), NC_SCALING_TENSOR, {bitsOf(1)}, NC_FLOAT32, form); });
  Predicted(m, NC_FLOAT8_E4M3, 4).expectIn(form);
}

}  // namespace
