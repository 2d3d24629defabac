/* Normcore: fused RMSNorm and LayerNorm, forward and backward, with the rounding chosen by the caller; rotary position
 * embedding; FP8 quantisation.
 *
 * The complete C interface, in plain C99. Functions that can fail return a status; no function throws.
 *
 * Example: RMSNorm of contiguous bfloat16 rows of 4096 elements on the CPU, for inference.
 *
 *   nc_norm_spec spec = {sizeof(spec)};
 *   spec.op = NC_RMS_NORM;
 *   spec.x_dtype = spec.weight_dtype = spec.y_dtype = NC_BFLOAT16;
 *   spec.affine = NC_AFFINE_WEIGHT;
 *   spec.scale_rounding = NC_ROUND_INPUT;
 *   spec.hidden_size = 4096;
 *   spec.epsilon = 1e-6;
 *   int64_t plan;
 *   if (nc_norm_plan_create(&spec, &plan) != NC_OK) puts(nc_last_error());
 *   nc_norm_forward_args args = {sizeof(args)};
 *   args.rows = rows;
 *   args.x = (int64_t)x, args.x_stride = 4096;
 *   args.weight = (int64_t)weight;
 *   args.y = (int64_t)y, args.y_stride = 4096;
 *   if (nc_norm_forward(plan, &args) != NC_OK) puts(nc_last_error());
 *   nc_norm_plan_destroy(plan);
 *
 * Plans and calls. A plan is created from a spec, which is checked once, and belongs to the CPU or to a CUDA device. A
 * call takes a plan and one structure of operands. nc_norm_forward, nc_norm_backward, nc_rotary_apply and nc_fp8_...
 * check the operands and do all the work: on the CPU in the calling thread, on a CUDA device in the stream. To use
 * several threads of the CPU, begin the call instead and run its units in ranges: see nc_call_run.
 *
 * Structures. The first field of a structure is struct_size: set it to sizeof the structure, and all unused fields to
 * 0. Later versions may append fields, for which 0 means what this version does. A library accepts a shorter structure
 * of an older caller; it refuses a longer one of a newer caller if a byte beyond the fields that it knows is not 0.
 *
 * Tensors. A tensor is an address (int64_t) and a row stride in elements; the elements of a row are contiguous. Any
 * alignment and any stride of at least the length of a row are valid. Address 0 means absent, for optional tensors; its
 * stride is ignored. An output must not overlap any other tensor, except where it may be in place: at the same address,
 * with the same row stride and element size.
 *
 * Notation. N is the hidden size; I, W and O are the types of x, weight and y; P is the promotion of I and W: the wider
 * type, or float32 for bfloat16 and float16. rd_T(v) is v rounded to type T, to nearest even. xhat = (x - mean) * rstd,
 * with mean = 0 for RMSNorm. w and b are weight and bias; g is w with the gamma offset.
 *
 * Threads. Any thread may call any function. A plan is immutable: any number of threads may use it concurrently, but it
 * must not be destroyed while a call uses it. Calls allocate nothing and start no threads. The choice of ranges never
 * changes a bit of the result.
 *
 * CUDA streams. The stream of a call is a cudaStream_t; 0 is the default stream. A call enqueues its work and returns;
 * it never synchronises and can be captured into a CUDA graph. Memory must stay valid until the work is complete. The
 * current device of the calling thread does not change. A call on a CUDA device refuses an address that, according to
 * the driver, belongs to another device or to host memory that kernels cannot access. The plan caches several hundred
 * checked addresses, so it accepts one whose memory was freed since. For a plan of the CPU the stream must be 0.
 *
 * Errors. A call that returns a status other than NC_OK has written nothing and has stored a message for the calling
 * thread: see nc_last_error(). Exception: before NC_CUDA_ERROR, work on the device may have written its outputs.
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
#define NC_INVALID_ARGUMENT 1 /* the call is wrong */
#define NC_UNSUPPORTED 2      /* the call is valid, but this build or machine cannot do it */
#define NC_OUT_OF_MEMORY 3
#define NC_INTERNAL_ERROR 4
#define NC_CUDA_ERROR 5 /* the message has the CUDA runtime's name and text of the error */

/* Number formats. Conversion to FP8 saturates; E4M3 is the "fn" variant, without infinities. */
#define NC_FLOAT64 0
#define NC_FLOAT32 1
#define NC_BFLOAT16 2
#define NC_FLOAT16 3
#define NC_FLOAT8_E4M3 4
#define NC_FLOAT8_E5M2 5
#define NC_FLOAT8_E8M0 6 /* 2^(code - 127), 255 for NaN; for block scales only */

/* Operations. */
#define NC_RMS_NORM 0
#define NC_LAYER_NORM 1

/* Which of weight and bias an operation has. */
#define NC_AFFINE_NONE 0
#define NC_AFFINE_WEIGHT 1
#define NC_AFFINE_BIAS 2
#define NC_AFFINE_WEIGHT_AND_BIAS 3

/* Where the normalised value is rounded.
 * COMPUTE: y = rd_O(xhat * g + b).
 * INPUT: n = rd_I(xhat), t = rd_P(n * g), t = rd_P(t + b), y = rd_O(t).
 * WEIGHT: as INPUT, with n = rd_W(xhat) and P = W. */
#define NC_ROUND_COMPUTE 0
#define NC_ROUND_INPUT 1
#define NC_ROUND_WEIGHT 2

/* The offset added to the weight. NONE: g = w. ONE_IN_COMPUTE: g = w + 1 in the compute type. ONE_IN_WEIGHT:
 * g = rd_W(w + 1). */
#define NC_GAMMA_NONE 0
#define NC_GAMMA_ONE_IN_COMPUTE 1
#define NC_GAMMA_ONE_IN_WEIGHT 2

/* The variance algorithm of LayerNorm. SUM_OF_SQUARES: E[x^2] - E[x]^2, clamped at 0. */
#define NC_VARIANCE_TWO_PASS 0
#define NC_VARIANCE_WELFORD 1
#define NC_VARIANCE_SUM_OF_SQUARES 2

/* The type of mean, rstd, all sums and all arithmetic between roundings. */
#define NC_COMPUTE_FLOAT32 0
#define NC_COMPUTE_FLOAT64 1

/* What a forward with a residual normalises. INPUT: the sum rounded to the type of x. COMPUTE: the unrounded sum. */
#define NC_RESIDUAL_INPUT 0
#define NC_RESIDUAL_COMPUTE 1

/* How dweight or dbias is stored. ABSENT: not computed. WRITE: overwrite the buffer. ACCUMULATE: add to it; it must be
 * float32. */
#define NC_GRADIENT_ABSENT 0
#define NC_GRADIENT_WRITE 1
#define NC_GRADIENT_ACCUMULATE 2

/* FP8 scaling: q = rd(v * scale), v = q * scale_inv. amax is the largest |v|, ignoring NaN.
 * TENSOR: one float32 scale.
 * ROW: one float32 scale per row, scale_of(amax of the row).
 * BLOCK (MXFP8): one E8M0 scale_inv per 32 consecutive elements of a row; the last block may be shorter. It is the
 * smallest power of two p with amax / p <= the largest FP8 value; code 0 if amax is 0, 254 if it is infinite.
 *
 * scale_of(amax) = largest FP8 value / amax / 2^margin, optionally rounded down to a power of two, clamped to float32's
 * normal range; 1 if amax is 0, infinite or NaN. scale_inv = 1 / scale. */
#define NC_SCALING_NONE 0
#define NC_SCALING_TENSOR 1
#define NC_SCALING_ROW 2
#define NC_SCALING_BLOCK 3
#define NC_SCALE_BLOCK 32
#define NC_MAX_MARGIN 64

/* Which elements of a head form pair i. HALF_SPLIT: i and i + rotary_dim / 2. INTERLEAVED: 2 i and 2 i + 1. */
#define NC_ROTARY_HALF_SPLIT 0
#define NC_ROTARY_INTERLEAVED 1

/* Where the rotated pair is rounded; rd rounds to the type of x.
 * COMPUTE: y1 = rd(x1 * cos - x2 * sin), y2 = rd(x2 * cos + x1 * sin), in float32 before rd.
 * INPUT: y1 = rd(rd(x1 * cos) - rd(x2 * sin)), y2 = rd(rd(x2 * cos) + rd(x1 * sin)). */
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

/* The specification of a norm. */
typedef struct nc_norm_spec {
  uint32_t struct_size;
  int32_t op;                /* NC_RMS_NORM, NC_LAYER_NORM */
  int32_t x_dtype;           /* x, residual, residual_out, dx: NC_FLOAT64 .. NC_FLOAT16 */
  int32_t weight_dtype;      /* weight, bias */
  int32_t y_dtype;           /* y, dy; or the FP8 format of y */
  int32_t affine;            /* NC_AFFINE_* */
  int32_t scale_rounding;    /* NC_ROUND_* */
  int32_t gamma_offset;      /* NC_GAMMA_* */
  int32_t variance;          /* NC_VARIANCE_*; NC_VARIANCE_TWO_PASS for RMSNorm */
  int32_t compute;           /* NC_COMPUTE_* */
  int32_t residual_rounding; /* NC_RESIDUAL_* */
  int32_t cpu_level;         /* NC_CPU_*; NC_CPU_BEST for a CUDA device */
  int64_t hidden_size;       /* N, 1 .. NC_MAX_HIDDEN_SIZE */
  double epsilon;            /* finite, at least 0 */
  int32_t device_type;       /* NC_DEVICE_CPU, NC_DEVICE_CUDA */
  int32_t device_index;      /* index of the CUDA device; 0 for the CPU */
  int32_t y_scaling;         /* NC_SCALING_TENSOR .. NC_SCALING_BLOCK if y is FP8; otherwise NC_SCALING_NONE */
  int32_t y_power_of_two;    /* NC_SCALING_ROW: 1 to round scales down to powers of two; otherwise 0 */
  int32_t dy_dtype;          /* dy if y is FP8: NC_FLOAT64 .. NC_FLOAT16; otherwise ignored, dy has y_dtype */
} nc_norm_spec;

/* The specification of a rotary position embedding. */
typedef struct nc_rotary_spec {
  uint32_t struct_size;
  int32_t x_dtype;      /* x, y: NC_FLOAT32 .. NC_FLOAT16 */
  int32_t table_dtype;  /* cos, sin: NC_FLOAT32 .. NC_FLOAT16 */
  int32_t layout;       /* NC_ROTARY_* */
  int32_t rounding;     /* NC_ROTARY_ROUND_* */
  int32_t head_dim;     /* elements of a head, 2 .. NC_MAX_HEAD_DIM */
  int32_t rotary_dim;   /* leading elements of a head to rotate, even, 2 .. head_dim; the others are copied */
  int32_t cpu_level;    /* NC_CPU_*; NC_CPU_BEST for a CUDA device */
  int32_t device_type;  /* NC_DEVICE_* */
  int32_t device_index; /* index of the CUDA device; 0 for the CPU */
} nc_rotary_spec;
#define NC_MAX_HEAD_DIM 65536

/* The specification of FP8 conversions. */
typedef struct nc_fp8_spec {
  uint32_t struct_size;
  int32_t x_dtype;      /* x of amax and quantize: NC_FLOAT32 .. NC_FLOAT16. 0: the plan has neither */
  int32_t y_dtype;      /* y of dequantize: likewise */
  int32_t format;       /* q: NC_FLOAT8_E4M3, NC_FLOAT8_E5M2 */
  int32_t scaling;      /* NC_SCALING_TENSOR .. NC_SCALING_BLOCK; nc_fp8_quantize does not support NC_SCALING_ROW */
  int32_t margin;       /* nc_fp8_scale: 0 .. NC_MAX_MARGIN */
  int32_t power_of_two; /* nc_fp8_scale: 1 to round scales down to powers of two, otherwise 0 */
  int32_t cpu_level;    /* NC_CPU_*; NC_CPU_BEST for a CUDA device */
  int32_t device_type;  /* NC_DEVICE_* */
  int32_t device_index; /* index of the CUDA device; 0 for the CPU */
} nc_fp8_spec;

/* The version of the library, as MAJOR * 10000 + MINOR * 100 + PATCH. */
NC_API int32_t nc_version(void) NC_NOEXCEPT;

/* The message of the calling thread's last failed call, or "". Valid until that thread's next failed call. */
NC_API const char* nc_last_error(void) NC_NOEXCEPT;

/* The vector level that NC_CPU_BEST selects on this machine. */
NC_API int32_t nc_cpu_best_level(void) NC_NOEXCEPT;

/* Writes 1 to *supported if this build and this machine support the level, otherwise 0. */
NC_API int32_t nc_cpu_level_supported(int32_t level, int32_t* supported) NC_NOEXCEPT;

/* Validates the spec, selects the kernels and writes the handle of the new plan to *plan. */
NC_API int32_t nc_norm_plan_create(const nc_norm_spec* spec, int64_t* plan) NC_NOEXCEPT;

/* Frees the plan. 0 is ignored. */
NC_API int32_t nc_norm_plan_destroy(int64_t plan) NC_NOEXCEPT;

/* The operands of a forward.
 *
 * If y is FP8, the call scales the value that the policy would round to the type of y (unrounded under
 * NC_ROUND_COMPUTE, otherwise rd_P(...)), and rounds it to FP8 once. */
typedef struct nc_norm_forward_args {
  uint32_t struct_size;
  int32_t reserved; /* 0 */
  int64_t rows;     /* at least 0; all other operands may be absent if it is 0 */
  int64_t x;        /* [rows, N] */
  int64_t x_stride;
  int64_t residual; /* [rows, N] in the type of x, or 0. If given, the call normalises x + residual */
  int64_t residual_stride;
  int64_t weight; /* [N], as the plan's affine requires */
  int64_t bias;   /* [N], likewise */
  int64_t y;      /* output, [rows, N]. In place: x, residual */
  int64_t y_stride;
  int64_t residual_out; /* output, [rows, N]: the rounded sum. Required with a residual. In place: x, residual */
  int64_t residual_out_stride;
  int64_t mean; /* output, [rows] in the compute type, for the backward of LayerNorm. 0: inference */
  int64_t rstd; /* output, [rows] in the compute type, for the backward. 0: inference */
  /* For an FP8 y, by scaling; 0 if the scaling does not use it. A float32 is 4-byte aligned. */
  int64_t y_scale; /* TENSOR: a float32, which should be positive, finite and normal; its value is not checked */
  int64_t y_amax;  /* TENSOR: output, a float32, or 0: the larger of its value and the largest |value| before scaling,
                    * rounded to float32. Zero it first; concurrent calls may share it */
  int64_t y_scale_inv; /* ROW: output, [rows] float32, 1 / scale. BLOCK: output, [rows, ceil(N / 32)] E8M0 codes */
  int64_t stream;
} nc_norm_forward_args;

/* The operands of a backward. */
typedef struct nc_norm_backward_args {
  uint32_t struct_size;
  int32_t reserved; /* 0 */
  int64_t rows;     /* at least 0. The gradients of no rows are 0 */
  int64_t x;        /* [rows, N], the normalised tensor: with a residual, residual_out of the forward */
  int64_t x_stride;
  int64_t weight; /* [N], as the plan's affine requires */
  int64_t dy;     /* [rows, N] in the type of y */
  int64_t dy_stride;
  int64_t mean;      /* [rows], as saved by the forward of LayerNorm */
  int64_t rstd;      /* [rows], as saved by the forward */
  int64_t dresidual; /* [rows, N] in the type of x, or 0: the incoming gradient of the residual sum, which the call adds
                      * to dx before the only rounding of dx. Requires dx */
  int64_t dresidual_stride;
  int64_t dx; /* output, [rows, N], or 0: not computed. In place: x, dy, dresidual */
  int64_t dx_stride;
  int64_t workspace;       /* 8-byte aligned; required for dweight or dbias. Its contents are undefined afterwards */
  int64_t workspace_bytes; /* at least nc_norm_backward_workspace */
  int64_t dweight;         /* output, [N] */
  int64_t dbias;           /* output, [N] */
  int32_t dweight_dtype;   /* the plan's weight dtype or NC_FLOAT32; NC_GRADIENT_ACCUMULATE: NC_FLOAT32 only */
  int32_t dweight_mode;    /* NC_GRADIENT_*; 0: not computed */
  int32_t dbias_dtype;     /* as dweight_dtype */
  int32_t dbias_mode;      /* as dweight_mode */
  int64_t stream;
} nc_norm_backward_args;

/* Forward and backward of a norm, whole. */
NC_API int32_t nc_norm_forward(int64_t plan, const nc_norm_forward_args* args) NC_NOEXCEPT;
NC_API int32_t nc_norm_backward(int64_t plan, const nc_norm_backward_args* args) NC_NOEXCEPT;

/* The number of row groups of a backward over `rows` rows, a function of rows and hidden size only. */
NC_API int32_t nc_norm_backward_groups(int64_t plan, int64_t rows, int64_t* groups) NC_NOEXCEPT;

/* The bytes of workspace of a backward over `rows` rows; 0 if neither dweight nor dbias is requested. */
NC_API int32_t nc_norm_backward_workspace(int64_t plan, int64_t rows, int32_t wants_dweight, int32_t wants_dbias,
                                          int64_t* bytes) NC_NOEXCEPT;

/* Calls in ranges, for plans of the CPU; a plan of a CUDA device is refused. nc_..._begin checks the plan and the
 * operands, prepares the call in the caller's memory and writes the number of units of its two phases to units[0] and
 * units[1]. Then any threads run the units, all of phase 0 before the first of phase 1. A call may be run again: it
 * keeps no state. Its memory needs no release. The plan must not be destroyed before the last unit is run.
 *
 * Units of phase 0: rows; row groups of a backward, numbered by their place in the summation tree of dweight and dbias,
 * so that aligned power-of-two ranges minimise the work of phase 1; tokens of a rotary embedding.
 * Units of phase 1: the columns of dweight and dbias; none of other calls. */
#define NC_CALL_BYTES 512
#define NC_CALL_ALIGNMENT 16

NC_API int32_t nc_norm_forward_begin(int64_t plan, const nc_norm_forward_args* args, void* call,
                                     int64_t units[2]) NC_NOEXCEPT;
NC_API int32_t nc_norm_backward_begin(int64_t plan, const nc_norm_backward_args* args, void* call,
                                      int64_t units[2]) NC_NOEXCEPT;

/* Runs units begin .. end - 1 of a phase in the calling thread. Checks only the phase, the range and that `call` was
 * begun. */
NC_API int32_t nc_call_run(const void* call, int32_t phase, int64_t begin, int64_t end) NC_NOEXCEPT;

/* CUDA. The kernels are in a separate library, libnormcore_cuda.so. The first call that needs CUDA loads it: from the
 * libraries already loaded by the process, then from the search path of the dynamic linker. The environment variable
 * NORMCORE_CUDA_LIBRARY names another file. Without the library, a driver or a device, every call that needs CUDA
 * returns NC_UNSUPPORTED, with the reason in the message.
 */

/* The properties of a CUDA device. The library writes at most struct_size bytes. */
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

/* Writes the properties of a device, 0 .. count - 1, to *answer. */
NC_API int32_t nc_cuda_device_query(int32_t device, nc_cuda_device* answer) NC_NOEXCEPT;

/* Allocates device memory, 256-byte aligned, for callers without an allocator. nc_cuda_free waits for the device; it
 * ignores address 0. */
NC_API int32_t nc_cuda_allocate(int32_t device, int64_t bytes, int64_t* address) NC_NOEXCEPT;
NC_API int32_t nc_cuda_free(int32_t device, int64_t address) NC_NOEXCEPT;

/* Copy between non-overlapping host or device memory, and zero-fill of device memory, in stream order. A copy from or
 * to pageable host memory may block. */
NC_API int32_t nc_cuda_copy(int32_t device, int64_t target, int64_t source, int64_t bytes, int64_t stream) NC_NOEXCEPT;
NC_API int32_t nc_cuda_zero(int32_t device, int64_t address, int64_t bytes, int64_t stream) NC_NOEXCEPT;

/* Creates a stream that does not synchronise with the default stream. nc_cuda_stream_destroy does not cancel its work;
 * it ignores stream 0. */
NC_API int32_t nc_cuda_stream_create(int32_t device, int64_t* stream) NC_NOEXCEPT;
NC_API int32_t nc_cuda_stream_destroy(int32_t device, int64_t stream) NC_NOEXCEPT;
/* Waits for all work of the stream. Returns NC_CUDA_ERROR if any of it failed. */
NC_API int32_t nc_cuda_stream_synchronize(int32_t device, int64_t stream) NC_NOEXCEPT;

/* Writes the names of the kernels that a plan of a CUDA device launches, as text of at most `capacity` bytes including
 * the final zero, to the address `text`; 2048 bytes suffice. There is one line for each of forward and backward,
 * aligned and unaligned, with and without a residual, for many rows. A line says "left out" if the device lacks the
 * clusters or the shared memory of the fast kernel, so that a slower one with the same bits runs instead. */
NC_API int32_t nc_cuda_norm_kernels(int64_t plan, int64_t text, int64_t capacity) NC_NOEXCEPT;

/* Rotary position embedding: rotates heads by the angles of a table of cosines and sines. Plans as those of a norm. */
NC_API int32_t nc_rotary_plan_create(const nc_rotary_spec* spec, int64_t* plan) NC_NOEXCEPT;
NC_API int32_t nc_rotary_plan_destroy(int64_t plan) NC_NOEXCEPT;

/* The operands of a rotation.
 *
 * Element i of head h of token (b, s) of x and y is at b * batch_stride + s * seq_stride + h * head_stride + i, in
 * elements, for layouts such as [batch, seq, heads, head_dim] and [batch, heads, seq, head_dim]. Strides are at least
 * 0; the stride of a dimension of size 1 is ignored. The heads of x may overlap, for example at stride 0. The strides
 * of y must nest: each is at least the extent of the shorter ones, so that no two elements share an address. */
typedef struct nc_rotary_args {
  uint32_t struct_size;
  int32_t backward; /* 1: rotate by the negative angle, which computes the gradient; otherwise 0 */
  int64_t batch;    /* at least 0, like seq and heads. Token (b, s) has number b * seq + s */
  int64_t seq;
  int64_t heads;
  int64_t x; /* [batch, seq, heads, head_dim] */
  int64_t x_batch_stride;
  int64_t x_seq_stride;
  int64_t x_head_stride;
  int64_t cos;              /* contiguous rows of rotary_dim / 2; token (b, s) uses row b * table_batch_rows + s */
  int64_t sin;              /* as cos */
  int64_t table_batch_rows; /* at least seq, or 0: all batches have the same positions */
  int64_t y;                /* output, as x. In place: x, at the same strides */
  int64_t y_batch_stride;
  int64_t y_seq_stride;
  int64_t y_head_stride;
  int64_t stream;
} nc_rotary_args;

/* Rotates the heads of all tokens; or begins a call whose units are tokens. */
NC_API int32_t nc_rotary_apply(int64_t plan, const nc_rotary_args* args) NC_NOEXCEPT;
NC_API int32_t nc_rotary_begin(int64_t plan, const nc_rotary_args* args, void* call, int64_t units[2]) NC_NOEXCEPT;

/* FP8: conversions between matrices of rows x columns elements. The arithmetic is float32; rounding is to nearest even
 * and saturates; NaN stays NaN. Plans as those of a norm. */
NC_API int32_t nc_fp8_plan_create(const nc_fp8_spec* spec, int64_t* plan) NC_NOEXCEPT;
NC_API int32_t nc_fp8_plan_destroy(int64_t plan) NC_NOEXCEPT;

/* The operands of the FP8 operations. An operation ignores the fields that it does not name, so that a sequence such as
 * amax, scale, quantize can share a structure. A float32 is 4-byte aligned. */
typedef struct nc_fp8_args {
  uint32_t struct_size;
  int32_t reserved; /* 0 */
  int64_t rows;     /* at least 0 */
  int64_t columns;  /* at least 0 */
  int64_t count;    /* nc_fp8_scale: the length of amax, scale and scale_inv, at least 0 */
  int64_t x;        /* [rows, columns]: amax, quantize */
  int64_t x_stride;
  int64_t q; /* [rows, columns] in FP8: output of quantize, input of dequantize */
  int64_t q_stride;
  int64_t y; /* output, [rows, columns]: dequantize */
  int64_t y_stride;
  int64_t amax;      /* amax: output, a float32. scale: [count] float32. quantize by TENSOR: output, a float32, or 0 */
  int64_t scale;     /* scale: output, [count] float32, or 0. quantize by TENSOR: a float32 */
  int64_t scale_inv; /* scale: output, [count] float32, or 0. quantize by BLOCK: output, [rows, ceil(columns / 32)] E8M0
                      * codes. dequantize: one float32, [rows] float32 or [rows, ceil(columns / 32)] E8M0, by scaling */
  int64_t stream;
} nc_fp8_args;

/* *amax = max(*amax, largest |x|). Ignores NaN, includes infinity. Zero *amax first; concurrent calls may share it. */
NC_API int32_t nc_fp8_amax(int64_t plan, const nc_fp8_args* args) NC_NOEXCEPT;

/* scale = scale_of(amax) and scale_inv = 1 / scale, element by element. At least one of the two is given. */
NC_API int32_t nc_fp8_scale(int64_t plan, const nc_fp8_args* args) NC_NOEXCEPT;

/* q = rd(x * scale). By TENSOR: the scale is given; if amax is not 0, also updates it as nc_fp8_amax does. By BLOCK:
 * the call computes the scales of the blocks; scale and amax are 0. */
NC_API int32_t nc_fp8_quantize(int64_t plan, const nc_fp8_args* args) NC_NOEXCEPT;

/* y = rd(q * scale_inv), the product in float32. */
NC_API int32_t nc_fp8_dequantize(int64_t plan, const nc_fp8_args* args) NC_NOEXCEPT;

/* Begin a call whose units are rows. */
NC_API int32_t nc_fp8_amax_begin(int64_t plan, const nc_fp8_args* args, void* call, int64_t units[2]) NC_NOEXCEPT;
NC_API int32_t nc_fp8_quantize_begin(int64_t plan, const nc_fp8_args* args, void* call, int64_t units[2]) NC_NOEXCEPT;
NC_API int32_t nc_fp8_dequantize_begin(int64_t plan, const nc_fp8_args* args, void* call, int64_t units[2]) NC_NOEXCEPT;

/* Converts `count` elements from any dtype to any but NC_FLOAT8_E8M0. Rounds to nearest even; NaN becomes the canonical
 * quiet NaN; overflow becomes infinity or, in FP8, the largest finite value. In place: target may be source if the
 * dtypes have the same size. */
NC_API int32_t nc_convert(int64_t source, int32_t source_dtype, int64_t target, int32_t target_dtype,
                          int64_t count) NC_NOEXCEPT;

/* Copies non-overlapping memory in the calling thread with non-temporal stores: for large blocks, a measure of the
 * memory bandwidth that bounds a norm. */
NC_API int32_t nc_copy(int64_t to, int64_t from, int64_t bytes) NC_NOEXCEPT;

/* Allocates host memory, 64-byte aligned, for callers without an allocator. nc_free ignores address 0. */
NC_API int32_t nc_allocate(int64_t bytes, int64_t* address) NC_NOEXCEPT;
NC_API int32_t nc_free(int64_t address) NC_NOEXCEPT;

/* The same, page-locked, so that copies to and from CUDA devices do not block. Requires CUDA. */
NC_API int32_t nc_cuda_host_allocate(int64_t bytes, int64_t* address) NC_NOEXCEPT;
NC_API int32_t nc_cuda_host_free(int64_t address) NC_NOEXCEPT;

/* The bytes currently allocated by nc_allocate and nc_cuda_host_allocate: the sum of the requested sizes. */
NC_API int64_t nc_allocated_bytes(void) NC_NOEXCEPT;

#if defined(__cplusplus)
}
#endif

#endif /* NORMCORE_H */
