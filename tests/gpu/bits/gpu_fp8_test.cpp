// FP8 tests that need a real GPU to run in reasonable time, against the CPU: a sweep of float32 through the device's
// own conversion, many waves of blocks, and rows beyond 2^31 elements away. tests/native/cuda/cuda_fp8_test.cpp, part
// of the same program, sweeps formats and shapes.
#include <gtest/gtest.h>

#include <cstring>
#include <random>
#include <vector>

#include "bits/device_memory.h"
#include "support/fp8.h"

namespace {

using namespace fp8;
using harness::addressOf;
using harness::copy;
using harness::DeviceMemory;

using Bytes = std::vector<uint8_t>;

Bytes fromDevice(const DeviceMemory& memory, size_t bytes) {
  Bytes all(bytes);
  copy(addressOf(all.data()), memory.at(0), static_cast<int64_t>(bytes));
  return all;
}

void expectSame(const Bytes& expected, const Bytes& actual, const char* what) {
  ASSERT_EQ(expected.size(), actual.size());
  if (std::memcmp(expected.data(), actual.data(), expected.size()) == 0) return;
  size_t first = 0;
  while (expected[first] == actual[first]) ++first;
  ADD_FAILURE() << what << ": byte " << first << " is " << int{actual[first]} << ", expected " << int{expected[first]};
}

class GpuFp8 : public ::testing::TestWithParam<int32_t> {};
INSTANTIATE_TEST_SUITE_P(Formats, GpuFp8, ::testing::ValuesIn(kNarrow),
                         [](const auto& info) { return name(info.param); });

// Every 17th pattern of float32, including NaNs of either sign; cuda_fp8_test.cpp tests every tie.
TEST_P(GpuFp8, SweepOfFloat32) {
  constexpr int64_t kCount = int64_t{1} << 24, kBytes = 4 * kCount;
  const DeviceMemory x(kBytes), q(kCount), scale(4);
  float one = 1;
  copy(scale.at(0), addressOf(&one), 4);
  std::vector<uint32_t> patterns(kCount);
  Bytes expected(kCount);
  const Fp8Plan cpu(makeFp8(NC_FLOAT32, GetParam(), NC_SCALING_TENSOR));
  const Fp8Plan gpu(makeFp8(NC_FLOAT32, GetParam(), NC_SCALING_TENSOR, 0, 0));
  nc_fp8_args on_gpu = argsOf(1, kCount);
  on_gpu.x_stride = on_gpu.q_stride = kCount;
  nc_fp8_args on_cpu = on_gpu;
  on_gpu.x = x.at(0), on_gpu.q = q.at(0), on_gpu.scale = scale.at(0);
  on_cpu.x = addressOf(patterns.data()), on_cpu.q = addressOf(expected.data()), on_cpu.scale = addressOf(&one);
  for (uint64_t next = 0; next <= 0xffffffffu && !HasFailure();) {
    for (uint32_t& pattern : patterns) {
      pattern = static_cast<uint32_t>(next);  // the last part continues from 0
      next += 17;
    }
    copy(x.at(0), addressOf(patterns.data()), kBytes);
    check(nc_fp8_quantize(gpu, &on_gpu));
    check(nc_fp8_quantize(cpu, &on_cpu));
    expectSame(expected, fromDevice(q, kCount), "q");
  }
}

struct Size {
  int64_t rows, columns, stride;
};

class GpuFp8Rows : public ::testing::TestWithParam<Size> {};
INSTANTIATE_TEST_SUITE_P(Sizes, GpuFp8Rows,
                         ::testing::Values(Size{60001, 72, 72}, Size{8192, 1024, 1024}, Size{2051, 4096, 4104},
                                           Size{90001, 264, 272}, Size{33, 262145, 262147}),
                         [](const auto& info) {
                           return std::to_string(info.param.rows) + "x" + std::to_string(info.param.columns);
                         });

// Any 16-bit pattern is a number.
TEST_P(GpuFp8Rows, AreTheCpus) {
  const auto [rows, columns, stride] = GetParam();
  const int64_t elements = rows * stride, blocks = rows * ((columns + NC_SCALE_BLOCK - 1) / NC_SCALE_BLOCK);
  std::vector<uint16_t> x(static_cast<size_t>(elements));
  std::mt19937_64 random(40);
  for (uint16_t& code : x) code = static_cast<uint16_t>(random() >> 24);
  float scale = 0.37f, amax = 0;
  const DeviceMemory device_x(2 * elements), device_q(elements), device_y(2 * elements), codes(blocks), scales(8);
  copy(device_x.at(0), addressOf(x.data()), 2 * elements);
  copy(scales.at(0), addressOf(&scale), 4);
  for (const int32_t dtype : {NC_BFLOAT16, NC_FLOAT16}) {
    for (const int32_t format : kNarrow) {
      SCOPED_TRACE(name(dtype) + " to " + name(format));
      Bytes q(static_cast<size_t>(elements)), y(2 * q.size()), e8m0(static_cast<size_t>(blocks));
      const Fp8Plan cpu(makeFp8(dtype, format, NC_SCALING_TENSOR));
      const Fp8Plan gpu(makeFp8(dtype, format, NC_SCALING_TENSOR, 0, 0));
      const Fp8Plan cpu_blocks(makeFp8(dtype, format, NC_SCALING_BLOCK, dtype));
      const Fp8Plan gpu_blocks(makeFp8(dtype, format, NC_SCALING_BLOCK, dtype, 0));
      nc_fp8_args on_gpu = argsOf(rows, columns);
      on_gpu.x_stride = on_gpu.q_stride = on_gpu.y_stride = stride;
      nc_fp8_args on_cpu = on_gpu;
      on_gpu.x = device_x.at(0), on_gpu.q = device_q.at(0), on_gpu.y = device_y.at(0);
      on_gpu.scale = scales.at(0), on_gpu.amax = scales.at(4);
      on_cpu.x = addressOf(x.data()), on_cpu.q = addressOf(q.data()), on_cpu.y = addressOf(y.data());
      on_cpu.scale = addressOf(&scale), on_cpu.amax = addressOf(&amax);
      amax = 0;
      check(nc_cuda_zero(0, device_q.at(0), elements, 0));
      check(nc_cuda_zero(0, device_y.at(0), 2 * elements, 0));
      check(nc_cuda_zero(0, scales.at(4), 4, 0));
      check(nc_fp8_quantize(cpu, &on_cpu));
      check(nc_fp8_quantize(gpu, &on_gpu));
      expectSame(q, fromDevice(device_q, q.size()), "q by one scale");
      float device_amax[2];
      copy(addressOf(device_amax), scales.at(0), 8);
      EXPECT_EQ(bitsOf(amax), bitsOf(device_amax[1]));
      check(nc_cuda_zero(0, scales.at(4), 4, 0));
      check(nc_fp8_amax(gpu, &on_gpu));
      copy(addressOf(device_amax), scales.at(0), 8);
      EXPECT_EQ(bitsOf(amax), bitsOf(device_amax[1]));
      on_cpu.scale = on_cpu.amax = on_gpu.scale = on_gpu.amax = 0;
      on_cpu.scale_inv = addressOf(e8m0.data()), on_gpu.scale_inv = codes.at(0);
      check(nc_fp8_quantize(cpu_blocks, &on_cpu));
      check(nc_fp8_quantize(gpu_blocks, &on_gpu));
      expectSame(q, fromDevice(device_q, q.size()), "q by blocks");
      expectSame(e8m0, fromDevice(codes, e8m0.size()), "scales of blocks");
      check(nc_fp8_dequantize(cpu_blocks, &on_cpu));
      check(nc_fp8_dequantize(gpu_blocks, &on_gpu));
      expectSame(y, fromDevice(device_y, y.size()), "y by blocks");
    }
  }
}

TEST(GpuFp8FarRows, BeyondTwoToThe31Elements) {
  constexpr int64_t kRows = 4, kColumns = 229;
  for (const int64_t stride : {(int64_t{1} << 30) + 16, (int64_t{1} << 30) + 17}) {
    const int64_t elements = (kRows - 1) * stride + kColumns;
    const DeviceMemory x(2 * elements), q(elements), y(2 * elements);
    if (!x.fits() || !q.fits() || !y.fits()) GTEST_SKIP() << "16 GB of device memory were not to be had";
    const Matrix m = draw(NC_BFLOAT16, kRows, kColumns, 41);
    const DeviceMemory codes(kRows * m.blocks()), amax(4);
    check(nc_cuda_zero(0, amax.at(0), 4, 0));
    std::vector<uint16_t> wide(kColumns);
    Bytes narrow(kColumns);
    const auto firstOf = [](int64_t row) { return static_cast<size_t>(row * kColumns); };
    for (int64_t row = 0; row < kRows; ++row) {
      for (size_t i = 0; i < wide.size(); ++i) wide[i] = static_cast<uint16_t>(m.bits[firstOf(row) + i]);
      copy(x.at(2 * row * stride), addressOf(wide.data()), 2 * kColumns);
    }
    const Fp8Plan plan(makeFp8(NC_BFLOAT16, NC_FLOAT8_E5M2, NC_SCALING_BLOCK, NC_BFLOAT16, 0));
    nc_fp8_args args = argsOf(kRows, kColumns);
    args.x = x.at(0), args.q = q.at(0), args.y = y.at(0);
    args.x_stride = args.q_stride = args.y_stride = stride;
    args.amax = amax.at(0);
    check(nc_fp8_amax(plan, &args));
    args.amax = 0;
    args.scale_inv = codes.at(0);
    check(nc_fp8_quantize(plan, &args));
    check(nc_fp8_dequantize(plan, &args));
    float largest = 0;
    copy(addressOf(&largest), amax.at(0), 4);
    EXPECT_EQ(bitsOf(largestMagnitude(m)), bitsOf(largest));
    const Blocks expected = quantizedByBlocks(m, NC_FLOAT8_E5M2);
    const Bits values =
        dequantized({NC_FLOAT8_E5M2, kRows, kColumns, expected.q}, NC_SCALING_BLOCK, expected.codes, NC_BFLOAT16);
    const Bytes device_codes = fromDevice(codes, expected.codes.size());
    EXPECT_EQ(expected.codes, Bits(device_codes.begin(), device_codes.end()));
    for (int64_t row = 0; row < kRows; ++row) {
      copy(addressOf(narrow.data()), q.at(row * stride), kColumns);
      copy(addressOf(wide.data()), y.at(2 * row * stride), 2 * kColumns);
      for (size_t i = 0; i < wide.size(); ++i) {
        ASSERT_EQ(expected.q[firstOf(row) + i], narrow[i]) << "row " << row << ", column " << i;
        ASSERT_EQ(values[firstOf(row) + i], wide[i]) << "row " << row << ", column " << i;
      }
    }
  }
}

}  // namespace
