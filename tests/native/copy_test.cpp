// nc_copy copies every byte, at every alignment of either side, and writes nothing else.

#include <gtest/gtest.h>

#include <cstdint>
#include <cstring>
#include <string>
#include <vector>

#include "support/harness.h"

namespace {

using harness::check;

constexpr int64_t kMargin = 128;

int64_t address(const std::vector<uint8_t>& v, int64_t offset) { return reinterpret_cast<int64_t>(v.data()) + offset; }

void expect_copied(int64_t bytes, int64_t to_offset, int64_t from_offset) {
  std::vector<uint8_t> from(static_cast<size_t>(bytes + 2 * kMargin)), to(from.size(), 0xee);
  uint32_t state = static_cast<uint32_t>(bytes) + 1;
  for (uint8_t& b : from) {
    state = state * 1664525u + 1013904223u;
    b = static_cast<uint8_t>(state >> 24);
  }
  std::vector<uint8_t> expected = to;
  if (bytes > 0) std::memcpy(&expected[static_cast<size_t>(to_offset)], &from[static_cast<size_t>(from_offset)], bytes);
  check(nc_copy(address(to, to_offset), address(from, from_offset), bytes));
  ASSERT_TRUE(to == expected) << bytes << " bytes, to + " << to_offset << ", from + " << from_offset;
}

TEST(Copy, SizesAroundTheLoopSteps) {
  for (const int64_t around : {0, 32, 64, 4096, 8192, 12288, 1 << 20}) {
    for (int64_t bytes = around < 65 ? 0 : around - 65; bytes <= around + 65; ++bytes) expect_copied(bytes, 3, 5);
  }
}

TEST(Copy, EveryAlignment) {
  for (int64_t to = 0; to < 65; ++to) {
    for (int64_t from = 0; from < 65; from += 7) expect_copied(9000, to, from);
  }
}

TEST(Copy, RefusesInvalidArguments) {
  std::vector<uint8_t> memory(256);
  const int64_t a = address(memory, 0);
  EXPECT_EQ(NC_INVALID_ARGUMENT, nc_copy(a, a + 128, -1));
  EXPECT_EQ(std::string("bytes: -1, expected at least 0"), nc_last_error());
  EXPECT_EQ(NC_INVALID_ARGUMENT, nc_copy(0, a, 1));
  EXPECT_EQ(NC_INVALID_ARGUMENT, nc_copy(a, 0, 1));
  EXPECT_EQ(NC_INVALID_ARGUMENT, nc_copy(a, a + 127, 128));
  EXPECT_EQ(NC_INVALID_ARGUMENT, nc_copy(a + 127, a, 128));
  EXPECT_EQ(NC_OK, nc_copy(0, 0, 0));
  EXPECT_EQ(NC_OK, nc_copy(a, a + 128, 128));
}

}  // namespace
