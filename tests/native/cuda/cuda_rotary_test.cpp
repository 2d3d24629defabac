// Rotary position embedding on CUDA devices, bit for bit against the CPU: formats, layouts, roundings, directions,
// dimensions, both memory orders, misaligned addresses, in place, special values, few and many heads.

#include <gtest/gtest.h>

#include "support/cuda_test.h"
#include "support/rotary_harness.h"

namespace {

using namespace harness;

class CudaRotary : public ::testing::TestWithParam<int32_t> {
 protected:
  // On one device after the other.
  ::testing::AssertionResult asOnTheCpu(const RotaryCase& c, const RotaryData& d, RotaryForm form = {}) {
    const Bits expected = runRotary(c, d, form);
    const std::vector<int32_t> devices = cudaDevices();
    form.cuda_device = devices[turn_++ % devices.size()];
    return sameBits(c, expected, runRotary(c, d, form));
  }

 private:
  size_t turn_ = 0;
};

INSTANTIATE_TEST_SUITE_P(X, CudaRotary, ::testing::ValuesIn(rotaryDtypes()),
                         [](const auto& info) { return formatName(info.param); });

TEST_P(CudaRotary, EveryCombination) {
  forEveryRotary(GetParam(), [&](const RotaryCase& c, uint64_t turn) {
    RotaryForm form;
    form.in_place = turn % 3 == 0;
    form.heads_first = turn % 2 == 0;
    // Aligned heads, whatever their dimension.
    if (turn % 5 < 2) form.padding = (c.spec.head_dim + 7) / 8 * 8 - c.spec.head_dim;
    EXPECT_TRUE(asOnTheCpu(c, drawRotary(c, turn), form)) << "turn " << turn;
  });
}

TEST_P(CudaRotary, SpecialValues) {
  forEveryRotary(GetParam(), [&](RotaryCase c, uint64_t turn) {
    if (turn % 3 != 0) return;
    c.seq += 2;
    c.table_batch_rows = 0;
    RotaryData d = drawRotary(c, turn);
    strewSpecial(c, turn, d);
    RotaryForm form;
    if (turn % 2 == 0) form.padding = (c.spec.head_dim + 7) / 8 * 8 - c.spec.head_dim;
    EXPECT_TRUE(asOnTheCpu(c, d, form)) << "turn " << turn;
  });
}

TEST_P(CudaRotary, Forms) {
  for (const int32_t layout : {NC_ROTARY_HALF_SPLIT, NC_ROTARY_INTERLEAVED}) {
    for (const auto& [head_dim, rotary_dim] : std::vector<std::pair<int32_t, int32_t>>{{64, 32}, {43, 38}}) {
      RotaryCase c = makeRotary(GetParam(), GetParam(), layout, NC_ROTARY_ROUND_INPUT, head_dim, rotary_dim);
      for (const int64_t table_batch_rows : {0, 3}) {
        c.table_batch_rows = table_batch_rows;
        const RotaryData d = drawRotary(c, 1);
        RotaryForm form;
        for (const size_t offset : {0u, 1u, 2u, 4u, 8u, 16u}) {
          for (const int64_t padding : {0, 1, 4, 8}) {
            for (int how = 0; how < 6; ++how) {
              form.offset = offset;
              form.padding = padding;
              form.heads_first = how % 2 == 1;
              form.in_place = how / 2 == 1;
              form.broadcast = how / 2 == 2;
              EXPECT_TRUE(asOnTheCpu(c, d, form)) << "offset " << offset << ", padding " << padding << ", how " << how;
            }
          }
        }
      }
    }
  }
}

// Tables and tensors misaligned separately.
TEST_P(CudaRotary, TablesOfAnyAlignment) {
  for (const int32_t table : rotaryDtypes()) {
    RotaryCase c = makeRotary(GetParam(), table, NC_ROTARY_HALF_SPLIT, NC_ROTARY_ROUND_COMPUTE, 64, 64);
    c.spec.device_type = NC_DEVICE_CUDA;
    const RotaryPlan plan(c.spec);
    const RotaryData d = drawRotary(c, 2);
    c.spec.device_type = NC_DEVICE_CPU;
    const Bits expected = runRotary(c, d);
    const HeadStrides strides(c, {});
    for (const std::array<size_t, 3>& offsets : std::vector<std::array<size_t, 3>>{
             {0, 1, 0}, {0, 0, 1}, {1, 0, 0}, {2, 16, 8}, {0, 8, 16}, {16, 2, 4}, {8, 32, 0}}) {
      const int64_t count = strides.span(c), angles = c.tableRows() * c.half();
      Tensor x(c.spec.x_dtype, 1, count, count, offsets[0]), y(c.spec.x_dtype, 1, count, count, 0),
          cos(table, 1, angles, angles, offsets[1]), sin(table, 1, angles, angles, offsets[2]);
      x.fill(d.x);
      cos.fill(d.cos);
      sin.fill(d.sin);
      Residence at(0);
      const nc_rotary_args args = argsOf(c, strides, {at(x), at(y), at(cos), at(sin)});
      check(nc_rotary_apply(plan, &args));
      at.bringBack();
      Bits actual = y.contents();
      forgetPayloads(c, actual);
      EXPECT_TRUE(sameBits(c, expected, actual)) << offsets[0] << " " << offsets[1] << " " << offsets[2];
      EXPECT_TRUE(y.surroundingsIntact());
    }
  }
}

TEST_P(CudaRotary, Heads) {
  for (const int64_t heads : {1, 2, 3, 4, 5, 8, 9, 33}) {
    for (const int64_t seq : {1, 7}) {
      RotaryCase c = makeRotary(GetParam(), NC_FLOAT32, NC_ROTARY_HALF_SPLIT, NC_ROTARY_ROUND_INPUT, 48, 32);
      c.heads = heads;
      c.seq = seq;
      EXPECT_TRUE(asOnTheCpu(c, drawRotary(c, 3)));
    }
  }
}

// Enough heads that a thread takes several, the last thread perhaps fewer: in the kernels of whole vectors and in the
// generic one.
TEST_P(CudaRotary, ManyHeads) {
  for (const int64_t heads : {3, 7}) {
    for (const int32_t table : {NC_FLOAT32, GetParam() == NC_FLOAT16 ? NC_BFLOAT16 : NC_FLOAT16}) {
      RotaryCase c = makeRotary(GetParam(), table, NC_ROTARY_INTERLEAVED, NC_ROTARY_ROUND_COMPUTE, 16, 16);
      c.heads = heads;
      c.batch = 2;
      c.seq = (int64_t{1} << 16) / heads + 1;
      EXPECT_TRUE(asOnTheCpu(c, drawRotary(c, 4)));
    }
  }
}

TEST_P(CudaRotary, LargeHeads) {
  for (const int32_t layout : {NC_ROTARY_HALF_SPLIT, NC_ROTARY_INTERLEAVED}) {
    for (const auto& [head_dim, rotary_dim] :
         std::vector<std::pair<int32_t, int32_t>>{{5001, 4998}, {4096, 4000}, {NC_MAX_HEAD_DIM, NC_MAX_HEAD_DIM}}) {
      RotaryCase c = makeRotary(GetParam(), GetParam(), layout, NC_ROTARY_ROUND_INPUT, head_dim, rotary_dim);
      c.batch = 1;
      c.seq = c.heads = 2;
      EXPECT_TRUE(asOnTheCpu(c, drawRotary(c, 5)));
    }
  }
}

TEST_P(CudaRotary, EmptyTensors) {
  for (const auto& [batch, seq, heads] : std::vector<std::array<int64_t, 3>>{{0, 3, 3}, {2, 0, 3}, {2, 3, 0}}) {
    RotaryCase c = makeRotary(GetParam(), GetParam(), NC_ROTARY_HALF_SPLIT, NC_ROTARY_ROUND_COMPUTE, 16, 16);
    c.batch = batch;
    c.seq = seq;
    c.heads = heads;
    c.spec.device_type = NC_DEVICE_CUDA;
    const RotaryPlan plan(c.spec);
    const nc_rotary_args args = argsOf(c);
    EXPECT_EQ(NC_OK, nc_rotary_apply(plan, &args)) << nc_last_error();
  }
}

}  // namespace
