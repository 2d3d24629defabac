/* The interface as C99 sees it: every function of the header, called once the way it is meant, on two rows. */
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "normcore/normcore.h"

static int failures = 0;

static void expect(int holds, const char* what) {
  if (!holds) {
    ++failures;
    fprintf(stderr, "not so: %s (last message: \"%s\")\n", what, nc_last_error());
  }
}

static void ok(int32_t status, const char* what) { expect(status == NC_OK, what); }

static int64_t at(const void* p) { return (int64_t)(intptr_t)p; }

static void expect_near(float value, double expected, const char* what) { expect(fabs(value - expected) < 1e-5, what); }

int main(void) {
  const float x[2][2] = {{1, 3}, {2, -2}}, dy[2][2] = {{1, 0}, {0, 1}}, weight[2] = {2, 1}, bias[2] = {1, -1};
  float y[2][2], mean[2], rstd[2], dx[2][2], dweight[2], dbias[2];
  uint16_t bf16[2];
  nc_norm_spec spec;
  int64_t plan = 0, groups = 0, bytes = 0, workspace = 0;
  int32_t supported = 0;

  expect(nc_version() > 0, "there is a version");
  expect(strcmp(nc_last_error(), "") == 0, "no message before a failure");
  ok(nc_cpu_level_supported(nc_cpu_best_level(), &supported), "nc_cpu_level_supported");
  expect(supported == 1, "the best level is supported");

  memset(&spec, 0, sizeof spec);
  spec.struct_size = sizeof spec;
  spec.op = NC_LAYER_NORM;
  spec.x_dtype = spec.weight_dtype = spec.y_dtype = NC_FLOAT32;
  spec.affine = NC_AFFINE_WEIGHT_AND_BIAS;
  spec.scale_rounding = NC_ROUND_COMPUTE;
  spec.hidden_size = 2;
  ok(nc_norm_plan_create(&spec, &plan), "nc_norm_plan_create");

  ok(nc_norm_forward(plan, 2, 0, 2, at(x), 2, 0, 0, at(weight), at(bias), at(y), 2, 0, 0, at(mean), at(rstd)),
     "nc_norm_forward");
  expect_near(y[0][0], -1, "y[0][0]"); /* xhat = -1, 1 and 1, -1 */
  expect_near(y[0][1], 0, "y[0][1]");
  expect_near(y[1][0], 3, "y[1][0]");
  expect_near(y[1][1], -2, "y[1][1]");
  expect_near(mean[0], 2, "mean[0]");
  expect_near(rstd[1], 0.5, "rstd[1]");

  ok(nc_norm_backward_groups(plan, 2, &groups), "nc_norm_backward_groups");
  ok(nc_norm_backward_workspace(plan, 2, 1, 1, &bytes), "nc_norm_backward_workspace");
  ok(nc_allocate(bytes, &workspace), "nc_allocate");
  expect(workspace != 0 && workspace % 64 == 0, "memory is 64-byte aligned");
  ok(nc_norm_backward(plan, 2, 0, groups, at(x), 2, at(weight), at(dy), 2, at(mean), at(rstd), 0, 0, at(dx), 2,
                      workspace, bytes, 1, 1),
     "nc_norm_backward");
  ok(nc_norm_backward_columns(plan, 2, 0, 2, workspace, bytes, at(dweight), NC_FLOAT32, NC_GRADIENT_WRITE, at(dbias),
                              NC_FLOAT32, NC_GRADIENT_WRITE),
     "nc_norm_backward_columns");
  expect_near(dx[0][0], 0, "dx[0][0]"); /* two values: all of the gradient lies along xhat */
  expect_near(dx[1][1], 0, "dx[1][1]");
  expect_near(dweight[0], -1, "dweight[0]");
  expect_near(dweight[1], -1, "dweight[1]");
  expect_near(dbias[0], 1, "dbias[0]");
  ok(nc_free(workspace), "nc_free");

  ok(nc_convert(at(weight), NC_FLOAT32, at(bf16), NC_BFLOAT16, 2), "nc_convert");
  expect(bf16[0] == 0x4000 && bf16[1] == 0x3F80, "2 and 1 in bfloat16");

  ok(nc_norm_plan_destroy(plan), "nc_norm_plan_destroy");
  expect(nc_norm_plan_create(NULL, &plan) == NC_INVALID_ARGUMENT, "a null spec is refused");
  expect(strlen(nc_last_error()) > 0, "with a sentence");
  return failures == 0 ? 0 : 1;
}
