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
#include "tuning.h"
#include "unaligned_row.cuh"

namespace nc {
inline namespace NC_LEVEL {

// Per-thread sums of Kept vectors, in registers.
template <int VecsPerThread>
class RegisterSums {
 public:
  NC_DEVICE explicit RegisterSums(char*) {
    NC_UNROLL for (int k = 0; k < VecsPerThread; ++k) sums_[k] = Vec8<float>::zero();
  }
  NC_DEVICE Vec8<float> get(int k) const { return sums_[k]; }
  NC_DEVICE void set(int k, Vec8<float> v) { sums_[k] = v; }

 private:
  Vec8<float> sums_[VecsPerThread];
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
NC_DEVICE Vec8<float> read(const ThreadWords& words, int first) {
  Packed<T> p;
  NC_UNROLL for (int i = 0; i < Packed<T>::words; ++i) p.w[i] = simt::load16(words.at(first + i));
  return unpacked(p);
}
template <DType T>
NC_DEVICE void write(const ThreadWords& words, int first, Vec8<float> v) {
  const Packed<T> p = packed<T>(v);
  NC_UNROLL for (int i = 0; i < Packed<T>::words; ++i) simt::store16(words.at(first + i), p.w[i]);
}
constexpr int kSumWords = words_per_vec(DType::float32);

// Per-thread sums in shared memory, for kernels without the registers.
class SharedSums {
 public:
  NC_DEVICE explicit SharedSums(char* base) : words_(base) {}
  NC_DEVICE void clear(int vecs) {
    for (int k = 0; k < vecs; ++k) set(k, Vec8<float>::zero());
  }
  NC_DEVICE Vec8<float> get(int k) const { return read<DType::float32>(words_, k * kSumWords); }
  NC_DEVICE void set(int k, Vec8<float> v) { write<DType::float32>(words_, k * kSumWords, v); }

 private:
  ThreadWords words_;
};

// Shifted: unaligned rows. Threads then copy words that other threads read and dx goes through shared memory, so the
// row's threads synchronise before and after; the weight is staged. Rows: per row slot, processed at once, so that one
// wait serves their sums.
template <class F, bool LayerNorm, int VecsPerThread, int Rows, bool Unaligned>
class BackwardKernel {
 public:
  static_assert(Rows == 1 || !Unaligned);
  static constexpr int kSumCount = LayerNorm ? 2 : 1;
  // With several rows per thread a row never spans warps: its sums need no shared memory.
  using RowSums = Sums<float, kSumCount * Rows>;
  static constexpr bool kSharedBiasSums = bias_sums_are_shared(LayerNorm, VecsPerThread);

  static NC_DEVICE void run(const BackwardParameters& p) { BackwardKernel(p).group(); }

 private:
  NC_DEVICE explicit BackwardKernel(const BackwardParameters& parameters)
      : p(parameters),
        coord(p.shape),
        segment(p.shape.segments > 1 ? simt::cluster_rank() : 0),
        vecs(p.shape, segment, coord.lane),
        first_vec(vecs.first - coord.lane),
        memory(simt::shared_memory()),
        weights(memory + (Unaligned ? p.layout.weight : backward_weights_offset())),
        bias_words(Unaligned ? memory + p.layout.bias_sums : weights + backward_weights_bytes(p, F::weight)),
        stages(Unaligned ? memory + p.layout.stages
                         : bias_words + backward_bias_bytes(p, kSharedBiasSums, simt::thread_count())) {}

  NC_DEVICE bool exists(int k) const { return vecs.first + k * p.shape.lanes < vecs.end; }
  NC_DEVICE int vec(int k) const { return vecs.first + k * p.shape.lanes; }

  NC_DEVICE void group() {
    const bool clustered = p.shape.segments > 1;
    if (clustered) cluster_arrive_first();
    const int64_t index = clustered ? simt::block_index() >> p.shape.segments_log2 : simt::block_index();
    const int64_t begin = group_begin(index, p.a.rows, p.groups);
    const int64_t end = group_begin(index + 1, p.a.rows, p.groups);
    // Threads that only pad the last warp have no rows.
    const int64_t first_row = coord.row_slot < p.row_slots ? begin + coord.row_slot : end;
    for (int s = 0; s < p.stages; ++s) {
      NC_UNROLL for (int r = 0; r < Rows; ++r) {
        const int64_t row = first_row + static_cast<int64_t>(s * Rows + r) * p.row_slots;
        const Staged staged = staged_row(s, r, row);
        if constexpr (Unaligned) {
          if (row < end) start_row(staged);
        } else {
          NC_UNROLL for (int k = 0; k < VecsPerThread; ++k) {
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
      if (p.a.dbias_partials != nullptr) dbias.clear(p.vecs_per_thread);
    }
    if (clustered) simt::cluster_wait();

    RowReducer<RowSums> reduce(reinterpret_cast<ReduceScratch<RowSums>*>(memory), p.shape.lanes, coord.row_slot,
                               coord.lane, p.shape.segments);
    BatchStatistics next = statistics_of(first_row, end);
    Ends next_ends = ends_of(first_row, end);
    // If all threads have rows, and all vectors of them, an iteration whose last row exists needs no condition.
    const bool whole = kWholeRows && !Unaligned &&
                       p.shape.n == VecsPerThread * kVecWidth * p.shape.lanes * p.shape.segments &&
                       p.row_slots * p.shape.lanes == simt::thread_count();
    int stage = 0;
    for (int64_t base = begin; base < end; base += Rows * p.row_slots) {
      const int64_t row = first_row + (base - begin);
      const BatchStatistics now = next;
      next = statistics_of(row + Rows * p.row_slots, end);
      wait_for_stage();
      if constexpr (Unaligned) {
        set_ends(staged_row(stage, 0, row), next_ends);
        next_ends = ends_of(row + p.row_slots, end);
        row_barrier();
      }
      if (whole && base + Rows * p.row_slots <= end) {
        some_rows<kWholeRows>(row, end, stage, now, reduce, dweight, dbias);
      } else {
        some_rows<false>(row, end, stage, now, reduce, dweight, dbias);
      }
      simt::copy_async_commit();
      stage = stage + 1 == p.stages ? 0 : stage + 1;
    }
    if constexpr (kOverlappedColumns) simt::permit_next_launch();
    // The stages' memory is free now: every copy has completed and its own thread has read it.
    if (p.a.dweight_partials != nullptr) store_partial(p.a.dweight_partials, index, dweight);
    if (p.a.dbias_partials != nullptr) store_partial(p.a.dbias_partials, index, dbias);
  }

  struct BatchStatistics {
    float mean[Rows], rstd[Rows];
  };
  NC_DEVICE BatchStatistics statistics_of(int64_t first_row, int64_t end) const {
    BatchStatistics s{};
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
    char* unaligned;
    Sources row;
  };
  NC_DEVICE Staged staged_row(int stage, int r, int64_t row) const {
    char* const own = stages + (stage * Rows + r) * p.vecs_per_thread * p.staged_words * 16 * simt::thread_count();
    char* const lane = stages + (stage * p.row_slots + coord.row_slot) * p.layout.stage_bytes;
    return {ThreadWords(own), lane, sources_of(row)};
  }
  NC_DEVICE void start_copies(const Staged& to, int k) const {
    const int first = k * p.staged_words;
    start_copy<F::x>(to.words, first, to.row.x, k);
    start_copy<F::y>(to.words, first + kXWords, to.row.dy, k);
    if (p.a.dresidual != nullptr) start_copy<F::x>(to.words, first + kXWords + kDyWords, to.row.dresidual, k);
  }

  template <DType T>
  NC_DEVICE UnalignedRow<T> unaligned_row(const char* row) const {
    const int last = vecs.end * kVecWidth < p.shape.n ? vecs.end * kVecWidth : p.shape.n;
    return {row + first_vec * (kVecWidth * bytes_of(T)), (last - first_vec * kVecWidth) * bytes_of(T)};
  }
  NC_DEVICE void start_row(const Staged& to) const {
    unaligned_row<F::x>(to.row.x).template start<false>(to.unaligned, coord.lane, p.shape.lanes);
    unaligned_row<F::y>(to.row.dy).template start<false>(to.unaligned + p.layout.dy, coord.lane, p.shape.lanes);
    if (p.a.dresidual == nullptr) return;
    unaligned_row<F::x>(to.row.dresidual)
        .template start<false>(to.unaligned + p.layout.dresidual, coord.lane, p.shape.lanes);
  }
  // The elements of an unaligned row outside whole words, loaded one row ahead like the statistics.
  struct Ends {
    typename UnalignedRow<F::x>::Raw x, dresidual;
    typename UnalignedRow<F::y>::Raw dy;
  };
  NC_DEVICE Ends ends_of(int64_t row, int64_t end) const {
    Ends ends{};
    if (!Unaligned || row >= end) return ends;
    const Sources from = sources_of(row);
    ends.x = unaligned_row<F::x>(from.x).load_end(coord.lane);
    ends.dy = unaligned_row<F::y>(from.dy).load_end(coord.lane);
    if (p.a.dresidual != nullptr) ends.dresidual = unaligned_row<F::x>(from.dresidual).load_end(coord.lane);
    return ends;
  }
  NC_DEVICE void set_ends(const Staged& to, const Ends& ends) const {
    unaligned_row<F::x>(to.row.x).set_end(to.unaligned, coord.lane, ends.x);
    unaligned_row<F::y>(to.row.dy).set_end(to.unaligned + p.layout.dy, coord.lane, ends.dy);
    if (p.a.dresidual == nullptr) return;
    unaligned_row<F::x>(to.row.dresidual).set_end(to.unaligned + p.layout.dresidual, coord.lane, ends.dresidual);
  }
  NC_DEVICE void row_barrier() const {
    if (p.shape.lanes <= kWarp) {
      simt::warp_barrier();
    } else {
      simt::block_barrier();
    }
  }

  NC_DEVICE Vec8<float> x(const Staged& from, int k) const {
    if constexpr (Unaligned) return unpacked(unaligned_row<F::x>(from.row.x).vec(from.unaligned, vec(k) - first_vec));
    return read<F::x>(from.words, k * p.staged_words);
  }
  NC_DEVICE Vec8<float> dy(const Staged& from, int k) const {
    if constexpr (Unaligned) {
      return unpacked(unaligned_row<F::y>(from.row.dy).vec(from.unaligned + p.layout.dy, vec(k) - first_vec));
    }
    return read<F::y>(from.words, k * p.staged_words + kXWords);
  }
  NC_DEVICE Vec8<float> dresidual(const Staged& from, int k) const {
    if constexpr (Unaligned) {
      const char* const words = from.unaligned + p.layout.dresidual;
      return unpacked(unaligned_row<F::x>(from.row.dresidual).vec(words, vec(k) - first_vec));
    }
    return read<F::x>(from.words, k * p.staged_words + kXWords + kDyWords);
  }
  template <DType T>
  NC_DEVICE void start_copy(const ThreadWords& words, int first, const char* row, int k) const {
    const char* from = address_of<T>(row, vec(k));
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

  // Stages the segment's weights once: word i of vector j lies at [i][j].
  NC_DEVICE int staged_vecs() const { return p.vecs_per_thread * p.shape.lanes; }
  NC_DEVICE void stage_weight() const {
    if (!p.weight_staged) return;
    if constexpr (Unaligned) {
      const UnalignedRow<F::weight> from = unaligned_row<F::weight>(p.a.weight);
      from.template start<true>(weights, simt::thread_index(), simt::thread_count());
      from.set_end(weights, simt::thread_index(), from.load_end(simt::thread_index()));
      simt::copy_async_commit();
      simt::copy_async_wait<0>();
      simt::block_barrier();
      return;
    }
    const int begin = vecs.first - coord.lane;
    for (int j = simt::thread_index(); j < staged_vecs(); j += simt::thread_count()) {
      if (begin + j >= vecs.end) break;
      const Packed<F::weight> w = load_parameter<F::weight>(p.a.weight, begin + j);
      NC_UNROLL for (int i = 0; i < Packed<F::weight>::words; ++i) {
        simt::store16(weights + (i * staged_vecs() + j) * 16, w.w[i]);
      }
    }
    simt::block_barrier();
  }
  NC_DEVICE Vec8<float> weight(int k) const {
    if constexpr (Unaligned) {
      return unpacked(unaligned_row<F::weight>(p.a.weight).vec(weights, vec(k) - first_vec));
    }
    if (!p.weight_staged) return unpacked(load_parameter<F::weight>(p.a.weight, vec(k)));
    Packed<F::weight> w;
    NC_UNROLL for (int i = 0; i < Packed<F::weight>::words; ++i) {
      w.w[i] = simt::load16(weights + (i * staged_vecs() + k * p.shape.lanes + coord.lane) * 16);
    }
    return unpacked(w);
  }

  struct Gradients {
    Vec8<float> dy, h, xhat;
  };
  NC_DEVICE Gradients gradients(const Staged& from, int k, float row_mean, float rstd) const {
    const auto affine = F::affine(p.spec, p.rounds_weight_grad);
    const Vec8<float> one = Vec8<float>::all(1.0f);
    const Vec8<float> x = this->x(from, k);
    const Vec8<float> dy = this->dy(from, k);
    const Vec8<float> g = p.a.weight != nullptr ? affine.gamma(weight(k), one) : one;
    const Vec8<float> mean = LayerNorm ? Vec8<float>::all(row_mean) : Vec8<float>::zero();
    return {dy, affine.gradient(StaticFormat<F::y>{}, dy, g), normalised(x, mean, Vec8<float>::all(rstd))};
  }

  using Weights = RegisterSums<VecsPerThread>;
  using Biases = std::conditional_t<kSharedBiasSums, SharedSums, RegisterSums<LayerNorm ? VecsPerThread : 1>>;

  // Whole: every vector of every row exists.
  template <bool Whole, class Reduce>
  NC_DEVICE void some_rows(int64_t first_row, int64_t end, int stage, const BatchStatistics& s, Reduce& reduce,
                           Weights& dweight, Biases& dbias) const {
    // Each row's c1 and, for LayerNorm, c2.
    RowSums c{};
    if (p.a.dx != nullptr) {
      NC_UNROLL for (int r = 0; r < Rows; ++r) {
        const int64_t row = first_row + r * p.row_slots;
        const Staged staged = staged_row(stage, r, row);
        Vec8<float> sum1 = Vec8<float>::zero(), sum2 = Vec8<float>::zero();
        NC_UNROLL for (int k = 0; k < VecsPerThread; ++k) {
          if (Whole || (row < end && exists(k))) {
            Gradients g = gradients(staged, k, s.mean[r], s.rstd[r]);
            if constexpr (Unaligned) {
              const int count = elements_of(p.shape, vec(k));
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
    const auto affine = F::affine(p.spec, p.rounds_weight_grad);
    // In row order: the order of the sums of dweight and dbias.
    NC_UNROLL for (int r = 0; r < Rows; ++r) {
      const int64_t row = first_row + r * p.row_slots;
      const bool live = Whole || row < end;
      const Staged staged = staged_row(stage, r, row);
      const Vec8<float> c1 = Vec8<float>::all(c.of[r * kSumCount]);
      const Vec8<float> c2 = LayerNorm ? Vec8<float>::all(c.of[r * kSumCount + kSumCount - 1]) : Vec8<float>::zero();
      const int64_t later = row + static_cast<int64_t>(p.stages * Rows) * p.row_slots;
      const Staged later_staged = staged_row(stage, r, later);
      char* const dx_row = p.a.dx + row * p.a.dx_stride;
      char* const unaligned_dx = memory + p.layout.dx + coord.row_slot * p.layout.dx_bytes;
      NC_UNROLL for (int k = 0; k < VecsPerThread; ++k) {
        if (Whole || (live && exists(k))) {
          const Gradients g = gradients(staged, k, s.mean[r], s.rstd[r]);
          if (p.a.dx != nullptr) {
            Vec8<float> dx = input_gradient(g.h, g.xhat, Vec8<float>::all(s.rstd[r]), c1, c2);
            if (p.a.dresidual != nullptr) dx = dx + dresidual(staged, k);
            if constexpr (Unaligned) {
              store<F::x>(unaligned_dx, vec(k) - first_vec, packed<F::x>(dx));
            } else {
              store<F::x>(dx_row, vec(k), packed<F::x>(dx));
            }
          }
          if (p.a.dweight_partials != nullptr)
            dweight.set(k, affine.add_weight_gradient(dweight.get(k), StaticFormat<F::y>{}, g.dy, g.xhat));
          if constexpr (LayerNorm) {
            if (p.a.dbias_partials != nullptr) dbias.set(k, dbias.get(k) + g.dy);
          }
          if (!Whole && !Unaligned && later < end) start_copies(later_staged, k);
        }
        // Without conditions between them, four vectors' copies take fewer instructions.
        if (Whole && later < end && (k % 4 == 3 || k == VecsPerThread - 1)) {
          NC_UNROLL for (int i = k / 4 * 4; i <= k; ++i) start_copies(later_staged, i);
        }
      }
      if constexpr (Unaligned) {
        row_barrier();
        if (live && p.a.dx != nullptr) unaligned_row<F::x>(dx_row).put(unaligned_dx, coord.lane, p.shape.lanes);
        if (later < end) start_row(later_staged);
      }
    }
  }

  // Reduces the group's partial sum over its row slots in a tree and stores it.
  template <class RowSlotSums>
  NC_DEVICE void store_partial(char* partials, int64_t group, RowSlotSums& sums) const {
    // For unaligned rows this memory spans dx and the stages.
    char* const words = Unaligned ? memory + p.layout.dx : stages;
    for (int step = p.row_slots / 2; step > 0; step /= 2) {
      simt::block_barrier();
      NC_UNROLL for (int k = 0; k < VecsPerThread; ++k) {
        if (coord.row_slot >= step && coord.row_slot < 2 * step && exists(k)) {
          write<DType::float32>(ThreadWords(words), k * kSumWords, sums.get(k));
        }
      }
      simt::block_barrier();
      NC_UNROLL for (int k = 0; k < VecsPerThread; ++k) {
        if (coord.row_slot < step && exists(k)) {
          const ThreadWords upper(words + 16 * step * p.shape.lanes);
          sums.set(k, sums.get(k) + read<DType::float32>(upper, k * kSumWords));
        }
      }
    }
    char* partial = partials + group * p.row_slots * p.shape.n * static_cast<int64_t>(sizeof(float));
    if constexpr (Unaligned) simt::block_barrier();
    NC_UNROLL for (int k = 0; k < VecsPerThread; ++k) {
      if (coord.row_slot == 0 && exists(k)) {
        const Packed<DType::float32> sum = packed<DType::float32>(sums.get(k));
        if constexpr (Unaligned) {
          store<DType::float32>(words, vec(k) - first_vec, sum);
        } else {
          store<DType::float32>(partial, vec(k), sum);
        }
      }
    }
    if constexpr (Unaligned) {
      simt::block_barrier();
      if (coord.row_slot == 0) unaligned_row<DType::float32>(partial).put(words, coord.lane, p.shape.lanes);
    }
  }

  const BackwardParameters& p;
  const ThreadCoord coord;
  const int segment;
  const LaneVecs vecs;
  const int first_vec;  // of the segment
  char* const memory;
  char* const weights;
  char* const bias_words;
  char* const stages;
};

template <class F, bool LayerNorm, int VecsPerThread, int Rows>
NC_KERNEL(kMaxLanes, backward_bound(LayerNorm, VecsPerThread))
void norm_backward(const BackwardParameters p) {
  BackwardKernel<F, LayerNorm, VecsPerThread, Rows, false>::run(p);
}

template <class F, bool LayerNorm, int VecsPerThread>
NC_KERNEL(kMaxLanes, 1)
void norm_backward_unaligned(const BackwardParameters p) {
  BackwardKernel<F, LayerNorm, VecsPerThread, 1, true>::run(p);
}

}  // namespace NC_LEVEL
}  // namespace nc
