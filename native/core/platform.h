// What the core asks of its compiler. Every header of the core may be compiled by several compilers and, on the CPU,
// once per vector level: NC_LEVEL names the inline namespace of the present level, so that code generated for one
// level can never be picked by the linker for another.
#pragma once

#include <cstdint>

#ifndef NC_LEVEL
#define NC_LEVEL baseline
#endif

#if defined(__CUDACC__)
#define NC_INLINE __host__ __device__ __forceinline__
#else
#define NC_INLINE inline __attribute__((always_inline))
#endif
