// Rotary position embedding on the CPU.
//
//   y1 = x1 * cos - x2 * sin, y2 = x2 * cos + x1 * sin, rounded as the policy says
//
// The cosines and sines of a few tokens are brought to float32 once, for all heads. Then tokens or heads are gone
// through first, whichever lie closer together in x.
#include "../core/policy.h"
#include "kernels.h"
#include "packet.h"

namespace nc {
inline namespace NC_LEVEL {
namespace {

NC_INLINE int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }

// Pairs whose angles are held at once, in the first-level cache beside what they turn.
constexpr int64_t kAngles = 1024;
constexpr int64_t kTokens = 16;

// Of `tokens` tokens, pairs first .. first + pairs - 1.
struct Angles {
  int64_t tokens, first, pairs;
  int64_t pitch;  // pairs, in whole packets
  alignas(64) float cos[kAngles];
  alignas(64) float sin[kAngles];  // of the negative angle backward
};

// Where the heads of a token begin.
struct TokenHeads {
  const char* x;
  char* y;
};

template <DType T>
void bring_angles(const char* cos, const char* sin, float direction, int64_t token, Angles& a) {
  const StaticFormat<T> format{};
  const Packet<float> sign = Packet<float>::all(direction);
  float* const to_cos = a.cos + token * a.pitch;
  float* const to_sin = a.sin + token * a.pitch;
  for_each_packet(a.pairs, [=](int64_t first, auto extent) NC_LAMBDA_INLINE {
    const Packet<float> c = load<float>(format, cos, first, extent);
    const Packet<float> s = load<float>(format, sin, first, extent) * sign;
    memcpy(to_cos + first, &c.v, sizeof(c.v));
    memcpy(to_sin + first, &s.v, sizeof(s.v));
  });
}

using BringAngles = void (*)(const char*, const char*, float, int64_t, Angles&);
BringAngles bring_angles_of(DType table) {
  switch (table) {
    case DType::bfloat16:
      return bring_angles<DType::bfloat16>;
    case DType::float16:
      return bring_angles<DType::float16>;
    default:
      return bring_angles<DType::float32>;
  }
}

NC_INLINE Packet<float> angles_at(const float* p) {
  return {load_raw<VectorOf<float>::type>(reinterpret_cast<const char*>(p))};
}

// The elements of eight pairs.
struct Pairs {
  Packet<float> x1, x2;
};

// The halves of a head, one far behind the other.
template <class X>
struct HalfSplit {
  static NC_INLINE Pairs load_pairs(const char* x, int64_t half, int64_t first, Full full) {
    return {load<float>(X{}, x, first, full), load<float>(X{}, x, half + first, full)};
  }
  static NC_INLINE Pairs load_pairs(const char* x, int64_t half, int64_t first, Part part) {
    return {load<float>(X{}, x, first, part), load<float>(X{}, x, half + first, part)};
  }
  template <class Extent>
  static NC_INLINE void store_pairs(char* y, int64_t half, int64_t first, Extent extent, Pairs p) {
    store(X{}, y, first, extent, p.x1);
    store(X{}, y, half + first, extent, p.x2);
  }
};

// Neighbours: two packets of them are shuffled apart and together again.
template <class X>
struct Interleaved {
  static NC_INLINE Pairs apart(Packet<float> low, Packet<float> high) {
    return {{__builtin_shufflevector(low.v, high.v, 0, 2, 4, 6, 8, 10, 12, 14)},
            {__builtin_shufflevector(low.v, high.v, 1, 3, 5, 7, 9, 11, 13, 15)}};
  }
  static NC_INLINE Packet<float> low(Pairs p) {
    return {__builtin_shufflevector(p.x1.v, p.x2.v, 0, 8, 1, 9, 2, 10, 3, 11)};
  }
  static NC_INLINE Packet<float> high(Pairs p) {
    return {__builtin_shufflevector(p.x1.v, p.x2.v, 4, 12, 5, 13, 6, 14, 7, 15)};
  }
  static NC_INLINE Part low_part(Part pairs) { return {2 * pairs.count < kPacket ? 2 * pairs.count : kPacket}; }
  static NC_INLINE Part high_part(Part pairs) { return {2 * pairs.count > kPacket ? 2 * pairs.count - kPacket : 0}; }

  static NC_INLINE Pairs load_pairs(const char* x, int64_t, int64_t first, Full full) {
    return apart(load<float>(X{}, x, 2 * first, full), load<float>(X{}, x, 2 * first + kPacket, full));
  }
  static NC_INLINE Pairs load_pairs(const char* x, int64_t, int64_t first, Part part) {
    return apart(load<float>(X{}, x, 2 * first, low_part(part)),
                 load<float>(X{}, x, 2 * first + kPacket, high_part(part)));
  }
  static NC_INLINE void store_pairs(char* y, int64_t, int64_t first, Full full, Pairs p) {
    store(X{}, y, 2 * first, full, low(p));
    store(X{}, y, 2 * first + kPacket, full, high(p));
  }
  static NC_INLINE void store_pairs(char* y, int64_t, int64_t first, Part part, Pairs p) {
    store(X{}, y, 2 * first, low_part(part), low(p));
    store(X{}, y, 2 * first + kPacket, high_part(part), high(p));
  }
};

template <class Layout, class T>
NC_INLINE void turn_head(const T& turn, const char* x, char* y, int64_t half, const Angles& a, int64_t token) {
  const float* const cos = a.cos + token * a.pitch;
  const float* const sin = a.sin + token * a.pitch;
  const int64_t begin = a.first;
  for_each_packet(a.pairs, [=](int64_t first, auto extent) NC_LAMBDA_INLINE {
    const Pairs p = Layout::load_pairs(x, half, begin + first, extent);
    const Packet<float> c = angles_at(cos + first), s = angles_at(sin + first);
    Layout::store_pairs(y, half, begin + first, extent, {turn.first(p.x1, p.x2, c, s), turn.second(p.x1, p.x2, c, s)});
  });
}

// All heads of the tokens whose angles there are: a token's heads, or a head's tokens, one after the other.
template <DType X, RotaryRounding R, template <class> class Layout>
void turn_tokens(const RotaryArguments& r, int64_t half, const Angles& a, TokenHeads at) {
  const Turn<StaticRotaryRounding<R>, StaticFormat<X>> turn{};
  const auto one = [&](int64_t token, int64_t head) NC_LAMBDA_INLINE {
    turn_head<Layout<StaticFormat<X>>>(turn, at.x + token * r.x_strides.seq + head * r.x_strides.head,
                                       at.y + token * r.y_strides.seq + head * r.y_strides.head, half, a, token);
  };
  if (r.y_strides.head <= r.y_strides.seq) {
    for (int64_t token = 0; token < a.tokens; ++token) {
      for (int64_t head = 0; head < r.heads; ++head) one(token, head);
    }
  } else {
    for (int64_t head = 0; head < r.heads; ++head) {
      for (int64_t token = 0; token < a.tokens; ++token) one(token, head);
    }
  }
}

using TurnTokens = void (*)(const RotaryArguments&, int64_t, const Angles&, TokenHeads);

template <DType X, RotaryRounding R>
TurnTokens turn_tokens_of(RotaryLayout layout) {
  return layout == RotaryLayout::interleaved ? turn_tokens<X, R, Interleaved> : turn_tokens<X, R, HalfSplit>;
}
template <DType X>
TurnTokens turn_tokens_of(const RotarySpec& spec) {
  return spec.rounding == RotaryRounding::input ? turn_tokens_of<X, RotaryRounding::input>(spec.layout)
                                                : turn_tokens_of<X, RotaryRounding::compute>(spec.layout);
}
TurnTokens turn_tokens_of(const RotarySpec& spec) {
  switch (spec.x) {
    case DType::bfloat16:
      return turn_tokens_of<DType::bfloat16>(spec);
    case DType::float16:
      return turn_tokens_of<DType::float16>(spec);
    default:
      // Rounding a float32 to float32 changes nothing.
      return turn_tokens_of<DType::float32, RotaryRounding::compute>(spec.layout);
  }
}

// The elements that do not turn.
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

}  // namespace

void rotary(const RotarySpec& spec, const RotaryArguments& r) {
  const int64_t half = spec.rotary_dim / 2, row_bytes = half * bytes_of(spec.table);
  const BringAngles bring = bring_angles_of(spec.table);
  const TurnTokens turn = turn_tokens_of(spec);
  const float direction = r.backward ? -1.0f : 1.0f;
  Angles a;
  a.pitch = least(ceil_div(half, kPacket) * kPacket, kAngles);
  const int64_t most_tokens = least(kAngles / a.pitch, kTokens);
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
      turn(r, half, a, at);
    }
    copy_rest(spec, r, a.tokens, at);
  }
}

}  // namespace NC_LEVEL
}  // namespace nc
