// The kernel of each shape: on a device with clusters, without clusters, with room for small clusters only, and for
// code compiled without clusters. A fast kernel that is left out is named, with the reason.
#include <cuda_runtime.h>
#include <dlfcn.h>
#include <gtest/gtest.h>

#include <sstream>

#include "simulator/control.h"
#include "support/cuda_test.h"

namespace {

using namespace harness;
using nc::simt::control;

class SimulatedKernels : public ::testing::Test {
 protected:
  void SetUp() override { before_ = control(); }
  void TearDown() override { control() = before_; }

  static nc_norm_spec spec(int32_t op, int32_t dtype, int64_t n, int32_t device = 0) {
    nc_norm_spec s = makeSpec(op, dtype, dtype, dtype, n);
    s.device_type = NC_DEVICE_CUDA;
    s.device_index = device;
    return s;
  }
  static std::string kernels(const nc_norm_spec& s) {
    const Plan plan(s);
    char text[2048];
    check(nc_cuda_norm_kernels(plan, reinterpret_cast<int64_t>(text), sizeof text));
    return text;
  }

 private:
  nc::simt::Control before_;
};

// A kernel's letter and its vectors of 8 elements per thread. F: fast, for rows that begin on 16-byte boundaries and
// have whole vectors. U: for unaligned rows. G: generic, by design. M: generic, because a block's part of a row does
// not fit the shared memory of the faster kernel. After a slash: with a residual, if different.
std::string choice(const std::string& line) {
  const auto has = [&](const char* part) { return line.find(part) != std::string::npos; };
  const size_t comma = line.find(", ");
  const auto vectors = [&] { return std::to_string(std::stoi(line.substr(comma + 2))); };
  if (has("_generic; no faster kernel is compiled")) return "G";
  if (has("_generic; the faster kernel is left out: its part of a row does not fit a block's shared memory"))
    return "M";
  if (comma == std::string::npos || !has("vectors a thread")) return line;
  return (has("_unaligned") ? "U" : "F") + vectors();
}

// Forward aligned and unaligned, backward aligned and unaligned.
std::string choices(const std::string& text) {
  std::istringstream lines(text);
  std::string all, line, with_residual;
  while (std::getline(lines, line) && std::getline(lines, with_residual)) {
    EXPECT_EQ(std::string::npos, line.find("residual")) << line;
    EXPECT_NE(std::string::npos, with_residual.find(" residual: ")) << with_residual;
    const std::string plain = choice(line), other = choice(with_residual);
    all += (all.empty() ? "" : " ") + (plain == other ? plain : plain + "/" + other);
  }
  return all;
}

struct Choices {
  int64_t n;
  const char* of[4];  // RMSNorm in bfloat16 and float32, LayerNorm in bfloat16 and float32
};
const Choices kChoices[] = {
    {1, {"G G G G", "G G G G", "G G G G", "G G G G"}},
    {7, {"G G G G", "G G G G", "G G G G", "G G G G"}},
    {8, {"F1 G F1 G", "F1 G F1 G", "F1 G F1 G", "F1 G F1 G"}},
    {9, {"G G G G", "G G G G", "G G G G", "G G G G"}},
    {64, {"F1 G F1 G", "F1 G F1 G", "F1 G F1 G", "F1 G F1 G"}},
    {65, {"U1 U1 U4 U4", "U1 U1 U4 U4", "U1 U1 U4 U4", "U1 U1 U4 U4"}},
    {229, {"U1 U1 U4 U4", "U1 U1 U4 U4", "U1 U1 U4 U4", "U1 U1 U4 U4"}},
    {256, {"F1 U1 F1 U4", "F1 U1 F1 U4", "F1 U1 F1 U4", "F1 U1 F1 U4"}},
    {512, {"F2 U4 F2 U4", "F2 U4 F2 U4", "F2 U4 F2 U4", "F2 U4 F2 U4"}},
    {768, {"F4 U4 F4 U4", "F4 U4 F4 U4", "F4 U4 F4 U4", "F4 U4 F4 U4"}},
    {769, {"U4 U4 U4 U4", "U4 U4 U4 U4", "U4 U4 U4 U4", "U4 U4 U4 U4"}},
    {1024, {"F4 U4 F4 U4", "F4 U4 F4 U4", "F4 U4 F4 U4", "F4 U4 F4 U4"}},
    {2048, {"F8 U8 F8 U16", "F8 U8 F8 U16", "F8 U8 F8 U16", "F8 U8 F8 U16"}},
    {3072, {"F12 U16 F12 U16", "F12 U16 F12 U16", "F12 U16 F12 U16", "F12 U16 F12 U16/M"}},
    {4096, {"F8 U8 F8 U16", "F8 U8 F8 U16", "F8 U8 F8 U16", "F8 U8 F8 U16"}},
    {5120, {"F12 U16 F12 U16", "F12 U16 F12 U16", "F12 U16 F12 U16", "F12 U16 F12 U16"}},
    {8192, {"F8 U8 F8 U16", "F8 U8 F8 U16", "F8 U8 F8 U16", "F8 U8 F8 U16"}},
    {12288, {"F12 U16 F12 U16", "F12 U16 F12 U16/M", "F12 U16 F12 U16", "F12 U16 F12 M"}},
    {16384, {"F16 U16 F16 U16", "F16 U16 F16 M", "F16 U16 F16 U16", "F16 U16/M F16/M M"}},
    {16392, {"F8 U8 F8 U16", "F8 U8 F8 U16", "F8 U8 F8 U16", "F8 U8 F8 U16"}},
    {32768, {"F8 U8 F8 U16", "F8 U8 F8 M", "F8 U8 F8 U16", "F8 U8/M F8 M"}},
    {65536, {"F8 U8 F8 U16", "F8 U8 F8 M", "F8 U8 F8 U16", "F8 U8/M F8 M"}},
    {65537, {"U8 U8 U16 U16", "U8 U8 U16 U16", "U8 U8 U16 U16", "U8 U8 U16 U16"}},
    {131072, {"F8 U8 F8 U16", "F8 U8 F8 M", "F8 U8 F8 U16", "F8 U8/M F8 M"}},
    {262144, {"F8 U8 F8 U16", "F8 U8 F8 M", "F8 U8 F8 U16", "F8 U8/M F8 M"}},
    {262152, {"F12 U16 F12 U16", "F12 U16 F12 M", "F12 U16 F12 U16/M", "F12 U16/M F12/M M"}},
    {524288, {"F16 U16 F16 M", "F16 M M M", "F16 U16/M M M", "F16 M M M"}},
    {524296, {"G G G G", "G G G G", "G G G G", "G G G G"}},
};

TEST_F(SimulatedKernels, OfEveryShape) {
  for (const Choices& expected : kChoices) {
    int i = 0;
    for (const int32_t op : {NC_RMS_NORM, NC_LAYER_NORM}) {
      for (const int32_t dtype : {NC_BFLOAT16, NC_FLOAT32}) {
        EXPECT_EQ(expected.of[i++], choices(kernels(spec(op, dtype, expected.n))))
            << (op == NC_RMS_NORM ? "RMSNorm " : "LayerNorm ") << formatName(dtype) << ", N = " << expected.n;
      }
    }
  }
}

// The described names are those of the launched kernels.
TEST_F(SimulatedKernels, AreLaunchedAsDescribed) {
  control().records = true;
  for (const int64_t n : {7, 256, 769, 16392}) {
    Case c;
    c.spec = makeSpec(NC_LAYER_NORM, NC_BFLOAT16, NC_BFLOAT16, NC_BFLOAT16, n);
    c.rows = 2;
    const Data data = draw(c, 1);
    nc_norm_spec on_device = c.spec;
    on_device.device_type = NC_DEVICE_CUDA;
    std::istringstream lines(kernels(on_device));
    for (const size_t offset : {size_t{0}, size_t{2}}) {
      Form form = onDevice(0);
      form.offset = offset;
      control().launches.clear();
      run(c, data, form);
      ASSERT_EQ(3u, control().launches.size());
      for (const int launch : {0, 1}) {
        const std::string role =
            std::string(launch == 0 ? "forward" : "backward") + (offset == 0 ? " aligned: " : " unaligned: ");
        std::string line;
        lines.clear();
        lines.seekg(0);
        while (std::getline(lines, line) && line.compare(0, role.size(), role) != 0) continue;
        const size_t end = line.find_first_of(",;");
        ASSERT_NE(std::string::npos, end) << line;
        Dl_info info{};
        const bool named =
            dladdr(control().launches[static_cast<size_t>(launch)].kernel, &info) != 0 && info.dli_sname != nullptr;
        // Names are mangled: a length and the name. The generic kernels of this combination have a name as well.
        const std::string name = line.substr(role.size(), end - role.size());
        ASSERT_TRUE(named) << line;
        EXPECT_NE(std::string::npos, std::string(info.dli_sname).find(std::to_string(name.size()) + name + "I"))
            << info.dli_sname << " is not " << name;
      }
    }
  }
}

// If clusters are too small, unsupported, or not in the code, long rows run in the generic kernel, the description says
// so, and the bits are the same. Short rows have their fast kernels.
TEST_F(SimulatedKernels, LeftOutKernelsAreNamed) {
  struct Lack {
    const char* reason;
    int largest_cluster, code_capability;
    int32_t device;
    int64_t longest;  // rows that have the fast kernel
  };
  const Lack lacks[] = {{"the device does not hold a cluster of 16 blocks", 8, 90, 0, 131072},
                        {"the device does not hold a cluster of 4 blocks", 2, 90, 0, 32768},
                        {"the code is for compute capabilities below 9.0", 16, 80, 0, 16384},
                        {"the device has no clusters", 16, 90, 1, 16384}};
  for (const Lack& lack : lacks) {
    control().largest_cluster = lack.largest_cluster;
    control().code_capability = lack.code_capability;
    const int64_t longer = 2 * lack.longest;
    const std::string text = kernels(spec(NC_RMS_NORM, NC_BFLOAT16, longer, lack.device));
    for (const char* role :
         {"forward aligned: norm_forward_generic; ", "forward unaligned: norm_forward_generic; ",
          "backward aligned: norm_backward_generic; ", "backward unaligned residual: norm_backward_generic; "}) {
      const size_t at = text.find(std::string(role) + "the faster kernel is left out: ");
      ASSERT_NE(std::string::npos, at) << role << text;
      const std::string line = text.substr(at, text.find('\n', at) - at);
      EXPECT_NE(std::string::npos, line.find(lack.reason)) << line;
    }
    const std::string of_shorter = kernels(spec(NC_RMS_NORM, NC_BFLOAT16, lack.longest, lack.device));
    EXPECT_NE(std::string::npos, of_shorter.find("forward aligned: norm_forward, ")) << of_shorter;
    EXPECT_NE(std::string::npos, of_shorter.find("backward aligned: norm_backward, ")) << of_shorter;
    Case c;
    c.spec = makeSpec(NC_RMS_NORM, NC_BFLOAT16, NC_BFLOAT16, NC_BFLOAT16, longer);
    c.rows = 1;
    const Data data = draw(c, 2);
    EXPECT_TRUE(same(c, run(c, data), run(c, data, onDevice(lack.device)))) << lack.reason;
  }
}

// Two blocks that each use half of an SM's shared memory run together only with the maximum carveout.
TEST_F(SimulatedKernels, OfTheBackwardPreferSharedMemory) {
  control().records = true;
  for (const int64_t n : {256, 769, 4096, 16392}) {
    Case c;
    c.spec = makeSpec(NC_RMS_NORM, NC_BFLOAT16, NC_BFLOAT16, NC_BFLOAT16, n);
    c.rows = 2;
    const Data data = draw(c, 3);
    control().launches.clear();
    run(c, data, onDevice(0));
    ASSERT_EQ(3u, control().launches.size());
    EXPECT_EQ(100, control().launches[1].carveout) << n;
  }
}

TEST_F(SimulatedKernels, TextIsCutOff) {
  const Plan plan(spec(NC_RMS_NORM, NC_BFLOAT16, 262144));
  const std::string whole = kernels(spec(NC_RMS_NORM, NC_BFLOAT16, 262144));
  EXPECT_LT(whole.size(), 2047u);
  for (const size_t capacity : {size_t{1}, size_t{2}, size_t{40}, whole.size(), whole.size() + 1}) {
    std::string text(whole.size() + 2, '#');
    check(nc_cuda_norm_kernels(plan, reinterpret_cast<int64_t>(text.data()), static_cast<int64_t>(capacity)));
    EXPECT_EQ(whole.substr(0, capacity - 1), text.c_str());
    EXPECT_EQ('#', text[capacity]);
  }
}

}  // namespace
