// The plugin's launches for the important shapes on a device of compute capability 9.0, checked without one: the
// occupancy of each kernel and its bytes in flight from memory. Registers are those that ptxas assigned to the kernels;
// launches are those of launch_plan.cu itself, which the simulator records and does not run. The table is written to
// NC_LAUNCH_TABLE.
//
// Bytes in flight per SM (Little's law): 3.35 TB/s and 700 ns of latency over 132 SMs need 18 KB at all times, 4.8 TB/s
// 25 KB. A kernel whose maximum is no more than that falls short whenever its threads do anything else, so the test
// requires twice 18 KB.
#include <dlfcn.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <cstring>
#include <fstream>
#include <map>
#include <sstream>
#include <string>
#include <vector>

#include "core/dtype.h"
#include "core/workspace.h"
#include "cuda/kernels.h"
#include "cuda/plugin.h"
#include "simulator/control.h"

extern "C" const nc::CudaPlugin* nc_cuda_plugin(void);

namespace {

// Limits of compute capability 9.0: CUDA's programming guide, "compute capabilities".
constexpr int kMultiprocessors = 132;  // of the H100 and H200
constexpr int kRegisters = 65536, kRegisterUnit = 256, kMostThreads = 2048, kMostBlocks = 32, kWarpThreads = 32;
constexpr int kSharedBytes = 228 * 1024, kSharedOfSystem = 1024;

constexpr double kAim = 2 * 18 * 1024;

struct Kernel {
  std::string name;
  int registers;
  int spilled;
  int most_threads;  // of a block, by its launch bounds
};

// The kernels of compute capability 9.0, by symbol; empty where none was compiled for it.
const std::map<std::string, Kernel>& kernels() {
  static const std::map<std::string, Kernel> all = [] {
    std::map<std::string, Kernel> read;
    std::ifstream table(NC_KERNEL_TABLE);
    std::string line;
    std::map<std::string, size_t> columns;
    while (std::getline(table, line)) {
      std::vector<std::string> fields;
      std::stringstream cells(line);
      for (std::string field; std::getline(cells, field, '\t');) fields.push_back(field);
      if (columns.empty()) {
        for (size_t i = 0; i < fields.size(); ++i) columns[fields[i]] = i;
        continue;
      }
      const auto of = [&](const char* column) { return fields.at(columns.at(column)); };
      if (of("architecture") != "sm_90" || of("kind") != "kernel") continue;
      read[of("symbol")] = {of("function"), std::stoi(of("registers")),
                            std::stoi(of("spill_stores")) + std::stoi(of("spill_loads")), std::stoi(of("threads"))};
    }
    return read;
  }();
  return all;
}

// Null if the kernel has no symbol, as the generic kernels of any format, or is not in the table.
const Kernel* find(const void* address) {
  Dl_info info{};
  if (dladdr(address, &info) == 0 || info.dli_sname == nullptr) return nullptr;
  const auto found = kernels().find(info.dli_sname);
  return found == kernels().end() ? nullptr : &found->second;
}

int registers_at(const void* address) {
  const Kernel* kernel = find(address);
  return kernel == nullptr ? 255 : kernel->registers;
}

struct Occupancy {
  int blocks;  // per SM
  const char* limit;
};
Occupancy occupancy(const Kernel& kernel, const nc::simt::LaunchRecord& l) {
  const int warps = l.threads / kWarpThreads;
  const int of_warp = static_cast<int>(nc::ceil_div(kernel.registers * kWarpThreads, kRegisterUnit)) * kRegisterUnit;
  Occupancy least{kMostBlocks, "blocks"};
  const auto limited = [&](int blocks, const char* by) {
    if (blocks < least.blocks) least = {blocks, by};
  };
  limited(kMostThreads / l.threads, "threads");
  limited(kRegisters / of_warp / warps, "registers");
  limited(kSharedBytes / (l.shared_bytes + kSharedOfSystem), "shared memory");
  const int64_t of_grid = nc::ceil_div(l.blocks, kMultiprocessors);
  if (of_grid < least.blocks) least = {static_cast<int>(of_grid), "grid"};
  return least;
}

struct Shape {
  int64_t rows, n;
};
const Shape kShapes[] = {{1048576, 64},  {131072, 128},   {32768, 256},   {32768, 512},   {32768, 769},
                         {32768, 1024},  {32768, 2048},   {32768, 4096},  {32768, 5120},  {32768, 6144},
                         {32768, 7168},  {32768, 8192},   {32768, 12288}, {32768, 16384}, {32768, 32768},
                         {32768, 65536}, {16384, 131072}, {8192, 262144}};

struct Formats {
  nc::DType x, weight;
  const char* name;
};
const Formats kFormats[] = {{nc::DType::bfloat16, nc::DType::bfloat16, "bf16, bf16"},
                            {nc::DType::bfloat16, nc::DType::float32, "bf16, f32"},
                            {nc::DType::float32, nc::DType::float32, "f32, f32"}};

nc::NormSpec spec_of(nc::Op op, const Formats& f, int64_t n) {
  nc::NormSpec s{};
  s.op = op;
  s.x = s.y = f.x;
  s.weight = f.weight;
  s.has_weight = true;
  s.has_bias = op == nc::Op::layer_norm;
  s.hidden_size = n;
  s.epsilon = 1e-5;
  return s;
}

// Any aligned address: no launch is run.
char* address() { return reinterpret_cast<char*>(int64_t{1} << 40); }

class CudaLaunches : public ::testing::Test {
 protected:
  void SetUp() override {
    if (kernels().empty()) GTEST_SKIP() << "no kernel was compiled for sm_90: " NC_KERNEL_TABLE " has none";
    nc::simt::Control& c = nc::simt::control();
    before_ = c;
    c.records = true;
    c.runs = false;
    c.registers_of = registers_at;
  }
  void TearDown() override { nc::simt::control() = before_; }

  nc::CudaNorm prepared(const nc::NormSpec& spec) {
    nc::CudaNorm norm{};
    EXPECT_EQ(0, plugin_->prepare(0, spec, &norm));
    return norm;
  }
  nc::simt::LaunchRecord forward(const nc::NormSpec& spec, int64_t rows) {
    nc::ForwardArguments a{};
    a.row_end = rows;
    a.x = address();
    a.y = a.mean = a.rstd = address();
    a.weight = address();
    a.bias = spec.has_bias ? address() : nullptr;
    if (spec.op == nc::Op::rms_norm) a.mean = nullptr;
    a.x_stride = a.y_stride = spec.hidden_size * nc::bytes_of(spec.x);
    EXPECT_EQ(0, plugin_->forward(prepared(spec), a, 0));
    return last();
  }
  nc::simt::LaunchRecord backward(const nc::NormSpec& spec, int64_t rows) {
    nc::BackwardArguments a{};
    a.rows = rows;
    a.group_end = nc::groups(rows, spec.hidden_size);
    a.x = a.dy = a.weight = a.rstd = address();
    a.mean = spec.has_bias ? address() : nullptr;
    a.dx = a.dweight_partials = address();
    a.dbias_partials = spec.has_bias ? address() : nullptr;
    a.x_stride = a.dy_stride = a.dx_stride = spec.hidden_size * nc::bytes_of(spec.x);
    EXPECT_EQ(0, plugin_->backward(prepared(spec), a, 0));
    return last();
  }

 private:
  nc::simt::LaunchRecord last() {
    EXPECT_EQ(0, plugin_->stream_synchronize(0, 0));
    auto& launches = nc::simt::control().launches;
    const nc::simt::LaunchRecord record = launches.back();
    launches.clear();
    return record;
  }

  const nc::CudaPlugin* plugin_ = nc_cuda_plugin();
  nc::simt::Control before_;
};

template <class Parameters>
Parameters parameters_of(const nc::simt::LaunchRecord& l) {
  Parameters p;
  EXPECT_EQ(sizeof(p), l.parameters.size());
  memcpy(&p, l.parameters.data(), sizeof(p));
  return p;
}

TEST_F(CudaLaunches, HaveEnoughBytesInFlight) {
  std::ofstream table(NC_LAUNCH_TABLE);
  table
      << "# CUDA launches, on 132 multiprocessors of compute capability 9.0\n\n"
         "Reckoned, not measured: registers as ptxas gave them, launches as the plugin makes them. Blocks are those\n"
         "that one SM holds at once, and what limits them; a cluster's are counted one by one. Occupancy\n"
         "is of 64 warps. A stage is a row of each of the block's row slots, of short rows several, that is in\n"
         "flight while another is worked on. KB in flight: of x, and in the backward of dy, per SM, when\n"
         "all its threads have asked for theirs, in the backward without the rows that are being worked on; 18 KB are\n"
         "needed at 3.35 TB/s and 700 ns, 25 KB at 4.8 TB/s.\n\n"
         "| norm | direction | x, weight | rows x N | kernel | threads | cluster | grid | blocks | limited by | "
         "occupancy | shared KB | stages | KB in flight |\n"
         "|---|---|---|---|---|---|---|---|---|---|---|---|---|---|\n";
  for (const nc::Op op : {nc::Op::rms_norm, nc::Op::layer_norm}) {
    for (const bool is_forward : {true, false}) {
      for (const Formats& formats : kFormats) {
        for (const Shape& shape : kShapes) {
          const nc::NormSpec spec = spec_of(op, formats, shape.n);
          const nc::simt::LaunchRecord l = is_forward ? forward(spec, shape.rows) : backward(spec, shape.rows);
          ASSERT_NE(nullptr, find(l.kernel)) << formats.name << ", " << shape.n << ": not a fast kernel";
          const Kernel& kernel = *find(l.kernel);
          const Occupancy held = occupancy(kernel, l);
          const double row_bytes = static_cast<double>(shape.n * nc::bytes_of(spec.x)) / l.cluster;
          double of_block;
          int stages = 0;
          if (is_forward) {
            of_block = row_bytes * parameters_of<nc::ForwardParameters>(l).rows_per_block;
          } else {
            const auto p = parameters_of<nc::BackwardParameters>(l);
            stages = p.stages;
            of_block = 2 * row_bytes * p.row_slots * p.rows_at_once * (stages > 1 ? stages - 1 : 1);
          }
          const double bytes = of_block * held.blocks;
          std::ostringstream line;
          line << (op == nc::Op::rms_norm ? "RMSNorm" : "LayerNorm") << " | " << (is_forward ? "forward" : "backward")
               << " | " << formats.name << " | " << shape.rows << " x " << shape.n;
          table << "| " << line.str() << " | `" << kernel.name << "` | " << l.threads << " | " << l.cluster << " | "
                << l.blocks << " | " << held.blocks << " | " << held.limit << " | "
                << 100 * held.blocks * l.threads / kMostThreads << " % | " << l.shared_bytes / 1024 << " | "
                << (is_forward ? "" : std::to_string(stages)) << " | " << static_cast<int>(bytes / 1024) << " |\n";
          const std::string kind = is_forward ? "norm_forward" : "norm_backward";
          const std::string expected = kind + (shape.n % nc::kVecWidth == 0 ? "<FastFormats<" : "_unaligned<");
          EXPECT_EQ(0u, kernel.name.rfind(expected, 0)) << line.str() << ": " << kernel.name;
          EXPECT_EQ(0, kernel.spilled) << line.str();
          EXPECT_LE(l.threads, kernel.most_threads) << line.str() << ": a device refuses this launch";
          EXPECT_GE(held.blocks, 1) << line.str();
          EXPECT_GE(bytes, kAim) << line.str();
        }
      }
    }
  }
  table.close();
  EXPECT_TRUE(table.good()) << NC_LAUNCH_TABLE;
}

}  // namespace
