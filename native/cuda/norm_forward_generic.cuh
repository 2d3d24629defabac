// Generic forward of RMSNorm and LayerNorm on CUDA devices, for what the fast kernels do not support: other formats,
// float64 compute, every variance algorithm, unrounded residual sums, any alignment and any hidden size. Each pass
// reads the row again, mostly from the caches, and one block processes all of its segments: same order of sums, same
// bits, slower.
#pragma once

#include "float8.cuh"
#include "generic_formats.cuh"

namespace nc {
inline namespace NC_LEVEL {

// Quantized: y is in FP8, whatever F says.
template <class F, bool Quantized>
class GenericForwardKernel {
 public:
  using C = typename F::Compute;

  static NC_DEVICE void run(const ForwardParameters& p) { GenericForwardKernel(p).rows(); }

 private:
  NC_DEVICE explicit GenericForwardKernel(const ForwardParameters& parameters)
      : p(parameters),
        formats(FormatsOf<F>::from(p.spec)),
        coord(p.shape),
        row(simt::block_index() * p.rows_per_block + coord.row_slot),
        live(row < p.a.row_end),
        memory(simt::shared_memory()) {}

  struct RowStatistics {
    C mean, rstd;
  };

  // The vector to normalise.
  NC_DEVICE Vec8<C> input(int vec, int count) const {
    const Vec8<C> x = load<C>(formats.x, p.alignment, p.a.x + row * p.a.x_stride, vec, count);
    if (p.a.residual == nullptr) return x;
    const Vec8<C> residual = load<C>(formats.x, p.alignment, p.a.residual + row * p.a.residual_stride, vec, count);
    if (p.spec.residual_rounding == ResidualRounding::compute) return residual_sum(x, residual);
    return rounded_residual_sum(formats.x, x, residual);
  }

  template <int Count, class Step>
  NC_DEVICE Sums<C, Count> sums(Step step) const {
    return over_row<Sums<C, Count>>(p.shape, coord, live, memory, [&](const LaneVecs& vecs) {
      Vec8<C> acc[Count];
      for (Vec8<C>& a : acc) a = Vec8<C>::zero();
      for (int vec = vecs.first; vec < vecs.end; vec += p.shape.lanes) {
        const int count = elements_of(p.shape, vec);
        step(input(vec, count), count, acc);
      }
      Sums<C, Count> of_lane;
      for (int i = 0; i < Count; ++i) of_lane.of[i] = sum_of_positions(acc[i]);
      return of_lane;
    });
  }

  NC_DEVICE C mean_of_squares() const {
    return sums<1>([](const Vec8<C>& x, int, Vec8<C>(&acc)[1]) { acc[0] = fma(x, x, acc[0]); }).of[0] / n();
  }
  NC_DEVICE C mean_of_values() const {
    return sums<1>([](const Vec8<C>& x, int, Vec8<C>(&acc)[1]) { acc[0] = acc[0] + x; }).of[0] / n();
  }
  NC_DEVICE C mean_of_centred_squares(C mean) const {
    const Vec8<C> centre = Vec8<C>::all(mean);
    return sums<1>([&](const Vec8<C>& x, int count, Vec8<C>(&acc)[1]) {
             const Vec8<C> xc = where_present(count, x - centre);
             acc[0] = fma(xc, xc, acc[0]);
           }).of[0] /
           n();
  }
  NC_DEVICE RowStatistics by_sum_of_squares() const {
    const Sums<C, 2> both = sums<2>([](const Vec8<C>& x, int, Vec8<C>(&acc)[2]) {
      acc[0] = acc[0] + x;
      acc[1] = fma(x, x, acc[1]);
    });
    const C mean = both.of[0] / n();
    return {mean, reciprocal_deviation(variance_of_sums(mean, both.of[1] / n()), epsilon())};
  }

  // SIMD lanes and threads hold different numbers of values at the end of a row, so every moment carries its count.
  NC_DEVICE CountedMoments<C> lane_moments(const LaneVecs& vecs) const {
    Moments<Vec8<C>> m{Vec8<C>::zero(), Vec8<C>::zero()};
    C whole = 0;
    int extra = 0;  // SIMD lanes that hold one value more
    for (int vec = vecs.first; vec < vecs.end; vec += p.shape.lanes) {
      const int count = elements_of(p.shape, vec);
      const Moments<Vec8<C>> longer = welford_add(m, input(vec, count), Vec8<C>::all(whole + C(1)));
      if (count == kVecWidth) {
        m = longer;
        whole += C(1);
        continue;
      }
      extra = count;
      NC_UNROLL for (int i = 0; i < kVecWidth; ++i) {
        if (i < count) {
          m.mean.v[i] = longer.mean.v[i];
          m.m2.v[i] = longer.m2.v[i];
        }
      }
    }
    CountedMoments<C> positions[kVecWidth];
    NC_UNROLL for (int i = 0; i < kVecWidth; ++i) {
      positions[i] = {{m.mean.v[i], m.m2.v[i]}, whole + (i < extra ? C(1) : C(0))};
    }
    return tree_reduce<kVecWidth>(positions, 1);
  }
  NC_DEVICE RowStatistics by_welford() const {
    const Moments<C> m = over_row<CountedMoments<C>>(p.shape, coord, live, memory, [&](const LaneVecs& vecs) {
                           return lane_moments(vecs);
                         }).moments;
    return {m.mean, reciprocal_deviation(m.m2 / n(), epsilon())};
  }

  NC_DEVICE RowStatistics statistics() const {
    if (p.spec.op == Op::rms_norm) return {C(0), reciprocal_deviation(mean_of_squares(), epsilon())};
    switch (p.spec.variance) {
      case Variance::welford:
        return by_welford();
      case Variance::sum_of_squares:
        return by_sum_of_squares();
      default: {
        const C mean = mean_of_values();
        return {mean, reciprocal_deviation(mean_of_centred_squares(mean), epsilon())};
      }
    }
  }

  NC_DEVICE void rows() const {
    const RowStatistics s = statistics();
    if (live && coord.lane == 0) {
      save_statistic(p.a.mean, row, s.mean);
      save_statistic(p.a.rstd, row, s.rstd);
    }
    if constexpr (Quantized) {
      // write_by_tensor and write_by_row synchronise, so all threads call them.
      if (p.spec.scaling == Scaling::tensor) return write_by_tensor(s);
      if (p.spec.scaling == Scaling::row) return write_by_row(s);
      if (live) write_by_blocks(s);
    } else if (live) {
      for_each_vec(p.shape, coord, [&](int vec, int count) {
        const Vec8<C> x = input(vec, count);
        store_residual_sum(vec, count, x);
        store(formats.y, p.alignment, p.a.y + row * p.a.y_stride, vec, count, value(s, x, vec, count));
      });
    }
  }

  NC_DEVICE void store_residual_sum(int vec, int count, const Vec8<C>& x) const {
    if (p.a.residual == nullptr) return;
    store(formats.x, p.alignment, p.a.residual_out + row * p.a.residual_out_stride, vec, count, x);
  }

  // The policy's value, not yet rounded to y's type.
  NC_DEVICE Vec8<C> value(const RowStatistics& s, const Vec8<C>& x, int vec, int count) const {
    const auto affine = formats.affine();
    Vec8<C> t = affine.normalised_value(normalised(x, Vec8<C>::all(s.mean), Vec8<C>::all(s.rstd)));
    if (p.a.weight != nullptr) {
      t = affine.apply_weight(
          t, affine.gamma(load<C>(formats.weight, p.alignment, p.a.weight, vec, count), Vec8<C>::all(C(1))));
    }
    if (p.a.bias != nullptr) t = affine.add_bias(t, load<C>(formats.weight, p.alignment, p.a.bias, vec, count));
    return t;
  }

  NC_DEVICE void store_scaled(int vec, int count, const Vec8<C>& t, float scale) const {
    store_float8(p.y_words, p.a.y + row * p.a.y_stride, vec, count,
                 packed_float8(p.spec.quantized, t * Vec8<C>::all(static_cast<C>(scale))));
  }

  NC_DEVICE void write_by_tensor(const RowStatistics& s) const {
    const float scale = load_at<float>(p.a.y_scale, 0);
    MaxAbs<C> amax{0};
    if (live) {
      for_each_vec(p.shape, coord, [&](int vec, int count) {
        const Vec8<C> x = input(vec, count);
        store_residual_sum(vec, count, x);
        const Vec8<C> t = value(s, x, vec, count);
        amax.value = larger_magnitude(amax.value, largest_magnitude(where_present(count, t)));
        store_scaled(vec, count, t, scale);
      });
    }
    if (p.a.y_amax == nullptr) return;
    for (int step = kWarp / 2; step > 0; step /= 2) amax = combine(amax, shuffled(amax, step));
    if (simt::thread_index() % kWarp == 0) atomic_max(p.a.y_amax, static_cast<float>(amax.value));
  }

  NC_DEVICE void write_by_row(const RowStatistics& s) const {
    const MaxAbs<C> amax = over_row<MaxAbs<C>>(p.shape, coord, live, memory, [&](const LaneVecs& vecs) {
      MaxAbs<C> of_lane{0};
      for (int vec = vecs.first; vec < vecs.end; vec += p.shape.lanes) {
        const int count = elements_of(p.shape, vec);
        const Vec8<C> t = where_present(count, value(s, input(vec, count), vec, count));
        of_lane.value = larger_magnitude(of_lane.value, largest_magnitude(t));
      }
      return of_lane;
    });
    if (!live) return;
    const float scale = scale_of(static_cast<float>(amax.value), p.spec.quantized, 0, p.spec.power_of_two);
    if (coord.lane == 0) store_at(p.a.y_scale_inv, row, inverse_of(scale));
    for_each_vec(p.shape, coord, [&](int vec, int count) {
      const Vec8<C> x = input(vec, count);
      store_residual_sum(vec, count, x);
      store_scaled(vec, count, value(s, x, vec, count), scale);
    });
  }

  // A thread processes whole scale blocks. The result does not depend on which thread does.
  NC_DEVICE void write_by_blocks(const RowStatistics& s) const {
    constexpr int of_block = kScaleBlock / kVecWidth;
    const int blocks = static_cast<int>(ceil_div(p.shape.n, kScaleBlock));
    for (int block = coord.lane; block < blocks; block += p.shape.lanes) {
      const int first = block * of_block;
      const int vecs = p.shape.vecs - first < of_block ? p.shape.vecs - first : of_block;
      Vec8<C> t[of_block];
      C amax = 0;
      NC_UNROLL for (int i = 0; i < of_block; ++i) {
        if (i >= vecs) continue;
        const int count = elements_of(p.shape, first + i);
        const Vec8<C> x = input(first + i, count);
        store_residual_sum(first + i, count, x);
        t[i] = value(s, x, first + i, count);
        amax = larger_magnitude(amax, largest_magnitude(where_present(count, t[i])));
      }
      const uint32_t code = e8m0_of(static_cast<float>(amax), p.spec.quantized);
      store_at(p.a.y_scale_inv, row * blocks + block, static_cast<uint8_t>(code));
      NC_UNROLL for (int i = 0; i < of_block; ++i) {
        if (i < vecs) store_scaled(first + i, elements_of(p.shape, first + i), t[i], block_scale_of(code));
      }
    }
  }

  NC_DEVICE C n() const { return static_cast<C>(p.shape.n); }
  NC_DEVICE C epsilon() const { return static_cast<C>(p.spec.epsilon); }

  const ForwardParameters& p;
  const F formats;
  const ThreadCoord coord;
  const int64_t row;
  const bool live;
  char* const memory;
};

template <class F, bool Quantized>
NC_KERNEL(kMaxForwardThreads, 1)
void norm_forward_generic(const ForwardParameters p) {
  GenericForwardKernel<F, Quantized>::run(p);
}

}  // namespace NC_LEVEL
}  // namespace nc
