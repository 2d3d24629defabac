// Generic forward of RMSNorm and LayerNorm on CUDA devices, for what the fast kernels do not support: other formats,
// float64 compute, every variance algorithm, unrounded residual sums, any alignment and any hidden size. Each pass
// reads the row again, mostly from the caches, and one block processes all of its segments: same order of sums, same
// bits, slower.
#pragma once

#include "any_formats.cuh"
#include "float8.cuh"

namespace nc {
inline namespace NC_LEVEL {

// Quantized: y is in FP8, whatever F says.
template <class F, bool Quantized>
class AnyForwardKernel {
 public:
  using C = typename F::Compute;

  static NC_DEVICE void run(const ForwardParameters& p) { AnyForwardKernel(p).rows(); }

 private:
  NC_DEVICE explicit AnyForwardKernel(const ForwardParameters& parameters)
      : p(parameters),
        formats(FormatsOf<F>::from(p.spec)),
        place(p.shape),
        row(simt::block_index() * p.rows_per_block + place.slot),
        live(row < p.a.row_end),
        memory(simt::shared_memory()) {}

  struct Statistics {
    C mean, rstd;
  };

  // The vector to normalise.
  NC_DEVICE Octet<C> input(int octet, int count) const {
    const Octet<C> x = load<C>(formats.x, p.access, p.a.x + row * p.a.x_stride, octet, count);
    if (p.a.residual == nullptr) return x;
    const Octet<C> residual = load<C>(formats.x, p.access, p.a.residual + row * p.a.residual_stride, octet, count);
    if (p.spec.residual_rounding == ResidualRounding::compute) return residual_sum(x, residual);
    return rounded_residual_sum(formats.x, x, residual);
  }

  template <int Count, class Step>
  NC_DEVICE Sums<C, Count> sums(Step step) const {
    return over_row<Sums<C, Count>>(p.shape, place, live, memory, [&](const LaneOctets& octets) {
      Octet<C> acc[Count];
      for (Octet<C>& a : acc) a = Octet<C>::zero();
      for (int octet = octets.first; octet < octets.end; octet += p.shape.lanes) {
        const int count = elements_of(p.shape, octet);
        step(input(octet, count), count, acc);
      }
      Sums<C, Count> of_lane;
      for (int i = 0; i < Count; ++i) of_lane.of[i] = sum_of_positions(acc[i]);
      return of_lane;
    });
  }

  NC_DEVICE C mean_of_squares() const {
    return sums<1>([](const Octet<C>& x, int, Octet<C>(&acc)[1]) { acc[0] = fma(x, x, acc[0]); }).of[0] / n();
  }
  NC_DEVICE C mean_of_values() const {
    return sums<1>([](const Octet<C>& x, int, Octet<C>(&acc)[1]) { acc[0] = acc[0] + x; }).of[0] / n();
  }
  NC_DEVICE C mean_of_centred_squares(C mean) const {
    const Octet<C> centre = Octet<C>::all(mean);
    return sums<1>([&](const Octet<C>& x, int count, Octet<C>(&acc)[1]) {
             const Octet<C> xc = where_present(count, x - centre);
             acc[0] = fma(xc, xc, acc[0]);
           }).of[0] /
           n();
  }
  NC_DEVICE Statistics by_sum_of_squares() const {
    const Sums<C, 2> both = sums<2>([](const Octet<C>& x, int, Octet<C>(&acc)[2]) {
      acc[0] = acc[0] + x;
      acc[1] = fma(x, x, acc[1]);
    });
    const C mean = both.of[0] / n();
    return {mean, reciprocal_deviation(variance_of_sums(mean, both.of[1] / n()), epsilon())};
  }

  // SIMD lanes and threads hold different numbers of values at the end of a row, so every moment carries its count.
  NC_DEVICE CountedMoments<C> lane_moments(const LaneOctets& octets) const {
    Moments<Octet<C>> m{Octet<C>::zero(), Octet<C>::zero()};
    C whole = 0;
    int extra = 0;  // SIMD lanes that hold one value more
    for (int octet = octets.first; octet < octets.end; octet += p.shape.lanes) {
      const int count = elements_of(p.shape, octet);
      const Moments<Octet<C>> longer = welford_add(m, input(octet, count), Octet<C>::all(whole + C(1)));
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
    return halved<kVecWidth>(positions, 1);
  }
  NC_DEVICE Statistics by_welford() const {
    const Moments<C> m = over_row<CountedMoments<C>>(p.shape, place, live, memory, [&](const LaneOctets& octets) {
                           return lane_moments(octets);
                         }).moments;
    return {m.mean, reciprocal_deviation(m.m2 / n(), epsilon())};
  }

  NC_DEVICE Statistics statistics() const {
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
    const Statistics s = statistics();
    if (live && place.lane == 0) {
      save_statistic(p.a.mean, row, s.mean);
      save_statistic(p.a.rstd, row, s.rstd);
    }
    if constexpr (Quantized) {
      // write_by_tensor and write_by_row synchronise, so all threads call them.
      if (p.spec.scaling == Scaling::tensor) return write_by_tensor(s);
      if (p.spec.scaling == Scaling::row) return write_by_row(s);
      if (live) write_by_blocks(s);
    } else if (live) {
      for_each_octet(p.shape, place, [&](int octet, int count) {
        const Octet<C> x = input(octet, count);
        keep_sum(octet, count, x);
        store(formats.y, p.access, p.a.y + row * p.a.y_stride, octet, count, value(s, x, octet, count));
      });
    }
  }

  NC_DEVICE void keep_sum(int octet, int count, const Octet<C>& x) const {
    if (p.a.residual == nullptr) return;
    store(formats.x, p.access, p.a.residual_out + row * p.a.residual_out_stride, octet, count, x);
  }

  // The policy's value, not yet rounded to y's type.
  NC_DEVICE Octet<C> value(const Statistics& s, const Octet<C>& x, int octet, int count) const {
    const auto affine = formats.affine();
    Octet<C> t = affine.normalised_value(normalised(x, Octet<C>::all(s.mean), Octet<C>::all(s.rstd)));
    if (p.a.weight != nullptr) {
      t = affine.apply_weight(
          t, affine.gamma(load<C>(formats.weight, p.access, p.a.weight, octet, count), Octet<C>::all(C(1))));
    }
    if (p.a.bias != nullptr) t = affine.add_bias(t, load<C>(formats.weight, p.access, p.a.bias, octet, count));
    return t;
  }

  NC_DEVICE void store_scaled(int octet, int count, const Octet<C>& t, float scale) const {
    store_float8(p.y_words, p.a.y + row * p.a.y_stride, octet, count,
                 packed_float8(p.spec.quantized, t * Octet<C>::all(static_cast<C>(scale))));
  }

  NC_DEVICE void write_by_tensor(const Statistics& s) const {
    const float scale = load_at<float>(p.a.y_scale, 0);
    Largest<C> amax{0};
    if (live) {
      for_each_octet(p.shape, place, [&](int octet, int count) {
        const Octet<C> x = input(octet, count);
        keep_sum(octet, count, x);
        const Octet<C> t = value(s, x, octet, count);
        amax.value = larger_magnitude(amax.value, largest_magnitude(where_present(count, t)));
        store_scaled(octet, count, t, scale);
      });
    }
    if (p.a.y_amax == nullptr) return;
    for (int step = kWarp / 2; step > 0; step /= 2) amax = merge(amax, shuffled(amax, step));
    if (simt::thread_index() % kWarp == 0) raise(p.a.y_amax, static_cast<float>(amax.value));
  }

  NC_DEVICE void write_by_row(const Statistics& s) const {
    const Largest<C> amax = over_row<Largest<C>>(p.shape, place, live, memory, [&](const LaneOctets& octets) {
      Largest<C> of_lane{0};
      for (int octet = octets.first; octet < octets.end; octet += p.shape.lanes) {
        const int count = elements_of(p.shape, octet);
        const Octet<C> t = where_present(count, value(s, input(octet, count), octet, count));
        of_lane.value = larger_magnitude(of_lane.value, largest_magnitude(t));
      }
      return of_lane;
    });
    if (!live) return;
    const float scale = scale_of(static_cast<float>(amax.value), p.spec.quantized, 0, p.spec.power_of_two);
    if (place.lane == 0) store_at(p.a.y_scale_inv, row, inverse_of(scale));
    for_each_octet(p.shape, place, [&](int octet, int count) {
      const Octet<C> x = input(octet, count);
      keep_sum(octet, count, x);
      store_scaled(octet, count, value(s, x, octet, count), scale);
    });
  }

  // A thread processes whole scale blocks. The result does not depend on which thread does.
  NC_DEVICE void write_by_blocks(const Statistics& s) const {
    constexpr int of_block = kScaleBlock / kVecWidth;
    const int blocks = static_cast<int>(ceil_div(p.shape.n, kScaleBlock));
    for (int block = place.lane; block < blocks; block += p.shape.lanes) {
      const int first = block * of_block;
      const int octets = p.shape.octets - first < of_block ? p.shape.octets - first : of_block;
      Octet<C> t[of_block];
      C amax = 0;
      NC_UNROLL for (int i = 0; i < of_block; ++i) {
        if (i >= octets) continue;
        const int count = elements_of(p.shape, first + i);
        const Octet<C> x = input(first + i, count);
        keep_sum(first + i, count, x);
        t[i] = value(s, x, first + i, count);
        amax = larger_magnitude(amax, largest_magnitude(where_present(count, t[i])));
      }
      const uint32_t code = e8m0_of(static_cast<float>(amax), p.spec.quantized);
      store_at(p.a.y_scale_inv, row * blocks + block, static_cast<uint8_t>(code));
      NC_UNROLL for (int i = 0; i < of_block; ++i) {
        if (i < octets) store_scaled(first + i, elements_of(p.shape, first + i), t[i], block_scale_of(code));
      }
    }
  }

  NC_DEVICE C n() const { return static_cast<C>(p.shape.n); }
  NC_DEVICE C epsilon() const { return static_cast<C>(p.spec.epsilon); }

  const ForwardParameters& p;
  const F formats;
  const Place place;
  const int64_t row;
  const bool live;
  char* const memory;
};

template <class F, bool Quantized>
NC_KERNEL(kMaxLanes, 1)
void norm_forward_any(const ForwardParameters p) {
  AnyForwardKernel<F, Quantized>::run(p);
}

}  // namespace NC_LEVEL
}  // namespace nc
