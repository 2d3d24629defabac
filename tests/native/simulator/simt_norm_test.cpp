// Properties of the CUDA kernels that need the simulator: no thread order changes a bit, each barrier is needed, and
// offsets beyond 2^31 elements are computed in 64 bits.

#include <cuda_runtime.h>
#include <gtest/gtest.h>

#include <iterator>
#include <map>
#include <set>
#include <thread>

#include "cuda/kernels.h"
#include "cuda/tuning.h"
#include "simulator/control.h"
#include "support/cuda_test.h"
#include "support/fp8_cases.h"
#include "support/sparse_memory.h"

namespace {

using namespace harness;
using nc::simt::control;

class SimulatedNorm : public ::testing::Test {
 protected:
  void SetUp() override { before_ = control(); }
  void TearDown() override { control() = before_; }

 private:
  nc::simt::Control before_;
};

// Both norms in fast kernels and in generic ones, with all options.
std::vector<Case> cases(int64_t rows, int64_t n) {
  std::vector<Case> all;
  for (const int32_t op : {NC_RMS_NORM, NC_LAYER_NORM}) {
    for (const bool fast : {true, false}) {
      Case c;
      c.spec = fast ? makeSpec(op, NC_BFLOAT16, NC_FLOAT32, NC_BFLOAT16, n)
                    : makeSpec(op, NC_FLOAT16, NC_BFLOAT16, NC_FLOAT32, n);
      c.spec.affine = NC_AFFINE_WEIGHT_AND_BIAS;
      if (op == NC_LAYER_NORM && !fast) c.spec.variance = NC_VARIANCE_WELFORD;
      c.residual = c.dresidual = true;
      c.rows = rows;
      all.push_back(c);
    }
  }
  return all;
}

// The same with y in FP8, whose threads synchronise once more.
std::vector<Case> quantizedCases(int64_t rows, int64_t n) {
  std::vector<Case> all;
  for (const bool fast : {true, false}) {
    for (const int32_t scaling : {NC_SCALING_TENSOR, NC_SCALING_ROW, NC_SCALING_BLOCK}) {
      Case c = fp8Case(NC_RMS_NORM, fast ? NC_BFLOAT16 : NC_FLOAT16, fast ? NC_FLOAT32 : NC_BFLOAT16, NC_FLOAT8_E4M3,
                       scaling, n);
      c.residual = true;
      c.rows = rows;
      all.push_back(c);
    }
  }
  return all;
}

std::vector<Case> allCases(int64_t rows, int64_t n) {
  std::vector<Case> all = cases(rows, n);
  for (const Case& c : quantizedCases(rows, n)) all.push_back(c);
  return all;
}

TEST_F(SimulatedNorm, NoSeedChangesABit) {
  // Each case takes other seeds than the one before.
  uint64_t seed = 100;
  for (const auto& [rows, n] : std::vector<std::pair<int64_t, int64_t>>{
           {37, 24}, {33, 229}, {9, 1024}, {9, 4096}, {9, 4099}, {9, 8192}, {5, 16392}, {3, 16393}, {1, 140000}}) {
    for (const Case& c : allCases(rows, n)) {
      const Data data = draw(c, 1);
      const Result expected = run(c, data);
      for (const uint64_t end = seed + (n > 10000 ? 2 : 4); seed < end; ++seed) {
        control().seed = seed;
        ASSERT_TRUE(same(c, expected, run(c, data, onDevice(static_cast<int32_t>(seed % 2))))) << "seed " << seed;
      }
    }
  }
}

// Omits one barrier of the kernels' source at a time. Some seed of some case must give other bits or a failed launch;
// not every case, because only some shapes may need a barrier.
TEST_F(SimulatedNorm, EveryBarrierIsNeeded) {
  std::map<std::string, bool> noticed;
  for (const auto& [rows, n] : std::vector<std::pair<int64_t, int64_t>>{
           {1, 1024}, {2, 8192}, {9, 16392}, {17, 229}, {17, 1024}, {9, 4096}, {9, 4099}, {40, 24}, {9001, 8}}) {
    for (const Case& c : allCases(rows, n)) {
      const Data data = draw(c, 2);
      const Result expected = run(c, data);
      const auto changed = [&]() -> bool {
        control().launches.clear();
        try {
          return !same(c, expected, run(c, data, onDevice(0)));
        } catch (const std::runtime_error&) {
          EXPECT_EQ(cudaSuccess, cudaDeviceReset());
          return true;
        }
      };
      control().records = true;
      control().skips = false;
      ASSERT_FALSE(changed());
      const std::vector<nc::simt::LaunchRecord> launches = control().launches;
      ASSERT_EQ(3u, launches.size()) << "forward, backward, columns";
      control().skips = true;
      for (size_t launch = 0; launch < launches.size(); ++launch) {
        for (const nc::simt::Site& site : launches[launch].sites) {
          bool& found = noticed[std::string(site.file) + ":" + std::to_string(site.line)];
          control().skipped_launch = static_cast<int64_t>(launch);
          control().skipped_site = site;
          const uint64_t seeds = rows > 1000 ? 3 : 20;
          for (control().seed = 1; control().seed <= seeds && !found; ++control().seed) found = changed();
        }
      }
    }
  }
  for (const auto& [site, found] : noticed) EXPECT_TRUE(found) << site << ": nothing changes without this barrier";
  EXPECT_GE(noticed.size(), 10u);
}

struct Launched {
  std::set<const void*> forward, backward;
};

// Runs a case, which must give the expected bits, and records its kernels.
void launch(const Case& c, const Data& data, const Result& expected, const Form& form, Launched& launched) {
  control().launches.clear();
  ASSERT_TRUE(same(c, expected, run(c, data, form)));
  ASSERT_EQ(3u, control().launches.size());
  launched.forward.insert(control().launches[0].kernel);
  launched.backward.insert(control().launches[1].kernel);
}

// Every compiled fast kernel, forward and backward, is launched and gives the CPU's bits.
TEST_F(SimulatedNorm, EveryFastKernelRuns) {
  control().records = true;
  // A size for each number of vectors per thread.
  const int64_t sizes[] = {256, 512, 1024, 2048, 3072, 16384};
  static_assert(std::size(nc::kVecsPerThread) == std::size(sizes));
  Launched fast, others;
  size_t expected_kernels = 0;
  for (const DTypes& t : fastDTypes()) {
    for (const bool rounds_before_weight : {false, true}) {
      const auto type = [](int32_t dtype) { return static_cast<nc::DType>(dtype); };
      if (!nc::has_fast_kernels(type(t.x), type(t.weight), type(t.y), rounds_before_weight)) continue;
      for (const int32_t op : {NC_RMS_NORM, NC_LAYER_NORM}) {
        for (const int64_t n : sizes) {
          Case c;
          c.spec = makeSpec(op, t.x, t.weight, t.y, n);
          c.spec.scale_rounding = rounds_before_weight ? NC_ROUND_INPUT : NC_ROUND_COMPUTE;
          c.rows = 5;
          const Data data = draw(c, 6);
          const Result expected = run(c, data);
          launch(c, data, expected, onDevice(0), fast);
          ++expected_kernels;
          if (n == 256) {  // unaligned tensors select other kernels
            Form unaligned = onDevice(0);
            unaligned.offset = 1;
            launch(c, data, expected, unaligned, others);
          }
        }
      }
    }
  }
  EXPECT_EQ(expected_kernels, fast.forward.size());
  EXPECT_EQ(expected_kernels, fast.backward.size());
  for (const void* kernel : others.forward) EXPECT_EQ(0u, fast.forward.count(kernel));
  for (const void* kernel : others.backward) EXPECT_EQ(0u, fast.backward.count(kernel));
}

// Every kernel for unaligned rows runs, and no other one for long enough rows that begin at an element.
TEST_F(SimulatedNorm, EveryUnalignedKernelRuns) {
  control().records = true;
  const int64_t sizes[] = {229, 769, 1501, 3071};
  static_assert(std::size(nc::kUnalignedVecsPerThread) == std::size(sizes));
  Launched unaligned_kernels, others;
  for (const DTypes& t : fastDTypes()) {
    for (const int32_t op : {NC_RMS_NORM, NC_LAYER_NORM}) {
      for (int32_t rounding = 0; rounding < 3; ++rounding) {
        for (const int64_t n : sizes) {
          Case c;
          c.spec = makeSpec(op, t.x, t.weight, t.y, n);
          c.spec.scale_rounding = rounding;
          c.rows = 5;
          const Data data = draw(c, 6);
          const Result expected = run(c, data);
          launch(c, data, expected, onDevice(0), unaligned_kernels);
          if (rounding > 0 || n > 229) continue;
          Form anywhere = onDevice(0);
          anywhere.offset = 1;
          launch(c, data, expected, anywhere, others);
        }
      }
    }
  }
  EXPECT_EQ(std::size(sizes) * fastDTypes().size(), unaligned_kernels.forward.size());
  EXPECT_EQ(2 * std::size(nc::kUnalignedBackwardVecsPerThread) * fastDTypes().size(),
            unaligned_kernels.backward.size());
  for (const void* kernel : others.forward) EXPECT_EQ(0u, unaligned_kernels.forward.count(kernel));
  for (const void* kernel : others.backward) EXPECT_EQ(0u, unaligned_kernels.backward.count(kernel));
}

TEST_F(SimulatedNorm, EveryFastKernelOfFp8Runs) {
  control().records = true;
  std::set<const void*> kernels;
  size_t expected_kernels = 0;
  const std::pair<int32_t, int32_t> pairs[] = {{NC_FLOAT32, NC_FLOAT32},
                                               {NC_BFLOAT16, NC_BFLOAT16},
                                               {NC_FLOAT16, NC_FLOAT16},
                                               {NC_BFLOAT16, NC_FLOAT32},
                                               {NC_FLOAT16, NC_FLOAT32}};
  for (const auto& [x, weight] : pairs) {
    for (const bool rounds_before_weight : {false, true}) {
      if (rounds_before_weight && x == NC_FLOAT32) continue;
      for (const int64_t n : {256, 512, 1024, 2048, 3072, 16384}) {
        for (const int32_t op : {NC_RMS_NORM, NC_LAYER_NORM}) {
          Case c = fp8Case(op, x, weight, NC_FLOAT8_E5M2, NC_SCALING_ROW, n);
          c.spec.scale_rounding = rounds_before_weight ? NC_ROUND_INPUT : NC_ROUND_COMPUTE;
          const Data data = draw(c, 7);
          const Result expected = run(c, data);
          control().launches.clear();
          ASSERT_TRUE(same(c, expected, run(c, data, onDevice(0))));
          kernels.insert(control().launches[0].kernel);
          if (n > 256) continue;
          Form unaligned = onDevice(0);
          unaligned.offset = 1;
          control().launches.clear();
          ASSERT_TRUE(same(c, expected, run(c, data, unaligned)));
          EXPECT_EQ(0u, kernels.count(control().launches[0].kernel));
        }
        ++expected_kernels;
      }
    }
  }
  EXPECT_EQ(expected_kernels, kernels.size());
}

// A kernel serves many hidden sizes with one set of attributes per device: a later plan must not lower an earlier
// plan's attributes. Longer rows come first, which need more shared memory and larger clusters; the first plan's calls
// run after the second plan is made.
TEST_F(SimulatedNorm, PlansAreIndependent) {
  const std::pair<int64_t, int64_t> sizes[] = {
      {12289, 3071}, {16383, 2049}, {262144, 16392}, {16384, 64}, {40961, 20481}};
  // Two pairs of sizes for each norm and combination of dtypes, so that several of these run each pair.
  size_t turn = 0;
  for (const DTypes& t : fastDTypes()) {
    for (const int32_t op : {NC_RMS_NORM, NC_LAYER_NORM}) {
      for (int pair = 0; pair < 2; ++pair) {
        const auto& [longer, shorter] = sizes[turn++ % std::size(sizes)];
        const auto make = [&, op = op](int64_t n) {
          Case c;
          c.spec = makeSpec(op, t.x, t.weight, t.y, n);
          c.spec.affine = NC_AFFINE_WEIGHT_AND_BIAS;
          c.spec.device_type = NC_DEVICE_CUDA;
          c.residual = c.dresidual = true;
          c.rows = 1;
          return c;
        };
        const Case first = make(longer), second = make(shorter);
        const Plan of_first(first.spec), of_second(second.spec);
        for (const auto& [c, plan] : {std::pair<const Case&, const Plan&>{first, of_first}, {second, of_second}}) {
          const Data data = draw(c, 8);
          Result result;
          runForward(c, data, onDevice(0), plan, result);
          runBackward(c, data, onDevice(0), plan, result);
          Case on_cpu = c;
          on_cpu.spec.device_type = NC_DEVICE_CPU;
          ASSERT_TRUE(same(on_cpu, run(on_cpu, data), result)) << longer << " before " << shorter;
        }
      }
    }
  }
}

// Two plans of FP8 outputs; the first has more to reduce in shared memory.
TEST_F(SimulatedNorm, PlansOfFp8AreIndependent) {
  for (const int64_t n : {256, 16392}) {
    const Case rows = fp8Case(NC_RMS_NORM, NC_BFLOAT16, NC_BFLOAT16, NC_FLOAT8_E4M3, NC_SCALING_ROW, n),
               tensor = fp8Case(NC_RMS_NORM, NC_BFLOAT16, NC_BFLOAT16, NC_FLOAT8_E4M3, NC_SCALING_TENSOR, n);
    nc_norm_spec of_rows = rows.spec, of_tensor = tensor.spec;
    of_rows.device_type = of_tensor.device_type = NC_DEVICE_CUDA;
    const Plan first(of_rows), second(of_tensor);
    const Data data = draw(rows, 9);
    Result result;
    runForward(rows, data, onDevice(0), first, result);
    runBackward(rows, data, onDevice(0), first, result);
    EXPECT_TRUE(same(rows, run(rows, data), result));
  }
}

TEST_F(SimulatedNorm, ThreadsShareAPlan) {
  const Case c = cases(9, 1024)[2];
  const Data data = draw(c, 3);
  const Result expected = run(c, data);
  nc_norm_spec spec = c.spec;
  spec.device_type = NC_DEVICE_CUDA;
  const Plan plan(spec);
  std::vector<std::thread> threads;
  std::vector<int> equal(4, 0);
  for (size_t t = 0; t < equal.size(); ++t) {
    threads.emplace_back([&, t] {
      control().seed = t;
      for (int round = 0; round < 5; ++round) {
        Result result;
        runForward(c, data, onDevice(0), plan, result);
        runBackward(c, data, onDevice(0), plan, result);
        equal[t] += static_cast<bool>(same(c, expected, result));
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  for (const int count : equal) EXPECT_EQ(5, count);
}

TEST_F(SimulatedNorm, OffsetsBeyond31Bits) {
  for (const int64_t n : {24, 1024, 16392}) {
    // Aligned and unaligned rows, 2^31 elements apart; row 2 lies 2^33 bytes or more after row 0.
    for (const int64_t stride : {(int64_t{1} << 31) + 8, (int64_t{1} << 31) + 1}) {
      for (Case c : cases(3, n)) {
        const Data data = draw(c, 4);
        const Result expected = run(c, data);
        nc_norm_spec spec = c.spec;
        spec.device_type = NC_DEVICE_CUDA;
        const Plan plan(spec);
        const auto bytes = [&](int32_t dtype) { return int64_t{reference::format(dtype).bytes}; };
        const auto rows = [&](int32_t dtype, const Bits& bits) {
          auto memory = std::make_unique<SparseMemory>((2 * stride + n) * bytes(dtype));
          for (int64_t i = 0; i < 3 * n && !bits.empty(); ++i) {
            reference::storeBits(reference::format(dtype), memory->at((i / n * stride + i % n) * bytes(dtype)),
                                 bits[static_cast<size_t>(i)]);
          }
          return memory;
        };
        const auto contents = [&](int32_t dtype, const SparseMemory& memory) {
          Bits bits;
          for (int64_t i = 0; i < 3 * n; ++i) {
            const void* at = memory.at((i / n * stride + i % n) * bytes(dtype));
            bits.push_back(reference::loadBits(reference::format(dtype), at));
          }
          return bits;
        };
        const auto vector = [&](int32_t dtype, int64_t length, const Bits& bits) {
          Tensor tensor(dtype, 1, length, length, 0);
          if (!bits.empty()) tensor.fill(bits);
          return tensor;
        };
        const int32_t x_type = c.spec.x_dtype, w_type = c.spec.weight_dtype, y_type = c.spec.y_dtype;
        const auto x = rows(x_type, data.x), residual = rows(x_type, data.residual), out = rows(x_type, {}),
                   y = rows(y_type, {}), dy = rows(y_type, data.dy), dresidual = rows(x_type, data.dresidual),
                   dx = rows(x_type, {});
        Tensor weight = vector(w_type, n, data.weight), bias = vector(w_type, n, data.bias),
               mean = vector(NC_FLOAT32, 3, {}), rstd = vector(NC_FLOAT32, 3, {}), dweight = vector(NC_FLOAT32, n, {}),
               dbias = vector(NC_FLOAT32, n, {});
        if (!c.isLayerNorm()) mean = Tensor();
        int64_t workspace_bytes = 0;
        check(nc_norm_backward_workspace(plan, 3, 1, 1, &workspace_bytes));
        Tensor workspace(NC_FLOAT64, 1, workspace_bytes / 8, workspace_bytes / 8, 0);
        Residence at(0);
        auto forward = argsOf<nc_norm_forward_args>();
        forward.rows = 3;
        forward.x = x->address(), forward.residual = residual->address();
        forward.y = y->address(), forward.residual_out = out->address();
        forward.x_stride = forward.residual_stride = forward.y_stride = forward.residual_out_stride = stride;
        forward.weight = at(weight), forward.bias = at(bias);
        forward.mean = at(mean), forward.rstd = at(rstd);
        check(nc_norm_forward(plan, &forward));
        auto backward = argsOf<nc_norm_backward_args>();
        backward.rows = 3;
        backward.x = out->address(), backward.dy = dy->address();
        backward.dresidual = dresidual->address(), backward.dx = dx->address();
        backward.x_stride = backward.dy_stride = backward.dresidual_stride = backward.dx_stride = stride;
        backward.weight = at(weight), backward.mean = at(mean), backward.rstd = at(rstd);
        backward.workspace = at(workspace), backward.workspace_bytes = workspace_bytes;
        backward.dweight = at(dweight), backward.dbias = at(dbias);
        backward.dweight_dtype = backward.dbias_dtype = NC_FLOAT32;
        backward.dweight_mode = backward.dbias_mode = NC_GRADIENT_WRITE;
        check(nc_norm_backward(plan, &backward));
        at.bringBack();
        Result result;
        result.y = contents(y_type, *y);
        result.residual_out = contents(x_type, *out);
        result.rstd = rstd.contents();
        result.dx = contents(x_type, *dx);
        result.dweight = dweight.contents();
        result.dbias = dbias.contents();
        if (mean.present()) result.mean = mean.contents();
        EXPECT_TRUE(same(c, expected, result)) << "stride " << stride;
      }
    }
  }
}

TEST_F(SimulatedNorm, ErrorsOfTheRuntimeAreNamed) {
  const Case c = cases(3, 64)[0];
  const Data data = draw(c, 5);
  nc_norm_spec spec = c.spec;
  spec.device_type = NC_DEVICE_CUDA;
  const Plan plan(spec);
  Result result;
  control().next_launch_error = 9;
  try {
    runForward(c, data, onDevice(0), plan, result);
    FAIL() << "no error";
  } catch (const std::runtime_error& e) {
    const std::string message = e.what();
    EXPECT_NE(std::string::npos, message.find("status " + std::to_string(NC_CUDA_ERROR))) << message;
    EXPECT_NE(std::string::npos, message.find("cudaErrorInvalidConfiguration")) << message;
    EXPECT_NE(std::string::npos, message.find("invalid configuration argument")) << message;
  }
  EXPECT_NO_THROW(runForward(c, data, onDevice(0), plan, result));
}

}  // namespace
