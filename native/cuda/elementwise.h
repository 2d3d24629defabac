// The operations without reductions over rows: rotary position embedding and FP8. Signatures as in the plugin's table.
#pragma once

#include "../core/platform.h"
#include "plugin.h"

namespace nc {
inline namespace NC_LEVEL {

// rotary.cu
int32_t rotary_prepare(int32_t device, const RotarySpec& spec);
int32_t rotary(int32_t device, const RotarySpec& spec, const RotaryArguments& a, int64_t stream);

// fp8.cu
int32_t fp8_amax(int32_t device, const Fp8AmaxArguments& a, int64_t stream);
int32_t fp8_scale(int32_t device, const Fp8ScaleArguments& a, int64_t stream);
int32_t fp8_quantize(int32_t device, const Fp8QuantizeArguments& a, int64_t stream);
int32_t fp8_dequantize(int32_t device, const Fp8DequantizeArguments& a, int64_t stream);

}  // namespace NC_LEVEL
}  // namespace nc
