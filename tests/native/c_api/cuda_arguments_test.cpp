// The C interface of CUDA, without CUDA: it reports why CUDA is unavailable and, with a fake plugin that records its
// calls, which calls reach a device and which are refused before.

#include <dlfcn.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <atomic>
#include <cstddef>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <thread>
#include <type_traits>

#include "c_api/refusal.h"
#include "c_api/use_fake_plugin.h"
#include "support/harness.h"

namespace {

using namespace harness;

constexpr char kVariable[] = "NORMCORE_CUDA_LIBRARY";

nc_norm_spec cudaSpec(int32_t op, int64_t n, int32_t device) {
  nc_norm_spec spec = makeSpec(op, NC_BFLOAT16, NC_FLOAT32, NC_FLOAT16, n);
  spec.device_type = NC_DEVICE_CUDA;
  spec.device_index = device;
  return spec;
}

// Every function that needs CUDA, with valid arguments.
std::vector<std::pair<const char*, std::function<int32_t()>>> callsThatNeedCuda() {
  static int64_t handle, out;
  static int32_t count;
  static nc_cuda_device device{};
  device.struct_size = sizeof(device);
  return {
      {"nc_cuda_device_count", [] { return nc_cuda_device_count(&count); }},
      {"nc_cuda_device_query", [] { return nc_cuda_device_query(0, &device); }},
      {"nc_cuda_allocate", [] { return nc_cuda_allocate(0, 16, &out); }},
      {"nc_cuda_free", [] { return nc_cuda_free(0, 0); }},
      {"nc_cuda_copy", [] { return nc_cuda_copy(0, 0, 0, 0, 0); }},
      {"nc_cuda_zero", [] { return nc_cuda_zero(0, 0, 0, 0); }},
      {"nc_cuda_stream_create", [] { return nc_cuda_stream_create(0, &out); }},
      {"nc_cuda_stream_destroy", [] { return nc_cuda_stream_destroy(0, 0); }},
      {"nc_cuda_stream_synchronize", [] { return nc_cuda_stream_synchronize(0, 0); }},
      {"nc_cuda_host_allocate", [] { return nc_cuda_host_allocate(16, &out); }},
      {"an FP8 plan of a device",
       [] {
         nc_fp8_spec spec{};
         spec.struct_size = sizeof(spec);
         spec.format = NC_FLOAT8_E4M3;
         spec.scaling = NC_SCALING_TENSOR;
         spec.device_type = NC_DEVICE_CUDA;
         return nc_fp8_plan_create(&spec, &handle);
       }},
      {"a plan of a device",
       [] {
         const nc_norm_spec spec = cudaSpec(NC_RMS_NORM, 64, 0);
         return nc_norm_plan_create(&spec, &handle);
       }},
      {"a rotary plan of a device",
       [] {
         nc_rotary_spec spec{};
         spec.struct_size = sizeof(spec);
         spec.x_dtype = spec.table_dtype = NC_FLOAT32;
         spec.head_dim = spec.rotary_dim = 64;
         spec.device_type = NC_DEVICE_CUDA;
         return nc_rotary_plan_create(&spec, &handle);
       }},
  };
}

// The library caches the reason, so each one has a process of its own.
class CudaAbsenceDeathTest : public ::testing::Test {
 protected:
  CudaAbsenceDeathTest() { GTEST_FLAG_SET(death_test_style, "threadsafe"); }

  // Ends the process and writes the reason to standard error; status 0 if every call gives it.
  [[noreturn]] static void ask() {
    int32_t count = 77;
    int wrong = nc_cuda_device_count(&count) == NC_UNSUPPORTED && count == 77 ? 0 : 1;
    const std::string reason = nc_last_error();
    std::fprintf(stderr, "%s\n", reason.c_str());
    for (const auto& [name, call] : callsThatNeedCuda()) {
      if (call() == NC_UNSUPPORTED && reason == nc_last_error()) continue;
      std::fprintf(stderr, "%s: %s\n", name, nc_last_error());
      ++wrong;
    }
    _exit(wrong);
  }
  [[noreturn]] static void askOf(const char* library) {
    setenv(kVariable, library, 1);
    ask();
  }
};

const auto kAllAgree = ::testing::ExitedWithCode(0);

TEST_F(CudaAbsenceDeathTest, NoLibrary) {
  if (dlopen("libnormcore_cuda.so", RTLD_NOW) != nullptr) {
    GTEST_SKIP() << "there is a plugin where the dynamic linker looks";
  }
  const char* reason =
      "^CUDA: libnormcore_cuda.so .*classifier linux-x86_64-gpu.*NORMCORE_CUDA_LIBRARY \\(dlopen: .+\\)";
  EXPECT_EXIT(
      {
        unsetenv(kVariable);
        ask();
      },
      kAllAgree, reason);
  EXPECT_EXIT(askOf(""), kAllAgree, reason);
}

TEST_F(CudaAbsenceDeathTest, AFileThatIsNotThere) {
  EXPECT_EXIT(askOf("/nowhere/plugin.so"), kAllAgree, "^CUDA: .*NORMCORE_CUDA_LIBRARY .*\\(dlopen: /nowhere/plugin.so");
}

TEST_F(CudaAbsenceDeathTest, ALibraryThatIsNoPlugin) {
  EXPECT_EXIT(askOf("libm.so.6"), kAllAgree, "^CUDA: libm.so.6 is not a plugin .*nc_cuda_plugin");
}

TEST_F(CudaAbsenceDeathTest, APluginOfAnotherVersion) {
  EXPECT_EXIT(askOf(OTHER_PLUGIN_FILE), kAllAgree, "^CUDA: the plugin .* has interface version 1000, expected [0-9]+:");
}

TEST_F(CudaAbsenceDeathTest, NoDriver) {
  EXPECT_EXIT(
      {
        fake().errors["device_count"] = 35;
        ask();
      },
      kAllAgree, "^CUDA: the driver is missing or too old: cudaErrorFake \\(a fake error\\); install");
}

TEST_F(CudaAbsenceDeathTest, NoDevice) {
  EXPECT_EXIT(
      {
        fake().errors["device_count"] = 100;
        ask();
      },
      kAllAgree, "^CUDA: no device can be used: cudaErrorFake \\(a fake error\\)");
  EXPECT_EXIT(
      {
        fake().devices = 0;
        ask();
      },
      kAllAgree, "^CUDA: the driver reports no device");
}

TEST_F(CudaAbsenceDeathTest, IsKept) {
  EXPECT_EXIT(
      {
        int32_t count = 0;
        fake().errors["device_count"] = 100;
        nc_cuda_device_count(&count);
        fake().errors.clear();
        ask();
      },
      kAllAgree, "no device can be used");
}

TEST_F(CudaAbsenceDeathTest, ALoadedPluginIsFound) {
  EXPECT_EXIT(
      {
        unsetenv(kVariable);
        fake();
        int32_t count = 0;
        const int32_t status = nc_cuda_device_count(&count);
        std::fprintf(stderr, "%d devices\n", count);
        _exit(status);
      },
      ::testing::ExitedWithCode(NC_OK), "^2 devices");
}

TEST_F(CudaAbsenceDeathTest, ThreadsThatAskFirstTogetherAskOnce) {
  EXPECT_EXIT(
      {
        std::vector<std::thread> threads;
        std::atomic<int> answered{0};
        for (int i = 0; i < 8; ++i) {
          threads.emplace_back([&] {
            int32_t count = 0;
            if (nc_cuda_device_count(&count) == NC_OK && count == 2) ++answered;
          });
        }
        for (std::thread& thread : threads) thread.join();
        _exit(answered == 8 && fake().calls == Strings{"device_count"} ? 0 : 1);
      },
      ::testing::ExitedWithCode(0), "");
}

// With the fake plugin's two devices.
class CudaArguments : public ::testing::Test {
 protected:
  CudaArguments() {
    int32_t count = 0;
    check(nc_cuda_device_count(&count));
    EXPECT_EQ(2, count);
    fake() = FakePlugin();
  }
};

TEST_F(CudaArguments, DevicesAreDescribed) {
  for (int32_t i = 0; i < 2; ++i) {
    nc_cuda_device device{};
    device.struct_size = sizeof(device);
    device.reserved = 7;
    check(nc_cuda_device_query(i, &device));
    EXPECT_EQ(80 + 10 * i, device.compute_capability);
    EXPECT_EQ(100 + i, device.multiprocessors);
    EXPECT_EQ((int64_t{1} << 34) + i, device.memory_bytes);
    EXPECT_EQ(0, device.reserved);
    EXPECT_EQ("Fake " + std::to_string(i), device.name);
  }
  // A caller of a newer header has more fields, which the library leaves alone.
  struct Newer {
    nc_cuda_device device;
    int64_t more;
  } newer{{}, 5};
  newer.device.struct_size = sizeof(newer);
  check(nc_cuda_device_query(1, &newer.device));
  EXPECT_EQ(sizeof(newer), newer.device.struct_size);
  EXPECT_EQ(90, newer.device.compute_capability);
  EXPECT_EQ(5, newer.more);
}

TEST_F(CudaArguments, CallsReachThePlugin) {
  int64_t address = 0, stream = 0;
  check(nc_cuda_allocate(1, 4096, &address));
  EXPECT_EQ(0x10000, address);
  check(nc_cuda_allocate(0, 0, &address));
  check(nc_cuda_free(1, 4096));
  check(nc_cuda_copy(0, 1000, 2000, 300, 55));
  check(nc_cuda_zero(1, 1000, 300, 0));
  check(nc_cuda_stream_create(1, &stream));
  EXPECT_EQ(0x5000, stream);
  check(nc_cuda_stream_synchronize(1, 0));
  check(nc_cuda_stream_synchronize(0, 55));
  check(nc_cuda_stream_destroy(1, 55));
  EXPECT_EQ((Strings{"allocate 1 4096", "allocate 0 1", "free 1 4096", "copy 0 1000 2000 300 55", "zero 1 1000 300 0",
                     "stream_create 1", "stream_synchronize 1 0", "stream_synchronize 0 55", "stream_destroy 1 55"}),
            fake().calls);
}

TEST_F(CudaArguments, CallsWithoutWorkDoNotReachThePlugin) {
  check(nc_cuda_free(0, 0));
  check(nc_cuda_stream_destroy(0, 0));
  check(nc_cuda_copy(0, 0, 0, 0, 0));
  check(nc_cuda_zero(0, 0, 0, 0));
  EXPECT_EQ(Strings{}, fake().calls);
}

TEST_F(CudaArguments, WrongCallsAreRefused) {
  const int32_t invalid = NC_INVALID_ARGUMENT;
  int64_t out = 77;
  nc_cuda_device device{};
  device.struct_size = sizeof(device);
  for (const int32_t index : {-1, 2, INT32_MAX}) {
    const Strings parts = {"device", std::to_string(index), "expected 0 to 1"};
    expectRefused(invalid, nc_cuda_device_query(index, &device), parts, "device_query");
    expectRefused(invalid, nc_cuda_allocate(index, 16, &out), parts, "allocate");
    expectRefused(invalid, nc_cuda_free(index, 16), parts, "free");
    expectRefused(invalid, nc_cuda_copy(index, 100, 200, 16, 0), parts, "copy");
    expectRefused(invalid, nc_cuda_zero(index, 100, 16, 0), parts, "zero");
    expectRefused(invalid, nc_cuda_stream_create(index, &out), parts, "stream_create");
    expectRefused(invalid, nc_cuda_stream_destroy(index, 5), parts, "stream_destroy");
    expectRefused(invalid, nc_cuda_stream_synchronize(index, 5), parts, "stream_synchronize");
  }
  expectRefused(invalid, nc_cuda_device_count(nullptr), {"count", "null"}, "device_count");
  expectRefused(invalid, nc_cuda_device_query(0, nullptr), {"answer", "null"}, "device_query");
  device.struct_size = 12;
  expectRefused(invalid, nc_cuda_device_query(0, &device), {"answer: struct_size 12", "at least"}, "device_query");
  device.struct_size = sizeof(device);
  expectRefused(invalid, nc_cuda_allocate(0, -1, &out), {"bytes", "-1"}, "allocate");
  expectRefused(invalid, nc_cuda_allocate(0, 16, nullptr), {"address", "null"}, "allocate");
  expectRefused(invalid, nc_cuda_copy(0, 100, 200, -5, 0), {"bytes", "-5"}, "copy");
  expectRefused(invalid, nc_cuda_copy(0, 0, 200, 16, 0), {"target", "0"}, "copy");
  expectRefused(invalid, nc_cuda_copy(0, 100, 0, 16, 0), {"source", "0"}, "copy");
  expectRefused(invalid, nc_cuda_copy(0, 100, 115, 16, 0), {"target", "source"}, "copy");
  expectRefused(invalid, nc_cuda_copy(0, 100, 200, INT64_MAX, 0), {"target", std::to_string(INT64_MAX)}, "copy");
  expectRefused(invalid, nc_cuda_zero(0, 100, -5, 0), {"bytes", "-5"}, "zero");
  expectRefused(invalid, nc_cuda_zero(0, 0, 16, 0), {"address", "0"}, "zero");
  expectRefused(invalid, nc_cuda_stream_create(0, nullptr), {"stream", "null"}, "stream_create");
  EXPECT_EQ(77, out);
  EXPECT_EQ(Strings{}, fake().calls);
}

TEST_F(CudaArguments, ErrorsOfTheRuntimeHaveNameAndText) {
  int64_t out = 77;
  nc_cuda_device device{};
  device.struct_size = sizeof(device);
  const nc_norm_spec spec = cudaSpec(NC_RMS_NORM, 64, 1);
  const std::vector<std::pair<const char*, std::function<int32_t()>>> calls = {
      {"device", [&] { return nc_cuda_device_query(1, &device); }},
      {"allocate", [&] { return nc_cuda_allocate(1, 12345, &out); }},
      {"free", [&] { return nc_cuda_free(1, 16); }},
      {"copy", [&] { return nc_cuda_copy(1, 100, 200, 16, 0); }},
      {"zero", [&] { return nc_cuda_zero(1, 100, 16, 0); }},
      {"stream_create", [&] { return nc_cuda_stream_create(1, &out); }},
      {"stream_destroy", [&] { return nc_cuda_stream_destroy(1, 5); }},
      {"stream_synchronize", [&] { return nc_cuda_stream_synchronize(1, 5); }},
      {"device", [&] { return nc_norm_plan_create(&spec, &out); }},
      {"prepare", [&] { return nc_norm_plan_create(&spec, &out); }},
  };
  for (const auto& [name, call] : calls) {
    fake().errors = {{name, 700}};
    expectRefused(NC_CUDA_ERROR, call(), {"device 1", "cudaErrorFake (a fake error)"}, name);
    fake().errors = {{name, 2}};
    expectRefused(NC_OUT_OF_MEMORY, call(), {"device 1", "cudaErrorMemoryAllocation (out of memory)"}, name);
    EXPECT_EQ(77, out) << name;
  }
  fake().errors = {{"allocate", 2}};
  expectRefused(NC_OUT_OF_MEMORY, nc_cuda_allocate(1, 12345, &out), {"12345 bytes"}, "allocate");
}

TEST_F(CudaArguments, PlansArePreparedOnTheirDevice) {
  nc_norm_spec spec = cudaSpec(NC_LAYER_NORM, 4096, 1);
  spec.scale_rounding = NC_ROUND_WEIGHT;
  spec.variance = NC_VARIANCE_WELFORD;
  spec.epsilon = 0.125;
  const Plan plan(spec);
  EXPECT_EQ((Strings{"device 1", "prepare 1"}), fake().calls);
  const nc::NormSpec& prepared = fake().prepared.spec;
  EXPECT_EQ(1, fake().prepared.device);
  EXPECT_EQ(nc::Op::layer_norm, prepared.op);
  EXPECT_EQ(nc::DType::bfloat16, prepared.x);
  EXPECT_EQ(nc::DType::float32, prepared.weight);
  EXPECT_EQ(nc::DType::float16, prepared.y);
  EXPECT_TRUE(prepared.has_weight && prepared.has_bias);
  EXPECT_EQ(nc::ScaleRounding::weight, prepared.scale_rounding);
  EXPECT_EQ(nc::Variance::welford, prepared.variance);
  EXPECT_EQ(4096, prepared.hidden_size);
  EXPECT_EQ(0.125, prepared.epsilon);
}

TEST_F(CudaArguments, WrongPlansAreRefused) {
  const auto refused = [](nc_norm_spec spec, int32_t nc_norm_spec::*field, int32_t value, const Strings& parts) {
    spec.*field = value;
    int64_t plan = 77;
    expectRefused(NC_INVALID_ARGUMENT, nc_norm_plan_create(&spec, &plan), parts, parts[0] + " " + parts[1]);
    EXPECT_EQ(77, plan);
  };
  using S = nc_norm_spec;
  const nc_norm_spec spec = cudaSpec(NC_LAYER_NORM, 64, 0);
  refused(spec, &S::device_index, -1, {"device_index", "-1", "expected 0 to 1"});
  refused(spec, &S::device_index, 2, {"device_index", "2", "expected 0 to 1"});
  refused(spec, &S::device_type, 2, {"device_type", "2"});
  refused(spec, &S::cpu_level, NC_CPU_PLAIN, {"cpu_level", "1", "expected 0"});
  refused(spec, &S::cpu_level, 5, {"cpu_level", "5"});
  refused(spec, &S::scale_rounding, 3, {"scale_rounding", "3"});
  EXPECT_EQ(Strings{}, fake().calls);
}

// The norm calls on either device, with the same arguments in host memory, which the fake device accepts as its own.
class CudaNormCalls : public CudaArguments {
 protected:
  static constexpr int64_t kRows = 5, kN = 12, kStride = 16;
  static constexpr int64_t kStream = 1234;

  // The fields before `rows` are not changed by the tests.
  struct Forward : nc_norm_forward_args {
    int32_t cuda(int64_t plan) const {
      nc_norm_forward_args args = *this;
      args.stream = kStream;
      return nc_norm_forward(plan, &args);
    }
    int32_t cpu(int64_t plan) const { return nc_norm_forward(plan, this); }
  };
  struct Backward : nc_norm_backward_args {
    int32_t cuda(int64_t plan) const {
      nc_norm_backward_args args = *this;
      args.stream = kStream;
      return nc_norm_backward(plan, &args);
    }
    int32_t cpu(int64_t plan) const { return nc_norm_backward(plan, this); }
  };

  CudaNormCalls() {
    fake().calls.clear();
    for (auto* buffer : {&x, &residual, &y, &out, &dy, &dx, &dresidual}) buffer->assign(4096, 1);
    for (auto* buffer : {&weight, &bias, &mean, &rstd, &dweight, &dbias}) buffer->assign(4096, 1);
    check(nc_norm_backward_workspace(layer, kRows, 1, 1, &bytes));
    workspace.assign(4096, 1);
  }

  static int64_t at(const void* p) { return reinterpret_cast<int64_t>(p); }

  Forward forward() const {
    Forward f{argsOf<nc_norm_forward_args>()};
    f.rows = kRows;
    f.x = at(&x[0]), f.x_stride = kStride;
    f.residual = at(&residual[0]), f.residual_stride = kStride;
    f.weight = at(&weight[0]), f.bias = at(&bias[0]);
    f.y = at(&y[0]), f.y_stride = kStride + 1;
    f.residual_out = at(&out[0]), f.residual_out_stride = kStride + 2;
    f.mean = at(&mean[0]), f.rstd = at(&rstd[0]);
    return f;
  }
  Backward backward() const {
    Backward b{argsOf<nc_norm_backward_args>()};
    b.rows = kRows;
    b.x = at(&x[0]), b.x_stride = kStride;
    b.weight = at(&weight[0]);
    b.dy = at(&dy[0]), b.dy_stride = kStride + 1;
    b.mean = at(&mean[0]), b.rstd = at(&rstd[0]);
    b.dresidual = at(&dresidual[0]), b.dresidual_stride = kStride + 2;
    b.dx = at(&dx[0]), b.dx_stride = kStride + 3;
    b.workspace = at(&workspace[0]), b.workspace_bytes = bytes;
    b.dweight = at(&dweight[0]), b.dweight_dtype = NC_FLOAT32, b.dweight_mode = NC_GRADIENT_WRITE;
    b.dbias = at(&dbias[0]), b.dbias_dtype = NC_FLOAT32, b.dbias_mode = NC_GRADIENT_ACCUMULATE;
    return b;
  }

  static nc_norm_spec onCpu(nc_norm_spec spec) {
    spec.device_type = NC_DEVICE_CPU;
    spec.device_index = 0;
    return spec;
  }

  // Changes every field of the call in turn to values that are wrong or right for one field or another. Addresses
  // become other readable and writable ones, or 0.
  template <class Call, class Body>
  void forEveryChange(const Call& valid, Body body) {
    // Between struct_size and stream: 64-bit fields and, in the backward, four of 32 bits.
    constexpr size_t begin = offsetof(Call, rows), end = offsetof(Call, stream);
    const auto is_address = [](int64_t field) { return field > 4096; };
    const std::vector<int64_t> numbers = {-3, 0, 1, 2, 3, 11, 12, 17, int64_t{1} << 60};
    std::vector<size_t> places;
    for (size_t at = begin; at < end; at += widthOf<Call>(at)) places.push_back(at);
    std::vector<int64_t> addresses = {0};
    for (const size_t place : places) {
      const int64_t field = get(valid, place);
      if (is_address(field)) addresses.insert(addresses.end(), {field, field + 4, field + 64});
    }
    for (const size_t place : places) {
      for (const int64_t value : is_address(get(valid, place)) ? addresses : numbers) {
        // The buffers have no more rows than this.
        if (place == begin && value > kRows) continue;
        Call call = valid;
        std::memcpy(reinterpret_cast<char*>(&call) + place, &value, widthOf<Call>(place));
        body(call, "the field at byte " + std::to_string(place) + " = " + std::to_string(value));
      }
    }
  }
  template <class Call>
  static size_t widthOf(size_t place) {
    if constexpr (std::is_same_v<Call, Backward>) {
      if (place >= offsetof(nc_norm_backward_args, dweight_dtype)) return sizeof(int32_t);
    }
    return place < offsetof(Call, stream) ? sizeof(int64_t) : 0;
  }
  template <class Call>
  static int64_t get(const Call& call, size_t place) {
    int64_t value = 0;
    std::memcpy(&value, reinterpret_cast<const char*>(&call) + place, widthOf<Call>(place));
    return value;
  }

  const nc_norm_spec layerSpec = makeCudaSpec(NC_LAYER_NORM), rmsSpec = makeCudaSpec(NC_RMS_NORM);
  const Plan layer{layerSpec}, rms{rmsSpec};
  int64_t bytes = 0;
  std::vector<float> x, residual, y, out, dy, dx, dresidual, weight, bias, mean, rstd, dweight, dbias;
  std::vector<double> workspace;

 private:
  static nc_norm_spec makeCudaSpec(int32_t op) {
    nc_norm_spec spec = makeSpec(op, NC_FLOAT32, NC_FLOAT32, NC_FLOAT32, kN);
    spec.device_type = NC_DEVICE_CUDA;
    spec.device_index = 1;
    return spec;
  }
};

TEST_F(CudaNormCalls, ForwardReachesThePlugin) {
  const Forward f = forward();
  check(f.cuda(layer));
  EXPECT_EQ(Strings{"forward 1 1234"}, fake().calls);
  EXPECT_EQ(0, std::memcmp(&fake().norm, &fake().prepared, offsetof(nc::CudaNorm, spec)));
  EXPECT_STREQ("kernels for device 1", fake().norm.kernels);
  const nc::ForwardArguments& a = fake().forward;
  EXPECT_EQ(0, a.row_begin);
  EXPECT_EQ(kRows, a.row_end);
  EXPECT_EQ(f.x, at(a.x));
  EXPECT_EQ(4 * f.x_stride, a.x_stride);
  EXPECT_EQ(f.residual, at(a.residual));
  EXPECT_EQ(4 * f.residual_stride, a.residual_stride);
  EXPECT_EQ(f.weight, at(a.weight));
  EXPECT_EQ(f.bias, at(a.bias));
  EXPECT_EQ(f.y, at(a.y));
  EXPECT_EQ(4 * f.y_stride, a.y_stride);
  EXPECT_EQ(f.residual_out, at(a.residual_out));
  EXPECT_EQ(4 * f.residual_out_stride, a.residual_out_stride);
  EXPECT_EQ(f.mean, at(a.mean));
  EXPECT_EQ(f.rstd, at(a.rstd));

  Forward inference = forward();
  inference.residual = inference.residual_out = inference.bias = inference.mean = inference.rstd = 0;
  check(inference.cuda(rms));
  for (const void* p :
       {static_cast<const void*>(a.residual), static_cast<const void*>(a.bias),
        static_cast<const void*>(a.residual_out), static_cast<const void*>(a.mean), static_cast<const void*>(a.rstd)}) {
    EXPECT_EQ(nullptr, p);
  }
}

TEST_F(CudaNormCalls, BackwardReachesThePlugin) {
  const Backward b = backward();
  check(b.cuda(layer));
  EXPECT_EQ((Strings{"backward 1 1234", "columns 1 1234"}), fake().calls);
  const nc::BackwardArguments& a = fake().backward;
  EXPECT_EQ(kRows, a.rows);
  EXPECT_EQ(0, a.group_begin);
  EXPECT_EQ(nc::groups(kRows, kN), a.group_end);
  EXPECT_EQ(b.x, at(a.x));
  EXPECT_EQ(4 * b.x_stride, a.x_stride);
  EXPECT_EQ(b.weight, at(a.weight));
  EXPECT_EQ(b.dy, at(a.dy));
  EXPECT_EQ(4 * b.dy_stride, a.dy_stride);
  EXPECT_EQ(b.mean, at(a.mean));
  EXPECT_EQ(b.rstd, at(a.rstd));
  EXPECT_EQ(b.dresidual, at(a.dresidual));
  EXPECT_EQ(4 * b.dresidual_stride, a.dresidual_stride);
  EXPECT_EQ(b.dx, at(a.dx));
  EXPECT_EQ(4 * b.dx_stride, a.dx_stride);
  EXPECT_EQ(b.workspace, at(a.dweight_partials));
  EXPECT_EQ(b.workspace + bytes / 2, at(a.dbias_partials));
  ASSERT_EQ(2u, fake().columns.size());
  for (int i = 0; i < 2; ++i) {
    const nc::ColumnArguments& c = fake().columns[i];
    EXPECT_EQ(kRows, c.rows);
    EXPECT_EQ(0, c.column_begin);
    EXPECT_EQ(kN, c.column_end);
    EXPECT_EQ(i == 0 ? at(a.dweight_partials) : at(a.dbias_partials), at(c.partials));
    EXPECT_EQ(i == 0 ? b.dweight : b.dbias, at(c.gradient));
    EXPECT_EQ(nc::DType::float32, c.dtype);
    EXPECT_EQ(i == 1, c.accumulate);
  }
}

TEST_F(CudaNormCalls, BackwardLaunchesWhatIsWanted) {
  Backward b = backward();
  b.dweight_mode = NC_GRADIENT_ABSENT;
  check(b.cuda(layer));
  EXPECT_EQ((Strings{"backward 1 1234", "columns 1 1234"}), fake().calls);
  EXPECT_EQ(nullptr, fake().backward.dweight_partials);
  EXPECT_EQ(b.workspace, at(fake().backward.dbias_partials));
  ASSERT_EQ(1u, fake().columns.size());
  EXPECT_EQ(b.dbias, at(fake().columns[0].gradient));
  EXPECT_EQ(b.workspace, at(fake().columns[0].partials));

  fake().calls.clear();
  b.dbias_mode = NC_GRADIENT_ABSENT;
  b.workspace = b.workspace_bytes = b.dweight = b.dbias = 0;
  check(b.cuda(layer));
  EXPECT_EQ(Strings{"backward 1 1234"}, fake().calls);
  EXPECT_EQ(nullptr, fake().backward.dbias_partials);

  fake().calls.clear();
  b.dx = b.dresidual = 0;
  check(b.cuda(layer));
  EXPECT_EQ(Strings{}, fake().calls);

  b = backward();
  b.dx = b.dresidual = 0;
  check(b.cuda(layer));
  EXPECT_EQ((Strings{"backward 1 1234", "columns 1 1234"}), fake().calls);
  EXPECT_EQ(nullptr, fake().backward.dx);
}

TEST_F(CudaNormCalls, OfNoRowsOnlyWrittenGradientsAreLaunched) {
  Forward f = forward();
  f.rows = 0;
  check(f.cuda(layer));
  Backward b = backward();
  b.rows = b.workspace = b.workspace_bytes = 0;
  b.dweight_mode = NC_GRADIENT_ACCUMULATE;
  check(b.cuda(layer));
  EXPECT_EQ(Strings{}, fake().calls);
  b.dbias_mode = NC_GRADIENT_WRITE;
  check(b.cuda(layer));
  EXPECT_EQ(Strings{"columns 1 1234"}, fake().calls);
  ASSERT_EQ(1u, fake().columns.size());
  EXPECT_EQ(b.dbias, at(fake().columns[0].gradient));
  EXPECT_EQ(0, fake().columns[0].rows);
  b.dweight_mode = NC_GRADIENT_WRITE;
  fake().calls.clear();
  check(b.cuda(layer));
  EXPECT_EQ(Strings{"columns 1 1234"}, fake().calls);
  EXPECT_EQ(2u, fake().columns.size());
}

// For any change of one field, both devices accept the call, or refuse it with the same message.
TEST_F(CudaNormCalls, ForwardRefusesWhatTheCpuRefuses) {
  int refused = 0, accepted = 0;
  for (const nc_norm_spec& spec : {layerSpec, rmsSpec}) {
    const Plan cuda(spec), cpu(onCpu(spec));
    Forward valid = forward();
    if (spec.op == NC_RMS_NORM) valid.bias = valid.mean = 0;
    check(valid.cuda(cuda));
    forEveryChange(valid, [&](const Forward& call, const std::string& what) {
      fake().calls.clear();
      const int32_t status = call.cuda(cuda);
      const std::string message = status == NC_OK ? "" : nc_last_error();
      const int32_t expected = call.cpu(cpu);
      EXPECT_EQ(expected, status) << what << ": " << message;
      EXPECT_EQ(expected == NC_OK ? "" : nc_last_error(), message) << what;
      EXPECT_EQ(status == NC_OK && call.rows > 0 ? Strings{"forward 1 1234"} : Strings{}, fake().calls) << what;
      ++(status == NC_OK ? accepted : refused);
    });
  }
  EXPECT_GT(refused, 200);
  EXPECT_GT(accepted, 100);
}

TEST_F(CudaNormCalls, BackwardRefusesWhatTheCpuRefuses) {
  int refused = 0, accepted = 0;
  for (const nc_norm_spec& spec : {layerSpec, rmsSpec}) {
    const Plan cuda(spec), cpu(onCpu(spec));
    Backward valid = backward();
    if (spec.op == NC_RMS_NORM) valid.mean = 0, valid.dbias_mode = NC_GRADIENT_ABSENT;
    check(valid.cuda(cuda));
    forEveryChange(valid, [&](const Backward& call, const std::string& what) {
      fake().calls.clear();
      const int32_t status = call.cuda(cuda);
      const std::string message = status == NC_OK ? "" : nc_last_error();
      const int32_t expected = call.cpu(cpu);
      EXPECT_EQ(expected, status) << what << ": " << message;
      EXPECT_EQ(expected == NC_OK ? "" : nc_last_error(), message) << what;
      EXPECT_EQ(status != NC_OK, fake().calls.empty()) << what << ": " << message;
      ++(status == NC_OK ? accepted : refused);
    });
  }
  EXPECT_GT(refused, 200);
  EXPECT_GT(accepted, 100);
}

TEST_F(CudaNormCalls, GradientsShareNoMemoryWithAnything) {
  using B = Backward;
  const std::vector<std::pair<const char*, int64_t nc_norm_backward_args::*>> others = {
      {"x", &B::x},       {"weight", &B::weight},       {"dy", &B::dy}, {"mean", &B::mean},
      {"rstd", &B::rstd}, {"dresidual", &B::dresidual}, {"dx", &B::dx}, {"workspace", &B::workspace}};
  for (const auto& [gradient_name, gradient] : {std::pair("dweight", &B::dweight), std::pair("dbias", &B::dbias)}) {
    for (const auto& [name, other] : others) {
      Backward b = backward();
      b.*gradient = b.*other + 8;
      expectRefused(NC_INVALID_ARGUMENT, b.cuda(layer), {gradient_name, name, "shares memory"}, name);
    }
  }
  EXPECT_EQ(Strings{}, fake().calls);
}

TEST_F(CudaNormCalls, APlanIsForItsDevice) {
  const Plan cpu(onCpu(layerSpec));
  const Forward f = forward();
  const Backward b = backward();
  const int32_t invalid = NC_INVALID_ARGUMENT;
  expectRefused(invalid, f.cuda(cpu), {"stream: 4d2", "expected 0", "the CPU"}, "forward");
  expectRefused(invalid, b.cuda(cpu), {"stream: 4d2", "expected 0", "the CPU"}, "backward");
  expectRefused(invalid, f.cuda(0), {"plan", "0"}, "forward");
  expectRefused(invalid, b.cuda(0), {"plan", "0"}, "backward");
  alignas(NC_CALL_ALIGNMENT) char call[NC_CALL_BYTES];
  int64_t units[2];
  const Strings parts = {"plan: for CUDA device 1", "expected a plan for the CPU", "whole"};
  expectRefused(invalid, nc_norm_forward_begin(layer, &f, call, units), parts, "forward");
  expectRefused(invalid, nc_norm_backward_begin(layer, &b, call, units), parts, "backward");
  EXPECT_EQ(Strings{}, fake().calls);
  for (const int64_t rows : {0, 1, 77, 100000}) {
    int64_t expected = 0, got = 0;
    check(nc_norm_backward_groups(cpu, rows, &expected));
    check(nc_norm_backward_groups(layer, rows, &got));
    EXPECT_EQ(expected, got);
    check(nc_norm_backward_workspace(cpu, rows, 1, 1, &expected));
    check(nc_norm_backward_workspace(layer, rows, 1, 1, &got));
    EXPECT_EQ(expected, got);
  }
}

TEST_F(CudaNormCalls, KernelsAreNamed) {
  const Plan cpu(onCpu(layerSpec));
  char text[100];
  const auto ask = [&](int64_t plan, int64_t capacity) {
    return nc_cuda_norm_kernels(plan, reinterpret_cast<int64_t>(text), capacity);
  };
  check(ask(layer, sizeof text));
  EXPECT_STREQ("kernels for device 1", text);
  EXPECT_EQ(Strings{"describe 1 100"}, fake().calls);
  check(ask(layer, 8));
  EXPECT_STREQ("kernels", text);
  fake().calls.clear();
  const int32_t invalid = NC_INVALID_ARGUMENT;
  expectRefused(invalid, ask(layer, 0), {"capacity: 0", "at least 1"}, "capacity");
  expectRefused(invalid, nc_cuda_norm_kernels(layer, 0, 100), {"text: 0", "100 bytes"}, "text");
  expectRefused(invalid, ask(cpu, 100), {"plan", "the CPU"}, "plan");
  expectRefused(invalid, ask(0, 100), {"plan", "0"}, "plan");
  EXPECT_EQ(Strings{}, fake().calls);
}

TEST_F(CudaNormCalls, AddressesOfAnotherDeviceAreRefused) {
  const Strings forward_names = {"x", "residual", "weight", "bias", "y", "residual_out", "mean", "rstd"};
  const Forward f = forward();
  const int64_t addresses[] = {f.x, f.residual, f.weight, f.bias, f.y, f.residual_out, f.mean, f.rstd};
  for (size_t i = 0; i < forward_names.size(); ++i) {
    fake().place = 1;
    fake().places = {{addresses[i], 0}};
    const Plan plan(layerSpec);
    fake().calls.clear();
    char hex[32];
    std::snprintf(hex, sizeof(hex), "%llx", static_cast<unsigned long long>(addresses[i]));
    expectRefused(NC_INVALID_ARGUMENT, f.cuda(plan),
                  {forward_names[i] + ": address", hex, "device 0", "expected that of device 1"}, forward_names[i]);
    EXPECT_EQ(Strings{}, fake().calls);
    // A refused address is not cached.
    fake().places.clear();
    EXPECT_EQ(NC_OK, f.cuda(plan)) << nc_last_error();
  }
  const Strings backward_names = {"x",         "weight", "dy",        "mean",    "rstd",
                                  "dresidual", "dx",     "workspace", "dweight", "dbias"};
  const Backward b = backward();
  const int64_t more[] = {b.x, b.weight, b.dy, b.mean, b.rstd, b.dresidual, b.dx, b.workspace, b.dweight, b.dbias};
  for (size_t i = 0; i < backward_names.size(); ++i) {
    fake().places = {{more[i], 0}};
    const Plan plan(layerSpec);
    fake().calls.clear();
    expectRefused(NC_INVALID_ARGUMENT, b.cuda(plan),
                  {backward_names[i] + ": address", "device 0", "expected that of device 1"}, backward_names[i]);
    EXPECT_EQ(Strings{}, fake().calls);
  }
}

TEST_F(CudaNormCalls, HostMemoryIsTakenWhereKernelsReachIt) {
  fake().place = nc::kUnknownMemory;
  const Forward f = forward();
  expectRefused(NC_INVALID_ARGUMENT, f.cuda(layer), {"x: address", "not memory of a CUDA device", "device 1"}, "host");
  EXPECT_EQ(Strings{}, fake().calls);
  fake().host_memory_visible = 1;
  const Plan reaching(layerSpec);
  EXPECT_EQ(NC_OK, f.cuda(reaching)) << nc_last_error();
}

TEST_F(CudaNormCalls, AddressesAreLookedUpOncePerPlan) {
  Forward f = forward();
  f.y = f.x;
  f.y_stride = f.x_stride;
  check(f.cuda(layer));
  const std::vector<int64_t> expected = {f.x, f.residual, f.weight, f.bias, f.residual_out, f.mean, f.rstd};
  EXPECT_EQ(expected, fake().lookups);
  const Plan other(layerSpec);
  fake().lookups.clear();
  check(f.cuda(other));
  EXPECT_EQ(expected, fake().lookups);
}

// A loop over several buffers, like a training step, queries the driver once for each of them.
TEST_F(CudaNormCalls, AddressesInALoopAreRemembered) {
  const int64_t memory = int64_t{0x7f} << 40, buffer = 1 << 21, rows = 256;
  const int count = 64;
  for (int round = 0; round < 10; ++round) {
    for (int i = 0; i < count; ++i) {
      const int64_t y = memory + (count + i) * buffer, weight = memory + 2 * count * buffer;
      Forward f{argsOf<nc_norm_forward_args>()};
      f.rows = rows;
      f.x = memory + i * buffer, f.y = y;
      f.x_stride = f.y_stride = kN;
      f.weight = weight, f.bias = weight + 512;
      f.mean = weight + 1024 + i * 4096, f.rstd = weight + 3072 + i * 4096;
      check(f.cuda(layer));
    }
  }
  EXPECT_EQ(size_t{4} * count + 2, fake().lookups.size());
}

TEST_F(CudaNormCalls, AbsentAndEmptyTensorsAreNotLookedUp) {
  Forward f = forward();
  f.rows = f.residual = f.residual_out = 0;
  check(f.cuda(layer));
  EXPECT_EQ((std::vector<int64_t>{f.weight, f.bias}), fake().lookups);
}

TEST_F(CudaNormCalls, ErrorsOfLookupsAndLaunches) {
  fake().errors = {{"memory_device", 999}};
  expectRefused(NC_CUDA_ERROR, forward().cuda(layer), {"x", "device 1", "cudaErrorFake"}, "lookup");
  EXPECT_EQ(Strings{}, fake().calls);
  fake().errors = {{"forward", 719}};
  expectRefused(NC_CUDA_ERROR, forward().cuda(layer), {"forward", "device 1", "cudaErrorFake (a fake error)"},
                "forward");
  fake().calls.clear();
  fake().errors = {{"backward", 719}};
  expectRefused(NC_CUDA_ERROR, backward().cuda(layer), {"backward", "device 1", "cudaErrorFake"}, "backward");
  EXPECT_EQ(Strings{"backward 1 1234"}, fake().calls);
  fake().errors = {{"columns", 719}};
  expectRefused(NC_CUDA_ERROR, backward().cuda(layer), {"weight gradients", "device 1", "cudaErrorFake"}, "columns");
}

}  // namespace
