// Rotary position embedding on the CPU, bit for bit against its own model, at every vector level: formats, layouts,
// roundings, directions, sizes, and the forms that must not change a bit. Then the properties of a rotation: its
// backward is its inverse and its adjoint.

#include <gtest/gtest.h>
#include <sys/mman.h>

#include "support/rotary_harness.h"

namespace {

using namespace harness;

class RotaryTypes : public ::testing::TestWithParam<int32_t> {};

INSTANTIATE_TEST_SUITE_P(X, RotaryTypes, ::testing::ValuesIn(rotaryDtypes()),
                         [](const auto& info) { return std::string(reference::format(info.param).name); });

::testing::AssertionResult atEveryLevel(const RotaryCase& c, const RotaryData& d, RotaryForm form) {
  const Bits expected = predictRotary(c, d);
  for (const int32_t level : supportedLevels()) {
    form.level = level;
    const auto same = sameBits(c, expected, runRotary(c, d, form));
    if (!same) return ::testing::AssertionFailure() << levelName(level) << ": " << same.message();
  }
  return ::testing::AssertionSuccess();
}

// Cycles through the forms: every combination runs in some of them.
RotaryForm formOf(uint64_t turn) {
  RotaryForm form;
  form.heads_first = turn % 2 == 1;
  form.padding = turn % 3 == 0 ? 0 : static_cast<int64_t>(turn % 7);
  form.offset = turn % 5 == 4 ? 1 + turn % 16 : 0;
  form.in_place = turn % 7 >= 5;
  form.cut = static_cast<int64_t>(turn % 4);
  return form;
}

TEST_P(RotaryTypes, EveryCombination) {
  forEveryRotary(GetParam(), [&](const RotaryCase& c, uint64_t turn) {
    EXPECT_TRUE(atEveryLevel(c, drawRotary(c, turn), formOf(turn / 5))) << "turn " << turn;
  });
}

TEST_P(RotaryTypes, SpecialValues) {
  forEveryRotary(GetParam(), [&](RotaryCase c, uint64_t turn) {
    c.seq += 3;
    c.table_batch_rows = 0;
    RotaryData d = drawRotary(c, turn);
    strewSpecial(c, turn, d);
    EXPECT_TRUE(atEveryLevel(c, d, formOf(turn / 3))) << "turn " << turn;
  });
}

TEST_P(RotaryTypes, Forms) {
  for (const int32_t layout : {NC_ROTARY_HALF_SPLIT, NC_ROTARY_INTERLEAVED}) {
    for (const auto& [head_dim, rotary_dim] : std::vector<std::pair<int32_t, int32_t>>{{64, 64}, {229, 58}}) {
      RotaryCase c = makeRotary(GetParam(), NC_FLOAT32, layout, NC_ROTARY_ROUND_INPUT, head_dim, rotary_dim);
      c.seq = 5;
      for (const int64_t table_batch_rows : {0, 5, 9}) {
        c.table_batch_rows = table_batch_rows;
        const RotaryData d = drawRotary(c, 1), all_alike = broadcast(c, d);
        const Bits expected = predictRotary(c, d), expected_alike = predictRotary(c, all_alike);
        RotaryForm form;
        for (const size_t offset : {0u, 1u, 2u, 4u, 8u, 16u, 31u}) {
          for (const int64_t padding : {0, 1, 8}) {
            for (const bool heads_first : {false, true}) {
              form.offset = offset;
              form.padding = padding;
              form.heads_first = heads_first;
              form.in_place = false;
              form.broadcast = true;
              EXPECT_TRUE(sameBits(c, expected_alike, runRotary(c, d, form)));
              form.broadcast = false;
              EXPECT_TRUE(sameBits(c, expected, runRotary(c, d, form)));
              form.in_place = true;
              EXPECT_TRUE(sameBits(c, expected, runRotary(c, d, form)));
            }
          }
        }
      }
    }
  }
}

// A call writes only its own tokens, for any cut of the range.
TEST_P(RotaryTypes, TokenRanges) {
  RotaryCase c = makeRotary(GetParam(), GetParam(), NC_ROTARY_HALF_SPLIT, NC_ROTARY_ROUND_COMPUTE, 18, 16);
  c.batch = 3;
  c.seq = 41;
  c.heads = 2;
  c.table_batch_rows = c.seq;
  const RotaryData d = drawRotary(c, 2);
  const Bits expected = predictRotary(c, d);
  for (const bool heads_first : {false, true}) {
    RotaryForm form;
    form.heads_first = heads_first;
    for (const int64_t cut : {0, 1, 2, 7, 16, 17, 40, 41, 42, 100}) {
      form.cut = cut;
      EXPECT_TRUE(sameBits(c, expected, runRotary(c, d, form))) << "cut " << cut;
    }
  }
  const RotaryPlan plan(c.spec);
  const HeadStrides strides(c, {});
  const int64_t span = strides.span(c);
  for (int64_t begin = 0; begin <= c.tokens(); begin += 6) {
    for (int64_t end = begin; end <= c.tokens(); end += 9) {
      Tensor x(c.spec.x_dtype, 1, span, span, 0), y(c.spec.x_dtype, 1, span, span, 0),
          cos(c.spec.table_dtype, 1, c.tableRows() * c.half(), c.tableRows() * c.half(), 0), sin = cos;
      x.fill(d.x);
      cos.fill(d.cos);
      sin.fill(d.sin);
      const Tensor before = y;
      RangedCall(nc_rotary_begin, plan, argsOf(c, strides, {x.address(), y.address(), cos.address(), sin.address()}))
          .run(0, begin, end);
      const int64_t token = c.heads * c.spec.head_dim;
      for (int64_t i = 0; i < span; ++i) {
        const bool in_range = begin * token <= i && i < end * token;
        ASSERT_EQ(in_range ? expected[static_cast<size_t>(i)] : before.bits(0, i), y.bits(0, i)) << begin << " " << end;
      }
    }
  }
}

// Heads so large that their angles are processed in pieces, and the largest supported.
TEST_P(RotaryTypes, LargeHeads) {
  for (const int32_t layout : {NC_ROTARY_HALF_SPLIT, NC_ROTARY_INTERLEAVED}) {
    for (const auto& [head_dim, rotary_dim] : std::vector<std::pair<int32_t, int32_t>>{
             {8192, 8192}, {8194, 8194}, {8210, 8206}, {20001, 19998}, {NC_MAX_HEAD_DIM, NC_MAX_HEAD_DIM}}) {
      RotaryCase c = makeRotary(GetParam(), NC_BFLOAT16, layout, NC_ROTARY_ROUND_INPUT, head_dim, rotary_dim);
      c.batch = 1;
      c.seq = c.heads = 2;
      EXPECT_TRUE(atEveryLevel(c, drawRotary(c, 3), {}));
    }
  }
}

TEST_P(RotaryTypes, ManyTokens) {
  for (const int32_t head_dim : {4, 128}) {
    for (const bool heads_first : {false, true}) {
      RotaryCase c =
          makeRotary(GetParam(), NC_FLOAT16, NC_ROTARY_HALF_SPLIT, NC_ROTARY_ROUND_COMPUTE, head_dim, head_dim);
      c.seq = 147;
      c.table_batch_rows = 150;
      RotaryForm form;
      form.heads_first = heads_first;
      EXPECT_TRUE(atEveryLevel(c, drawRotary(c, 4), form));
    }
  }
}

TEST_P(RotaryTypes, EmptyTensors) {
  for (const auto& [batch, seq, heads] :
       std::vector<std::array<int64_t, 3>>{{0, 3, 3}, {2, 0, 3}, {2, 3, 0}, {0, 0, 0}}) {
    RotaryCase c = makeRotary(GetParam(), GetParam(), NC_ROTARY_HALF_SPLIT, NC_ROTARY_ROUND_COMPUTE, 16, 16);
    c.batch = batch;
    c.seq = seq;
    c.heads = heads;
    const RotaryPlan plan(c.spec);
    const nc_rotary_args args = argsOf(c);
    EXPECT_EQ(NC_OK, nc_rotary_apply(plan, &args)) << nc_last_error();
  }
}

// Half a unit in the last place of 1.
double roundoff(int32_t dtype) { return std::ldexp(0.5, -reference::format(dtype).fraction_bits); }

std::vector<double> valuesOf(const RotaryCase& c, const Bits& bits) {
  std::vector<double> all;
  for (const uint64_t b : bits) all.push_back(reference::decode(c.x(), b));
  return all;
}

// The partner of element i in its pair.
int64_t partner(const RotaryCase& c, int64_t i) {
  if (c.spec.layout == NC_ROTARY_INTERLEAVED) return i ^ 1;
  return i < c.half() ? i + c.half() : i - c.half();
}

// The length of each element's pair.
std::vector<double> lengths(const RotaryCase& c, const std::vector<double>& v) {
  std::vector<double> all(v.size());
  for (size_t i = 0; i < v.size(); ++i) {
    const auto dim = static_cast<size_t>(c.spec.head_dim);
    const auto of_head = static_cast<int64_t>(i % dim);
    if (of_head >= c.spec.rotary_dim) continue;
    all[i] = std::hypot(v[i], v[i / dim * dim + static_cast<size_t>(partner(c, of_head))]);
  }
  return all;
}

// With u, t the roundoffs of x's and the table's type and n the length of a pair: a call rounds two products, together
// at most sqrt(2) n, and their sum: an error of at most (sqrt(2) + 1) u n per element and sqrt(2) times that per pair,
// which the second call rotates and adds its own to. The table's angles have length 1 up to t. The margins of 6 over
// 5.9 and of 3 over 2 cover second-order terms.
TEST_P(RotaryTypes, BackwardInvertsForward) {
  for (const int32_t table : rotaryDtypes()) {
    for (const int32_t layout : {NC_ROTARY_HALF_SPLIT, NC_ROTARY_INTERLEAVED}) {
      for (const int32_t rounding : {NC_ROTARY_ROUND_COMPUTE, NC_ROTARY_ROUND_INPUT}) {
        RotaryCase c = makeRotary(GetParam(), table, layout, rounding, 96, 80);
        RotaryData d = drawRotary(c, 5);
        const Bits x = d.x;
        d.x = runRotary(c, d);
        c.backward = 1;
        const std::vector<double> before = valuesOf(c, x), after = valuesOf(c, runRotary(c, d)),
                                  length = lengths(c, before);
        for (size_t i = 0; i < x.size(); ++i) {
          const double tolerance = (6 * roundoff(GetParam()) + 3 * roundoff(table)) * length[i];
          ASSERT_NEAR(before[i], after[i], tolerance) << c.describe() << " element " << i;
        }
      }
    }
  }
}

// <dy, R x> = <R^T dy, x>: the gradient of the sum of dy * y, which is linear in x. True for any table; each side has
// an error of at most sqrt(2) (sqrt(2) + 1) u times the lengths of the pairs of x and dy, and that of the angles.
TEST_P(RotaryTypes, BackwardIsTheAdjoint) {
  for (const int32_t layout : {NC_ROTARY_HALF_SPLIT, NC_ROTARY_INTERLEAVED}) {
    for (const int32_t rounding : {NC_ROTARY_ROUND_COMPUTE, NC_ROTARY_ROUND_INPUT}) {
      RotaryCase c = makeRotary(GetParam(), NC_BFLOAT16, layout, rounding, 80, 32);
      const RotaryData d = drawRotary(c, 6);
      RotaryData of_dy = d;
      of_dy.x = drawRotary(c, 7).x;
      const std::vector<double> x = valuesOf(c, d.x), dy = valuesOf(c, of_dy.x), y = valuesOf(c, runRotary(c, d));
      c.backward = 1;
      const std::vector<double> dx = valuesOf(c, runRotary(c, of_dy));
      const std::vector<double> x_lengths = lengths(c, x), dy_lengths = lengths(c, dy);
      double left = 0, right = 0, pairs = 0, difference = 0;
      for (size_t i = 0; i < x.size(); ++i) {
        left += dy[i] * y[i];
        right += dx[i] * x[i];
        pairs += x_lengths[i] * dy_lengths[i] / 2;  // each pair is counted twice
        difference += std::fabs(x[i] - y[i]);
      }
      EXPECT_NEAR(left, right, 2 * 3.5 * roundoff(GetParam()) * pairs) << c.describe();
      EXPECT_GT(difference, 0.1 * static_cast<double>(x.size())) << "nothing has turned";
    }
  }
}

// Tokens 2^31 elements and more apart, in memory in which only the used pages exist.
TEST_P(RotaryTypes, OffsetsBeyond31Bits) {
  RotaryCase c = makeRotary(GetParam(), NC_FLOAT32, NC_ROTARY_HALF_SPLIT, NC_ROTARY_ROUND_COMPUTE, 24, 16);
  c.batch = 1;
  const RotaryData d = drawRotary(c, 8);
  const Bits expected = predictRotary(c, d);
  const int64_t stride = (int64_t{1} << 31) + 8, bytes = c.x().bytes;
  const auto size = static_cast<size_t>((3 * stride) * bytes);
  void* memory = mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  ASSERT_NE(MAP_FAILED, memory);
  const auto at = [&](int64_t s, int64_t h, int64_t i) {
    return static_cast<uint8_t*>(memory) + (s * stride + h * 24 + i) * bytes;
  };
  const auto each = [&](auto f) {
    for (int64_t s = 0; s < 3; ++s) {
      for (int64_t h = 0; h < 3; ++h) {
        for (int64_t i = 0; i < 24; ++i) f(c.at(0, s, h, i), at(s, h, i));
      }
    }
  };
  each([&](size_t i, uint8_t* p) { reference::storeBits(c.x(), p, d.x[i]); });
  Tensor cos(NC_FLOAT32, 1, 24, 24, 0), sin = cos;
  cos.fill(d.cos);
  sin.fill(d.sin);
  const RotaryPlan plan(c.spec);
  const auto address = reinterpret_cast<int64_t>(memory);
  HeadStrides strides(c, {});
  strides.seq = stride;
  const nc_rotary_args args = argsOf(c, strides, {address, address, cos.address(), sin.address()});
  check(nc_rotary_apply(plan, &args));
  Bits result(expected.size());
  each([&](size_t i, uint8_t* p) { result[i] = reference::loadBits(c.x(), p); });
  munmap(memory, size);
  EXPECT_TRUE(sameBits(c, expected, result));
}

}  // namespace
