// Generic backward of RMSNorm and LayerNorm on CUDA devices, first step, for what the fast kernels do not support;
// norm_backward.cuh has the formulas. Rows are read twice from memory or the caches. The sums of dweight and dbias, one
// per row slot, are kept in the workspace, [groups, row_slots, N], and added there in a tree at the end.
#pragma once

#include "any_formats.cuh"

namespace nc {
inline namespace NC_LEVEL {

template <class F>
class AnyBackwardKernel {
 public:
  using C = typename F::Compute;
  static constexpr DType kSums = sizeof(C) == sizeof(double) ? DType::float64 : DType::float32;

  static NC_DEVICE void run(const BackwardParameters& p) { AnyBackwardKernel(p).group(); }

 private:
  NC_DEVICE explicit AnyBackwardKernel(const BackwardParameters& parameters)
      : p(parameters), formats(FormatsOf<F>::from(p.spec)), place(p.shape), memory(simt::shared_memory()) {}

  NC_DEVICE void group() const {
    const int64_t index = simt::block_index();
    const int64_t begin = group_begin(index, p.a.rows, p.groups);
    const int64_t end = group_begin(index + 1, p.a.rows, p.groups);
    for (int64_t base = begin; base < end; base += p.row_slots) {
      const int64_t row = base + place.slot;
      one_row(row, place.slot < p.row_slots && row < end, base == begin, index);
    }
    // A row slot without rows is part of the tree as well: its sums are 0.
    if (place.slot < p.row_slots && begin + place.slot >= end) {
      clear_share(p.a.dweight_partials, index);
      clear_share(p.a.dbias_partials, index);
    }
    for (int step = p.row_slots / 2; step > 0; step /= 2) {
      simt::block_barrier();
      if (place.slot >= step) continue;
      add_upper_share(p.a.dweight_partials, index, step);
      add_upper_share(p.a.dbias_partials, index, step);
    }
  }

  struct Statistics {
    C mean, rstd;
  };
  struct Gradients {
    Octet<C> dy, h, xhat;
  };
  NC_DEVICE Gradients gradients(int64_t row, Statistics s, int octet, int count) const {
    const auto affine = formats.affine();
    const Octet<C> one = Octet<C>::all(C(1));
    const Octet<C> dy = load<C>(formats.y, p.access, p.a.dy + row * p.a.dy_stride, octet, count);
    const Octet<C> x = load<C>(formats.x, p.access, p.a.x + row * p.a.x_stride, octet, count);
    const Octet<C> g =
        p.a.weight != nullptr ? affine.gamma(load<C>(formats.weight, p.access, p.a.weight, octet, count), one) : one;
    return {dy, affine.gradient(formats.y, dy, g), normalised(x, Octet<C>::all(s.mean), Octet<C>::all(s.rstd))};
  }

  NC_DEVICE void one_row(int64_t row, bool live, bool first, int64_t group) const {
    const bool layer_norm = p.spec.op == Op::layer_norm;
    Statistics s{C(0), C(0)};
    if (live) s = {load_statistic<C>(p.a.mean, row), load_statistic<C>(p.a.rstd, row)};
    Octet<C> c1 = Octet<C>::zero(), c2 = Octet<C>::zero();
    if (p.a.dx != nullptr) {
      const Sums<C, 2> sums = over_row<Sums<C, 2>>(p.shape, place, live, memory, [&](const LaneOctets& octets) {
        Octet<C> sum1 = Octet<C>::zero(), sum2 = Octet<C>::zero();
        for (int octet = octets.first; octet < octets.end; octet += p.shape.lanes) {
          const int count = elements_of(p.shape, octet);
          const Gradients g = gradients(row, s, octet, count);
          const Octet<C> h = where_present(count, g.h);
          sum1 = fma(h, where_present(count, g.xhat), sum1);
          sum2 = sum2 + h;
        }
        return Sums<C, 2>{{sum_of_positions(sum1), sum_of_positions(sum2)}};
      });
      const C n = static_cast<C>(p.shape.n);
      c1 = Octet<C>::all(sums.of[0] / n);
      if (layer_norm) c2 = Octet<C>::all(sums.of[1] / n);
    }
    if (!live) return;
    const auto affine = formats.affine();
    for_each_octet(p.shape, place, [&](int octet, int count) {
      const Gradients g = gradients(row, s, octet, count);
      if (p.a.dx != nullptr) {
        Octet<C> dx = input_gradient(g.h, g.xhat, Octet<C>::all(s.rstd), c1, c2);
        if (p.a.dresidual != nullptr) {
          dx = dx + load<C>(formats.x, p.access, p.a.dresidual + row * p.a.dresidual_stride, octet, count);
        }
        store(formats.x, p.access, p.a.dx + row * p.a.dx_stride, octet, count, dx);
      }
      add_to_share(p.a.dweight_partials, group, first, octet, count,
                   [&](const Octet<C>& sum) { return affine.add_weight_gradient(sum, formats.y, g.dy, g.xhat); });
      add_to_share(p.a.dbias_partials, group, first, octet, count, [&](const Octet<C>& sum) { return sum + g.dy; });
    });
  }

  NC_DEVICE char* share(char* partials, int64_t group, int row_lane) const {
    return partials + (group * p.row_slots + row_lane) * p.shape.n * static_cast<int64_t>(sizeof(C));
  }
  template <class Add>
  NC_DEVICE void add_to_share(char* partials, int64_t group, bool first, int octet, int count, Add add) const {
    if (partials == nullptr) return;
    char* to = share(partials, group, place.slot);
    store_sums(to, octet, count, add(first ? Octet<C>::zero() : load_sums(to, octet, count)));
  }
  NC_DEVICE void clear_share(char* partials, int64_t group) const {
    if (partials == nullptr) return;
    for_each_octet(p.shape, place, [&](int octet, int count) {
      store_sums(share(partials, group, place.slot), octet, count, Octet<C>::zero());
    });
  }
  NC_DEVICE void add_upper_share(char* partials, int64_t group, int step) const {
    if (partials == nullptr) return;
    char* lower = share(partials, group, place.slot);
    char* upper = share(partials, group, place.slot + step);
    for_each_octet(p.shape, place, [&](int octet, int count) {
      store_sums(lower, octet, count, load_sums(lower, octet, count) + load_sums(upper, octet, count));
    });
  }
  // The workspace is aligned to its elements.
  static NC_DEVICE Octet<C> load_sums(const char* share, int octet, int count) {
    return load<C>(StaticFormat<kSums>{}, Access::elements, share, octet, count);
  }
  static NC_DEVICE void store_sums(char* share, int octet, int count, const Octet<C>& sums) {
    store(StaticFormat<kSums>{}, Access::elements, share, octet, count, sums);
  }

  const BackwardParameters& p;
  const F formats;
  const Place place;
  char* const memory;
};

template <class F>
NC_KERNEL(kMaxLanes, 1)
void norm_backward_any(const BackwardParameters p) {
  AnyBackwardKernel<F>::run(p);
}

}  // namespace NC_LEVEL
}  // namespace nc
