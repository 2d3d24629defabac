// FP8 of one matrix at a time: its largest magnitude, quantised by one scale or by one a block, and back.
#include "../core/scale.h"
#include "kernels.h"
#include "packet.h"

namespace nc {
inline namespace NC_LEVEL {
namespace {

constexpr int kBlockPackets = kScaleBlock / kPacket;

// f(format), one of float32, bfloat16 and float16, or of the two of FP8. The plain level has one kernel for all.
#if defined(NC_STATIC_KERNELS)
template <class F>
void with_wide(DType type, F f) {
  if (type == DType::float32) return f(StaticFormat<DType::float32>{});
  if (type == DType::bfloat16) return f(StaticFormat<DType::bfloat16>{});
  return f(StaticFormat<DType::float16>{});
}
template <class F>
void with_float8(DType type, F f) {
  if (type == DType::float8_e4m3) return f(StaticFormat<DType::float8_e4m3>{});
  return f(StaticFormat<DType::float8_e5m2>{});
}
#else
template <class F>
void with_wide(DType type, F f) {
  f(RuntimeFormat{type});
}
template <class F>
void with_float8(DType type, F f) {
  f(RuntimeFormat{type});
}
#endif

// Largest magnitudes by position, in as many packets as keep the comparisons from waiting for one another.
struct Largest {
  Packet<float> of[kBlockPackets];
  NC_INLINE Largest() {
    for (Packet<float>& p : of) p = Packet<float>::zero();
  }
  NC_INLINE float value() const { return largest_position(larger(larger(of[0], of[1]), larger(of[2], of[3]))); }
};

template <class X>
NC_INLINE void add_row(X x, const char* row, int64_t n, Largest& largest) {
  int64_t first = 0;
  for (; first + kScaleBlock <= n; first += kScaleBlock) {
    for (int i = 0; i < kBlockPackets; ++i) {
      largest.of[i] = larger_magnitude(largest.of[i], load<float>(x, row, first + i * kPacket, Full{}));
    }
  }
  for_each_packet(n - first, [&](int64_t after, auto extent) NC_LAMBDA_INLINE {
    largest.of[0] = larger_magnitude(largest.of[0], load<float>(x, row, first + after, extent));
  });
}

template <bool Measured, class X, class Q>
void quantize_by_one(X x, Q q, const Fp8QuantizeArguments& a) {
  float scale;
  memcpy(&scale, a.scale, sizeof(scale));
  const Packet<float> scales = Packet<float>::all(scale);
  Packet<float> largest = Packet<float>::zero();
  for (int64_t row = 0; row < a.rows; ++row) {
    const char* from = a.from + row * a.from_stride;
    char* to = a.to + row * a.to_stride;
    for_each_packet(a.columns, [&](int64_t first, auto extent) NC_LAMBDA_INLINE {
      const Packet<float> v = load<float>(x, from, first, extent);
      if constexpr (Measured) largest = larger_magnitude(largest, v);
      store_float8(q.dtype(), to, first, extent, v * scales);
    });
  }
  if constexpr (Measured) raise(a.amax, largest_position(largest));
}

// The scale of a block, whose code is written.
template <class Q>
NC_INLINE Packet<float> block_scale(Q q, float amax, char* code) {
  const uint32_t e8m0 = e8m0_of(amax, q.dtype());
  *code = static_cast<char>(e8m0);
  return Packet<float>::all(block_scale_of(e8m0));
}

template <class X, class Q>
NC_INLINE void quantize_row_by_blocks(X x, Q q, const char* from, int64_t n, char* to, char* codes) {
  int64_t first = 0;
  for (; first + kScaleBlock <= n; first += kScaleBlock, ++codes) {
    Packet<float> v[kBlockPackets];
    for (int i = 0; i < kBlockPackets; ++i) v[i] = load<float>(x, from, first + i * kPacket, Full{});
    Largest largest;
    for (int i = 0; i < kBlockPackets; ++i) largest.of[i] = larger_magnitude(largest.of[i], v[i]);
    const Packet<float> scale = block_scale(q, largest.value(), codes);
    for (int i = 0; i < kBlockPackets; ++i) store_float8(q.dtype(), to, first + i * kPacket, Full{}, v[i] * scale);
  }
  if (first == n) return;
  // The shorter block at the end.
  Packet<float> largest = Packet<float>::zero();
  for_each_packet(n - first, [&](int64_t after, auto extent) NC_LAMBDA_INLINE {
    largest = larger_magnitude(largest, load<float>(x, from, first + after, extent));
  });
  const Packet<float> scale = block_scale(q, largest_position(largest), codes);
  for_each_packet(n - first, [&](int64_t after, auto extent) NC_LAMBDA_INLINE {
    store_float8(q.dtype(), to, first + after, extent, load<float>(x, from, first + after, extent) * scale);
  });
}

template <class Q, class Y>
NC_INLINE void dequantize_part(Q q, Y y, const char* from, int64_t first, int64_t n, float scale_inv, char* to) {
  const Packet<float> scale = Packet<float>::all(scale_inv);
  for_each_packet(n, [&](int64_t after, auto extent) NC_LAMBDA_INLINE {
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

}  // namespace

void fp8_amax(const Fp8AmaxArguments& a) {
  with_wide(a.x, [&](auto x) {
    Largest largest;
    for (int64_t row = 0; row < a.rows; ++row) add_row(x, a.from + row * a.stride, a.columns, largest);
    raise(a.amax, largest.value());
  });
}

void fp8_quantize(const Fp8QuantizeArguments& a) {
  with_wide(a.x, [&](auto x) {
    with_float8(a.format, [&](auto q) {
      if (a.scaling == Scaling::tensor) {
        return a.amax != nullptr ? quantize_by_one<true>(x, q, a) : quantize_by_one<false>(x, q, a);
      }
      const int64_t blocks = ceil_div(a.columns, kScaleBlock);
      for (int64_t row = 0; row < a.rows; ++row) {
        quantize_row_by_blocks(x, q, a.from + row * a.from_stride, a.columns, a.to + row * a.to_stride,
                               a.block_scales + row * blocks);
      }
    });
  });
}

void fp8_dequantize(const Fp8DequantizeArguments& a) {
  with_float8(a.format, [&](auto q) {
    with_wide(a.y, [&](auto y) {
      a.scaling == Scaling::block ? dequantize_by_blocks(q, y, a) : dequantize_by_numbers(q, y, a);
    });
  });
}

}  // namespace NC_LEVEL
}  // namespace nc
