// The C interface: every wrong argument is refused with a status that tells invalid from unsupported and a message that
// names the argument, its value and what was expected; nothing is written.

#include <gtest/gtest.h>

#include <functional>
#include <thread>

#include "support/harness.h"

namespace {

using namespace harness;

// The status, and each of these parts in the message.
void expectRefused(int32_t expected, int32_t status, const std::vector<std::string>& parts, const std::string& what) {
  const std::string message = nc_last_error();
  EXPECT_EQ(expected, status) << what << ": " << message;
  if (status == NC_OK) return;
  for (const std::string& part : parts) {
    EXPECT_NE(std::string::npos, message.find(part)) << what << ": \"" << message << "\" lacks \"" << part << "\"";
  }
  bool says_why = false;
  for (const char* words : {"expected", ", but ", "exceed", "does not have"}) {
    says_why = says_why || message.find(words) != std::string::npos;
  }
  EXPECT_TRUE(says_why) << what << ": \"" << message << "\" does not say what was expected";
}

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
      {[](S& s) { s.struct_size = 0; }, invalid, {"struct_size", "0", std::to_string(sizeof(S))}},
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

  struct Forward {
    int64_t plan, rows, row_begin, row_end, x, x_stride, residual, residual_stride, weight, bias, y, y_stride,
        residual_out, residual_out_stride, mean, rstd;
    int32_t call() const {
      return nc_norm_forward(plan, rows, row_begin, row_end, x, x_stride, residual, residual_stride, weight, bias, y,
                             y_stride, residual_out, residual_out_stride, mean, rstd);
    }
  };
  struct Backward {
    int64_t plan, rows, group_begin, group_end, x, x_stride, weight, dy, dy_stride, mean, rstd, dresidual,
        dresidual_stride, dx, dx_stride, workspace, workspace_bytes;
    int32_t wants_dweight, wants_dbias;
    int32_t call() const {
      return nc_norm_backward(plan, rows, group_begin, group_end, x, x_stride, weight, dy, dy_stride, mean, rstd,
                              dresidual, dresidual_stride, dx, dx_stride, workspace, workspace_bytes, wants_dweight,
                              wants_dbias);
    }
  };
  struct Columns {
    int64_t plan, rows, column_begin, column_end, workspace, workspace_bytes, dweight;
    int32_t dweight_dtype, dweight_mode;
    int64_t dbias;
    int32_t dbias_dtype, dbias_mode;
    int32_t call() const {
      return nc_norm_backward_columns(plan, rows, column_begin, column_end, workspace, workspace_bytes, dweight,
                                      dweight_dtype, dweight_mode, dbias, dbias_dtype, dbias_mode);
    }
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
    return {layer,          kRows,        0,         kRows,   at(&x[0]),   kStride, at(&residual[0]), kStride,
            at(&weight[0]), at(&bias[0]), at(&y[0]), kStride, at(&out[0]), kStride, at(&mean[0]),     at(&rstd[0])};
  }
  Backward backward() {
    return {layer,
            kRows,
            0,
            groups,
            at(&x[0]),
            kStride,
            at(&weight[0]),
            at(&dy[0]),
            kStride,
            at(&mean[0]),
            at(&rstd[0]),
            at(&dresidual[0]),
            kStride,
            at(&dx[0]),
            kStride,
            at(&workspace[0]),
            bytes,
            1,
            1};
  }
  Columns columns() {
    return {layer,
            kRows,
            0,
            kN,
            at(&workspace[0]),
            bytes,
            at(&dweight[0]),
            NC_FLOAT32,
            NC_GRADIENT_WRITE,
            at(&dbias[0]),
            NC_FLOAT32,
            NC_GRADIENT_WRITE};
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
                          {"begin before 0", [](B& b) { b.group_begin = -1; }, {"group", "-1"}},
                          {"end beyond groups", [](B& b) { b.group_end += 1; }, {"group", std::to_string(groups + 1)}},
                          {"begin after end", [](B& b) { b.group_begin = 1, b.group_end = 0; }, {"group", "1", "0"}},
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
                          {"a strange wish", [](B& b) { b.wants_dweight = 2; }, {"wants_dweight", "2"}},
                          {"another", [](B& b) { b.wants_dbias = -1; }, {"wants_dbias", "-1"}},
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
  expectRefused(NC_INVALID_ARGUMENT, b.call(), {"wants_dbias", "1"}, "dbias of a plan without bias");
  b.wants_dbias = 0;
  EXPECT_EQ(NC_OK, b.call()) << nc_last_error();
  b.mean = at(&mean[0]);
  expectRefused(NC_INVALID_ARGUMENT, b.call(), {"mean"}, "RMSNorm with a mean");
}

TEST_F(Calls, ColumnsRefuses) {
  using C = Columns;
  expectAllRefused<C>(
      columns(),
      {
          {"no plan", [](C& c) { c.plan = 0; }, {"plan", "0"}},
          {"negative rows", [](C& c) { c.rows = -3; }, {"rows", "-3"}},
          {"begin before 0", [](C& c) { c.column_begin = -1; }, {"column", "-1"}},
          {"end beyond N", [](C& c) { c.column_end = 13; }, {"column", "13", "12"}},
          {"begin after end", [](C& c) { c.column_begin = 5, c.column_end = 4; }, {"column", "5", "4"}},
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
  Columns c = columns();
  c.plan = rms;
  expectRefused(NC_INVALID_ARGUMENT, c.call(), {"dbias"}, "dbias of a plan without bias");
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
