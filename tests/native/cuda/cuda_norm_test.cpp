// Every kernel of a CUDA device, bit for bit against the CPU: formats, policies, sizes, numbers of rows, strides,
// misaligned addresses, in place, gradients, special values.

#include <gtest/gtest.h>

#include "support/cuda_test.h"

namespace {

using namespace harness;

const int32_t kDtypes[] = {NC_FLOAT64, NC_FLOAT32, NC_BFLOAT16, NC_FLOAT16};

// The CPU's result, compared with the devices' in any form.
class Comparison {
 public:
  Comparison(const Case& c, const Data& data) : case_(c), data_(data), expected_(run(c, data)) {}
  Comparison(const Case& c, uint64_t seed) : Comparison(c, draw(c, seed)) {}

  ::testing::AssertionResult holds(const Form& form) const { return same(case_, expected_, run(case_, data_, form)); }
  void expectOnEveryDevice() const {
    for (const int32_t device : cudaDevices()) EXPECT_TRUE(holds(onDevice(device))) << "device " << device;
  }

 private:
  Case case_;
  Data data_;
  Result expected_;
};

// One test per op, input and weight type.
class CudaPolicies : public ::testing::TestWithParam<std::tuple<int32_t, int32_t, int32_t>> {};

std::string typesName(const ::testing::TestParamInfo<std::tuple<int32_t, int32_t, int32_t>>& info) {
  const auto [op, x, weight] = info.param;
  return std::string(op == NC_RMS_NORM ? "Rms" : "Layer") + "_" + formatName(x) + "_" + formatName(weight);
}

INSTANTIATE_TEST_SUITE_P(Types, CudaPolicies,
                         ::testing::Combine(::testing::Values(NC_RMS_NORM, NC_LAYER_NORM), ::testing::ValuesIn(kDtypes),
                                            ::testing::ValuesIn(kDtypes)),
                         typesName);

// On each device in turn.
TEST_P(CudaPolicies, EveryCombination) {
  const auto [op, x, w] = GetParam();
  const std::vector<int32_t> devices = cudaDevices();
  forEveryCombination(op, x, w, {5, 8, 17, 40, 264}, [&](const Case& c, uint64_t turn) {
    EXPECT_TRUE(Comparison(c, turn).holds(onDevice(devices[turn % devices.size()]))) << "seed " << turn;
    return !HasFailure();
  });
}

// One test per norm and combination of dtypes that has fast kernels.
class CudaFast : public ::testing::TestWithParam<std::tuple<int32_t, DTypes>> {
 protected:
  Case make(int64_t rows, int64_t n) const {
    const auto& [op, triple] = GetParam();
    Case c;
    c.spec = makeSpec(op, triple.x, triple.weight, triple.y, n);
    c.spec.affine = op == NC_RMS_NORM ? NC_AFFINE_WEIGHT : NC_AFFINE_WEIGHT_AND_BIAS;
    c.rows = rows;
    c.dweight_dtype = c.dbias_dtype = triple.weight;
    return c;
  }
  // The policies that the fast kernels have compiled in or look up.
  Case vary(Case c, uint64_t turn) const {
    c.spec.scale_rounding = static_cast<int32_t>(turn % 3);
    c.spec.gamma_offset = static_cast<int32_t>(turn / 3 % 3);
    c.residual = turn % 2 == 1;
    c.dresidual = turn % 4 >= 2;
    return c;
  }
  // The next variation.
  Comparison varied(const Case& c) {
    ++turn_;
    return Comparison(vary(c, turn_), turn_);
  }

 private:
  uint64_t turn_ = 0;
};

// On the simulator two of the combinations represent all: 16-bit weights, and wide ones.
bool isLeftOut(const DTypes& triple) {
  if (!onSimulator()) return false;
  return triple.x == NC_FLOAT16 || triple.y == NC_FLOAT32;
}

std::string tripleName(const ::testing::TestParamInfo<std::tuple<int32_t, DTypes>>& info) {
  const auto& [op, t] = info.param;
  return std::string(op == NC_RMS_NORM ? "Rms" : "Layer") + "_" + formatName(t.x) + "_" + formatName(t.weight) + "_" +
         formatName(t.y);
}

INSTANTIATE_TEST_SUITE_P(Triples, CudaFast,
                         ::testing::Combine(::testing::Values(NC_RMS_NORM, NC_LAYER_NORM),
                                            ::testing::ValuesIn(fastDTypes())),
                         tripleName);

TEST_P(CudaFast, ShortRows) {
  for (const int64_t n : {1, 7, 8, 9, 16, 24, 40, 229, 256, 512, 768, 769, 1024}) {
    varied(make(3, n)).expectOnEveryDevice();
    varied(make(2, n)).expectOnEveryDevice();
  }
}

// Every number of vectors per thread in registers, and the sizes between.
TEST_P(CudaFast, LongerRows) {
  for (const int64_t n : {2048, 3072, 3080, 4096, 5120, 6144, 6152, 8192, 12288, 16384}) {
    varied(make(2, n)).expectOnEveryDevice();
  }
}

TEST_P(CudaFast, RowsOfSeveralSegments) {
  for (const int64_t n : {16392, 20000, 32768, 65536, 65537, 131072}) {
    varied(make(n < 65536 ? 2 : 1, n)).expectOnEveryDevice();
  }
}

TEST_P(CudaFast, LongestRows) {
  if (isLeftOut(std::get<1>(GetParam()))) return;
  varied(make(1, 262144)).expectOnEveryDevice();
  // 9 vectors per thread, and 17: more than any kernel keeps in registers.
  for (const int64_t n : {262152, 524296}) EXPECT_TRUE(varied(make(1, n)).holds(onDevice(0)));
}

TEST_P(CudaFast, NumbersOfRows) {
  for (const int64_t n : {24, 256, 512, 769, 1024}) {
    for (const int64_t rows : {0, 1, 2, 3, 5, 33, 130}) {
      if (rows * n > (onSimulator() ? 30000 : 100000)) continue;
      varied(make(rows, n)).expectOnEveryDevice();
    }
  }
  if (isLeftOut(std::get<1>(GetParam()))) return;
  for (const int64_t rows : {5, 33}) varied(make(rows, 4096)).expectOnEveryDevice();
  varied(make(9, 16384)).expectOnEveryDevice();
  varied(make(5, 16392)).expectOnEveryDevice();
}

// So many rows that the backward's blocks, which process four or two short rows per row slot at once, use all of their
// stages more than once: 256 groups of 8 and of 4 row slots have 41 and 13 rows in each.
TEST_P(CudaFast, ManyShortRows) {
  if (isLeftOut(std::get<1>(GetParam()))) return;
  EXPECT_TRUE(varied(make(256 * 8 * 41 - 3, 8)).holds(onDevice(0)));
  EXPECT_TRUE(varied(make(256 * 4 * 13 - 3, 264)).holds(onDevice(0)));
}

TEST_P(CudaFast, Alignment) {
  for (const int64_t n : {40, 768, 1024}) {
    const Comparison comparison = varied(make(5, n));
    for (const int32_t device : cudaDevices()) {
      for (const size_t offset : {1u, 2u, 4u, 8u, 16u}) {
        Form form = onDevice(device);
        form.offset = offset;
        EXPECT_TRUE(comparison.holds(form)) << "offset " << offset << ", device " << device;
      }
    }
  }
  const Comparison comparison = varied(make(2, 20000));
  for (const int32_t device : cudaDevices()) {
    for (const size_t offset : {1u, 4u}) {
      Form form = onDevice(device);
      form.offset = offset;
      EXPECT_TRUE(comparison.holds(form)) << "offset " << offset << ", device " << device;
    }
  }
}

// Every tensor at its own alignment; rows of whole and partial vectors, of one warp, several warps and several blocks.
TEST_P(CudaFast, EveryMisalignment) {
  for (const int64_t n : {65, 128, 229, 769, 1023, 3079, 4104, 6151, 16391}) {
    for (const size_t spread : {2u, 4u, 6u, 10u, 14u}) {
      if (n > 4000 && spread % 4 != 2) continue;
      if (isLeftOut(std::get<1>(GetParam())) && n % 4 != 1) continue;
      const Comparison comparison = varied(make(n > 2000 ? 3 : 10, n));
      for (const size_t offset : {0u, 4u, 10u}) {
        Form form = onDevice(cudaDevices().back());
        form.offset = offset;
        form.spread = spread;
        form.extra_stride = static_cast<int64_t>(spread + offset) % 3;
        EXPECT_TRUE(comparison.holds(form)) << "offset " << offset << ", spread " << spread;
      }
    }
  }
}

TEST_P(CudaFast, Strides) {
  for (const int64_t n : {40, 229, 1024}) {
    const Comparison comparison = varied(make(7, n));
    for (const int64_t extra : {int64_t{1}, int64_t{4}, int64_t{8}, 3 * n}) {
      Form form = onDevice(cudaDevices().back());
      form.extra_stride = extra;
      EXPECT_TRUE(comparison.holds(form)) << "stride N + " << extra;
    }
  }
  const Comparison comparison = varied(make(3, 20000));
  for (const int64_t extra : {1, 8}) {
    Form form = onDevice(0);
    form.extra_stride = extra;
    EXPECT_TRUE(comparison.holds(form)) << "stride N + " << extra;
  }
}

TEST_P(CudaFast, InPlace) {
  const auto& [op, triple] = GetParam();
  const bool same_size = reference::format(triple.x).bytes == reference::format(triple.y).bytes;
  for (const int64_t n : {40, 229, 3072, 3077}) {
    if (isLeftOut(triple) && (n == 40 || n == 3077)) continue;
    for (const bool residual : {false, true}) {
      Case c = make(9, n);
      c.residual = c.dresidual = residual;
      const Comparison comparison(c, 7);
      for (const int32_t device : cudaDevices()) {
        for (const Form::Place y : {Form::kOwn, Form::kX, Form::kResidual}) {
          for (const Form::Place out : {Form::kOwn, Form::kX, Form::kResidual}) {
            if ((out != Form::kOwn && out == y) || (y != Form::kOwn && !same_size)) continue;
            if (!residual && (out != Form::kOwn || y == Form::kResidual)) continue;
            Form form = onDevice(device);
            form.y = y;
            form.residual_out = out;
            form.dx = residual ? out : y;
            EXPECT_TRUE(comparison.holds(form)) << "y in " << y << ", residual_out and dx in " << out;
          }
        }
        if (!same_size) continue;
        Form form = onDevice(device);
        form.dx = Form::kDy;
        EXPECT_TRUE(comparison.holds(form)) << "dx in dy";
      }
    }
  }
}

TEST_P(CudaFast, Gradients) {
  uint64_t turn = 8;
  for (const int64_t n : {40, 229, 1024}) {
    for (const bool dx : {true, false}) {
      for (int32_t dweight = 0; dweight < 3; ++dweight) {
        for (int32_t dbias = 0; dbias < 3; ++dbias) {
          Case c = vary(make(11, n), ++turn);
          c.spec.affine = NC_AFFINE_WEIGHT_AND_BIAS;
          c.dx = dx;
          c.dresidual = c.dresidual && dx;
          c.dweight_mode = dweight;
          c.dbias_mode = dbias;
          if (dweight == NC_GRADIENT_ACCUMULATE || turn % 2 == 0) c.dweight_dtype = NC_FLOAT32;
          if (dbias == NC_GRADIENT_ACCUMULATE || turn % 4 == 0) c.dbias_dtype = NC_FLOAT32;
          EXPECT_TRUE(Comparison(c, turn).holds(onDevice(cudaDevices()[turn % cudaDevices().size()]))) << turn;
        }
      }
    }
  }
}

TEST_P(CudaFast, Affine) {
  uint64_t turn = 9;
  for (const int64_t n : {229, 1024, 4097, 16392}) {
    for (int32_t affine = 0; affine < 4; ++affine) {
      Case c = vary(make(2, n), ++turn);
      c.spec.affine = affine;
      if (!c.hasWeight()) c.spec.gamma_offset = NC_GAMMA_NONE;
      Comparison(c, turn).expectOnEveryDevice();
    }
  }
}

// Without saved statistics there is no backward; the other outputs are unchanged.
TEST_P(CudaFast, Inference) {
  for (const int64_t n : {40, 229, 1024, 16392}) {
    Case c = vary(make(3, n), static_cast<uint64_t>(n));
    const Data data = draw(c, 10);
    Form on_cpu;
    on_cpu.saves = false;
    const Result expected = run(c, data, on_cpu);
    for (const int32_t device : cudaDevices()) {
      Form form = onDevice(device);
      form.saves = false;
      EXPECT_TRUE(same(c, expected, run(c, data, form)));
    }
  }
}

// NaN, infinities, zeros, subnormals and the largest numbers, in all rows but one.
TEST_P(CudaFast, SpecialValues) {
  const auto& [op, triple] = GetParam();
  uint64_t turn = 11;
  for (const int64_t n : {24, 229, 1024, 16392}) {
    for (int32_t rounding = 0; rounding < 3; ++rounding) {
      Case c = make(12, n);
      if (n > 10000) c.rows = 3;
      c.spec.scale_rounding = rounding;
      c.residual = c.dresidual = ++turn % 2 == 0;
      Data data = draw(c, turn);
      const reference::Format& f = reference::format(triple.x);
      const double subnormal = std::ldexp(1.0, reference::smallestExponent(f));
      const double special[] = {HUGE_VAL, -HUGE_VAL, std::nan(""),    0.0,
                                -0.0,     subnormal, -3 * subnormal,  subnormal * 1e3,
                                f.max,    -f.max,    std::sqrt(f.max)};
      std::mt19937_64 random(turn);
      const auto strew = [&](Bits& bits, int32_t dtype, int64_t rows, int64_t first) {
        for (int64_t row = first; row < rows && !bits.empty(); ++row) {
          const double value = special[static_cast<size_t>(row + static_cast<int64_t>(turn)) % 11];
          for (int64_t count = 0; count <= row % 4; ++count) {
            const auto column = static_cast<int64_t>(random() % static_cast<uint64_t>(n));
            bits[static_cast<size_t>(row * n + column)] = reference::encode(reference::format(dtype), value);
          }
        }
      };
      strew(data.x, triple.x, c.rows, 1);
      strew(data.residual, triple.x, c.rows, 2);
      strew(data.dy, triple.y, c.rows, 3);
      strew(data.dresidual, triple.x, c.rows, 4);
      if (rounding == 2) strew(data.weight, triple.weight, 1, 0);
      // A row of subnormals alone, and one of zeros.
      for (int64_t i = 0; i < n; ++i) {
        data.x[static_cast<size_t>((c.rows - 1) * n + i)] = static_cast<uint64_t>(i % 7);
        data.x[static_cast<size_t>((c.rows - 2) * n + i)] = 0;
      }
      Comparison(c, data).expectOnEveryDevice();
    }
  }
}

// The generic kernels: the sizes and rows at which their work changes shape.
struct Mix {
  const char* name;
  int32_t op, x, weight, y, rounding, variance, compute;
  bool residual;
};
void PrintTo(const Mix& mix, std::ostream* to) { *to << mix.name; }

const Mix kMixes[] = {
    {"RmsF64", NC_RMS_NORM, NC_FLOAT64, NC_FLOAT64, NC_FLOAT64, NC_ROUND_COMPUTE, 0, 1, true},
    {"RmsF16Bf16", NC_RMS_NORM, NC_FLOAT16, NC_BFLOAT16, NC_FLOAT32, NC_ROUND_INPUT, 0, 0, false},
    {"RmsBf16InFloat64", NC_RMS_NORM, NC_BFLOAT16, NC_BFLOAT16, NC_BFLOAT16, NC_ROUND_WEIGHT, 0, 1, true},
    {"LayerBf16Welford", NC_LAYER_NORM, NC_BFLOAT16, NC_BFLOAT16, NC_BFLOAT16, NC_ROUND_INPUT, NC_VARIANCE_WELFORD, 0,
     true},
    {"LayerF32Welford", NC_LAYER_NORM, NC_FLOAT32, NC_FLOAT32, NC_FLOAT32, NC_ROUND_COMPUTE, NC_VARIANCE_WELFORD, 0,
     false},
    {"LayerF16Sums", NC_LAYER_NORM, NC_FLOAT16, NC_FLOAT32, NC_FLOAT16, NC_ROUND_COMPUTE, NC_VARIANCE_SUM_OF_SQUARES, 0,
     false},
    {"LayerF64Welford", NC_LAYER_NORM, NC_FLOAT64, NC_FLOAT32, NC_FLOAT64, NC_ROUND_COMPUTE, NC_VARIANCE_WELFORD, 1,
     false},
    {"LayerF32UnroundedSum", NC_LAYER_NORM, NC_FLOAT32, NC_BFLOAT16, NC_BFLOAT16, NC_ROUND_WEIGHT, NC_VARIANCE_TWO_PASS,
     0, true},
};

class CudaGeneric : public ::testing::TestWithParam<Mix> {
 protected:
  Case make(int64_t rows, int64_t n) const {
    const Mix& m = GetParam();
    Case c;
    c.spec = makeSpec(m.op, m.x, m.weight, m.y, n);
    c.spec.scale_rounding = m.rounding;
    c.spec.variance = m.variance;
    c.spec.compute = m.compute;
    c.spec.residual_rounding = NC_RESIDUAL_COMPUTE;
    c.residual = c.dresidual = m.residual;
    c.rows = rows;
    c.dweight_dtype = c.dbias_dtype = m.weight;
    return c;
  }
};

INSTANTIATE_TEST_SUITE_P(Mixes, CudaGeneric, ::testing::ValuesIn(kMixes),
                         [](const auto& info) { return info.param.name; });

TEST_P(CudaGeneric, Sizes) {
  for (const int64_t n : {1,    7,    8,    9,    16,   24,   40,   229,   256,   512,   768,   769,
                          1024, 2048, 3072, 3073, 4096, 6145, 8192, 12288, 16384, 16392, 20000, 32769}) {
    Comparison(make(2, n), static_cast<uint64_t>(n)).expectOnEveryDevice();
  }
}

TEST_P(CudaGeneric, LongestRows) {
  for (const int64_t n : {65536, 65537, 131072, 262152, 524296}) {
    if (onSimulator() && n > 70000 && !GetParam().residual) continue;
    EXPECT_TRUE(Comparison(make(1, n), static_cast<uint64_t>(n)).holds(onDevice(cudaDevices().back())));
  }
}

TEST_P(CudaGeneric, RowsStridesAndAlignment) {
  for (const int64_t n : {9, 24, 229, 1024}) {
    for (const int64_t rows : {0, 1, 3, 5, 33, 130}) {
      if (n * rows > 40000) continue;
      const Comparison comparison(make(rows, n), static_cast<uint64_t>(n + rows));
      for (const int32_t device : cudaDevices()) {
        for (const auto& [offset, extra] : std::vector<std::pair<size_t, int64_t>>{{0, 0}, {1, 0}, {8, 1}, {0, 8}}) {
          Form form = onDevice(device);
          form.offset = offset;
          form.extra_stride = extra;
          EXPECT_TRUE(comparison.holds(form)) << "offset " << offset << ", stride N + " << extra;
        }
      }
    }
  }
}

// More rows than groups.
TEST(CudaRows, ManyRows) {
  for (const int32_t op : {NC_RMS_NORM, NC_LAYER_NORM}) {
    for (const auto& [rows, n] : std::vector<std::pair<int64_t, int64_t>>{{9001, 3}, {9001, 8}, {1100, 4096}}) {
      Case c;
      c.spec = makeSpec(op, NC_BFLOAT16, NC_FLOAT32, NC_BFLOAT16, n);
      c.rows = rows;
      if (n == 4096 && op == NC_LAYER_NORM) continue;
      EXPECT_TRUE(Comparison(c, 12).holds(onDevice(0)));
    }
  }
}

}  // namespace
