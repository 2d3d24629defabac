// The C interface of the rotary position embedding, with a fake CUDA plugin that records its calls: which calls are
// refused, with which message, that nothing is written before, and which arguments reach a kernel.

#include <dlfcn.h>

#include <cstdio>
#include <functional>
#include <set>

#include "c_api/refusal.h"
#include "c_api/use_fake_plugin.h"
#include "support/rotary_harness.h"

namespace {

using namespace harness;

// Must run first: the library looks for its plugin once.
[[maybe_unused]] const int named = setenv("NORMCORE_CUDA_LIBRARY", FAKE_PLUGIN_FILE, 1);

nc_rotary_spec validSpec(int32_t device_type = NC_DEVICE_CPU, int32_t device = 0) {
  nc_rotary_spec spec = makeRotary(NC_BFLOAT16, NC_FLOAT32, NC_ROTARY_HALF_SPLIT, NC_ROTARY_ROUND_INPUT, 16, 8).spec;
  spec.device_type = device_type;
  spec.device_index = device;
  return spec;
}

class RotaryArguments : public ::testing::Test {
 protected:
  RotaryArguments() { fake() = {}; }
};

TEST_F(RotaryArguments, EveryWrongSpecIsRefused) {
  struct Wrong {
    std::function<void(nc_rotary_spec&)> change;
    int32_t status;
    Strings parts;
  };
  using S = nc_rotary_spec;
  const int32_t invalid = NC_INVALID_ARGUMENT, unsupported = NC_UNSUPPORTED;
  const auto field = [](int32_t S::*member, int32_t value, const char* name) {
    return Wrong{[=](S& s) { s.*member = value; }, NC_INVALID_ARGUMENT, {name, std::to_string(value)}};
  };
  const auto format = [](int32_t S::*member, int32_t value, const char* name, const char* type) {
    return Wrong{[=](S& s) { s.*member = value; }, NC_UNSUPPORTED, {name, type, "float32, bfloat16 or float16"}};
  };
  std::vector<Wrong> wrongs = {
      {[](S& s) { s.struct_size = 0; }, invalid, {"struct_size 0", std::to_string(sizeof(S))}},
      {[](S& s) { s.struct_size -= 4; }, invalid, {"struct_size " + std::to_string(sizeof(S) - 4)}},
      field(&S::x_dtype, -1, "x_dtype"),
      field(&S::x_dtype, 7, "x_dtype"),
      field(&S::table_dtype, -1, "table_dtype"),
      field(&S::table_dtype, 7, "table_dtype"),
      format(&S::x_dtype, NC_FLOAT64, "x_dtype", "float64"),
      format(&S::x_dtype, NC_FLOAT8_E4M3, "x_dtype", "float8_e4m3"),
      format(&S::x_dtype, NC_FLOAT8_E8M0, "x_dtype", "float8_e8m0"),
      format(&S::table_dtype, NC_FLOAT64, "table_dtype", "float64"),
      format(&S::table_dtype, NC_FLOAT8_E5M2, "table_dtype", "float8_e5m2"),
      field(&S::layout, 2, "layout"),
      field(&S::layout, -1, "layout"),
      field(&S::rounding, 2, "rounding"),
      field(&S::rounding, -1, "rounding"),
      {[](S& s) { s.head_dim = s.rotary_dim = 0; }, invalid, {"head_dim: 0", "2 to 65536"}},
      {[](S& s) { s.head_dim = 1; }, invalid, {"head_dim: 1", "2 to 65536"}},
      {[](S& s) { s.head_dim = -128; }, invalid, {"head_dim: -128"}},
      {[](S& s) { s.head_dim = NC_MAX_HEAD_DIM + 1; }, invalid, {"head_dim: 65537"}},
      {[](S& s) { s.rotary_dim = 0; }, invalid, {"rotary_dim: 0", "even", "16"}},
      {[](S& s) { s.rotary_dim = 7; }, invalid, {"rotary_dim: 7", "even", "16"}},
      {[](S& s) { s.rotary_dim = 18; }, invalid, {"rotary_dim: 18", "even", "16"}},
      {[](S& s) { s.rotary_dim = -2; }, invalid, {"rotary_dim: -2", "even"}},
      field(&S::cpu_level, 5, "cpu_level"),
      field(&S::cpu_level, -1, "cpu_level"),
      field(&S::device_type, 2, "device_type"),
      field(&S::device_type, -1, "device_type"),
      field(&S::device_index, 1, "device_index"),
      {[](S& s) { s.device_type = NC_DEVICE_CUDA, s.device_index = 2; }, invalid, {"device_index: 2", "0 to 1"}},
      {[](S& s) { s.device_type = NC_DEVICE_CUDA, s.device_index = -1; }, invalid, {"device_index: -1", "0 to 1"}},
      {[](S& s) { s.device_type = NC_DEVICE_CUDA, s.cpu_level = NC_CPU_PLAIN; }, invalid, {"cpu_level: 1", "best"}},
  };
  for (const int32_t level : {NC_CPU_AVX2, NC_CPU_AVX512, NC_CPU_NEON}) {
    int32_t supported = 0;
    check(nc_cpu_level_supported(level, &supported));
    if (supported == 0) {
      wrongs.push_back({[=](S& s) { s.cpu_level = level; }, unsupported, {"cpu_level", levelName(level)}});
    }
  }
  for (size_t i = 0; i < wrongs.size(); ++i) {
    nc_rotary_spec spec = validSpec();
    wrongs[i].change(spec);
    int64_t plan = 77;
    expectRefused(wrongs[i].status, nc_rotary_plan_create(&spec, &plan), wrongs[i].parts, "spec " + std::to_string(i));
    EXPECT_EQ(77, plan);
  }
  const nc_rotary_spec spec = validSpec();
  int64_t plan = 77;
  expectRefused(invalid, nc_rotary_plan_create(nullptr, &plan), {"spec", "null"}, "null spec");
  expectRefused(invalid, nc_rotary_plan_create(&spec, nullptr), {"plan", "null"}, "null handle");
  EXPECT_EQ(77, plan);
}

TEST_F(RotaryArguments, EdgesAreAccepted) {
  for (const auto& [head_dim, rotary_dim] :
       std::vector<std::pair<int32_t, int32_t>>{{2, 2}, {3, 2}, {65536, 65536}, {65535, 2}}) {
    nc_rotary_spec spec = validSpec();
    spec.head_dim = head_dim;
    spec.rotary_dim = rotary_dim;
    const RotaryPlan plan(spec);
    EXPECT_NE(0, static_cast<int64_t>(plan));
  }
}

TEST_F(RotaryArguments, OtherHandlesAreRefused) {
  const RotaryPlan rotary(validSpec());
  const Plan norm(makeSpec(NC_RMS_NORM, NC_FLOAT32, NC_FLOAT32, NC_FLOAT32, 8));
  alignas(64) const uint64_t garbage[16] = {1, 2, 3};
  const auto address = reinterpret_cast<int64_t>(garbage);
  const auto none = argsOf<nc_rotary_args>();
  alignas(NC_CALL_ALIGNMENT) char call[NC_CALL_BYTES];
  int64_t units[2];
  for (const int64_t handle : {int64_t{norm}, address, address + 4, int64_t{rotary} + 1}) {
    const Strings parts = {"plan: " + std::to_string(handle), "is not a live handle"};
    expectRefused(NC_INVALID_ARGUMENT, nc_rotary_plan_destroy(handle), parts, "destroy");
    expectRefused(NC_INVALID_ARGUMENT, nc_rotary_apply(handle, &none), parts, "apply");
    expectRefused(NC_INVALID_ARGUMENT, nc_rotary_begin(handle, &none, call, units), parts, "begin");
  }
  expectRefused(NC_INVALID_ARGUMENT, nc_norm_plan_destroy(rotary), {"plan", "is not a live handle"}, "norm's destroy");
  expectRefused(NC_INVALID_ARGUMENT, nc_rotary_apply(0, &none), {"plan: 0", "nc_rotary_plan_create"}, "0");
  EXPECT_EQ(NC_OK, nc_rotary_plan_destroy(0));
  int64_t twice = 0;
  const nc_rotary_spec spec = validSpec();
  check(nc_rotary_plan_create(&spec, &twice));
  EXPECT_EQ(NC_OK, nc_rotary_plan_destroy(twice));
}

TEST_F(RotaryArguments, RangesAreForTheCpu) {
  const RotaryPlan cuda(validSpec(NC_DEVICE_CUDA, 1));
  const auto none = argsOf<nc_rotary_args>();
  alignas(NC_CALL_ALIGNMENT) char call[NC_CALL_BYTES];
  int64_t units[2];
  expectRefused(NC_INVALID_ARGUMENT, nc_rotary_begin(cuda, &none, call, units), {"plan", "CUDA device 1", "whole"},
                "CUDA plan");
}

// A call's arguments by name.
struct Call {
  int32_t backward = 0;
  int64_t batch = 2, seq = 3, heads = 4, token_begin = 0, token_end = 6;
  int64_t x = 0, x_batch_stride = 192, x_seq_stride = 64, x_head_stride = 16;
  int64_t cos = 0, sin = 0, table_batch_rows = 3;
  int64_t y = 0, y_batch_stride = 192, y_seq_stride = 64, y_head_stride = 16;

  nc_rotary_args args() const {
    auto args = argsOf<nc_rotary_args>();
    args.backward = backward;
    args.batch = batch, args.seq = seq, args.heads = heads;
    args.x = x, args.x_batch_stride = x_batch_stride, args.x_seq_stride = x_seq_stride;
    args.x_head_stride = x_head_stride;
    args.cos = cos, args.sin = sin, args.table_batch_rows = table_batch_rows;
    args.y = y, args.y_batch_stride = y_batch_stride, args.y_seq_stride = y_seq_stride;
    args.y_head_stride = y_head_stride;
    return args;
  }
  // Begins the call and runs the range.
  int32_t cpu(int64_t plan) const {
    const nc_rotary_args operands = args();
    alignas(NC_CALL_ALIGNMENT) char call[NC_CALL_BYTES];
    int64_t units[2];
    const int32_t status = nc_rotary_begin(plan, &operands, call, units);
    return status != NC_OK ? status : nc_call_run(call, 0, token_begin, token_end);
  }
  int32_t cuda(int64_t plan, int64_t stream = 1234) const {
    nc_rotary_args operands = args();
    operands.stream = stream;
    return nc_rotary_apply(plan, &operands);
  }
};

class RotaryCalls : public RotaryArguments {
 protected:
  static constexpr size_t kElements = 2 * 3 * 4 * 16;

  // x and y in one piece of memory, with as much before, between and after.
  RotaryCalls() : memory_(5 * kElements, 0x3f80), table_(2 * 24 + 8, 0.5f) {}

  Call valid() {
    Call call;
    call.x = at(&memory_[kElements]);
    call.y = at(&memory_[3 * kElements]);
    call.cos = at(&table_[0]);
    call.sin = at(&table_[24]);
    return call;
  }
  static int64_t at(const void* p) { return reinterpret_cast<int64_t>(p); }

  // Refused by both devices with the same message; nothing is written or launched.
  void expectBothRefuse(const Call& call, const Strings& parts, const std::string& what) {
    const std::vector<uint16_t> before = memory_;
    expectRefused(NC_INVALID_ARGUMENT, call.cpu(cpu_), parts, what);
    const std::string message = nc_last_error();
    EXPECT_TRUE(before == memory_) << what << ": something was written";
    fake().calls.clear();
    if (call.token_begin == 0 && call.token_end == call.batch * call.seq) {
      expectRefused(NC_INVALID_ARGUMENT, call.cuda(cuda_), parts, what);
      EXPECT_EQ(message, nc_last_error());
    }
    EXPECT_EQ(Strings{}, fake().calls) << what;
  }
  void expectBothTake(const Call& call, const std::string& what) {
    EXPECT_EQ(NC_OK, call.cpu(cpu_)) << what << ": " << nc_last_error();
    fake().calls.clear();
    EXPECT_EQ(NC_OK, call.cuda(cuda_)) << what << ": " << nc_last_error();
    EXPECT_EQ(Strings{"rotary 1 1234"}, fake().calls) << what;
  }

  std::vector<uint16_t> memory_;
  std::vector<float> table_;
  const RotaryPlan cpu_{validSpec()}, cuda_{validSpec(NC_DEVICE_CUDA, 1)};
};

TEST_F(RotaryCalls, EveryWrongArgumentIsRefused) {
  const int64_t huge = INT64_MAX / 2;
  struct Wrong {
    const char* what;
    std::function<void(Call&)> change;
    Strings parts;
  };
  const std::vector<Wrong> wrongs = {
      {"backward", [](Call& c) { c.backward = 2; }, {"backward: 2", "0 or 1"}},
      {"backward", [](Call& c) { c.backward = -1; }, {"backward: -1"}},
      {"batch", [](Call& c) { c.batch = -1, c.token_end = -3; }, {"batch: -1", "at least 0"}},
      {"seq", [](Call& c) { c.seq = -4, c.token_end = -8; }, {"seq: -4", "at least 0"}},
      {"heads", [](Call& c) { c.heads = -2; }, {"heads: -2", "at least 0"}},
      {"tokens", [=](Call& c) { c.batch = huge; }, {"batch", std::to_string(huge), "address space"}},
      {"range", [](Call& c) { c.token_begin = -1; }, {"token range: -1 to 6", "0 to 6"}},
      {"range", [](Call& c) { c.token_end = 7; }, {"token range: 0 to 7", "0 to 6"}},
      {"range", [](Call& c) { c.token_begin = 5, c.token_end = 4; }, {"token range: 5 to 4"}},
      {"x", [](Call& c) { c.x = 0; }, {"x: address 0"}},
      {"y", [](Call& c) { c.y = 0; }, {"y: address 0"}},
      {"cos", [](Call& c) { c.cos = 0; }, {"cos: address 0"}},
      {"sin", [](Call& c) { c.sin = 0; }, {"sin: address 0"}},
      {"x batch", [](Call& c) { c.x_batch_stride = -192; }, {"x: batch stride -192", "at least 0"}},
      {"x seq", [](Call& c) { c.x_seq_stride = -1; }, {"x: seq stride -1"}},
      {"x head", [](Call& c) { c.x_head_stride = -16; }, {"x: head stride -16"}},
      {"y batch", [](Call& c) { c.y_batch_stride = -192; }, {"y: batch stride -192"}},
      {"y seq", [](Call& c) { c.y_seq_stride = -64; }, {"y: seq stride -64"}},
      {"y head", [](Call& c) { c.y_head_stride = -16; }, {"y: head stride -16"}},
      {"y batch 0", [](Call& c) { c.y_batch_stride = 0; }, {"y: batch stride 0", "at least 16"}},
      {"y seq 0", [](Call& c) { c.y_seq_stride = 0; }, {"y: seq stride 0", "at least 16"}},
      {"y head 0", [](Call& c) { c.y_head_stride = 0; }, {"y: head stride 0", "at least 16"}},
      {"y head", [](Call& c) { c.y_head_stride = 15; }, {"y: head stride 15", "at least 16"}},
      {"y seq", [](Call& c) { c.y_seq_stride = 63; }, {"y: seq stride 63", "at least 64"}},
      {"y batch", [](Call& c) { c.y_batch_stride = 191; }, {"y: batch stride 191", "at least 192"}},
      {"y head beyond", [](Call& c) { c.y_head_stride = 17; }, {"y: seq stride 64", "at least 67"}},
      {"table rows", [](Call& c) { c.table_batch_rows = 2; }, {"table_batch_rows: 2", "at least seq, 3", "or 0"}},
      {"table rows", [](Call& c) { c.table_batch_rows = -3; }, {"table_batch_rows: -3"}},
      {"far table", [](Call& c) { c.table_batch_rows = INT64_MAX; }, {"table_batch_rows", "address space"}},
      {"far table", [=](Call& c) { c.table_batch_rows = huge; }, {"cos: ", "address space"}},
      {"far x", [=](Call& c) { c.x_batch_stride = huge; }, {"x: ", std::to_string(huge), "address space"}},
      {"far x", [=](Call& c) { c.x_seq_stride = huge; }, {"x: ", "address space"}},
      {"far x", [=](Call& c) { c.x_head_stride = huge / 2; }, {"x: ", "address space"}},
      {"far x", [=](Call& c) { c.x_batch_stride = c.x_seq_stride = huge / 2; }, {"x: ", "address space"}},
      {"far y", [=](Call& c) { c.y_batch_stride = huge; }, {"y: ", "2 x 3 x 4 heads", "address space"}},
      {"y within x", [](Call& c) { c.y = c.x + 2; }, {"y: shares memory with x"}},
      {"y at x",
       [](Call& c) { c.y = c.x, c.x_seq_stride = 65; },
       {"y: shares memory with x", "same address and strides"}},
      {"y at broadcast x", [](Call& c) { c.y = c.x, c.x_batch_stride = 0; }, {"y: shares memory with x"}},
      {"y at the end of x", [](Call& c) { c.y = c.x + 2 * (2 * 3 * 4 * 16 - 1); }, {"y: shares memory with x"}},
      {"x at the end of y", [](Call& c) { c.x = c.y + 2 * (2 * 3 * 4 * 16 - 1); }, {"y: shares memory with x"}},
      {"y on cos", [](Call& c) { c.cos = c.y + 100; }, {"y: shares memory with cos"}},
      {"y on sin", [](Call& c) { c.sin = c.y - 4 * 23; }, {"y: shares memory with sin"}},
  };
  for (const Wrong& wrong : wrongs) {
    Call call = valid();
    wrong.change(call);
    expectBothRefuse(call, wrong.parts, wrong.what);
  }
}

TEST_F(RotaryCalls, WhatIsRightIsTaken) {
  struct Right {
    const char* what;
    std::function<void(Call&)> change;
  };
  const std::vector<Right> rights = {
      {"as it is", [](Call&) {}},
      {"in place", [](Call& c) { c.y = c.x; }},
      {"broadcast batch", [](Call& c) { c.x_batch_stride = 0; }},
      {"broadcast heads", [](Call& c) { c.x_head_stride = 0; }},
      {"all of it one head", [](Call& c) { c.x_batch_stride = c.x_seq_stride = c.x_head_stride = 0; }},
      {"heads of x that overlap", [](Call& c) { c.x_head_stride = 1; }},
      {"shared rows", [](Call& c) { c.table_batch_rows = 0; }},
      {"one table", [](Call& c) { c.sin = c.cos; }},
      {"right behind x", [](Call& c) { c.y = c.x + 2 * 2 * 3 * 4 * 16; }},
      {"heads first", [](Call& c) { c.y_seq_stride = 16, c.y_head_stride = 48; }},
      {"tokens outermost", [](Call& c) { c.y_batch_stride = 64, c.y_seq_stride = 128; }},
      {"strides of a single batch do not matter", [](Call& c) { c.batch = 1, c.token_end = 3, c.y_batch_stride = -7; }},
      {"nor of a single token",
       [](Call& c) { c.seq = 1, c.token_end = 2, c.x_seq_stride = INT64_MIN, c.y_seq_stride = 0; }},
      {"nor of a single head", [](Call& c) { c.heads = 1, c.y_head_stride = INT64_MAX, c.x_head_stride = -1; }},
      {"in place, but for those", [](Call& c) { c.y = c.x, c.heads = 1, c.y_head_stride = 5, c.x_head_stride = 99; }},
      {"more rows of the table", [](Call& c) { c.table_batch_rows = 3, c.batch = 1, c.token_end = 3; }},
  };
  for (const Right& right : rights) {
    Call call = valid();
    right.change(call);
    expectBothTake(call, right.what);
  }
}

TEST_F(RotaryCalls, WithoutHeadsNothingIsDone) {
  for (int which = 0; which < 3; ++which) {
    Call call = valid();
    (which == 0 ? call.batch : which == 1 ? call.seq : call.heads) = 0;
    call.token_end = 0;
    const std::vector<uint16_t> before = memory_;
    EXPECT_EQ(NC_OK, call.cpu(cpu_)) << nc_last_error();
    call.x = call.y = call.cos = call.sin = 0;
    EXPECT_EQ(NC_OK, call.cpu(cpu_)) << nc_last_error();
    fake().calls.clear();
    EXPECT_EQ(NC_OK, call.cuda(cuda_)) << nc_last_error();
    EXPECT_EQ(Strings{}, fake().calls);
    EXPECT_TRUE(before == memory_);
    call.backward = 3;
    expectRefused(NC_INVALID_ARGUMENT, call.cpu(cpu_), {"backward: 3"}, "what is wrong all the same");
  }
}

// The plugin's arguments: strides in bytes, 0 for a dimension of size 1.
TEST_F(RotaryCalls, KernelsGetWhatWasAsked) {
  EXPECT_EQ(16, fake().rotary_spec.head_dim);
  EXPECT_EQ(8, fake().rotary_spec.rotary_dim);
  EXPECT_EQ(nc::DType::bfloat16, fake().rotary_spec.x);
  EXPECT_EQ(nc::DType::float32, fake().rotary_spec.table);
  Call call = valid();
  call.backward = 1;
  call.heads = 1;
  check(call.cuda(cuda_, 99));
  EXPECT_EQ("rotary 1 99", fake().calls.back());
  EXPECT_EQ(nc::RotaryRounding::input, fake().rotary_spec.rounding);
  EXPECT_EQ(nc::RotaryLayout::half_split, fake().rotary_spec.layout);
  const nc::RotaryArguments& a = fake().rotary;
  EXPECT_EQ(3, a.seq);
  EXPECT_EQ(1, a.heads);
  EXPECT_EQ(0, a.token_begin);
  EXPECT_EQ(6, a.token_end);
  EXPECT_EQ(call.x, at(a.x));
  EXPECT_EQ(call.y, at(a.y));
  EXPECT_EQ(call.cos, at(a.cos));
  EXPECT_EQ(call.sin, at(a.sin));
  EXPECT_EQ(3, a.table_batch_rows);
  EXPECT_TRUE(a.backward);
  for (const nc::HeadStrides& strides : {a.x_strides, a.y_strides}) {
    EXPECT_EQ(384, strides.batch);
    EXPECT_EQ(128, strides.seq);
    EXPECT_EQ(0, strides.head);
  }
}

TEST_F(RotaryCalls, AddressesOfAnotherDeviceAreRefused) {
  const Call call = valid();
  const int64_t addresses[] = {call.x, call.cos, call.sin, call.y};
  const char* names[] = {"x", "cos", "sin", "y"};
  for (size_t i = 0; i < 4; ++i) {
    for (const int32_t place : {0, nc::kUnknownMemory}) {
      const RotaryPlan plan(validSpec(NC_DEVICE_CUDA, 1));
      fake().places = {{addresses[i], place}};
      fake().calls.clear();
      char hex[32];
      std::snprintf(hex, sizeof(hex), "%llx", static_cast<unsigned long long>(addresses[i]));
      expectRefused(NC_INVALID_ARGUMENT, call.cuda(plan),
                    {std::string(names[i]) + ": address", hex, "expected that of device 1"}, names[i]);
      EXPECT_EQ(Strings{}, fake().calls);
      fake().places.clear();
      EXPECT_EQ(NC_OK, call.cuda(plan));
    }
  }
  // Each address is looked up once.
  fake().lookups.clear();
  check(call.cuda(cuda_));
  check(call.cuda(cuda_));
  EXPECT_EQ(4u, fake().lookups.size());
}

TEST_F(RotaryCalls, ErrorsOfThePluginAreNamed) {
  fake().errors["rotary"] = 700;
  EXPECT_EQ(NC_CUDA_ERROR, valid().cuda(cuda_));
  EXPECT_NE(nullptr, strstr(nc_last_error(), "starting the rotary embedding on CUDA device 1: cudaErrorFake"));
  fake().errors = {{"rotary_prepare", 2}};
  const nc_rotary_spec spec = validSpec(NC_DEVICE_CUDA, 0);
  int64_t plan = 77;
  EXPECT_EQ(NC_OUT_OF_MEMORY, nc_rotary_plan_create(&spec, &plan));
  EXPECT_NE(nullptr, strstr(nc_last_error(), "preparing the kernels on CUDA device 0"));
  EXPECT_EQ(77, plan);
}

// Random strides and addresses against the sets of bytes that they cover: accepted tensors never overlap, and refused
// tensors of equal strides always do.
TEST_F(RotaryArguments, OverlapIsDetectedByBytes) {
  nc_rotary_spec spec = validSpec(NC_DEVICE_CUDA, 1);
  spec.head_dim = 3;
  spec.rotary_dim = 2;
  const RotaryPlan plan(spec);
  std::mt19937_64 random(1);
  const auto draw = [&](int64_t below) { return static_cast<int64_t>(random() % static_cast<uint64_t>(below)); };
  constexpr int64_t kTables = 1 << 20, kX = 1 << 22;
  int taken = 0, apart_refused = 0, own_refused = 0, pair_refused = 0;
  for (int round = 0; round < 60000; ++round) {
    Call call;
    call.batch = 1 + draw(3);
    call.seq = 1 + draw(3);
    call.heads = 1 + draw(3);
    call.cos = call.sin = kTables;
    call.table_batch_rows = 0;
    call.x = kX;
    int64_t* const y_strides[] = {&call.y_batch_stride, &call.y_seq_stride, &call.y_head_stride};
    int64_t* const x_strides[] = {&call.x_batch_stride, &call.x_seq_stride, &call.x_head_stride};
    const bool equal = draw(4) != 0;
    if (draw(2) == 0) {
      // Nested strides, with gaps.
      int64_t reach = 3;
      for (const int64_t i : {2, 1, 0}) {
        const int64_t extent = i == 0 ? call.batch : i == 1 ? call.seq : call.heads;
        *y_strides[i] = reach + draw(5);
        reach += (extent - 1) * *y_strides[i];
      }
    } else {
      for (int64_t* stride : y_strides) *stride = draw(30);
    }
    for (int i = 0; i < 3; ++i) *x_strides[i] = equal ? *y_strides[i] : draw(30);
    call.y = kX + draw(160) - 80;
    const auto bytesOf = [&](int64_t base, int64_t* const strides[3], bool& twice) {
      std::set<int64_t> bytes;
      for (int64_t b = 0; b < call.batch; ++b) {
        for (int64_t s = 0; s < call.seq; ++s) {
          for (int64_t h = 0; h < call.heads; ++h) {
            for (int64_t i = 0; i < 6; ++i) {
              twice |= !bytes.insert(base + 2 * (b * *strides[0] + s * *strides[1] + h * *strides[2]) + i).second;
            }
          }
        }
      }
      return bytes;
    };
    bool y_twice = false, x_twice = false;
    const std::set<int64_t> y = bytesOf(call.y, y_strides, y_twice), x = bytesOf(call.x, x_strides, x_twice);
    bool shared = false;
    for (const int64_t byte : y) shared |= x.count(byte) != 0;
    const int64_t extents[] = {call.batch, call.seq, call.heads};
    bool same_strides = true;
    for (int i = 0; i < 3; ++i) same_strides &= extents[i] == 1 || *x_strides[i] == *y_strides[i];
    const bool in_place = same_strides && call.x == call.y;
    const int32_t status = call.cuda(plan);
    const std::string message = nc_last_error();
    if (status == NC_OK) {
      ++taken;
      ASSERT_FALSE(y_twice) << "round " << round;
      ASSERT_TRUE(!shared || in_place) << "round " << round;
    } else if (message.find("shares memory with x") != std::string::npos) {
      ++pair_refused;
      ASSERT_TRUE(shared || !same_strides) << "round " << round << ": " << message;
    } else {
      ASSERT_NE(std::string::npos, message.find("y: ")) << message;
      ASSERT_NE(std::string::npos, message.find("the extent of the shorter strides")) << message;
      ++(y_twice ? own_refused : apart_refused);
    }
  }
  for (const int count : {taken, own_refused, pair_refused}) EXPECT_GT(count, 1000);
  // Strides that do not nest are refused even if no two elements overlap.
  EXPECT_GT(apart_refused, 100);
}

}  // namespace
