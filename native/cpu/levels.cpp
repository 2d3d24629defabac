#include "levels.h"

#include <initializer_list>

namespace nc {

namespace plain {
extern const CpuKernels kernels;
}
#if defined(NC_HAVE_AVX2)
namespace avx2 {
extern const CpuKernels kernels;
}
#endif
#if defined(NC_HAVE_AVX512)
namespace avx512 {
extern const CpuKernels kernels;
}
#endif
#if defined(NC_HAVE_NEON)
namespace neon {
extern const CpuKernels kernels;
}
#endif

#if defined(NC_HAVE_AVX2)
// The features that the avx2 kernels are compiled for, and the avx512 kernels as well.
static bool has_avx2() {
  return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("f16c");
}
#endif

const char* name_of(CpuLevel level) {
  switch (level) {
    case CpuLevel::plain:
      return "plain";
    case CpuLevel::avx2:
      return "avx2";
    case CpuLevel::avx512:
      return "avx512";
    case CpuLevel::neon:
      return "neon";
    default:
      return "best";
  }
}

const CpuKernels* kernels_of(CpuLevel level) {
  switch (level) {
    case CpuLevel::best:
      return kernels_of(best_level());
    case CpuLevel::plain:
      return &plain::kernels;
#if defined(NC_HAVE_AVX2)
    case CpuLevel::avx2:
      return has_avx2() ? &avx2::kernels : nullptr;
#endif
#if defined(NC_HAVE_AVX512)
    case CpuLevel::avx512:
      return has_avx2() && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl") &&
                     __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq")
                 ? &avx512::kernels
                 : nullptr;
#endif
#if defined(NC_HAVE_NEON)
    case CpuLevel::neon:
      return &neon::kernels;
#endif
    default:
      return nullptr;
  }
}

CpuLevel best_level() {
  for (const CpuLevel level : {CpuLevel::avx512, CpuLevel::avx2, CpuLevel::neon}) {
    if (kernels_of(level) != nullptr) return level;
  }
  return CpuLevel::plain;
}

}  // namespace nc
