// The simulator itself: threads, warps, blocks and clusters behave as simt.cuh says, a kernel that breaks a rule is
// refused with the reason, and a missing barrier changes results.

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <functional>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "cuda/launch.h"
#include "cuda/runtime.h"
#include "simulator/control.h"

namespace {

using namespace nc;
using simt::Control;

constexpr int32_t kInvalidValue = cudaErrorInvalidValue, kInvalidConfiguration = cudaErrorInvalidConfiguration,
                  kInvalidDevice = cudaErrorInvalidDevice, kInvalidHandle = cudaErrorInvalidResourceHandle,
                  kIllegalAddress = cudaErrorIllegalAddress, kMisalignedAddress = cudaErrorMisalignedAddress,
                  kLaunchFailure = cudaErrorLaunchFailure, kNotSupported = cudaErrorNotSupported,
                  kCaptureUnsupported = cudaErrorStreamCaptureUnsupported,
                  kCaptureInvalidated = cudaErrorStreamCaptureInvalidated,
                  kInvalidCluster = cudaErrorInvalidClusterSize;

// The parameter of this file's kernels: one function for all of them.
struct Body {
  const std::function<void()>* run;
};
void kernel(Body body) { (*body.run)(); }

class Simulator : public ::testing::Test {
 protected:
  void SetUp() override {
    before_ = simt::control();
    ASSERT_EQ(0, permit(kernel, 227 * 1024, true));
  }
  void TearDown() override {
    simt::control() = before_;
    EXPECT_EQ(cudaSuccess, cudaPeekAtLastError());
    EXPECT_FALSE(simt::work_waits());
    int device = -1;
    EXPECT_EQ(cudaSuccess, cudaGetDevice(&device));
    EXPECT_EQ(0, device);
  }

  // The launch error or, if the runtime accepts the launch, the error of waiting for it.
  int32_t run(int64_t blocks, int threads, int cluster, int shared, const std::function<void()>& body, int rows = 1) {
    const int32_t error = launch<Body>({kernel, blocks, rows, threads, cluster, shared}, {&body}, 0);
    return error != 0 ? error : returned(cudaStreamSynchronize(nullptr));
  }

  void expectFailure(const std::string& part, int threads, int cluster, const std::function<void()>& body,
                     int32_t error = kLaunchFailure) {
    EXPECT_EQ(error, run(cluster, threads, cluster, 256, body));
    const std::string why = simt::control().failure;
    EXPECT_NE(std::string::npos, why.find(part)) << "\"" << why << "\" lacks \"" << part << "\"";
    EXPECT_NE(std::string::npos, std::string(cuda_runtime::error_text(error)).find(part));
    EXPECT_EQ(error, run(1, 32, 1, 0, [] {})) << "the device is lost";
    EXPECT_EQ(cudaSuccess, cudaDeviceReset());
    std::vector<int> ran(64);  // and the next launch is unaffected
    EXPECT_EQ(0, run(1, 64, 1, 0, [&] {
                simt::block_barrier();
                ran[static_cast<size_t>(simt::thread_index())] = simt::shuffle_xor(1, 1);
              }));
    EXPECT_EQ(64, std::count(ran.begin(), ran.end(), 1));
  }

  // The number of seeds, of 20, for which the kernel's result is wrong.
  int wrong(const std::function<bool()>& right) {
    int count = 0;
    for (uint64_t seed = 1; seed <= 20; ++seed) {
      simt::control().seed = seed;
      if (!right()) ++count;
      // Without a barrier a launch may also fail.
      EXPECT_EQ(cudaSuccess, cudaPeekAtLastError() != cudaSuccess ? cudaDeviceReset() : cudaSuccess);
    }
    return count;
  }

  // Skips a barrier of the next launch.
  void skip(simt::Barrier kind, int64_t call) {
    Control& c = simt::control();
    c.records = c.skips = true;
    c.launches.clear();
    c.skipped_site = {kind, nullptr, 0};
    c.skipped_call = call;
    c.skipped_launch = 0;
  }

 private:
  Control before_;
};

// Host memory registered as device memory.
class Known {
 public:
  Known(const void* p, size_t bytes, int32_t device = kAnyDevice) : address_(reinterpret_cast<int64_t>(p)) {
    simt::register_memory(address_, static_cast<int64_t>(bytes), device);
  }
  Known(const Known&) = delete;
  Known& operator=(const Known&) = delete;
  ~Known() { simt::unregister_memory(address_); }

 private:
  int64_t address_;
};

template <class T>
T* shared(int element = 0) {
  return reinterpret_cast<T*>(simt::shared_memory()) + element;
}

TEST_F(Simulator, EveryThreadRunsOnceWithItsCoordinates) {
  for (const auto& [blocks, rows, threads, cluster] :
       std::vector<std::array<int, 4>>{{1, 1, 32, 1}, {7, 3, 96, 1}, {6, 2, 64, 2}, {16, 1, 1024, 16}}) {
    std::vector<int> seen(static_cast<size_t>(blocks * rows * threads));
    EXPECT_EQ(0, run(
                     blocks, threads, cluster, 0,
                     [&, threads = threads, blocks = blocks, cluster = cluster] {
                       EXPECT_EQ(threads, simt::thread_count());
                       EXPECT_EQ(simt::block_index() % cluster, simt::cluster_rank());
                       const int64_t block = simt::block_row() * blocks + simt::block_index();
                       ++seen[static_cast<size_t>(block * threads + simt::thread_index())];
                     },
                     rows));
    EXPECT_EQ(static_cast<std::ptrdiff_t>(seen.size()), std::count(seen.begin(), seen.end(), 1));
  }
}

TEST_F(Simulator, SeedsDetermineTheOrder) {
  const auto order = [&](uint64_t seed) {
    simt::control().seed = seed;
    std::vector<int64_t> all;
    EXPECT_EQ(0, run(5, 64, 1, 0, [&] {
                all.push_back(simt::block_index() * 64 + simt::thread_index());
                simt::block_barrier();
                all.push_back(-simt::block_index() * 64 - simt::thread_index());
              }));
    return all;
  };
  std::set<std::vector<int64_t>> orders;
  for (uint64_t seed = 0; seed < 10; ++seed) {
    EXPECT_EQ(order(seed), order(seed));
    orders.insert(order(seed));
  }
  EXPECT_EQ(10u, orders.size());
}

TEST_F(Simulator, ShufflesExchangeValues) {
  struct Wide {
    uint64_t a, b;
  };
  EXPECT_EQ(0, wrong([&] {
              bool right = true;
              const auto expect = [&](bool condition) { right = right && condition; };
              EXPECT_EQ(0, run(1, 96, 1, 0, [&] {
                          const int i = simt::thread_index();
                          for (int mask = 0; mask < 32; ++mask) {
                            expect(simt::shuffle_xor(100 * mask + i, mask) == 100 * mask + (i ^ mask));
                            expect(simt::shuffle_xor(i + 0.5, mask) == (i ^ mask) + 0.5);
                            expect(simt::shuffle_xor(i + 0.25f, mask) == static_cast<float>(i ^ mask) + 0.25f);
                            const auto u = static_cast<uint64_t>(i);
                            expect(simt::shuffle_xor(Wide{u, ~u}, mask).b == ~(u ^ static_cast<uint64_t>(mask)));
                          }
                        }));
              return right;
            }));
}

// Thread i writes, all threads synchronise, thread i reads another thread's value; repeatedly in the same memory.
bool exchanged(const std::function<int32_t(const std::function<void()>&)>& run, const std::function<void()>& meet,
               int partner, bool meets_after_reading) {
  bool right = true;
  EXPECT_EQ(0, run([&] {
              const int i = simt::thread_index();
              for (int round = 0; round < 3; ++round) {
                *shared<int>(i) = 1000 * round + i;
                meet();
                if (*shared<int>(i ^ partner) != 1000 * round + (i ^ partner)) right = false;
                if (meets_after_reading) meet();
              }
            }));
  return right;
}

TEST_F(Simulator, MissingBlockBarriersChangeResults) {
  const auto in_block = [&](const std::function<void()>& body) { return run(2, 128, 1, 512, body); };
  const auto barrier = [] { simt::block_barrier(); };
  EXPECT_EQ(0, wrong([&] { return exchanged(in_block, barrier, 64, true); }));
  EXPECT_GE(wrong([&] { return exchanged(in_block, barrier, 64, false); }), 15);
  for (int call = 0; call < 5; ++call) {
    EXPECT_GE(wrong([&] {
                skip(simt::kBlockBarrier, call);
                return exchanged(in_block, barrier, 64, true);
              }),
              15)
        << "without barrier " << call;
  }
  EXPECT_EQ(6, simt::control().launches[0].calls[simt::kBlockBarrier]);
}

TEST_F(Simulator, MissingWarpBarriersChangeResults) {
  const auto in_block = [&](const std::function<void()>& body) { return run(2, 64, 1, 256, body); };
  EXPECT_EQ(0, wrong([&] {
              return exchanged(
                  in_block, [] { simt::warp_barrier(); }, 5, true);
            }));
  EXPECT_EQ(20, wrong([&] {
              return exchanged(
                  in_block, [] {}, 5, true);
            }));
}

TEST_F(Simulator, ClustersAccessDistributedSharedMemory) {
  for (const auto& [cluster, threads] : std::vector<std::array<int, 2>>{{2, 64}, {5, 96}, {16, 1024}}) {
    const int blocks = cluster * 2;
    std::vector<int64_t> sums(static_cast<size_t>(blocks));
    const int64_t last = static_cast<int64_t>(cluster) * threads - 1;
    EXPECT_EQ(0, run(blocks, threads, cluster, threads * 4, [&, cluster = cluster, threads = threads] {
                *shared<int>(simt::thread_index()) = simt::cluster_rank() * threads + simt::thread_index();
                simt::cluster_arrive();
                simt::cluster_wait();
                if (simt::thread_index() == 7) {
                  int64_t sum = 0;
                  for (int rank = 0; rank < cluster; ++rank) {
                    const int* there = simt::of_cluster_block(shared<int>(), rank);
                    for (int i = 0; i < threads; ++i) sum += there[i];
                  }
                  sums[static_cast<size_t>(simt::block_index())] = sum;
                }
                simt::cluster_arrive();
                simt::cluster_wait();
              }));
    EXPECT_EQ(blocks, std::count(sums.begin(), sums.end(), last * (last + 1) / 2));
  }
}

TEST_F(Simulator, MissingClusterBarriersChangeResults) {
  // Blocks pass a number around; the last barrier keeps shared memory alive while other blocks read it.
  const auto right = [&] {
    bool all = true;
    const int32_t error = run(8, 64, 4, 16, [&] {
      simt::cluster_arrive();
      simt::cluster_wait();
      for (int round = 0; round < 2; ++round) {
        const int rank = simt::cluster_rank();
        if (simt::thread_index() == 0) *simt::of_cluster_block(shared<int>(), (rank + 1) % 4) = 10 * round + rank;
        simt::cluster_arrive();
        simt::cluster_wait();
        const int got = *simt::of_cluster_block(shared<int>(), (rank + 3) % 4);
        if (got != 10 * round + (rank + 2) % 4) all = false;
        simt::cluster_arrive();
        simt::cluster_wait();
      }
    });
    return error == 0 && all;
  };
  EXPECT_EQ(0, wrong(right));
  for (int call = 0; call < 5; ++call) {
    EXPECT_GE(wrong([&] {
                skip(simt::kClusterWait, call);
                return right();
              }),
              10)
        << "without wait " << call;
  }
}

TEST_F(Simulator, CopiesCompleteLate) {
  alignas(16) static uint32_t source[64 * 8];
  const Known known(source, sizeof source);
  for (uint32_t i = 0; i < 64 * 8; ++i) source[i] = i;
  // Two groups of one copy each; `early` reads before the required wait.
  int unwritten = 0, arrived = 0;
  const auto right = [&] {
    bool all = true;
    EXPECT_EQ(0, run(1, 64, 1, 64 * 32, [&] {
                const int i = simt::thread_index();
                for (int half = 0; half < 2; ++half) {
                  simt::copy_async16(shared<char>((2 * i + half) * 16), source + (2 * i + half) * 4);
                  simt::copy_async_commit();
                }
                simt::warp_barrier();
                ++(*shared<uint32_t>(8 * i) == 0xffffffffu ? unwritten : arrived);
                simt::copy_async_wait<1>();
                if (*shared<uint32_t>(8 * i + 3) != static_cast<uint32_t>(8 * i + 3)) all = false;
                simt::copy_async_wait<0>();
                if (*shared<uint32_t>(8 * i + 7) != static_cast<uint32_t>(8 * i + 7)) all = false;
              }));
    return all;
  };
  EXPECT_EQ(0, wrong(right));
  EXPECT_GT(unwritten, 100);
  EXPECT_GT(arrived, 100);
  for (int call = 0; call < 2; ++call) {
    EXPECT_EQ(20, wrong([&] {
                skip(simt::kCopyWait, call);
                return right();
              }));
  }
}

TEST_F(Simulator, CopiesReadTheirSourceLate) {
  alignas(16) uint32_t source[4] = {1, 1, 1, 1};
  const Known known(source, sizeof source);
  std::set<uint32_t> got;
  for (uint64_t seed = 0; seed < 40; ++seed) {
    simt::control().seed = seed;
    source[0] = 1;
    EXPECT_EQ(0, run(1, 32, 1, 16, [&] {
                if (simt::thread_index() == 0) simt::copy_async16(simt::shared_memory(), source);
                simt::warp_barrier();
                if (simt::thread_index() == 0) source[0] = 2;
                simt::copy_async_commit();
                simt::copy_async_wait<0>();
                if (simt::thread_index() == 0) got.insert(*shared<uint32_t>());
              }));
  }
  EXPECT_EQ((std::set<uint32_t>{1, 2}), got);
}

TEST_F(Simulator, BlocksMayEndWithPendingCopies) {
  alignas(16) uint32_t source[4] = {};
  const Known known(source, sizeof source);
  EXPECT_EQ(0, run(3, 32, 1, 16, [&] {
              if (simt::thread_index() == 0) simt::copy_async16(simt::shared_memory(), source);
            }));
}

// Whole sectors for whole warps, one sector for each distant element of a warp, and no traffic for shared memory.
TEST_F(Simulator, TrafficIsCounted) {
  alignas(32) static float from[32 * 64], to[64];
  const Known known_from(from, sizeof from), known_to(to, sizeof to);
  Control& c = simt::control();
  const auto address = [](const float* p) { return reinterpret_cast<int64_t>(p); };
  c.records = c.counts = true;
  c.regions = {{address(from), sizeof(from)}, {address(to), sizeof(to)}};
  const auto traffic = [&](int region, simt::AccessKind kind) {
    return c.launches.back().traffic.at(static_cast<size_t>(region)).of[kind];
  };
  const auto expect = [](int64_t requests, int64_t sectors, int64_t bytes, const simt::Traffic& t) {
    EXPECT_EQ(requests, t.requests);
    EXPECT_EQ(sectors, t.sectors);
    EXPECT_EQ(bytes, t.bytes);
  };
  EXPECT_EQ(0, run(1, 64, 1, 4096, [] {
              const int i = simt::thread_index();
              simt::store_value(to + i, simt::load_value<float>(from + i));
              *shared<float>(i) = 0;
              simt::store16(shared<char>(1024 + 16 * i), simt::load16(shared<char>(1024 + 16 * i)));
            }));
  expect(2, 8, 256, traffic(0, simt::kLoads));
  expect(2, 8, 256, traffic(1, simt::kStores));
  expect(0, 0, 0, traffic(0, simt::kStores));
  expect(0, 0, 0, traffic(2, simt::kLoads));
  expect(0, 0, 0, traffic(2, simt::kStores));
  // Far apart; the same element for all; across a sector's end; 16 bytes each, half of them before the warp
  // synchronises.
  EXPECT_EQ(0, run(1, 64, 1, 4096, [] {
              const int i = simt::thread_index();
              simt::load_value<float>(from + 8 * i);
              simt::load_value<float>(from);
              if (i == 5) simt::load_anywhere<float>(reinterpret_cast<const char*>(from) + 30);
              if (i < 16) simt::load16(from + 4 * i);
              simt::warp_barrier();
              if (i >= 16 && i < 32) simt::load16(from + 4 * i);
              simt::copy_async16(shared<char>(16 * i), from + 4 * i);
              simt::copy_async_wait<0>();
            }));
  // Thread 5's access across the end makes its 16-byte access, later than the others', a request of its own.
  expect(2 + 2 + 1 + 1 + 1, 2 * 32 + 2 + 8 + 1 + 8, 64 * 8 + 4 + 32 * 16, traffic(0, simt::kLoads));
  expect(2, 32, 64 * 16, traffic(0, simt::kCopies));
  // One element outside every region.
  EXPECT_EQ(0, run(1, 32, 1, 0, [] {
              if (simt::thread_index() == 0) simt::load16(reinterpret_cast<const char*>(to) + sizeof(to) - 16);
            }));
  expect(1, 1, 16, traffic(1, simt::kLoads));
  c.regions[1].bytes -= 4;
  EXPECT_EQ(0, run(1, 32, 1, 0, [] {
              if (simt::thread_index() == 0) simt::load16(reinterpret_cast<const char*>(to) + sizeof(to) - 16);
            }));
  expect(0, 0, 0, traffic(1, simt::kLoads));
  expect(1, 1, 16, traffic(2, simt::kLoads));
}

// With NaN, and with numbers: no single unwritten value can hide a missing write from all tests.
TEST_F(Simulator, SharedMemoryStartsUninitialised) {
  int blocks = 0, nan = 0, zero = 0;
  for (uint64_t seed = 1; seed <= 50; ++seed) {
    simt::control().seed = seed;
    EXPECT_EQ(0, run(4, 32, 1, 128, [&] {
                const float found = *shared<float>(simt::thread_index());
                *shared<float>(simt::thread_index()) = 1;
                if (simt::thread_index() != 7) return;
                ++blocks;
                nan += std::isnan(found);
                zero += found == 0;
              }));
  }
  EXPECT_EQ(200, blocks);
  EXPECT_GT(nan, 40);
  EXPECT_GT(zero, 5);
  EXPECT_GT(blocks - nan - zero, 40);
}

TEST_F(Simulator, DivergenceIsReported) {
  expectFailure("16 at a shuffle or warp barrier, 16 returned", 64, 1, [] {
    if (simt::thread_index() % 32 < 16) simt::shuffle_xor(1, 1);
  });
  expectFailure("12 at a shuffle or warp barrier, 20 at a block barrier", 32, 1, [] {
    if (simt::thread_index() < 12) simt::warp_barrier();
    simt::block_barrier();
  });
  expectFailure("a shuffle of 4 bytes by", 32, 1, [] { simt::shuffle_xor(1, simt::thread_index() < 9 ? 1 : 2); });
  expectFailure("a shuffle of 8 bytes by 1", 32, 1, [] {
    if (simt::thread_index() < 9) {
      simt::shuffle_xor(1, 1);
    } else {
      simt::shuffle_xor(1.0, 1);
    }
  });
  expectFailure("a warp barrier", 32, 1, [] {
    if (simt::thread_index() < 9) {
      simt::shuffle_xor(1, 1);
    } else {
      simt::warp_barrier();
    }
  });
  expectFailure("32 at a block barrier", 64, 1, [] {
    if (simt::thread_index() < 32) simt::block_barrier();
  });
  expectFailure("at a cluster wait", 64, 2, [] {
    if (simt::cluster_rank() == 0) {
      simt::cluster_arrive();
      simt::cluster_wait();
    }
  });
}

TEST_F(Simulator, MisuseIsReported) {
  expectFailure("mask 32", 32, 1, [] { simt::shuffle_xor(1, 32); });
  expectFailure("has arrived before", 32, 2, [] {
    simt::cluster_arrive();
    simt::cluster_arrive();
  });
  expectFailure("has not arrived", 32, 2, [] { simt::cluster_wait(); });
  expectFailure("without cluster_wait", 32, 2, [] { simt::cluster_arrive(); });
  expectFailure("no clusters", 32, 1, [] { simt::cluster_arrive(); });
  expectFailure("rank 2", 32, 2, [] { simt::of_cluster_block(simt::shared_memory(), 2); });
  expectFailure("not in the block's shared memory", 32, 2,
                [] { simt::of_cluster_block(simt::shared_memory() + 256, 0); });
  expectFailure("may not have started", 32, 2,
                [] { simt::of_cluster_block(simt::shared_memory(), 1 - simt::cluster_rank()); });
  // The case in which the other block runs first, which some seed gives.
  const auto reach_back = [] {
    simt::cluster_arrive();
    simt::cluster_wait();
    for (int i = 0; simt::cluster_rank() == 0 && i < 1000; ++i) {
      simt::warp_barrier();
      simt::of_cluster_block(simt::shared_memory(), 1);
    }
  };
  simt::control().seed = 1;
  while (run(2, 32, 2, 256, reach_back) == 0) ASSERT_LE(++simt::control().seed, 20u);
  EXPECT_EQ(cudaSuccess, cudaDeviceReset());
  expectFailure("has returned", 32, 2, reach_back);
  alignas(16) static char memory[64];
  const Known known(memory, sizeof memory);
  const auto misaligned = [&](const std::string& part, const std::function<void()>& body) {
    expectFailure(part, 32, 1, body, kMisalignedAddress);
  };
  misaligned("load16", [] { simt::load16(memory + 8); });
  misaligned("store16", [] { simt::store16(memory + 4, {}); });
  misaligned("load16_constant", [] { simt::load16_constant(memory + 8); });
  misaligned("load8", [] { simt::load8(memory + 4); });
  misaligned("load_value", [] { simt::load_value<float>(memory + 2); });
  misaligned("store_value", [] { simt::store_value(memory + 4, 1.0); });
  misaligned("atomic_max", [] { simt::atomic_max(reinterpret_cast<uint32_t*>(memory + 2), 1); });
  misaligned("copy_async16: global", [] { simt::copy_async16(simt::shared_memory(), memory + 8); });
  misaligned("copy_async16: shared", [] { simt::copy_async16(simt::shared_memory() + 8, memory); });
  expectFailure("not in the block's", 32, 1, [] { simt::copy_async16(simt::shared_memory() + 256, memory); });
  expectFailure("not in the block's", 32, 1, [] { simt::copy_async16(memory, memory); });
}

// Kernels can access memory allocated on their device, and pinned memory, to its last byte and no further, and only
// until it is freed. The host can access none of the device memory.
TEST_F(Simulator, InaccessibleMemory) {
  const auto illegal = [&](const std::string& part, const std::function<void()>& body) {
    expectFailure(part, 32, 1, body, kIllegalAddress);
  };
  int64_t address = 0, pinned = 0;
  ASSERT_EQ(0, cuda_runtime::allocate(0, 1000, &address));
  ASSERT_EQ(0, cuda_runtime::host_allocate(16, &pinned));
  const auto at = [](int64_t a, int64_t byte) { return reinterpret_cast<char*>(a + byte); };
  EXPECT_EQ(0, run(1, 32, 1, 64, [&] {
              simt::store_value(at(address, 996), 3);
              simt::load_value<int>(at(address, 0));
              simt::load_value<int>(at(pinned, 12));
            }));
  illegal("at the end of its allocation", [&] { simt::store_anywhere(at(address, 998), 1); });
  illegal("at the end of its allocation", [&] { simt::load16(at(address, 992)); });
  illegal("no memory that kernels reach", [&] { simt::store_value(at(address, 1000), 1); });
  illegal("no memory that kernels reach", [&] { simt::load_value<char>(at(address, -1)); });
  illegal("no memory that kernels reach", [&] { simt::copy_async16(simt::shared_memory(), at(address, 1008)); });
  illegal("no memory that kernels reach", [&] { simt::atomic_max(reinterpret_cast<uint32_t*>(&address), 1); });
  illegal("no memory that kernels reach", [&] { simt::load_value<int64_t>(&address); });
  illegal("no memory that kernels reach", [&] { simt::load_value<int>(nullptr); });
  EXPECT_EQ(0, cuda_runtime::free(0, address));
  illegal("no memory that kernels reach", [&] { simt::load_value<int>(at(address, 0)); });
  ASSERT_EQ(0, cuda_runtime::allocate(1, 1000, &address));
  illegal("memory of another device", [&] { simt::load_value<int>(at(address, 0)); });
  EXPECT_EQ(0, cuda_runtime::free(1, address));
  EXPECT_EQ(0, cuda_runtime::host_free(pinned));
  illegal("no memory that kernels reach", [&] { simt::load_value<int>(at(pinned, 0)); });
}

// load16_constant may return the contents from before the kernel, whatever was stored since.
TEST_F(Simulator, ConstantMemoryIsNotWritten) {
  alignas(16) static char memory[64 * 16];
  const Known known(memory, sizeof memory);
  const auto reads = [](int first, int last) {
    const int i = simt::thread_index();
    if (i >= first && i < last) simt::load16_constant(memory + 16 * i);
    simt::block_barrier();
  };
  EXPECT_EQ(0, run(1, 64, 1, 0, [&] {
              reads(5, 41);
              const int i = simt::thread_index();
              if (i < 5 || i >= 41) simt::store16(memory + 16 * i, {});
            }));
  for (const int written : {5, 17, 40}) {
    expectFailure("was read as constant", 64, 1, [&, written] {
      reads(5, 41);
      if (simt::thread_index() == written) simt::store_value(memory + 16 * written + 15, 'x');
    });
    expectFailure("is read as constant, and was written", 64, 1, [&, written] {
      if (simt::thread_index() == written) simt::store_value(memory + 16 * written + 15, 'x');
      simt::block_barrier();
      reads(5, 41);
    });
  }
}

TEST_F(Simulator, LaunchesThatTheRuntimeRefuses) {
  const std::function<void()> nothing = [] {};
  EXPECT_EQ(kInvalidConfiguration, run(0, 32, 1, 0, nothing));
  EXPECT_EQ(kInvalidConfiguration, run(1, 32, 1, 0, nothing, 0));
  EXPECT_EQ(kInvalidConfiguration, run(1, 32, 1, 0, nothing, 65536));
  EXPECT_EQ(kInvalidConfiguration, run(1, 1056, 1, 0, nothing));
  EXPECT_EQ(kInvalidConfiguration, run(1, 33, 1, 0, nothing));
  EXPECT_EQ(kInvalidCluster, run(3, 32, 2, 0, nothing));
  EXPECT_EQ(kInvalidCluster, run(32, 32, 32, 0, nothing));
  EXPECT_EQ(kInvalidValue, run(1, 32, 1, 227 * 1024 + 1, nothing));
  EXPECT_EQ(0, run(1, 32, 1, 227 * 1024, nothing));
  EXPECT_EQ(0, run(16, 32, 16, 0, nothing));
  const auto other = [](Body) {};
  EXPECT_EQ(kInvalidValue, launch<Body>({other, 1, 1, 32, 1, 48 * 1024 + 1}, {}, 0)) << "no attribute allows this size";
  EXPECT_EQ(kInvalidCluster, launch<Body>({other, 16, 1, 32, 16, 0}, {}, 0)) << "no attribute allows this cluster size";
  EXPECT_EQ(kInvalidHandle, launch<Body>({other, 1, 1, 32, 1, 0}, {}, 12345)) << "there is no such stream";
  EXPECT_EQ(kInvalidValue, permit<Body>(other, 227 * 1024 + 1, true));
  simt::control().largest_cluster = 8;
  EXPECT_EQ(kInvalidCluster, run(16, 32, 16, 0, nothing)) << "the device has no room for it";
  EXPECT_EQ(0, run(8, 32, 8, 0, nothing));
  int count = -1;
  EXPECT_EQ(0, clusters_at_once<Body>({kernel, 16, 1, 32, 16, 0}, &count));
  EXPECT_EQ(0, count);
  EXPECT_EQ(0, clusters_at_once<Body>({kernel, 8, 1, 32, 8, 0}, &count));
  EXPECT_EQ(1, count);
  simt::control().registers_of = [](const void*) { return 129; };
  EXPECT_EQ(cudaErrorLaunchOutOfResources, run(1, 512, 1, 0, nothing)) << "136 registers for each of 512 threads";
  EXPECT_EQ(0, run(1, 480, 1, 0, nothing));
  simt::control().registers_of = nullptr;
  simt::control().next_launch_error = 98;
  EXPECT_EQ(98, run(1, 32, 1, 0, nothing));
  EXPECT_EQ(0, run(1, 32, 1, 0, nothing));
  const cuda_runtime::CurrentDevice second(1);
  EXPECT_EQ(0, second.error());
  EXPECT_EQ(kInvalidValue, permit<Body>(other, 163 * 1024 + 1, false));
  EXPECT_EQ(kNotSupported, permit<Body>(other, 163 * 1024, true));
  EXPECT_EQ(kInvalidValue, run(1, 32, 1, 48 * 1024 + 1, nothing)) << "asked for on the other device";
  EXPECT_EQ(kNotSupported, run(2, 32, 2, 0, nothing));
}

// The last value set applies, not the largest one.
TEST_F(Simulator, LastAttributeValueApplies) {
  const std::function<void()> nothing = [] {};
  EXPECT_EQ(0, run(1, 32, 1, 100000, nothing));
  EXPECT_EQ(0, permit(kernel, 60000, true));
  EXPECT_EQ(kInvalidValue, run(1, 32, 1, 100000, nothing));
  EXPECT_EQ(0, run(1, 32, 1, 60000, nothing));
  EXPECT_EQ(0, permit(kernel, 16, true));
  EXPECT_EQ(kInvalidValue, run(1, 32, 1, 17, nothing)) << "below what a kernel has without asking, too";
  simt::control().records = true;
  EXPECT_EQ(0, run(1, 32, 1, 16, nothing));
  EXPECT_EQ(-1, simt::control().launches.back().carveout);
  EXPECT_EQ(0, prefer_shared_memory(kernel));
  EXPECT_EQ(0, run(1, 32, 1, 16, nothing));
  EXPECT_EQ(100, simt::control().launches.back().carveout);
}

// A failed kernel makes its device unusable, and no other.
TEST_F(Simulator, KernelErrorsAreSticky) {
  int64_t address = 0, other = 0, stream = 0;
  ASSERT_EQ(0, cuda_runtime::allocate(0, 16, &address));
  ASSERT_EQ(0, cuda_runtime::stream_create(0, &stream));
  EXPECT_EQ(kLaunchFailure, run(1, 32, 1, 0, [] { simt::shuffle_xor(1, 32); }));
  EXPECT_EQ(kLaunchFailure, cuda_runtime::stream_synchronize(0, 0));
  EXPECT_EQ(kLaunchFailure, cuda_runtime::stream_synchronize(0, stream));
  EXPECT_EQ(kLaunchFailure, cuda_runtime::allocate(0, 16, &other));
  EXPECT_EQ(kLaunchFailure, cuda_runtime::zero(0, address, 16, stream));
  EXPECT_EQ(kLaunchFailure, cuda_runtime::free(0, address));
  EXPECT_EQ(cudaErrorLaunchFailure, cudaGetLastError());
  EXPECT_EQ(cudaErrorLaunchFailure, cudaGetLastError()) << "asking does not clear it";
  EXPECT_EQ(0, cuda_runtime::allocate(1, 16, &other));
  EXPECT_EQ(0, cuda_runtime::free(1, other));
  EXPECT_EQ(cudaSuccess, cudaDeviceReset());
  EXPECT_EQ(0, cuda_runtime::free(0, address));
  EXPECT_EQ(0, cuda_runtime::stream_destroy(0, stream));
}

// An error that the library returned is cleared; one that it did not return stays for the next cudaGetLastError.
TEST_F(Simulator, LastErrorIsPerThread) {
  int64_t address = 0;
  simt::control().next_call_error = cudaErrorMemoryAllocation;
  EXPECT_EQ(cudaErrorMemoryAllocation, cuda_runtime::allocate(0, 16, &address));
  EXPECT_EQ(cudaSuccess, cudaPeekAtLastError());
  EXPECT_EQ(cudaErrorInvalidResourceHandle, cudaStreamSynchronize(reinterpret_cast<cudaStream_t>(12345)));
  EXPECT_EQ(cudaErrorInvalidResourceHandle, cudaPeekAtLastError());
  std::thread([] { EXPECT_EQ(cudaSuccess, cudaPeekAtLastError()); }).join();
  EXPECT_EQ(cudaErrorInvalidResourceHandle, cudaGetLastError());
}

// Work runs when its own stream is waited for: not earlier, and not with another stream.
TEST_F(Simulator, StreamsRunOnlyWhenWaitedFor) {
  int64_t streams[2] = {};
  for (int64_t& stream : streams) ASSERT_EQ(0, cuda_runtime::stream_create(0, &stream));
  int64_t address = 0;
  ASSERT_EQ(0, cuda_runtime::allocate(0, 4, &address));
  int order = 0, ran[2] = {};
  const std::function<void()> first = [&] { ran[0] = simt::thread_index() == 31 ? ++order : ran[0]; },
                              second = [&] { ran[1] = simt::thread_index() == 31 ? ++order : ran[1]; };
  EXPECT_EQ(0, launch<Body>({kernel, 1, 1, 32, 1, 0}, {&first}, streams[0]));
  EXPECT_EQ(0, launch<Body>({kernel, 1, 1, 32, 1, 0}, {&second}, streams[1]));
  int value = 5;
  EXPECT_EQ(0, cuda_runtime::copy(0, address, reinterpret_cast<int64_t>(&value), 4, streams[1]));
  EXPECT_EQ(0, order);
  EXPECT_TRUE(simt::work_waits());
  value = 6;  // too early: the copy has not run
  EXPECT_EQ(0, cuda_runtime::stream_synchronize(0, 0));
  EXPECT_EQ(0, order) << "the default stream waits for no other";
  EXPECT_EQ(0, cuda_runtime::stream_synchronize(0, streams[1]));
  EXPECT_EQ(0, ran[0]);
  EXPECT_EQ(1, ran[1]);
  EXPECT_EQ(6, *static_cast<int*>(simt::host_view(address)));
  // Destroying a stream waits for nothing; freeing memory waits for everything.
  EXPECT_EQ(0, cuda_runtime::stream_destroy(0, streams[0]));
  EXPECT_EQ(0, ran[0]);
  EXPECT_EQ(0, cuda_runtime::free(0, address));
  EXPECT_EQ(2, ran[0]);
  EXPECT_EQ(kInvalidHandle, cuda_runtime::stream_synchronize(0, streams[0]));
  EXPECT_EQ(0, cuda_runtime::stream_destroy(0, streams[1]));
}

TEST_F(Simulator, StreamsBelongToTheirDevice) {
  int64_t stream = 0;
  ASSERT_EQ(0, cuda_runtime::stream_create(1, &stream));
  const std::function<void()> nothing = [] {};
  EXPECT_EQ(kInvalidHandle, launch<Body>({kernel, 1, 1, 32, 1, 0}, {&nothing}, stream));
  int64_t address = 0;
  ASSERT_EQ(0, cuda_runtime::allocate(0, 4, &address));
  EXPECT_EQ(kInvalidHandle, cuda_runtime::zero(0, address, 4, stream));
  EXPECT_EQ(kInvalidValue, cuda_runtime::zero(1, address, 4, stream)) << "memory of device 0";
  EXPECT_EQ(kInvalidValue, cuda_runtime::free(1, address));
  EXPECT_EQ(0, cuda_runtime::free(0, address));
  EXPECT_EQ(0, cuda_runtime::stream_destroy(1, stream));
}

class Capture : public Simulator {
 protected:
  void SetUp() override {
    Simulator::SetUp();
    ASSERT_EQ(0, cuda_runtime::stream_create(0, &stream_));
    ASSERT_EQ(0, cuda_runtime::allocate(0, 64, &address_));
  }
  void TearDown() override {
    EXPECT_EQ(0, cuda_runtime::free(0, address_));
    EXPECT_EQ(0, cuda_runtime::stream_destroy(0, stream_));
    Simulator::TearDown();
  }
  cudaStream_t stream() const { return reinterpret_cast<cudaStream_t>(stream_); }

  int64_t stream_ = 0, address_ = 0;
};

TEST_F(Capture, RunsOnReplay) {
  int runs = 0;
  const std::function<void()> count = [&] { runs += simt::thread_index() == 0; };
  EXPECT_EQ(cudaSuccess, cudaStreamBeginCapture(stream(), cudaStreamCaptureModeGlobal));
  EXPECT_EQ(0, launch<Body>({kernel, 1, 1, 32, 1, 0}, {&count}, stream_));
  EXPECT_EQ(0, cuda_runtime::zero(0, address_, 64, stream_));
  int32_t device = -2;
  EXPECT_EQ(0, cuda_runtime::memory_device(address_, &device)) << "asking is allowed";
  cudaGraph_t graph = nullptr;
  EXPECT_EQ(cudaSuccess, cudaStreamEndCapture(stream(), &graph));
  EXPECT_EQ(0, cuda_runtime::stream_synchronize(0, stream_));
  EXPECT_EQ(0, runs);
  cudaGraphExec_t executable = nullptr;
  EXPECT_EQ(cudaSuccess, cudaGraphInstantiate(&executable, graph, 0));
  for (int round = 1; round <= 3; ++round) {
    EXPECT_EQ(cudaSuccess, cudaGraphLaunch(executable, stream()));
    EXPECT_EQ(round - 1, runs);
    EXPECT_EQ(0, cuda_runtime::stream_synchronize(0, stream_));
    EXPECT_EQ(round, runs);
  }
  EXPECT_EQ(0, *static_cast<int*>(simt::host_view(address_)));
  EXPECT_EQ(cudaSuccess, cudaGraphExecDestroy(executable));
  EXPECT_EQ(cudaSuccess, cudaGraphDestroy(graph));
}

// Every call that a capture may forbid is refused and invalidates the capture.
TEST_F(Capture, IsInvalidatedByForbiddenCalls) {
  int64_t other = 0;
  int value = 0;
  const auto fresh = [](Body) {};
  KernelFacts facts{};
  const std::pair<const char*, std::function<int32_t()>> forbidden[] = {
      {"allocates", [&] { return cuda_runtime::allocate(0, 16, &other); }},
      {"allocates pinned memory", [&] { return cuda_runtime::host_allocate(16, &other); }},
      {"frees", [&] { return cuda_runtime::free(0, address_); }},
      {"waits", [&] { return cuda_runtime::stream_synchronize(0, stream_); }},
      {"waits for another stream", [&] { return cuda_runtime::stream_synchronize(0, 0); }},
      {"copies pageable memory",
       [&] { return cuda_runtime::copy(0, address_, reinterpret_cast<int64_t>(&value), 4, stream_); }},
      {"loads a kernel",
       [&] {
         return launch<Body>({fresh, 1, 1, 32, 1, 0}, {}, stream_);
       }},
  };
  for (const auto& [what, call] : forbidden) {
    EXPECT_EQ(cudaSuccess, cudaStreamBeginCapture(stream(), cudaStreamCaptureModeGlobal));
    EXPECT_EQ(kCaptureUnsupported, call()) << what;
    EXPECT_EQ(kCaptureInvalidated, cuda_runtime::zero(0, address_, 4, stream_)) << what;
    cudaGraph_t graph = nullptr;
    EXPECT_EQ(cudaErrorStreamCaptureInvalidated, cudaStreamEndCapture(stream(), &graph)) << what;
    EXPECT_EQ(nullptr, graph);
    EXPECT_EQ(cudaErrorStreamCaptureInvalidated, cudaGetLastError());
  }
  // A load under a relaxed capture mode is allowed, and then so is the launch.
  EXPECT_EQ(cudaSuccess, cudaStreamBeginCapture(stream(), cudaStreamCaptureModeGlobal));
  EXPECT_EQ(0, load_kernel<Body>(fresh, &facts));
  EXPECT_EQ(0, launch<Body>({fresh, 1, 1, 32, 1, 0}, {}, stream_));
  cudaGraph_t graph = nullptr;
  EXPECT_EQ(cudaSuccess, cudaStreamEndCapture(stream(), &graph));
  EXPECT_EQ(cudaSuccess, cudaGraphDestroy(graph));
}

TEST_F(Capture, RestrictsOtherThreadsByMode) {
  for (const auto& [mode, expected] :
       {std::pair{cudaStreamCaptureModeGlobal, kCaptureUnsupported}, std::pair{cudaStreamCaptureModeThreadLocal, 0},
        std::pair{cudaStreamCaptureModeRelaxed, 0}}) {
    EXPECT_EQ(cudaSuccess, cudaStreamBeginCapture(stream(), mode));
    std::thread([&, mode = mode, expected = expected] {
      int64_t other = 0;
      EXPECT_EQ(expected, cuda_runtime::allocate(0, 16, &other));
      EXPECT_EQ(expected, expected == 0 ? cuda_runtime::free(0, other) : kCaptureUnsupported);
      if (mode == cudaStreamCaptureModeThreadLocal) {
        cudaGraph_t graph = nullptr;
        EXPECT_EQ(cudaErrorStreamCaptureWrongThread, cudaStreamEndCapture(stream(), &graph));
      }
    }).join();
    cudaGraph_t graph = nullptr;
    EXPECT_EQ(expected == 0 ? cudaSuccess : cudaErrorStreamCaptureInvalidated, cudaStreamEndCapture(stream(), &graph));
    EXPECT_EQ(expected == 0, graph != nullptr);
    EXPECT_EQ(cudaSuccess, cudaGraphDestroy(graph));
    static_cast<void>(cudaGetLastError());
  }
  EXPECT_EQ(cudaErrorStreamCaptureImplicit, cudaStreamBeginCapture(nullptr, cudaStreamCaptureModeRelaxed));
  cudaGraph_t graph = nullptr;
  EXPECT_EQ(cudaErrorStreamCaptureUnmatched, cudaStreamEndCapture(stream(), &graph));
  static_cast<void>(cudaGetLastError());
}

TEST_F(Simulator, SeveralHostThreadsLaunchAtOnce) {
  std::vector<std::thread> threads;
  std::vector<int> right(4);
  for (size_t t = 0; t < right.size(); ++t) {
    threads.emplace_back([&, t] {
      simt::control().seed = t;
      for (int round = 0; round < 50; ++round) {
        int sum = 0;
        run(4, 64, 2, 0, [&] {
          simt::cluster_arrive();
          int v = simt::thread_index();
          for (int step = 16; step > 0; step /= 2) v += simt::shuffle_xor(v, step);
          simt::block_barrier();
          simt::cluster_wait();
          if (simt::thread_index() % 32 == 0) sum += v;
        });
        right[t] += sum == 4 * 63 * 32;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  for (const int count : right) EXPECT_EQ(50, count);
}

TEST_F(Simulator, ConversionsMatchTheDevice) {
  const auto f = [](uint32_t bits) { return bit_cast<float>(bits); };
  EXPECT_EQ(0x3f80c000u, simt::bfloat16_pair(-2.0f, 1.0f));
  EXPECT_EQ(0x3c00c000u, simt::float16_pair(-2.0f, 1.0f));
  EXPECT_EQ(0x7fff7f80u, simt::bfloat16_pair(f(0x7f7fffff), f(0xffc00001)));
  EXPECT_EQ(0x7c007fffu, simt::float16_pair(f(0x7f800001), 65520.0f));
  EXPECT_EQ(1.5f, simt::from_float16(0xabcd3e00u));
  EXPECT_TRUE(std::isnan(simt::from_float16(0x7fffu)));
}

#if defined(__SANITIZE_ADDRESS__)
using SimulatorDeath = Simulator;
TEST_F(SimulatorDeath, OverrunsAreDetected) {
  ::testing::FLAGS_gtest_death_test_style = "threadsafe";
  EXPECT_DEATH(run(1, 32, 1, 40, [=] { *shared<char>(40) = 1; }), "heap-buffer-overflow");
  int64_t address = 0;
  ASSERT_EQ(0, cuda_runtime::allocate(0, 1000, &address));
  // Only the simulated machine can dereference device addresses; the host and plain kernel code crash.
  EXPECT_DEATH(*reinterpret_cast<volatile char*>(address) = 1, "SEGV");
  EXPECT_DEATH(run(1, 32, 1, 40, [=] { *reinterpret_cast<volatile char*>(address) = 1; }), "SEGV");
  EXPECT_EQ(0, cuda_runtime::free(0, address));
}
#endif

TEST(SimulatedRuntime, Devices) {
  int32_t count = 0;
  EXPECT_EQ(0, cuda_runtime::device_count(&count));
  EXPECT_EQ(2, count);
  CudaDevice device;
  EXPECT_EQ(0, cuda_runtime::device(0, &device));
  EXPECT_STREQ("host simulation, not a GPU (90)", device.name);
  EXPECT_EQ(1, device.clusters);
  EXPECT_EQ(0, cuda_runtime::device(1, &device));
  EXPECT_EQ(80, device.compute_capability);
  EXPECT_EQ(0, device.clusters);
  EXPECT_EQ(kInvalidDevice, cuda_runtime::device(2, &device));
  // Device properties are cached.
  simt::control().next_call_error = 3;
  EXPECT_EQ(0, cuda_runtime::device(0, &device));
  EXPECT_EQ(3, cuda_runtime::device_count(&count));
  EXPECT_EQ(0, cuda_runtime::device_count(&count));
  EXPECT_STREQ("cudaErrorInvalidDevice", cuda_runtime::error_name(kInvalidDevice));
  EXPECT_STREQ("invalid device ordinal", cuda_runtime::error_text(kInvalidDevice));
  EXPECT_EQ(kInvalidDevice, cuda_runtime::CurrentDevice(2).error());
}

TEST(SimulatedRuntime, MemoryHasItsDevice) {
  int64_t address = 0;
  ASSERT_EQ(0, cuda_runtime::allocate(1, 100, &address));
  EXPECT_EQ(0, address % 256);
  const auto device_of = [](int64_t at) {
    int32_t device = 99;
    EXPECT_EQ(0, cuda_runtime::memory_device(at, &device));
    return device;
  };
  EXPECT_EQ(1, device_of(address));
  EXPECT_EQ(1, device_of(address + 99));
  EXPECT_EQ(kUnknownMemory, device_of(address + 100));
  EXPECT_EQ(kUnknownMemory, device_of(reinterpret_cast<int64_t>(&address)));
  simt::register_memory(reinterpret_cast<int64_t>(&address), 8, kAnyDevice);
  EXPECT_EQ(kAnyDevice, device_of(reinterpret_cast<int64_t>(&address)));
  EXPECT_EQ(kInvalidValue, cuda_runtime::free(0, reinterpret_cast<int64_t>(&address)));
  simt::unregister_memory(reinterpret_cast<int64_t>(&address));
  EXPECT_EQ(kUnknownMemory, device_of(reinterpret_cast<int64_t>(&address)));
  int64_t stream = 0;
  ASSERT_EQ(0, cuda_runtime::stream_create(1, &stream));
  EXPECT_EQ(0, cuda_runtime::zero(1, address, 100, stream));
  char host[100];
  EXPECT_EQ(0, cuda_runtime::copy(1, reinterpret_cast<int64_t>(host), address, 100, stream));
  EXPECT_EQ(kInvalidValue, cuda_runtime::copy(1, reinterpret_cast<int64_t>(host), address + 1, 100, stream));
  EXPECT_EQ(kInvalidValue, cuda_runtime::copy(1, reinterpret_cast<int64_t>(host), address + 100, 1, stream));
  EXPECT_EQ(kInvalidValue, cuda_runtime::zero(1, address, 101, stream));
  EXPECT_EQ(kInvalidValue, cuda_runtime::zero(1, reinterpret_cast<int64_t>(host), 100, stream));
  EXPECT_EQ(0, cuda_runtime::stream_synchronize(1, stream));
  EXPECT_EQ(100, std::count(host, host + 100, 0));
  EXPECT_EQ(0, cuda_runtime::stream_destroy(1, stream));
  EXPECT_EQ(kInvalidHandle, cuda_runtime::stream_destroy(1, stream));
  EXPECT_EQ(kInvalidHandle, cuda_runtime::copy(1, address, address, 1, stream));
  EXPECT_EQ(0, cuda_runtime::free(1, address));
  EXPECT_EQ(kInvalidValue, cuda_runtime::free(1, address));
  EXPECT_EQ(kUnknownMemory, device_of(address)) << "freed";
  int64_t again = 0;
  ASSERT_EQ(0, cuda_runtime::allocate(1, 100, &again));
  EXPECT_NE(address, again) << "an address is not used twice";
  EXPECT_EQ(0, cuda_runtime::free(1, again));
}

}  // namespace
