// Backward of RMSNorm and LayerNorm on CUDA devices, first step, for the formats and shapes in common use: dx, and each
// row group's partial sums of dweight and dbias.
//
//   xhat = (x - mean) * rstd;  h: the gradient at the normalised value, by the policy
//   c1 = sum(h * xhat) / N;  c2 = sum(h) / N (LayerNorm only)
//   dx = rd_I(rstd * (h - xhat * c1 - c2) (+ dresidual))
//   dweight: the policy's dy * xhat or rd_P(dy * n), summed over the group's rows; dbias: dy, likewise
//
// A block, or a cluster of blocks if a row has several segments, processes the rows of one group: row slot r takes rows
// r, r + row_slots, ... Each thread prefetches its own vectors of x, dy and dresidual to shared memory by asynchronous
// copies, `stages` times `rows_at_once` rows ahead. It reads only what it has copied, so the copies need no barrier. A
// stage is refilled vector by vector as soon as its row has been read for the second and last time. The sums of dweight
// and dbias stay in registers, in float32, until the end of the group; then a tree adds the row slots.
#pragma once

#include <type_traits>

#include "formats.cuh"
#include "norm_backward_layout.h"
#include "parameters.h"
#include "row_reduce.cuh"
#include "row_window.cuh"
#include "tuning.h"

namespace nc {
inline namespace NC_LEVEL {

// Per-thread sums of Kept vectors, in registers.
template <int Kept>
class RegisterSums {
 public:
  NC_DEVICE explicit RegisterSums(char*) { NC_UNROLL for (int k = 0; k < Kept; ++k) sums_[k] = Octet<float>::zero(); }
  NC_DEVICE Octet<float> get(int k) const { return sums_[k]; }
  NC_DEVICE void set(int k, Octet<float> v) { sums_[k] = v; }

 private:
  Octet<float> sums_[Kept];
};

// Per-thread words in shared memory: neighbouring threads use neighbouring words.
class ThreadWords {
 public:
  NC_DEVICE explicit ThreadWords(char* base) : base_(base + 16 * simt::thread_index()) {}
  NC_DEVICE char* at(int word) const { return base_ + 16 * simt::thread_count() * word; }

 private:
  char* base_;
};
template <DType T>
NC_DEVICE Octet<float> read(const ThreadWords& words, int first) {
  Packed<T> p;
  NC_UNROLL for (int i = 0; i < Packed<T>::words; ++i) p.w[i] = simt::load16(words.at(first + i));
  return unpacked(p);
}
template <DType T>
NC_DEVICE void write(const ThreadWords& words, int first, Octet<float> v) {
  const Packed<T> p = packed<T>(v);
  NC_UNROLL for (int i = 0; i < Packed<T>::words; ++i) simt::store16(words.at(first + i), p.w[i]);
}
constexpr int kSumWords = words_of_octet(DType::float32);

// Per-thread sums in shared memory, for kernels without the registers.
class SharedSums {
 public:
  NC_DEVICE explicit SharedSums(char* base) : words_(base) {}
  NC_DEVICE void clear(int octets) {
    for (int k = 0; k < octets; ++k) set(k, Octet<float>::zero());
  }
  NC_DEVICE Octet<float> get(int k) const { return read<DType::float32>(words_, k * kSumWords); }
  NC_DEVICE void set(int k, Octet<float> v) { write<DType::float32>(words_, k * kSumWords, v); }

 private:
  ThreadWords words_;
};

// Shifted: unaligned rows. Threads then copy words that other threads read and dx goes through shared memory, so the
// row's threads synchronise before and after; the weight is staged. Rows: per row slot, processed at once, so that one
// wait serves their sums.
template <class F, bool LayerNorm, int Kept, int Rows, bool Shifted>
class BackwardKernel {
 public:
  static_assert(Rows == 1 || !Shifted);
  static constexpr int kSumCount = LayerNorm ? 2 : 1;
  // With several rows per thread a row never spans warps: its sums need no shared memory.
  using RowSums = Sums<float, kSumCount * Rows>;
  static constexpr bool kSharedBiasSums = bias_sums_are_shared(LayerNorm, Kept);

  static NC_DEVICE void run(const BackwardParameters& p) { BackwardKernel(p).group(); }

 private:
  NC_DEVICE explicit BackwardKernel(const BackwardParameters& parameters)
      : p(parameters),
        place(p.shape),
        segment(p.shape.segments > 1 ? simt::cluster_rank() : 0),
        octets(p.shape, segment, place.lane),
        first_octet(octets.first - place.lane),
        memory(simt::shared_memory()),
        weights(memory + (Shifted ? p.windows.weight : backward_weights_offset())),
        bias_words(Shifted ? memory + p.windows.bias_sums : weights + backward_weights_bytes(p, F::weight)),
        stages(Shifted ? memory + p.windows.stages
                       : bias_words + backward_bias_bytes(p, kSharedBiasSums, simt::thread_count())) {}

  NC_DEVICE bool exists(int k) const { return octets.first + k * p.shape.lanes < octets.end; }
  NC_DEVICE int octet(int k) const { return octets.first + k * p.shape.lanes; }

  NC_DEVICE void group() {
    const bool clustered = p.shape.segments > 1;
    if (clustered) simt::cluster_arrive();
    const int64_t index = clustered ? simt::block_index() >> p.shape.segments_log2 : simt::block_index();
    const int64_t begin = group_begin(index, p.a.rows, p.groups);
    const int64_t end = group_begin(index + 1, p.a.rows, p.groups);
    // Threads that only pad the last warp have no rows.
    const int64_t first_row = place.slot < p.row_slots ? begin + place.slot : end;
    for (int s = 0; s < p.stages; ++s) {
      NC_UNROLL for (int r = 0; r < Rows; ++r) {
        const int64_t row = first_row + static_cast<int64_t>(s * Rows + r) * p.row_slots;
        const Staged staged = staged_row(s, r, row);
        if constexpr (Shifted) {
          if (row < end) start_row(staged);
        } else {
          NC_UNROLL for (int k = 0; k < Kept; ++k) {
            if (row < end && exists(k)) start_copies(staged, k);
          }
        }
      }
      simt::copy_async_commit();
    }
    stage_weight();
    Weights dweight(nullptr);
    Biases dbias(bias_words);
    if constexpr (kSharedBiasSums) {
      // For unaligned rows the dbias sums have memory only if dbias is wanted.
      if (p.a.dbias_partials != nullptr) dbias.clear(p.octets_per_lane);
    }
    if (clustered) simt::cluster_wait();

    RowReducer<RowSums> reduce(reinterpret_cast<Meeting<RowSums>*>(memory), p.shape.lanes, place.slot, place.lane,
                               p.shape.segments);
    Statistics next = statistics_of(first_row, end);
    Ends next_ends = ends_of(first_row, end);
    int stage = 0;
    for (int64_t base = begin; base < end; base += Rows * p.row_slots) {
      const int64_t row = first_row + (base - begin);
      const Statistics now = next;
      next = statistics_of(row + Rows * p.row_slots, end);
      wait_for_stage();
      if constexpr (Shifted) {
        set_ends(staged_row(stage, 0, row), next_ends);
        next_ends = ends_of(row + p.row_slots, end);
        row_barrier();
      }
      some_rows(row, end, stage, now, reduce, dweight, dbias);
      simt::copy_async_commit();
      stage = stage + 1 == p.stages ? 0 : stage + 1;
    }
    // The stages' memory is free now: every copy has completed and its own thread has read it.
    if (p.a.dweight_partials != nullptr) write_share(p.a.dweight_partials, index, dweight);
    if (p.a.dbias_partials != nullptr) write_share(p.a.dbias_partials, index, dbias);
  }

  struct Statistics {
    float mean[Rows], rstd[Rows];
  };
  NC_DEVICE Statistics statistics_of(int64_t first_row, int64_t end) const {
    Statistics s{};
    NC_UNROLL for (int r = 0; r < Rows; ++r) {
      const int64_t row = first_row + r * p.row_slots;
      if (row >= end) break;
      // Aligned: the fast kernels require it.
      if constexpr (LayerNorm) s.mean[r] = load_at<float>(p.a.mean, row);
      s.rstd[r] = load_at<float>(p.a.rstd, row);
    }
    return s;
  }

  static constexpr int kXWords = Packed<F::x>::words, kDyWords = Packed<F::y>::words;
  // The start of a row in each tensor.
  struct Sources {
    const char *x, *dy, *dresidual;
  };
  NC_DEVICE Sources sources_of(int64_t row) const {
    return {p.a.x + row * p.a.x_stride, p.a.dy + row * p.a.dy_stride, p.a.dresidual + row * p.a.dresidual_stride};
  }
  // A row and its location in a stage: each thread's words, or the unaligned row's copy.
  struct Staged {
    ThreadWords words;
    char* windows;
    Sources row;
  };
  NC_DEVICE Staged staged_row(int stage, int r, int64_t row) const {
    char* const own = stages + (stage * Rows + r) * p.octets_per_lane * p.staged_words * 16 * simt::thread_count();
    char* const lane = stages + (stage * p.row_slots + place.slot) * p.windows.stage_bytes;
    return {ThreadWords(own), lane, sources_of(row)};
  }
  NC_DEVICE void start_copies(const Staged& to, int k) const {
    const int first = k * p.staged_words;
    start_copy<F::x>(to.words, first, to.row.x, k);
    start_copy<F::y>(to.words, first + kXWords, to.row.dy, k);
    if (p.a.dresidual != nullptr) start_copy<F::x>(to.words, first + kXWords + kDyWords, to.row.dresidual, k);
  }

  template <DType T>
  NC_DEVICE Window<T> window(const char* row) const {
    const int last = octets.end * kVecWidth < p.shape.n ? octets.end * kVecWidth : p.shape.n;
    return {row + first_octet * (kVecWidth * bytes_of(T)), (last - first_octet * kVecWidth) * bytes_of(T)};
  }
  NC_DEVICE void start_row(const Staged& to) const {
    window<F::x>(to.row.x).template start<false>(to.windows, place.lane, p.shape.lanes);
    window<F::y>(to.row.dy).template start<false>(to.windows + p.windows.dy, place.lane, p.shape.lanes);
    if (p.a.dresidual == nullptr) return;
    window<F::x>(to.row.dresidual).template start<false>(to.windows + p.windows.dresidual, place.lane, p.shape.lanes);
  }
  // The elements of an unaligned row outside whole words, loaded one row ahead like the statistics.
  struct Ends {
    typename Window<F::x>::Raw x, dresidual;
    typename Window<F::y>::Raw dy;
  };
  NC_DEVICE Ends ends_of(int64_t row, int64_t end) const {
    Ends ends{};
    if (!Shifted || row >= end) return ends;
    const Sources from = sources_of(row);
    ends.x = window<F::x>(from.x).load_end(place.lane);
    ends.dy = window<F::y>(from.dy).load_end(place.lane);
    if (p.a.dresidual != nullptr) ends.dresidual = window<F::x>(from.dresidual).load_end(place.lane);
    return ends;
  }
  NC_DEVICE void set_ends(const Staged& to, const Ends& ends) const {
    window<F::x>(to.row.x).set_end(to.windows, place.lane, ends.x);
    window<F::y>(to.row.dy).set_end(to.windows + p.windows.dy, place.lane, ends.dy);
    if (p.a.dresidual == nullptr) return;
    window<F::x>(to.row.dresidual).set_end(to.windows + p.windows.dresidual, place.lane, ends.dresidual);
  }
  NC_DEVICE void row_barrier() const {
    if (p.shape.lanes <= kWarp) {
      simt::warp_barrier();
    } else {
      simt::block_barrier();
    }
  }

  NC_DEVICE Octet<float> x(const Staged& from, int k) const {
    if constexpr (Shifted) return unpacked(window<F::x>(from.row.x).octet(from.windows, octet(k) - first_octet));
    return read<F::x>(from.words, k * p.staged_words);
  }
  NC_DEVICE Octet<float> dy(const Staged& from, int k) const {
    if constexpr (Shifted) {
      return unpacked(window<F::y>(from.row.dy).octet(from.windows + p.windows.dy, octet(k) - first_octet));
    }
    return read<F::y>(from.words, k * p.staged_words + kXWords);
  }
  NC_DEVICE Octet<float> dresidual(const Staged& from, int k) const {
    if constexpr (Shifted) {
      const char* const words = from.windows + p.windows.dresidual;
      return unpacked(window<F::x>(from.row.dresidual).octet(words, octet(k) - first_octet));
    }
    return read<F::x>(from.words, k * p.staged_words + kXWords + kDyWords);
  }
  template <DType T>
  NC_DEVICE void start_copy(const ThreadWords& words, int first, const char* row, int k) const {
    const char* from = address_of<T>(row, octet(k));
    if constexpr (Packed<T>::words == 1) {
      simt::copy_async16(words.at(first), from);
    } else {
      NC_UNROLL for (int i = 0; i < Packed<T>::words; ++i) simt::copy_async16_part(words.at(first + i), from + 16 * i);
    }
  }
  NC_DEVICE void wait_for_stage() const {
    switch (p.stages) {
      case 1:
        return simt::copy_async_wait<0>();
      case 2:
        return simt::copy_async_wait<1>();
      case 3:
        return simt::copy_async_wait<2>();
      case 4:
        return simt::copy_async_wait<3>();
      default:
        return simt::copy_async_wait<7>();
    }
  }

  // Stages the segment's weights once: word i of octet j lies at [i][j].
  NC_DEVICE int staged_octets() const { return p.octets_per_lane * p.shape.lanes; }
  NC_DEVICE void stage_weight() const {
    if (!p.weight_staged) return;
    if constexpr (Shifted) {
      const Window<F::weight> from = window<F::weight>(p.a.weight);
      from.template start<true>(weights, simt::thread_index(), simt::thread_count());
      from.set_end(weights, simt::thread_index(), from.load_end(simt::thread_index()));
      simt::copy_async_commit();
      simt::copy_async_wait<0>();
      simt::block_barrier();
      return;
    }
    const int begin = octets.first - place.lane;
    for (int j = simt::thread_index(); j < staged_octets(); j += simt::thread_count()) {
      if (begin + j >= octets.end) break;
      const Packed<F::weight> w = load_parameter<F::weight>(p.a.weight, begin + j);
      NC_UNROLL for (int i = 0; i < Packed<F::weight>::words; ++i) {
        simt::store16(weights + (i * staged_octets() + j) * 16, w.w[i]);
      }
    }
    simt::block_barrier();
  }
  NC_DEVICE Octet<float> weight(int k) const {
    if constexpr (Shifted) {
      return unpacked(window<F::weight>(p.a.weight).octet(weights, octet(k) - first_octet));
    }
    if (!p.weight_staged) return unpacked(load_parameter<F::weight>(p.a.weight, octet(k)));
    Packed<F::weight> w;
    NC_UNROLL for (int i = 0; i < Packed<F::weight>::words; ++i) {
      w.w[i] = simt::load16(weights + (i * staged_octets() + k * p.shape.lanes + place.lane) * 16);
    }
    return unpacked(w);
  }

  struct Gradients {
    Octet<float> dy, h, xhat;
  };
  NC_DEVICE Gradients gradients(const Staged& from, int k, float row_mean, float rstd) const {
    const auto affine = F::affine(p.spec, p.by_product);
    const Octet<float> one = Octet<float>::all(1.0f);
    const Octet<float> x = this->x(from, k);
    const Octet<float> dy = this->dy(from, k);
    const Octet<float> g = p.a.weight != nullptr ? affine.gamma(weight(k), one) : one;
    const Octet<float> mean = LayerNorm ? Octet<float>::all(row_mean) : Octet<float>::zero();
    return {dy, affine.gradient(StaticFormat<F::y>{}, dy, g), normalised(x, mean, Octet<float>::all(rstd))};
  }

  using Weights = RegisterSums<Kept>;
  using Biases = std::conditional_t<kSharedBiasSums, SharedSums, RegisterSums<LayerNorm ? Kept : 1>>;

  template <class Reduce>
  NC_DEVICE void some_rows(int64_t first_row, int64_t end, int stage, const Statistics& s, Reduce& reduce,
                           Weights& dweight, Biases& dbias) const {
    // Each row's c1 and, for LayerNorm, c2.
    RowSums c{};
    if (p.a.dx != nullptr) {
      NC_UNROLL for (int r = 0; r < Rows; ++r) {
        const int64_t row = first_row + r * p.row_slots;
        const Staged staged = staged_row(stage, r, row);
        Octet<float> sum1 = Octet<float>::zero(), sum2 = Octet<float>::zero();
        NC_UNROLL for (int k = 0; k < Kept; ++k) {
          if (row < end && exists(k)) {
            Gradients g = gradients(staged, k, s.mean[r], s.rstd[r]);
            if constexpr (Shifted) {
              const int count = elements_of(p.shape, octet(k));
              g.h = where_present(count, g.h);
              g.xhat = where_present(count, g.xhat);
            }
            sum1 = fma(g.h, g.xhat, sum1);
            if constexpr (LayerNorm) sum2 = sum2 + g.h;
          }
        }
        c.of[r * kSumCount] = sum_of_positions(sum1);
        if constexpr (LayerNorm) c.of[r * kSumCount + 1] = sum_of_positions(sum2);
      }
      c = reduce(c);
      const float n = static_cast<float>(p.shape.n);
      NC_UNROLL for (int i = 0; i < Rows * kSumCount; ++i) c.of[i] = c.of[i] / n;
    }
    const auto affine = F::affine(p.spec, p.by_product);
    // In row order: the order of the sums of dweight and dbias.
    NC_UNROLL for (int r = 0; r < Rows; ++r) {
      const int64_t row = first_row + r * p.row_slots;
      const bool live = row < end;
      const Staged staged = staged_row(stage, r, row);
      const Octet<float> c1 = Octet<float>::all(c.of[r * kSumCount]);
      const Octet<float> c2 = LayerNorm ? Octet<float>::all(c.of[r * kSumCount + kSumCount - 1]) : Octet<float>::zero();
      const int64_t later = row + static_cast<int64_t>(p.stages * Rows) * p.row_slots;
      const Staged later_staged = staged_row(stage, r, later);
      char* const dx_row = p.a.dx + row * p.a.dx_stride;
      char* const dx_window = memory + p.windows.dx + place.slot * p.windows.dx_bytes;
      NC_UNROLL for (int k = 0; k < Kept; ++k) {
        if (live && exists(k)) {
          const Gradients g = gradients(staged, k, s.mean[r], s.rstd[r]);
          if (p.a.dx != nullptr) {
            Octet<float> dx = input_gradient(g.h, g.xhat, Octet<float>::all(s.rstd[r]), c1, c2);
            if (p.a.dresidual != nullptr) dx = dx + dresidual(staged, k);
            if constexpr (Shifted) {
              store<F::x>(dx_window, octet(k) - first_octet, packed<F::x>(dx));
            } else {
              store<F::x>(dx_row, octet(k), packed<F::x>(dx));
            }
          }
          if (p.a.dweight_partials != nullptr)
            dweight.set(k, affine.add_weight_gradient(dweight.get(k), StaticFormat<F::y>{}, g.dy, g.xhat));
          if constexpr (LayerNorm) {
            if (p.a.dbias_partials != nullptr) dbias.set(k, dbias.get(k) + g.dy);
          }
          if (!Shifted && later < end) start_copies(later_staged, k);
        }
      }
      if constexpr (Shifted) {
        row_barrier();
        if (live && p.a.dx != nullptr) window<F::x>(dx_row).put(dx_window, place.lane, p.shape.lanes);
        if (later < end) start_row(later_staged);
      }
    }
  }

  // Reduces the group's partial sum over its row slots in a tree and stores it.
  template <class RowLaneSums>
  NC_DEVICE void write_share(char* partials, int64_t group, RowLaneSums& sums) const {
    // For unaligned rows this memory spans dx and the stages.
    char* const words = Shifted ? memory + p.windows.dx : stages;
    for (int step = p.row_slots / 2; step > 0; step /= 2) {
      simt::block_barrier();
      NC_UNROLL for (int k = 0; k < Kept; ++k) {
        if (place.slot >= step && place.slot < 2 * step && exists(k)) {
          write<DType::float32>(ThreadWords(words), k * kSumWords, sums.get(k));
        }
      }
      simt::block_barrier();
      NC_UNROLL for (int k = 0; k < Kept; ++k) {
        if (place.slot < step && exists(k)) {
          const ThreadWords upper(words + 16 * step * p.shape.lanes);
          sums.set(k, sums.get(k) + read<DType::float32>(upper, k * kSumWords));
        }
      }
    }
    char* share = partials + group * p.row_slots * p.shape.n * static_cast<int64_t>(sizeof(float));
    if constexpr (Shifted) simt::block_barrier();
    NC_UNROLL for (int k = 0; k < Kept; ++k) {
      if (place.slot == 0 && exists(k)) {
        const Packed<DType::float32> sum = packed<DType::float32>(sums.get(k));
        if constexpr (Shifted) {
          store<DType::float32>(words, octet(k) - first_octet, sum);
        } else {
          store<DType::float32>(share, octet(k), sum);
        }
      }
    }
    if constexpr (Shifted) {
      simt::block_barrier();
      if (place.slot == 0) window<DType::float32>(share).put(words, place.lane, p.shape.lanes);
    }
  }

  const BackwardParameters& p;
  const Place place;
  const int segment;
  const LaneOctets octets;
  const int first_octet;  // of the segment
  char* const memory;
  char* const weights;
  char* const bias_words;
  char* const stages;
};

template <class F, bool LayerNorm, int Kept, int Rows>
NC_KERNEL(kMaxLanes, 1)
void norm_backward(const BackwardParameters p) {
  BackwardKernel<F, LayerNorm, Kept, Rows, false>::run(p);
}

template <class F, bool LayerNorm, int Kept>
NC_KERNEL(kMaxLanes, 1)
void norm_backward_shifted(const BackwardParameters p) {
  BackwardKernel<F, LayerNorm, Kept, 1, true>::run(p);
}

}  // namespace NC_LEVEL
}  // namespace nc
