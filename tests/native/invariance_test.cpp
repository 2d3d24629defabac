// None of these may change a bit: vector level, ranges of rows, groups and columns, the other rows, alignment, strides,
// in place or not, saved statistics or not, and repeated runs.

#include <gtest/gtest.h>

#include <algorithm>
#include <thread>

#include "support/harness.h"

namespace {

using namespace harness;

// Some of every kind, each with all options.
std::vector<Case> cases(int64_t rows, int64_t n) {
  std::vector<Case> all;
  for (const int32_t op : {NC_RMS_NORM, NC_LAYER_NORM}) {
    for (const auto& [x, w, y, rounding, compute] :
         std::vector<std::array<int32_t, 5>>{{NC_BFLOAT16, NC_BFLOAT16, NC_BFLOAT16, NC_ROUND_INPUT, 0},
                                             {NC_BFLOAT16, NC_FLOAT32, NC_BFLOAT16, NC_ROUND_COMPUTE, 0},
                                             {NC_FLOAT16, NC_FLOAT16, NC_FLOAT16, NC_ROUND_WEIGHT, 0},
                                             {NC_FLOAT32, NC_FLOAT32, NC_FLOAT32, NC_ROUND_COMPUTE, 0},
                                             {NC_FLOAT64, NC_FLOAT32, NC_FLOAT64, NC_ROUND_INPUT, 1}}) {
      Case c;
      c.spec = makeSpec(op, x, w, y, n);
      c.spec.affine = NC_AFFINE_WEIGHT_AND_BIAS;
      c.spec.scale_rounding = rounding;
      c.spec.compute = compute;
      c.spec.variance = op == NC_LAYER_NORM && x == NC_FLOAT32 ? NC_VARIANCE_WELFORD : NC_VARIANCE_TWO_PASS;
      c.residual = c.dresidual = true;
      c.spec.residual_rounding = x == NC_FLOAT16 ? NC_RESIDUAL_COMPUTE : NC_RESIDUAL_INPUT;
      c.rows = rows;
      c.dweight_dtype = c.dbias_dtype = w;
      all.push_back(c);
      c.residual = c.dresidual = false;
      c.dweight_dtype = c.dbias_dtype = NC_FLOAT32;
      c.dweight_mode = c.dbias_mode = NC_GRADIENT_ACCUMULATE;
      all.push_back(c);
    }
  }
  return all;
}

template <class Change>
void expectUnchanged(const Case& c, uint64_t seed, Change change) {
  SCOPED_TRACE("seed " + std::to_string(seed));
  const Data data = draw(c, seed);
  const Result expected = run(c, data);
  change([&](const Form& form) { return same(c, expected, run(c, data, form)); });
}

TEST(Invariance, VectorLevel) {
  for (const int32_t level : {NC_CPU_PLAIN, NC_CPU_AVX2, NC_CPU_AVX512, NC_CPU_NEON}) {
    int32_t supported = 0;
    ASSERT_EQ(NC_OK, nc_cpu_level_supported(level, &supported));
    if (supported == 0) std::cout << "[  NOTE    ] " << levelName(level) << " can't run on this machine\n";
  }
  for (const int64_t n : {31, 769, 4096, 20000}) {
    for (const Case& c : cases(n >= 4096 ? 2 : 37, n)) {
      expectUnchanged(c, 1, [](const auto& with) {
        for (const int32_t level : supportedLevels()) {
          Form form;
          form.level = level;
          EXPECT_TRUE(with(form)) << levelName(level);
        }
      });
    }
  }
}

// Reports for each level whether the tests of this file covered it.
#define LEVEL_TEST(Name, level)                                                                                    \
  TEST(Level, Name) {                                                                                              \
    int32_t supported = 0;                                                                                         \
    ASSERT_EQ(NC_OK, nc_cpu_level_supported(level, &supported));                                                   \
    if (supported == 0) GTEST_SKIP() << #Name " is not of this machine (or build): its kernels were not run here"; \
    const auto levels = supportedLevels();                                                                         \
    EXPECT_EQ(1, std::count(levels.begin(), levels.end(), level));                                                 \
  }
LEVEL_TEST(Avx2, NC_CPU_AVX2)
LEVEL_TEST(Avx512, NC_CPU_AVX512)
LEVEL_TEST(Neon, NC_CPU_NEON)
#undef LEVEL_TEST

TEST(Invariance, RangesOfRowsGroupsAndColumns) {
  for (const Case& c : cases(70, 229)) {
    expectUnchanged(c, 2, [](const auto& with) {
      for (const int64_t cut : {1, 2, 3, 7, 8, 9, 36, 64, 1000}) {
        Form form;
        form.row_cut = form.group_cut = form.column_cut = cut;
        EXPECT_TRUE(with(form)) << "in ranges of " << cut;
      }
    });
  }
}

// Every shape of the tree over row groups, for any split of its leaves among calls.
TEST(Invariance, TreesOfGroups) {
  for (const int64_t n : {16, 136}) {
    for (const size_t kind : {0u, 7u, 11u, 17u}) {
      for (const int64_t groups : {1, 2, 3, 5, 6, 7, 8, 13, 31, 33, 100, 256}) {
        Case c = cases(groups * 32 - 5, n)[kind];
        c.residual = c.dresidual = false;
        expectUnchanged(c, 5, [&](const auto& with) {
          for (const int64_t cut : {1, 2, 3, 5, 8, 21, 64, 100, 255}) {
            if (cut > groups && cut > 1) continue;
            Form form;
            form.group_cut = cut;
            form.column_cut = cut;
            EXPECT_TRUE(with(form)) << groups << " groups in ranges of " << cut << ", n " << n;
          }
        });
      }
    }
  }
}

TEST(Invariance, Threads) {
  const Case c = cases(301, 257)[1];
  const Data data = draw(c, 3);
  const Result expected = run(c, data);
  nc_norm_spec spec = c.spec;
  const Plan plan(spec);
  std::vector<std::thread> threads;
  std::vector<int> equal(4, 0);
  for (size_t t = 0; t < equal.size(); ++t) {
    threads.emplace_back([&, t] {  // one plan, several threads, each with its own cuts
      for (int round = 0; round < 3; ++round) {
        Form form;
        form.row_cut = static_cast<int64_t>(t) * 11 + 5;
        form.group_cut = static_cast<int64_t>(t) + 1;
        Result result;
        runForward(c, data, form, plan, result);
        runBackward(c, data, form, plan, result);
        equal[t] += static_cast<bool>(same(c, expected, result));
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  for (const int count : equal) EXPECT_EQ(3, count);
}

// One set of tensors, whose rows, groups and columns are split among threads.
TEST(Invariance, ThreadsOnOneTensor) {
  Case c = cases(517, 129)[3];
  c.residual = c.dresidual = false;
  const Data data = draw(c, 4);
  const Result expected = run(c, data);
  const int64_t rows = c.rows, n = c.spec.hidden_size;
  const Plan plan(c.spec);
  Tensor x(c.spec.x_dtype, rows, n, n, 0), y(c.spec.y_dtype, rows, n, n, 0), dy(c.spec.y_dtype, rows, n, n, 0),
      dx(c.spec.x_dtype, rows, n, n, 0), weight(c.spec.weight_dtype, 1, n, n, 0), bias(c.spec.weight_dtype, 1, n, n, 0),
      rstd(NC_FLOAT32, 1, rows, rows, 0), dweight(c.dweight_dtype, 1, n, n, 0), dbias(c.dbias_dtype, 1, n, n, 0);
  x.fill(data.x), dy.fill(data.dy), weight.fill(data.weight), bias.fill(data.bias);
  dweight.fill(data.dweight), dbias.fill(data.dbias);
  int64_t groups = 0, bytes = 0;
  check(nc_norm_backward_groups(plan, rows, &groups));
  check(nc_norm_backward_workspace(plan, rows, 1, 1, &bytes));
  ASSERT_GT(groups, 8);
  std::vector<double> workspace(static_cast<size_t>(bytes + 7) / 8);
  auto forward = argsOf<nc_norm_forward_args>();
  forward.rows = rows;
  forward.x = x.address(), forward.x_stride = n;
  forward.weight = weight.address(), forward.bias = bias.address();
  forward.y = y.address(), forward.y_stride = n;
  forward.rstd = rstd.address();
  auto backward = argsOf<nc_norm_backward_args>();
  backward.rows = rows;
  backward.x = x.address(), backward.x_stride = n;
  backward.weight = weight.address();
  backward.dy = dy.address(), backward.dy_stride = n;
  backward.rstd = rstd.address();
  backward.dx = dx.address(), backward.dx_stride = n;
  backward.workspace = reinterpret_cast<int64_t>(workspace.data()), backward.workspace_bytes = bytes;
  backward.dweight = dweight.address(), backward.dweight_dtype = c.dweight_dtype;
  backward.dweight_mode = c.dweight_mode;
  backward.dbias = dbias.address(), backward.dbias_dtype = c.dbias_dtype, backward.dbias_mode = c.dbias_mode;
  const RangedCall forward_call(nc_norm_forward_begin, plan, forward);
  const RangedCall backward_call(nc_norm_backward_begin, plan, backward);
  EXPECT_EQ(rows, forward_call.units(0));
  EXPECT_EQ(0, forward_call.units(1));
  EXPECT_EQ(groups, backward_call.units(0));
  EXPECT_EQ(n, backward_call.units(1));
  const auto inThreads = [](int64_t count, auto body) {
    std::vector<std::thread> threads;
    for (int64_t t = 0; t < 4; ++t) {
      threads.emplace_back([=] { body(count * t / 4, count * (t + 1) / 4); });
    }
    for (std::thread& thread : threads) thread.join();
  };
  for (int round = 0; round < 20; ++round) {
    dweight.fill(data.dweight), dbias.fill(data.dbias);
    inThreads(rows, [&](int64_t begin, int64_t end) { forward_call.run(0, begin, end); });
    inThreads(groups, [&](int64_t begin, int64_t end) { backward_call.run(0, begin, end); });
    inThreads(n, [&](int64_t begin, int64_t end) { backward_call.run(1, begin, end); });
    Result result{y.contents(), {}, {}, rstd.contents(), dx.contents(), dweight.contents(), dbias.contents()};
    ASSERT_TRUE(same(c, expected, result)) << "round " << round;
  }
}

TEST(Invariance, OtherRows) {
  for (const Case& c : cases(11, 61)) {
    const Data data = draw(c, 5);
    const Result together = run(c, data);
    const auto n = static_cast<size_t>(c.spec.hidden_size);
    for (int64_t row = 0; row < c.rows; ++row) {
      Case alone = c;
      alone.rows = 1;
      Data one = data;
      Result expected = together;
      const auto pick = [&](Bits& bits, size_t width) {
        if (bits.empty()) return;
        const auto begin = bits.begin() + static_cast<std::ptrdiff_t>(static_cast<size_t>(row) * width);
        bits = Bits(begin, begin + static_cast<std::ptrdiff_t>(width));
      };
      for (Bits* bits :
           {&one.x, &one.residual, &one.dy, &one.dresidual, &expected.y, &expected.residual_out, &expected.dx}) {
        pick(*bits, n);
      }
      pick(expected.mean, 1);
      pick(expected.rstd, 1);
      Result result = run(alone, one);
      result.dweight = expected.dweight, result.dbias = expected.dbias;  // sums over all rows, of course
      EXPECT_TRUE(same(alone, expected, result)) << "row " << row;
    }
  }
}

TEST(Invariance, Alignment) {
  for (const Case& c : cases(3, 37)) {
    expectUnchanged(c, 6, [](const auto& with) {
      for (size_t offset = 1; offset < 64; ++offset) {
        Form form;
        form.offset = offset;
        EXPECT_TRUE(with(form)) << "offset " << offset;
      }
    });
  }
  for (const Case& c : cases(2, 5003)) {
    expectUnchanged(c, 7, [](const auto& with) {
      for (const size_t offset : {1u, 4u, 13u, 32u, 63u}) {
        Form form;
        form.offset = offset;
        form.extra_stride = 3;
        EXPECT_TRUE(with(form)) << "offset " << offset;
      }
    });
  }
}

TEST(Invariance, Strides) {
  for (const int64_t n : {1, 7, 40, 229}) {
    for (const Case& c : cases(13, n)) {
      expectUnchanged(c, 8, [n](const auto& with) {
        for (const int64_t extra : {int64_t{1}, int64_t{7}, n}) {
          Form form;
          form.extra_stride = extra;
          EXPECT_TRUE(with(form)) << "stride N + " << extra;
        }
      });
    }
  }
}

TEST(Invariance, InPlace) {
  for (const int64_t n : {9, 33, 260, 1030}) {
    for (const Case& c : cases(7, n)) {
      expectUnchanged(c, 9, [&](const auto& with) {
        for (const Form::Place y : {Form::kOwn, Form::kX, Form::kResidual}) {
          for (const Form::Place out : {Form::kOwn, Form::kX, Form::kResidual}) {
            if (out != Form::kOwn && out == y) continue;
            if (!c.residual && (out != Form::kOwn || y == Form::kResidual)) continue;
            for (const int32_t level : supportedLevels()) {
              Form form;
              form.y = y;
              form.residual_out = out;
              form.level = level;
              EXPECT_TRUE(with(form)) << "y in " << y << ", residual_out in " << out << ", " << levelName(level);
            }
          }
        }
        for (const Form::Place dx : {Form::kX, Form::kDy, Form::kResidual}) {
          if (dx == Form::kResidual && !c.dresidual) continue;
          for (const int32_t level : supportedLevels()) {
            Form form;
            form.dx = dx;
            form.level = level;
            form.extra_stride = 3;
            EXPECT_TRUE(with(form)) << "dx in " << dx << ", " << levelName(level);
          }
        }
      });
    }
  }
}

TEST(Invariance, RepeatedRuns) {
  for (const Case& c : cases(40, 333)) {
    expectUnchanged(c, 10, [](const auto& with) {
      for (int round = 0; round < 5; ++round) EXPECT_TRUE(with({})) << "round " << round;
    });
  }
}

TEST(Invariance, WithoutSavedStatistics) {
  for (const Case& c : cases(5, 77)) {
    const Data data = draw(c, 11);
    Result expected = run(c, data);
    Form form;
    form.saves = false;
    const Result result = run(c, data, form);
    EXPECT_EQ(expected.y, result.y) << c.describe();
    EXPECT_EQ(expected.residual_out, result.residual_out) << c.describe();
  }
}

// An omitted gradient does not change the others.
TEST(Invariance, OmittedGradients) {
  for (const Case& c : cases(45, 50)) {
    const Data data = draw(c, 12);
    const Result whole = run(c, data);
    for (int left_out = 1; left_out < 8; ++left_out) {
      Case less = c;
      Result expected = whole;
      if ((left_out & 1) != 0) less.dx = false, expected.dx.clear();
      if ((left_out & 2) != 0) less.dweight_mode = NC_GRADIENT_ABSENT, expected.dweight.clear();
      if ((left_out & 4) != 0) less.dbias_mode = NC_GRADIENT_ABSENT, expected.dbias.clear();
      if (!less.dx) less.dresidual = false;
      EXPECT_TRUE(same(less, expected, run(less, data))) << "left out " << left_out;
    }
  }
}

}  // namespace
