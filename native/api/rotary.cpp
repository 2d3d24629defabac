#include "error.h"

extern "C" {
int32_t nc_rotary_plan_create(const nc_rotary_spec*, int64_t*) NC_NOEXCEPT {
  return nc::report(NC_UNSUPPORTED, "nc_rotary_plan_create");
}
int32_t nc_rotary_plan_destroy(int64_t) NC_NOEXCEPT { return nc::report(NC_UNSUPPORTED, "nc_rotary_plan_destroy"); }
int32_t nc_rotary_apply(int64_t, int32_t, int64_t, int64_t, int64_t, int64_t, int64_t, int64_t, int64_t, int64_t,
                        int64_t, int64_t, int64_t, int64_t, int64_t, int64_t, int64_t, int64_t) NC_NOEXCEPT {
  return nc::report(NC_UNSUPPORTED, "nc_rotary_apply");
}
int32_t nc_cuda_rotary_apply(int64_t, int32_t, int64_t, int64_t, int64_t, int64_t, int64_t, int64_t, int64_t, int64_t,
                             int64_t, int64_t, int64_t, int64_t, int64_t, int64_t, int64_t) NC_NOEXCEPT {
  return nc::report(NC_UNSUPPORTED, "nc_cuda_rotary_apply");
}
}
