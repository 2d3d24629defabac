// The simulator's interface for tests. All state belongs to the calling thread. A launch runs in the thread that waits
// for its stream.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace nc {
namespace simt {

enum Barrier { kBlockBarrier, kClusterWait, kCopyWait };
constexpr int kBarriers = 3;

// The source location of a barrier.
struct Site {
  Barrier kind;
  const char* file;
  int line;
};

// Global-memory accesses as the hardware would make them. A warp's simultaneous accesses form a request. Memory moves
// in whole sectors of 32 bytes, every sector that a request touches. Simultaneous are, between two warp
// synchronisations, the first accesses of one kind to one region by each thread, then the second ones, and so on.
struct Traffic {
  int64_t requests, sectors, bytes;  // bytes: as requested by threads, repeated ones counted again
};
enum AccessKind { kLoads, kStores, kCopies };
constexpr int kAccessKinds = 3;
constexpr int64_t kSectorBytes = 32;

// Memory whose accesses are counted separately: usually a tensor.
struct Region {
  int64_t address, bytes;
};
struct RegionTraffic {
  Traffic of[kAccessKinds];
};

struct LaunchRecord {
  const void* kernel;
  int32_t device;
  int64_t blocks;
  int block_rows, threads, cluster, shared_bytes;
  int carveout;                        // shared-memory carveout in per cent of an SM's memory; -1: no preference
  int64_t calls[kBarriers];            // maximum of any thread
  std::vector<Site> sites;             // the barriers that were reached
  std::vector<RegionTraffic> traffic;  // for each of Control::regions, then for all other memory, if counted
  std::vector<char> parameters;
};

struct Control {
  // Seed of the thread schedule and of the arrival of copies. Initially from the environment variable
  // NORMCORE_SIMT_SEED, or 1.
  uint64_t seed;

  // With skips: in recorded launch number skipped_launch one barrier does nothing: every call of the site or, if its
  // file is null, each thread's call number skipped_call of the site's kind.
  bool skips = false;
  Site skipped_site{};
  int64_t skipped_call = 0;
  int64_t skipped_launch = 0;

  // Errors that the next launch, and the next other runtime call, return without doing anything. 0: none. Calls for
  // functions, attributes or the current device return none.
  int32_t next_launch_error = 0;
  int32_t next_call_error = 0;

  bool records = false;
  std::vector<LaunchRecord> launches;
  // If false, launches are only checked and recorded.
  bool runs = true;

  // Maximum cluster size that fits the device, up to 16: 8 on a partition with few SMs.
  int largest_cluster = 16;
  // The compute capability that the kernels' code was compiled for.
  int code_capability = 90;

  // Reports a kernel's registers. Null: a number with which two blocks of 128 threads, but not of 256, run together.
  int (*registers_of)(const void* kernel) = nullptr;

  // With records and counts: counts the traffic of each launch. An access lies in a region if its first and last byte
  // do.
  bool counts = false;
  std::vector<Region> regions;

  std::string failure;  // reason of the last failed launch
};

__attribute__((visibility("default"))) Control& control();

// Registers ordinary memory as device memory (or, with kAnyDevice, as memory of all devices), and unregisters it.
__attribute__((visibility("default"))) void register_memory(int64_t address, int64_t bytes, int32_t device);
__attribute__((visibility("default"))) void unregister_memory(int64_t address);
// The host address of a device address; null if the address is unknown.
__attribute__((visibility("default"))) void* host_view(int64_t address);

// Whether some stream has work that has not been waited for, or a capture in progress.
__attribute__((visibility("default"))) bool work_waits();

}  // namespace simt
}  // namespace nc
