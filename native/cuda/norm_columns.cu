// Backward on CUDA devices, second step: sums the row groups' partial sums of dweight and dbias in a tree and rounds
// once to the gradient's type.
//
// A thread adds groups j, j + threads_per_column, ... of its column: the first tree levels, whose steps are multiples
// of threads_per_column. The block's threads of that column do the last levels.
#include "generic_access.cuh"
#include "kernels.h"
#include "tuning.h"

namespace nc {
inline namespace NC_LEVEL {
namespace {

template <class C>
class ColumnsKernel {
 public:
  static NC_DEVICE void run(const ColumnsParameters& p) {
    if constexpr (kOverlappedColumns) simt::wait_for_previous_launch();
    const ColumnArguments a = simt::block_row() == 0 ? p.of[0] : p.of[1];
    const int within = simt::thread_index() % kColumnsPerBlock;
    const int first = simt::thread_index() / kColumnsPerBlock;
    const int64_t column = simt::block_index() * kColumnsPerBlock + within;
    C sum = column < p.n ? sum_of_groups(p, a, first, column) : C(0);
    C* sums = reinterpret_cast<C*>(simt::shared_memory()) + within;
    sums[first * kColumnsPerBlock] = sum;
    for (int step = p.threads_per_column / 2; step > 0; step /= 2) {
      simt::block_barrier();
      if (first < step && first + step < p.groups) {
        sum = sum + sums[(first + step) * kColumnsPerBlock];
        sums[first * kColumnsPerBlock] = sum;
      }
    }
    if (first == 0 && column < p.n) write_gradient(a, column, sum);
  }

 private:
  static NC_DEVICE C sum_of_groups(const ColumnsParameters& p, const ColumnArguments& a, int first, int64_t column) {
    // A power of two, for the tree.
    constexpr int kMost = static_cast<int>(2 * first_step(ceil_div(kMaxGroups, kMaxThreadsPerColumn)));
    C values[kMost];
    NC_UNROLL for (int m = 0; m < kMost; ++m) {
      const int64_t group = first + m * p.threads_per_column;
      values[m] = group < p.groups ? load_at<C>(a.partials, group * p.group_stride + column) : C(0);
    }
    NC_UNROLL for (int half = kMost / 2; half > 0; half /= 2) {
      NC_UNROLL for (int m = 0; m < half; ++m) {
        // Missing groups are skipped: -0 + 0 would be 0.
        if (first + (m + half) * p.threads_per_column < p.groups) values[m] = values[m] + values[m + half];
      }
    }
    return values[0];
  }

  static NC_DEVICE void write_gradient(const ColumnArguments& a, int64_t column, C sum) {
    char* to = a.gradient + column * bytes_of(a.dtype);
    switch (a.dtype) {
      case DType::float64:
        return store_element<DType::float64>(Alignment::none, to, sum);
      case DType::float32:
        if (a.accumulate) sum = load_element<DType::float32, C>(Alignment::none, to) + sum;
        return store_element<DType::float32>(Alignment::none, to, sum);
      case DType::bfloat16:
        return store_element<DType::bfloat16>(Alignment::none, to, sum);
      default:
        return store_element<DType::float16>(Alignment::none, to, sum);
    }
  }
};

template <class C>
NC_KERNEL(kColumnsPerBlock* kMaxThreadsPerColumn, 1)
void norm_columns(const ColumnsParameters p) {
  ColumnsKernel<C>::run(p);
}

}  // namespace

ColumnsFunction columns_kernel(Compute compute) {
  return compute == Compute::float64 ? norm_columns<double> : norm_columns<float>;
}

}  // namespace NC_LEVEL
}  // namespace nc
