// FP8 kernels: amax, quantisation by one scale or by one scale per block, dequantisation.
#include "fp8_row.h"
#include "kernels.h"

namespace nc {
inline namespace NC_LEVEL {
namespace {

// Calls f(format) for float32, bfloat16 or float16. The plain level has one generic kernel.
template <class F>
void with_wide(DType type, F f) {
#if defined(NC_STATIC_KERNELS)
  if (type == DType::float32) return f(StaticFormat<DType::float32>{});
  if (type == DType::bfloat16) return f(StaticFormat<DType::bfloat16>{});
  return f(StaticFormat<DType::float16>{});
#else
  f(RuntimeFormat{type});
#endif
}

template <bool Measured, class X, class Q>
void quantize_by_one(X x, Q q, const Fp8QuantizeArguments& a) {
  float scale;
  memcpy(&scale, a.scale, sizeof(scale));
  MaxAbs<float> largest;
  for (int64_t row = 0; row < a.rows; ++row) {
    quantize_row<Measured>(x, q, a.from + row * a.from_stride, a.columns, scale, a.to + row * a.to_stride, largest);
  }
  if constexpr (Measured) atomic_max(a.amax, largest.value());
}

template <class Q, class Y>
NC_INLINE void dequantize_part(Q q, Y y, const char* from, int64_t first, int64_t n, float scale_inv, char* to) {
  const Vec8<float> scale = Vec8<float>::all(scale_inv);
  for_each_vec(n, [&](int64_t after, auto extent) NC_LAMBDA_INLINE {
    store(y, to, first + after, extent, load_float8(q.dtype(), from, first + after, extent) * scale);
  });
}

template <class Q, class Y>
void dequantize_by_numbers(Q q, Y y, const Fp8DequantizeArguments& a) {
  const int64_t step = a.scaling == Scaling::row ? sizeof(float) : 0;
  for (int64_t row = 0; row < a.rows; ++row) {
    float scale_inv;
    memcpy(&scale_inv, a.scale_inv + row * step, sizeof(scale_inv));
    dequantize_part(q, y, a.from + row * a.from_stride, 0, a.columns, scale_inv, a.to + row * a.to_stride);
  }
}

template <class Q, class Y>
void dequantize_by_blocks(Q q, Y y, const Fp8DequantizeArguments& a) {
  const char* code = a.scale_inv;
  for (int64_t row = 0; row < a.rows; ++row) {
    const char* from = a.from + row * a.from_stride;
    char* to = a.to + row * a.to_stride;
    for (int64_t first = 0; first < a.columns; first += kScaleBlock, ++code) {
      const float scale_inv = decode_e8m0(static_cast<uint8_t>(*code));
      if (first + kScaleBlock <= a.columns) {
        dequantize_part(q, y, from, first, kScaleBlock, scale_inv, to);
      } else {
        dequantize_part(q, y, from, first, a.columns - first, scale_inv, to);
      }
    }
  }
}

template <class X>
void amax(const Fp8AmaxArguments& a) {
  MaxAbs<float> largest;
  for (int64_t row = 0; row < a.rows; ++row) {
    add_row(format_of<X>(a.x), a.from + row * a.stride, a.columns, largest);
  }
  atomic_max(a.amax, largest.value());
}

template <class X, class Q>
void quantize(const Fp8QuantizeArguments& a) {
  const X x = format_of<X>(a.x);
  const Q q = format_of<Q>(a.format);
  if (a.scaling == Scaling::tensor) {
    return a.amax != nullptr ? quantize_by_one<true>(x, q, a) : quantize_by_one<false>(x, q, a);
  }
  const int64_t blocks = ceil_div(a.columns, kScaleBlock);
  for (int64_t row = 0; row < a.rows; ++row) {
    quantize_row_by_blocks<float>(x, q, a.from + row * a.from_stride, a.columns, a.to + row * a.to_stride,
                                  a.block_scales + row * blocks);
  }
}

template <class Q, class Y>
void dequantize(const Fp8DequantizeArguments& a) {
  const Q q = format_of<Q>(a.format);
  const Y y = format_of<Y>(a.y);
  a.scaling == Scaling::block ? dequantize_by_blocks(q, y, a) : dequantize_by_numbers(q, y, a);
}

}  // namespace

CpuFp8 select_fp8(const Fp8Spec& spec) {
  CpuFp8 selected{};
  with_float8(spec.format, [&](auto q) {
    using Q = decltype(q);
    with_wide(spec.x, [&](auto x) {
      using X = decltype(x);
      selected.amax = amax<X>;
      selected.quantize = quantize<X, Q>;
    });
    with_wide(spec.y, [&](auto y) { selected.dequantize = dequantize<Q, decltype(y)>; });
  });
  return selected;
}

}  // namespace NC_LEVEL
}  // namespace nc
