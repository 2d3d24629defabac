// Selects the FP8 kernel of a matrix and launches it.
#include <atomic>
#include <initializer_list>
#include <utility>

#include "device_call.h"
#include "elementwise.h"
#include "fp8.cuh"

namespace nc {
inline namespace NC_LEVEL {
namespace {

// Enough blocks to fill any device several times over, and few enough that each thread has several vectors.
constexpr int64_t kMostBlocks = 2048;

// Merges contiguous rows into one long row, if that does not change the scale blocks of 32.
template <class Arguments>
void join_rows(Arguments& a, bool in_blocks, std::initializer_list<std::pair<int64_t*, int>> strides) {
  bool joined = a.rows > 1 && (!in_blocks || a.columns % kScaleBlock == 0);
  for (const auto& [stride, width] : strides) joined = joined && *stride == a.columns * width;
  if (!joined) return;
  a.columns *= a.rows;
  a.rows = 1;
  for (const auto& [stride, width] : strides) *stride = a.columns * width;
}

VecGrid vecs_of(int64_t rows, int64_t columns, int64_t blocks) {
  VecGrid o{};
  o.rows = rows;
  o.columns = columns;
  o.per_row = ceil_div(columns, kScaleBlock) * kBlockVecs;
  const int64_t threads = blocks * kFp8Threads;
  o.rounds = ceil_div(rows * o.per_row, threads);
  o.step_rows = threads / o.per_row;
  o.step_vecs = threads % o.per_row;
  return o;
}

template <class Parameters>
using Kernel = void (*)(Parameters);

// The instances of a kernel: one for whole words of each wide format, and the generic one.
template <class Parameters>
struct Kernels {
  Kernel<Parameters> float32, bfloat16, float16, any;
  Kernel<Parameters> in_words(DType type) const {
    return type == DType::float32 ? float32 : type == DType::bfloat16 ? bfloat16 : float16;
  }
};
#define NC_KERNELS(kernel)                                                                              \
  {                                                                                                     \
    kernel<InWords<DType::float32>>, kernel<InWords<DType::bfloat16>>, kernel<InWords<DType::float16>>, \
        kernel<ByElements>                                                                              \
  }
const Kernels<AmaxParameters> kAmax = NC_KERNELS(fp8_amax_kernel);
const Kernels<QuantizeParameters> kQuantize = NC_KERNELS(fp8_quantize_kernel);
const Kernels<QuantizeParameters> kQuantizeBlocks = NC_KERNELS(fp8_quantize_blocks_kernel);
const Kernels<DequantizeParameters> kDequantize = NC_KERNELS(fp8_dequantize_kernel);
#undef NC_KERNELS

template <class Parameters>
int32_t load_all(const Kernels<Parameters>& kernels) {
  KernelFacts facts{};
  const Kernel<Parameters> all[] = {kernels.float32, kernels.bfloat16, kernels.float16, kernels.any};
  for (const Kernel<Parameters> kernel : all) {
    if (const int32_t error = load_kernel(kernel, &facts)) return error;
  }
  return 0;
}

// FP8 calls have no plan that loads their kernels, so the first call on a device loads them all: CUDA refuses a launch
// that loads its kernel during stream capture.
int32_t loaded_on(int32_t device) {
  static std::atomic<uint64_t> loaded{0};
  const uint64_t bit = device < 64 ? uint64_t{1} << device : 0;
  if ((loaded.load(std::memory_order_acquire) & bit) != 0) return 0;
  const cuda_runtime::CurrentDevice current(device);
  if (current.error() != 0) return current.error();
  KernelFacts facts{};
  if (const int32_t error = load_all(kAmax)) return error;
  if (const int32_t error = load_all(kQuantize)) return error;
  if (const int32_t error = load_all(kQuantizeBlocks)) return error;
  if (const int32_t error = load_all(kDequantize)) return error;
  if (const int32_t error = load_kernel(fp8_scale_kernel, &facts)) return error;
  loaded.fetch_or(bit, std::memory_order_release);
  return 0;
}

template <class Parameters>
int32_t launch_loaded(int32_t device, const Launch<Parameters>& l, const Parameters& p, int64_t stream) {
  const int32_t error = loaded_on(device);
  return error != 0 ? error : launch_on(device, l, p, stream);
}

// wide: the non-FP8 format, and `address` its address; in_words: whether all vectors are aligned.
template <class Parameters>
int32_t start(int32_t device, const Kernels<Parameters>& kernels, Parameters& p, DType wide, const char* address,
              bool in_words, int shared_bytes, int64_t stream) {
  const int64_t vecs = p.a.rows * (ceil_div(p.a.columns, kScaleBlock) * kBlockVecs);
  Launch<Parameters> l{};
  l.kernel = in_words ? kernels.in_words(wide) : kernels.any;
  l.blocks = ceil_div(vecs, kFp8Threads) < kMostBlocks ? ceil_div(vecs, kFp8Threads) : kMostBlocks;
  l.block_rows = 1;
  l.threads = kFp8Threads;
  l.cluster = 1;
  l.shared_bytes = shared_bytes;
  p.vecs = vecs_of(p.a.rows, p.a.columns, l.blocks);
  p.alignment = all_multiples(bytes_of(wide), at(address)) ? Alignment::element : Alignment::none;
  return launch_loaded(device, l, p, stream);
}

// A stride matters only where there is a second row.
template <class Arguments>
int64_t stride_of(const Arguments& a, int64_t stride) {
  return a.rows > 1 ? stride : 0;
}

}  // namespace

int32_t fp8_amax(int32_t device, const Fp8AmaxArguments& a, int64_t stream) {
  AmaxParameters p{};
  p.a = a;
  join_rows(p.a, false, {{&p.a.stride, bytes_of(a.x)}});
  const bool in_words = all_multiples(16, at(a.from), stride_of(p.a, p.a.stride));
  return start(device, kAmax, p, a.x, a.from, in_words, kBlockMaxBytes, stream);
}

int32_t fp8_scale(int32_t device, const Fp8ScaleArguments& a, int64_t stream) {
  ScaleParameters p{};
  p.a = a;
  Launch<ScaleParameters> l{};
  l.kernel = fp8_scale_kernel;
  l.blocks = ceil_div(a.count, kFp8Threads);
  l.block_rows = 1;
  l.threads = kFp8Threads;
  l.cluster = 1;
  return launch_loaded(device, l, p, stream);
}

int32_t fp8_quantize(int32_t device, const Fp8QuantizeArguments& a, int64_t stream) {
  QuantizeParameters p{};
  p.a = a;
  const bool blocks = a.scaling == Scaling::block;
  join_rows(p.a, blocks, {{&p.a.from_stride, bytes_of(a.x)}, {&p.a.to_stride, 1}});
  const bool in_words = all_multiples(16, at(a.from), stride_of(p.a, p.a.from_stride)) &&
                        all_multiples(kVecWidth, at(a.to), stride_of(p.a, p.a.to_stride));
  return start(device, blocks ? kQuantizeBlocks : kQuantize, p, a.x, a.from, in_words, blocks ? 0 : kBlockMaxBytes,
               stream);
}

int32_t fp8_dequantize(int32_t device, const Fp8DequantizeArguments& a, int64_t stream) {
  DequantizeParameters p{};
  p.a = a;
  if (a.scaling != Scaling::row) {
    join_rows(p.a, a.scaling == Scaling::block, {{&p.a.from_stride, 1}, {&p.a.to_stride, bytes_of(a.y)}});
  }
  const bool in_words = all_multiples(kVecWidth, at(a.from), stride_of(p.a, p.a.from_stride)) &&
                        all_multiples(16, at(a.to), stride_of(p.a, p.a.to_stride));
  return start(device, kDequantize, p, a.y, a.to, in_words, 0, stream);
}

}  // namespace NC_LEVEL
}  // namespace nc
