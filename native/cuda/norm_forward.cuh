// Forward of RMSNorm and LayerNorm on CUDA devices, for the formats and shapes in common use.
//
//   y = the policy's rounding of (x - mean) * rstd * g (+ b), mean and rstd in float32
//
// A row is read from memory once, 16 bytes at a time, all of a lane's loads in flight together, and is kept in
// registers, as it was in memory, until y is written. A block of 128 threads holds as many rows as lanes(N) allows; a
// row of several segments is a cluster of blocks. Weight and bias come late, when the row's statistics are known, from
// the caches.
#pragma once

#include "formats.cuh"
#include "parameters.h"
#include "row_reduce.cuh"
#include "tuning.h"

namespace nc {
inline namespace NC_LEVEL {

// Kept: the most octets of a lane.
template <class F, bool LayerNorm, int Kept>
class ForwardKernel {
 public:
  static NC_DEVICE void run(const ForwardParameters& p) {
    const Place place(p.shape);
    const bool clustered = p.shape.segments > 1;
    const int segment = clustered ? simt::cluster_rank() : 0;
    if (clustered) simt::cluster_arrive();
    const int64_t row =
        clustered ? simt::block_index() >> p.shape.segments_log2 : simt::block_index() * p.rows_per_block + place.slot;
    const bool live = row < p.a.row_end;
    LaneOctets octets(p.shape, segment, place.lane);
    if (!live) octets.end = octets.first;
    const char* const x_row = p.a.x + row * p.a.x_stride;
    Packed<F::x> x[Kept] = {};
    each<Kept>(p, octets, 0, [&](int k, int octet) { x[k] = load_once<F::x>(x_row, octet); });
    if (p.a.residual != nullptr) add_residual(p, row, octets, x);
    if (clustered) simt::cluster_wait();

    RowReducer<Sums<float, 1>> reduce(reinterpret_cast<Meeting<Sums<float, 1>>*>(simt::shared_memory()), p.shape.lanes,
                                      place.slot, place.lane, p.shape.segments);
    const float n = static_cast<float>(p.shape.n);
    const float epsilon = static_cast<float>(p.spec.epsilon);
    float mean = 0, square_sum;
    Octet<float> sum = Octet<float>::zero();
    if constexpr (LayerNorm) {
      // Octets that do not exist are +0, which changes no sum that began as +0.
      NC_UNROLL for (int k = 0; k < Kept; ++k) sum = sum + unpacked(x[k]);
      mean = reduce({{sum_of_positions(sum)}}).of[0] / n;
      sum = Octet<float>::zero();
      each<Kept>(p, octets, 0, [&](int k, int) {
        const Octet<float> xc = unpacked(x[k]) - Octet<float>::all(mean);
        sum = fma(xc, xc, sum);
      });
    } else {
      NC_UNROLL for (int k = 0; k < Kept; ++k) {
        const Octet<float> v = unpacked(x[k]);
        sum = fma(v, v, sum);
      }
    }
    square_sum = reduce({{sum_of_positions(sum)}}).of[0];
    const float rstd = reciprocal_deviation(square_sum / n, epsilon);
    if (live && place.lane == 0 && segment == 0) {
      // Aligned, or these kernels would not have been chosen.
      if (p.a.mean != nullptr) reinterpret_cast<float*>(p.a.mean)[row] = mean;
      if (p.a.rstd != nullptr) reinterpret_cast<float*>(p.a.rstd)[row] = rstd;
    }

    const auto scale = F::scale(p.spec.gamma_offset, false);
    const Octet<float> one = Octet<float>::all(1.0f);
    const Octet<float> centre = LayerNorm ? Octet<float>::all(mean) : Octet<float>::zero();
    char* const y = p.a.y + row * p.a.y_stride;
    NC_UNROLL for (int first = 0; first < Kept; first += kTogether) {
      Packed<F::weight> weight[kTogether] = {}, bias[kTogether] = {};
      if (p.a.weight != nullptr) {
        each<kTogether>(p, octets, first,
                        [&](int k, int octet) { weight[k - first] = load_parameter<F::weight>(p.a.weight, octet); });
      }
      if (p.a.bias != nullptr) {
        each<kTogether>(p, octets, first,
                        [&](int k, int octet) { bias[k - first] = load_parameter<F::weight>(p.a.bias, octet); });
      }
      each<kTogether>(p, octets, first, [&](int k, int octet) {
        Octet<float> t = scale.normalised_value(normalised(unpacked(x[k]), centre, Octet<float>::all(rstd)));
        if (p.a.weight != nullptr) t = scale.scaled(t, scale.gamma(unpacked(weight[k - first]), one));
        if (p.a.bias != nullptr) t = scale.shifted(t, unpacked(bias[k - first]));
        store<F::y>(y, octet, packed<F::y>(t));
      });
    }
  }

 private:
  // f(k, octet) for octets k = first .. first + Count - 1 of a lane, as far as they exist.
  template <int Count, class Body>
  static NC_DEVICE void each(const ForwardParameters& p, const LaneOctets& octets, int first, Body f) {
    NC_UNROLL for (int i = 0; i < Count; ++i) {
      const int octet = octets.first + (first + i) * p.shape.lanes;
      if (octet < octets.end) f(first + i, octet);
    }
  }

  // Octets whose residual, weight or bias are loaded together, so that their latencies overlap: all of them at once
  // would not fit the registers beside x.
  static constexpr int kMostTogether =
      kLoadedWords / (Packed<F::weight>::words > Packed<F::x>::words ? Packed<F::weight>::words : Packed<F::x>::words);
  static constexpr int kTogether = Kept < kMostTogether ? Kept : kMostTogether;

  // residual_out = rd_I(x + residual), which is then normalised.
  static NC_DEVICE void add_residual(const ForwardParameters& p, int64_t row, const LaneOctets& octets,
                                     Packed<F::x> (&x)[Kept]) {
    const char* residual = p.a.residual + row * p.a.residual_stride;
    char* out = p.a.residual_out + row * p.a.residual_out_stride;
    NC_UNROLL for (int first = 0; first < Kept; first += kTogether) {
      Packed<F::x> r[kTogether] = {};
      each<kTogether>(p, octets, first, [&](int k, int octet) { r[k - first] = load_once<F::x>(residual, octet); });
      each<kTogether>(p, octets, first, [&](int k, int octet) {
        x[k] = packed<F::x>(rounded_residual_sum(StaticFormat<F::x>{}, unpacked(x[k]), unpacked(r[k - first])));
        store<F::x>(out, octet, x[k]);
      });
    }
  }
};

template <class F, bool LayerNorm, int Kept>
NC_KERNEL(kMaxLanes, 1)
void norm_forward(const ForwardParameters p) {
  ForwardKernel<F, LayerNorm, Kept>::run(p);
}

}  // namespace NC_LEVEL
}  // namespace nc
