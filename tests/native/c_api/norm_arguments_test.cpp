// The C interface: every wrong argument is refused with a status that tells invalid from unsupported and a message that
// names the argument, its value and what was expected; nothing is written.

#include <gtest/gtest.h>

#include <array>
#include <cstddef>
#include <functional>
#include <thread>

#include "c_api/refusal.h"
#include "support/harness.h"

namespace {

using namespace harness;

TEST(Plan, EveryWrongSpecIsRefused) {
  struct Wrong {
    std::function<void(nc_norm_spec&)> change;
    int32_t status;
    std::vector<std::string> parts;
  };
  const auto field = [](int32_t nc_norm_spec::*member, int32_t value, const char* name, int32_t status) {
    std::vector<std::string> parts = {name};
    if (status == NC_INVALID_ARGUMENT) parts.push_back(std::to_string(value));
    return Wrong{[=](nc_norm_spec& s) { s.*member = value; }, status, parts};
  };
  using S = nc_norm_spec;
  const int32_t invalid = NC_INVALID_ARGUMENT, unsupported = NC_UNSUPPORTED;
  std::vector<Wrong> wrongs = {
      {[](S& s) { s.struct_size = 0; }, invalid, {"spec: struct_size 0", std::to_string(sizeof(S))}},
      {[](S& s) { s.struct_size = 12; }, invalid, {"struct_size", "12"}},
      field(&S::op, 2, "op", invalid),
      field(&S::op, -1, "op", invalid),
      field(&S::x_dtype, -1, "x_dtype", invalid),
      field(&S::x_dtype, 7, "x_dtype", invalid),
      field(&S::x_dtype, NC_FLOAT8_E8M0, "x_dtype", unsupported),
      field(&S::x_dtype, NC_FLOAT8_E4M3, "x_dtype", unsupported),
      field(&S::weight_dtype, 99, "weight_dtype", invalid),
      field(&S::weight_dtype, NC_FLOAT8_E5M2, "weight_dtype", unsupported),
      field(&S::y_dtype, -7, "y_dtype", invalid),
      field(&S::y_dtype, NC_FLOAT8_E8M0, "y_dtype", unsupported),
      {[](S& s) { s.y_dtype = NC_FLOAT8_E4M3; }, invalid, {"y_scaling", "0", "float8_e4m3"}},
      {[](S& s) { s.y_dtype = NC_FLOAT8_E5M2, s.y_scaling = 4; }, invalid, {"y_scaling", "4"}},
      field(&S::y_scaling, NC_SCALING_ROW, "y_scaling", invalid),
      field(&S::y_power_of_two, 1, "y_power_of_two", invalid),
      {[](S& s) { s.y_dtype = NC_FLOAT8_E4M3, s.y_scaling = NC_SCALING_BLOCK, s.y_power_of_two = 1; },
       invalid,
       {"y_power_of_two", "1"}},
      {[](S& s) { s.y_dtype = NC_FLOAT8_E4M3, s.y_scaling = NC_SCALING_ROW, s.y_power_of_two = 2; },
       invalid,
       {"y_power_of_two", "2"}},
      {[](S& s) { s.y_dtype = s.dy_dtype = NC_FLOAT8_E4M3, s.y_scaling = NC_SCALING_ROW; }, unsupported, {"dy_dtype"}},
      field(&S::affine, 4, "affine", invalid),
      field(&S::affine, -1, "affine", invalid),
      field(&S::scale_rounding, 3, "scale_rounding", invalid),
      field(&S::gamma_offset, 3, "gamma_offset", invalid),
      field(&S::variance, 3, "variance", invalid),
      field(&S::compute, 2, "compute", invalid),
      field(&S::residual_rounding, 2, "residual_rounding", invalid),
      field(&S::cpu_level, 5, "cpu_level", invalid),
      field(&S::device_type, -1, "device_type", invalid),
      field(&S::device_type, 2, "device_type", invalid),
      field(&S::device_index, 1, "device_index", invalid),
      field(&S::device_index, -1, "device_index", invalid),
      {[](S& s) { s.op = NC_RMS_NORM, s.variance = NC_VARIANCE_WELFORD; }, invalid, {"variance", "1"}},
      {[](S& s) { s.hidden_size = 0; }, invalid, {"hidden_size", "0"}},
      {[](S& s) { s.hidden_size = -4096; }, invalid, {"hidden_size", "-4096"}},
      {[](S& s) { s.hidden_size = NC_MAX_HIDDEN_SIZE + 1; }, invalid, {"hidden_size", "1048577", "1048576"}},
      {[](S& s) { s.epsilon = -1e-5; }, invalid, {"epsilon", "-1e-05"}},
      {[](S& s) { s.epsilon = std::nan(""); }, invalid, {"epsilon", "nan"}},
      {[](S& s) { s.epsilon = HUGE_VAL; }, invalid, {"epsilon", "inf"}},
  };
  for (const int32_t level : {NC_CPU_AVX2, NC_CPU_AVX512, NC_CPU_NEON}) {
    int32_t supported = 0;
    check(nc_cpu_level_supported(level, &supported));
    if (supported == 0) {
      wrongs.push_back({[=](S& s) { s.cpu_level = level; }, unsupported, {"cpu_level", levelName(level)}});
    }
  }
  for (size_t i = 0; i < wrongs.size(); ++i) {
    nc_norm_spec spec = makeSpec(NC_LAYER_NORM, NC_FLOAT32, NC_FLOAT32, NC_FLOAT32, 8);
    wrongs[i].change(spec);
    int64_t plan = 77;
    const int32_t status = nc_norm_plan_create(&spec, &plan);
    expectRefused(wrongs[i].status, status, wrongs[i].parts, "spec " + std::to_string(i));
    EXPECT_EQ(77, plan);
  }
  const nc_norm_spec spec = makeSpec(NC_LAYER_NORM, NC_FLOAT32, NC_FLOAT32, NC_FLOAT32, 8);
  int64_t plan = 77;
  expectRefused(invalid, nc_norm_plan_create(nullptr, &plan), {"spec", "null"}, "null spec");
  expectRefused(invalid, nc_norm_plan_create(&spec, nullptr), {"plan", "null"}, "null handle");
  EXPECT_EQ(NC_OK, nc_norm_plan_destroy(0));
}

// A structure of an older caller lacks the last fields, that of a newer one has more.
TEST(Plan, StructuresOfOtherVersions) {
  struct Newer {
    nc_norm_spec spec;
    int64_t more;
  };
  Newer newer{makeSpec(NC_RMS_NORM, NC_FLOAT32, NC_FLOAT32, NC_FLOAT32, 8), 0};
  newer.spec.struct_size = sizeof(Newer);
  const auto expectMade = [&](const char* what) {
    int64_t plan = 0;
    EXPECT_EQ(NC_OK, nc_norm_plan_create(&newer.spec, &plan)) << what << ": " << nc_last_error();
    EXPECT_EQ(NC_OK, nc_norm_plan_destroy(plan));
  };
  expectMade("no further field is set");
  newer.more = 1 << 24;
  int64_t plan = 77;
  expectRefused(
      NC_INVALID_ARGUMENT, nc_norm_plan_create(&newer.spec, &plan),
      {"spec: struct_size " + std::to_string(sizeof(Newer)), "byte " + std::to_string(sizeof(nc_norm_spec) + 3)},
      "a further field is set");
  EXPECT_EQ(77, plan);
  // The first version ended before y_scaling: what follows is not read.
  newer.spec.struct_size = offsetof(nc_norm_spec, y_scaling);
  newer.spec.y_scaling = newer.spec.y_power_of_two = 99;
  expectMade("the first version");
  newer.spec.struct_size -= 1;
  expectRefused(NC_INVALID_ARGUMENT, nc_norm_plan_create(&newer.spec, &plan),
                {"spec: struct_size " + std::to_string(newer.spec.struct_size), "at least"},
                "less than the first version");
}

TEST(Plan, EdgesAreAccepted) {
  for (const int64_t n : {int64_t{1}, int64_t{NC_MAX_HIDDEN_SIZE}}) {
    nc_norm_spec spec = makeSpec(NC_RMS_NORM, NC_FLOAT16, NC_FLOAT64, NC_BFLOAT16, n);
    spec.epsilon = 0;
    const Plan plan(spec);
    EXPECT_NE(0, static_cast<int64_t>(plan));
  }
}

// A call's arguments by name, so that a test can make one wrong, and their buffers.
class Calls : public ::testing::Test {
 protected:
  static constexpr int64_t kRows = 5, kN = 12, kStride = 16;

  // Begins a call and runs a range of it.
  template <class Begin, class Args>
  static int32_t run(Begin begin, int64_t plan, const Args& args, const std::array<int64_t, 3>& phase_and_range) {
    alignas(NC_CALL_ALIGNMENT) char call[NC_CALL_BYTES];
    int64_t units[2];
    const int32_t status = begin(plan, &args, call, units);
    if (status != NC_OK) return status;
    return nc_call_run(call, static_cast<int32_t>(phase_and_range[0]), phase_and_range[1], phase_and_range[2]);
  }

  struct Forward : nc_norm_forward_args {
    int64_t plan, row_begin, row_end;
    int32_t call() const { return run(nc_norm_forward_begin, plan, *this, {0, row_begin, row_end}); }
  };
  struct Backward : nc_norm_backward_args {
    int64_t plan, phase, begin, end;
    int32_t call() const { return run(nc_norm_backward_begin, plan, *this, {phase, begin, end}); }
  };

  Calls() {
    for (auto* buffer : {&x, &residual, &y, &out, &dy, &dx, &dresidual}) buffer->assign(kRows * kStride + 32, 1);
    for (auto* buffer : {&weight, &bias, &mean, &rstd, &dweight, &dbias}) buffer->assign(64, 1);
    check(nc_norm_backward_groups(layer, kRows, &groups));
    check(nc_norm_backward_workspace(layer, kRows, 1, 1, &bytes));
    workspace.assign(static_cast<size_t>(bytes) / 8 + 8, 1);
  }

  static int64_t at(const void* p) { return reinterpret_cast<int64_t>(p); }

  Forward forward() {
    Forward f{argsOf<nc_norm_forward_args>(), layer, 0, kRows};
    f.rows = kRows;
    f.x = at(&x[0]), f.residual = at(&residual[0]), f.y = at(&y[0]), f.residual_out = at(&out[0]);
    f.x_stride = f.residual_stride = f.y_stride = f.residual_out_stride = kStride;
    f.weight = at(&weight[0]), f.bias = at(&bias[0]);
    f.mean = at(&mean[0]), f.rstd = at(&rstd[0]);
    return f;
  }
  Backward backward() {
    Backward b{argsOf<nc_norm_backward_args>(), layer, 0, 0, groups};
    b.rows = kRows;
    b.x = at(&x[0]), b.dy = at(&dy[0]), b.dresidual = at(&dresidual[0]), b.dx = at(&dx[0]);
    b.x_stride = b.dy_stride = b.dresidual_stride = b.dx_stride = kStride;
    b.weight = at(&weight[0]), b.mean = at(&mean[0]), b.rstd = at(&rstd[0]);
    b.workspace = at(&workspace[0]), b.workspace_bytes = bytes;
    b.dweight = at(&dweight[0]), b.dbias = at(&dbias[0]);
    b.dweight_dtype = b.dbias_dtype = NC_FLOAT32;
    b.dweight_mode = b.dbias_mode = NC_GRADIENT_WRITE;
    return b;
  }
  // The second step.
  Backward columns() {
    Backward b = backward();
    b.phase = 1;
    b.end = kN;
    return b;
  }

  // All memory that a call could write.
  std::vector<std::vector<float>> everything() const {
    std::vector<std::vector<float>> all = {x,    residual, y,      out,  dy,      dx,   dresidual,
                                           mean, rstd,     weight, bias, dweight, dbias};
    all.push_back(std::vector<float>(workspace.begin(), workspace.end()));
    return all;
  }

  template <class Call>
  struct Wrong {
    const char* what;
    std::function<void(Call&)> change;
    std::vector<std::string> parts;
  };
  template <class Call>
  void expectAllRefused(const Call& valid, const std::vector<Wrong<Call>>& wrongs) {
    for (const Wrong<Call>& wrong : wrongs) {
      Call call = valid;
      wrong.change(call);
      const auto before = everything();
      expectRefused(NC_INVALID_ARGUMENT, call.call(), wrong.parts, wrong.what);
      EXPECT_TRUE(before == everything()) << wrong.what << ": something was written";
    }
    EXPECT_EQ(NC_OK, valid.call()) << "the call with nothing wrong: " << nc_last_error();
  }

  const Plan layer{makeSpec(NC_LAYER_NORM, NC_FLOAT32, NC_FLOAT32, NC_FLOAT32, kN)};
  const Plan rms{makeSpec(NC_RMS_NORM, NC_FLOAT32, NC_FLOAT32, NC_FLOAT32, kN)};
  int64_t groups = 0, bytes = 0;
  std::vector<float> x, residual, y, out, dy, dx, dresidual, weight, bias, mean, rstd, dweight, dbias;
  std::vector<double> workspace;
};

TEST_F(Calls, ForwardRefuses) {
  using F = Forward;
  expectAllRefused<F>(
      forward(),
      {
          {"no plan", [](F& f) { f.plan = 0; }, {"plan", "0"}},
          {"a reserved field", [](F& f) { f.reserved = 1; }, {"reserved: 1", "0"}},
          {"no size", [](F& f) { f.struct_size = 0; }, {"args: struct_size 0", "at least"}},
          {"a stream", [](F& f) { f.stream = 0x5000; }, {"stream: 5000", "the CPU"}},
          {"FP8's scale", [&](F& f) { f.y_scale = at(&dy[0]); }, {"y_scale: address", "not FP8"}},
          {"FP8's amax", [&](F& f) { f.y_amax = at(&dy[0]); }, {"y_amax: address", "not FP8"}},
          {"FP8's scales", [&](F& f) { f.y_scale_inv = at(&dy[0]); }, {"y_scale_inv: address", "not FP8"}},
          {"no plan but memory", [&](F& f) { f.plan = at(&x[0]); }, {"plan", std::to_string(at(&x[0]))}},
          {"negative rows", [](F& f) { f.rows = -1; }, {"rows", "-1"}},
          {"begin before 0", [](F& f) { f.row_begin = -2; }, {"row", "-2"}},
          {"end beyond rows", [](F& f) { f.row_end = 6; }, {"row", "6", "5"}},
          {"begin after end", [](F& f) { f.row_begin = 3, f.row_end = 2; }, {"row", "3", "2"}},
          {"no x", [](F& f) { f.x = 0; }, {"x", "0"}},
          {"no y", [](F& f) { f.y = 0; }, {"y", "0"}},
          {"no weight", [](F& f) { f.weight = 0; }, {"weight", "0"}},
          {"no bias", [](F& f) { f.bias = 0; }, {"bias", "0"}},
          {"x's stride too short", [](F& f) { f.x_stride = 11; }, {"x", "11", "12"}},
          {"negative stride", [](F& f) { f.x_stride = -16; }, {"x", "-16"}},
          {"y's stride too short", [](F& f) { f.y_stride = 0; }, {"y", "0", "12"}},
          {"residual's stride too short", [](F& f) { f.residual_stride = 3; }, {"residual", "3"}},
          {"residual_out's stride too short", [](F& f) { f.residual_out_stride = 3; }, {"residual_out", "3"}},
          {"nowhere for the sum", [](F& f) { f.residual_out = 0; }, {"residual_out", "0"}},
          {"a sum of nothing", [](F& f) { f.residual = 0; }, {"residual_out"}},
          {"mean alone", [](F& f) { f.rstd = 0; }, {"rstd", "0"}},
          {"rstd alone", [](F& f) { f.mean = 0; }, {"mean", "0"}},
          {"beyond the address space",
           [](F& f) { f.x_stride = int64_t{1} << 61; },
           {"x", std::to_string(int64_t{1} << 61)}},
          {"y one element into x", [](F& f) { f.y = f.x + 4; }, {"y", "x"}},
          {"y is x at another stride", [](F& f) { f.y = f.x, f.y_stride = 12; }, {"y", "x"}},
          {"y is residual_out", [](F& f) { f.y = f.residual_out; }, {"residual_out", "y"}},
          {"y over the weight", [](F& f) { f.y = f.weight - 64 * 4; }, {"y", "weight"}},
          {"y over the bias", [&](F& f) { f.bias = f.y + 8; }, {"y", "bias"}},
          {"mean in y", [](F& f) { f.mean = f.y; }, {"mean", "y"}},
          {"rstd in x", [](F& f) { f.rstd = f.x; }, {"rstd", "x"}},
          {"mean is rstd", [](F& f) { f.mean = f.rstd; }, {"mean", "rstd"}},
          {"rstd in weight", [](F& f) { f.rstd = f.weight + 4; }, {"rstd", "weight"}},
          {"residual_out across x", [](F& f) { f.residual_out = f.x + 8; }, {"residual_out", "x"}},
      });
  Forward with_rms = forward();
  with_rms.plan = rms;
  expectRefused(NC_INVALID_ARGUMENT, with_rms.call(), {"bias"}, "a bias that the plan has not");
  with_rms.bias = 0;
  expectRefused(NC_INVALID_ARGUMENT, with_rms.call(), {"mean"}, "RMSNorm with a mean");
  with_rms.mean = 0;
  EXPECT_EQ(NC_OK, with_rms.call()) << nc_last_error();
  with_rms.rstd = 0;
  EXPECT_EQ(NC_OK, with_rms.call()) << nc_last_error();
}

// Column slices of one wider tensor do not overlap: they share a stride and no byte.
TEST_F(Calls, InterleavedSlicesAreApart) {
  std::vector<float> wide(kRows * 2 * kN, 1);
  Forward f = forward();
  f.residual = f.residual_out = f.residual_stride = f.residual_out_stride = 0;
  f.x = at(&wide[0]), f.y = at(&wide[kN]);
  f.x_stride = f.y_stride = 2 * kN;
  EXPECT_EQ(NC_OK, f.call()) << nc_last_error();
  f.y -= 4;
  expectRefused(NC_INVALID_ARGUMENT, f.call(), {"y", "x"}, "slices that share a column");
}

TEST_F(Calls, BackwardRefuses) {
  using B = Backward;
  expectAllRefused<B>(backward(),
                      {
                          {"no plan", [](B& b) { b.plan = 0; }, {"plan", "0"}},
                          {"negative rows", [](B& b) { b.rows = -3; }, {"rows", "-3"}},
                          {"begin before 0", [](B& b) { b.begin = -1; }, {"group", "-1"}},
                          {"end beyond groups", [](B& b) { b.end += 1; }, {"group", std::to_string(groups + 1)}},
                          {"begin after end", [](B& b) { b.begin = 1, b.end = 0; }, {"group", "1", "0"}},
                          {"no x", [](B& b) { b.x = 0; }, {"x", "0"}},
                          {"no dy", [](B& b) { b.dy = 0; }, {"dy", "0"}},
                          {"no weight", [](B& b) { b.weight = 0; }, {"weight", "0"}},
                          {"no mean", [](B& b) { b.mean = 0; }, {"mean", "0"}},
                          {"no rstd", [](B& b) { b.rstd = 0; }, {"rstd", "0"}},
                          {"dresidual without dx", [](B& b) { b.dx = 0; }, {"dresidual", "dx"}},
                          {"x's stride", [](B& b) { b.x_stride = 11; }, {"x", "11", "12"}},
                          {"dy's stride", [](B& b) { b.dy_stride = -1; }, {"dy", "-1"}},
                          {"dx's stride", [](B& b) { b.dx_stride = 5; }, {"dx", "5"}},
                          {"dresidual's stride", [](B& b) { b.dresidual_stride = 5; }, {"dresidual", "5"}},
                          {"no workspace", [](B& b) { b.workspace = 0; }, {"workspace", "0"}},
                          {"workspace too small",
                           [](B& b) { b.workspace_bytes -= 1; },
                           {"workspace_bytes", std::to_string(bytes - 1), std::to_string(bytes)}},
                          {"negative workspace", [](B& b) { b.workspace_bytes = -8; }, {"workspace_bytes", "-8"}},
                          {"workspace askew", [](B& b) { b.workspace += 4; }, {"workspace", "8"}},
                          {"a reserved field", [](B& b) { b.reserved = -1; }, {"reserved: -1", "0"}},
                          {"a stream", [](B& b) { b.stream = 1; }, {"stream: 1", "the CPU"}},
                          {"dweight in x", [](B& b) { b.dweight = b.x + 8; }, {"dweight", "x"}},
                          {"dbias in dx", [](B& b) { b.dbias = b.dx; }, {"dbias", "dx"}},
                          {"dx across dy", [](B& b) { b.dx = b.dy + 4; }, {"dx", "dy"}},
                          {"dx across x", [](B& b) { b.dx = b.x + 8; }, {"dx", "x"}},
                          {"dx is x at another stride", [](B& b) { b.dx = b.x, b.dx_stride = 12; }, {"dx", "x"}},
                          {"dx over rstd", [](B& b) { b.rstd = b.dx + 16; }, {"dx", "rstd"}},
                          {"dx over the weight", [](B& b) { b.weight = b.dx; }, {"dx", "weight"}},
                          {"workspace in x", [](B& b) { b.x = b.workspace; }, {"workspace", "x"}},
                          {"workspace in dx", [](B& b) { b.dx = b.workspace; }, {"dx", "workspace"}},
                      });
  Backward b = backward();
  b.plan = rms;
  b.mean = 0;
  expectRefused(NC_INVALID_ARGUMENT, b.call(), {"dbias", "no such parameter"}, "dbias of a plan without bias");
  b.dbias_mode = NC_GRADIENT_ABSENT;
  EXPECT_EQ(NC_OK, b.call()) << nc_last_error();
  b.mean = at(&mean[0]);
  expectRefused(NC_INVALID_ARGUMENT, b.call(), {"mean"}, "RMSNorm with a mean");
}

TEST_F(Calls, ColumnsRefuses) {
  using C = Backward;
  expectAllRefused<C>(
      columns(),
      {
          {"no plan", [](C& c) { c.plan = 0; }, {"plan", "0"}},
          {"negative rows", [](C& c) { c.rows = -3; }, {"rows", "-3"}},
          {"begin before 0", [](C& c) { c.begin = -1; }, {"column", "-1"}},
          {"end beyond N", [](C& c) { c.end = 13; }, {"column", "13", "12"}},
          {"begin after end", [](C& c) { c.begin = 5, c.end = 4; }, {"column", "5", "4"}},
          {"no workspace", [](C& c) { c.workspace = 0; }, {"workspace", "0"}},
          {"workspace too small", [](C& c) { c.workspace_bytes = 3; }, {"workspace_bytes", "3"}},
          {"no dweight", [](C& c) { c.dweight = 0; }, {"dweight", "0"}},
          {"no dbias", [](C& c) { c.dbias = 0; }, {"dbias", "0"}},
          {"dweight's mode", [](C& c) { c.dweight_mode = 3; }, {"dweight", "3"}},
          {"dbias's mode", [](C& c) { c.dbias_mode = -1; }, {"dbias", "-1"}},
          {"dweight's dtype", [](C& c) { c.dweight_dtype = NC_FLOAT16; }, {"dweight", std::to_string(NC_FLOAT16)}},
          {"no dtype", [](C& c) { c.dbias_dtype = 17; }, {"dbias", "17"}},
          {"accumulate into bfloat16",
           [](C& c) { c.dbias_dtype = NC_BFLOAT16, c.dbias_mode = NC_GRADIENT_ACCUMULATE; },
           {"dbias", "float32"}},
          {"dweight is dbias", [](C& c) { c.dbias = c.dweight; }, {"dweight", "dbias"}},
          {"dweight in the workspace", [](C& c) { c.dweight = c.workspace; }, {"dweight", "workspace"}},
      });
  Backward c = columns();
  c.plan = rms;
  c.mean = 0;
  expectRefused(NC_INVALID_ARGUMENT, c.call(), {"dbias"}, "dbias of a plan without bias");
}

// What a range is checked for, and what it is not.
TEST_F(Calls, RangesRefuse) {
  const int32_t invalid = NC_INVALID_ARGUMENT;
  alignas(NC_CALL_ALIGNMENT) char memory[NC_CALL_BYTES + 8] = {};
  int64_t units[2] = {77, 77};
  const Forward f = forward();
  expectRefused(invalid, nc_call_run(nullptr, 0, 0, 1), {"call: address 0"}, "null");
  expectRefused(invalid, nc_call_run(memory, 0, 0, 1), {"call: address", "nc_..._begin"}, "no call");
  expectRefused(invalid, nc_norm_forward_begin(layer, &f, nullptr, units), {"call: null", "512 bytes"}, "null");
  expectRefused(invalid, nc_norm_forward_begin(layer, &f, memory + 8, units), {"call: address", "16"}, "unaligned");
  expectRefused(invalid, nc_norm_forward_begin(layer, &f, memory, nullptr), {"units: null"}, "units");
  expectRefused(invalid, nc_norm_forward_begin(layer, nullptr, memory, units), {"args: null"}, "args");
  EXPECT_EQ(77, units[0]);
  EXPECT_EQ(std::string(sizeof(memory), '\0'), std::string(memory, sizeof(memory)));
  check(nc_norm_forward_begin(layer, &f, memory, units));
  EXPECT_EQ(kRows, units[0]);
  EXPECT_EQ(0, units[1]);
  const auto before = everything();
  expectRefused(invalid, nc_call_run(memory, 2, 0, 1), {"phase: 2", "0 or 1"}, "phase");
  expectRefused(invalid, nc_call_run(memory, -1, 0, 1), {"phase: -1"}, "phase");
  expectRefused(invalid, nc_call_run(memory, 1, 0, 1), {"0 to 1", "within 0 to 0"}, "a phase without units");
  expectRefused(invalid, nc_call_run(memory, 0, 0, 6), {"row range: 0 to 6", "0 to 5"}, "range");
  expectRefused(invalid, nc_call_run(memory + 8, 0, 0, 1), {"call: address"}, "unaligned");
  EXPECT_EQ(NC_OK, nc_call_run(memory, 0, 3, 3));
  EXPECT_EQ(NC_OK, nc_call_run(memory, 1, 0, 0));
  EXPECT_TRUE(before == everything());
  EXPECT_EQ(NC_OK, nc_call_run(memory, 0, 0, kRows)) << nc_last_error();
  // Nothing to compute has no units.
  Backward b = backward();
  b.dx = b.dresidual = 0;
  b.dweight_mode = b.dbias_mode = NC_GRADIENT_ABSENT;
  check(nc_norm_backward_begin(layer, &b, memory, units));
  EXPECT_EQ(0, units[0] + units[1]);
  b = backward();
  check(nc_norm_backward_begin(layer, &b, memory, units));
  EXPECT_EQ(groups, units[0]);
  EXPECT_EQ(kN, units[1]);
}

TEST_F(Calls, QueriesRefuse) {
  const int32_t invalid = NC_INVALID_ARGUMENT;
  int64_t result = 77;
  expectRefused(invalid, nc_norm_backward_groups(0, 1, &result), {"plan", "0"}, "groups of no plan");
  expectRefused(invalid, nc_norm_backward_groups(layer, -1, &result), {"rows", "-1"}, "groups");
  expectRefused(invalid, nc_norm_backward_groups(layer, 1, nullptr), {"groups", "null"}, "groups");
  expectRefused(invalid, nc_norm_backward_workspace(layer, -1, 1, 1, &result), {"rows", "-1"}, "workspace");
  expectRefused(invalid, nc_norm_backward_workspace(layer, 1, 5, 1, &result), {"wants_dweight", "5"}, "workspace");
  expectRefused(invalid, nc_norm_backward_workspace(rms, 1, 1, 1, &result), {"wants_dbias", "1"}, "workspace");
  expectRefused(invalid, nc_norm_backward_workspace(layer, 1, 1, 1, nullptr), {"bytes", "null"}, "workspace");
  EXPECT_EQ(77, result);
  check(nc_norm_backward_workspace(layer, 100, 0, 0, &result));
  EXPECT_EQ(0, result);
  int32_t supported = 77;
  expectRefused(invalid, nc_cpu_level_supported(9, &supported), {"level", "9"}, "level");
  expectRefused(invalid, nc_cpu_level_supported(NC_CPU_PLAIN, nullptr), {"supported", "null"}, "level");
  EXPECT_EQ(77, supported);
}

// About 10^18 rows: sizes are computed without overflow, and the refusal precedes any access.
TEST_F(Calls, AbsurdSizes) {
  int64_t result = 0;
  check(nc_norm_backward_groups(layer, INT64_MAX, &result));
  EXPECT_EQ(256, result);
  Forward f = forward();
  f.rows = f.row_end = INT64_MAX;
  expectRefused(NC_INVALID_ARGUMENT, f.call(), {"x", std::to_string(INT64_MAX)}, "forward");
  f.x = f.residual = f.y = f.residual_out = 0;
  expectRefused(NC_INVALID_ARGUMENT, f.call(), {"mean", std::to_string(INT64_MAX)}, "statistics alone");
  const Plan longest(makeSpec(NC_LAYER_NORM, NC_FLOAT64, NC_FLOAT64, NC_FLOAT64, NC_MAX_HIDDEN_SIZE));
  check(nc_norm_backward_workspace(longest, INT64_MAX, 1, 1, &result));
  EXPECT_EQ(int64_t{2} * 256 * (int64_t{NC_MAX_HIDDEN_SIZE} * 4 + 8), result);
}

TEST(Convert, Refuses) {
  const int32_t invalid = NC_INVALID_ARGUMENT;
  std::vector<float> from(8, 1), to(8, 2);
  const auto a = reinterpret_cast<int64_t>(from.data()), b = reinterpret_cast<int64_t>(to.data());
  expectRefused(invalid, nc_convert(a, 7, b, NC_FLOAT32, 8), {"source_dtype", "7"}, "source dtype");
  EXPECT_EQ(NC_UNSUPPORTED, nc_convert(a, NC_FLOAT32, b, NC_FLOAT8_E8M0, 8));
  EXPECT_NE(std::string::npos, std::string(nc_last_error()).find("target_dtype: float8_e8m0")) << nc_last_error();
  expectRefused(invalid, nc_convert(a, NC_FLOAT32, b, -1, 8), {"target_dtype", "-1"}, "target dtype");
  expectRefused(invalid, nc_convert(a, NC_FLOAT32, b, NC_FLOAT32, -8), {"count", "-8"}, "count");
  expectRefused(invalid, nc_convert(0, NC_FLOAT32, b, NC_FLOAT32, 8), {"source", "0"}, "source");
  expectRefused(invalid, nc_convert(a, NC_FLOAT32, 0, NC_FLOAT32, 8), {"target", "0"}, "target");
  expectRefused(invalid, nc_convert(a, NC_FLOAT32, a, NC_BFLOAT16, 8), {"target", "source"}, "narrowing in place");
  expectRefused(invalid, nc_convert(a, NC_FLOAT32, a + 4, NC_FLOAT32, 7), {"target", "source"}, "overlap");
  EXPECT_EQ(std::vector<float>(8, 2), to);
  EXPECT_EQ(std::vector<float>(8, 1), from);
  EXPECT_EQ(NC_OK, nc_convert(0, NC_FLOAT32, 0, NC_FLOAT32, 0));
}

TEST(Memory, AllocateAndFree) {
  for (const int64_t bytes : {0, 1, 63, 64, 1000003}) {
    int64_t address = 0;
    ASSERT_EQ(NC_OK, nc_allocate(bytes, &address));
    ASSERT_NE(0, address);
    EXPECT_EQ(0, address % 64);
    std::memset(reinterpret_cast<void*>(address), 1, static_cast<size_t>(bytes));
    EXPECT_EQ(NC_OK, nc_free(address));
  }
  EXPECT_EQ(NC_OK, nc_free(0));
  int64_t address = 77;
  expectRefused(NC_INVALID_ARGUMENT, nc_allocate(-1, &address), {"bytes", "-1"}, "negative");
  expectRefused(NC_INVALID_ARGUMENT, nc_allocate(8, nullptr), {"address", "null"}, "null");
  EXPECT_EQ(77, address);
#if !defined(__SANITIZE_ADDRESS__)  // it ends the process instead
  EXPECT_EQ(NC_OUT_OF_MEMORY, nc_allocate(int64_t{1} << 61, &address));
  EXPECT_NE(std::string::npos, std::string(nc_last_error()).find(std::to_string(int64_t{1} << 61)));
  EXPECT_EQ(77, address);
#endif
}

TEST(Messages, BelongToTheirThread) {
  int64_t plan = 0;
  nc_norm_plan_create(nullptr, &plan);
  const std::string mine = nc_last_error();
  EXPECT_FALSE(mine.empty());
  std::string before, theirs;
  std::thread([&] {
    before = nc_last_error();
    nc_allocate(-5, &plan);
    theirs = nc_last_error();
  }).join();
  EXPECT_EQ("", before);
  EXPECT_NE(mine, theirs);
  EXPECT_EQ(mine, nc_last_error());
}

}  // namespace
