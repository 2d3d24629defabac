// The FP8 calls. CPU calls compute in the calling thread. CUDA calls check all arguments before the first launch.
#include "../core/fp8_scale.h"
#include "cuda_memory.h"
#include "fp8_arguments.h"
#include "plan.h"

namespace nc {
namespace {

template <class Arguments>
bool has_elements(const Arguments& a) {
  return a.rows > 0 && a.columns > 0;
}
bool has_elements(const Fp8ScaleArguments& a) { return a.count > 0; }

void put(char* numbers, int64_t i, float value) {
  if (numbers != nullptr) reinterpret_cast<float*>(numbers)[i] = value;
}

// Scalar: too few numbers for a kernel per vector level.
void scale(const Fp8ScaleArguments& a) {
  for (int64_t i = 0; i < a.count; ++i) {
    const float amax = reinterpret_cast<const float*>(a.amax)[i];
    const float scale = scale_of(amax, a.format, a.margin, a.power_of_two);
    put(a.scale, i, scale);
    put(a.scale_inv, i, inverse_of(scale));
  }
}

template <class Kernel, class Checked>
void on_cpu(int32_t level, Kernel kernel, const Checked& call) {
  const CpuKernels& kernels = cpu_kernels_for(level);
  if (has_elements(call.arguments)) (kernels.*kernel)(call.arguments);
}

template <class Kernel, class Checked>
void on_device(int32_t device, Kernel kernel, const Checked& call, const char* what, int64_t stream) {
  const CudaPlugin& plugin = *require_cuda().plugin;
  require_device(cuda(), "device", device);
  for (const Tensor& tensor : call.tensors) require_reachable(plugin, device, tensor);
  if (!has_elements(call.arguments)) return;
  require_success(plugin, (plugin.*kernel)(device, call.arguments, stream), what, device);
}

}  // namespace
}  // namespace nc

extern "C" {

int32_t nc_fp8_amax(int32_t cpu_level, int64_t x, int32_t x_dtype, int64_t rows, int64_t columns, int64_t x_stride,
                    int64_t amax) NC_NOEXCEPT {
  return nc::guarded([&] {
    nc::on_cpu(cpu_level, &nc::CpuKernels::fp8_amax, nc::checked_fp8_amax({x, x_dtype, rows, columns, x_stride, amax}));
  });
}

int32_t nc_fp8_scale(int32_t format, int32_t margin, int32_t power_of_two, int64_t count, int64_t amax, int64_t scale,
                     int64_t scale_inv) NC_NOEXCEPT {
  return nc::guarded([&] {
    nc::scale(nc::checked_fp8_scale({format, margin, power_of_two, count, amax, scale, scale_inv}).arguments);
  });
}

int32_t nc_fp8_quantize(int32_t cpu_level, int64_t x, int32_t x_dtype, int64_t rows, int64_t columns, int64_t x_stride,
                        int64_t q, int32_t format, int64_t q_stride, int64_t scale, int64_t amax) NC_NOEXCEPT {
  return nc::guarded([&] {
    nc::on_cpu(cpu_level, &nc::CpuKernels::fp8_quantize,
               nc::checked_fp8_quantize({x, x_dtype, rows, columns, x_stride, q, format, q_stride}, scale, amax));
  });
}

int32_t nc_fp8_quantize_blocks(int32_t cpu_level, int64_t x, int32_t x_dtype, int64_t rows, int64_t columns,
                               int64_t x_stride, int64_t q, int32_t format, int64_t q_stride,
                               int64_t scale_inv) NC_NOEXCEPT {
  return nc::guarded([&] {
    nc::on_cpu(cpu_level, &nc::CpuKernels::fp8_quantize,
               nc::checked_fp8_quantize_blocks({x, x_dtype, rows, columns, x_stride, q, format, q_stride}, scale_inv));
  });
}

int32_t nc_fp8_dequantize(int32_t cpu_level, int32_t scaling, int64_t q, int32_t format, int64_t rows, int64_t columns,
                          int64_t q_stride, int64_t scale_inv, int64_t y, int32_t y_dtype,
                          int64_t y_stride) NC_NOEXCEPT {
  return nc::guarded([&] {
    nc::on_cpu(
        cpu_level, &nc::CpuKernels::fp8_dequantize,
        nc::checked_fp8_dequantize({scaling, q, format, rows, columns, q_stride, scale_inv, y, y_dtype, y_stride}));
  });
}

int32_t nc_cuda_fp8_amax(int32_t device, int64_t x, int32_t x_dtype, int64_t rows, int64_t columns, int64_t x_stride,
                         int64_t amax, int64_t stream) NC_NOEXCEPT {
  return nc::guarded([&] {
    nc::on_device(device, &nc::CudaPlugin::fp8_amax, nc::checked_fp8_amax({x, x_dtype, rows, columns, x_stride, amax}),
                  "starting the computation of amax", stream);
  });
}

int32_t nc_cuda_fp8_scale(int32_t device, int32_t format, int32_t margin, int32_t power_of_two, int64_t count,
                          int64_t amax, int64_t scale, int64_t scale_inv, int64_t stream) NC_NOEXCEPT {
  return nc::guarded([&] {
    nc::on_device(device, &nc::CudaPlugin::fp8_scale,
                  nc::checked_fp8_scale({format, margin, power_of_two, count, amax, scale, scale_inv}),
                  "starting the computation of scales", stream);
  });
}

int32_t nc_cuda_fp8_quantize(int32_t device, int64_t x, int32_t x_dtype, int64_t rows, int64_t columns,
                             int64_t x_stride, int64_t q, int32_t format, int64_t q_stride, int64_t scale, int64_t amax,
                             int64_t stream) NC_NOEXCEPT {
  return nc::guarded([&] {
    nc::on_device(device, &nc::CudaPlugin::fp8_quantize,
                  nc::checked_fp8_quantize({x, x_dtype, rows, columns, x_stride, q, format, q_stride}, scale, amax),
                  "starting the quantisation", stream);
  });
}

int32_t nc_cuda_fp8_quantize_blocks(int32_t device, int64_t x, int32_t x_dtype, int64_t rows, int64_t columns,
                                    int64_t x_stride, int64_t q, int32_t format, int64_t q_stride, int64_t scale_inv,
                                    int64_t stream) NC_NOEXCEPT {
  return nc::guarded([&] {
    nc::on_device(
        device, &nc::CudaPlugin::fp8_quantize,
        nc::checked_fp8_quantize_blocks({x, x_dtype, rows, columns, x_stride, q, format, q_stride}, scale_inv),
        "starting the quantisation of blocks", stream);
  });
}

int32_t nc_cuda_fp8_dequantize(int32_t device, int32_t scaling, int64_t q, int32_t format, int64_t rows,
                               int64_t columns, int64_t q_stride, int64_t scale_inv, int64_t y, int32_t y_dtype,
                               int64_t y_stride, int64_t stream) NC_NOEXCEPT {
  return nc::guarded([&] {
    nc::on_device(
        device, &nc::CudaPlugin::fp8_dequantize,
        nc::checked_fp8_dequantize({scaling, q, format, rows, columns, q_stride, scale_inv, y, y_dtype, y_stride}),
        "starting the dequantisation", stream);
  });
}

}  // extern "C"
