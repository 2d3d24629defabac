// The FP8 kernels of a CUDA device, bit for bit against the tests' own formats, as for the CPU: every tie of both
// formats, every code, every scale, shapes, strides, misaligned addresses.

#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <vector>

#include "support/cuda_test.h"
#include "support/fp8.h"

namespace {

using namespace fp8;
using harness::cudaDevices;
using harness::onDevice;

class CudaFp8Format : public ::testing::TestWithParam<int32_t> {
 protected:
  const int32_t format = GetParam();

  void expectConverted(const Matrix& m) const {
    const Bits expected = quantizedByOne(m, format, 1);
    for (const int32_t device : cudaDevices()) {
      EXPECT_TRUE(same("in words", format, expected, runQuantize(m, format, 1, false, onDevice(device)).q)) << device;
      Form form = onDevice(device);
      form.offset = 1;
      EXPECT_TRUE(same("by elements", format, expected, runQuantize(m, format, 1, false, form).q)) << device;
    }
  }
};

INSTANTIATE_TEST_SUITE_P(Formats, CudaFp8Format, ::testing::ValuesIn(kNarrow),
                         [](const auto& info) { return name(info.param); });

TEST_P(CudaFp8Format, EveryNumberOf16Bits) {
  for (const int32_t dtype : {NC_BFLOAT16, NC_FLOAT16}) {
    Bits all;
    for (uint64_t bits = 0; bits < 0x10000u; ++bits) all.push_back(bits);
    expectConverted(oneRow(dtype, all));
  }
}

// Checks the device's conversion instruction, if it has one.
TEST_P(CudaFp8Format, EveryTieAndItsNeighbours) {
  Bits all = edges(format);
  expectConverted(oneRow(NC_FLOAT32, all));
  // Two values are converted at once: each is tested in both halves.
  all.insert(all.begin(), 0);
  expectConverted(oneRow(NC_FLOAT32, all));
}

TEST_P(CudaFp8Format, EveryCodeByEveryBlockScale) {
  Matrix codes{format, 256, 256, {}};
  Bits scales;
  for (uint64_t scale = 0; scale < 256; ++scale) {
    for (uint64_t bits = 0; bits < 256; ++bits) codes.bits.push_back(bits);
    scales.insert(scales.end(), static_cast<size_t>(codes.blocks()), scale);
  }
  for (const int32_t y : kWide) {
    const Bits expected = dequantized(codes, NC_SCALING_BLOCK, scales, y);
    for (const int32_t device : cudaDevices()) {
      EXPECT_TRUE(same("y", y, expected, runDequantize(codes, NC_SCALING_BLOCK, scales, y, onDevice(device))));
    }
  }
}

TEST_P(CudaFp8Format, ScalesOfBlocksOfEveryExponent) {
  for (const int32_t dtype : kWide) {
    const Matrix m = blocksOfEveryExponent(dtype);
    const Blocks expected = quantizedByBlocks(m, format);
    for (const int32_t device : cudaDevices()) {
      const Blocks blocks = runQuantizeBlocks(m, format, onDevice(device));
      EXPECT_EQ(expected.codes, blocks.codes) << name(dtype);
      EXPECT_TRUE(same("q", format, expected.q, blocks.q)) << name(dtype);
    }
  }
}

TEST_P(CudaFp8Format, Scale) {
  Bits amaxes = edges(format);
  amaxes.erase(std::remove_if(amaxes.begin(), amaxes.end(), [](uint64_t bits) { return bits > 0x80000000u; }),
               amaxes.end());
  for (const int32_t device : cudaDevices()) {
    for (const int margin : {0, 1, 17, NC_MAX_MARGIN}) {
      for (const int power_of_two : {0, 1}) {
        SCOPED_TRACE("margin " + std::to_string(margin) + ", power of two " + std::to_string(power_of_two));
        Bits expected, inverse;
        for (const uint64_t amax : amaxes) {
          const float s = scaleOf(format, floatOf(amax), margin, power_of_two != 0);
          expected.push_back(bitsOf(s));
          inverse.push_back(reference::encode(f32(), 1 / static_cast<double>(s)));
        }
        for (const bool with_scale : {true, false}) {
          for (const bool with_inverse : {true, false}) {
            if (!with_scale && !with_inverse) continue;
            Tensor amax = floats(amaxes), scale = with_scale ? floats(amaxes) : Tensor();
            Tensor scale_inv = with_inverse ? floats(amaxes) : Tensor();
            harness::Residence at(device);
            const Fp8Plan plan(scaleSpec(format, margin, power_of_two != 0, device));
            const nc_fp8_args args = scaleArgs(static_cast<int64_t>(amaxes.size()), at(amax), at(scale), at(scale_inv));
            check(nc_fp8_scale(plan, &args));
            at.bringBack();
            if (with_scale) {
              EXPECT_TRUE(same("scale", NC_FLOAT32, expected, scale.contents()));
              expectIntact(scale, "scale");
            }
            if (with_inverse) {
              EXPECT_TRUE(same("scale_inv", NC_FLOAT32, inverse, scale_inv.contents()));
              expectIntact(scale_inv, "scale_inv");
            }
          }
        }
      }
    }
  }
}

class CudaFp8Matrices : public ::testing::TestWithParam<std::tuple<int32_t, int32_t>> {};

std::string typesName(const ::testing::TestParamInfo<std::tuple<int32_t, int32_t>>& info) {
  return name(std::get<0>(info.param)) + "_" + name(std::get<1>(info.param));
}

INSTANTIATE_TEST_SUITE_P(Types, CudaFp8Matrices,
                         ::testing::Combine(::testing::ValuesIn(kWide), ::testing::ValuesIn(kNarrow)), typesName);

TEST_P(CudaFp8Matrices, EveryShapeStrideAndAlignment) {
  const auto [dtype, format] = GetParam();
  uint64_t seed = 1;
  for (const int64_t rows : {0, 1, 3, 130}) {
    for (const int64_t columns : {0, 1, 7, 8, 31, 32, 33, 64, 229, 4096, 65537}) {
      if (rows * columns > 70000) continue;
      ++seed;
      const Predicted predicted(draw(dtype, rows, columns, seed), format, seed);
      // Contiguous rows, rows at a stride of whole words, at another stride, and misaligned.
      const int64_t whole = (columns + 15) / 16 * 16 - columns;
      for (const auto& [extra, offset] : std::vector<std::pair<int64_t, size_t>>{
               {0, 0}, {whole + 16, 0}, {whole + 4, 0}, {5, 0}, {0, 1}, {3, 4}, {whole, 8}}) {
        Form form = onDevice(cudaDevices()[seed % cudaDevices().size()]);
        form.extra_stride = extra;
        form.offset = offset;
        predicted.expectIn(form);
        if (rows * columns > 20000 && offset == 1) break;
      }
      if (HasFailure()) return;
    }
  }
}

TEST_P(CudaFp8Matrices, SpecialValuesAtEveryPosition) {
  const auto [dtype, format] = GetParam();
  const Format& f = reference::format(dtype);
  const uint64_t infinity = (reference::signBit(f) - 1) >> f.fraction_bits << f.fraction_bits;
  for (const uint64_t special : {f.nan, infinity, infinity | reference::signBit(f), uint64_t{1}, infinity - 1,
                                 infinity + 1, reference::signBit(f)}) {
    Matrix m{dtype, 45, 45, {}};
    for (int64_t i = 0; i < m.rows * m.columns; ++i) {
      const uint64_t ordinary = reference::encode(f, std::ldexp(static_cast<double>(i % 13) - 6, -3));
      m.bits.push_back(i / m.columns == i % m.columns ? special : ordinary);
    }
    const Predicted predicted(m, format, 3);
    for (const int32_t device : cudaDevices()) {
      Form form = onDevice(device);
      form.extra_stride = 3;
      predicted.expectIn(form);
    }
  }
}

// More vectors than concurrent threads, in rows that are not contiguous.
TEST(CudaFp8Rows, MoreThanThreads) {
  const Matrix m = draw(NC_BFLOAT16, 45001, 93, 7);
  Form form = onDevice(0);
  form.extra_stride = 3;
  const ByOne one = runQuantize(m, NC_FLOAT8_E4M3, 0.0173f, true, form);
  EXPECT_TRUE(same("q by one scale", NC_FLOAT8_E4M3, quantizedByOne(m, NC_FLOAT8_E4M3, 0.0173f), one.q));
  EXPECT_EQ(bitsOf(largestMagnitude(m)), bitsOf(one.amax));
  EXPECT_EQ(bitsOf(largestMagnitude(m)), bitsOf(runAmax(m, form)));
  const Blocks blocks = runQuantizeBlocks(m, NC_FLOAT8_E4M3, form), expected = quantizedByBlocks(m, NC_FLOAT8_E4M3);
  EXPECT_TRUE(same("q by blocks", NC_FLOAT8_E4M3, expected.q, blocks.q));
  EXPECT_EQ(expected.codes, blocks.codes);
  const Matrix q{NC_FLOAT8_E4M3, m.rows, m.columns, blocks.q};
  EXPECT_TRUE(same("y by blocks", NC_FLOAT16, dequantized(q, NC_SCALING_BLOCK, blocks.codes, NC_FLOAT16),
                   runDequantize(q, NC_SCALING_BLOCK, blocks.codes, NC_FLOAT16, form)));
}

TEST(CudaFp8Amax, NeverDecreases) {
  const double nan = std::nan("");
  const auto of = [](const std::vector<double>& values, float before) {
    Matrix m{NC_FLOAT32, 1, static_cast<int64_t>(values.size()), {}};
    for (const double v : values) m.bits.push_back(reference::encode(f32(), v));
    float amax = 0;
    for (const int32_t device : cudaDevices()) {
      amax = runAmax(m, onDevice(device), before);
      EXPECT_FALSE(std::signbit(amax));
    }
    return amax;
  };
  EXPECT_EQ(0, of({-0.0, nan, 0, -nan}, 0));
  EXPECT_EQ(0x1p-149f, of({-0.0, nan, -0x1p-149, -nan}, 0));
  EXPECT_EQ(HUGE_VALF, of({1, -HUGE_VAL, nan}, 3));
  EXPECT_EQ(5, of({1, -2}, 5));
  EXPECT_EQ(7, of({nan, -7}, 5));
  EXPECT_EQ(5, of({nan}, 5));
  EXPECT_EQ(5, of({}, 5));
}

// A training step in a stream, without host synchronisation: amax, scale, q.
TEST(CudaFp8Stream, ScaleFromTheCurrentData) {
  const Matrix m = draw(NC_BFLOAT16, 33, 229, 8);
  Matrix finite = m;
  for (uint64_t& bits : finite.bits) {
    if ((bits & 0x7f80u) == 0x7f80u) bits = 0;
  }
  for (const int32_t device : cudaDevices()) {
    int64_t stream = 0;
    check(nc_cuda_stream_create(device, &stream));
    const Form form = onDevice(device);
    Tensor x = tensorOf(finite, form), q = emptyTensor(NC_FLOAT8_E5M2, finite, form);
    Tensor amax = floats(0.0f), scale = floats(0.0f), scale_inv = floats(0.0f);
    harness::Residence at(device);
    at(x), at(q), at(amax), at(scale), at(scale_inv);
    check(nc_cuda_stream_synchronize(device, 0));
    nc_fp8_spec spec = makeFp8(NC_BFLOAT16, NC_FLOAT8_E5M2, NC_SCALING_TENSOR, 0, device);
    spec.margin = 1;
    const Fp8Plan plan(spec);
    nc_fp8_args args = argsOf(finite);
    args.x = at(x), args.x_stride = 229;
    args.q = at(q), args.q_stride = 229;
    args.count = 1;
    args.amax = at(amax), args.scale = at(scale), args.scale_inv = at(scale_inv);
    args.stream = stream;
    check(nc_fp8_amax(plan, &args));
    check(nc_fp8_scale(plan, &args));
    check(nc_fp8_quantize(plan, &args));
    check(nc_cuda_stream_synchronize(device, stream));
    at.bringBack();
    const float s = scaleOf(NC_FLOAT8_E5M2, largestMagnitude(finite), 1, false);
    EXPECT_EQ(Bits{bitsOf(s)}, scale.contents());
    EXPECT_TRUE(same("q", NC_FLOAT8_E5M2, quantizedByOne(finite, NC_FLOAT8_E5M2, s), q.contents()));
    check(nc_cuda_stream_destroy(device, stream));
  }
}

}  // namespace
