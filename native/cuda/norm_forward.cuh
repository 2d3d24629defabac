// Forward of RMSNorm and LayerNorm on CUDA devices, for the formats and shapes in common use.
//
//   y = the policy's rounding of (x - mean) * rstd * g (+ b), mean and rstd in float32
//   or, in FP8, the same value scaled and rounded once
//
// Each row is read from memory once, with 16-byte loads. All loads of a thread are in flight together, and the row
// stays in registers, in its memory format, until y is written. A block of 128 threads holds as many rows as lanes(N)
// allows; a thread holds several if they are short. A row of several segments is a cluster of blocks. Weight and bias
// are loaded late, from the caches, when the row's statistics are known; short rows have the registers to load them
// early.
#pragma once

#include <type_traits>

#include "float8.cuh"
#include "formats.cuh"
#include "parameters.h"
#include "row_reduce.cuh"
#include "tuning.h"
#include "unaligned_row.cuh"

namespace nc {
inline namespace NC_LEVEL {

// Whether the norm is RMSNorm or LayerNorm, known at compile time or at run time: RMSNorm's mean is +0, and x - 0 is x.
template <bool LayerNorm>
struct StaticNorm {
  static NC_DEVICE bool is_layer_norm(const ForwardParameters&) { return LayerNorm; }
};
struct RuntimeNorm {
  static NC_DEVICE bool is_layer_norm(const ForwardParameters& p) { return p.spec.op == Op::layer_norm; }
};

// Kept: maximum vectors per thread. Rows: per thread, so that short rows have as many bytes in flight as longer ones.
// Shifted: unaligned rows, which go through shared memory, as does the weight; the arithmetic is the same.
template <class F, class Norm, int VecsPerThread, int Rows, bool Unaligned>
class ForwardKernel {
 public:
  static constexpr bool quantized = bytes_of(F::y) == 1;

  static NC_DEVICE void run(const ForwardParameters& p) { ForwardKernel(p).rows(); }

 protected:
  // With several rows per thread a row never spans warps: its sums need no shared memory.
  using RowSums = Sums<float, Rows>;
  using Values = Packed<F::x>[Rows][VecsPerThread];
  struct Parameters;  // weight and bias of some vectors

  NC_DEVICE explicit ForwardKernel(const ForwardParameters& parameters)
      : p(parameters),
        coord(p.shape),
        segment(p.shape.segments > 1 ? simt::cluster_rank() : 0),
        vecs(p.shape, segment, coord.lane),
        begin(vecs.first - coord.lane),
        row_slots(simt::thread_count() >> p.shape.lanes_log2),
        first_row(p.shape.segments > 1 ? simt::block_index() >> p.shape.segments_log2
                                       : simt::block_index() * row_slots * Rows + coord.row_slot) {}

  NC_DEVICE int64_t row(int r) const { return first_row + r * row_slots; }
  NC_DEVICE bool live(int r) const { return row(r) < p.a.row_end; }
  NC_DEVICE int vec(int k) const { return vecs.first + k * p.shape.lanes; }
  NC_DEVICE bool exists(int k) const { return vec(k) < vecs.end; }

  NC_DEVICE void rows() const {
    const bool clustered = p.shape.segments > 1;
    if (clustered) cluster_arrive_first();
    Values x = {};
    Parameters parameters;
    if constexpr (Unaligned) {
      fetch_rows();
      realign_rows(x);
    } else {
      load_rows(x);
      if constexpr (kEarlyParameters) parameters = load_parameters(0);
      if (p.a.residual != nullptr) add_residual(x);
    }
    if (clustered) simt::cluster_wait();
    write_rows(x, parameters);
  }

  // parameters: of the first vectors if they are loaded early.
  NC_DEVICE void write_rows(Values& x, const Parameters& parameters) const {
    const BatchStatistics s = statistics_of(x);
    NC_UNROLL for (int r = 0; r < Rows; ++r) {
      if (!live(r) || coord.lane != 0 || segment != 0) continue;
      // Aligned: the fast kernels require it.
      if (p.a.mean != nullptr) store_at(p.a.mean, row(r), s.mean[r]);
      if (p.a.rstd != nullptr) store_at(p.a.rstd, row(r), s.rstd[r]);
    }

    if constexpr (quantized) {
      write_quantized(x, s, parameters);
    } else if constexpr (Unaligned) {
      // All threads must have read their vectors. If a row spans several warps, the reduction's barrier ensures it.
      if (p.shape.lanes <= kWarp) simt::warp_barrier();
      if (p.a.residual != nullptr) {
        each_vec([&](int r, int k) { store<F::x>(of_row(p.layout.rows, r), vec(k) - begin, x[r][k]); });
      }
      const int to = p.a.residual != nullptr ? p.layout.residuals : p.layout.rows;
      each_value(x, s, parameters, [&](int r, int k, bool there, const Vec8<float>& t) {
        if (there) store<F::y>(of_row(to, r), vec(k) - begin, packed<F::y>(t));
      });
      put_rows();
    } else {
      each_value(x, s, parameters, [&](int r, int k, bool there, const Vec8<float>& t) {
        if (there) store<F::y>(p.a.y + row(r) * p.a.y_stride, vec(k), packed<F::y>(t));
      });
    }
  }

  NC_DEVICE void load_rows(Values& x) const {
    NC_UNROLL for (int r = 0; r < Rows; ++r) {
      if (!live(r)) continue;
      const char* const x_row = p.a.x + row(r) * p.a.x_stride;
      NC_UNROLL for (int k = 0; k < VecsPerThread; ++k) {
        if (exists(k)) x[r][k] = load_once<F::x>(x_row, vec(k));
      }
    }
  }

  template <class Body>
  NC_DEVICE void each_vec(Body f) const {
    NC_UNROLL for (int r = 0; r < Rows; ++r) {
      NC_UNROLL for (int k = 0; k < VecsPerThread; ++k) {
        if (live(r) && exists(k)) f(r, k);
      }
    }
  }

  // The segment's part of a row, and the location of row r of this thread in shared memory.
  template <DType T>
  NC_DEVICE UnalignedRow<T> unaligned_row(const char* row) const {
    const int last = vecs.end * kVecWidth < p.shape.n ? vecs.end * kVecWidth : p.shape.n;
    return {row + begin * (kVecWidth * bytes_of(T)), (last - begin * kVecWidth) * bytes_of(T)};
  }
  NC_DEVICE char* of_row(int offset, int r) const {
    return simt::shared_memory() + offset + (r * row_slots + coord.row_slot) * p.layout.row_bytes;
  }
  NC_DEVICE UnalignedRow<F::x> unaligned_x(int r) const { return unaligned_row<F::x>(p.a.x + row(r) * p.a.x_stride); }
  NC_DEVICE UnalignedRow<F::x> unaligned_residual(int r) const {
    return unaligned_row<F::x>(p.a.residual + row(r) * p.a.residual_stride);
  }

  // Copies rows, weight and bias to shared memory.
  NC_DEVICE void fetch_rows() const {
    NC_UNROLL for (int r = 0; r < Rows; ++r) {
      if (!live(r)) continue;
      unaligned_x(r).template start<false>(of_row(p.layout.rows, r), coord.lane, p.shape.lanes);
      if (p.a.residual == nullptr) continue;
      unaligned_residual(r).template start<false>(of_row(p.layout.residuals, r), coord.lane, p.shape.lanes);
    }
    NC_UNROLL for (int i = 0; i < 2; ++i) {
      const char* const parameter = i == 0 ? p.a.weight : p.a.bias;
      if (parameter == nullptr) continue;
      char* const to = simt::shared_memory() + (i == 0 ? p.layout.weight : p.layout.bias);
      const UnalignedRow<F::weight> from = unaligned_row<F::weight>(parameter);
      from.template start<true>(to, simt::thread_index(), simt::thread_count());
      from.set_end(to, simt::thread_index(), from.load_end(simt::thread_index()));
    }
    NC_UNROLL for (int r = 0; r < Rows; ++r) {
      if (!live(r)) continue;
      const UnalignedRow<F::x> x = unaligned_x(r);
      x.set_end(of_row(p.layout.rows, r), coord.lane, x.load_end(coord.lane));
      x.clear_rest(of_row(p.layout.rows, r), coord.lane);
      if (p.a.residual == nullptr) continue;
      const UnalignedRow<F::x> residual = unaligned_residual(r);
      residual.set_end(of_row(p.layout.residuals, r), coord.lane, residual.load_end(coord.lane));
      residual.clear_rest(of_row(p.layout.residuals, r), coord.lane);
    }
    simt::copy_async_commit();
    simt::copy_async_wait<0>();
    simt::block_barrier();
  }
  NC_DEVICE void realign_rows(Values& x) const {
    each_vec([&](int r, int k) {
      const int o = vec(k) - begin;
      x[r][k] = unaligned_x(r).vec(of_row(p.layout.rows, r), o);
      if (p.a.residual == nullptr) return;
      const Packed<F::x> added = unaligned_residual(r).vec(of_row(p.layout.residuals, r), o);
      x[r][k] = packed<F::x>(rounded_residual_sum(StaticFormat<F::x>{}, unpacked(x[r][k]), unpacked(added)));
    });
  }
  NC_DEVICE void put_rows() const {
    if (p.shape.lanes <= kWarp) {
      simt::warp_barrier();
    } else {
      simt::block_barrier();
    }
    const bool residual = p.a.residual != nullptr;
    NC_UNROLL for (int r = 0; r < Rows; ++r) {
      if (!live(r)) continue;
      unaligned_row<F::y>(p.a.y + row(r) * p.a.y_stride)
          .put(of_row(residual ? p.layout.residuals : p.layout.rows, r), coord.lane, p.shape.lanes);
      if (!residual) continue;
      unaligned_row<F::x>(p.a.residual_out + row(r) * p.a.residual_out_stride)
          .put(of_row(p.layout.rows, r), coord.lane, p.shape.lanes);
    }
  }

  struct BatchStatistics {
    float mean[Rows], rstd[Rows];
  };
  NC_DEVICE BatchStatistics statistics_of(const Values& x) const {
    RowReducer<RowSums> reduce(reinterpret_cast<ReduceScratch<RowSums>*>(simt::shared_memory()), p.shape.lanes,
                               coord.row_slot, coord.lane, p.shape.segments);
    const float n = static_cast<float>(p.shape.n);
    BatchStatistics s{};
    RowSums sums;
    if (Norm::is_layer_norm(p)) {
      NC_UNROLL for (int r = 0; r < Rows; ++r) {
        // Missing vectors are +0, which does not change a sum that starts at +0.
        Vec8<float> sum = Vec8<float>::zero();
        NC_UNROLL for (int k = 0; k < VecsPerThread; ++k) sum = sum + unpacked(x[r][k]);
        sums.of[r] = sum_of_positions(sum);
      }
      sums = reduce(sums);
      NC_UNROLL for (int r = 0; r < Rows; ++r) {
        s.mean[r] = sums.of[r] / n;
        Vec8<float> sum = Vec8<float>::zero();
        NC_UNROLL for (int k = 0; k < VecsPerThread; ++k) {
          if (!exists(k)) continue;
          Vec8<float> xc = unpacked(x[r][k]) - Vec8<float>::all(s.mean[r]);
          if constexpr (Unaligned) xc = where_present(elements_of(p.shape, vec(k)), xc);
          sum = fma(xc, xc, sum);
        }
        sums.of[r] = sum_of_positions(sum);
      }
    } else {
      NC_UNROLL for (int r = 0; r < Rows; ++r) {
        Vec8<float> sum = Vec8<float>::zero();
        NC_UNROLL for (int k = 0; k < VecsPerThread; ++k) {
          const Vec8<float> v = unpacked(x[r][k]);
          sum = fma(v, v, sum);
        }
        sums.of[r] = sum_of_positions(sum);
      }
    }
    sums = reduce(sums);
    NC_UNROLL for (int r = 0; r < Rows; ++r) {
      s.rstd[r] = reciprocal_deviation(sums.of[r] / n, static_cast<float>(p.spec.epsilon));
    }
    return s;
  }

  // Vectors whose residual, weight or bias are loaded together, to overlap latencies: loading all of them at once would
  // exceed the registers beside x.
  static constexpr int kMostTogether =
      kLoadedWords / (Packed<F::weight>::words > Packed<F::x>::words ? Packed<F::weight>::words : Packed<F::x>::words);
  static constexpr int kTogether = VecsPerThread < kMostTogether ? VecsPerThread : kMostTogether;

  // Weight and bias of vectors first, first + 1, ...
  struct Parameters {
    Packed<F::weight> weight[kTogether], bias[kTogether];
  };
  static constexpr bool kEarlyParameters = !Unaligned && VecsPerThread * Packed<F::weight>::words <= kEarlyWords;
  static_assert(!kEarlyParameters || kTogether == VecsPerThread);
  NC_DEVICE Parameters load_parameters(int first) const {
    Parameters of{};
    NC_UNROLL for (int i = 0; i < kTogether; ++i) {
      if (!exists(first + i)) continue;
      if (p.a.weight != nullptr) of.weight[i] = parameter(p.a.weight, p.layout.weight, vec(first + i));
      if (p.a.bias != nullptr) of.bias[i] = parameter(p.a.bias, p.layout.bias, vec(first + i));
    }
    return of;
  }
  NC_DEVICE Packed<F::weight> parameter(const char* of, int row_offset, int vec) const {
    if constexpr (Unaligned) return unaligned_row<F::weight>(of).vec(simt::shared_memory() + row_offset, vec - begin);
    return load_parameter<F::weight>(of, vec);
  }

  // Calls f(r, k, there, values) with the policy's values, not yet rounded to y's type, for each vector of a thread
  // that exists. If y is quantised, all threads make the same number of calls, because they synchronise.
  template <class Body>
  NC_DEVICE void each_value(const Values& x, const BatchStatistics& s, const Parameters& early, Body f) const {
    const auto affine = F::affine(p.spec, false);
    const Vec8<float> one = Vec8<float>::all(1.0f);
    NC_UNROLL for (int first = 0; first < VecsPerThread; first += kTogether) {
      Parameters parameters;
      if constexpr (kEarlyParameters) {
        parameters = early;
      } else {
        parameters = load_parameters(first);
      }
      NC_UNROLL for (int i = 0; i < kTogether; ++i) {
        const int k = first + i;
        if (!(quantized ? k * p.shape.lanes < p.shape.vecs_per_segment : exists(k))) continue;
        NC_UNROLL for (int r = 0; r < Rows; ++r) {
          const Vec8<float> centre = Vec8<float>::all(Norm::is_layer_norm(p) ? s.mean[r] : 0.0f);
          Vec8<float> t = affine.normalised_value(normalised(unpacked(x[r][k]), centre, Vec8<float>::all(s.rstd[r])));
          if (p.a.weight != nullptr) t = affine.apply_weight(t, affine.gamma(unpacked(parameters.weight[i]), one));
          if (p.a.bias != nullptr) t = affine.add_bias(t, unpacked(parameters.bias[i]));
          f(r, k, exists(k) && live(r), t);
        }
      }
    }
  }

  // One copy of the code for all scalings: separate ones would take longer to compile than all other kernels. With
  // Scaling::row the values are computed twice, the first time for their maximum. With Scaling::block four neighbouring
  // lanes hold 32 elements, or all of a short row: the fast kernels require vecs_per_segment to be a multiple of four.
  NC_DEVICE void write_quantized(const Values& x, const BatchStatistics& s, const Parameters& parameters) const {
    static_assert(!quantized || Rows == 1);
    constexpr int of_block = kScaleBlock / kVecWidth;
    const bool by_row = p.spec.scaling == Scaling::row, by_blocks = p.spec.scaling == Scaling::block;
    const int64_t blocks = ceil_div(p.shape.n, kScaleBlock);
    // Not the scratch of the sums: a thread may still be reading it.
    using Scratch = ReduceScratch<MaxAbs<float>>;
    RowReducer<MaxAbs<float>> reduce(reinterpret_cast<Scratch*>(simt::shared_memory() + sizeof(Scratch)), p.shape.lanes,
                                     coord.row_slot, coord.lane, p.shape.segments);
    MaxAbs<float> amax{0};
    float scale = p.a.y_scale != nullptr ? load_at<float>(p.a.y_scale, 0) : 1.0f;
    NC_ROLLED for (int pass = by_row ? 0 : 1; pass < 2; ++pass) {
      each_value(x, s, parameters, [&](int r, int k, bool there, const Vec8<float>& t) {
        MaxAbs<float> largest{there ? largest_magnitude(t) : 0.0f};
        float scale_here = scale;
        if (by_blocks) {
          for (int step = 1; step < of_block && step < p.shape.lanes; step *= 2) {
            largest = combine(largest, shuffled(largest, step));
          }
          const uint32_t code = e8m0_of(largest.value, p.spec.quantized);
          if (there && vec(k) % of_block == 0) {
            store_at(p.a.y_scale_inv, row(r) * blocks + vec(k) / of_block, static_cast<uint8_t>(code));
          }
          scale_here = block_scale_of(code);
        } else {
          amax = combine(amax, largest);
        }
        if (there && pass == 1) {
          simt::store8(p.a.y + row(r) * p.a.y_stride + vec(k) * kVecWidth,
                       packed_float8(p.spec.quantized, t * Vec8<float>::all(scale_here)));
        }
      });
      if (pass == 0) scale = scale_of(reduce(amax).value, p.spec.quantized, 0, p.spec.power_of_two);
    }
    if (by_row && live(0) && vecs.first == 0) store_at(p.a.y_scale_inv, row(0), inverse_of(scale));
    if (p.a.y_amax == nullptr) return;
    NC_UNROLL for (int step = kWarp / 2; step > 0; step /= 2) amax = combine(amax, shuffled(amax, step));
    if (simt::thread_index() % kWarp == 0) atomic_max(p.a.y_amax, amax.value);
  }

  // residual_out = rd_I(x + residual), which is then normalised.
  NC_DEVICE void add_residual(Values& x) const {
    NC_UNROLL for (int r = 0; r < Rows; ++r) {
      if (!live(r)) continue;
      const char* residual = p.a.residual + row(r) * p.a.residual_stride;
      char* out = p.a.residual_out + row(r) * p.a.residual_out_stride;
      NC_UNROLL for (int first = 0; first < VecsPerThread; first += kTogether) {
        Packed<F::x> added[kTogether] = {};
        NC_UNROLL for (int i = 0; i < kTogether; ++i) {
          if (exists(first + i)) added[i] = load_once<F::x>(residual, vec(first + i));
        }
        NC_UNROLL for (int i = 0; i < kTogether; ++i) {
          const int k = first + i;
          if (!exists(k)) continue;
          x[r][k] = packed<F::x>(rounded_residual_sum(StaticFormat<F::x>{}, unpacked(x[r][k]), unpacked(added[i])));
          store<F::x>(out, vec(k), x[r][k]);
        }
      }
    }
  }

  const ForwardParameters& p;
  const ThreadCoord coord;
  const int segment;
  const LaneVecs vecs;
  const int begin;      // the segment's first vector
  const int row_slots;  // rows that the block's threads process at a time
  int64_t first_row;
};

// Of a variant, in NC_TUNE_FORWARD_HEADER.
template <class F, class Norm, int VecsPerThread, int Rows>
class PersistentForwardKernel;

template <class F, class Norm, int VecsPerThread, int Rows>
NC_KERNEL(kMaxForwardThreads, forward_blocks(Rows, VecsPerThread, bytes_of(F::weight) > bytes_of(F::x)))
void norm_forward(const ForwardParameters p) {
  std::conditional_t<(kPersistentBlocks > 0), PersistentForwardKernel<F, Norm, VecsPerThread, Rows>,
                     ForwardKernel<F, Norm, VecsPerThread, Rows, false>>::run(p);
}

template <class F, int VecsPerThread, int Rows>
NC_KERNEL(kMaxForwardThreads, 1)
void norm_forward_unaligned(const ForwardParameters p) {
  ForwardKernel<F, RuntimeNorm, VecsPerThread, Rows, true>::run(p);
}

}  // namespace NC_LEVEL
}  // namespace nc

#ifdef NC_TUNE_FORWARD_HEADER
#include NC_TUNE_FORWARD_HEADER
#endif
