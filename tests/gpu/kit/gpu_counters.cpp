// gpu_counters DIRECTION DTYPE ROWSxN: launches RMSNorm once on device 0, so that ncu can read its hardware counters.
// Needs neither a framework nor a GPU allocator of its own; NORMCORE_CUDA_LIBRARY may name the plugin.
#include <cstdio>
#include <cstring>
#include <random>
#include <stdexcept>
#include <string>
#include <vector>

#include "normcore/normcore.h"

namespace {

void check(int32_t status) {
  if (status != NC_OK) throw std::runtime_error("status " + std::to_string(status) + ": " + nc_last_error());
}

// Device memory that is never freed.
int64_t allocated(int64_t bytes) {
  int64_t address = 0;
  check(nc_cuda_allocate(0, bytes, &address));
  return address;
}

// Random numbers; the first mebibyte is repeated. Not constants: kernels run faster on those.
int64_t random(int64_t bytes, int32_t dtype, float mean, float spread) {
  const int64_t address = allocated(bytes), size = dtype == NC_BFLOAT16 ? 2 : 4;
  const int64_t count = bytes / size < (1 << 18) ? bytes / size : 1 << 18;
  std::vector<uint8_t> pattern(static_cast<size_t>(count * size));
  std::mt19937 generator(7);
  std::normal_distribution<float> normal(mean, spread);
  for (int64_t i = 0; i < count; ++i) {
    const float value = normal(generator);
    uint32_t bits = 0;
    std::memcpy(&bits, &value, 4);
    if (size == 2) bits >>= 16;
    std::memcpy(pattern.data() + i * size, &bits, static_cast<size_t>(size));
  }
  int64_t done = count * size;
  check(nc_cuda_copy(0, address, reinterpret_cast<int64_t>(pattern.data()), done, 0));
  while (done < bytes) {
    const int64_t part = bytes - done < done ? bytes - done : done;
    check(nc_cuda_copy(0, address + done, address, part, 0));
    done += part;
  }
  check(nc_cuda_stream_synchronize(0, 0));
  return address;
}

void launch(bool backward, int32_t dtype, int64_t rows, int64_t n) {
  nc_norm_spec spec{};
  spec.struct_size = sizeof(spec);
  spec.op = NC_RMS_NORM;
  spec.x_dtype = spec.weight_dtype = spec.y_dtype = dtype;
  spec.affine = NC_AFFINE_WEIGHT;
  spec.hidden_size = n;
  spec.epsilon = 1e-5;
  spec.device_type = NC_DEVICE_CUDA;
  int64_t plan = 0;
  check(nc_norm_plan_create(&spec, &plan));
  const int64_t size = dtype == NC_BFLOAT16 ? 2 : 4, bytes = rows * n * size;
  const int64_t x = random(bytes, dtype, 0.25f, 1.0f), weight = random(n * size, dtype, 1.0f, 0.25f);
  const int64_t out = allocated(bytes);
  if (!backward) {
    nc_norm_forward_args args{};
    args.struct_size = sizeof(args);
    args.rows = rows;
    args.x = x, args.x_stride = n;
    args.weight = weight;
    args.y = out, args.y_stride = n;
    args.rstd = allocated(4 * rows);
    check(nc_norm_forward(plan, &args));
  } else {
    const int64_t dy = random(bytes, dtype, 0.0f, 1.0f), rstd = random(4 * rows, NC_FLOAT32, 1.0f, 0.05f);
    int64_t workspace = 0;
    check(nc_norm_backward_workspace(plan, rows, 1, 0, &workspace));
    nc_norm_backward_args args{};
    args.struct_size = sizeof(args);
    args.rows = rows;
    args.x = x, args.x_stride = n;
    args.weight = weight;
    args.dy = dy, args.dy_stride = n;
    args.rstd = rstd;
    args.dx = out, args.dx_stride = n;
    args.workspace = allocated(workspace + 8), args.workspace_bytes = workspace;
    args.dweight = allocated(n * size), args.dweight_dtype = dtype, args.dweight_mode = NC_GRADIENT_WRITE;
    check(nc_norm_backward(plan, &args));
  }
  check(nc_cuda_stream_synchronize(0, 0));
  check(nc_norm_plan_destroy(plan));
}

}  // namespace

int main(int count, char** arguments) {
  long long rows = 0, n = 0;
  if (count != 4 || std::sscanf(arguments[3], "%lldx%lld", &rows, &n) != 2 || rows <= 0 || n <= 0) {
    std::fprintf(stderr, "usage: gpu_counters forward|backward bfloat16|float32 ROWSxN\n");
    return 2;
  }
  const bool backward = std::strcmp(arguments[1], "backward") == 0;
  const int32_t dtype = std::strcmp(arguments[2], "bfloat16") == 0 ? NC_BFLOAT16 : NC_FLOAT32;
  try {
    launch(backward, dtype, rows, n);
  } catch (const std::exception& e) {
    std::fprintf(stderr, "gpu_counters: %s\n", e.what());
    return 1;
  }
  std::printf("launched %s %s %s\n", arguments[1], arguments[2], arguments[3]);
  return 0;
}
