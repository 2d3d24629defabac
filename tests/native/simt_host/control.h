// How tests reach into the simulator. Everything belongs to the calling thread. A launch runs in the thread that waits
// for its stream.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace nc {
namespace simt {

enum Barrier { kBlockBarrier, kClusterWait, kCopyWait };
constexpr int kBarriers = 3;

// Where in the kernel's source a barrier is.
struct Site {
  Barrier kind;
  const char* file;
  int line;
};

// Accesses of global memory as the machine would make them. What the threads of a warp access together is a request;
// memory moves in sectors of 32 bytes, and of every sector that a request touches the whole. Together are, between two
// meetings of the warp, the first accesses of each thread of a kind to a region, the second ones, and so on.
struct Traffic {
  int64_t requests, sectors, bytes;  // bytes: that threads asked for, repeatedly asked ones repeatedly
};
enum AccessKind { kLoads, kStores, kCopies };
constexpr int kAccessKinds = 3;
constexpr int64_t kSectorBytes = 32;

// Memory whose accesses are counted by themselves: a tensor, usually.
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
  int carveout;              // per cent of a multiprocessor's memory that is to be shared memory; -1: no preference
  int64_t calls[kBarriers];  // the most that one thread made
  std::vector<Site> sites;   // that were reached
  std::vector<RegionTraffic> traffic;  // of each of Control::regions, then of what lies in none of them, if counted
  std::vector<char> parameters;
};

struct Control {
  // What decides the order in which threads go on, and when copies arrive. At first that of the environment variable
  // NORMCORE_SIMT_SEED, or 1.
  uint64_t seed;

  // With skips: in launch number skipped_launch of those recorded, a barrier does nothing: every one of the site or,
  // where its file is null, each thread's call number skipped_call of the site's kind.
  bool skips = false;
  Site skipped_site{};
  int64_t skipped_call = 0;
  int64_t skipped_launch = 0;

  // Errors that the next launch, and the next other call of the runtime, give without doing anything. 0: none. Calls
  // that are about functions, attributes or the current device give none.
  int32_t next_launch_error = 0;
  int32_t next_call_error = 0;

  bool records = false;
  std::vector<LaunchRecord> launches;
  // Else launches are checked and recorded, and nothing more.
  bool runs = true;

  // The most blocks of a cluster for which the device has room, up to 16: 8 where a part of a device has few
  // multiprocessors.
  int largest_cluster = 16;
  // What compute capability the kernels' code was written for.
  int code_capability = 90;

  // What the compiler is to have made of a kernel. Null: as many registers as let two blocks of 128 threads, and not of
  // 256, run together.
  int (*registers_of)(const void* kernel) = nullptr;

  // With records and counts: the traffic of each launch. An access lies in a region if its first and last byte do.
  bool counts = false;
  std::vector<Region> regions;

  std::string failure;  // what the last failing launch did wrong
};

__attribute__((visibility("default"))) Control& control();

// Makes ordinary memory count as that of a device (or, with kAnyDevice, of all), and again as unknown.
__attribute__((visibility("default"))) void register_memory(int64_t address, int64_t bytes, int32_t device);
__attribute__((visibility("default"))) void unregister_memory(int64_t address);
// Where the host can see what lies at an address of a device; null if nothing does.
__attribute__((visibility("default"))) void* host_view(int64_t address);

// Whether some stream has work that nobody has waited for, or is captured.
__attribute__((visibility("default"))) bool work_waits();

}  // namespace simt
}  // namespace nc
