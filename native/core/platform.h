// Compiler abstraction. Several compilers compile the core's headers and, on the CPU, once per vector level. NC_LEVEL
// names the inline namespace of the level, so that the linker cannot merge code of different levels.
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

// For slow paths and generic kernels: one copy keeps builds short.
#if defined(__CUDACC__)
#define NC_NOINLINE __host__ __device__ __noinline__
#else
#define NC_NOINLINE __attribute__((noinline))
#endif

// For lambdas in inner loops, which the compiler does not always inline.
#define NC_LAMBDA_INLINE __attribute__((always_inline))
