// Bulk copies from global to this block's shared memory, started by one thread and waited for by all; for the variant
// bulk-4 of variants.toml. On a host a copy completes immediately, and a block barrier, at which all threads wait,
// replaces the arrival.
#pragma once

#include "simt.cuh"

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
}  // namespace nc
