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

// For code that is not hot, or only in kernels that are not: one copy keeps builds short.
#if defined(__CUDACC__)
#define NC_NOINLINE __host__ __device__ __noinline__
#else
#define NC_NOINLINE __attribute__((noinline))
#endif

// For lambdas in hot loops, which the compiler would otherwise sometimes call.
#define NC_LAMBDA_INLINE __attribute__((always_inline))
