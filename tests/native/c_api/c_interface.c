/* The C99 interface: calls every function of the header once, with valid arguments, on two rows. The argument "cuda"
 * requires a CUDA device. */
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

/* In FP8 with the scale 448 / 7 = 64: 64, -448, 128, 16. Block scales are the same; the inverse is 2^(121 - 127). */
static const float wide[4] = {1, -7, 2, 0.25f};
static const uint8_t narrow[4] = {0x68, 0xFE, 0x70, 0x58};
static const uint8_t block_code = 121;

/* Memory of a call that runs in ranges; C99 has no alignment specifier. */
static union {
  long double align;
  unsigned char bytes[NC_CALL_BYTES + NC_CALL_ALIGNMENT];
} call_memory;

static void* call_at(void) {
  const int64_t begin = at(call_memory.bytes),
                offset = (NC_CALL_ALIGNMENT - begin % NC_CALL_ALIGNMENT) % NC_CALL_ALIGNMENT;
  return call_memory.bytes + offset;
}

/* Runs all units of the call, each in a range of its own. */
static void run_units(const int64_t units[2]) {
  int32_t phase;
  int64_t i;
  for (phase = 0; phase < 2; ++phase) {
    for (i = 0; i < units[phase]; ++i) ok(nc_call_run(call_at(), phase, i, i + 1), "nc_call_run");
  }
}

static nc_fp8_spec fp8_spec(int32_t device_type, int32_t scaling) {
  nc_fp8_spec spec;
  memset(&spec, 0, sizeof spec);
  spec.struct_size = sizeof spec;
  spec.x_dtype = spec.y_dtype = NC_FLOAT32;
  spec.format = NC_FLOAT8_E4M3;
  spec.scaling = scaling;
  spec.device_type = device_type;
  return spec;
}

/* Two rows of two, or one row of four. */
static nc_fp8_args fp8_args(int64_t rows) {
  nc_fp8_args args;
  memset(&args, 0, sizeof args);
  args.struct_size = sizeof args;
  args.rows = rows;
  args.columns = args.x_stride = args.q_stride = args.y_stride = 4 / rows;
  args.count = 1;
  return args;
}

static void fp8(void) {
  const nc_fp8_spec by_tensor = fp8_spec(NC_DEVICE_CPU, NC_SCALING_TENSOR),
                    by_block = fp8_spec(NC_DEVICE_CPU, NC_SCALING_BLOCK);
  nc_fp8_args args = fp8_args(2), blocks = fp8_args(1);
  float amax = 0, scale = 0, scale_inv = 0, back[4];
  uint8_t q[4], code = 0;
  int64_t plan = 0, units[2];
  ok(nc_fp8_plan_create(&by_tensor, &plan), "nc_fp8_plan_create");
  args.x = at(wide);
  args.q = at(q);
  args.y = at(back);
  args.amax = at(&amax);
  args.scale = at(&scale);
  args.scale_inv = at(&scale_inv);
  ok(nc_fp8_amax(plan, &args), "nc_fp8_amax");
  expect(amax == 7, "the largest magnitude is 7");
  ok(nc_fp8_scale(plan, &args), "nc_fp8_scale");
  expect(scale == 64 && scale_inv == 1.0f / 64, "the scale is 64");
  ok(nc_fp8_quantize(plan, &args), "nc_fp8_quantize");
  expect(memcmp(q, narrow, sizeof q) == 0, "FP8 by one scale");
  ok(nc_fp8_dequantize(plan, &args), "nc_fp8_dequantize");
  expect(memcmp(back, wide, sizeof back) == 0, "and back");
  amax = 0;
  memset(q, 0, sizeof q);
  memset(back, 0, sizeof back);
  ok(nc_fp8_amax_begin(plan, &args, call_at(), units), "nc_fp8_amax_begin");
  run_units(units);
  expect(units[0] == 2 && units[1] == 0 && amax == 7, "the same in ranges");
  ok(nc_fp8_quantize_begin(plan, &args, call_at(), units), "nc_fp8_quantize_begin");
  run_units(units);
  expect(memcmp(q, narrow, sizeof q) == 0, "FP8 by one scale in ranges");
  ok(nc_fp8_dequantize_begin(plan, &args, call_at(), units), "nc_fp8_dequantize_begin");
  run_units(units);
  expect(memcmp(back, wide, sizeof back) == 0, "and back in ranges");
  ok(nc_fp8_plan_destroy(plan), "nc_fp8_plan_destroy");
  memset(q, 0, sizeof q);
  ok(nc_fp8_plan_create(&by_block, &plan), "nc_fp8_plan_create");
  blocks.x = at(wide);
  blocks.q = at(q);
  blocks.scale_inv = at(&code);
  ok(nc_fp8_quantize(plan, &blocks), "nc_fp8_quantize by blocks");
  expect(code == block_code && memcmp(q, narrow, sizeof q) == 0, "FP8 by blocks");
  ok(nc_fp8_plan_destroy(plan), "nc_fp8_plan_destroy");
}

static void cuda_fp8(int64_t memory, int64_t stream) {
  const int64_t x_at = memory, q_at = memory + 32, amax_at = memory + 64, scale_at = memory + 68,
                scale_inv_at = memory + 72, code_at = memory + 80, back_at = memory + 96;
  const nc_fp8_spec by_tensor = fp8_spec(NC_DEVICE_CUDA, NC_SCALING_TENSOR),
                    by_block = fp8_spec(NC_DEVICE_CUDA, NC_SCALING_BLOCK);
  nc_fp8_args args = fp8_args(2), blocks = fp8_args(1);
  float scales[3], back[4];
  uint8_t q[4], code = 0;
  int64_t plan = 0;
  ok(nc_fp8_plan_create(&by_tensor, &plan), "nc_fp8_plan_create");
  ok(nc_cuda_zero(0, memory, 128, stream), "nc_cuda_zero");
  ok(nc_cuda_copy(0, x_at, at(wide), sizeof wide, stream), "nc_cuda_copy");
  args.x = x_at;
  args.q = q_at;
  args.y = back_at;
  args.amax = amax_at;
  args.scale = scale_at;
  args.scale_inv = scale_inv_at;
  args.stream = stream;
  ok(nc_fp8_amax(plan, &args), "nc_fp8_amax of CUDA");
  ok(nc_fp8_scale(plan, &args), "nc_fp8_scale of CUDA");
  ok(nc_fp8_quantize(plan, &args), "nc_fp8_quantize of CUDA");
  ok(nc_fp8_dequantize(plan, &args), "nc_fp8_dequantize of CUDA");
  ok(nc_fp8_plan_destroy(plan), "nc_fp8_plan_destroy");
  ok(nc_cuda_copy(0, at(scales), amax_at, sizeof scales, stream), "nc_cuda_copy");
  ok(nc_cuda_copy(0, at(q), q_at, sizeof q, stream), "nc_cuda_copy");
  ok(nc_cuda_copy(0, at(back), back_at, sizeof back, stream), "nc_cuda_copy");
  ok(nc_cuda_stream_synchronize(0, stream), "nc_cuda_stream_synchronize");
  expect(scales[0] == 7 && scales[1] == 64 && scales[2] == 1.0f / 64, "the scale of CUDA is 64");
  expect(memcmp(q, narrow, sizeof q) == 0, "FP8 by one scale of CUDA");
  expect(memcmp(back, wide, sizeof back) == 0, "and back from CUDA");
  ok(nc_cuda_zero(0, q_at, sizeof q, stream), "nc_cuda_zero");
  ok(nc_fp8_plan_create(&by_block, &plan), "nc_fp8_plan_create");
  blocks.x = x_at;
  blocks.q = q_at;
  blocks.scale_inv = code_at;
  blocks.stream = stream;
  ok(nc_fp8_quantize(plan, &blocks), "nc_fp8_quantize by blocks of CUDA");
  ok(nc_fp8_plan_destroy(plan), "nc_fp8_plan_destroy");
  ok(nc_cuda_copy(0, at(q), q_at, sizeof q, stream), "nc_cuda_copy");
  ok(nc_cuda_copy(0, at(&code), code_at, 1, stream), "nc_cuda_copy");
  ok(nc_cuda_stream_synchronize(0, stream), "nc_cuda_stream_synchronize");
  expect(code == block_code && memcmp(q, narrow, sizeof q) == 0, "FP8 by blocks of CUDA");
}

/* Rotary position embedding: two tokens of one head, rotated by zero and by a right angle, and back. */
static const float heads[2][3] = {{1, 2, 3}, {4, 5, 6}}, cosines[2] = {1, 0}, sines[2] = {0, 1};

static nc_rotary_spec rotary_spec(int32_t device_type) {
  nc_rotary_spec spec;
  memset(&spec, 0, sizeof spec);
  spec.struct_size = sizeof spec;
  spec.x_dtype = spec.table_dtype = NC_FLOAT32;
  spec.layout = NC_ROTARY_HALF_SPLIT;
  spec.rounding = NC_ROTARY_ROUND_COMPUTE;
  spec.head_dim = 3;
  spec.rotary_dim = 2;
  spec.device_type = device_type;
  return spec;
}

/* One batch of two tokens of one head. */
static nc_rotary_args rotary_args(int64_t x, int64_t cos, int64_t sin, int64_t y) {
  nc_rotary_args args;
  memset(&args, 0, sizeof args);
  args.struct_size = sizeof args;
  args.batch = args.heads = 1;
  args.seq = 2;
  args.x = x;
  args.cos = cos;
  args.sin = sin;
  args.y = y;
  args.x_batch_stride = args.y_batch_stride = 6;
  args.x_seq_stride = args.x_head_stride = args.y_seq_stride = args.y_head_stride = 3;
  return args;
}

static void expect_turned(float turned[2][3]) {
  expect_near(turned[0][0], 1, "token 0 as it was");
  expect_near(turned[1][0], -5, "x1 * cos - x2 * sin");
  expect_near(turned[1][1], 4, "x2 * cos + x1 * sin");
  expect_near(turned[1][2], 6, "the rest is copied");
}

static void rotary(void) {
  const nc_rotary_spec spec = rotary_spec(NC_DEVICE_CPU);
  float y[2][3];
  const nc_rotary_args forward = rotary_args(at(heads), at(cosines), at(sines), at(y));
  nc_rotary_args back = rotary_args(at(y), at(cosines), at(sines), at(y));
  int64_t plan = 0, units[2];
  ok(nc_rotary_plan_create(&spec, &plan), "nc_rotary_plan_create");
  ok(nc_rotary_apply(plan, &forward), "nc_rotary_apply");
  expect_turned(y);
  back.backward = 1;
  ok(nc_rotary_begin(plan, &back, call_at(), units), "nc_rotary_begin, backward and in place");
  run_units(units);
  expect(memcmp(y, heads, sizeof y) == 0, "turned back");
  ok(nc_rotary_plan_destroy(plan), "nc_rotary_plan_destroy");
}

static void cuda_rotary(int64_t memory, int64_t stream) {
  const nc_rotary_spec spec = rotary_spec(NC_DEVICE_CUDA);
  const int64_t cos_at = memory + 64, sin_at = memory + 128, y_at = memory + 192;
  nc_rotary_args args = rotary_args(memory, cos_at, sin_at, y_at);
  float y[2][3];
  int64_t plan = 0;
  args.stream = stream;
  ok(nc_rotary_plan_create(&spec, &plan), "nc_rotary_plan_create");
  ok(nc_cuda_copy(0, memory, at(heads), sizeof heads, stream), "nc_cuda_copy");
  ok(nc_cuda_copy(0, cos_at, at(cosines), sizeof cosines, stream), "nc_cuda_copy");
  ok(nc_cuda_copy(0, sin_at, at(sines), sizeof sines, stream), "nc_cuda_copy");
  ok(nc_rotary_apply(plan, &args), "nc_rotary_apply of CUDA");
  ok(nc_cuda_copy(0, at(y), y_at, sizeof y, stream), "nc_cuda_copy");
  ok(nc_cuda_stream_synchronize(0, stream), "nc_cuda_stream_synchronize");
  expect_turned(y);
  ok(nc_rotary_plan_destroy(plan), "nc_rotary_plan_destroy");
}

/* Two rows of two; without addresses. */
static nc_norm_forward_args forward_args(void) {
  nc_norm_forward_args args;
  memset(&args, 0, sizeof args);
  args.struct_size = sizeof args;
  args.rows = args.x_stride = args.y_stride = 2;
  return args;
}

static nc_norm_backward_args backward_args(void) {
  nc_norm_backward_args args;
  memset(&args, 0, sizeof args);
  args.struct_size = sizeof args;
  args.rows = args.x_stride = args.dy_stride = args.dx_stride = 2;
  args.dweight_dtype = args.dbias_dtype = NC_FLOAT32;
  args.dweight_mode = args.dbias_mode = NC_GRADIENT_WRITE;
  return args;
}

/* The same on a CUDA device, or prints why there is none. */
static void cuda(nc_norm_spec spec, int must_be) {
  const float x[2][2] = {{1, 3}, {2, -2}}, dy[2][2] = {{1, 0}, {0, 1}}, weight[2] = {2, 1}, bias[2] = {1, -1};
  float y[2][2], dx[2][2], gradients[4];
  nc_cuda_device device;
  nc_norm_forward_args forward = forward_args();
  nc_norm_backward_args backward = backward_args();
  char kernels[2048];
  int64_t plan = 0, bytes = 0, workspace = 0, stream = 0, memory = 0, dx_at, gradients_at, dy_at, weight_at, y_at,
          mean_at, page_locked = 0;
  const int64_t allocated = nc_allocated_bytes();
  int32_t count = 0;

  const int32_t status = nc_cuda_device_count(&count);
  if (status == NC_UNSUPPORTED && !must_be) {
    expect(strncmp(nc_last_error(), "CUDA: ", 6) == 0, "why there is no CUDA");
    return;
  }
  ok(status, "nc_cuda_device_count");
  if (status != NC_OK) return;
  expect(count > 0, "there is a device");
  device.struct_size = sizeof device;
  ok(nc_cuda_device_query(0, &device), "nc_cuda_device_query");
  expect(strlen(device.name) > 0 && device.memory_bytes > 0, "the device is described");

  spec.device_type = NC_DEVICE_CUDA;
  ok(nc_norm_plan_create(&spec, &plan), "nc_norm_plan_create");
  ok(nc_cuda_stream_create(0, &stream), "nc_cuda_stream_create");
  ok(nc_cuda_allocate(0, 1024, &memory), "nc_cuda_allocate");
  expect(memory != 0 && memory % 256 == 0, "device memory is 256-byte aligned");
  ok(nc_norm_backward_workspace(plan, 2, 1, 1, &bytes), "nc_norm_backward_workspace");
  ok(nc_cuda_allocate(0, bytes, &workspace), "nc_cuda_allocate");
  dy_at = memory + 64;
  weight_at = memory + 128; /* the bias 64 bytes after it, and so on */
  y_at = memory + 256;
  mean_at = memory + 320;
  dx_at = memory + 448;
  gradients_at = memory + 512;
  ok(nc_cuda_zero(0, memory, 1024, stream), "nc_cuda_zero");
  ok(nc_cuda_copy(0, memory, at(x), sizeof x, stream), "nc_cuda_copy");
  ok(nc_cuda_copy(0, dy_at, at(dy), sizeof dy, stream), "nc_cuda_copy");
  ok(nc_cuda_copy(0, weight_at, at(weight), sizeof weight, stream), "nc_cuda_copy");
  ok(nc_cuda_copy(0, weight_at + 64, at(bias), sizeof bias, stream), "nc_cuda_copy");
  forward.x = backward.x = memory;
  forward.weight = backward.weight = weight_at;
  forward.bias = weight_at + 64;
  forward.y = y_at;
  forward.mean = backward.mean = mean_at;
  forward.rstd = backward.rstd = mean_at + 64;
  forward.stream = backward.stream = stream;
  backward.dy = dy_at;
  backward.dx = dx_at;
  backward.workspace = workspace;
  backward.workspace_bytes = bytes;
  backward.dweight = gradients_at;
  backward.dbias = gradients_at + 8;
  ok(nc_norm_forward(plan, &forward), "nc_norm_forward of CUDA");
  ok(nc_norm_backward(plan, &backward), "nc_norm_backward of CUDA");
  ok(nc_cuda_copy(0, at(y), y_at, sizeof y, stream), "nc_cuda_copy");
  ok(nc_cuda_copy(0, at(dx), dx_at, sizeof dx, stream), "nc_cuda_copy");
  ok(nc_cuda_copy(0, at(gradients), gradients_at, sizeof gradients, stream), "nc_cuda_copy");
  ok(nc_cuda_stream_synchronize(0, stream), "nc_cuda_stream_synchronize");
  expect_near(y[0][0], -1, "y[0][0] of CUDA");
  expect_near(y[1][1], -2, "y[1][1] of CUDA");
  expect_near(dx[1][0], 0, "dx[1][0] of CUDA");
  expect_near(gradients[1], -1, "dweight[1] of CUDA");
  expect_near(gradients[2], 1, "dbias[0] of CUDA");

  cuda_fp8(memory, stream);

  ok(nc_cuda_host_allocate(100, &page_locked), "nc_cuda_host_allocate");
  expect(page_locked != 0 && nc_allocated_bytes() == allocated + 100, "page-locked memory is counted");
  ok(nc_cuda_host_free(page_locked), "nc_cuda_host_free");
  expect(nc_allocated_bytes() == allocated, "and comes back");

  cuda_rotary(memory, stream);

  ok(nc_cuda_norm_kernels(plan, at(kernels), sizeof kernels), "nc_cuda_norm_kernels");
  expect(strncmp(kernels, "forward aligned: norm_forward", 29) == 0, "kernels have names");
  ok(nc_cuda_free(0, workspace), "nc_cuda_free");
  ok(nc_cuda_free(0, memory), "nc_cuda_free");
  ok(nc_cuda_stream_destroy(0, stream), "nc_cuda_stream_destroy");
  ok(nc_norm_plan_destroy(plan), "nc_norm_plan_destroy");
}

int main(int argc, char** argv) {
  const float x[2][2] = {{1, 3}, {2, -2}}, dy[2][2] = {{1, 0}, {0, 1}}, weight[2] = {2, 1}, bias[2] = {1, -1};
  float y[2][2], mean[2], rstd[2], dx[2][2], dweight[2], dbias[2];
  uint16_t bf16[2];
  nc_norm_spec spec;
  nc_norm_forward_args forward = forward_args();
  nc_norm_backward_args backward = backward_args();
  int64_t plan = 0, groups = 0, bytes = 0, workspace = 0, units[2];
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

  forward.x = backward.x = at(x);
  forward.weight = backward.weight = at(weight);
  forward.bias = at(bias);
  forward.y = at(y);
  forward.mean = backward.mean = at(mean);
  forward.rstd = backward.rstd = at(rstd);
  ok(nc_norm_forward(plan, &forward), "nc_norm_forward");
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
  expect(nc_allocated_bytes() == bytes, "memory is counted");
  backward.dy = at(dy);
  backward.dx = at(dx);
  backward.workspace = workspace;
  backward.workspace_bytes = bytes;
  backward.dweight = at(dweight);
  backward.dbias = at(dbias);
  ok(nc_norm_backward(plan, &backward), "nc_norm_backward");
  expect_near(dx[0][0], 0, "dx[0][0]"); /* two values: all of the gradient lies along xhat */
  expect_near(dx[1][1], 0, "dx[1][1]");
  expect_near(dweight[0], -1, "dweight[0]");
  expect_near(dweight[1], -1, "dweight[1]");
  expect_near(dbias[0], 1, "dbias[0]");
  memset(y, 0, sizeof y);
  ok(nc_norm_forward_begin(plan, &forward, call_at(), units), "nc_norm_forward_begin");
  run_units(units);
  expect_near(y[1][0], 3, "y[1][0] in ranges");
  memset(dweight, 0, sizeof dweight);
  ok(nc_norm_backward_begin(plan, &backward, call_at(), units), "nc_norm_backward_begin");
  expect(units[0] == groups && units[1] == 2, "groups and columns");
  run_units(units);
  expect_near(dweight[1], -1, "dweight[1] in ranges");
  ok(nc_free(workspace), "nc_free");
  expect(nc_allocated_bytes() == 0, "and comes back");

  ok(nc_copy(at(y), at(weight), sizeof(weight)), "nc_copy");
  expect(memcmp(y, weight, sizeof(weight)) == 0, "a copy is equal");

  ok(nc_convert(at(weight), NC_FLOAT32, at(bf16), NC_BFLOAT16, 2), "nc_convert");
  expect(bf16[0] == 0x4000 && bf16[1] == 0x3F80, "2 and 1 in bfloat16");

  fp8();
  rotary();
  cuda(spec, argc > 1 && strcmp(argv[1], "cuda") == 0);

  ok(nc_norm_plan_destroy(plan), "nc_norm_plan_destroy");
  expect(nc_norm_plan_create(NULL, &plan) == NC_INVALID_ARGUMENT, "a null spec is refused");
  expect(strlen(nc_last_error()) > 0, "with a sentence");
  return failures == 0 ? 0 : 1;
}
