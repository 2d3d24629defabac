// Linked into a test: makes the simulator the CUDA plugin of libnormcore.so and checks the state after each test.
#include <cuda_runtime.h>
#include <gtest/gtest.h>

#include <cstdlib>

#include "simulator/control.h"

namespace {

[[maybe_unused]] const int named = setenv("NORMCORE_CUDA_LIBRARY", NC_SIMULATOR_FILE, 1);

// Each test must leave no pending error, the first device current, and no work that was not waited for.
class Watcher : public ::testing::EmptyTestEventListener {
  void OnTestEnd(const ::testing::TestInfo&) override {
    int device = -1;
    EXPECT_EQ(cudaSuccess, cudaGetDevice(&device));
    EXPECT_EQ(0, device) << "the thread's current device";
    EXPECT_EQ(cudaSuccess, cudaGetLastError());
    EXPECT_FALSE(nc::simt::work_waits()) << "some stream has work that nobody waited for";
  }
};

[[maybe_unused]] const bool watched = [] {
  ::testing::UnitTest::GetInstance()->listeners().Append(new Watcher);
  return true;
}();

}  // namespace

// Device memory has its own check for uses after free: its addresses are used once. The default quarantine takes more
// time than the kernels.
extern "C" __attribute__((visibility("default"))) const char* __asan_default_options() {
  return "quarantine_size_mb=4:malloc_context_size=1";
}
