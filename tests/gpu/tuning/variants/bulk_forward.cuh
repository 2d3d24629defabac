// Forward by persistent blocks: one thread starts a bulk copy of each of the next rows while the block processes the
// present ones, and all wait for an mbarrier. On a host a copy completes immediately, and a block barrier, at which all
// threads wait, replaces the arrival.
#pragma once

#include "cuda/norm_forward.cuh"

namespace nc {
namespace simt {

#if defined(__CUDACC__)

NC_DEVICE uint32_t shared_address(const void* p) { return static_cast<uint32_t>(__cvta_generic_to_shared(p)); }

// Called by one thread, before a block barrier.
NC_DEVICE void arrival_init(uint64_t* arrival) {
  asm volatile("mbarrier.init.shared::cta.b64 [%0], 1;" ::"r"(shared_address(arrival)) : "memory");
  asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory");
  asm volatile("fence.proxy.async.shared::cta;" ::: "memory");
}
// Called by the same thread before the first copy: the total bytes of the following copies.
NC_DEVICE void arrival_expect(uint64_t* arrival, uint32_t bytes) {
  asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(shared_address(arrival)), "r"(bytes)
               : "memory");
}
// Addresses and size are multiples of 16.
NC_DEVICE void copy_bulk(void* shared, const void* global, uint32_t bytes, uint64_t* arrival) {
  asm volatile("cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1], %2, [%3];" ::"r"(
                   shared_address(shared)),
               "l"(global), "r"(bytes), "r"(shared_address(arrival))
               : "memory");
}
// phase: 0 for the first arrival, then 1, 0, 1, ...
NC_DEVICE void arrival_wait(uint64_t* arrival, int phase) {
  uint32_t done = 0;
  while (done == 0) {
    asm volatile("{.reg .pred p; mbarrier.try_wait.parity.shared::cta.b64 p, [%1], %2; selp.u32 %0, 1, 0, p;}"
                 : "=r"(done)
                 : "r"(shared_address(arrival)), "r"(phase)
                 : "memory");
  }
}

#else

NC_DEVICE void arrival_init(uint64_t*) {}
NC_DEVICE void arrival_expect(uint64_t*, uint32_t) {}
NC_DEVICE void copy_bulk(void* shared, const void* global, uint32_t bytes, uint64_t*) {
  for (uint32_t i = 0; i < bytes; i += 16)
    store16(static_cast<char*>(shared) + i, load16(static_cast<const char*>(global) + i));
}
NC_DEVICE void arrival_wait(uint64_t*, int) { block_barrier(); }

#endif

}  // namespace simt

inline namespace NC_LEVEL {

template <class F, class Norm, int VecsPerThread, int Rows>
class PersistentForwardKernel : ForwardKernel<F, Norm, VecsPerThread, Rows, false> {
  using Base = ForwardKernel<F, Norm, VecsPerThread, Rows, false>;
  using Base::begin, Base::coord, Base::exists, Base::first_row, Base::p, Base::row_slots, Base::vec, Base::vecs;

 public:
  static NC_DEVICE void run(const ForwardParameters& p) { PersistentForwardKernel(p).all_rows(); }

 private:
  NC_DEVICE explicit PersistentForwardKernel(const ForwardParameters& p) : Base(p) {}

  // Of shared memory: see persistent_shared_bytes.
  NC_DEVICE uint64_t* arrival() const {
    return reinterpret_cast<uint64_t*>(simt::shared_memory() + 2 * sizeof(ReduceScratch<Sums<float, 1>>));
  }
  NC_DEVICE char* copied_row(int row_slot) const {
    return reinterpret_cast<char*>(arrival()) + 16 + row_slot * segment_bytes();
  }
  NC_DEVICE int segment_bytes() const { return (vecs.end - begin) * kVecWidth * bytes_of(F::x); }

  // By the first thread, which has slot 0.
  NC_DEVICE void start_copies(int64_t ahead) const {
    if (simt::thread_index() != 0 || first_row + ahead >= p.a.row_end) return;
    const int64_t left = p.a.row_end - (first_row + ahead);
    const int count = left < p.rows_per_block ? static_cast<int>(left) : p.rows_per_block;
    simt::arrival_expect(arrival(), count * segment_bytes());
    for (int i = 0; i < count; ++i) {
      const char* const x_row = p.a.x + (first_row + ahead + i) * p.a.x_stride;
      simt::copy_bulk(copied_row(i), address_of<F::x>(x_row, begin), segment_bytes(), arrival());
    }
  }

  NC_DEVICE void all_rows() {
    if (simt::thread_index() == 0) simt::arrival_init(arrival());
    start_copies(0);
    simt::block_barrier();
    const int64_t stride =
        p.shape.segments > 1 ? p.a.row_end : static_cast<int64_t>(kPersistentBlocks) * p.rows_per_block;
    int phase = 0;
    for (int64_t first = first_row - coord.row_slot; first < p.a.row_end; first += stride) {
      rows(stride, phase);
      first_row += stride;
      phase ^= 1;
    }
  }

  NC_DEVICE void rows(int64_t stride, int phase) const {
    const bool clustered = p.shape.segments > 1;
    if (clustered) cluster_arrive_first();
    simt::arrival_wait(arrival(), phase);
    typename Base::Values x = {};
    this->each_vec([&](int r, int k) {
      const char* const from = address_of<F::x>(copied_row(coord.row_slot + r * row_slots), vec(k) - begin);
      NC_UNROLL for (int i = 0; i < Packed<F::x>::words; ++i) x[r][k].w[i] = simt::load16(from + 16 * i);
    });
    // All have read these rows, and the sums of the last ones.
    simt::block_barrier();
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
