/* Normcore: fused RMSNorm and LayerNorm, forward and backward, with the rounding chosen by the caller.
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
  int32_t y_dtype;           /* y, dy */
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
} nc_norm_spec;

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

/* The number of row groups into which the backward of `rows` rows is cut: a function of rows and hidden size only. */
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
 * plan remembers several hundred addresses that it has looked up. */
NC_API int32_t nc_cuda_norm_forward(int64_t plan, int64_t rows, int64_t x, int64_t x_stride, int64_t residual,
                                    int64_t residual_stride, int64_t weight, int64_t bias, int64_t y, int64_t y_stride,
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

/* Converts count elements, rounding to nearest even, NaN to the canonical quiet NaN, overflow to infinity or, for FP8,
 * to the largest finite value. From and to any dtype. The buffers may be one only if the dtypes have the same size. */
NC_API int32_t nc_convert(int64_t source, int32_t source_dtype, int64_t target, int32_t target_dtype,
                          int64_t count) NC_NOEXCEPT;

/* 64-byte aligned memory, for callers that have none of their own. */
NC_API int32_t nc_allocate(int64_t bytes, int64_t* address) NC_NOEXCEPT;
NC_API int32_t nc_free(int64_t address) NC_NOEXCEPT;

#if defined(__cplusplus)
}
#endif

#endif /* NORMCORE_H */
