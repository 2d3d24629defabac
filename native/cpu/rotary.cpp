// Rotary position embedding on the CPU.
//
//   y1 = x1 * cos - x2 * sin, y2 = x2 * cos + x1 * sin, rounded by the policy
//
// The cosines and sines of a few tokens are converted to float32 once for all heads. The inner loop runs over tokens or
// over heads, whichever have the shorter stride in y.
#include <type_traits>

#include "../core/policy.h"
#include "kernels.h"
#include "vec8.h"

namespace nc {
inline namespace NC_LEVEL {
namespace {

// Eight pairs.
struct Pairs {
  Vec8<float> x1, x2;
};

// Pairs of neighbours: elements 2 first .. 2 first + 15 of a row. The extent counts pairs.
template <DType T, class Extent>
NC_INLINE Pairs load_neighbours(StaticFormat<T>, const char* row, int64_t first, Extent extent) {
  constexpr int width = 2 * bytes_of(T);
  const char* p = row + first * width;
  alignas(64) char tail[kVecWidth * width];
  if constexpr (!Extent::full) {
    memset(tail, 0, sizeof(tail));
    memcpy(tail, p, static_cast<size_t>(extent.count * width));
    p = tail;
  } else {
    (void)extent;
    (void)tail;
  }
  if constexpr (T == DType::float32) {
    const auto low = load_raw<VectorOf<float>::type>(p), high = load_raw<VectorOf<float>::type>(p + sizeof(low));
    return {{__builtin_shufflevector(low, high, 0, 2, 4, 6, 8, 10, 12, 14)},
            {__builtin_shufflevector(low, high, 1, 3, 5, 7, 9, 11, 13, 15)}};
  } else {
    // A pair is a 32-bit word; its first element is the lower half.
    const U32x8 words = load_raw<U32x8>(p);
    if constexpr (T == DType::bfloat16) {
      return {{reinterpret_cast<VectorOf<float>::type>(words << 16)},
              {reinterpret_cast<VectorOf<float>::type>(words & 0xffff0000u)}};
    } else {
      return {from_float16_bits(low_halves(words & 0xffffu)), from_float16_bits(low_halves(words >> 16))};
    }
  }
}
template <DType T, class Extent>
NC_INLINE void store_neighbours(StaticFormat<T>, char* row, int64_t first, Extent extent, Pairs p) {
  constexpr int width = 2 * bytes_of(T);
  alignas(64) char tail[kVecWidth * width];
  char* const at = row + first * width;
  char* const to_write = Extent::full ? at : tail;
  if constexpr (T == DType::float32) {
    const auto low = __builtin_shufflevector(p.x1.v, p.x2.v, 0, 8, 1, 9, 2, 10, 3, 11);
    const auto high = __builtin_shufflevector(p.x1.v, p.x2.v, 4, 12, 5, 13, 6, 14, 7, 15);
    memcpy(to_write, &low, sizeof(low));
    memcpy(to_write + sizeof(low), &high, sizeof(high));
  } else if constexpr (T == DType::bfloat16) {
    const U32x8 words = (reinterpret_cast<U32x8>(Rounding<Vec8<float>>::bfloat16(p.x1).v) >> 16) |
                        reinterpret_cast<U32x8>(Rounding<Vec8<float>>::bfloat16(p.x2).v);
    memcpy(to_write, &words, sizeof(words));
  } else {
    const U16x8 one = to_float16_bits(p.x1), other = to_float16_bits(p.x2);
    const U16x8 low = __builtin_shufflevector(one, other, 0, 8, 1, 9, 2, 10, 3, 11);
    const U16x8 high = __builtin_shufflevector(one, other, 4, 12, 5, 13, 6, 14, 7, 15);
    memcpy(to_write, &low, sizeof(low));
    memcpy(to_write + sizeof(low), &high, sizeof(high));
  }
  if constexpr (!Extent::full) memcpy(at, tail, static_cast<size_t>(extent.count * width));
}

NC_INLINE int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }

// Angles buffered at a time, and for how many tokens. Few if a token's heads are contiguous, so that the angles stay in
// L1; many if a head's tokens are contiguous, for long sequential accesses.
constexpr int64_t kAngles = 4096;
constexpr int64_t kTokensOfHeads = 8;
constexpr int64_t kTokensOfAHead = 64;

NC_INLINE bool heads_are_closer(const RotaryArguments& r) { return r.y_strides.head <= r.y_strides.seq; }

// Angles of pairs first .. first + pairs - 1 of `tokens` tokens, in the order in which the kernel reads them.
struct Angles {
  int64_t tokens, first, pairs;
  int64_t pitch;  // pairs per token, a multiple of 8
  alignas(64) float cos[kAngles];
  alignas(64) float sin[kAngles];  // negated in the backward
};

// Half-split bfloat16 heads are processed sixteen elements at a time, split into even and odd: these are the lower and
// upper halves of eight words, which convert to and from float32 in fewer steps than in order.
constexpr int kVec16Width = 2 * kVecWidth;
NC_INLINE constexpr bool uses_vec16(DType x, RotaryLayout layout) {
  return x == DType::bfloat16 && layout == RotaryLayout::half_split;
}
struct FullPairs16 {};

// Calls f(first, extent) for n pairs; the extent is FullPairs16, Full or Part.
template <bool UseVec16, class F>
NC_INLINE void for_each_pairs(int64_t n, F f) {
  int64_t first = 0;
  if constexpr (UseVec16) {
    for (; first + kVec16Width <= n; first += kVec16Width) f(first, FullPairs16{});
  }
  for (; first + kVecWidth <= n; first += kVecWidth) f(first, FullVec{});
  if (first < n) f(first, PartialVec{static_cast<int>(n - first)});
}

// Addresses of the first head of a token.
struct TokenHeads {
  const char* x;
  char* y;
};

NC_INLINE void put_angles(float* to, Vec8<float> a) {
  a = with_canonical_nan(a);
  memcpy(to, &a.v, sizeof(a.v));
}
NC_INLINE Vec8<float> angles_at(const float* p) {
  return {load_raw<VectorOf<float>::type>(reinterpret_cast<const char*>(p))};
}

template <DType T, bool UseVec16>
void bring_angles(const char* cos, const char* sin, float direction, int64_t token, Angles& a) {
  const StaticFormat<T> format{};
  const Vec8<float> sign = Vec8<float>::all(direction);
  float* const to_cos = a.cos + token * a.pitch;
  float* const to_sin = a.sin + token * a.pitch;
  for_each_pairs<UseVec16>(a.pairs, [=](int64_t first, auto extent) NC_LAMBDA_INLINE {
    if constexpr (std::is_same<decltype(extent), FullPairs16>::value) {
      const Pairs c = load_neighbours(format, cos, first / 2, FullVec{}),
                  s = load_neighbours(format, sin, first / 2, FullVec{});
      put_angles(to_cos + first, c.x1);
      put_angles(to_cos + first + kVecWidth, c.x2);
      put_angles(to_sin + first, s.x1 * sign);
      put_angles(to_sin + first + kVecWidth, s.x2 * sign);
    } else {
      put_angles(to_cos + first, load<float>(format, cos, first, extent));
      put_angles(to_sin + first, load<float>(format, sin, first, extent) * sign);
    }
  });
}

using BringAngles = void (*)(const char*, const char*, float, int64_t, Angles&);
template <DType T>
BringAngles bring_angles_of(bool use_vec16) {
  return use_vec16 ? bring_angles<T, true> : bring_angles<T, false>;
}
BringAngles bring_angles_of(const RotarySpec& spec) {
  const bool use_vec16 = uses_vec16(spec.x, spec.layout);
  switch (spec.table) {
    case DType::bfloat16:
      return bring_angles_of<DType::bfloat16>(use_vec16);
    case DType::float16:
      return bring_angles_of<DType::float16>(use_vec16);
    default:
      return bring_angles_of<DType::float32>(use_vec16);
  }
}

// Rotates the pairs of a head, from pair `first`: element i of both halves, or neighbours.
template <DType X, RotaryLayout L, class T>
struct HeadRotator {
  static constexpr StaticFormat<X> format{};
  T rotate;
  const char* x;
  char* y;
  int64_t half;

  NC_INLINE Pairs rotated(Pairs p, Vec8<float> cos, Vec8<float> sin) const {
    return {rotate.first(p.x1, p.x2, cos, sin), rotate.second(p.x1, p.x2, cos, sin)};
  }
  template <class Extent>
  NC_INLINE void operator()(int64_t first, Extent extent, const float* cos, const float* sin) const {
    const Vec8<float> c = angles_at(cos), s = angles_at(sin);
    if constexpr (L == RotaryLayout::interleaved) {
      store_neighbours(format, y, first, extent, rotated(load_neighbours(format, x, first, extent), c, s));
    } else {
      const Pairs p =
          rotated({load<float>(format, x, first, extent), load<float>(format, x, half + first, extent)}, c, s);
      store(format, y, first, extent, p.x1);
      store(format, y, half + first, extent, p.x2);
    }
  }
  NC_INLINE void operator()(int64_t first, FullPairs16, const float* cos, const float* sin) const {
    const int64_t lower = first * bytes_of(X), upper = (half + first) * bytes_of(X);
    const Pairs low = load_neighbours(format, x + lower, 0, FullVec{}),
                high = load_neighbours(format, x + upper, 0, FullVec{});
    const Pairs even = rotated({low.x1, high.x1}, angles_at(cos), angles_at(sin));
    const Pairs odd = rotated({low.x2, high.x2}, angles_at(cos + kVecWidth), angles_at(sin + kVecWidth));
    store_neighbours(format, y + lower, 0, FullVec{}, {even.x1, odd.x1});
    store_neighbours(format, y + upper, 0, FullVec{}, {even.x2, odd.x2});
  }
};

// Rotates all heads of the tokens in `a`.
template <DType X, RotaryRounding R, RotaryLayout L>
void rotate_tokens(const RotaryArguments& r, int64_t half, const Angles& a, TokenHeads at) {
  using T = Rotate<StaticRotaryRounding<R>, StaticFormat<X>>;
  const auto one = [&](int64_t token, int64_t head) NC_LAMBDA_INLINE {
    const HeadRotator<X, L, T> rotate{{},
                                      at.x + token * r.x_strides.seq + head * r.x_strides.head,
                                      at.y + token * r.y_strides.seq + head * r.y_strides.head,
                                      half};
    const float* const cos = a.cos + token * a.pitch;
    const float* const sin = a.sin + token * a.pitch;
    const int64_t begin = a.first;
    for_each_pairs<uses_vec16(X, L)>(a.pairs, [=](int64_t first, auto extent) NC_LAMBDA_INLINE {
      rotate(begin + first, extent, cos + first, sin + first);
    });
  };
  if (heads_are_closer(r)) {
    for (int64_t token = 0; token < a.tokens; ++token) {
      for (int64_t head = 0; head < r.heads; ++head) one(token, head);
    }
  } else {
    for (int64_t head = 0; head < r.heads; ++head) {
      for (int64_t token = 0; token < a.tokens; ++token) one(token, head);
    }
  }
}

using RotateTokens = void (*)(const RotaryArguments&, int64_t, const Angles&, TokenHeads);

template <DType X, RotaryRounding R>
RotateTokens rotate_tokens_of(RotaryLayout layout) {
  return layout == RotaryLayout::interleaved ? rotate_tokens<X, R, RotaryLayout::interleaved>
                                             : rotate_tokens<X, R, RotaryLayout::half_split>;
}
template <DType X>
RotateTokens rotate_tokens_of(const RotarySpec& spec) {
  return spec.rounding == RotaryRounding::input ? rotate_tokens_of<X, RotaryRounding::input>(spec.layout)
                                                : rotate_tokens_of<X, RotaryRounding::compute>(spec.layout);
}
RotateTokens rotate_tokens_of(const RotarySpec& spec) {
  switch (spec.x) {
    case DType::bfloat16:
      return rotate_tokens_of<DType::bfloat16>(spec);
    case DType::float16:
      return rotate_tokens_of<DType::float16>(spec);
    default:
      // Rounding a float32 to float32 changes nothing.
      return rotate_tokens_of<DType::float32, RotaryRounding::compute>(spec.layout);
  }
}

// Copies the elements beyond rotary_dim.
void copy_rest(const RotarySpec& spec, const RotaryArguments& r, int64_t tokens, TokenHeads at) {
  const int64_t begin = spec.rotary_dim * bytes_of(spec.x);
  const size_t bytes = static_cast<size_t>((spec.head_dim - spec.rotary_dim) * bytes_of(spec.x));
  if (bytes == 0 || r.x == r.y) return;
  for (int64_t token = 0; token < tokens; ++token) {
    for (int64_t head = 0; head < r.heads; ++head) {
      memcpy(at.y + token * r.y_strides.seq + head * r.y_strides.head + begin,
             at.x + token * r.x_strides.seq + head * r.x_strides.head + begin, bytes);
    }
  }
}

void run(const RotarySpec& spec, const CpuRotary& selected, const RotaryArguments& r) {
  const int64_t half = spec.rotary_dim / 2, row_bytes = half * bytes_of(spec.table);
  const BringAngles bring = reinterpret_cast<BringAngles>(selected.bring);
  const RotateTokens rotate = reinterpret_cast<RotateTokens>(selected.rotate);
  const float direction = r.backward ? -1.0f : 1.0f;
  Angles a;
  a.pitch = least(ceil_div(half, kVecWidth) * kVecWidth, kAngles);
  const int64_t most_tokens = least(kAngles / a.pitch, heads_are_closer(r) ? kTokensOfHeads : kTokensOfAHead);
  for (int64_t token = r.token_begin; token < r.token_end; token += a.tokens) {
    const int64_t b = token / r.seq, s = token % r.seq;
    a.tokens = least(most_tokens, least(r.token_end - token, r.seq - s));
    const TokenHeads at{r.x + b * r.x_strides.batch + s * r.x_strides.seq,
                        r.y + b * r.y_strides.batch + s * r.y_strides.seq};
    for (a.first = 0; a.first < half; a.first += a.pairs) {
      a.pairs = least(half - a.first, a.pitch);
      for (int64_t t = 0; t < a.tokens; ++t) {
        const int64_t angles = (b * r.table_batch_rows + s + t) * row_bytes + a.first * bytes_of(spec.table);
        bring(r.cos + angles, r.sin + angles, direction, t, a);
      }
      rotate(r, half, a, at);
    }
    copy_rest(spec, r, a.tokens, at);
  }
}

}  // namespace

CpuRotary select_rotary(const RotarySpec& spec) {
  return {run, reinterpret_cast<SelectedFunction>(bring_angles_of(spec)),
          reinterpret_cast<SelectedFunction>(rotate_tokens_of(spec))};
}

}  // namespace NC_LEVEL
}  // namespace nc
