// nc_convert against the tests' own number formats: every pattern of the small formats, every tie and its neighbours,
// the edges of every range, double-rounding cases, and wide sweeps of the large formats.

#include "support/numbers.h"

#include <gtest/gtest.h>

#include <random>
#include <string>
#include <vector>

namespace {

using reference::Format;
using reference::kFormats;

std::vector<uint64_t> convert(const Format& from, const Format& to, const std::vector<uint64_t>& patterns) {
  std::vector<uint8_t> source(patterns.size() * static_cast<size_t>(from.bytes));
  std::vector<uint8_t> target(patterns.size() * static_cast<size_t>(to.bytes));
  for (size_t i = 0; i < patterns.size(); ++i) {
    reference::storeBits(from, &source[i * static_cast<size_t>(from.bytes)], patterns[i]);
  }
  EXPECT_EQ(NC_OK, nc_convert(reinterpret_cast<int64_t>(source.data()), from.code,
                              reinterpret_cast<int64_t>(target.data()), to.code, static_cast<int64_t>(patterns.size())))
      << nc_last_error();
  std::vector<uint64_t> result(patterns.size());
  for (size_t i = 0; i < patterns.size(); ++i) {
    result[i] = reference::loadBits(to, &target[i * static_cast<size_t>(to.bytes)]);
  }
  return result;
}

void expectConverted(const Format& from, const Format& to, const std::vector<uint64_t>& patterns) {
  const std::vector<uint64_t> result = convert(from, to, patterns);
  size_t wrong = 0;
  for (size_t i = 0; i < patterns.size(); ++i) {
    const uint64_t expected = reference::encode(to, reference::decode(from, patterns[i]));
    if (result[i] != expected && ++wrong <= 5) {
      ADD_FAILURE() << from.name << " " << std::hex << patterns[i] << " (" << reference::decode(from, patterns[i])
                    << ") to " << to.name << ": expected " << expected << ", got " << result[i];
    }
  }
  EXPECT_EQ(0u, wrong) << from.name << " to " << to.name;
}

std::vector<uint64_t> everyPattern(const Format& f) {
  std::vector<uint64_t> all;
  for (uint64_t bits = 0; bits < uint64_t{1} << (8 * f.bytes); ++bits) all.push_back(bits);
  return all;
}

std::vector<uint64_t> patternsOf(const Format& f, const std::vector<double>& values) {
  std::vector<uint64_t> bits;
  for (const double v : values) bits.push_back(reference::encode(f, v));
  return bits;
}

const Format& f64 = kFormats[NC_FLOAT64];
const Format& f32 = kFormats[NC_FLOAT32];

class SmallFormat : public ::testing::TestWithParam<int32_t> {
 protected:
  const Format& f = reference::format(GetParam());

  // The format's magnitudes in order, then the first one beyond its range.
  std::vector<double> magnitudes() const {
    std::vector<double> all;
    for (uint64_t bits = 0; bits < reference::signBit(f); ++bits) {
      const double v = reference::decode(f, bits);
      if (std::isfinite(v)) all.push_back(v);
    }
    all.push_back(2 * all.back() - all[all.size() - 2]);
    return all;
  }
};

std::string formatName(const ::testing::TestParamInfo<int32_t>& info) { return reference::format(info.param).name; }

INSTANTIATE_TEST_SUITE_P(Formats, SmallFormat,
                         ::testing::Values(NC_BFLOAT16, NC_FLOAT16, NC_FLOAT8_E4M3, NC_FLOAT8_E5M2), formatName);

TEST_P(SmallFormat, EveryPatternToEveryFormat) {
  for (const Format& to : kFormats) expectConverted(f, to, everyPattern(f));
}

TEST_P(SmallFormat, EveryNumberRoundTrips) {
  for (const Format* wide : {&f64, &f32}) {
    const std::vector<uint64_t> all = everyPattern(f), back = convert(*wide, f, convert(f, *wide, all));
    for (size_t i = 0; i < all.size(); ++i) {
      const double v = reference::decode(f, all[i]);
      const uint64_t expected = std::isfinite(v) ? all[i]
                                : std::isnan(v)  ? f.nan
                                : !f.saturates   ? all[i]
                                                 : reference::encode(f, std::copysign(f.max, v));
      ASSERT_EQ(expected, back[i]) << f.name << " " << std::hex << all[i] << " through " << wide->name;
    }
  }
}

TEST_P(SmallFormat, EveryTieAndItsNeighbours) {
  const std::vector<double> all = magnitudes();
  std::vector<uint64_t> singles, doubles;
  for (size_t i = 0; i + 1 < all.size(); ++i) {
    const double tie = (all[i] + all[i + 1]) / 2;
    const float single = static_cast<float>(tie);
    for (const double sign : {1.0, -1.0}) {
      for (const double v : {std::nextafter(tie, 0.0), tie, std::nextafter(tie, HUGE_VAL)}) {
        doubles.push_back(reference::encode(f64, sign * v));
      }
      // All ties are float32 numbers, except the last of bfloat16's range and its subnormal ones.
      for (const float v : {std::nextafter(single, 0.0f), single, std::nextafter(single, HUGE_VALF)}) {
        singles.push_back(reference::encode(f32, sign * static_cast<double>(v)));
      }
    }
  }
  expectConverted(f32, f, singles);
  expectConverted(f64, f, doubles);
}

// A value next to a tie, which float32 would round onto the tie: wrong from float64 if rounded twice.
TEST_P(SmallFormat, DoubleRoundingTraps) {
  const std::vector<double> all = magnitudes();
  std::vector<uint64_t> traps;
  size_t caught = 0;
  for (size_t i = 0; i + 1 < all.size(); ++i) {
    const double tie = (all[i] + all[i + 1]) / 2;
    for (const double v : {tie * (1 - 0x1p-40), tie * (1 + 0x1p-40), tie * (1 - 0x1p-30), tie * (1 + 0x1p-30)}) {
      traps.push_back(reference::encode(f64, v));
      traps.push_back(reference::encode(f64, -v));
      caught += reference::encode(f, v) != reference::encode(f, reference::round(f32, v));
    }
  }
  EXPECT_GT(caught, all.size() / 2) << "these values set no trap";
  expectConverted(f64, f, traps);
}

// Every 4099th pattern of float32: a prime step, so that all low bits occur at all exponents.
TEST_P(SmallFormat, SweepOfFloat32) {
  std::vector<uint64_t> patterns;
  for (uint64_t bits = 0; bits <= 0xFFFFFFFFu; bits += 4099) patterns.push_back(bits);
  expectConverted(f32, f, patterns);
}

class EveryFormat : public ::testing::TestWithParam<int32_t> {
 protected:
  const Format& f = reference::format(GetParam());
};

INSTANTIATE_TEST_SUITE_P(Formats, EveryFormat,
                         ::testing::Values(NC_FLOAT64, NC_FLOAT32, NC_BFLOAT16, NC_FLOAT16, NC_FLOAT8_E4M3,
                                           NC_FLOAT8_E5M2),
                         formatName);

TEST_P(EveryFormat, RandomPatternsOfFloat64AndFloat32) {
  const uint64_t seed = 20240611;
  SCOPED_TRACE("seed " + std::to_string(seed));
  std::mt19937_64 random(seed);
  std::vector<uint64_t> doubles, singles;
  for (int i = 0; i < 100000; ++i) {
    doubles.push_back(random());
    singles.push_back(random() & 0xFFFFFFFFu);
    // Most float64 patterns are out of every other format's range; these are within it.
    std::uniform_real_distribution<double> exponent(-160, 130);
    doubles.push_back(reference::encode(
        f64, std::ldexp(1 + static_cast<double>(random() >> 11) * 0x1p-53, static_cast<int>(exponent(random)))));
  }
  expectConverted(f64, f, doubles);
  expectConverted(f32, f, singles);
}

TEST_P(EveryFormat, Specials) {
  const double inf = HUGE_VAL, tiny = std::numeric_limits<double>::denorm_min();
  std::vector<uint64_t> bits = patternsOf(f64, {0.0,
                                                -0.0,
                                                inf,
                                                -inf,
                                                tiny,
                                                -tiny,
                                                0x1p-149,
                                                0x1p-150,
                                                0x1.000001p-150,
                                                0x1p-126,
                                                0x1p-133,
                                                0x1p-134,
                                                0x1.8p-134,
                                                65504,
                                                65519.99,
                                                65520,
                                                -65519.99,
                                                -65520,
                                                0x1.FFFFFEp127,
                                                0x1.FFFFFEFFFFFFFp127,
                                                0x1.FFFFFFp127,
                                                0x1.FEFFFFFFFFFFFp127,
                                                0x1.FFp127,
                                                448,
                                                463.99,
                                                464,
                                                480,
                                                1e6,
                                                57344,
                                                61439.99,
                                                61440,
                                                1e300});
  // Quiet and signalling NaNs of both signs.
  for (const uint64_t nan : {0x7FF8000000000000u, 0xFFF8000000000000u, 0x7FF0000000000001u, 0xFFF0000000000001u,
                             0x7FFFFFFFFFFFFFFFu, 0x7FF8000000000001u}) {
    bits.push_back(nan);
  }
  expectConverted(f64, f, bits);
  std::vector<uint64_t> singles =
      patternsOf(f32, {0.0, -0.0, inf, -inf, 65504, 65519.996, 65520, -65520, 448, 464, 480});
  for (const uint64_t nan : {0x7FC00000u, 0xFFC00000u, 0x7F800001u, 0xFF800001u, 0x7FFFFFFFu}) singles.push_back(nan);
  expectConverted(f32, f, singles);
}

TEST_P(EveryFormat, AnyAlignmentAndCount) {
  std::mt19937_64 random(7);
  for (const Format& to : kFormats) {
    for (const int count : {0, 1, 7, 8, 9, 31, 100}) {
      for (const size_t offset : {0u, 1u, 3u}) {
        std::vector<uint8_t> source(static_cast<size_t>(count * f.bytes) + offset);
        for (uint8_t& byte : source) byte = static_cast<uint8_t>(random());
        std::vector<uint8_t> target(static_cast<size_t>(count * to.bytes) + offset + 8, 0xA5);
        ASSERT_EQ(NC_OK, nc_convert(reinterpret_cast<int64_t>(source.data() + offset), f.code,
                                    reinterpret_cast<int64_t>(target.data() + offset), to.code, count));
        for (int i = 0; i < count; ++i) {
          ASSERT_EQ(
              reference::encode(to, reference::load(f, source.data() + offset + static_cast<size_t>(i * f.bytes))),
              reference::loadBits(to, target.data() + offset + static_cast<size_t>(i * to.bytes)))
              << f.name << " to " << to.name << ", element " << i << " of " << count;
        }
        for (size_t i = 0; i < offset; ++i) ASSERT_EQ(0xA5, target[i]);
        for (size_t i = target.size() - 8; i < target.size(); ++i) ASSERT_EQ(0xA5, target[i]);
      }
    }
  }
}

TEST_P(EveryFormat, InPlaceForEqualSizes) {
  std::mt19937_64 random(8);
  for (const Format& to : kFormats) {
    if (to.bytes != f.bytes) continue;
    std::vector<uint8_t> buffer(static_cast<size_t>(57 * f.bytes));
    for (uint8_t& byte : buffer) byte = static_cast<uint8_t>(random());
    const std::vector<uint8_t> before = buffer;
    const auto address = reinterpret_cast<int64_t>(buffer.data());
    ASSERT_EQ(NC_OK, nc_convert(address, f.code, address, to.code, 57));
    for (size_t i = 0; i < 57; ++i) {
      const size_t at = i * static_cast<size_t>(f.bytes);
      ASSERT_EQ(reference::encode(to, reference::load(f, &before[at])), reference::loadBits(to, &buffer[at]));
    }
  }
}

// The tests' own rounding, against a search for the nearest number and against the compiler's float.
TEST(Reference, RoundsToTheNearestNumber) {
  std::mt19937_64 random(11);
  for (const int32_t code : {NC_BFLOAT16, NC_FLOAT16, NC_FLOAT8_E4M3, NC_FLOAT8_E5M2}) {
    const Format& f = reference::format(code);
    std::vector<double> numbers;
    for (uint64_t bits = 0; bits < reference::signBit(f); ++bits) {
      const double v = reference::decode(f, bits);
      if (std::isfinite(v)) numbers.push_back(v);
    }
    ASSERT_TRUE(std::is_sorted(numbers.begin(), numbers.end()));
    for (int i = 0; i < 20000; ++i) {
      const size_t at = random() % (numbers.size() - 1);
      const double low = numbers[at], high = numbers[at + 1];
      const double v = low + (high - low) * static_cast<double>(random() % 65) / 64;  // every 64th is a tie
      const double below = v - low, above = high - v;
      const double expected = below < above || (below == above && at % 2 == 0) ? low : high;
      ASSERT_EQ(expected, reference::round(f, v)) << f.name << " " << v;
      ASSERT_EQ(expected == low ? at : at + 1, reference::encode(f, v)) << f.name << " " << v;
    }
  }
  for (int i = 0; i < 200000; ++i) {
    double v = reference::decode(f64, random());
    if (i % 2 == 0)
      v = std::ldexp(1 + static_cast<double>(random() >> 12) * 0x1p-52, static_cast<int>(random() % 290) - 160);
    if (std::isnan(v)) continue;
    ASSERT_EQ(static_cast<double>(static_cast<float>(v)), reference::round(f32, v)) << v;
    const float single = static_cast<float>(v);
    uint32_t bits;
    std::memcpy(&bits, &single, 4);
    ASSERT_EQ(bits, reference::encode(f32, v));
    ASSERT_EQ(static_cast<double>(single), reference::decode(f32, bits));
    uint64_t wide;
    std::memcpy(&wide, &v, 8);
    ASSERT_EQ(wide, reference::encode(f64, v));
    ASSERT_EQ(v, reference::decode(f64, wide));
  }
}

}  // namespace
