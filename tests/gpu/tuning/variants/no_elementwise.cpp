// Links a variant's plugin without the operations that no variant changes.
#include "cuda/elementwise.h"

namespace nc {
inline namespace NC_LEVEL {
namespace {
constexpr int32_t kNotSupported = 801;  // cudaErrorNotSupported
}

int32_t rotary_prepare(int32_t, const RotarySpec&) { return kNotSupported; }
int32_t rotary(int32_t, const RotarySpec&, const RotaryArguments&, int64_t) { return kNotSupported; }
int32_t fp8_amax(int32_t, const Fp8AmaxArguments&, int64_t) { return kNotSupported; }
int32_t fp8_scale(int32_t, const Fp8ScaleArguments&, int64_t) { return kNotSupported; }
int32_t fp8_quantize(int32_t, const Fp8QuantizeArguments&, int64_t) { return kNotSupported; }
int32_t fp8_dequantize(int32_t, const Fp8DequantizeArguments&, int64_t) { return kNotSupported; }

}  // namespace NC_LEVEL
}  // namespace nc
