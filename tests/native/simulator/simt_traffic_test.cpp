// Global-memory traffic of the norm kernels, counted in the simulator: every tensor once, in whole sectors, and not a
// byte outside of the tensors.

#include <gtest/gtest.h>

#include <map>

#include "cuda/kernels.h"
#include "simulator/control.h"
#include "support/cuda_test.h"

namespace {

using namespace harness;
using nc::simt::control;
using nc::simt::kCopies;
using nc::simt::kLoads;
using nc::simt::kSectorBytes;
using nc::simt::kStores;
using nc::simt::RegionTraffic;
using nc::simt::Traffic;

using ByName = std::map<std::string, RegionTraffic>;

// Calls of one case on uninitialised tensors.
class Calls {
 public:
  Calls(const Case& c, const Form& form)
      : case_(c),
        stride_(c.spec.hidden_size + form.extra_stride),
        offset_(form.offset),
        plan_(onDevice(c.spec)),
        at_(0) {
    const nc_norm_spec& s = c.spec;
    const int64_t rows = c.rows;
    rows_of("x", s.x_dtype);
    rows_of("y", s.y_dtype);
    rows_of("dy", s.y_dtype);
    rows_of("dx", s.x_dtype);
    if (c.residual) {
      rows_of("residual", s.x_dtype);
      rows_of("residual_out", s.x_dtype);
      rows_of("dresidual", s.x_dtype);
    }
    row_of("weight", s.weight_dtype, s.hidden_size, offset_);
    row_of("rstd", NC_FLOAT32, rows, 0);
    row_of("dweight", NC_FLOAT32, s.hidden_size, 0);
    if (c.isLayerNorm()) {
      row_of("bias", s.weight_dtype, s.hidden_size, offset_);
      row_of("mean", NC_FLOAT32, rows, 0);
      row_of("dbias", NC_FLOAT32, s.hidden_size, 0);
    }
    check(nc_norm_backward_workspace(plan_, rows, 1, c.isLayerNorm(), &workspace_bytes_));
    row_of("partials", NC_FLOAT64, (workspace_bytes_ + 7) / 8, 0);
  }

  ByName forward() {
    auto args = argsOf<nc_norm_forward_args>();
    args.rows = case_.rows;
    args.x = at("x"), args.x_stride = stride_;
    args.residual = at("residual"), args.residual_stride = stride_;
    args.weight = at("weight"), args.bias = at("bias");
    args.y = at("y"), args.y_stride = stride_;
    args.residual_out = at("residual_out"), args.residual_out_stride = stride_;
    args.mean = at("mean"), args.rstd = at("rstd");
    check(nc_norm_forward(plan_, &args));
    return counted(0);
  }
  // The traffic of the first or the second step.
  ByName backward(size_t step) {
    auto args = argsOf<nc_norm_backward_args>();
    args.rows = case_.rows;
    args.x = at("x"), args.x_stride = stride_;
    args.weight = at("weight");
    args.dy = at("dy"), args.dy_stride = stride_;
    args.mean = at("mean"), args.rstd = at("rstd");
    args.dresidual = at("dresidual"), args.dresidual_stride = stride_;
    args.dx = at("dx"), args.dx_stride = stride_;
    args.workspace = at("partials"), args.workspace_bytes = workspace_bytes_;
    args.dweight = at("dweight"), args.dweight_dtype = NC_FLOAT32, args.dweight_mode = NC_GRADIENT_WRITE;
    args.dbias = at("dbias"), args.dbias_dtype = NC_FLOAT32;
    args.dbias_mode = case_.isLayerNorm() ? NC_GRADIENT_WRITE : NC_GRADIENT_ABSENT;
    check(nc_norm_backward(plan_, &args));
    return counted(step);
  }

 private:
  static nc_norm_spec onDevice(nc_norm_spec spec) {
    spec.device_type = NC_DEVICE_CUDA;
    return spec;
  }
  void rows_of(const std::string& name, int32_t dtype) {
    add(name, Tensor(dtype, case_.rows, case_.spec.hidden_size, stride_, offset_),
        (case_.rows - 1) * stride_ + case_.spec.hidden_size);
  }
  void row_of(const std::string& name, int32_t dtype, int64_t n, size_t offset) {
    add(name, Tensor(dtype, 1, n, n, offset), n);
  }
  void add(const std::string& name, Tensor tensor, int64_t elements) {
    const int64_t bytes = elements * tensor.format().bytes;
    const int64_t address = at_(tensors_[name] = std::move(tensor));
    regions_[name] = {address, bytes};
    nc::simt::Control& c = control();
    c.records = c.counts = true;
    c.launches.clear();
    c.regions.clear();
    for (const auto& [other, region] : regions_) c.regions.push_back(region);
  }
  int64_t at(const std::string& name) const { return regions_.count(name) != 0 ? regions_.at(name).address : 0; }
  ByName counted(size_t launch) {
    check(nc_cuda_stream_synchronize(0, 0));
    ByName all;
    size_t i = 0;
    const std::vector<RegionTraffic>& traffic = control().launches.at(launch).traffic;
    for (const auto& [name, region] : regions_) all[name] = traffic.at(i++);
    all["elsewhere"] = traffic.at(i);
    control().launches.clear();
    return all;
  }

  const Case case_;
  const int64_t stride_;
  const size_t offset_;
  const Plan plan_;
  std::map<std::string, Tensor> tensors_;
  Residence at_;
  std::map<std::string, nc::simt::Region> regions_;
  int64_t workspace_bytes_ = 0;
};

class SimulatedTraffic : public ::testing::TestWithParam<std::tuple<int32_t, DTypes>> {
 protected:
  void SetUp() override { before_ = control(); }
  void TearDown() override { control() = before_; }

  static Case make(int64_t rows, int64_t n, bool residual) {
    const auto& [op, triple] = GetParam();
    Case c;
    c.spec = makeSpec(op, triple.x, triple.weight, triple.y, n);
    // A policy that the fast kernels support.
    const auto type = [](int32_t dtype) { return static_cast<nc::DType>(dtype); };
    if (!nc::has_fast_kernels(type(triple.x), type(triple.weight), type(triple.y), false)) {
      c.spec.scale_rounding = NC_ROUND_INPUT;
    }
    c.rows = rows;
    c.residual = c.dresidual = residual;
    return c;
  }

  // A vector of 32 bytes takes two accesses, each of half of every sector.
  static int64_t halves(int32_t dtype) { return reference::format(dtype).bytes == 4 ? 2 : 1; }
  static int64_t bytesOf(int32_t dtype, int64_t elements) { return elements * reference::format(dtype).bytes; }

  static void expectOnce(const Case& c, int32_t dtype, const Traffic& t, const char* name) {
    const int64_t bytes = bytesOf(dtype, c.rows * c.spec.hidden_size);
    EXPECT_EQ(bytes, t.bytes) << name;
    EXPECT_EQ(halves(dtype) * bytes / kSectorBytes, t.sectors) << name;
  }
  // As words and, at both ends of a row, as elements, with few sectors more than the rows have.
  static void expectOnceAnywhere(const Case& c, int32_t dtype, const RegionTraffic& t, nc::simt::AccessKind words,
                                 nc::simt::AccessKind elements, const char* name) {
    const int64_t row = bytesOf(dtype, c.spec.hidden_size);
    Traffic all = t.of[words];
    if (elements != words) {
      all.bytes += t.of[elements].bytes;
      all.sectors += t.of[elements].sectors;
    }
    EXPECT_EQ(c.rows * row, all.bytes) << name;
    const int64_t sectors = c.rows * nc::ceil_div(row, kSectorBytes);
    // Only the requests at the ends of a row are short.
    EXPECT_LE(static_cast<double>(all.sectors), (row < 512 ? 1.2 : 1.15) * static_cast<double>(sectors)) << name;
  }
  static void expectNone(const Traffic& t, const std::string& name) { EXPECT_EQ(0, t.requests) << name; }
  // Except for the named tensors, no access is of that kind.
  static void expectNoOther(ByName all, nc::simt::AccessKind kind, const std::vector<std::string>& named) {
    for (const std::string& name : named) all.erase(name);
    for (const auto& [name, traffic] : all) expectNone(traffic.of[kind], name);
  }

 private:
  nc::simt::Control before_;
};

std::string tripleName(const ::testing::TestParamInfo<std::tuple<int32_t, DTypes>>& info) {
  const auto& [op, t] = info.param;
  return std::string(op == NC_RMS_NORM ? "Rms" : "Layer") + "_" + formatName(t.x) + "_" + formatName(t.weight) + "_" +
         formatName(t.y);
}

INSTANTIATE_TEST_SUITE_P(Triples, SimulatedTraffic,
                         ::testing::Combine(::testing::Values(NC_RMS_NORM, NC_LAYER_NORM),
                                            ::testing::ValuesIn(fastDTypes())),
                         tripleName);

// Rows of whole sectors: no two rows share one.
const int64_t kAlignedSizes[] = {64, 256, 768, 1024, 3072, 4096, 16384, 32768};

TEST_P(SimulatedTraffic, ForwardOfAlignedRows) {
  for (const int64_t n : kAlignedSizes) {
    for (const bool residual : {false, true}) {
      const Case c = make(n > 10000 ? 2 : 21, n, residual);
      SCOPED_TRACE(c.describe());
      const ByName t = Calls(c, {}).forward();
      expectOnce(c, c.spec.x_dtype, t.at("x").of[kLoads], "x");
      expectOnce(c, c.spec.y_dtype, t.at("y").of[kStores], "y");
      if (residual) {
        expectOnce(c, c.spec.x_dtype, t.at("residual").of[kLoads], "residual");
        expectOnce(c, c.spec.x_dtype, t.at("residual_out").of[kStores], "residual_out");
      }
      // At most once for each row of a block; rows of one warp, or of one thread, share the loads.
      const int64_t row_slots = std::max<int64_t>(1, 128 / nc::lanes(n));
      const int64_t rows = nc::ceil_div(c.rows, row_slots) * row_slots;
      for (const char* name : {"weight", "bias"}) {
        if (t.count(name) == 0) continue;
        const Traffic& parameter = t.at(name).of[kLoads];
        const int64_t bytes = bytesOf(c.spec.weight_dtype, n);
        EXPECT_GE(parameter.bytes, bytes) << name;
        EXPECT_LE(parameter.bytes, rows * bytes) << name;
        EXPECT_LE(parameter.sectors, halves(c.spec.weight_dtype) * rows * bytes / kSectorBytes) << name;
      }
      for (const char* name : {"mean", "rstd"}) {
        if (t.count(name) == 0) continue;
        EXPECT_EQ(4 * c.rows, t.at(name).of[kStores].bytes) << name;
        EXPECT_LE(t.at(name).of[kStores].sectors, c.rows) << name;
      }
      expectNoOther(t, kLoads, {"x", "residual", "weight", "bias"});
      expectNoOther(t, kStores, {"y", "residual_out", "mean", "rstd"});
      expectNoOther(t, kCopies, {});
    }
  }
}

// Rows that are mostly unaligned and end with a partial vector.
const int64_t kOddSizes[] = {229, 769, 1025, 3079, 4099, 12289, 20001};

TEST_P(SimulatedTraffic, ForwardOfUnalignedRows) {
  for (const int64_t n : kOddSizes) {
    for (const bool residual : {false, true}) {
      const Case c = make(n > 10000 ? 2 : 21, n, residual);
      SCOPED_TRACE(c.describe());
      Form form;
      form.offset = 4;
      const ByName t = Calls(c, form).forward();
      expectOnceAnywhere(c, c.spec.x_dtype, t.at("x"), kCopies, kLoads, "x");
      expectOnceAnywhere(c, c.spec.y_dtype, t.at("y"), kStores, kStores, "y");
      if (residual) {
        expectOnceAnywhere(c, c.spec.x_dtype, t.at("residual"), kCopies, kLoads, "residual");
        expectOnceAnywhere(c, c.spec.x_dtype, t.at("residual_out"), kStores, kStores, "residual_out");
      }
      for (const char* name : {"weight", "bias"}) {
        if (t.count(name) == 0) continue;
        const int64_t bytes = t.at(name).of[kCopies].bytes + t.at(name).of[kLoads].bytes;
        EXPECT_EQ(0, bytes % bytesOf(c.spec.weight_dtype, n)) << name;
        EXPECT_LE(bytes, c.rows * bytesOf(c.spec.weight_dtype, n)) << name;
      }
      expectNoOther(t, kLoads, {"x", "residual", "weight", "bias"});
      expectNoOther(t, kStores, {"y", "residual_out", "mean", "rstd"});
      expectNoOther(t, kCopies, {"x", "residual", "weight", "bias"});
    }
  }
}

TEST_P(SimulatedTraffic, BackwardOfUnalignedRows) {
  for (const int64_t n : kOddSizes) {
    for (const bool residual : {false, true}) {
      const Case c = make(n > 10000 ? 2 : 21, n, residual);
      // As for aligned rows, with a row of dx as well.
      if (c.spec.x_dtype == NC_FLOAT32 && n > 10000 && (c.isLayerNorm() || residual)) continue;
      SCOPED_TRACE(c.describe());
      Form form;
      form.offset = 4;
      const ByName t = Calls(c, form).backward(0);
      expectOnceAnywhere(c, c.spec.x_dtype, t.at("x"), kCopies, kLoads, "x");
      expectOnceAnywhere(c, c.spec.y_dtype, t.at("dy"), kCopies, kLoads, "dy");
      expectOnceAnywhere(c, c.spec.x_dtype, t.at("dx"), kStores, kStores, "dx");
      if (residual) expectOnceAnywhere(c, c.spec.x_dtype, t.at("dresidual"), kCopies, kLoads, "dresidual");
      const int64_t groups = nc::groups(c.rows, n);
      const RegionTraffic& weight = t.at("weight");
      EXPECT_EQ(groups * bytesOf(c.spec.weight_dtype, n), weight.of[kCopies].bytes + weight.of[kLoads].bytes);
      EXPECT_EQ((c.isLayerNorm() ? 2 : 1) * groups * n * 4, t.at("partials").of[kStores].bytes);
      expectNoOther(t, kLoads, {"x", "dy", "dresidual", "weight", "mean", "rstd"});
      expectNoOther(t, kStores, {"dx", "partials"});
      expectNoOther(t, kCopies, {"x", "dy", "dresidual", "weight"});
    }
  }
}

TEST_P(SimulatedTraffic, BackwardOfAlignedRows) {
  for (const int64_t n : kAlignedSizes) {
    for (const bool residual : {false, true}) {
      const Case c = make(n > 10000 ? 2 : 21, n, residual);
      // One row of x, dy and dresidual together with the dbias sums exceeds a block's shared memory.
      if (c.isLayerNorm() && residual && c.spec.x_dtype == NC_FLOAT32 && n == 16384) continue;
      SCOPED_TRACE(c.describe());
      Calls calls(c, {});
      const ByName t = calls.backward(0);
      expectOnce(c, c.spec.x_dtype, t.at("x").of[kCopies], "x");
      expectOnce(c, c.spec.y_dtype, t.at("dy").of[kCopies], "dy");
      expectOnce(c, c.spec.x_dtype, t.at("dx").of[kStores], "dx");
      if (residual) expectOnce(c, c.spec.x_dtype, t.at("dresidual").of[kCopies], "dresidual");
      const int64_t groups = nc::groups(c.rows, n);
      const int64_t kinds = c.isLayerNorm() ? 2 : 1;  // of sums: dweight, dbias
      const Traffic& partials = t.at("partials").of[kStores];
      EXPECT_EQ(kinds * groups * n * 4, partials.bytes);
      EXPECT_EQ(2 * partials.bytes / kSectorBytes, partials.sectors) << "in halves";
      // Once per block if it fits beside the rows, otherwise at both reads of a row.
      const Traffic& weight = t.at("weight").of[kLoads];
      const int64_t bytes = bytesOf(c.spec.weight_dtype, n);
      EXPECT_TRUE(weight.bytes == groups * bytes || weight.bytes == 2 * c.rows * bytes) << weight.bytes;
      EXPECT_LE(weight.sectors, halves(c.spec.weight_dtype) * weight.bytes / kSectorBytes);
      const int64_t warps = std::max<int64_t>(1, nc::lanes(n) * nc::segments(n) / 32);
      for (const char* name : {"mean", "rstd"}) {
        if (t.count(name) == 0) continue;
        EXPECT_LE(t.at(name).of[kLoads].sectors, c.rows * warps) << name;
      }
      expectNoOther(t, kLoads, {"weight", "mean", "rstd"});
      expectNoOther(t, kStores, {"dx", "partials"});
      expectNoOther(t, kCopies, {"x", "dy", "dresidual"});

      const ByName second = calls.backward(1);
      EXPECT_EQ(kinds * groups * n * 4, second.at("partials").of[kLoads].bytes);
      EXPECT_EQ(kinds * groups * n * 4 / kSectorBytes, second.at("partials").of[kLoads].sectors);
      for (const char* name : {"dweight", "dbias"}) {
        if (second.count(name) == 0 || (name[1] == 'b' && kinds == 1)) continue;
        EXPECT_EQ(n * 4, second.at(name).of[kStores].bytes) << name;
        EXPECT_EQ(n * 4 / kSectorBytes, second.at(name).of[kStores].sectors) << name;
      }
      expectNoOther(second, kLoads, {"partials"});
      expectNoOther(second, kStores, {"dweight", "dbias"});
      expectNoOther(second, kCopies, {});
    }
  }
}

}  // namespace
