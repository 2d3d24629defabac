// Forward by persistent blocks: each thread copies its own vectors of the next rows to shared memory while the block
// processes the present ones.
#pragma once

#include "cuda/norm_forward.cuh"

namespace nc {
inline namespace NC_LEVEL {

template <class F, class Norm, int VecsPerThread, int Rows>
class PersistentForwardKernel : ForwardKernel<F, Norm, VecsPerThread, Rows, false> {
  using Base = ForwardKernel<F, Norm, VecsPerThread, Rows, false>;
  using Base::coord, Base::exists, Base::first_row, Base::p, Base::row, Base::vec;
  static constexpr int kWords = Packed<F::x>::words;

 public:
  static NC_DEVICE void run(const ForwardParameters& p) { PersistentForwardKernel(p).all_rows(); }

 private:
  NC_DEVICE explicit PersistentForwardKernel(const ForwardParameters& p) : Base(p) {}

  // Of shared memory: see persistent_shared_bytes.
  NC_DEVICE char* copied_word(int r, int k, int i) const {
    return simt::shared_memory() + 2 * sizeof(ReduceScratch<Sums<float, 1>>) +
           16 * (((r * VecsPerThread + k) * kWords + i) * simt::thread_count() + simt::thread_index());
  }

  // A thread reads only what it has copied itself.
  NC_DEVICE void start_copies(int64_t ahead) const {
    NC_UNROLL for (int r = 0; r < Rows; ++r) {
      if (row(r) + ahead >= p.a.row_end) continue;
      const char* const x_row = p.a.x + (row(r) + ahead) * p.a.x_stride;
      NC_UNROLL for (int k = 0; k < VecsPerThread; ++k) {
        if (!exists(k)) continue;
        NC_UNROLL for (int i = 0; i < kWords; ++i) {
          const char* const from = address_of<F::x>(x_row, vec(k)) + 16 * i;
          if constexpr (kWords == 1) {
            simt::copy_async16(copied_word(r, k, i), from);
          } else {
            simt::copy_async16_part(copied_word(r, k, i), from);
          }
        }
      }
    }
    simt::copy_async_commit();
  }

  NC_DEVICE void all_rows() {
    start_copies(0);
    const int64_t stride =
        p.shape.segments > 1 ? p.a.row_end : static_cast<int64_t>(kPersistentBlocks) * p.rows_per_block;
    for (int64_t first = first_row - coord.row_slot; first < p.a.row_end; first += stride) {
      rows(stride);
      // The sums of the next rows use the memory of these.
      if (p.shape.lanes > kWarp) simt::block_barrier();
      first_row += stride;
    }
  }

  NC_DEVICE void rows(int64_t stride) const {
    const bool clustered = p.shape.segments > 1;
    if (clustered) cluster_arrive_first();
    simt::copy_async_wait<0>();
    typename Base::Values x = {};
    this->each_vec([&](int r, int k) {
      NC_UNROLL for (int i = 0; i < kWords; ++i) x[r][k].w[i] = simt::load16(copied_word(r, k, i));
    });
    start_copies(stride);
    typename Base::Parameters parameters;
    if constexpr (Base::kEarlyParameters) parameters = this->load_parameters(0);
    if (p.a.residual != nullptr) this->add_residual(x);
    if (clustered) simt::cluster_wait();
    this->write_rows(x, parameters);
  }
};

}  // namespace NC_LEVEL
}  // namespace nc
