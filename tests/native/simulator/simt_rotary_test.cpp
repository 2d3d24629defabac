// Properties of the rotary kernels that need the simulator: which of them ran, no thread order changes a bit, and
// offsets beyond 2^31 elements are computed in 64 bits.

#include <gtest/gtest.h>

#include <set>

#include "simulator/control.h"
#include "support/cuda_test.h"
#include "support/rotary_harness.h"
#include "support/sparse_memory.h"

namespace {

using namespace harness;
using nc::simt::control;

class SimulatedRotary : public ::testing::Test {
 protected:
  void SetUp() override { before_ = control(); }
  void TearDown() override { control() = before_; }

  RotaryForm onDevice(int32_t device) {
    RotaryForm form;
    form.cuda_device = device;
    return form;
  }

 private:
  nc::simt::Control before_;
};

TEST_F(SimulatedRotary, NoSeedChangesABit) {
  for (const int32_t layout : {NC_ROTARY_HALF_SPLIT, NC_ROTARY_INTERLEAVED}) {
    for (const int32_t rotary_dim : {64, 62}) {
      const RotaryCase c = makeRotary(NC_BFLOAT16, NC_FLOAT32, layout, NC_ROTARY_ROUND_INPUT, 72, rotary_dim);
      const RotaryData d = drawRotary(c, 1);
      RotaryForm form;
      const Bits expected = runRotary(c, d);
      for (uint64_t seed = 1; seed < 9; ++seed) {
        control().seed = seed;
        form.cuda_device = static_cast<int32_t>(seed % 2);
        form.in_place = seed % 4 >= 2;
        EXPECT_TRUE(sameBits(c, expected, runRotary(c, d, form))) << "seed " << seed;
      }
    }
  }
}

// Each pair of formats in common use has a kernel per layout; unaligned tensors and other formats use the generic
// kernel.
TEST_F(SimulatedRotary, EveryKernelRuns) {
  control().records = true;
  const auto kernelOf = [&](const RotaryCase& c, RotaryForm form) {
    const RotaryData d = drawRotary(c, 2);
    control().launches.clear();
    form.cuda_device = 0;
    EXPECT_TRUE(sameBits(c, predictRotary(c, d), runRotary(c, d, form)));
    EXPECT_EQ(1u, control().launches.size());
    return control().launches[0].kernel;
  };
  RotaryForm unaligned, padded;
  unaligned.offset = 2;
  padded.padding = 4;
  const void* const any =
      kernelOf(makeRotary(NC_FLOAT32, NC_FLOAT16, NC_ROTARY_HALF_SPLIT, NC_ROTARY_ROUND_COMPUTE, 64, 64), {});
  std::set<const void*> kernels;
  for (const int32_t x : rotaryDtypes()) {
    for (const int32_t table : rotaryDtypes()) {
      for (const int32_t layout : {NC_ROTARY_HALF_SPLIT, NC_ROTARY_INTERLEAVED}) {
        std::set<const void*> of_pair;
        for (const int32_t rounding : {NC_ROTARY_ROUND_COMPUTE, NC_ROTARY_ROUND_INPUT}) {
          for (const auto& [head_dim, rotary_dim] :
               std::vector<std::pair<int32_t, int32_t>>{{64, 64}, {80, 80}, {96, 96}, {128, 128}, {128, 32}}) {
            of_pair.insert(kernelOf(makeRotary(x, table, layout, rounding, head_dim, rotary_dim), {}));
          }
          for (const auto& [head_dim, rotary_dim] : std::vector<std::pair<int32_t, int32_t>>{{64, 40}, {66, 64}}) {
            EXPECT_EQ(any, kernelOf(makeRotary(x, table, layout, rounding, head_dim, rotary_dim), {}));
          }
          const RotaryCase c = makeRotary(x, table, layout, rounding, 64, 64);
          EXPECT_EQ(any, kernelOf(c, unaligned));
          const bool in_words = x == NC_FLOAT32;  // 4 of those
          EXPECT_TRUE(kernelOf(c, padded) == any || in_words);
        }
        EXPECT_EQ(1u, of_pair.size());
        const bool common = table == x || table == NC_FLOAT32;
        EXPECT_EQ(!common, *of_pair.begin() == any)
            << reference::format(x).name << " " << reference::format(table).name;
        if (common) kernels.insert(*of_pair.begin());
      }
    }
  }
  EXPECT_EQ(10u, kernels.size());
}

// Few heads are distributed over threads; of many heads each thread takes several.
TEST_F(SimulatedRotary, ThreadsPerHead) {
  control().records = true;
  RotaryCase c = makeRotary(NC_BFLOAT16, NC_BFLOAT16, NC_ROTARY_HALF_SPLIT, NC_ROTARY_ROUND_INPUT, 16, 16);
  c.batch = 1;
  c.heads = 8;
  const auto blocksOf = [&](int64_t seq) {
    c.seq = seq;
    const RotaryData d = drawRotary(c, 3);
    control().launches.clear();
    EXPECT_TRUE(sameBits(c, runRotary(c, d), runRotary(c, d, onDevice(0))));
    return control().launches.at(0).blocks;
  };
  EXPECT_EQ(1000 * 8 / 128 + 1, blocksOf(1000));
  EXPECT_EQ(20000 * 2 / 128 + 1, blocksOf(20000));
}

// Batches, tokens or heads 2^31 elements apart, aligned and unaligned.
TEST_F(SimulatedRotary, OffsetsBeyond31Bits) {
  const int64_t far = (int64_t{1} << 31) + 8;
  for (const int32_t x_dtype : rotaryDtypes()) {
    for (const int64_t stride : {far, far + 1}) {
      for (int which = 0; which < 3; ++which) {
        RotaryCase c = makeRotary(x_dtype, NC_FLOAT32, NC_ROTARY_INTERLEAVED, NC_ROTARY_ROUND_INPUT, 40, 32);
        c.batch = c.seq = c.heads = 2;
        const RotaryData d = drawRotary(c, 4);
        const int64_t strides[3] = {which == 0 ? stride : 160, which == 1 ? stride : 80, which == 2 ? stride : 40};
        const int64_t bytes = c.x().bytes;
        const SparseMemory x((stride + 1000) * bytes), y((stride + 1000) * bytes);
        const auto each = [&](auto f) {
          for (int64_t b = 0; b < 2; ++b) {
            for (int64_t s = 0; s < 2; ++s) {
              for (int64_t h = 0; h < 2; ++h) {
                for (int64_t i = 0; i < 40; ++i) {
                  f(c.at(b, s, h, i), (b * strides[0] + s * strides[1] + h * strides[2] + i) * bytes);
                }
              }
            }
          }
        };
        each([&](size_t i, int64_t at) { reference::storeBits(c.x(), x.at(at), d.x[i]); });
        Tensor cos(NC_FLOAT32, 1, 32, 32, 0), sin = cos;
        cos.fill(d.cos);
        sin.fill(d.sin);
        nc_rotary_spec spec = c.spec;
        spec.device_type = NC_DEVICE_CUDA;
        const RotaryPlan plan(spec);
        Residence at(0);
        HeadStrides of_memory(c, {});
        of_memory.batch = strides[0], of_memory.seq = strides[1], of_memory.head = strides[2];
        const nc_rotary_args args = argsOf(c, of_memory, {x.address(), y.address(), at(cos), at(sin)});
        check(nc_rotary_apply(plan, &args));
        check(nc_cuda_stream_synchronize(0, 0));
        Bits actual(d.x.size());
        each([&](size_t i, int64_t at_byte) { actual[i] = reference::loadBits(c.x(), y.at(at_byte)); });
        EXPECT_TRUE(sameBits(c, predictRotary(c, d), actual)) << "stride " << stride << ", dimension " << which;
      }
    }
  }
}

TEST_F(SimulatedRotary, ErrorsOfTheRuntimeAreNamed) {
  const RotaryCase c = makeRotary(NC_FLOAT16, NC_FLOAT16, NC_ROTARY_HALF_SPLIT, NC_ROTARY_ROUND_COMPUTE, 64, 64);
  const RotaryData d = drawRotary(c, 5);
  control().next_launch_error = 9;
  try {
    runRotary(c, d, onDevice(0));
    FAIL() << "no error";
  } catch (const std::runtime_error& e) {
    const std::string message = e.what();
    EXPECT_NE(std::string::npos, message.find("status " + std::to_string(NC_CUDA_ERROR))) << message;
    EXPECT_NE(std::string::npos, message.find("starting the rotary embedding on CUDA device 0")) << message;
    EXPECT_NE(std::string::npos, message.find("cudaErrorInvalidConfiguration")) << message;
  }
  EXPECT_TRUE(sameBits(c, runRotary(c, d), runRotary(c, d, onDevice(0))));
}

}  // namespace
