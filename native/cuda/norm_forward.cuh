// Forward of RMSNorm and LayerNorm on CUDA devices, for the formats and shapes in common use.
//
//   y = the policy's rounding of (x - mean) * rstd * g (+ b), mean and rstd in float32
//       or, in FP8, the same value scaled and rounded once
//
// A row is read from memory once, 16 bytes at a time, all of a lane's loads in flight together, and is kept in
// registers, as it was in memory, until y is written. A block of 128 threads holds as many rows as lanes(N) allows; a
// row of several segments is a cluster of blocks. Weight and bias come late, when the row's statistics are known, from
// the caches.
#pragma once

#include "float8.cuh"
#include "formats.cuh"
#include "parameters.h"
#include "row_reduce.cuh"
#include "tuning.h"

namespace nc {
inline namespace NC_LEVEL {

// Which norm it is, known when the kernel is compiled, or when it runs: RMSNorm's mean is +0, and x - 0 is x.
template <bool LayerNorm>
struct StaticNorm {
  static NC_DEVICE bool is_layer_norm(const ForwardParameters&) { return LayerNorm; }
};
struct RuntimeNorm {
  static NC_DEVICE bool is_layer_norm(const ForwardParameters& p) { return p.spec.op == Op::layer_norm; }
};

// Kept: the most octets of a lane.
template <class F, class Norm, int Kept>
class ForwardKernel {
 public:
  static constexpr bool quantized = bytes_of(F::y) == 1;

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
    if (Norm::is_layer_norm(p)) {
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

    const Statistics statistics{mean, rstd};
    if constexpr (quantized) {
      write_quantized(p, place, row, live, octets, x, statistics);
    } else {
      char* const y = p.a.y + row * p.a.y_stride;
      each_value(p, octets, x, statistics,
                 [&](int octet, bool, const Octet<float>& t) { store<F::y>(y, octet, packed<F::y>(t)); });
    }
  }

 private:
  struct Statistics {
    float mean, rstd;
  };

  // f(octet, exists, values) with the policy's values, not yet rounded to y's type, of a lane's octets: those that
  // exist, or, where y is quantised and threads have to meet, as many for all threads.
  template <class Body>
  static NC_DEVICE void each_value(const ForwardParameters& p, const LaneOctets& octets, const Packed<F::x> (&x)[Kept],
                                   const Statistics& s, Body f) {
    const auto scale = F::scale(p.spec.gamma_offset, false);
    const Octet<float> one = Octet<float>::all(1.0f);
    const Octet<float> centre = Octet<float>::all(Norm::is_layer_norm(p) ? s.mean : 0.0f);
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
      NC_UNROLL for (int i = 0; i < kTogether; ++i) {
        const int k = first + i;
        const int octet = octets.first + k * p.shape.lanes;
        const bool exists = octet < octets.end;
        if (!(quantized ? k * p.shape.lanes < p.shape.octets_per_segment : exists)) continue;
        Octet<float> t = scale.normalised_value(normalised(unpacked(x[k]), centre, Octet<float>::all(s.rstd)));
        if (p.a.weight != nullptr) t = scale.scaled(t, scale.gamma(unpacked(weight[i]), one));
        if (p.a.bias != nullptr) t = scale.shifted(t, unpacked(bias[i]));
        f(octet, exists, t);
      }
    }
  }

  // One copy of the code for all scalings, which would otherwise take longer to compile than all other kernels: by
  // Scaling::row the values are formed twice, the first time for the largest of them. In blocks, four neighbouring
  // lanes have 32 elements, or as many as a short row has: octets_per_segment is a multiple of four, or these kernels
  // would not have been chosen.
  static NC_DEVICE void write_quantized(const ForwardParameters& p, const Place& place, int64_t row, bool live,
                                        const LaneOctets& octets, const Packed<F::x> (&x)[Kept], const Statistics& s) {
    constexpr int of_block = kScaleBlock / kPacket;
    const bool by_row = p.spec.scaling == Scaling::row, by_blocks = p.spec.scaling == Scaling::block;
    const int64_t blocks = ceil_div(p.shape.n, kScaleBlock);
    // Not where the sums met: a thread may still be reading those.
    using Meet = Meeting<Largest<float>>;
    RowReducer<Largest<float>> reduce(reinterpret_cast<Meet*>(simt::shared_memory() + sizeof(Meet)), p.shape.lanes,
                                      place.slot, place.lane, p.shape.segments);
    Largest<float> amax{0};
    float scale = p.a.y_scale != nullptr ? *reinterpret_cast<const float*>(p.a.y_scale) : 1.0f;
    NC_ROLLED for (int pass = by_row ? 0 : 1; pass < 2; ++pass) {
      each_value(p, octets, x, s, [&](int octet, bool exists, const Octet<float>& t) {
        Largest<float> largest{exists ? largest_magnitude(t) : 0.0f};
        float scale_here = scale;
        if (by_blocks) {
          for (int step = 1; step < of_block && step < p.shape.lanes; step *= 2) {
            largest = merge(largest, shuffled(largest, step));
          }
          const uint32_t code = e8m0_of(largest.value, p.spec.quantized);
          if (exists && octet % of_block == 0) {
            p.a.y_scale_inv[row * blocks + octet / of_block] = static_cast<char>(code);
          }
          scale_here = block_scale_of(code);
        } else {
          amax = merge(amax, largest);
        }
        if (exists && pass == 1) {
          simt::store8(p.a.y + row * p.a.y_stride + octet * kPacket,
                       packed_float8(p.spec.quantized, t * Octet<float>::all(scale_here)));
        }
      });
      if (pass == 0) scale = scale_of(reduce(amax).value, p.spec.quantized, 0, p.spec.power_of_two);
    }
    if (by_row && live && octets.first == 0) reinterpret_cast<float*>(p.a.y_scale_inv)[row] = inverse_of(scale);
    if (p.a.y_amax == nullptr) return;
    NC_UNROLL for (int step = kWarp / 2; step > 0; step /= 2) amax = merge(amax, shuffled(amax, step));
    if (simt::thread_index() % kWarp == 0) raise(p.a.y_amax, amax.value);
  }

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

template <class F, class Norm, int Kept>
NC_KERNEL(kMaxLanes, 1)
void norm_forward(const ForwardParameters p) {
  ForwardKernel<F, Norm, Kept>::run(p);
}

}  // namespace NC_LEVEL
}  // namespace nc
