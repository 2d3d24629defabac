// Outputs written with non-temporal stores have the same bits as others. The library decides by output size and
// alignment; here the cache size is set so small that alignment alone decides.

#include <gtest/gtest.h>

#include <cstdlib>
#include <cstring>
#include <vector>

#include "support/harness.h"

namespace {

using namespace harness;

// Set before the library first reads it, which it does once.
const bool kSmallCache = setenv("NORMCORE_CACHE_BYTES", "1", 1) == 0;

// Memory followed by guard bytes that must not change.
class Block {
 public:
  Block(int64_t bytes, int64_t offset) : size(bytes), memory(static_cast<size_t>(bytes + 256), 0x5a) {
    const int64_t at = reinterpret_cast<int64_t>(memory.data());
    start = (at + 63) / 64 * 64 - at + offset;
  }
  int64_t address() { return reinterpret_cast<int64_t>(memory.data()) + start; }
  std::vector<uint8_t> bytes() const {
    return std::vector<uint8_t>(memory.begin() + start, memory.begin() + start + size);
  }
  void set(const std::vector<uint8_t>& values) { std::copy(values.begin(), values.end(), memory.begin() + start); }
  bool onlyInside() const {
    for (int64_t i = 0; i < static_cast<int64_t>(memory.size()); ++i) {
      if ((i < start || i >= start + size) && memory[static_cast<size_t>(i)] != 0x5a) return false;
    }
    return true;
  }

 private:
  int64_t size, start;
  std::vector<uint8_t> memory;
};

struct Outputs {
  std::vector<uint8_t> y, dx;
};

// y and dx, both at this offset from a cache line's start.
Outputs outputs(const nc_norm_spec& spec, int64_t rows, int64_t stride, int64_t offset) {
  const int64_t n = spec.hidden_size, width = spec.x_dtype == NC_FLOAT32 ? 4 : 2, bytes = rows * stride * width;
  const Plan plan(spec);
  Block x(bytes, 0), dy(bytes, 0), weight(n * width, 0), y(bytes, offset), dx(bytes, offset), rstd(rows * 4, 0);
  uint32_t state = 1;
  const auto drawn = [&](int64_t count) {
    std::vector<float> values(static_cast<size_t>(count));
    for (float& v : values) {
      state = state * 1664525u + 1013904223u;
      v = static_cast<float>(static_cast<int32_t>(state)) / 1e9f;
    }
    // One row with a NaN, one with an infinity.
    if (count > 3 * n) values[static_cast<size_t>(n + 1)] = NAN, values[static_cast<size_t>(2 * n + 3)] = INFINITY;
    std::vector<uint8_t> stored(static_cast<size_t>(count * width));
    check(nc_convert(reinterpret_cast<int64_t>(values.data()), NC_FLOAT32, reinterpret_cast<int64_t>(stored.data()),
                     spec.x_dtype, count));
    return stored;
  };
  x.set(drawn(rows * stride)), dy.set(drawn(rows * stride)), weight.set(drawn(n));
  auto forward = argsOf<nc_norm_forward_args>();
  forward.rows = rows;
  forward.x = x.address(), forward.x_stride = stride;
  forward.weight = weight.address();
  forward.y = y.address(), forward.y_stride = stride;
  forward.rstd = rstd.address();
  check(nc_norm_forward(plan, &forward));
  int64_t needed = 0;
  check(nc_norm_backward_workspace(plan, rows, 1, 0, &needed));
  std::vector<double> workspace(static_cast<size_t>(needed + 7) / 8);
  std::vector<uint8_t> dweight(static_cast<size_t>(n * width));
  auto backward = argsOf<nc_norm_backward_args>();
  backward.rows = rows;
  backward.x = x.address(), backward.x_stride = stride;
  backward.weight = weight.address();
  backward.dy = dy.address(), backward.dy_stride = stride;
  backward.rstd = rstd.address();
  backward.dx = dx.address(), backward.dx_stride = stride;
  backward.workspace = reinterpret_cast<int64_t>(workspace.data()), backward.workspace_bytes = needed;
  backward.dweight = reinterpret_cast<int64_t>(dweight.data());
  backward.dweight_dtype = spec.weight_dtype, backward.dweight_mode = NC_GRADIENT_WRITE;
  check(nc_norm_backward(plan, &backward));
  EXPECT_TRUE(y.onlyInside() && dx.onlyInside());
  return {y.bytes(), dx.bytes()};
}

TEST(Streaming, SameBits) {
  ASSERT_TRUE(kSmallCache);
  for (const int32_t type : {NC_FLOAT32, NC_BFLOAT16, NC_FLOAT16}) {
    for (const int32_t level : supportedLevels()) {
      for (const int32_t rounding : {NC_ROUND_COMPUTE, NC_ROUND_INPUT}) {
        for (const int64_t n : {57, 64, 120, 128, 768, 769, 1040, 4096, 20000}) {
          nc_norm_spec spec = makeSpec(NC_RMS_NORM, type, type, type, n);
          spec.affine = NC_AFFINE_WEIGHT;
          spec.scale_rounding = rounding;
          spec.cpu_level = level;
          // Rows on 32-byte boundaries, followed by a gap that must not change.
          const int64_t stride = (n + 31) / 16 * 16;
          const Outputs streamed = outputs(spec, 11, stride, 0);
          for (const int64_t offset : {2 * (type == NC_FLOAT32 ? 4 : 2), 16, 32}) {
            const Outputs other = outputs(spec, 11, stride, offset);
            const std::string what = levelName(level) + std::string(", type ") + std::to_string(type) + ", n " +
                                     std::to_string(n) + ", offset " + std::to_string(offset);
            EXPECT_TRUE(streamed.y == other.y) << what;
            EXPECT_TRUE(streamed.dx == other.dx) << what;
          }
        }
      }
    }
  }
}

}  // namespace
