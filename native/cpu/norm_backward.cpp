// Backward of RMSNorm and LayerNorm on the CPU, first step: dx, and the row groups' shares of dweight and dbias.
//
//   xhat = (x - mean) * rstd;  h: the gradient at the normalised value, by the policy
//   c1 = sum(h * xhat) / N;  c2 = sum(h) / N (LayerNorm only)
//   dx = rd_I(rstd * (h - xhat * c1 - c2) (+ dresidual))
//   dweight share: the policy's dy * xhat or rd_P(dy * n), summed over the group's rows; dbias share: dy
//
// Two passes over a row: the first forms c1 and c2 in the order of sums, the second, in which the row comes from the
// cache, does everything else element by element. RMSNorm runs with mean = c2 = +0, which changes no bit.
#include "formats.h"
#include "kernels.h"
#include "row_reduce.h"

namespace nc {
inline namespace NC_LEVEL {
namespace {

// What is asked for. Looked up per packet: branches that never change cost less than kernels for every combination.
struct Wants {
  bool dx, dweight, dbias, dresidual;
};

template <class C>
struct BackwardRow {
  int64_t n;
  const char* x;
  const char* dy;
  const char* weight;
  const char* dresidual;
  char* dx;
  C* dweight;
  C* dbias;
  C mean, rstd;
  const char* next_x;  // what will be read next, or null
  const char* next_dy;
};

// dy, h and xhat of one packet.
template <class C>
struct Gradients {
  Packet<C> dy, h, xhat;
};
template <class C, class F, class Extent>
NC_INLINE Gradients<C> gradients(const F& formats, const BackwardRow<C>& r, bool has_weight, int64_t first,
                                 Extent extent) {
  const auto scale = formats.scale();
  const Packet<C> one = Packet<C>::all(C(1));
  const Packet<C> dy = load<C>(formats.y, r.dy, first, extent);
  const Packet<C> g = has_weight ? scale.gamma(load<C>(formats.weight, r.weight, first, extent), one) : one;
  const Packet<C> x = load<C>(formats.x, r.x, first, extent);
  return {dy, scale.gradient(dy, g), normalised(x, Packet<C>::all(r.mean), Packet<C>::all(r.rstd))};
}

template <class C, class F>
NC_INLINE void reduce_gradients(const F& formats, const BackwardRow<C>& r, bool has_weight, bool layer_norm, C& c1,
                                C& c2) {
  const C n = static_cast<C>(r.n);
  const Packet<C> zero = Packet<C>::zero();
  if (layer_norm) {
    C sums[2];
    reduce_row<2, F::any_lanes>(r.n, sums, [&](int64_t first, auto extent, Packet<C>(&acc)[2]) NC_LAMBDA_INLINE {
      const Gradients<C> g = gradients<C>(formats, r, has_weight, first, extent);
      const Packet<C> h = where_present(extent, g.h, zero);
      acc[0] = fma(h, where_present(extent, g.xhat, zero), acc[0]);
      acc[1] = acc[1] + h;
    });
    c1 = sums[0] / n;
    c2 = sums[1] / n;
  } else {
    C sums[1];
    reduce_row<1, F::any_lanes>(r.n, sums, [&](int64_t first, auto extent, Packet<C>(&acc)[1]) NC_LAMBDA_INLINE {
      const Gradients<C> g = gradients<C>(formats, r, has_weight, first, extent);
      acc[0] = fma(where_present(extent, g.h, zero), where_present(extent, g.xhat, zero), acc[0]);
    });
    c1 = sums[0] / n;
    c2 = C(0);
  }
}

template <class C, class Extent>
NC_INLINE Packet<C> load_sum(const C* sums, int64_t first, Extent extent) {
  return load<C>(ComputeFormat<C>{}, reinterpret_cast<const char*>(sums), first, extent);
}
template <class C, class Extent>
NC_INLINE void store_sum(C* sums, int64_t first, Extent extent, Packet<C> v) {
  store(ComputeFormat<C>{}, reinterpret_cast<char*>(sums), first, extent, v);
}

template <class C, class F>
NC_INLINE void backward_row(const F& formats, BackwardRow<C> r, Wants wants, bool has_weight, bool layer_norm) {
  const auto scale = formats.scale();
  C sum1 = 0, sum2 = 0;
  if (wants.dx) reduce_gradients(formats, r, has_weight, layer_norm, sum1, sum2);
  const Packet<C> rstd = Packet<C>::all(r.rstd), c1 = Packet<C>::all(sum1), c2 = Packet<C>::all(sum2);
  // By value: the stores could change what a reference leads to, for all that the compiler knows.
  for_each_packet(r.n, [=](int64_t first, auto extent) NC_LAMBDA_INLINE {
    if (r.next_x != nullptr) {
      __builtin_prefetch(r.next_x + first * bytes_of(formats.x.dtype()));
      __builtin_prefetch(r.next_dy + first * bytes_of(formats.y.dtype()));
    }
    const Gradients<C> g = gradients<C>(formats, r, has_weight, first, extent);
    if (wants.dx) {
      Packet<C> dx = input_gradient(g.h, g.xhat, rstd, c1, c2);
      if (wants.dresidual) dx = dx + load<C>(formats.x, r.dresidual, first, extent);
      store(formats.x, r.dx, first, extent, dx);
    }
    if (wants.dweight) {
      const Packet<C> sum = load_sum(r.dweight, first, extent);
      store_sum(r.dweight, first, extent, scale.add_weight_gradient(sum, g.dy, g.xhat));
    }
    if (wants.dbias) store_sum(r.dbias, first, extent, load_sum(r.dbias, first, extent) + g.dy);
  });
}

template <class C, class F, bool LayerNorm>
void static_row(const NormSpec&, const BackwardRow<C>& r, const Wants& wants) {
  backward_row(F{}, r, wants, true, LayerNorm);
}
template <class C>
void any_row(const NormSpec& spec, const BackwardRow<C>& r, const Wants& wants) {
  backward_row(runtime_formats(spec), r, wants, spec.has_weight, spec.op == Op::layer_norm);
}

template <class C>
using RowKernel = void (*)(const NormSpec&, const BackwardRow<C>&, const Wants&);

template <class C>
RowKernel<C> row_kernel(const NormSpec& spec) {
  RowKernel<C> kernel = any_row<C>;
  if constexpr (sizeof(C) == sizeof(float)) {
    with_static_formats(spec, [&](auto formats) {
      using F = decltype(formats);
      kernel = spec.op == Op::layer_norm ? static_row<C, F, true> : static_row<C, F, false>;
    });
  }
  return kernel;
}

template <class C>
C* parts_of(char* parts, int64_t group, int64_t n) {
  return parts == nullptr ? nullptr : reinterpret_cast<C*>(parts) + group * row_lanes(n) * n;
}

template <class C>
C load_statistic(const char* values, int64_t row) {
  C value = 0;
  if (values != nullptr) memcpy(&value, values + row * static_cast<int64_t>(sizeof(C)), sizeof(C));
  return value;
}

template <class C>
void backward_groups(const NormSpec& spec, const BackwardArguments& a) {
  const int64_t n = spec.hidden_size;
  const int64_t group_count = groups(a.rows, n);
  const Wants wants{a.dx != nullptr, a.dweight_parts != nullptr, a.dbias_parts != nullptr, a.dresidual != nullptr};
  const RowKernel<C> kernel = row_kernel<C>(spec);
  for (int64_t group = a.group_begin; group < a.group_end; ++group) {
    C* dweight = parts_of<C>(a.dweight_parts, group, n);
    C* dbias = parts_of<C>(a.dbias_parts, group, n);
    const size_t part_bytes = static_cast<size_t>(row_lanes(n) * n) * sizeof(C);
    if (dweight != nullptr) memset(dweight, 0, part_bytes);
    if (dbias != nullptr) memset(dbias, 0, part_bytes);
    const int64_t begin = group_begin(group, a.rows, group_count);
    const int64_t end = group_begin(group + 1, a.rows, group_count);
    for (int64_t i = begin; i < end; ++i) {
      const int64_t lane = (i - begin) % row_lanes(n) * n;
      const bool more = i + 1 < end || group + 1 < a.group_end;
      BackwardRow<C> r{};
      r.n = n;
      r.x = a.x + i * a.x_stride;
      r.dy = a.dy + i * a.dy_stride;
      r.weight = a.weight;
      r.dresidual = a.dresidual == nullptr ? nullptr : a.dresidual + i * a.dresidual_stride;
      r.dx = a.dx == nullptr ? nullptr : a.dx + i * a.dx_stride;
      r.dweight = dweight == nullptr ? nullptr : dweight + lane;
      r.dbias = dbias == nullptr ? nullptr : dbias + lane;
      r.mean = load_statistic<C>(a.mean, i);
      r.rstd = load_statistic<C>(a.rstd, i);
      r.next_x = more ? r.x + a.x_stride : nullptr;
      r.next_dy = more ? r.dy + a.dy_stride : nullptr;
      kernel(spec, r, wants);
    }
  }
}

}  // namespace

void norm_backward(const NormSpec& spec, const BackwardArguments& a) {
  if (spec.compute == Compute::float64) {
    backward_groups<double>(spec, a);
  } else {
    backward_groups<float>(spec, a);
  }
}

}  // namespace NC_LEVEL
}  // namespace nc
