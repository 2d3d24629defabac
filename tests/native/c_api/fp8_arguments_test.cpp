// The C interface of FP8: every wrong argument is refused with a message that names it, its value and what was
// expected, on the CPU and for a CUDA device, before anything is written or passed to the device; valid calls reach the
// device unchanged. The CUDA plugin is a fake that records its calls.

#include <dlfcn.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <functional>

#include "c_api/refusal.h"
#include "c_api/use_fake_plugin.h"
#include "support/fp8.h"

namespace {

using harness::expectRefused;
using harness::fake;
using harness::Strings;

using namespace fp8;

constexpr int32_t kInvalid = NC_INVALID_ARGUMENT;
constexpr int64_t kRows = 5, kColumns = 70, kStride = 72, kBlocks = 3;

int64_t at(const void* p) { return reinterpret_cast<int64_t>(p); }

// The calls, as structures that a test can modify. Where: on the CPU, or on the fake device 1.
enum class Where { kCpu, kDevice };
constexpr int32_t kDevice = 1;
constexpr int64_t kStream = 1234;

// An operation with its spec and its operands.
struct Fp8Call : nc_fp8_spec, nc_fp8_args {
  int32_t (*operation)(int64_t, const nc_fp8_args*);

  int32_t call(Where where) const {
    nc_fp8_spec spec = *this;
    nc_fp8_args args = *this;
    if (where == Where::kDevice) {
      spec.device_type = NC_DEVICE_CUDA;
      spec.device_index = kDevice;
      args.stream = kStream;
    }
    int64_t plan = 0;
    const Strings calls = fake().calls;
    int32_t status = nc_fp8_plan_create(&spec, &plan);
    fake().calls = calls;
    if (status != NC_OK) return status;
    status = operation(plan, &args);
    EXPECT_EQ(NC_OK, nc_fp8_plan_destroy(plan));
    return status;
  }
};

class Fp8Arguments : public ::testing::TestWithParam<Where> {
 protected:
  Fp8Arguments() {
    int32_t count = 0;
    check(nc_cuda_device_count(&count));
    fake() = FakePlugin();
  }

  Fp8Call amax() {
    Fp8Call c = matrices(nc_fp8_amax, NC_FLOAT8_E4M3, NC_SCALING_TENSOR);
    c.amax = at(&largest);
    return c;
  }
  Fp8Call scale() {
    Fp8Call c{makeFp8(0, NC_FLOAT8_E4M3, NC_SCALING_TENSOR, 0), scaleArgs(4, at(x), at(y), at(y + 8)), nc_fp8_scale};
    c.margin = 1;
    return c;
  }
  Fp8Call quantize() {
    Fp8Call c = matrices(nc_fp8_quantize, NC_FLOAT8_E4M3, NC_SCALING_TENSOR);
    c.scale = at(&one);
    c.amax = at(&largest);
    return c;
  }
  Fp8Call quantizeBlocks() {
    Fp8Call c = matrices(nc_fp8_quantize, NC_FLOAT8_E5M2, NC_SCALING_BLOCK);
    c.scale_inv = at(codes);
    return c;
  }
  Fp8Call dequantize(int32_t scaling) {
    Fp8Call c = matrices(nc_fp8_dequantize, NC_FLOAT8_E4M3, scaling);
    c.scale_inv = scaling == NC_SCALING_TENSOR ? at(&one) : scaling == NC_SCALING_ROW ? at(ones) : at(codes);
    return c;
  }
  Fp8Call matrices(int32_t (*operation)(int64_t, const nc_fp8_args*), int32_t format, int32_t scaling) {
    Fp8Call c{makeFp8(NC_FLOAT32, format, scaling), argsOf(kRows, kColumns), operation};
    c.x = at(x), c.q = at(q), c.y = at(y);
    c.x_stride = c.q_stride = c.y_stride = kStride;
    return c;
  }

  struct Wrong {
    const char* what;
    std::function<void(Fp8Call&)> change;
    Strings parts;
  };
  // Refused without a device call and without a byte written; accepted without the change.
  void expectAllRefused(const Fp8Call& valid, const std::vector<Wrong>& wrongs) {
    for (const Wrong& wrong : wrongs) {
      Fp8Call call = valid;
      wrong.change(call);
      const std::vector<char> before = everything();
      expectRefused(kInvalid, call.call(GetParam()), wrong.parts, wrong.what);
      EXPECT_TRUE(before == everything()) << wrong.what << ": something was written";
      EXPECT_EQ(Strings{}, fake().calls) << wrong.what;
    }
    EXPECT_EQ(NC_OK, valid.call(GetParam())) << "the call with nothing wrong: " << nc_last_error();
    EXPECT_EQ(GetParam() == Where::kCpu ? 0u : 1u, fake().calls.size());
  }
  std::vector<char> everything() const {
    const char* const begin = reinterpret_cast<const char*>(&memory);
    return {begin, begin + sizeof memory};
  }

  struct Memory {
    float x[kRows * kStride], y[kRows * kStride], one = 1, largest = 0, ones[kRows] = {1, 1, 1, 1, 1};
    uint8_t q[kRows * kStride], codes[kRows * kBlocks + 9];
  };
  Memory memory{};
  float *const x = memory.x, *const y = memory.y, *const ones = memory.ones;
  float &one = memory.one, &largest = memory.largest;
  uint8_t (&q)[kRows * kStride] = memory.q;
  uint8_t (&codes)[kRows * kBlocks + 9] = memory.codes;
};

INSTANTIATE_TEST_SUITE_P(Wheres, Fp8Arguments, ::testing::Values(Where::kCpu, Where::kDevice),
                         [](const auto& info) { return info.param == Where::kCpu ? "Cpu" : "Cuda"; });

TEST_P(Fp8Arguments, AmaxRefuses) {
  using A = Fp8Call;
  expectAllRefused(
      amax(),
      {
          {"float64", [](A& a) { a.x_dtype = NC_FLOAT64; }, {"x_dtype: 0", "float32", "bfloat16", "float16"}},
          {"FP8", [](A& a) { a.x_dtype = NC_FLOAT8_E4M3; }, {"x_dtype: 4", "1 (float32)"}},
          {"no dtype", [](A& a) { a.x_dtype = -3; }, {"x_dtype: -3"}},
          {"negative rows", [](A& a) { a.rows = -1; }, {"rows: -1", "at least 0"}},
          {"negative columns", [](A& a) { a.columns = -70; }, {"columns: -70", "at least 0"}},
          {"no x", [](A& a) { a.x = 0; }, {"x: address 0"}},
          {"x's stride", [](A& a) { a.x_stride = 69; }, {"x: row stride 69", "70 columns"}},
          {"a negative stride", [](A& a) { a.x_stride = -72; }, {"x: row stride -72"}},
          {"beyond the address space", [](A& a) { a.rows = INT64_MAX; }, {"x", std::to_string(INT64_MAX), "exceed"}},
          {"a stride beyond it", [](A& a) { a.x_stride = INT64_MAX; }, {"x", std::to_string(INT64_MAX), "exceed"}},
          {"no amax", [](A& a) { a.amax = 0; }, {"amax: address 0"}},
          {"amax askew", [](A& a) { a.amax += 2; }, {"amax: address", "a multiple of 4"}},
          {"amax in x", [](A& a) { a.amax = a.x + 4 * (kStride + 3); }, {"amax: shares memory with x"}},
      });
}

TEST_P(Fp8Arguments, ScaleRefuses) {
  using S = Fp8Call;
  expectAllRefused(
      scale(),
      {
          {"float16", [](S& s) { s.format = NC_FLOAT16; }, {"format: 3", "4 (float8_e4m3)", "5 (float8_e5m2)"}},
          {"the format of scales", [](S& s) { s.format = NC_FLOAT8_E8M0; }, {"format: 6"}},
          {"a negative margin", [](S& s) { s.margin = -1; }, {"margin: -1", "0 to 64"}},
          {"a margin too large", [](S& s) { s.margin = 65; }, {"margin: 65", "0 to 64"}},
          {"a strange wish", [](S& s) { s.power_of_two = 2; }, {"power_of_two: 2", "0 to 1"}},
          {"a negative count", [](S& s) { s.count = -4; }, {"count: -4", "at least 0"}},
          {"too many", [](S& s) { s.count = INT64_MAX; }, {"amax", "exceed"}},
          {"no amax", [](S& s) { s.amax = 0; }, {"amax: address 0"}},
          {"nowhere to write", [](S& s) { s.scale = s.scale_inv = 0; }, {"scale_inv: address 0", "scale is 0 too"}},
          {"amax askew", [](S& s) { s.amax += 1; }, {"amax: address", "a multiple of 4"}},
          {"scale askew", [](S& s) { s.scale += 2; }, {"scale: address", "a multiple of 4"}},
          {"scale_inv askew", [](S& s) { s.scale_inv += 3; }, {"scale_inv: address", "a multiple of 4"}},
          {"scale is amax", [](S& s) { s.scale = s.amax; }, {"scale: shares memory with amax"}},
          {"scale_inv in amax", [](S& s) { s.scale_inv = s.amax + 12; }, {"scale_inv: shares memory with amax"}},
          {"scale_inv in scale", [](S& s) { s.scale_inv = s.scale + 4; }, {"scale_inv: shares memory with scale"}},
      });
  for (int64_t nc_fp8_args::*absent : {&nc_fp8_args::scale, &nc_fp8_args::scale_inv}) {
    Fp8Call s = scale();
    s.*absent = 0;
    EXPECT_EQ(NC_OK, s.call(GetParam())) << nc_last_error();
  }
}

TEST_P(Fp8Arguments, QuantizeRefuses) {
  using Q = Fp8Call;
  expectAllRefused(
      quantize(),
      {
          {"float64", [](Q& c) { c.x_dtype = NC_FLOAT64; }, {"x_dtype: 0", "1 (float32)"}},
          {"to bfloat16", [](Q& c) { c.format = NC_BFLOAT16; }, {"format: 2", "4 (float8_e4m3)"}},
          {"negative rows", [](Q& c) { c.rows = -1; }, {"rows: -1"}},
          {"negative columns", [](Q& c) { c.columns = -1; }, {"columns: -1"}},
          {"no x", [](Q& c) { c.x = 0; }, {"x: address 0"}},
          {"no q", [](Q& c) { c.q = 0; }, {"q: address 0"}},
          {"no scale", [](Q& c) { c.scale = 0; }, {"scale: address 0"}},
          {"x's stride", [](Q& c) { c.x_stride = 1; }, {"x: row stride 1", "70 columns"}},
          {"q's stride", [](Q& c) { c.q_stride = 69; }, {"q: row stride 69", "70 columns"}},
          {"beyond the address space", [](Q& c) { c.columns = INT64_MAX, c.x_stride = INT64_MAX; }, {"x", "exceed"}},
          {"scale askew", [](Q& c) { c.scale += 2; }, {"scale: address", "a multiple of 4"}},
          {"amax askew", [](Q& c) { c.amax += 1; }, {"amax: address", "a multiple of 4"}},
          {"q in x", [](Q& c) { c.q = c.x; }, {"q: shares memory with x"}},
          {"q at the end of x", [](Q& c) { c.q = c.x + 4 * (4 * kStride + 69) + 3; }, {"q: shares memory with x"}},
          {"scale in q", [](Q& c) { c.q = c.scale - 2; }, {"q: shares memory with scale"}},
          {"amax in q", [](Q& c) { c.q = c.amax - 69; }, {"shares memory with"}},
          {"amax in x", [](Q& c) { c.amax = c.x; }, {"amax: shares memory with x"}},
          {"amax is scale", [](Q& c) { c.amax = c.scale; }, {"amax: shares memory with scale"}},
      });
  Fp8Call by_rows = quantize();
  by_rows.scaling = NC_SCALING_ROW;
  expectRefused(NC_UNSUPPORTED, by_rows.call(GetParam()), {"plan: its scaling is 2 (row)", "3 (block)"}, "rows");
  Fp8Call unmeasured = quantize();
  unmeasured.amax = 0;
  EXPECT_EQ(NC_OK, unmeasured.call(GetParam())) << nc_last_error();
}

TEST_P(Fp8Arguments, QuantizeBlocksRefuses) {
  using Q = Fp8Call;
  expectAllRefused(
      quantizeBlocks(),
      {
          {"float64", [](Q& c) { c.x_dtype = NC_FLOAT64; }, {"x_dtype: 0", "1 (float32)"}},
          {"to float32", [](Q& c) { c.format = NC_FLOAT32; }, {"format: 1", "4 (float8_e4m3)"}},
          {"negative rows", [](Q& c) { c.rows = -1; }, {"rows: -1"}},
          {"negative columns", [](Q& c) { c.columns = INT64_MIN; }, {"columns: " + std::to_string(INT64_MIN)}},
          {"no x", [](Q& c) { c.x = 0; }, {"x: address 0"}},
          {"no q", [](Q& c) { c.q = 0; }, {"q: address 0"}},
          {"no scales", [](Q& c) { c.scale_inv = 0; }, {"scale_inv: address 0"}},
          {"one scale", [&](Q& c) { c.scale = at(&one); }, {"scale: address", "a scale of its own"}},
          {"an amax", [&](Q& c) { c.amax = at(&one); }, {"amax: address", "a scale of its own"}},
          {"x's stride", [](Q& c) { c.x_stride = 32; }, {"x: row stride 32", "70 columns"}},
          {"q's stride", [](Q& c) { c.q_stride = 0; }, {"q: row stride 0", "70 columns"}},
          {"q in x", [](Q& c) { c.q = c.x + 1; }, {"q: shares memory with x"}},
          {"the last scale in q", [](Q& c) { c.q = c.scale_inv + 14; }, {"scale_inv: shares memory with q"}},
          {"scales in x", [](Q& c) { c.scale_inv = c.x + 40; }, {"scale_inv: shares memory with x"}},
      });
  // Exactly 3 codes per row: the memory after them belongs to q.
  Fp8Call close = quantizeBlocks();
  close.rows = 1;
  close.q = close.scale_inv + 3;
  close.columns = 10;
  EXPECT_EQ(NC_OK, close.call(GetParam())) << nc_last_error();
}

TEST_P(Fp8Arguments, DequantizeRefuses) {
  using D = Fp8Call;
  for (const int32_t scaling : {NC_SCALING_TENSOR, NC_SCALING_ROW, NC_SCALING_BLOCK}) {
    SCOPED_TRACE(scaling);
    fake().calls.clear();
    expectAllRefused(
        dequantize(scaling),
        {
            {"no scaling", [](D& d) { d.scaling = NC_SCALING_NONE; }, {"scaling: 0", "1 (tensor)", "3 (block)"}},
            {"another", [](D& d) { d.scaling = 4; }, {"scaling: 4"}},
            {"from float16", [](D& d) { d.format = NC_FLOAT16; }, {"format: 3", "4 (float8_e4m3)"}},
            {"to float64", [](D& d) { d.y_dtype = NC_FLOAT64; }, {"y_dtype: 0", "1 (float32)"}},
            {"negative rows", [](D& d) { d.rows = -1; }, {"rows: -1"}},
            {"negative columns", [](D& d) { d.columns = -1; }, {"columns: -1"}},
            {"no q", [](D& d) { d.q = 0; }, {"q: address 0"}},
            {"no y", [](D& d) { d.y = 0; }, {"y: address 0"}},
            {"no scale", [](D& d) { d.scale_inv = 0; }, {"scale_inv: address 0"}},
            {"q's stride", [](D& d) { d.q_stride = 69; }, {"q: row stride 69", "70 columns"}},
            {"y's stride", [](D& d) { d.y_stride = 69; }, {"y: row stride 69", "70 columns"}},
            {"y in q", [](D& d) { d.y = d.q; }, {"y: shares memory with q"}},
            {"scales in y", [](D& d) { d.scale_inv = d.y + 8; }, {"y: shares memory with scale_inv"}},
        });
    if (scaling == NC_SCALING_BLOCK) continue;
    Fp8Call askew = dequantize(scaling);
    askew.scale_inv += 2;
    expectRefused(kInvalid, askew.call(GetParam()), {"scale_inv: address", "a multiple of 4"}, "askew");
  }
  // Codes need no alignment; q and scales are only read and may overlap.
  Fp8Call d = dequantize(NC_SCALING_BLOCK);
  d.scale_inv = d.q + 1;
  EXPECT_EQ(NC_OK, d.call(GetParam())) << nc_last_error();
}

// For no rows or no columns the call does nothing, makes no device call and accepts null addresses.
TEST_P(Fp8Arguments, OfNothing) {
  for (const auto& [rows, columns] : std::vector<std::pair<int64_t, int64_t>>{{0, kColumns}, {kRows, 0}, {0, 0}}) {
    SCOPED_TRACE(std::to_string(rows) + " x " + std::to_string(columns));
    largest = 3;
    const std::vector<char> before = everything();
    const auto expectNothing = [&](auto call) {
      call.rows = rows;
      call.columns = columns;
      EXPECT_EQ(NC_OK, call.call(GetParam())) << nc_last_error();
      return call;
    };
    Fp8Call a = expectNothing(amax());
    a.x = 0;
    expectNothing(a);
    Fp8Call c = expectNothing(quantize());
    c.x = c.q = 0;
    expectNothing(c);
    Fp8Call b = expectNothing(quantizeBlocks());
    b.x = b.q = b.scale_inv = 0;
    expectNothing(b);
    for (const int32_t scaling : {NC_SCALING_TENSOR, NC_SCALING_ROW, NC_SCALING_BLOCK}) {
      Fp8Call d = expectNothing(dequantize(scaling));
      d.q = d.y = 0;
      if (scaling != NC_SCALING_TENSOR) d.scale_inv = 0;
      expectNothing(d);
    }
    Fp8Call s = scale();
    s.count = 0;
    EXPECT_EQ(NC_OK, s.call(GetParam())) << nc_last_error();
    s.amax = s.scale = s.scale_inv = 0;
    EXPECT_EQ(NC_OK, s.call(GetParam())) << nc_last_error();
    EXPECT_TRUE(before == everything());
    EXPECT_EQ(Strings{}, fake().calls);
  }
}

TEST(Fp8Plans, AreOfTheMachinesLevels) {
  const auto create = [&](int32_t level) {
    nc_fp8_spec spec = makeFp8(NC_FLOAT32, NC_FLOAT8_E4M3, NC_SCALING_TENSOR);
    spec.cpu_level = level;
    int64_t plan = 0;
    const int32_t status = nc_fp8_plan_create(&spec, &plan);
    EXPECT_EQ(status == NC_OK, plan != 0);
    if (status == NC_OK) check(nc_fp8_plan_destroy(plan));
    return status;
  };
  for (const int32_t level : {-1, 5}) {
    expectRefused(kInvalid, create(level), {"cpu_level: " + std::to_string(level), "0 to 4"}, "level");
  }
  for (const int32_t level : {NC_CPU_AVX2, NC_CPU_AVX512, NC_CPU_NEON}) {
    int32_t supported = 0;
    check(nc_cpu_level_supported(level, &supported));
    const int32_t status = create(level);
    EXPECT_EQ(supported != 0 ? NC_OK : NC_UNSUPPORTED, status);
    if (supported == 0) expectRefused(NC_UNSUPPORTED, status, {"cpu_level", harness::levelName(level)}, "level");
  }
}

TEST(Fp8Plans, WrongSpecsAndHandlesAreRefused) {
  const auto refused = [](int32_t nc_fp8_spec::*field, int32_t value, const Strings& parts) {
    nc_fp8_spec spec = makeFp8(NC_FLOAT32, NC_FLOAT8_E4M3, NC_SCALING_TENSOR);
    spec.*field = value;
    int64_t plan = 77;
    expectRefused(kInvalid, nc_fp8_plan_create(&spec, &plan), parts, parts[0]);
    EXPECT_EQ(77, plan);
  };
  refused(&nc_fp8_spec::x_dtype, NC_FLOAT8_E4M3, {"x_dtype: 4", "1 (float32)"});
  refused(&nc_fp8_spec::y_dtype, -1, {"y_dtype: -1", "1 (float32)"});
  refused(&nc_fp8_spec::device_type, 2, {"device_type: 2"});
  refused(&nc_fp8_spec::device_index, 1, {"device_index: 1"});
  const Fp8Plan plan(makeFp8(NC_FLOAT32, NC_FLOAT8_E4M3, NC_SCALING_TENSOR));
  const nc_fp8_args args = argsOf(0, 0);
  expectRefused(kInvalid, nc_fp8_amax(0, &args), {"plan: 0", "nc_fp8_plan_create"}, "no plan");
  expectRefused(kInvalid, nc_norm_plan_destroy(plan), {"plan", "is not a live handle"}, "norm's destroy");
  expectRefused(kInvalid, nc_fp8_amax(plan, nullptr), {"args: null"}, "args");
  nc_fp8_args reserved = args;
  reserved.reserved = 3;
  expectRefused(kInvalid, nc_fp8_scale(plan, &reserved), {"reserved: 3"}, "reserved");
  EXPECT_EQ(NC_OK, nc_fp8_plan_destroy(0));
}

// The following tests are for the device.

class Fp8Device : public Fp8Arguments {};
INSTANTIATE_TEST_SUITE_P(Wheres, Fp8Device, ::testing::Values(Where::kDevice), [](const auto&) { return "Cuda"; });

TEST_P(Fp8Device, CallsReachThePlugin) {
  check(amax().call(Where::kDevice));
  EXPECT_EQ(nc::DType::float32, fake().amax.x);
  EXPECT_EQ(kRows, fake().amax.rows);
  EXPECT_EQ(kColumns, fake().amax.columns);
  EXPECT_EQ(at(x), at(fake().amax.from));
  EXPECT_EQ(4 * kStride, fake().amax.stride);
  EXPECT_EQ(at(&largest), at(fake().amax.amax));

  check(scale().call(Where::kDevice));
  EXPECT_EQ(nc::DType::float8_e4m3, fake().scale.format);
  EXPECT_EQ(1, fake().scale.margin);
  EXPECT_FALSE(fake().scale.power_of_two);
  EXPECT_EQ(4, fake().scale.count);
  EXPECT_EQ(at(x), at(fake().scale.amax));
  EXPECT_EQ(at(y), at(fake().scale.scale));
  EXPECT_EQ(at(y + 8), at(fake().scale.scale_inv));

  check(quantize().call(Where::kDevice));
  EXPECT_EQ(nc::Scaling::tensor, fake().quantize.scaling);
  EXPECT_EQ(nc::DType::float8_e4m3, fake().quantize.format);
  EXPECT_EQ(kRows, fake().quantize.rows);
  EXPECT_EQ(kColumns, fake().quantize.columns);
  EXPECT_EQ(4 * kStride, fake().quantize.from_stride);
  EXPECT_EQ(kStride, fake().quantize.to_stride);
  EXPECT_EQ(at(q), at(fake().quantize.to));
  EXPECT_EQ(at(&one), at(fake().quantize.scale));
  EXPECT_EQ(at(&largest), at(fake().quantize.amax));
  EXPECT_EQ(0, at(fake().quantize.block_scales));

  check(quantizeBlocks().call(Where::kDevice));
  EXPECT_EQ(nc::Scaling::block, fake().quantize.scaling);
  EXPECT_EQ(nc::DType::float8_e5m2, fake().quantize.format);
  EXPECT_EQ(at(codes), at(fake().quantize.block_scales));
  EXPECT_EQ(0, at(fake().quantize.scale));
  EXPECT_EQ(0, at(fake().quantize.amax));

  check(dequantize(NC_SCALING_ROW).call(Where::kDevice));
  EXPECT_EQ(nc::Scaling::row, fake().dequantize.scaling);
  EXPECT_EQ(nc::DType::float8_e4m3, fake().dequantize.format);
  EXPECT_EQ(nc::DType::float32, fake().dequantize.y);
  EXPECT_EQ(at(q), at(fake().dequantize.from));
  EXPECT_EQ(kStride, fake().dequantize.from_stride);
  EXPECT_EQ(at(ones), at(fake().dequantize.scale_inv));
  EXPECT_EQ(at(y), at(fake().dequantize.to));
  EXPECT_EQ(4 * kStride, fake().dequantize.to_stride);

  EXPECT_EQ((Strings{"fp8_amax 1 1234", "fp8_scale 1 1234", "fp8_quantize 1 1234", "fp8_quantize 1 1234",
                     "fp8_dequantize 1 1234"}),
            fake().calls);
}

TEST_P(Fp8Device, OfAnotherIndexIsRefused) {
  for (const int32_t device : {-1, 2, INT32_MAX}) {
    nc_fp8_spec spec = makeFp8(NC_FLOAT32, NC_FLOAT8_E4M3, NC_SCALING_TENSOR, NC_FLOAT32, 0);
    spec.device_index = device;
    int64_t plan = 77;
    expectRefused(kInvalid, nc_fp8_plan_create(&spec, &plan),
                  {"device_index: " + std::to_string(device), "expected 0 to 1"}, "device");
    EXPECT_EQ(77, plan);
  }
  EXPECT_EQ(Strings{}, fake().calls);
}

TEST_P(Fp8Device, RangesAreRefused) {
  const Fp8Plan plan(makeFp8(NC_FLOAT32, NC_FLOAT8_E4M3, NC_SCALING_TENSOR, NC_FLOAT32, kDevice));
  const nc_fp8_args args = argsOf(0, 0);
  alignas(NC_CALL_ALIGNMENT) char call[NC_CALL_BYTES];
  int64_t units[2];
  for (const auto begin : {nc_fp8_amax_begin, nc_fp8_quantize_begin, nc_fp8_dequantize_begin}) {
    expectRefused(kInvalid, begin(plan, &args, call, units), {"plan: for CUDA device 1", "whole"}, "begin");
  }
}

TEST_P(Fp8Device, AddressesOfAnotherDeviceOrOfTheHostAreRefused) {
  using Call = std::function<int32_t()>;
  struct Place {
    Call call;
    const char* name;
    int64_t address;
  };
  const Fp8Call a = amax();
  const Fp8Call s = scale();
  const Fp8Call c = quantize();
  const Fp8Call b = quantizeBlocks();
  const Fp8Call d = dequantize(NC_SCALING_ROW);
  const auto of = [](const auto& call) { return Call([call] { return call.call(Where::kDevice); }); };
  const std::vector<Place> places = {
      {of(a), "x", a.x},
      {of(a), "amax", a.amax},
      {of(s), "amax", s.amax},
      {of(s), "scale", s.scale},
      {of(s), "scale_inv", s.scale_inv},
      {of(c), "x", c.x},
      {of(c), "q", c.q},
      {of(c), "scale", c.scale},
      {of(c), "amax", c.amax},
      {of(b), "x", b.x},
      {of(b), "q", b.q},
      {of(b), "scale_inv", b.scale_inv},
      {of(d), "q", d.q},
      {of(d), "y", d.y},
      {of(d), "scale_inv", d.scale_inv},
  };
  for (const Place& place : places) {
    fake() = FakePlugin();
    fake().place = kDevice;
    fake().places = {{place.address, 0}};
    expectRefused(kInvalid, place.call(),
                  {std::string(place.name) + ": address", "memory of CUDA device 0", "expected that of device 1"},
                  place.name);
    EXPECT_EQ(Strings{}, fake().calls);
    fake().places = {{place.address, nc::kUnknownMemory}};
    expectRefused(kInvalid, place.call(),
                  {std::string(place.name) + ": address", "not memory of a CUDA device", "expected that of device 1"},
                  place.name);
    EXPECT_EQ(Strings{}, fake().calls);
    fake().host_memory_visible = 1;
    EXPECT_EQ(NC_OK, place.call()) << nc_last_error();
    fake().places = {{place.address, nc::kAnyDevice}};
    EXPECT_EQ(NC_OK, place.call()) << nc_last_error();
  }
}

TEST_P(Fp8Device, ErrorsOfTheRuntimeAreNamed) {
  const std::vector<std::tuple<const char*, const char*, std::function<int32_t()>>> calls = {
      {"fp8_amax", "the computation of amax", [&] { return amax().call(Where::kDevice); }},
      {"fp8_scale", "the computation of scales", [&] { return scale().call(Where::kDevice); }},
      {"fp8_quantize", "the quantisation on", [&] { return quantize().call(Where::kDevice); }},
      {"fp8_quantize", "the quantisation of blocks", [&] { return quantizeBlocks().call(Where::kDevice); }},
      {"fp8_dequantize", "the dequantisation", [&] { return dequantize(NC_SCALING_TENSOR).call(Where::kDevice); }},
      {"memory_device", "x on", [&] { return amax().call(Where::kDevice); }},
  };
  for (const auto& [name, says, call] : calls) {
    fake().errors = {{name, 719}};
    const std::string message_of = says;
    const int32_t status = call();
    const std::string message = nc_last_error();
    EXPECT_EQ(NC_CUDA_ERROR, status);
    for (const std::string& part : {message_of, std::string("CUDA device 1: cudaErrorFake (a fake error)")}) {
      EXPECT_NE(std::string::npos, message.find(part)) << message;
    }
  }
}

}  // namespace
