#include "error.h"

extern "C" {
int32_t nc_fp8_amax(int32_t, int64_t, int32_t, int64_t, int64_t, int64_t, int64_t) NC_NOEXCEPT {
  return nc::report(NC_UNSUPPORTED, "nc_fp8_amax");
}
int32_t nc_fp8_scale(int32_t, int32_t, int32_t, int64_t, int64_t, int64_t, int64_t) NC_NOEXCEPT {
  return nc::report(NC_UNSUPPORTED, "nc_fp8_scale");
}
int32_t nc_fp8_quantize(int32_t, int64_t, int32_t, int64_t, int64_t, int64_t, int64_t, int32_t, int64_t, int64_t,
                        int64_t) NC_NOEXCEPT {
  return nc::report(NC_UNSUPPORTED, "nc_fp8_quantize");
}
int32_t nc_fp8_quantize_blocks(int32_t, int64_t, int32_t, int64_t, int64_t, int64_t, int64_t, int32_t, int64_t,
                               int64_t) NC_NOEXCEPT {
  return nc::report(NC_UNSUPPORTED, "nc_fp8_quantize_blocks");
}
int32_t nc_fp8_dequantize(int32_t, int32_t, int64_t, int32_t, int64_t, int64_t, int64_t, int64_t, int64_t, int32_t,
                          int64_t) NC_NOEXCEPT {
  return nc::report(NC_UNSUPPORTED, "nc_fp8_dequantize");
}
int32_t nc_cuda_fp8_amax(int32_t, int64_t, int32_t, int64_t, int64_t, int64_t, int64_t, int64_t) NC_NOEXCEPT {
  return nc::report(NC_UNSUPPORTED, "nc_cuda_fp8_amax");
}
int32_t nc_cuda_fp8_scale(int32_t, int32_t, int32_t, int32_t, int64_t, int64_t, int64_t, int64_t, int64_t) NC_NOEXCEPT {
  return nc::report(NC_UNSUPPORTED, "nc_cuda_fp8_scale");
}
int32_t nc_cuda_fp8_quantize(int32_t, int64_t, int32_t, int64_t, int64_t, int64_t, int64_t, int32_t, int64_t, int64_t,
                             int64_t, int64_t) NC_NOEXCEPT {
  return nc::report(NC_UNSUPPORTED, "nc_cuda_fp8_quantize");
}
int32_t nc_cuda_fp8_quantize_blocks(int32_t, int64_t, int32_t, int64_t, int64_t, int64_t, int64_t, int32_t, int64_t,
                                    int64_t, int64_t) NC_NOEXCEPT {
  return nc::report(NC_UNSUPPORTED, "nc_cuda_fp8_quantize_blocks");
}
int32_t nc_cuda_fp8_dequantize(int32_t, int32_t, int64_t, int32_t, int64_t, int64_t, int64_t, int64_t, int64_t, int32_t,
                               int64_t, int64_t) NC_NOEXCEPT {
  return nc::report(NC_UNSUPPORTED, "nc_cuda_fp8_dequantize");
}
}
