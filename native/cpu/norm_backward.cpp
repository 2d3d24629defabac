// Backward of RMSNorm and LayerNorm on the CPU, first step: dx, and the row groups' shares of dweight and dbias.
//
//   xhat = (x - mean) * rstd;  h: the gradient at the normalised value, by the policy
//   c1 = sum(h * xhat) / N;  c2 = sum(h) / N (LayerNorm only)
//   dx = rd_I(rstd * (h - xhat * c1 - c2) (+ dresidual))
//   dweight share: the policy's dy * xhat or rd_P(dy * n), summed over the group's rows; dbias share: dy
//
// Two passes over a row: the first forms c1 and c2 in the order of sums, the second does everything else element by
// element. The first is made for some rows, then the second for a stretch of columns of all of them.
#include <limits>

#include "formats.h"
#include "kernels.h"
#include "row_reduce.h"
#include "share_stack.h"

namespace nc {
inline namespace NC_LEVEL {
namespace {

// What is asked for. The usual training step has kernels of its own; in the others these are branches.
struct Wants {
  bool dx, dweight, dbias, dresidual;
  bool streams;  // dx goes past the caches
};
constexpr Wants usual_wants(bool layer_norm, bool streams) { return {true, true, layer_norm, false, streams}; }
bool is_usual(const Wants& w, bool layer_norm) { return w.dx && w.dweight && w.dbias == layer_norm && !w.dresidual; }

template <class C>
struct BackwardRow {
  const char* x;
  const char* dy;
  const char* dresidual;
  char* dx;
  C* dweight;
  C* dbias;
  C mean, rstd, c1, c2;
  bool opens;          // its lane's shares, which hold nothing yet
  const char* next_x;  // what will be read next, or null
  const char* next_dy;
};

// use(dy, h, xhat) of some elements. Not returned in a struct, which the compiler would move through memory.
template <class C, bool Centred, class F, class Extent, class Use>
NC_INLINE void with_gradients(const F& formats, const BackwardRow<C>& r, const char* weight, int64_t first,
                              Extent extent, Use use) {
  const auto scale = formats.scale();
  const auto dy = load<C>(formats.y, r.dy, first, extent);
  using V = std::remove_const_t<decltype(dy)>;
  const V x = load<C>(formats.x, r.x, first, extent);
  // RMSNorm's mean is +0, and x - 0 is x.
  const V xhat = Centred ? normalised(x, V::all(r.mean), V::all(r.rstd)) : x * V::all(r.rstd);
  const V one = V::all(C(1));
  // Static formats are those of norms with a weight.
  const bool has_weight = kIsSixteen<typename F::Whole> || weight != nullptr;
  const V g = has_weight ? scale.gamma(load<C>(formats.weight, weight, first, extent), one) : one;
  use(dy, scale.gradient(formats.y, dy, g), xhat);
}

template <bool LayerNorm, int Blocks, class C, class F>
NC_INLINE void reduce_gradients(const F& formats, int64_t size, const char* weight, BackwardRow<C>& r) {
  const C n = static_cast<C>(size);
  // A copy, whose address nobody has: it stays in registers.
  const BackwardRow<C> row = r;
  C sums[LayerNorm ? 2 : 1];
  reduce_row<Blocks>(typename F::Whole{}, size, sums, [&](int64_t first, auto extent, auto& acc) NC_LAMBDA_INLINE {
    with_gradients<C, LayerNorm>(formats, row, weight, first, extent, [&](auto, auto h, auto xhat) NC_LAMBDA_INLINE {
      using V = decltype(h);
      const V present = where_present(extent, h, V::zero());
      acc[0] = fma(present, where_present(extent, xhat, V::zero()), acc[0]);
      if constexpr (LayerNorm) acc[1] = acc[1] + present;
    });
  });
  r.c1 = sums[0] / n;
  r.c2 = LayerNorm ? sums[1] / n : C(0);
}

// Elements begin .. end - 1 of the second pass.
struct Columns {
  int64_t begin, end;
};

// Elements that ask for as many of the row that is read next.
constexpr int kAhead = 128;

template <bool LayerNorm, class C, class F>
NC_INLINE void finish_row(const F& formats, Columns columns, const char* weight, const BackwardRow<C>& row,
                          const Wants wants) {
  using Whole = typename F::Whole;
  const auto scale = formats.scale();
  // A copy: the stores could change what a reference leads to, for all that the compiler knows.
  const BackwardRow<C> r = row;
  const auto at = [=](int64_t first, auto extent) NC_LAMBDA_INLINE {
    with_gradients<C, LayerNorm>(formats, r, weight, first, extent, [=](auto dy, auto h, auto xhat) NC_LAMBDA_INLINE {
      using V = decltype(h);
      if (wants.dx) {
        const V c1 = V::all(r.c1), rstd = V::all(r.rstd);
        // RMSNorm's c2 is +0, and what it is taken from stays as it is.
        V dx = LayerNorm ? input_gradient(h, xhat, rstd, c1, V::all(r.c2)) : rstd * (h - xhat * c1);
        if (wants.dresidual) dx = dx + load<C>(formats.x, r.dresidual, first, extent);
        if constexpr (kIsSixteen<Whole>) {
          store(formats.x, r.dx, first, extent, dx, wants.streams);
        } else {
          store(formats.x, r.dx, first, extent, dx);
        }
      }
      if (wants.dweight) {
        const V sum = r.opens ? V::zero() : load_sum(r.dweight, first, extent);
        store_sum(r.dweight, first, extent, scale.add_weight_gradient(sum, formats.y, dy, xhat));
      }
      if (wants.dbias) {
        const V sum = r.opens ? V::zero() : load_sum(r.dbias, first, extent);
        store_sum(r.dbias, first, extent, sum + dy);
      }
    });
  };
  if constexpr (kIsSixteen<Whole>) {
    int64_t first = columns.begin;
    for (; first + kAhead <= columns.end; first += kAhead) {
      if (r.next_x != nullptr) {
        prefetch<kAhead * bytes_of(decltype(formats.x)::dtype())>(r.next_x + first * bytes_of(formats.x.dtype()));
        prefetch<kAhead * bytes_of(decltype(formats.y)::dtype())>(r.next_dy + first * bytes_of(formats.y.dtype()));
      }
      for (int64_t i = 0; i < kAhead; i += Whole::count) at(first + i, Whole{});
    }
    for_each_sixteen<F::order>(first, columns.end, at);
  } else {
    for_each_packet(columns.end - columns.begin,
                    [=](int64_t from, auto extent) NC_LAMBDA_INLINE { at(columns.begin + from, extent); });
  }
}

template <class C>
struct RowKernels {
  void (*reduce)(const NormSpec&, const char* weight, BackwardRow<C>* rows, int count);
  void (*finish)(const NormSpec&, Columns, const char* weight, const BackwardRow<C>* rows, int count, const Wants&);
};

// Blocks: of lanes, as in row_reduce.h.
template <class F, bool LayerNorm, int Blocks>
void reduce_static(const NormSpec& spec, const char* weight, BackwardRow<float>* rows, int count) {
  for (int k = 0; k < count; ++k) reduce_gradients<LayerNorm, Blocks>(F{}, spec.hidden_size, weight, rows[k]);
}
template <class F, bool LayerNorm>
void finish_static(const NormSpec&, Columns columns, const char* weight, const BackwardRow<float>* rows, int count,
                   const Wants& wants) {
  for (int k = 0; k < count; ++k) finish_row<LayerNorm>(F{}, columns, weight, rows[k], wants);
}
template <class F, bool LayerNorm>
void finish_usual(const NormSpec&, Columns columns, const char* weight, const BackwardRow<float>* rows, int count,
                  const Wants& wants) {
  const Wants usual = usual_wants(LayerNorm, wants.streams);
  for (int k = 0; k < count; ++k) finish_row<LayerNorm>(F{}, columns, weight, rows[k], usual);
}
// RMSNorm runs with mean = c2 = +0, which changes no bit.
template <class C>
void reduce_any(const NormSpec& spec, const char* weight, BackwardRow<C>* rows, int count) {
  for (int k = 0; k < count; ++k) {
    reduce_gradients<true, 0>(runtime_formats(spec), spec.hidden_size, weight, rows[k]);
    if (spec.op == Op::rms_norm) rows[k].c2 = C(0);
  }
}
template <class C>
void finish_any(const NormSpec& spec, Columns columns, const char* weight, const BackwardRow<C>* rows, int count,
                const Wants& wants) {
  for (int k = 0; k < count; ++k) finish_row<true>(runtime_formats(spec), columns, weight, rows[k], wants);
}

template <class F, bool LayerNorm>
RowKernels<float> static_kernels(const NormSpec& spec, const Wants& wants) {
  RowKernels<float> kernels{reduce_static<F, LayerNorm, 0>, finish_static<F, LayerNorm>};
  // Most of a short row's first pass is what is done once a row.
  if (lanes(spec.hidden_size) == 2 * kPacket) kernels.reduce = reduce_static<F, LayerNorm, 2>;
  if (lanes(spec.hidden_size) == 4 * kPacket) kernels.reduce = reduce_static<F, LayerNorm, 4>;
  if (is_usual(wants, LayerNorm)) kernels.finish = finish_usual<F, LayerNorm>;
  return kernels;
}

template <class C>
RowKernels<C> row_kernels(const NormSpec& spec, const Wants& wants) {
  RowKernels<C> kernels{reduce_any<C>, finish_any<C>};
  if constexpr (sizeof(C) == sizeof(float)) {
    with_static_formats(spec, [&](auto formats) {
      using F = decltype(formats);
      kernels =
          spec.op == Op::layer_norm ? static_kernels<F, true>(spec, wants) : static_kernels<F, false>(spec, wants);
    });
  }
  return kernels;
}

template <class C>
C load_statistic(const char* values, int64_t row) {
  C value = 0;
  if (values != nullptr) memcpy(&value, values + row * static_cast<int64_t>(sizeof(C)), sizeof(C));
  return value == value ? value : std::numeric_limits<C>::quiet_NaN();
}

// Rows that are taken together: two of them, so that a stretch of the weight and of the shares is read once for both (4
// and 6 long ones were slower, for they do not fit beside those that are on their way), and more short ones, because
// the first pass of a row ends in a chain of operations that wait for one another.
constexpr int kMostTogether = 16;
constexpr int kFewestTogether = 2;
constexpr int64_t kTogetherBytes = 16384;
constexpr int64_t kStretch = 1024;

int rows_together(const NormSpec& spec) {
  const int64_t rows = kTogetherBytes / (spec.hidden_size * (bytes_of(spec.x) + bytes_of(spec.y)));
  return static_cast<int>(rows < kFewestTogether ? kFewestTogether : rows < kMostTogether ? rows : kMostTogether);
}

// The next rows are asked for ahead if they fit a second-level cache beside those in hand.
constexpr int64_t kAheadBytes = 192 << 10;

template <class C>
class Backward {
 public:
  Backward(const NormSpec& norm_spec, const BackwardArguments& arguments)
      : spec(norm_spec),
        a(arguments),
        n(spec.hidden_size),
        group_count(groups(a.rows, n)),
        wants{a.dx != nullptr, a.dweight_parts != nullptr, a.dbias_parts != nullptr, a.dresidual != nullptr, a.streams},
        kernels(row_kernels<C>(spec, wants)),
        together(rows_together(spec)),
        asks_ahead(a.far && together * n * (bytes_of(spec.x) + bytes_of(spec.y)) <= kAheadBytes) {}

  void run() {
    ShareStack<C> dweight(a.dweight_parts, spec, a), dbias(a.dbias_parts, spec, a);
    for_each_group(group_count, a.group_begin, a.group_end, [&](const TreeStep& step) {
      if (step.merges) {
        dweight.merge(step);
        dbias.merge(step);
      } else {
        C* const weight_lanes = dweight.open();
        C* const bias_lanes = dbias.open();
        group(step, weight_lanes, bias_lanes);
        const int64_t rows =
            group_begin(step.group + 1, a.rows, group_count) - group_begin(step.group, a.rows, group_count);
        dweight.close(step, rows);
        dbias.close(step, rows);
      }
    });
    if (a.streams) end_of_streams();
  }

 private:
  void group(const TreeStep& step, C* dweight, C* dbias) {
    const int64_t begin = group_begin(step.group, a.rows, group_count);
    const int64_t end = group_begin(step.group + 1, a.rows, group_count);
    // What comes after this group's last batch is the next one's first.
    const int64_t after = step.next < 0 ? -1 : group_begin(step.next, a.rows, group_count);
    for (int64_t i = begin; i < end; i += together) {
      const int64_t count = end - i < together ? end - i : together;
      const int64_t next = i + count < end ? i + count : after;
      take(i, static_cast<int>(count), next, begin, dweight, dbias);
    }
  }

  // Rows first .. first + count - 1, while those at next (if not negative) are asked for.
  void take(int64_t first, int count, int64_t next, int64_t begin, C* dweight, C* dbias) {
    BackwardRow<C> rows[kMostTogether];
    for (int k = 0; k < count; ++k) {
      const int64_t row = first + k;
      const int64_t lanes_of_rows = row_lanes(n), lane = (row - begin) % lanes_of_rows * n;
      BackwardRow<C>& r = rows[k];
      r = {};
      r.x = a.x + row * a.x_stride;
      r.dy = a.dy + row * a.dy_stride;
      r.dresidual = a.dresidual == nullptr ? nullptr : a.dresidual + row * a.dresidual_stride;
      r.dx = a.dx == nullptr ? nullptr : a.dx + row * a.dx_stride;
      r.dweight = dweight == nullptr ? nullptr : dweight + lane;
      r.dbias = dbias == nullptr ? nullptr : dbias + lane;
      r.opens = row - begin < lanes_of_rows;
      r.mean = load_statistic<C>(a.mean, row);
      r.rstd = load_statistic<C>(a.rstd, row);
      if (asks_ahead && next >= 0 && next + k < a.rows) {
        r.next_x = a.x + (next + k) * a.x_stride;
        r.next_dy = a.dy + (next + k) * a.dy_stride;
      }
    }
    if (wants.dx) kernels.reduce(spec, a.weight, rows, count);
    for (int64_t column = 0; column < n; column += kStretch) {
      const Columns columns{column, n - column < kStretch ? n : column + kStretch};
      kernels.finish(spec, columns, a.weight, rows, count, wants);
    }
  }

  const NormSpec& spec;
  const BackwardArguments& a;
  const int64_t n, group_count;
  const Wants wants;
  const RowKernels<C> kernels;
  const int together;
  const bool asks_ahead;
};

}  // namespace

void norm_backward(const NormSpec& spec, const BackwardArguments& a) {
  if (spec.compute == Compute::float64) {
    Backward<double>(spec, a).run();
  } else {
    Backward<float>(spec, a).run();
  }
}

}  // namespace NC_LEVEL
}  // namespace nc
