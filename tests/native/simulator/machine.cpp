// The scheduler: runs a launch's threads as fibres, one at a time, and holds the state of their synchronisation.
#include <sys/mman.h>

#include <algorithm>
#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <iterator>
#include <memory>
#include <string>
#include <vector>

#include "control.h"
#include "cuda/plugin.h"
#include "device.h"
#include "fibre.h"

namespace nc {
namespace simt {

Control& control() {
  thread_local Control own = [] {
    Control c;
    const char* seed = std::getenv("NORMCORE_SIMT_SEED");
    c.seed = seed != nullptr ? std::strtoull(seed, nullptr, 10) : 1;
    return c;
  }();
  return own;
}

namespace host {

thread_local const Position* position = nullptr;

namespace {

constexpr int kWarp = 32;
// Fill bytes of unwritten memory: NaN in every float format, mostly. A kernel may hide a NaN, for example with a
// maximum, so the fill of shared memory differs from block to block and from seed to seed.
constexpr int kUnwritten = 0xff;
constexpr int kBeginnings[] = {kUnwritten, kUnwritten, kUnwritten, 0x00, 0x3f, 0x40, 0xbf, 0x7f};

#if defined(__SANITIZE_ADDRESS__) || defined(NC_SANITIZED_KERNELS)
constexpr size_t kStack = 256 * 1024;  // the sanitizer's frames are several times larger
#else
constexpr size_t kStack = 64 * 1024;
#endif
constexpr size_t kStacksAtATime = 128;

class Random {
 public:
  void seed(uint64_t a, uint64_t b) {
    state_ = a * 0x9e3779b97f4a7c15ull + b * 0xd1342543de82ef95ull + 0x632be59bd9b4e019ull;
    for (int i = 0; i < 4; ++i) next();
  }
  // 0 .. count - 1
  uint32_t below(uint32_t count) { return static_cast<uint32_t>((next() >> 32) * count >> 32); }

 private:
  uint64_t next() {
    if (state_ == 0) state_ = 1;
    state_ ^= state_ << 13;
    state_ ^= state_ >> 7;
    state_ ^= state_ << 17;
    return state_ * 0x2545f4914f6cdd1dull;
  }
  uint64_t state_ = 1;
};

enum class State : uint8_t { ready, in_warp, at_block_barrier, at_cluster_wait, returned };

struct Copy {
  char* target;
  const char* source;
  void (*copy)(void* to, const void* from);
  int64_t group;
};

struct Block;
struct Warp;

struct Thread {
  explicit Thread(char* stack) : fibre(stack, kStack) {}
  Position at{};
  Fibre fibre;
  Warp* warp = nullptr;
  Block* block = nullptr;
  State state = State::ready;
  bool started = false;
  bool arrived = false;  // arrived at the cluster barrier and has not waited yet
  int64_t phase = 0;     // number of arrivals there
  int64_t calls[kBarriers] = {};
  std::vector<Copy> copies;      // in flight
  int64_t group = 0;             // of uncommitted copies
  std::vector<size_t> accesses;  // since the last warp synchronisation, by region and kind
};

// A warp's simultaneous access, as sector numbers.
struct Request {
  std::vector<int64_t> sectors;
  int64_t bytes = 0;
};

// All 32 threads of a warp synchronise at shuffles and warp barriers.
struct Warp {
  Thread* threads[kWarp];
  uint8_t ready[kWarp];  // lanes that can continue
  int ready_count;
  int place;  // index in its block's list of warps with such lanes
  Block* block;
  int arrived;
  int bytes, mask;  // of the shuffle; 0 bytes: a barrier
  // Since the last warp synchronisation: by region and kind, and by the index of a thread's access.
  std::vector<std::vector<Request>> requests;
  // Double-buffered: a thread may write for the next shuffle while others still read this one's values.
  int turn;
  alignas(16) char given[2][kWarp][16];
};

struct Block {
  std::unique_ptr<char, decltype(&std::free)> shared{nullptr, std::free};
  std::vector<Warp*> warps;
  std::vector<Warp*> ready;  // warps with a lane that can continue
  int place = 0;             // index in the list of blocks with such warps
  int at_barrier = 0;
  int returned = 0;
  bool started = false;
};

// A set of addresses: a hash table of lines of 64 bytes. Every store of a kernel adds to it, so ranges in a std::map
// took a tenth of the time of all tests.
class AddressSet {
 public:
  void clear() {
    if (count_ != 0) lines_.assign(kFewestLines, Line{});
    count_ = 0;
  }
  void add(int64_t begin, int64_t end) {
    for (int64_t at = begin; at < end; at = line_end(at)) {
      Line& line = find(at >> kLog2);
      if (line.bytes == 0) {
        line.number = at >> kLog2;
        ++count_;
      }
      line.bytes |= bytes_of(at, end);
      if (2 * count_ > lines_.size()) grow();
    }
  }
  bool overlaps(int64_t begin, int64_t end) {
    if (count_ == 0) return false;
    for (int64_t at = begin; at < end; at = line_end(at)) {
      if ((find(at >> kLog2).bytes & bytes_of(at, end)) != 0) return true;
    }
    return false;
  }

 private:
  static constexpr int kLog2 = 6;
  static constexpr size_t kFewestLines = 256;
  struct Line {
    int64_t number = 0;
    uint64_t bytes = 0;  // a bit for each; 0 if the entry is free
  };

  static int64_t line_end(int64_t at) { return ((at >> kLog2) + 1) << kLog2; }
  // The bits of addresses at .. end - 1 that are in the line of `at`.
  static uint64_t bytes_of(int64_t at, int64_t end) {
    const int first = static_cast<int>(at & 63), count = static_cast<int>(std::min(end, line_end(at)) - at);
    return (~uint64_t{0} >> (64 - count)) << first;
  }
  // The entry of a line, or the free one where it belongs.
  Line& find(int64_t number) {
    const size_t mask = lines_.size() - 1;
    size_t i = (static_cast<uint64_t>(number) * 0x9e3779b97f4a7c15ull >> 32) & mask;
    while (lines_[i].bytes != 0 && lines_[i].number != number) i = (i + 1) & mask;
    return lines_[i];
  }
  void grow() {
    std::vector<Line> old(2 * lines_.size());
    old.swap(lines_);
    for (const Line& line : old) {
      if (line.bytes != 0) find(line.number) = line;
    }
  }

  std::vector<Line> lines_ = std::vector<Line>(kFewestLines);
  size_t count_ = 0;
};

class Machine {
 public:
  ~Machine() {
    threads_.clear();
    for (char* stacks : stacks_) munmap(stacks, kStacksAtATime * kStack);
  }

  // Success if all threads of all blocks returned.
  cudaError_t run(const KernelLaunch& launch, const Site* skipped, LaunchRecord* record) {
    const LaunchShape& shape = launch.shape;
    kernel_ = launch.kernel;
    call_ = launch.call;
    parameters_ = launch.parameters.data();
    device_ = launch.device;
    shape_ = shape;
    skipped_ = skipped;
    record_ = record;
    error_ = cudaSuccess;
    reached_.clear();
    constants_.clear();
    written_.clear();
    const uint64_t seed = control().seed;
    const int64_t clusters = shape.blocks / shape.cluster * shape.block_rows;
    // Visits all of them: the step is coprime to their number.
    random_.seed(seed, 0);
    int64_t step = 1 + random_.below(static_cast<uint32_t>(clusters));
    while (greatest_common_divisor(step, clusters) != 1) ++step;
    int64_t cluster = random_.below(static_cast<uint32_t>(clusters));
    for (int64_t i = 0; i < clusters && error_ == cudaSuccess; ++i) {
      random_.seed(seed, static_cast<uint64_t>(cluster) + 1);
      run_cluster(cluster);
      cluster = (cluster + step) % clusters;
    }
    for (Block& block : blocks_) block.shared.reset();
    return error_;
  }

  void block_barrier(const char* file, int line) {
    Thread& t = here();
    let_copies_arrive(t);
    if (skip(t, {kBlockBarrier, file, line})) return;
    Block& block = *t.block;
    t.state = State::at_block_barrier;
    if (++block.at_barrier == shape_.threads) {
      block.at_barrier = 0;
      for (Warp* warp : block.warps) {
        make_requests(*warp);
        wake_all(*warp);
      }
    }
    give_way(t);
  }

  // bytes 0: a barrier
  void meet_warp(const void* give, void* take, int bytes, int mask) {
    Thread& t = here();
    let_copies_arrive(t);
    Warp& warp = *t.warp;
    if (mask < 0 || mask >= kWarp) fail("shuffle_xor: mask %d, expected 0 to 31", mask);
    if (warp.arrived == 0) {
      warp.bytes = bytes;
      warp.mask = mask;
    } else if (warp.bytes != bytes || warp.mask != mask) {
      fail("divergence: a thread at %s, others of its warp at %s", meeting(bytes, mask).of,
           meeting(warp.bytes, warp.mask).of);
    }
    const int lane = t.at.index % kWarp;
    const int turn = warp.turn;
    if (bytes > 0) std::memcpy(warp.given[turn][lane], give, static_cast<size_t>(bytes));
    t.state = State::in_warp;
    if (++warp.arrived == kWarp) {
      warp.arrived = 0;
      warp.turn ^= 1;
      make_requests(warp);
      wake_all(warp);
    }
    give_way(t);
    if (bytes > 0) std::memcpy(take, warp.given[turn][lane ^ mask], static_cast<size_t>(bytes));
  }

  void cluster_arrive() {
    Thread& t = here();
    let_copies_arrive(t);
    require_cluster("cluster_arrive");
    if (t.arrived) fail("cluster_arrive: the thread has arrived before, and not waited");
    t.arrived = true;
    // A thread whose waits are skipped may be ahead of the others.
    const auto phase = static_cast<size_t>(t.phase);
    if (phase == arrivals_.size()) arrivals_.push_back(0);
    if (++arrivals_[phase] == live_at_start_) {
      ++phase_;
      for (int i = 0; i < live_at_start_; ++i) {
        if (threads_[i]->state == State::at_cluster_wait && threads_[i]->phase <= phase_) wake(*threads_[i]);
      }
    }
    ++t.phase;
  }

  void cluster_wait(const char* file, int line) {
    Thread& t = here();
    let_copies_arrive(t);
    require_cluster("cluster_wait");
    if (!t.arrived) fail("cluster_wait: the thread has not arrived");
    t.arrived = false;
    if (skip(t, {kClusterWait, file, line})) return;
    if (t.phase <= phase_) {
      wake(t);
    } else {
      t.state = State::at_cluster_wait;
    }
    give_way(t);
  }

  ptrdiff_t to_cluster_block(const void* p, int rank) {
    Thread& t = here();
    require_cluster("of_cluster_block");
    if (rank < 0 || rank >= shape_.cluster) {
      fail("of_cluster_block: rank %d, expected 0 to %d", rank, shape_.cluster - 1);
    }
    const char* own = t.at.shared_memory;
    const ptrdiff_t offset = static_cast<const char*>(p) - own;
    if (offset < 0 || offset >= shape_.shared_bytes) {
      fail("of_cluster_block: address %p, which is not in the block's shared memory", p);
    }
    const Block& other = blocks_[rank];
    if (!other.started) fail("of_cluster_block: block %d of the cluster may not have started yet", rank);
    if (other.returned == shape_.threads) fail("of_cluster_block: block %d of the cluster has returned", rank);
    return other.shared.get() - own;
  }

  void copy_async16(void* shared, const void* global, void (*copy)(void*, const void*)) {
    Thread& t = here();
    let_copies_arrive(t);
    require_aligned("copy_async16: shared memory", shared);
    require_aligned("copy_async16: global memory", global);
    char* target = static_cast<char*>(shared);
    const ptrdiff_t offset = target - t.at.shared_memory;
    if (offset < 0 || offset + 16 > shape_.shared_bytes) {
      fail("copy_async16: address %p, which is not in the block's shared memory", shared);
    }
    if (t.at.counted) count(kCopy, global, 16);
    const void* const source = reach(global, 16, kReads);
    std::memset(target, kUnwritten, 16);
    t.copies.push_back({target, static_cast<const char*>(source), copy, t.group});
  }

  void copy_async_commit() { ++here().group; }

  void copy_async_wait(int pending, const char* file, int line) {
    Thread& t = here();
    if (skip(t, {kCopyWait, file, line})) return;
    while (true) {
      // Copies that must complete, in any order.
      due_.clear();
      for (size_t i = 0; i < t.copies.size(); ++i) {
        if (t.copies[i].group < t.group - pending) due_.push_back(i);
      }
      if (due_.empty()) return;
      arrive(t, due_[random_.below(static_cast<uint32_t>(due_.size()))]);
    }
  }

  void count(Access kind, const void* p, unsigned bytes) {
    Thread& t = here();
    for (const Block& block : blocks_) {
      if (p >= block.shared.get() && p < block.shared.get() + shape_.shared_bytes) return;
    }
    const auto first = reinterpret_cast<int64_t>(p), last = first + bytes - 1;
    const std::vector<Region>& regions = control().regions;
    size_t region = 0;
    while (region < regions.size() &&
           (first < regions[region].address || last >= regions[region].address + regions[region].bytes)) {
      ++region;
    }
    const size_t list = region * kAccessKinds + kind;
    t.accesses.resize(record_->traffic.size() * kAccessKinds);
    t.warp->requests.resize(t.accesses.size());
    std::vector<Request>& requests = t.warp->requests[list];
    const size_t number = t.accesses[list]++;
    if (number >= requests.size()) requests.resize(number + 1);
    requests[number].bytes += bytes;
    for (int64_t sector = first / kSectorBytes; sector <= last / kSectorBytes; ++sector) {
      requests[number].sectors.push_back(sector);
    }
  }

  void* reach(const void* p, unsigned bytes, Use how) {
    const auto first = reinterpret_cast<int64_t>(p);
    // Fast path: most accesses are to the block's shared memory or to the range accessed last.
    for (const Block& block : blocks_) {
      const auto shared = reinterpret_cast<int64_t>(block.shared.get());
      if (first < shared || first >= shared + shape_.shared_bytes) continue;
      if (first + bytes > shared + shape_.shared_bytes) break;
      return const_cast<void*>(p);
    }
    const MemoryRange& range = range_of(p, bytes);
    if (how == kReadsConstant) {
      if (written_.overlaps(first, first + bytes)) fail_constant("address %p is read as constant, and was written", p);
      constants_.add(first, first + bytes);
    } else if (how == kWrites) {
      if (constants_.overlaps(first, first + bytes))
        fail_constant("address %p is written, and was read as constant", p);
      written_.add(first, first + bytes);
    }
    return reinterpret_cast<void*>(first + range.to_host);
  }

  [[noreturn]] void give_up(cudaError_t error, const char* why) {
    const Thread& t = here();
    error_ = error;
    control().failure = "block " + std::to_string(t.at.block) +
                        (shape_.block_rows > 1 ? " of row " + std::to_string(t.at.block_row) : "") + ", thread " +
                        std::to_string(t.at.index) + ": " + why;
    here().fibre.switch_to(main_);
    std::abort();
  }

  bool running() const { return running_ != nullptr; }

 private:
  static int64_t greatest_common_divisor(int64_t a, int64_t b) {
    while (b != 0) {
      const int64_t rest = a % b;
      a = b;
      b = rest;
    }
    return a;
  }

  // Texts passed to fail() own no memory: objects on an abandoned stack are never destroyed.
  struct Text {
    char of[100];
  };
  static Text meeting(int bytes, int mask) {
    Text text;
    if (bytes == 0) {
      std::snprintf(text.of, sizeof text.of, "a warp barrier");
    } else {
      std::snprintf(text.of, sizeof text.of, "a shuffle of %d bytes by %d", bytes, mask);
    }
    return text;
  }

  Thread& here() { return *running_; }

  // The device memory range that contains all of these bytes.
  const MemoryRange& range_of(const void* p, unsigned bytes) {
    const auto first = reinterpret_cast<int64_t>(p);
    const auto is_in = [&](const MemoryRange& r) { return first >= r.begin && first < r.end; };
    auto found = std::find_if(reached_.begin(), reached_.end(), is_in);
    if (found == reached_.end()) {
      MemoryRange range{};
      if (!find_memory(first, &range)) fail_illegal("address %p, which is no memory that kernels reach", p);
      if (range.device != kAnyDevice && range.device != device_) {
        fail_illegal("address %p, which is memory of another device", p);
      }
      found = reached_.insert(reached_.begin(), range);
    }
    if (first + bytes > found->end) fail_illegal("address %p, at the end of its allocation", p);
    return *found;
  }
  [[noreturn]] void fail_illegal(const char* format, const void* p) {
    Text text;
    std::snprintf(text.of, sizeof text.of, format, p);
    give_up(cudaErrorIllegalAddress, text.of);
  }

  // A launch must not write memory that it reads as constant, in any order of its threads.
  [[noreturn]] void fail_constant(const char* format, const void* p) {
    Text text;
    std::snprintf(text.of, sizeof text.of, format, p);
    give_up(cudaErrorLaunchFailure, text.of);
  }

  // Forms requests from the accesses since the last warp synchronisation, which all threads have reached.
  void make_requests(Warp& warp) {
    for (size_t list = 0; list < warp.requests.size(); ++list) {
      Traffic& traffic = record_->traffic[list / kAccessKinds].of[list % kAccessKinds];
      for (Request& request : warp.requests[list]) {
        std::vector<int64_t>& sectors = request.sectors;
        std::sort(sectors.begin(), sectors.end());
        traffic.requests += 1;
        traffic.sectors += std::unique(sectors.begin(), sectors.end()) - sectors.begin();
        traffic.bytes += request.bytes;
      }
      warp.requests[list].clear();
    }
    if (warp.requests.empty()) return;
    for (Thread* t : warp.threads) std::fill(t->accesses.begin(), t->accesses.end(), 0);
  }

  void require_cluster(const char* what) {
    if (shape_.cluster == 1) fail("%s: the launch has no clusters", what);
  }

  void run_cluster(int64_t cluster) {
    const int64_t per_row = shape_.blocks / shape_.cluster;
    const int threads = shape_.threads;
    live_at_start_ = live_ = shape_.cluster * threads;
    reserve(live_);
    blocks_.resize(static_cast<size_t>(shape_.cluster));
    ready_blocks_.clear();
    last_ = nullptr;
    phase_ = 0;
    arrivals_.clear();
    // Probability of staying with the same warp, or with one of the same block: 0, most, or all of the time. Even
    // progress hides errors that a thread far ahead reveals.
    constexpr uint32_t chances[] = {0, 12, 16};
    stay_in_warp_ = chances[random_.below(3)];
    stay_in_block_ = chances[random_.below(3)];
    for (int b = 0; b < shape_.cluster; ++b) {
      Block& block = blocks_[static_cast<size_t>(b)];
      const auto bytes = static_cast<size_t>(shape_.shared_bytes);
      if (block.shared == nullptr) block.shared.reset(static_cast<char*>(std::malloc(bytes)));
      if (block.shared == nullptr) std::abort();
      constexpr auto beginnings = static_cast<uint32_t>(std::size(kBeginnings));
      std::memset(block.shared.get(), kBeginnings[random_.below(beginnings)], bytes);
      block.at_barrier = block.returned = 0;
      block.started = false;
      block.warps.clear();
      block.ready.clear();
      for (int i = 0; i < threads; ++i) {
        Thread& t = *threads_[static_cast<size_t>(b * threads + i)];
        if (i % kWarp == 0) {
          Warp* warp = warps_[static_cast<size_t>((b * threads + i) / kWarp)].get();
          warp->ready_count = warp->arrived = warp->turn = 0;
          warp->requests.clear();
          warp->block = &block;
          block.warps.push_back(warp);
        }
        t.at = {i,
                threads,
                cluster % per_row * shape_.cluster + b,
                static_cast<int>(cluster / per_row),
                b,
                block.shared.get(),
                !record_->traffic.empty()};
        t.warp = block.warps.back();
        t.warp->threads[i % kWarp] = &t;
        t.block = &block;
        t.started = t.arrived = false;
        t.phase = t.group = 0;
        t.copies.clear();
        t.accesses.clear();
        std::fill(t.calls, t.calls + kBarriers, 0);
        t.fibre.start(enter, static_cast<size_t>(i % 16) * 256);
        wake(t);
      }
    }
    running_ = next();
    enter_thread();
    main_.switch_to(running_->fibre);
    running_ = nullptr;
    position = nullptr;
    for (Block& block : blocks_) {
      for (Warp* warp : block.warps) make_requests(*warp);
    }
  }

  // Makes fibres and warps for this many threads.
  void reserve(int threads) {
    while (threads_.size() < static_cast<size_t>(threads)) {
      const size_t place = threads_.size() % kStacksAtATime;
      if (place == 0) {
        void* memory = mmap(nullptr, kStacksAtATime * kStack, PROT_READ | PROT_WRITE,
                            MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        if (memory == MAP_FAILED) std::abort();
        stacks_.push_back(static_cast<char*>(memory));
      }
      constexpr size_t guard = 4096;
      char* stack = stacks_.back() + place * kStack;
      if (mprotect(stack, guard, PROT_NONE) != 0) std::abort();
      threads_.push_back(std::make_unique<Thread>(stack));
      if (threads_.size() % kWarp == 1) warps_.push_back(std::make_unique<Warp>());
    }
  }

  void wake(Thread& t) {
    t.state = State::ready;
    Warp& warp = *t.warp;
    if (warp.ready_count == 0) add_ready(warp);
    warp.ready[warp.ready_count++] = static_cast<uint8_t>(t.at.index % kWarp);
  }
  void wake_all(Warp& warp) {
    for (Thread* t : warp.threads) wake(*t);
  }
  void add_ready(Warp& warp) {
    Block& block = *warp.block;
    if (block.ready.empty()) enlist(ready_blocks_, block);
    enlist(block.ready, warp);
  }
  template <class T>
  static void enlist(std::vector<T*>& list, T& member) {
    member.place = static_cast<int>(list.size());
    list.push_back(&member);
  }
  template <class T>
  static void strike(std::vector<T*>& list, const T& member) {
    list.back()->place = member.place;
    list[static_cast<size_t>(member.place)] = list.back();
    list.pop_back();
  }
  template <class T>
  T* any(const std::vector<T*>& list) {
    return list[random_.below(static_cast<uint32_t>(list.size()))];
  }

  // Picks the next thread to run; null if none can.
  Thread* next() {
    if (ready_blocks_.empty()) return nullptr;
    Warp* warp = last_;
    if (warp == nullptr || warp->ready_count == 0 || random_.below(16) >= stay_in_warp_) {
      Block* block = warp == nullptr ? nullptr : warp->block;
      if (block == nullptr || block->ready.empty() || random_.below(16) >= stay_in_block_) block = any(ready_blocks_);
      warp = any(block->ready);
    }
    last_ = warp;
    const uint32_t chosen = random_.below(static_cast<uint32_t>(warp->ready_count));
    Thread* t = warp->threads[warp->ready[chosen]];
    warp->ready[chosen] = warp->ready[--warp->ready_count];
    if (warp->ready_count == 0) {
      Block& block = *warp->block;
      strike(block.ready, *warp);
      if (block.ready.empty()) strike(ready_blocks_, block);
    }
    return t;
  }

  // Suspends this thread and runs others until it is picked again.
  void give_way(Thread& from) {
    Thread* to = next();
    if (to == nullptr) stand_still();
    if (to == &from) return;
    running_ = to;
    enter_thread();
    from.fibre.switch_to(to->fibre);
  }

  void enter_thread() {
    position = &running_->at;
    running_->started = running_->block->started = true;
  }

  static void enter();
  [[noreturn]] void run_thread() {
    call_(kernel_, parameters_);
    Thread& t = here();
    if (t.arrived) fail("the thread returned after cluster_arrive, without cluster_wait");
    t.state = State::returned;
    for (int kind = 0; kind < kBarriers; ++kind) record_->calls[kind] = std::max(record_->calls[kind], t.calls[kind]);
    if (++t.block->returned == shape_.threads && shape_.cluster > 1) {
      // Overwritten, because no other block may read it any more.
      std::memset(t.block->shared.get(), kUnwritten, static_cast<size_t>(shape_.shared_bytes));
    }
    if (--live_ == 0) t.fibre.leave_for(main_);
    Thread* to = next();
    if (to == nullptr) stand_still();
    running_ = to;
    enter_thread();
    t.fibre.leave_for(to->fibre);
  }

  // Deadlock: reports where the threads of the first unfinished warp are.
  [[noreturn]] void stand_still() const {
    static const char* const doing[] = {"ready", "at a shuffle or warp barrier", "at a block barrier",
                                        "at a cluster wait", "returned"};
    for (const Block& block : blocks_) {
      for (const Warp* warp : block.warps) {
        int in[5] = {};
        for (const Thread* t : warp->threads) ++in[static_cast<int>(t->state)];
        if (in[static_cast<int>(State::returned)] == kWarp) continue;
        char text[200];
        int length = 0;
        for (int i = 0; i < 5; ++i) {
          if (in[i] == 0) continue;
          length += std::snprintf(text + length, sizeof text - static_cast<size_t>(length), "%s %d %s",
                                  length > 0 ? "," : "", in[i], doing[i]);
        }
        fail("divergence: no thread can go on; of block %lld, from thread %d on,%s",
             static_cast<long long>(warp->threads[0]->at.block), warp->threads[0]->at.index, text);
      }
    }
    fail("no thread can go on");
  }

  // Whether to skip this barrier. Sites are compared as texts: several files may include the same header.
  bool skip(Thread& t, const Site& site) {
    const int64_t call = t.calls[site.kind]++;
    const auto is = [&site](const Site& other) {
      return site.kind == other.kind && site.line == other.line && std::strcmp(site.file, other.file) == 0;
    };
    if (control().records) {
      std::vector<Site>& sites = record_->sites;
      if (std::none_of(sites.begin(), sites.end(), is)) sites.push_back(site);
    }
    if (skipped_ == nullptr) return false;
    return skipped_->file != nullptr ? is(*skipped_) : skipped_->kind == site.kind && control().skipped_call == call;
  }

  void let_copies_arrive(Thread& t) {
    while (!t.copies.empty() && random_.below(4) == 0) {
      arrive(t, random_.below(static_cast<uint32_t>(t.copies.size())));
    }
  }
  static void arrive(Thread& t, size_t copy) {
    t.copies[copy].copy(t.copies[copy].target, t.copies[copy].source);
    t.copies[copy] = t.copies.back();
    t.copies.pop_back();
  }

  const void* kernel_ = nullptr;
  void (*call_)(const void*, const void*) = nullptr;
  const void* parameters_ = nullptr;
  LaunchShape shape_{};
  const Site* skipped_ = nullptr;
  LaunchRecord* record_ = nullptr;
  int32_t device_ = 0;
  cudaError_t error_ = cudaSuccess;
  std::vector<MemoryRange> reached_;  // accessed since the launch began, the latest first
  AddressSet constants_, written_;    // global memory read as constant and written since the launch started

  Random random_;
  uint32_t stay_in_warp_ = 0, stay_in_block_ = 0;  // sixteenths
  Fibre main_;
  Thread* running_ = nullptr;
  std::vector<char*> stacks_;
  std::vector<std::unique_ptr<Thread>> threads_;
  std::vector<std::unique_ptr<Warp>> warps_;
  std::vector<Block> blocks_;
  std::vector<Block*> ready_blocks_;
  Warp* last_ = nullptr;
  int live_ = 0, live_at_start_ = 0;
  int64_t phase_ = 0;          // number of complete arrivals of the cluster
  std::vector<int> arrivals_;  // at each of the cluster's barriers
  std::vector<size_t> due_;
};

Machine& machine() {
  thread_local Machine own;
  return own;
}

void Machine::enter() { machine().run_thread(); }

}  // namespace

void block_barrier(const char* file, int line) { machine().block_barrier(file, line); }
void warp_barrier() { machine().meet_warp(nullptr, nullptr, 0, 0); }
void shuffle(const void* give, void* take, int bytes, int mask) { machine().meet_warp(give, take, bytes, mask); }
void cluster_arrive() { machine().cluster_arrive(); }
void cluster_wait(const char* file, int line) { machine().cluster_wait(file, line); }
ptrdiff_t to_cluster_block(const void* p, int rank) { return machine().to_cluster_block(p, rank); }
void copy_async16(void* shared, const void* global, void (*copy)(void*, const void*)) {
  machine().copy_async16(shared, global, copy);
}
void count(Access kind, const void* p, unsigned bytes) { machine().count(kind, p, bytes); }
void copy_async_commit() { machine().copy_async_commit(); }
void copy_async_wait(int pending, const char* file, int line) { machine().copy_async_wait(pending, file, line); }

void fail(const char* format, ...) {
  char text[400];
  va_list arguments;
  va_start(arguments, format);
  std::vsnprintf(text, sizeof text, format, arguments);
  va_end(arguments);
  machine().give_up(cudaErrorLaunchFailure, text);
}
void fail_misaligned(const char* what, const void* p, unsigned expected) {
  char text[100];
  std::snprintf(text, sizeof text, "%s: address %p, expected a multiple of %u", what, p, expected);
  machine().give_up(cudaErrorMisalignedAddress, text);
}
void* reach(const void* p, unsigned bytes, Use how) { return machine().reach(p, bytes, how); }

cudaError_t run(const KernelLaunch& launch) {
  Control& c = control();
  const LaunchShape& s = launch.shape;
  const bool skips = c.skips && c.records && c.skipped_launch == static_cast<int64_t>(c.launches.size());
  LaunchRecord record{launch.kernel,  launch.device,   s.blocks, s.block_rows, s.threads, s.cluster,
                      s.shared_bytes, launch.carveout, {},       {},           {},        {}};
  if (c.records && c.counts) record.traffic.resize(c.regions.size() + 1);
  if (c.records) record.parameters = launch.parameters;
  const cudaError_t error = c.runs ? machine().run(launch, skips ? &c.skipped_site : nullptr, &record) : cudaSuccess;
  if (c.records) c.launches.push_back(record);
  return error;
}

}  // namespace host
}  // namespace simt
}  // namespace nc
