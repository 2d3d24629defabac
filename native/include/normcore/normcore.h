/* Normcore: fused RMSNorm and LayerNorm, forward and backward, with the rounding chosen by the caller; rotary position
 * embedding; FP8 with its scales.
 *
 * The one C interface. Plain C99: integers and addresses only, every function returns a status, nothing throws.
 *
 * Addresses and strides. Tensors are passed as addresses (int64_t) with a row stride in elements; a row's elements
 * are contiguous. Any alignment is accepted, as is any stride of at least the hidden size. Address 0 means absent,
 * where that is allowed.
 *
 * Threads. Every function may be called from any thread. A plan is immutable, so any number of threads may use one at
 * once; it must not be destroyed while a call uses it. Compute calls work on a range of rows (or row groups, or
 * columns) in the calling thread, allocate nothing and start no threads; the way in which the ranges are cut never
 * changes a bit of the result.
 *
 * Errors. A call that returns anything but NC_OK has written nothing, and has left a sentence for the calling thread in
 * nc_last_error(). NC_INVALID_ARGUMENT: the call is wrong. NC_UNSUPPORTED: the call is legal, this build or machine
 * can't do it. NC_CUDA_ERROR is the exception: what ran on the device before the error may have been written.
 */
#ifndef NORMCORE_H
#define NORMCORE_H

#include <stdint.h>

#if defined(__cplusplus)
#define NC_NOEXCEPT noexcept
extern "C" {
#else
#define NC_NOEXCEPT
#endif

#if defined(__GNUC__)
#define NC_API __attribute__((visibility("default")))
#else
#define NC_API
#endif

/* Statuses. */
#define NC_OK 0
#define NC_INVALID_ARGUMENT 1
#define NC_UNSUPPORTED 2
#define NC_OUT_OF_MEMORY 3
#define NC_INTERNAL_ERROR 4
#define NC_CUDA_ERROR 5 /* the CUDA runtime refused: its own name and text are in the message */

/* Number formats. FP8 is saturating, E4M3 is the "fn" form without infinities. */
#define NC_FLOAT64 0
#define NC_FLOAT32 1
#define NC_BFLOAT16 2
#define NC_FLOAT16 3
#define NC_FLOAT8_E4M3 4
#define NC_FLOAT8_E5M2 5
#define NC_FLOAT8_E8M0 6 /* 2^(code - 127), 255 for NaN: the scales of blocks, and nothing else */

/* Operations. */
#define NC_RMS_NORM 0
#define NC_LAYER_NORM 1

/* Which of weight and bias an operation has. */
#define NC_AFFINE_NONE 0
#define NC_AFFINE_WEIGHT 1
#define NC_AFFINE_BIAS 2
#define NC_AFFINE_WEIGHT_AND_BIAS 3

/* Where the normalised value is rounded.
 * COMPUTE: y = rd_O(xhat * g + b). INPUT: n = rd_I(xhat), t = rd_P(n * g), t = rd_P(t + b), y = rd_O(t), with P the
 * promotion of input and weight. WEIGHT: the same with n = rd_W(xhat) and P = W. */
#define NC_ROUND_COMPUTE 0
#define NC_ROUND_INPUT 1
#define NC_ROUND_WEIGHT 2

/* What is added to the weight. NONE: g = w. ONE_IN_COMPUTE: g = w + 1 in the compute type. ONE_IN_WEIGHT:
 * g = rd_W(w + 1). */
#define NC_GAMMA_NONE 0
#define NC_GAMMA_ONE_IN_COMPUTE 1
#define NC_GAMMA_ONE_IN_WEIGHT 2

/* How LayerNorm forms the variance. */
#define NC_VARIANCE_TWO_PASS 0
#define NC_VARIANCE_WELFORD 1
#define NC_VARIANCE_SUM_OF_SQUARES 2

/* The type of all arithmetic between roundings, of mean and rstd, and of the sums. */
#define NC_COMPUTE_FLOAT32 0
#define NC_COMPUTE_FLOAT64 1

/* What the residual form normalises. INPUT: the sum rounded to the input type. COMPUTE: the unrounded sum. */
#define NC_RESIDUAL_INPUT 0
#define NC_RESIDUAL_COMPUTE 1

/* What happens to a weight gradient's buffer. ACCUMULATE asks for a float32 buffer. */
#define NC_GRADIENT_ABSENT 0
#define NC_GRADIENT_WRITE 1
#define NC_GRADIENT_ACCUMULATE 2

/* How values are scaled into FP8: q = rd(v * scale), v = q * scale_inv. amax is the largest |v|, NaN left out.
 * TENSOR: one scale, float32. ROW: one per row, scale_of(amax of the row), float32. BLOCK: one per 32 consecutive
 * elements of a row, the last block perhaps shorter: the least power of two by which none of them exceeds the largest
 * FP8 value is scale_inv, in E8M0; 0 for amax 0, 254 for infinity (MXFP8). scale_of(amax) = largest FP8 value / amax /
 * 2^margin, on request rounded down to a power of two, within float32's normal numbers; 1 where amax is not above 0,
 * infinite or NaN. scale_inv = 1 / scale. */
#define NC_SCALING_NONE 0
#define NC_SCALING_TENSOR 1
#define NC_SCALING_ROW 2
#define NC_SCALING_BLOCK 3
#define NC_SCALE_BLOCK 32
#define NC_MAX_MARGIN 64

/* Which elements of a head turn together. HALF_SPLIT: i and i + rotary_dim / 2. INTERLEAVED: 2 i and 2 i + 1. */
#define NC_ROTARY_HALF_SPLIT 0
#define NC_ROTARY_INTERLEAVED 1

/* Where the turned value is rounded. COMPUTE: y1 = rd(x1 * cos - x2 * sin), y2 = rd(x2 * cos + x1 * sin), float32
 * inside. INPUT: y1 = rd(rd(x1 * cos) - rd(x2 * sin)), y2 = rd(rd(x2 * cos) + rd(x1 * sin)). rd: to the type of x. */
#define NC_ROTARY_ROUND_COMPUTE 0
#define NC_ROTARY_ROUND_INPUT 1

/* Vector levels of the CPU kernels. All give the same bits. */
#define NC_CPU_BEST 0
#define NC_CPU_PLAIN 1
#define NC_CPU_AVX2 2
#define NC_CPU_AVX512 3
#define NC_CPU_NEON 4

/* Where an operation runs. */
#define NC_DEVICE_CPU 0
#define NC_DEVICE_CUDA 1

/* The largest hidden size. */
#define NC_MAX_HIDDEN_SIZE 1048576

/* What an operation is. Set struct_size to sizeof(nc_norm_spec): later versions may append fields. */
typedef struct nc_norm_spec {
  uint32_t struct_size;
  int32_t op;                /* NC_RMS_NORM, NC_LAYER_NORM */
  int32_t x_dtype;           /* x, residual, residual_out, dx: NC_FLOAT64 .. NC_FLOAT16 */
  int32_t weight_dtype;      /* weight, bias */
  int32_t y_dtype;           /* y, dy; an FP8 format for nc_norm_forward_fp8 */
  int32_t affine;            /* NC_AFFINE_* */
  int32_t scale_rounding;    /* NC_ROUND_* */
  int32_t gamma_offset;      /* NC_GAMMA_* */
  int32_t variance;          /* NC_VARIANCE_*, LayerNorm only: TWO_PASS otherwise */
  int32_t compute;           /* NC_COMPUTE_* */
  int32_t residual_rounding; /* NC_RESIDUAL_* */
  int32_t cpu_level;         /* NC_CPU_*; NC_CPU_BEST for a CUDA device */
  int64_t hidden_size;       /* N, 1 .. NC_MAX_HIDDEN_SIZE */
  double epsilon;            /* finite, at least 0 */
  int32_t device_type;       /* NC_DEVICE_CPU, NC_DEVICE_CUDA */
  int32_t device_index;      /* of the CUDA device; 0 for the CPU */
  int32_t y_scaling;         /* NC_SCALING_TENSOR .. NC_SCALING_BLOCK where y is FP8, otherwise NC_SCALING_NONE */
  int32_t y_power_of_two;    /* NC_SCALING_ROW: 1 if scales are rounded down to powers of two; otherwise 0 */
  int32_t dy_dtype;          /* of dy where y is FP8: NC_FLOAT64 .. NC_FLOAT16; otherwise that of y, and not read */
} nc_norm_spec;

/* What a rotary position embedding is. Set struct_size to sizeof(nc_rotary_spec). */
typedef struct nc_rotary_spec {
  uint32_t struct_size;
  int32_t x_dtype;      /* x, y: NC_FLOAT32 .. NC_FLOAT16 */
  int32_t table_dtype;  /* cos, sin: the same */
  int32_t layout;       /* NC_ROTARY_* */
  int32_t rounding;     /* NC_ROTARY_ROUND_* */
  int32_t head_dim;     /* elements of a head, 2 .. NC_MAX_HEAD_DIM */
  int32_t rotary_dim;   /* its first elements that turn, even, 2 .. head_dim; the others are copied */
  int32_t cpu_level;    /* NC_CPU_*; NC_CPU_BEST for a CUDA device */
  int32_t device_type;  /* NC_DEVICE_* */
  int32_t device_index; /* of the CUDA device; 0 for the CPU */
} nc_rotary_spec;
#define NC_MAX_HEAD_DIM 65536

/* The version, as MAJOR * 10000 + MINOR * 100 + PATCH. */
NC_API int32_t nc_version(void) NC_NOEXCEPT;

/* The calling thread's last message; "" if there is none. Valid until that thread's next failing call. */
NC_API const char* nc_last_error(void) NC_NOEXCEPT;

/* The vector level that NC_CPU_BEST means on this machine. */
NC_API int32_t nc_cpu_best_level(void) NC_NOEXCEPT;

/* Writes 1 to *supported if this build and this machine have the level, else 0. */
NC_API int32_t nc_cpu_level_supported(int32_t level, int32_t* supported) NC_NOEXCEPT;

/* Validates the spec, picks the kernels and writes the plan's handle to *plan. A plan belongs to its device: calls that
 * compute, nc_norm_..., take plans of the CPU, nc_cuda_norm_... those of a CUDA device. */
NC_API int32_t nc_norm_plan_create(const nc_norm_spec* spec, int64_t* plan) NC_NOEXCEPT;

/* Frees the plan. 0 is ignored. */
NC_API int32_t nc_norm_plan_destroy(int64_t plan) NC_NOEXCEPT;

/* Forward over rows row_begin .. row_end - 1 of tensors that have `rows` rows; addresses are those of row 0.
 *
 * x [rows, N]; residual [rows, N] or 0: if given, x + residual is normalised and its rounded value stored in
 * residual_out, which is then required. weight, bias [N], as the plan's affine says. y [rows, N]. rstd, mean [rows] in
 * the compute type, saved for the backward: both for LayerNorm, rstd alone for RMSNorm, or both 0 for inference.
 *
 * In place: y and residual_out may each be x or residual (same address, row stride and element size). Any other
 * overlap of an output with anything else is refused. */
NC_API int32_t nc_norm_forward(int64_t plan, int64_t rows, int64_t row_begin, int64_t row_end, int64_t x,
                               int64_t x_stride, int64_t residual, int64_t residual_stride, int64_t weight,
                               int64_t bias, int64_t y, int64_t y_stride, int64_t residual_out,
                               int64_t residual_out_stride, int64_t mean, int64_t rstd) NC_NOEXCEPT;

/* nc_norm_forward for a plan whose y is FP8; such a plan's other calls are those of any plan. What the policy would
 * round to y's type is scaled instead, and then rounded to FP8 once: under COMPUTE the unrounded value, otherwise
 * rd_P(...).
 *
 * y [rows, N]. NC_SCALING_TENSOR: y_scale is the address of a float32, which should be positive, finite and normal and
 * is not looked at; y_amax, unless 0, that of a float32 that is raised to the largest |value| before scaling, rounded
 * to float32 (zero it first), in any number of calls at once. NC_SCALING_ROW: 1 / scale of every row is written to
 * y_scale_inv, [rows] float32. NC_SCALING_BLOCK: E8M0 codes are written to y_scale_inv, [rows, ceil(N / 32)]. Addresses
 * of another scaling's are 0. All float32 on 4-byte boundaries. */
NC_API int32_t nc_norm_forward_fp8(int64_t plan, int64_t rows, int64_t row_begin, int64_t row_end, int64_t x,
                                   int64_t x_stride, int64_t residual, int64_t residual_stride, int64_t weight,
                                   int64_t bias, int64_t y, int64_t y_stride, int64_t y_scale, int64_t y_amax,
                                   int64_t y_scale_inv, int64_t residual_out, int64_t residual_out_stride, int64_t mean,
                                   int64_t rstd) NC_NOEXCEPT;

/* The number of row groups into which the backward of `rows` rows is cut: a function of rows and hidden size only. They
 * are numbered in the order in which their shares of dweight and dbias can be summed, which is not that of their rows;
 * ranges whose length is a power of two, beginning at multiples of it, leave the least for the second step. */
NC_API int32_t nc_norm_backward_groups(int64_t plan, int64_t rows, int64_t* groups) NC_NOEXCEPT;

/* The bytes of workspace that the backward of `rows` rows needs: 0 where neither dweight nor dbias is wanted. */
NC_API int32_t nc_norm_backward_workspace(int64_t plan, int64_t rows, int32_t wants_dweight, int32_t wants_dbias,
                                          int64_t* bytes) NC_NOEXCEPT;

/* Backward, first step, over row groups group_begin .. group_end - 1: writes dx of the groups' rows (dx 0: left out)
 * and the groups' shares of dweight and dbias to the workspace (8-byte aligned, at least the bytes queried).
 *
 * x: what was normalised (the residual form's residual_out). dy [rows, N] in the output type. mean, rstd: as saved.
 * dresidual [rows, N] in the input type or 0: the incoming gradient of the residual sum, added to dx before its one
 * rounding. dx may be dy, x or dresidual in place (same address, row stride and element size). */
NC_API int32_t nc_norm_backward(int64_t plan, int64_t rows, int64_t group_begin, int64_t group_end, int64_t x,
                                int64_t x_stride, int64_t weight, int64_t dy, int64_t dy_stride, int64_t mean,
                                int64_t rstd, int64_t dresidual, int64_t dresidual_stride, int64_t dx,
                                int64_t dx_stride, int64_t workspace, int64_t workspace_bytes, int32_t wants_dweight,
                                int32_t wants_dbias) NC_NOEXCEPT;

/* Backward, second step, after every group is done: sums the groups' shares in columns column_begin .. column_end - 1
 * and writes them to, or adds them to, dweight and dbias [N]. Consumes the workspace. The dtypes are the plan's weight
 * dtype or NC_FLOAT32; ACCUMULATE: NC_FLOAT32 only. The modes must agree with what the first step was asked for. */
NC_API int32_t nc_norm_backward_columns(int64_t plan, int64_t rows, int64_t column_begin, int64_t column_end,
                                        int64_t workspace, int64_t workspace_bytes, int64_t dweight,
                                        int32_t dweight_dtype, int32_t dweight_mode, int64_t dbias, int32_t dbias_dtype,
                                        int32_t dbias_mode) NC_NOEXCEPT;

/* CUDA. The kernels are in a library of their own, libnormcore_cuda.so, which is looked for once, when first asked for:
 * among the libraries that the process has loaded, then where the dynamic linker looks. The environment variable
 * NORMCORE_CUDA_LIBRARY names another file instead. Where there is no such library, no driver or no device, all that
 * needs CUDA answers NC_UNSUPPORTED with the reason.
 *
 * Calls that take a stream (a cudaStream_t, 0: the default one) return as soon as their work is in the stream, allocate
 * nothing, never synchronise and can be captured into a CUDA graph; memory must stay valid until the stream has done
 * them. Any number of threads may call at once; the calling thread's current device is left as it was. */

/* What a CUDA device is. Set struct_size to sizeof(nc_cuda_device). */
typedef struct nc_cuda_device {
  uint32_t struct_size;
  int32_t compute_capability; /* major * 10 + minor */
  int32_t multiprocessors;
  int32_t reserved;
  int64_t memory_bytes;
  char name[256];
} nc_cuda_device;

/* Writes the number of CUDA devices, at least 1. */
NC_API int32_t nc_cuda_device_count(int32_t* count) NC_NOEXCEPT;

/* Describes device 0 .. count - 1. */
NC_API int32_t nc_cuda_device_query(int32_t device, nc_cuda_device* answer) NC_NOEXCEPT;

/* Device memory, 256-byte aligned, for callers that have no allocator of their own. Freeing waits for the device; 0 is
 * ignored. */
NC_API int32_t nc_cuda_allocate(int32_t device, int64_t bytes, int64_t* address) NC_NOEXCEPT;
NC_API int32_t nc_cuda_free(int32_t device, int64_t address) NC_NOEXCEPT;

/* Copies between any two of host memory and devices, which do not overlap; zeroes device memory. In the stream's order;
 * with pageable host memory the copy may wait. */
NC_API int32_t nc_cuda_copy(int32_t device, int64_t target, int64_t source, int64_t bytes, int64_t stream) NC_NOEXCEPT;
NC_API int32_t nc_cuda_zero(int32_t device, int64_t address, int64_t bytes, int64_t stream) NC_NOEXCEPT;

/* A stream that does not wait for the default one. Destroying it does not cancel its work; 0 is ignored. */
NC_API int32_t nc_cuda_stream_create(int32_t device, int64_t* stream) NC_NOEXCEPT;
NC_API int32_t nc_cuda_stream_destroy(int32_t device, int64_t stream) NC_NOEXCEPT;
/* Waits until the stream has done everything; reports what failed in it. */
NC_API int32_t nc_cuda_stream_synchronize(int32_t device, int64_t stream) NC_NOEXCEPT;

/* nc_norm_forward for a plan of a CUDA device: all rows, in the stream. Same tensors, same refusals; moreover an
 * address is refused that the driver knows to be of another device or, where kernels cannot reach it, of the host. The
 * plan remembers several hundred addresses that it has looked up: memory that was freed since passes. */
NC_API int32_t nc_cuda_norm_forward(int64_t plan, int64_t rows, int64_t x, int64_t x_stride, int64_t residual,
                                    int64_t residual_stride, int64_t weight, int64_t bias, int64_t y, int64_t y_stride,
                                    int64_t residual_out, int64_t residual_out_stride, int64_t mean, int64_t rstd,
                                    int64_t stream) NC_NOEXCEPT;

/* nc_norm_forward_fp8 for a plan of a CUDA device: all rows, in the stream; y_scale and y_amax are device memory too.
 */
NC_API int32_t nc_cuda_norm_forward_fp8(int64_t plan, int64_t rows, int64_t x, int64_t x_stride, int64_t residual,
                                        int64_t residual_stride, int64_t weight, int64_t bias, int64_t y,
                                        int64_t y_stride, int64_t y_scale, int64_t y_amax, int64_t y_scale_inv,
                                        int64_t residual_out, int64_t residual_out_stride, int64_t mean, int64_t rstd,
                                        int64_t stream) NC_NOEXCEPT;

/* Both steps of the backward for a plan of a CUDA device: nc_norm_backward over all groups and
 * nc_norm_backward_columns over all columns, in the stream. The workspace is device memory of the size queried by
 * nc_norm_backward_workspace; modes other than NC_GRADIENT_ABSENT ask for a gradient. Moreover dweight and dbias share
 * no memory with any other tensor. */
NC_API int32_t nc_cuda_norm_backward(int64_t plan, int64_t rows, int64_t x, int64_t x_stride, int64_t weight,
                                     int64_t dy, int64_t dy_stride, int64_t mean, int64_t rstd, int64_t dresidual,
                                     int64_t dresidual_stride, int64_t dx, int64_t dx_stride, int64_t workspace,
                                     int64_t workspace_bytes, int64_t dweight, int32_t dweight_dtype,
                                     int32_t dweight_mode, int64_t dbias, int32_t dbias_dtype, int32_t dbias_mode,
                                     int64_t stream) NC_NOEXCEPT;

/* Writes which kernels a plan of a CUDA device launches, as text of at most `capacity` bytes at the address `text`, the
 * final zero included: a line for each of forward and backward, aligned and unaligned, with and without a residual, for
 * many rows. A line says "left out" where the device lacks what the fast kernel needs (room for its clusters of blocks,
 * shared memory) and a slower one with the same bits runs in its place. 2048 bytes hold all of it. */
NC_API int32_t nc_cuda_norm_kernels(int64_t plan, int64_t text, int64_t capacity) NC_NOEXCEPT;

/* Rotary position embedding: turns heads by the angles of a table of cosines and sines. A plan belongs to its device,
 * as those of norms do. */
NC_API int32_t nc_rotary_plan_create(const nc_rotary_spec* spec, int64_t* plan) NC_NOEXCEPT;
NC_API int32_t nc_rotary_plan_destroy(int64_t plan) NC_NOEXCEPT;

/* Turns tokens token_begin .. token_end - 1 of batch x seq, numbered b * seq + s; by the negative angle if backward is
 * 1, which is the gradient.
 *
 * x, y: element i of head h of token (b, s) at b * batch_stride + s * seq_stride + h * head_stride + i, in elements; so
 * [batch, seq, heads, head_dim] and [batch, heads, seq, head_dim] both do. Strides are at least 0, and that of a single
 * batch, token or head is not looked at. Those of x may make heads overlap, 0 included. Those of y lie one within the
 * other, each at least as long as what the shorter ones reach over, so that no two elements share an address. y may be
 * x at the same strides, in place; any other overlap is refused. cos, sin: contiguous rows of rotary_dim / 2; token
 * (b, s) has row b * table_batch_rows + s, so table_batch_rows is at least seq, or 0 where every batch has the same
 * positions. */
NC_API int32_t nc_rotary_apply(int64_t plan, int32_t backward, int64_t batch, int64_t seq, int64_t heads,
                               int64_t token_begin, int64_t token_end, int64_t x, int64_t x_batch_stride,
                               int64_t x_seq_stride, int64_t x_head_stride, int64_t cos, int64_t sin,
                               int64_t table_batch_rows, int64_t y, int64_t y_batch_stride, int64_t y_seq_stride,
                               int64_t y_head_stride) NC_NOEXCEPT;

/* The same for a plan of a CUDA device: all tokens, in the stream. */
NC_API int32_t nc_cuda_rotary_apply(int64_t plan, int32_t backward, int64_t batch, int64_t seq, int64_t heads,
                                    int64_t x, int64_t x_batch_stride, int64_t x_seq_stride, int64_t x_head_stride,
                                    int64_t cos, int64_t sin, int64_t table_batch_rows, int64_t y,
                                    int64_t y_batch_stride, int64_t y_seq_stride, int64_t y_head_stride,
                                    int64_t stream) NC_NOEXCEPT;

/* FP8. Matrices of rows x columns elements with a row stride in elements, dtypes NC_FLOAT32 .. NC_FLOAT16 on the one
 * side and an FP8 format on the other; arithmetic in float32. Scales and amax are float32 on 4-byte boundaries.
 * Rounding is to nearest even, saturating; NaN stays NaN. Outputs overlap nothing. The calling thread does all of it;
 * ranges of rows may be given to several. */

/* Raises *amax to the largest |x|; NaN is left out, infinity counts. Zero it first. */
NC_API int32_t nc_fp8_amax(int32_t cpu_level, int64_t x, int32_t x_dtype, int64_t rows, int64_t columns,
                           int64_t x_stride, int64_t amax) NC_NOEXCEPT;

/* scale = scale_of(amax), scale_inv = 1 / scale, of `count` amaxes; either may be 0, neither overlaps amax. */
NC_API int32_t nc_fp8_scale(int32_t format, int32_t margin, int32_t power_of_two, int64_t count, int64_t amax,
                            int64_t scale, int64_t scale_inv) NC_NOEXCEPT;

/* q = rd(x * *scale); raises *amax, unless 0, to the largest |x|. */
NC_API int32_t nc_fp8_quantize(int32_t cpu_level, int64_t x, int32_t x_dtype, int64_t rows, int64_t columns,
                               int64_t x_stride, int64_t q, int32_t format, int64_t q_stride, int64_t scale,
                               int64_t amax) NC_NOEXCEPT;

/* The same by blocks: writes E8M0 codes to scale_inv, [rows, ceil(columns / 32)]. */
NC_API int32_t nc_fp8_quantize_blocks(int32_t cpu_level, int64_t x, int32_t x_dtype, int64_t rows, int64_t columns,
                                      int64_t x_stride, int64_t q, int32_t format, int64_t q_stride,
                                      int64_t scale_inv) NC_NOEXCEPT;

/* y = rd_Y(q * scale_inv), the product in float32; scale_inv as the scaling has it: one float32, [rows] float32, or
 * [rows, ceil(columns / 32)] E8M0. */
NC_API int32_t nc_fp8_dequantize(int32_t cpu_level, int32_t scaling, int64_t q, int32_t format, int64_t rows,
                                 int64_t columns, int64_t q_stride, int64_t scale_inv, int64_t y, int32_t y_dtype,
                                 int64_t y_stride) NC_NOEXCEPT;

/* The same on a CUDA device, in the stream. */
NC_API int32_t nc_cuda_fp8_amax(int32_t device, int64_t x, int32_t x_dtype, int64_t rows, int64_t columns,
                                int64_t x_stride, int64_t amax, int64_t stream) NC_NOEXCEPT;
NC_API int32_t nc_cuda_fp8_scale(int32_t device, int32_t format, int32_t margin, int32_t power_of_two, int64_t count,
                                 int64_t amax, int64_t scale, int64_t scale_inv, int64_t stream) NC_NOEXCEPT;
NC_API int32_t nc_cuda_fp8_quantize(int32_t device, int64_t x, int32_t x_dtype, int64_t rows, int64_t columns,
                                    int64_t x_stride, int64_t q, int32_t format, int64_t q_stride, int64_t scale,
                                    int64_t amax, int64_t stream) NC_NOEXCEPT;
NC_API int32_t nc_cuda_fp8_quantize_blocks(int32_t device, int64_t x, int32_t x_dtype, int64_t rows, int64_t columns,
                                           int64_t x_stride, int64_t q, int32_t format, int64_t q_stride,
                                           int64_t scale_inv, int64_t stream) NC_NOEXCEPT;
NC_API int32_t nc_cuda_fp8_dequantize(int32_t device, int32_t scaling, int64_t q, int32_t format, int64_t rows,
                                      int64_t columns, int64_t q_stride, int64_t scale_inv, int64_t y, int32_t y_dtype,
                                      int64_t y_stride, int64_t stream) NC_NOEXCEPT;

/* Converts count elements, rounding to nearest even, NaN to the canonical quiet NaN, overflow to infinity or, for FP8,
 * to the largest finite value. From any dtype to any but NC_FLOAT8_E8M0. The buffers may be one only if the dtypes have
 * the same size. */
NC_API int32_t nc_convert(int64_t source, int32_t source_dtype, int64_t target, int32_t target_dtype,
                          int64_t count) NC_NOEXCEPT;

/* Copies bytes in the calling thread, past the caches: as fast as large blocks can be read and written, which is what a
 * norm's speed is measured by. The blocks must not overlap. */
NC_API int32_t nc_copy(int64_t to, int64_t from, int64_t bytes) NC_NOEXCEPT;

/* 64-byte aligned memory, for callers that have none of their own. */
NC_API int32_t nc_allocate(int64_t bytes, int64_t* address) NC_NOEXCEPT;
NC_API int32_t nc_free(int64_t address) NC_NOEXCEPT;

/* The same, page-locked, so that copies to and from CUDA devices don't wait. Needs CUDA. */
NC_API int32_t nc_cuda_host_allocate(int64_t bytes, int64_t* address) NC_NOEXCEPT;
NC_API int32_t nc_cuda_host_free(int64_t address) NC_NOEXCEPT;

/* The bytes that these calls have given out and not got back, as asked for. */
NC_API int64_t nc_allocated_bytes(void) NC_NOEXCEPT;

#if defined(__cplusplus)
}
#endif

#endif /* NORMCORE_H */
