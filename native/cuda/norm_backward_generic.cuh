// Generic backward of RMSNorm and LayerNorm on CUDA devices, first step, for what the fast kernels do not support;
// norm_backward.cuh has the formulas. Rows are read twice from memory or the caches. The sums of dweight and dbias, one
// per row slot, are kept in the workspace, [groups, row_slots, N], and added there in a tree at the end.
#pragma once

#include "generic_formats.cuh"

namespace nc {
inline namespace NC_LEVEL {

template <class F>
class GenericBackwardKernel {
 public:
  using C = typename F::Compute;
  static constexpr DType kSums = sizeof(C) == sizeof(double) ? DType::float64 : DType::float32;

  static NC_DEVICE void run(const BackwardParameters& p) { GenericBackwardKernel(p).group(); }

 private:
  NC_DEVICE explicit GenericBackwardKernel(const BackwardParameters& parameters)
      : p(parameters), formats(FormatsOf<F>::from(p.spec)), coord(p.shape), memory(simt::shared_memory()) {}

  NC_DEVICE void group() const {
    const int64_t index = simt::block_index();
    const int64_t begin = group_begin(index, p.a.rows, p.groups);
    const int64_t end = group_begin(index + 1, p.a.rows, p.groups);
    for (int64_t base = begin; base < end; base += p.row_slots) {
      const int64_t row = base + coord.row_slot;
      one_row(row, coord.row_slot < p.row_slots && row < end, base == begin, index);
    }
    // A row slot without rows is part of the tree as well: its sums are 0.
    if (coord.row_slot < p.row_slots && begin + coord.row_slot >= end) {
      clear_partial(p.a.dweight_partials, index);
      clear_partial(p.a.dbias_partials, index);
    }
    for (int step = p.row_slots / 2; step > 0; step /= 2) {
      simt::block_barrier();
      if (coord.row_slot >= step) continue;
      add_upper_partial(p.a.dweight_partials, index, step);
      add_upper_partial(p.a.dbias_partials, index, step);
    }
  }

  struct RowStatistics {
    C mean, rstd;
  };
  struct Gradients {
    Vec8<C> dy, h, xhat;
  };
  NC_DEVICE Gradients gradients(int64_t row, RowStatistics s, int vec, int count) const {
    const auto affine = formats.affine();
    const Vec8<C> one = Vec8<C>::all(C(1));
    const Vec8<C> dy = load<C>(formats.y, p.alignment, p.a.dy + row * p.a.dy_stride, vec, count);
    const Vec8<C> x = load<C>(formats.x, p.alignment, p.a.x + row * p.a.x_stride, vec, count);
    const Vec8<C> g =
        p.a.weight != nullptr ? affine.gamma(load<C>(formats.weight, p.alignment, p.a.weight, vec, count), one) : one;
    return {dy, affine.gradient(formats.y, dy, g), normalised(x, Vec8<C>::all(s.mean), Vec8<C>::all(s.rstd))};
  }

  NC_DEVICE void one_row(int64_t row, bool live, bool first, int64_t group) const {
    const bool layer_norm = p.spec.op == Op::layer_norm;
    RowStatistics s{C(0), C(0)};
    if (live) s = {load_statistic<C>(p.a.mean, row), load_statistic<C>(p.a.rstd, row)};
    Vec8<C> c1 = Vec8<C>::zero(), c2 = Vec8<C>::zero();
    if (p.a.dx != nullptr) {
      const Sums<C, 2> sums = over_row<Sums<C, 2>>(p.shape, coord, live, memory, [&](const LaneVecs& vecs) {
        Vec8<C> sum1 = Vec8<C>::zero(), sum2 = Vec8<C>::zero();
        for (int vec = vecs.first; vec < vecs.end; vec += p.shape.lanes) {
          const int count = elements_of(p.shape, vec);
          const Gradients g = gradients(row, s, vec, count);
          const Vec8<C> h = where_present(count, g.h);
          sum1 = fma(h, where_present(count, g.xhat), sum1);
          sum2 = sum2 + h;
        }
        return Sums<C, 2>{{sum_of_positions(sum1), sum_of_positions(sum2)}};
      });
      const C n = static_cast<C>(p.shape.n);
      c1 = Vec8<C>::all(sums.of[0] / n);
      if (layer_norm) c2 = Vec8<C>::all(sums.of[1] / n);
    }
    if (!live) return;
    const auto affine = formats.affine();
    for_each_vec(p.shape, coord, [&](int vec, int count) {
      const Gradients g = gradients(row, s, vec, count);
      if (p.a.dx != nullptr) {
        Vec8<C> dx = input_gradient(g.h, g.xhat, Vec8<C>::all(s.rstd), c1, c2);
        if (p.a.dresidual != nullptr) {
          dx = dx + load<C>(formats.x, p.alignment, p.a.dresidual + row * p.a.dresidual_stride, vec, count);
        }
        store(formats.x, p.alignment, p.a.dx + row * p.a.dx_stride, vec, count, dx);
      }
      add_to_partial(p.a.dweight_partials, group, first, vec, count,
                     [&](const Vec8<C>& sum) { return affine.add_weight_gradient(sum, formats.y, g.dy, g.xhat); });
      add_to_partial(p.a.dbias_partials, group, first, vec, count, [&](const Vec8<C>& sum) { return sum + g.dy; });
    });
  }

  NC_DEVICE char* partial(char* partials, int64_t group, int row_slot) const {
    return partials + (group * p.row_slots + row_slot) * p.shape.n * static_cast<int64_t>(sizeof(C));
  }
  template <class Add>
  NC_DEVICE void add_to_partial(char* partials, int64_t group, bool first, int vec, int count, Add add) const {
    if (partials == nullptr) return;
    char* to = partial(partials, group, coord.row_slot);
    store_sums(to, vec, count, add(first ? Vec8<C>::zero() : load_sums(to, vec, count)));
  }
  NC_DEVICE void clear_partial(char* partials, int64_t group) const {
    if (partials == nullptr) return;
    for_each_vec(p.shape, coord, [&](int vec, int count) {
      store_sums(partial(partials, group, coord.row_slot), vec, count, Vec8<C>::zero());
    });
  }
  NC_DEVICE void add_upper_partial(char* partials, int64_t group, int step) const {
    if (partials == nullptr) return;
    char* lower = partial(partials, group, coord.row_slot);
    char* upper = partial(partials, group, coord.row_slot + step);
    for_each_vec(p.shape, coord, [&](int vec, int count) {
      store_sums(lower, vec, count, load_sums(lower, vec, count) + load_sums(upper, vec, count));
    });
  }
  // The workspace is aligned to its elements.
  static NC_DEVICE Vec8<C> load_sums(const char* partial, int vec, int count) {
    return load<C>(StaticFormat<kSums>{}, Alignment::element, partial, vec, count);
  }
  static NC_DEVICE void store_sums(char* partial, int vec, int count, const Vec8<C>& sums) {
    store(StaticFormat<kSums>{}, Alignment::element, partial, vec, count, sums);
  }

  const BackwardParameters& p;
  const F formats;
  const ThreadCoord coord;
  char* const memory;
};

template <class F>
NC_KERNEL(kMaxLanes, 1)
void norm_backward_generic(const BackwardParameters p) {
  GenericBackwardKernel<F>::run(p);
}

}  // namespace NC_LEVEL
}  // namespace nc
