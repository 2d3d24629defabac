// Allocation, freeing and accounting of nc_allocate and nc_cuda_host_allocate, on the simulator.

#include <gtest/gtest.h>

#include <cstring>
#include <string>
#include <thread>
#include <vector>

#include "simulator/control.h"
#include "support/fp8.h"
#include "support/harness.h"

namespace {

using harness::check;

using Allocate = int32_t (*)(int64_t bytes, int64_t* address);
using Free = int32_t (*)(int64_t address);

int32_t allocate(int64_t bytes, int64_t* address) { return nc_allocate(bytes, address); }
int32_t release(int64_t address) { return nc_free(address); }
int32_t hostAllocate(int64_t bytes, int64_t* address) { return nc_cuda_host_allocate(bytes, address); }
int32_t hostRelease(int64_t address) { return nc_cuda_host_free(address); }

struct Kind {
  const char* name;
  Allocate allocate;
  Free free;
};
void PrintTo(const Kind& kind, std::ostream* to) { *to << kind.name; }

class Memory : public ::testing::TestWithParam<Kind> {
 protected:
  int64_t allocated(int64_t bytes) const {
    int64_t address = 0;
    check(GetParam().allocate(bytes, &address));
    return address;
  }
};

INSTANTIATE_TEST_SUITE_P(Kinds, Memory,
                         ::testing::Values(Kind{"Ordinary", allocate, release},
                                           Kind{"PageLocked", hostAllocate, hostRelease}),
                         [](const auto& info) { return info.param.name; });

TEST_P(Memory, CountsRequestedBytesUntilFreed) {
  const int64_t before = nc_allocated_bytes();
  std::vector<int64_t> addresses;
  int64_t expected = before;
  for (const int64_t bytes : {0, 1, 63, 64, 65, 4096, 1000003}) {
    const int64_t address = allocated(bytes);
    ASSERT_NE(0, address);
    // All of it can be written, and the sanitizer reports any access beyond it.
    std::memset(reinterpret_cast<void*>(address), 0xa5, static_cast<size_t>(bytes));
    addresses.push_back(address);
    expected += bytes;
    EXPECT_EQ(expected, nc_allocated_bytes());
  }
  // In an order different from the allocations'.
  for (const size_t i : {3u, 0u, 6u, 1u, 5u, 2u, 4u}) check(GetParam().free(addresses[i]));
  EXPECT_EQ(before, nc_allocated_bytes());
}

TEST_P(Memory, ZeroBytesAreIgnored) {
  const int64_t before = nc_allocated_bytes();
  check(GetParam().free(0));
  EXPECT_EQ(before, nc_allocated_bytes());
}

TEST_P(Memory, RefusedCallsChangeNothing) {
  const int64_t before = nc_allocated_bytes();
  int64_t address = 77;
  for (const int64_t bytes : {int64_t{-1}, INT64_MIN, INT64_MAX, INT64_MAX - 64}) {
    EXPECT_EQ(NC_INVALID_ARGUMENT, GetParam().allocate(bytes, &address)) << bytes;
    const std::string message = nc_last_error();
    EXPECT_NE(std::string::npos, message.find("bytes: " + std::to_string(bytes) + ", expected")) << message;
  }
  EXPECT_EQ(NC_INVALID_ARGUMENT, GetParam().allocate(16, nullptr));
  EXPECT_NE(std::string::npos, std::string(nc_last_error()).find("address: null, expected"));
  EXPECT_EQ(77, address);
  EXPECT_EQ(before, nc_allocated_bytes());
}

TEST_P(Memory, IsCountedAcrossThreads) {
  const int64_t before = nc_allocated_bytes();
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([this, t] {
      for (int i = 0; i < 500; ++i) {
        const int64_t first = allocated(1 + t), second = allocated(1000 + i);
        check(GetParam().free(first));
        check(GetParam().free(second));
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(before, nc_allocated_bytes());
}

// Kernels of every device can access it, unlike ordinary memory.
TEST(PageLockedMemory, IsAccessibleToKernels) {
  int64_t x = 0, amax = 0, ordinary = 0;
  check(nc_cuda_host_allocate(12, &x));
  check(nc_cuda_host_allocate(4, &amax));
  check(nc_allocate(4, &ordinary));
  const float values[3] = {1, -3, 2};
  std::memcpy(reinterpret_cast<void*>(x), values, sizeof values);
  for (int32_t device = 0; device < 2; ++device) {
    std::memset(reinterpret_cast<void*>(amax), 0, 4);
    const fp8::Fp8Plan plan(fp8::makeFp8(NC_FLOAT32, NC_FLOAT8_E4M3, NC_SCALING_TENSOR, 0, device));
    nc_fp8_args args = fp8::argsOf(1, 3);
    args.x = x, args.x_stride = 3;
    args.amax = amax;
    check(nc_fp8_amax(plan, &args));
    check(nc_cuda_stream_synchronize(device, 0));
    float largest;
    std::memcpy(&largest, reinterpret_cast<const void*>(amax), sizeof largest);
    EXPECT_EQ(3, largest);
    args.amax = ordinary;
    EXPECT_EQ(NC_INVALID_ARGUMENT, nc_fp8_amax(plan, &args));
    EXPECT_NE(std::string::npos, std::string(nc_last_error()).find("amax: address")) << nc_last_error();
  }
  check(nc_cuda_host_free(x));
  check(nc_cuda_host_free(amax));
  check(nc_free(ordinary));
}

TEST(PageLockedMemory, ErrorsOfTheRuntimeAreNamed) {
  // The first CUDA call looks for devices; it is not the call that should fail.
  int32_t devices = 0;
  ASSERT_EQ(NC_OK, nc_cuda_device_count(&devices)) << nc_last_error();
  const int64_t before = nc_allocated_bytes();
  int64_t address = 77;
  nc::simt::control().next_call_error = 2;
  EXPECT_EQ(NC_OUT_OF_MEMORY, nc_cuda_host_allocate(64, &address));
  EXPECT_NE(std::string::npos, std::string(nc_last_error()).find("cudaErrorMemoryAllocation")) << nc_last_error();
  EXPECT_EQ(77, address);
  EXPECT_EQ(before, nc_allocated_bytes());
}

}  // namespace
