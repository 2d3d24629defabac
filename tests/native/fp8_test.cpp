// FP8 on the CPU at every vector level: conversions against the tests' own number formats, scales against exact
// reasoning, matrices of all shapes, and the properties of quantising dequantised values.

#include "support/fp8.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <thread>
#include <vector>

namespace {

using namespace fp8;

Form atLevel(int32_t level) {
  Form form;
  form.level = level;
  return form;
}

Bits converted(int32_t from, const Bits& bits, int32_t to) {
  Tensor source(from, 1, static_cast<int64_t>(bits.size()), static_cast<int64_t>(bits.size()), 0);
  Tensor target(to, 1, source.columns(), source.columns(), 0);
  source.fill(bits);
  check(nc_convert(source.address(), from, target.address(), to, source.columns()));
  return target.contents();
}

class Fp8Format : public ::testing::TestWithParam<int32_t> {
 protected:
  const int32_t format = GetParam();
  const Format& f = reference::format(format);

  // To FP8 with scale 1, at every level, and by nc_convert.
  void expectConverted(const Matrix& m) const {
    const Bits expected = quantizedByOne(m, format, 1);
    for (const int32_t level : harness::supportedLevels()) {
      EXPECT_TRUE(
          same(harness::levelName(level), format, expected, runQuantize(m, format, 1, false, atLevel(level)).q));
    }
    EXPECT_TRUE(same("nc_convert", format, expected, converted(m.dtype, m.bits, format)));
  }
};

std::string formatName(const ::testing::TestParamInfo<int32_t>& info) { return name(info.param); }

INSTANTIATE_TEST_SUITE_P(Formats, Fp8Format, ::testing::ValuesIn(kNarrow), formatName);

TEST_P(Fp8Format, EveryNumberOf16Bits) {
  for (const int32_t dtype : {NC_BFLOAT16, NC_FLOAT16}) {
    Bits all;
    for (uint64_t bits = 0; bits < 0x10000u; ++bits) all.push_back(bits);
    expectConverted(oneRow(dtype, all));
  }
}

TEST_P(Fp8Format, EveryTieAndItsNeighbours) {
  const Bits all = edges(format);
  ASSERT_GT(all.size(), 6000u);
  expectConverted(oneRow(NC_FLOAT32, all));
}

// Every 251st pattern of float32: a prime step, so that all low bits occur at all exponents.
TEST_P(Fp8Format, SweepOfFloat32) {
  size_t count = 0;
  uint64_t next = 0;
  while (next <= 0xffffffffu && !HasFailure()) {
    Bits part;
    for (; part.size() < 1000003 && next <= 0xffffffffu; next += 251) part.push_back(next);
    count += part.size();
    expectConverted(oneRow(NC_FLOAT32, part));
  }
  EXPECT_GT(count, size_t{1} << 24);
}

TEST_P(Fp8Format, EveryCodeIsDequantised) {
  Bits all;
  for (uint64_t bits = 0; bits < 256; ++bits) all.push_back(bits);
  const Matrix codes = oneRow(format, all);
  for (const int32_t y : kWide) {
    for (const float scale_inv : {1.0f, 0.37f, 0x1p-130f, 0x1.8p-140f, 0x1p119f, -2.5f, HUGE_VALF, std::nanf("")}) {
      const Bits expected = dequantized(codes, NC_SCALING_TENSOR, {bitsOf(scale_inv)}, y);
      for (const int32_t level : harness::supportedLevels()) {
        EXPECT_TRUE(same(harness::levelName(level), y, expected,
                         runDequantize(codes, NC_SCALING_TENSOR, {bitsOf(scale_inv)}, y, atLevel(level))))
            << scale_inv;
      }
      if (scale_inv == 1) {
        EXPECT_TRUE(same("nc_convert", y, expected, converted(format, all, y)));
      }
    }
  }
}

// All codes with each of the 256 block scales.
TEST_P(Fp8Format, EveryCodeByEveryBlockScale) {
  Matrix codes{format, 256, 256, {}};
  Bits scales;
  for (uint64_t scale = 0; scale < 256; ++scale) {
    for (uint64_t bits = 0; bits < 256; ++bits) codes.bits.push_back(bits);
    scales.insert(scales.end(), static_cast<size_t>(codes.blocks()), scale);
  }
  for (const int32_t y : kWide) {
    const Bits expected = dequantized(codes, NC_SCALING_BLOCK, scales, y);
    for (const int32_t level : harness::supportedLevels()) {
      EXPECT_TRUE(same(harness::levelName(level), y, expected,
                       runDequantize(codes, NC_SCALING_BLOCK, scales, y, atLevel(level))));
    }
  }
}

TEST_P(Fp8Format, ScalesOfBlocksOfEveryExponent) {
  for (const int32_t dtype : kWide) {
    const Matrix m = blocksOfEveryExponent(dtype);
    const Blocks expected = quantizedByBlocks(m, format);
    for (const int32_t level : harness::supportedLevels()) {
      SCOPED_TRACE(name(dtype) + ", " + harness::levelName(level));
      const Blocks blocks = runQuantizeBlocks(m, format, atLevel(level));
      EXPECT_EQ(expected.codes, blocks.codes);
      EXPECT_TRUE(same("q", format, expected.q, blocks.q));
    }
    // The scale is the smallest: nothing saturated, and half of it would saturate.
    for (int64_t row = 0; row < m.rows; ++row) {
      const auto begin = static_cast<size_t>(row * m.columns);
      const double amax = largestMagnitude(m, begin, begin + NC_SCALE_BLOCK);
      if (std::isinf(amax)) continue;
      const int code = static_cast<int>(expected.codes[static_cast<size_t>(row)]);
      EXPECT_LE(amax / blockScaleInv(code), f.max);
      if (code > 0) {
        EXPECT_GT(amax / blockScaleInv(code - 1), f.max);
      }
    }
  }
}

struct Scales {
  Bits scale, scale_inv;
};
Scales runScale(int32_t format, int32_t margin, int32_t power_of_two, const Bits& amaxes) {
  const Tensor amax = floats(amaxes), scale = floats(amaxes), scale_inv = floats(amaxes), alone = floats(amaxes);
  const auto count = static_cast<int64_t>(amaxes.size());
  const Fp8Plan plan(scaleSpec(format, margin, power_of_two != 0));
  const auto run = [&](int64_t to_scale, int64_t to_scale_inv) {
    const nc_fp8_args args = scaleArgs(count, amax.address(), to_scale, to_scale_inv);
    check(nc_fp8_scale(plan, &args));
  };
  run(scale.address(), scale_inv.address());
  run(alone.address(), 0);
  EXPECT_EQ(scale.contents(), alone.contents());
  run(0, alone.address());
  EXPECT_EQ(scale_inv.contents(), alone.contents());
  EXPECT_EQ(floats(amaxes).contents(), amax.contents());
  for (const Tensor* t : {&amax, &scale, &scale_inv, &alone}) EXPECT_TRUE(t->surroundingsIntact());
  return {scale.contents(), scale_inv.contents()};
}

TEST_P(Fp8Format, Scale) {
  Bits amaxes = edges(format);
  amaxes.erase(std::remove_if(amaxes.begin(), amaxes.end(), [](uint64_t bits) { return bits > 0x80000000u; }),
               amaxes.end());
  std::mt19937_64 random(5);
  for (int i = 0; i < 20000; ++i) amaxes.push_back(random() % 0x7f800000u);
  for (int margin = 0; margin <= NC_MAX_MARGIN; ++margin) {
    for (const int power_of_two : {0, 1}) {
      SCOPED_TRACE("margin " + std::to_string(margin) + ", power of two " + std::to_string(power_of_two));
      Bits scale, scale_inv;
      for (const uint64_t amax : amaxes) {
        const float s = scaleOf(format, floatOf(amax), margin, power_of_two != 0);
        scale.push_back(bitsOf(s));
        // As above: 1 divided by a 24-bit number is no tie, and float64 tells on which side of one it lies.
        scale_inv.push_back(reference::encode(f32(), 1 / static_cast<double>(s)));
      }
      const Scales scales = runScale(format, margin, power_of_two, amaxes);
      ASSERT_TRUE(same("scale", NC_FLOAT32, scale, scales.scale));
      ASSERT_TRUE(same("scale_inv", NC_FLOAT32, scale_inv, scales.scale_inv));
    }
  }
}

// The scale maps the largest magnitude to the largest FP8 value, 2^margin below it, and never beyond.
TEST_P(Fp8Format, ScaleMapsAmaxToTheLargestValue) {
  for (const float amax : {0x1p-110f, 3e-5f, 0.7f, 1.0f, 448.0f, 1e9f, 0x1p120f}) {
    for (const int margin : {0, 1, 7}) {
      const double reached = static_cast<double>(amax) * scaleOf(format, amax, margin, false);
      // Half a unit in the last place of float32.
      EXPECT_NEAR(1, std::ldexp(reached, margin) / f.max, 0x1p-24) << amax;
      const double by_power = static_cast<double>(amax) * scaleOf(format, amax, margin, true);
      EXPECT_LE(std::ldexp(by_power, margin), f.max) << amax;
      EXPECT_GT(std::ldexp(by_power, margin) * 2, f.max) << amax;
    }
  }
  const float nan = std::nanf("");
  for (const float amax : {0.0f, HUGE_VALF, nan}) {
    const Scales scales = runScale(format, 3, 0, {bitsOf(amax)});
    EXPECT_EQ(Bits{bitsOf(1)}, scales.scale) << amax;
    EXPECT_EQ(Bits{bitsOf(1)}, scales.scale_inv) << amax;
  }
}

// Shapes: no rows, one, several; columns around vectors, scale blocks and loop tiles.
class Fp8Matrices : public ::testing::TestWithParam<std::tuple<int32_t, int32_t>> {};

std::string typesName(const ::testing::TestParamInfo<std::tuple<int32_t, int32_t>>& info) {
  return name(std::get<0>(info.param)) + "_" + name(std::get<1>(info.param));
}

INSTANTIATE_TEST_SUITE_P(Types, Fp8Matrices,
                         ::testing::Combine(::testing::ValuesIn(kWide), ::testing::ValuesIn(kNarrow)), typesName);

TEST_P(Fp8Matrices, EveryShapeStrideAlignmentAndLevel) {
  const auto [dtype, format] = GetParam();
  uint64_t seed = 1;
  for (const int64_t rows : {0, 1, 3, 130}) {
    for (const int64_t columns : {0, 1, 7, 31, 32, 33, 64, 229, 4096, 65537}) {
      if (rows * columns > 220000) continue;
      ++seed;
      const Predicted predicted(draw(dtype, rows, columns, seed), format, seed);
      for (const int32_t level : harness::supportedLevels()) {
        for (const auto& [extra, offset, cut] :
             std::vector<std::tuple<int64_t, size_t, int64_t>>{{0, 0, 0}, {5, 1, 0}, {columns, 3, 2}, {64, 2, 1}}) {
          if (rows * columns > 100000 && extra != 5) continue;
          Form form = atLevel(level);
          form.extra_stride = extra;
          form.offset = offset;
          form.row_cut = cut;
          predicted.expectIn(form);
        }
      }
      if (HasFailure()) return;
    }
  }
}

// Every value by itself: special values give the same result at every position of a vector, a block and a row's end.
TEST_P(Fp8Matrices, SpecialValuesAtEveryPosition) {
  const auto [dtype, format] = GetParam();
  const Format& f = reference::format(dtype);
  const uint64_t infinity = (reference::signBit(f) - 1) >> f.fraction_bits << f.fraction_bits;
  for (const uint64_t special : {f.nan, infinity, infinity | reference::signBit(f), uint64_t{1}, infinity - 1,
                                 infinity + 1, reference::signBit(f)}) {
    Matrix m{dtype, 77, 77, {}};
    for (int64_t i = 0; i < m.rows * m.columns; ++i) {
      const uint64_t ordinary = reference::encode(f, std::ldexp(static_cast<double>(i % 13) - 6, -3));
      m.bits.push_back(i / m.columns == i % m.columns ? special : ordinary);
    }
    const Predicted predicted(m, format, 3);
    for (const int32_t level : harness::supportedLevels()) predicted.expectIn(atLevel(level));
  }
}

class Fp8Amax : public ::testing::TestWithParam<int32_t> {
 protected:
  const Format& f = reference::format(GetParam());
  float of(const std::vector<double>& values, float before = 0) const {
    Matrix m{GetParam(), 1, 0, {}};
    for (const double v : values) m.bits.push_back(reference::encode(f, v));
    m.columns = static_cast<int64_t>(m.bits.size());
    float amax = 0;
    for (const int32_t level : harness::supportedLevels()) {
      const float answer = runAmax(m, atLevel(level), before);
      EXPECT_EQ(answer, runQuantize(m, NC_FLOAT8_E4M3, 3.0f, true, atLevel(level)).amax > before ? largestMagnitude(m)
                                                                                                 : before);
      amax = answer;
      EXPECT_FALSE(std::signbit(answer)) << harness::levelName(level);
    }
    return amax;
  }
};

INSTANTIATE_TEST_SUITE_P(Types, Fp8Amax, ::testing::ValuesIn(kWide), formatName);

TEST_P(Fp8Amax, OfSpecialValues) {
  const double nan = std::nan(""), subnormal = std::ldexp(1.0, reference::smallestExponent(f));
  EXPECT_EQ(0, of({}));
  EXPECT_EQ(0, of({0, -0.0, 0}));
  EXPECT_EQ(0, of({nan, -nan, nan}));
  EXPECT_EQ(static_cast<float>(subnormal), of({0, -subnormal, nan}));
  EXPECT_EQ(2, of({1, nan, -2, 0.5}));
  EXPECT_EQ(2, of({nan, 1, -2, nan, 0.5, nan, nan, nan, nan, nan}));
  EXPECT_EQ(static_cast<float>(f.max), of({1, -f.max}));
  EXPECT_EQ(HUGE_VALF, of({1, -HUGE_VAL, nan}));
  EXPECT_EQ(HUGE_VALF, of({nan, HUGE_VAL}));
}

TEST_P(Fp8Amax, NeverDecreases) {
  EXPECT_EQ(5, of({1, -2}, 5));
  EXPECT_EQ(5, of({1, -5}, 5));
  EXPECT_EQ(7, of({1, -7}, 5));
  EXPECT_EQ(HUGE_VALF, of({1}, HUGE_VALF));
  EXPECT_EQ(0x1p-149f, of({0}, 0x1p-149f));
}

// Ranges of rows in several threads that update one maximum.
TEST_P(Fp8Amax, OfRangesInSeveralThreads) {
  constexpr int64_t kRows = 64, kColumns = 37;
  constexpr int kThreads = 4;
  for (uint64_t round = 0; round < 20; ++round) {
    const Matrix m = draw(GetParam(), kRows, kColumns, 100 + round);
    const Form form = atLevel(NC_CPU_BEST);
    const Tensor x = tensorOf(m, form), q = emptyTensor(NC_FLOAT8_E5M2, m, form), scale = floats(0.4f);
    const Tensor amax = floats(0.0f), measured = floats(0.0f);
    const Fp8Plan plan(makeFp8(m.dtype, NC_FLOAT8_E5M2, NC_SCALING_TENSOR));
    nc_fp8_args args = argsOf(m);
    args.x = x.address(), args.x_stride = x.stride();
    args.amax = amax.address();
    const harness::RangedCall largest(nc_fp8_amax_begin, plan, args);
    args.q = q.address(), args.q_stride = q.stride();
    args.scale = scale.address();
    args.amax = measured.address();
    const harness::RangedCall quantize(nc_fp8_quantize_begin, plan, args);
    std::vector<std::thread> threads;
    for (int t = 0; t < kThreads; ++t) {
      threads.emplace_back([&, t] {
        for (int64_t row = t; row < kRows; row += kThreads) {
          largest.run(0, row, row + 1);
          quantize.run(0, row, row + 1);
        }
      });
    }
    for (std::thread& thread : threads) thread.join();
    EXPECT_EQ(Bits{bitsOf(largestMagnitude(m))}, amax.contents());
    EXPECT_EQ(Bits{bitsOf(largestMagnitude(m))}, measured.contents());
    EXPECT_EQ(quantizedByOne(m, NC_FLOAT8_E5M2, 0.4f), q.contents());
  }
}

Matrix finite(Matrix m) {
  const Format& f = reference::format(m.dtype);
  for (uint64_t& bits : m.bits) {
    const double v = reference::decode(f, bits);
    if (!std::isfinite(v) || std::fabs(v) > 0x1p100) bits = 0;
  }
  return m;
}

// q, its values in float32, and q of those again: the same bits, for any scale that maps amax to the format's range.
TEST_P(Fp8Format, RequantisingGivesTheSameBits) {
  for (const int32_t dtype : kWide) {
    for (uint64_t seed = 0; seed < 12; ++seed) {
      const Matrix m = finite(draw(dtype, 5, 229, 300 + seed));
      const int margin = static_cast<int>(seed % 3);
      const float scale = scaleOf(format, largestMagnitude(m), margin, seed % 2 == 1);
      const Form form = atLevel(NC_CPU_BEST);
      const Bits q = runQuantize(m, format, scale, false, form).q;
      const Bits scale_inv = runScale(format, margin, seed % 2 == 1, {bitsOf(largestMagnitude(m))}).scale_inv;
      const Bits y = runDequantize({format, 5, 229, q}, NC_SCALING_TENSOR, scale_inv, NC_FLOAT32, form);
      EXPECT_TRUE(same("q", format, q, runQuantize({NC_FLOAT32, 5, 229, y}, format, scale, false, form).q)) << seed;
    }
  }
}

// With block scales the second scale may be smaller, if rounding has lowered the largest magnitude: the values are the
// same.
TEST_P(Fp8Format, RequantisingBlocksGivesTheSameValues) {
  for (const int32_t dtype : kWide) {
    for (uint64_t seed = 0; seed < 12; ++seed) {
      const Matrix m = finite(draw(dtype, 5, 229, 400 + seed));
      const Form form = atLevel(NC_CPU_BEST);
      const Blocks once = runQuantizeBlocks(m, format, form);
      const Bits y = runDequantize({format, 5, 229, once.q}, NC_SCALING_BLOCK, once.codes, NC_FLOAT32, form);
      const Blocks twice = runQuantizeBlocks({NC_FLOAT32, 5, 229, y}, format, form);
      EXPECT_TRUE(same("y", NC_FLOAT32, y,
                       runDequantize({format, 5, 229, twice.q}, NC_SCALING_BLOCK, twice.codes, NC_FLOAT32, form)))
          << seed;
    }
  }
}

// Rows more than 2^31 bytes apart, in memory in which only the rows' pages are used.
TEST(Fp8FarRows, BeyondTwoToThe31) {
  constexpr int64_t kRows = 2, kColumns = 229, kStride = (int64_t{1} << 32) + 8;
  int64_t x = 0, q = 0;
  if (nc_allocate(((kRows - 1) * kStride + kColumns) * 2, &x) != NC_OK ||
      nc_allocate((kRows - 1) * kStride + kColumns, &q) != NC_OK) {
    nc_free(x);
    GTEST_SKIP() << "13 GB of address space were not to be had";
  }
  const Matrix m = draw(NC_BFLOAT16, kRows, kColumns, 9);
  const auto elementOf = [&](int64_t base, int64_t row, int64_t column, int64_t width) {
    return reinterpret_cast<char*>(base + (row * kStride + column) * width);
  };
  for (int64_t i = 0; i < kRows * kColumns; ++i) {
    const auto code = static_cast<uint16_t>(m.bits[static_cast<size_t>(i)]);
    std::memcpy(elementOf(x, i / kColumns, i % kColumns, 2), &code, 2);
  }
  const Tensor scale = floats(0.3f), amax = floats(0.0f);
  std::vector<uint8_t> codes(static_cast<size_t>(kRows * m.blocks()));
  const auto contents = [&] {
    Bits bits;
    for (int64_t i = 0; i < kRows * kColumns; ++i) {
      bits.push_back(static_cast<uint8_t>(*elementOf(q, i / kColumns, i % kColumns, 1)));
    }
    return bits;
  };
  for (const int32_t level : harness::supportedLevels()) {
    const Form form = atLevel(level);
    nc_fp8_args args = argsOf(m);
    args.x = x, args.x_stride = kStride;
    args.q = q, args.q_stride = kStride;
    args.scale = scale.address();
    args.amax = amax.address();
    const Fp8Plan by_tensor(specOf(NC_BFLOAT16, NC_FLOAT8_E4M3, NC_SCALING_TENSOR, form));
    check(nc_fp8_quantize(by_tensor, &args));
    EXPECT_EQ(quantizedByOne(m, NC_FLOAT8_E4M3, 0.3f), contents());
    EXPECT_EQ(Bits{bitsOf(largestMagnitude(m))}, amax.contents());
    args.scale = args.amax = 0;
    args.scale_inv = reinterpret_cast<int64_t>(codes.data());
    const Fp8Plan by_block(specOf(NC_BFLOAT16, NC_FLOAT8_E5M2, NC_SCALING_BLOCK, form));
    check(nc_fp8_quantize(by_block, &args));
    const Blocks expected = quantizedByBlocks(m, NC_FLOAT8_E5M2);
    EXPECT_EQ(expected.q, contents());
    EXPECT_EQ(expected.codes, Bits(codes.begin(), codes.end()));
  }
  nc_free(x);
  nc_free(q);
}

}  // namespace
