// Runs the rotary position embedding in any form that must not change a bit, and predicts it from the definitions, one
// pair at a time, sharing no code with the library.
#pragma once

#include "support/harness.h"

namespace harness {

// The computation: batch x seq tokens with this many heads.
struct RotaryCase {
  nc_rotary_spec spec{};
  int64_t batch = 2, seq = 3, heads = 3;
  int64_t table_batch_rows = 0;
  int32_t backward = 0;

  int64_t half() const { return spec.rotary_dim / 2; }
  int64_t tokens() const { return batch * seq; }
  int64_t tableRows() const { return tokens() == 0 ? 0 : (batch - 1) * table_batch_rows + seq; }
  int64_t elements() const { return tokens() * heads * spec.head_dim; }
  const reference::Format& x() const { return reference::format(spec.x_dtype); }
  const reference::Format& table() const { return reference::format(spec.table_dtype); }
  // Index of element i of head h of token (b, s) in a list.
  size_t at(int64_t b, int64_t s, int64_t h, int64_t i) const {
    return static_cast<size_t>(((b * seq + s) * heads + h) * spec.head_dim + i);
  }
  std::string describe() const {
    return std::string(x().name) + " by " + table().name +
           (spec.layout == NC_ROTARY_INTERLEAVED ? " interleaved" : "") +
           (spec.rounding == NC_ROTARY_ROUND_INPUT ? " input" : " compute") + (backward != 0 ? " backward " : " ") +
           std::to_string(batch) + " x " + std::to_string(seq) + " x " + std::to_string(heads) + " x " +
           std::to_string(spec.head_dim) + ", of which " + std::to_string(spec.rotary_dim) +
           " turn, table rows of a batch " + std::to_string(table_batch_rows);
  }
};

inline RotaryCase makeRotary(int32_t x, int32_t table, int32_t layout, int32_t rounding, int32_t head_dim,
                             int32_t rotary_dim) {
  RotaryCase c;
  c.spec.struct_size = sizeof(c.spec);
  c.spec.x_dtype = x;
  c.spec.table_dtype = table;
  c.spec.layout = layout;
  c.spec.rounding = rounding;
  c.spec.head_dim = head_dim;
  c.spec.rotary_dim = rotary_dim;
  return c;
}

// The input data: x in the order of RotaryCase::at.
struct RotaryData {
  Bits x, cos, sin;
};

// The form of the call.
struct RotaryForm {
  int32_t level = NC_CPU_BEST;
  int32_t cuda_device = -1;
  bool heads_first = false;  // [batch, heads, seq, dim] in memory, otherwise [batch, seq, heads, dim]
  int64_t padding = 0;       // elements between heads, and as many more at each outer level
  size_t offset = 0;         // bytes after a 64-byte boundary: of x, y, cos and sin
  bool in_place = false;
  bool broadcast = false;  // x has batch stride 0: all batches read the first one
  int64_t cut = 0;         // maximum tokens per call; 0: all. Later ones run first.
};

inline RotaryData drawRotary(const RotaryCase& c, uint64_t seed) {
  std::mt19937_64 random(seed);
  std::normal_distribution<double> normal(0, 2);
  std::uniform_real_distribution<double> angle(0, 6.3);
  RotaryData d;
  for (int64_t i = 0; i < c.elements(); ++i) d.x.push_back(reference::encode(c.x(), normal(random)));
  for (int64_t i = 0; i < c.tableRows() * c.half(); ++i) {
    const double a = angle(random);
    d.cos.push_back(reference::encode(c.table(), std::cos(a)));
    d.sin.push_back(reference::encode(c.table(), std::sin(a)));
  }
  return d;
}

// Zeros of both signs, subnormals, the largest numbers, infinities and NaN: every two are combined in some pair, except
// in one row of the table and one token.
inline void strewSpecial(const RotaryCase& c, uint64_t seed, RotaryData& d) {
  std::mt19937_64 random(seed);
  const auto strew = [&](const reference::Format& f, Bits& bits, int64_t from) {
    const double least = std::ldexp(1.0, reference::smallestExponent(f));
    const double special[] = {0.0,    -0.0,     least,     -3 * least,   least * 1e3,      f.max,
                              -f.max, HUGE_VAL, -HUGE_VAL, std::nan(""), std::sqrt(f.max), 65504.0};
    for (auto i = static_cast<size_t>(from); i < bits.size(); ++i) {
      if (random() % 2 == 0) bits[i] = reference::encode(f, special[random() % 12]);
      // NaNs of any sign and payload, first of all the payload of all ones.
      const uint64_t payload = random() % 2 == 0 ? f.nan - 1 : random() & (f.nan - 1);
      if (random() % 13 == 0) bits[i] = (f.nan | payload) ^ (random() % 2 == 0 ? reference::signBit(f) : 0);
    }
  };
  strew(c.x(), d.x, c.heads * c.spec.head_dim);
  strew(c.table(), d.cos, c.half());
  strew(c.table(), d.sin, c.half());
}

// A NaN computed in float32 has any payload, in the small formats the canonical one; a copied NaN keeps its own.
inline void forgetPayloads(const RotaryCase& c, Bits& bits) {
  if (c.spec.x_dtype != NC_FLOAT32) return;
  for (size_t i = 0; i < bits.size(); ++i) {
    const bool turns = static_cast<int64_t>(i) % c.spec.head_dim < c.spec.rotary_dim;
    if (turns && std::isnan(reference::decode(c.x(), bits[i]))) bits[i] = c.x().nan;
  }
}

// The expected result of every form.
inline Bits predictRotary(const RotaryCase& c, const RotaryData& d) {
  const reference::Format& f = c.x();
  const bool by_input = c.spec.rounding == NC_ROTARY_ROUND_INPUT;
  const auto product = [&](float a, float b) -> float {
    const float exact = a * b;
    return by_input ? static_cast<float>(reference::round(f, exact)) : exact;
  };
  Bits y = d.x;
  for (int64_t b = 0; b < c.batch; ++b) {
    for (int64_t s = 0; s < c.seq; ++s) {
      for (int64_t k = 0; k < c.half(); ++k) {
        const auto row = static_cast<size_t>((b * c.table_batch_rows + s) * c.half() + k);
        const auto cos = static_cast<float>(reference::decode(c.table(), d.cos[row]));
        const auto sin = static_cast<float>(reference::decode(c.table(), d.sin[row]));
        for (int64_t h = 0; h < c.heads; ++h) {
          const bool interleaved = c.spec.layout == NC_ROTARY_INTERLEAVED;
          const size_t one = c.at(b, s, h, interleaved ? 2 * k : k);
          const size_t two = c.at(b, s, h, interleaved ? 2 * k + 1 : k + c.half());
          const auto x1 = static_cast<float>(reference::decode(f, d.x[one]));
          const auto x2 = static_cast<float>(reference::decode(f, d.x[two]));
          // The gradient as autograd computes it: of x1 * cos - x2 * sin and x2 * cos + x1 * sin, with respect to both.
          const float y1 = c.backward != 0 ? product(x1, cos) + product(x2, sin) : product(x1, cos) - product(x2, sin);
          const float y2 = c.backward != 0 ? product(x2, cos) - product(x1, sin) : product(x2, cos) + product(x1, sin);
          y[one] = reference::encode(f, y1);
          y[two] = reference::encode(f, y2);
        }
      }
    }
  }
  forgetPayloads(c, y);
  return y;
}

class RotaryPlan {
 public:
  explicit RotaryPlan(const nc_rotary_spec& spec) { check(nc_rotary_plan_create(&spec, &handle_)); }
  RotaryPlan(const RotaryPlan&) = delete;
  RotaryPlan& operator=(const RotaryPlan&) = delete;
  ~RotaryPlan() { nc_rotary_plan_destroy(handle_); }
  operator int64_t() const { return handle_; }

 private:
  int64_t handle_ = 0;
};

// Strides in elements.
struct HeadStrides {
  int64_t batch, seq, head;

  HeadStrides(const RotaryCase& c, const RotaryForm& form) {
    const int64_t dim = c.spec.head_dim + form.padding;
    const int64_t inner = form.heads_first ? c.seq : c.heads, outer = form.heads_first ? c.heads : c.seq;
    const int64_t row = inner * dim + form.padding;
    (form.heads_first ? seq : head) = dim;
    (form.heads_first ? head : seq) = row;
    batch = outer * row + form.padding;
  }
  int64_t at(int64_t b, int64_t s, int64_t h, int64_t i) const { return b * batch + s * seq + h * head + i; }
  int64_t span(const RotaryCase& c) const {
    return c.elements() == 0 ? 0 : at(c.batch - 1, c.seq - 1, c.heads - 1, c.spec.head_dim);
  }
};

// The operands of a case, without tensors.
inline nc_rotary_args argsOf(const RotaryCase& c) {
  auto args = argsOf<nc_rotary_args>();
  args.backward = c.backward;
  args.batch = c.batch, args.seq = c.seq, args.heads = c.heads;
  args.table_batch_rows = c.table_batch_rows;
  return args;
}

// x and y at the same strides.
struct RotaryAddresses {
  int64_t x, y, cos, sin;
};
inline nc_rotary_args argsOf(const RotaryCase& c, const HeadStrides& strides, const RotaryAddresses& at) {
  nc_rotary_args args = argsOf(c);
  args.x = at.x, args.y = at.y, args.cos = at.cos, args.sin = at.sin;
  args.x_batch_stride = args.y_batch_stride = strides.batch;
  args.x_seq_stride = args.y_seq_stride = strides.seq;
  args.x_head_stride = args.y_head_stride = strides.head;
  return args;
}

// Calls f(index in the list, index in memory) for every element.
template <class F>
void forEachElement(const RotaryCase& c, const HeadStrides& strides, F f) {
  for (int64_t b = 0; b < c.batch; ++b) {
    for (int64_t s = 0; s < c.seq; ++s) {
      for (int64_t h = 0; h < c.heads; ++h) {
        for (int64_t i = 0; i < c.spec.head_dim; ++i) f(c.at(b, s, h, i), strides.at(b, s, h, i));
      }
    }
  }
}

// Data of a broadcast x: all batches equal the first.
inline RotaryData broadcast(const RotaryCase& c, RotaryData d) {
  const size_t one = c.batch == 0 ? 0 : d.x.size() / static_cast<size_t>(c.batch);
  for (size_t i = one; i < d.x.size(); ++i) d.x[i] = d.x[i - one];
  return d;
}

// y, in the order of a list. Fails if anything else was written.
inline Bits runRotary(const RotaryCase& c, const RotaryData& d, const RotaryForm& form = {}) {
  nc_rotary_spec spec = c.spec;
  if (form.cuda_device >= 0) {
    spec.device_type = NC_DEVICE_CUDA;
    spec.device_index = form.cuda_device;
  } else {
    spec.cpu_level = form.level;
  }
  const RotaryPlan plan(spec);
  const HeadStrides strides(c, form);
  HeadStrides x_strides = strides;
  RotaryCase x_case = c;
  if (form.broadcast) {
    x_case.batch = std::min<int64_t>(1, c.batch);
    x_strides.batch = 0;
  }
  const auto heads = [&](int64_t span) { return Tensor(c.spec.x_dtype, 1, span, span, form.offset); };
  const auto table = [&](const Bits& bits) {
    const auto count = static_cast<int64_t>(bits.size());
    Tensor t(c.spec.table_dtype, 1, count, count, form.offset);
    t.fill(bits);
    return t;
  };
  Tensor x = heads(x_strides.span(x_case)), own, cos = table(d.cos), sin = table(d.sin);
  forEachElement(x_case, x_strides, [&](size_t i, int64_t at) { x.setBits(0, at, d.x[i]); });
  if (!form.in_place) own = heads(strides.span(c));
  Tensor& y = form.in_place ? x : own;
  const std::vector<uint8_t> x_before = x.memory(), cos_before = cos.memory(), sin_before = sin.memory();
  const Tensor y_before = y;
  Residence at(form.cuda_device);
  nc_rotary_args args = argsOf(c, strides, {at(x), at(y), at(cos), at(sin)});
  args.x_batch_stride = x_strides.batch;
  if (form.cuda_device < 0 && form.cut > 0) {
    const RangedCall call(nc_rotary_begin, plan, args);
    call.runPhase(0, form.cut);
  } else {
    check(nc_rotary_apply(plan, &args));
  }
  at.bringBack();
  Bits result(static_cast<size_t>(c.elements()));
  forEachElement(c, strides, [&](size_t i, int64_t place) {
    result[i] = y.bits(0, place);
    y.setBits(0, place, y_before.bits(0, place));
  });
  EXPECT_TRUE(y.memory() == y_before.memory()) << c.describe() << ": wrote outside the heads of y";
  if (!form.in_place) expectUntouched(x, x_before, "x");
  expectUntouched(cos, cos_before, "cos");
  expectUntouched(sin, sin_before, "sin");
  forgetPayloads(c, result);
  return result;
}

inline ::testing::AssertionResult sameBits(const RotaryCase& c, const Bits& expected, const Bits& actual) {
  if (expected.size() != actual.size()) return ::testing::AssertionFailure() << c.describe() << ": sizes differ";
  for (size_t i = 0; i < expected.size(); ++i) {
    if (expected[i] == actual[i]) continue;
    const auto dim = static_cast<size_t>(c.spec.head_dim);
    return ::testing::AssertionFailure() << c.describe() << ": element " << i % dim << " of head " << i / dim
                                         << " (of all tokens) is " << reference::decode(c.x(), actual[i])
                                         << ", expected " << reference::decode(c.x(), expected[i]) << std::hex
                                         << "; bits " << actual[i] << ", expected " << expected[i];
  }
  return ::testing::AssertionSuccess();
}

inline const std::vector<int32_t>& rotaryDtypes() {
  static const std::vector<int32_t> all = {NC_FLOAT32, NC_BFLOAT16, NC_FLOAT16};
  return all;
}

// Head dimensions and rotary dimensions: whole and partial vectors, and halves of either.
inline const std::vector<std::pair<int32_t, int32_t>>& headDims() {
  static const std::vector<std::pair<int32_t, int32_t>> all = {
      {2, 2},   {3, 2},   {6, 6},   {16, 16}, {16, 8},  {18, 16},   {20, 20},   {64, 64},   {64, 32},
      {64, 48}, {80, 80}, {80, 32}, {96, 96}, {96, 30}, {128, 128}, {128, 126}, {229, 228}, {229, 58}};
  return all;
}

// Table type x layout x rounding x direction x dimensions, for one type of x: body(case, turn).
template <class Body>
void forEveryRotary(int32_t x, Body body) {
  uint64_t turn = 0;
  for (const int32_t table : rotaryDtypes()) {
    for (const int32_t layout : {NC_ROTARY_HALF_SPLIT, NC_ROTARY_INTERLEAVED}) {
      for (const int32_t rounding : {NC_ROTARY_ROUND_COMPUTE, NC_ROTARY_ROUND_INPUT}) {
        for (const int32_t backward : {0, 1}) {
          for (const auto& [head_dim, rotary_dim] : headDims()) {
            RotaryCase c = makeRotary(x, table, layout, rounding, head_dim, rotary_dim);
            c.backward = backward;
            ++turn;
            c.batch = 1 + static_cast<int64_t>(turn % 2);
            c.seq = 1 + static_cast<int64_t>(turn % 5);
            c.heads = 1 + static_cast<int64_t>(turn % 3);
            if (turn % 4 >= 2) c.table_batch_rows = c.seq + static_cast<int64_t>(turn % 3);
            body(c, turn);
            if (::testing::Test::HasFailure()) return;
          }
        }
      }
    }
  }
}

}  // namespace harness
