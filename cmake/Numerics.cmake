# The numeric flags; no other file sets one. Every operation rounds once, to nearest even, as written: the compiler does
# not fuse, reassociate or widen. -fno-math-errno lets sqrt be an instruction.
set(NORMCORE_NUMERIC_FLAGS
    -ffp-contract=off
    -fno-fast-math
    -fno-math-errno
    -fno-trapping-math
    -fno-associative-math
    -fno-unsafe-math-optimizations)

# The same for nvcc, which fuses by default, and for its host compiler.
list(JOIN NORMCORE_NUMERIC_FLAGS "," host_flags)
set(NORMCORE_CUDA_NUMERIC_FLAGS --fmad=false --ftz=false --prec-div=true --prec-sqrt=true -Xcompiler=${host_flags})
