// The plugin's table, and the launches of a norm.
#include "describe.h"
#include "device_call.h"
#include "elementwise.h"
#include "launch_plan.h"
#include "plugin.h"
#include "runtime.h"

namespace nc {
inline namespace NC_LEVEL {
namespace {

int32_t forward(const CudaNorm& norm, const ForwardArguments& a, int64_t stream) {
  const auto selected = forward_launch(kernels_of(norm), norm.spec, a);
  return launch_on(norm.device, selected.launch, selected.parameters, stream);
}

int32_t backward(const CudaNorm& norm, const BackwardArguments& a, int64_t stream) {
  const auto selected = backward_launch(kernels_of(norm), norm.spec, a);
  return launch_on(norm.device, selected.launch, selected.parameters, stream);
}

int32_t columns(const CudaNorm& norm, const ColumnArguments* gradients, int32_t count, int64_t stream) {
  const auto selected = columns_launch(kernels_of(norm), norm.spec, gradients, count);
  return launch_on(norm.device, selected.launch, selected.parameters, stream);
}

const CudaPlugin kPlugin = {
    kCudaPluginVersion,
    cuda_runtime::device_count,
    cuda_runtime::device,
    cuda_runtime::error_name,
    cuda_runtime::error_text,
    cuda_runtime::allocate,
    cuda_runtime::free,
    cuda_runtime::copy,
    cuda_runtime::zero,
    cuda_runtime::stream_create,
    cuda_runtime::stream_destroy,
    cuda_runtime::stream_synchronize,
    cuda_runtime::memory_device,
    cuda_runtime::host_allocate,
    cuda_runtime::host_free,
    prepare,
    forward,
    backward,
    columns,
    describe,
    rotary_prepare,
    rotary,
    fp8_amax,
    fp8_scale,
    fp8_quantize,
    fp8_dequantize,
};

}  // namespace
}  // namespace NC_LEVEL
}  // namespace nc

extern "C" __attribute__((visibility("default"))) const nc::CudaPlugin* nc_cuda_plugin(void) { return &nc::kPlugin; }
