#include "elementwise.h"
#include "simt.cuh"

namespace nc {
inline namespace NC_LEVEL {
int32_t fp8_amax(int32_t, const Fp8AmaxArguments&, int64_t) { return 801; }
int32_t fp8_scale(int32_t, const Fp8ScaleArguments&, int64_t) { return 801; }
int32_t fp8_quantize(int32_t, const Fp8QuantizeArguments&, int64_t) { return 801; }
int32_t fp8_dequantize(int32_t, const Fp8DequantizeArguments&, int64_t) { return 801; }
}  // namespace NC_LEVEL
}  // namespace nc
