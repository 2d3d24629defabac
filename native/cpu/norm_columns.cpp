// Backward, second step: the row groups' shares of dweight or dbias, summed by halving, first the row lanes of each
// group, then the groups, and rounded once into the gradient's type.
#include "kernels.h"
#include "packet.h"

namespace nc {
inline namespace NC_LEVEL {
namespace {

// Columns taken through the whole tree at a time: 256 groups of them stay in the second-level cache.
constexpr int64_t kTile = 256;

template <class C>
struct Tile {
  C* parts;  // [slots, n], at the tile's first column
  int64_t n;
  int64_t columns;

  // slot `to` += slot `from`
  void add(int64_t to, int64_t from) const {
    C* target = parts + to * n;
    const C* source = parts + from * n;
    for (int64_t j = 0; j < columns; ++j) target[j] = target[j] + source[j];
  }
  // Halves `count` slots that lie `spacing` apart, from slot `first` on.
  void halve(int64_t first, int64_t count, int64_t spacing) const {
    for (int64_t step = first_step(count); step > 0; step /= 2) {
      for (int64_t i = 0; i < step && i + step < count; ++i) add(first + i * spacing, first + (i + step) * spacing);
    }
  }
};

template <class C>
void write_gradient(const ColumnArguments& a, int64_t first_column, const C* sums, int64_t columns) {
  const RuntimeFormat format{a.dtype};
  const ComputeFormat<C> sum_format{};
  char* gradient = a.gradient + first_column * bytes_of(a.dtype);
  for_each_packet(columns, [&](int64_t first, auto extent) NC_LAMBDA_INLINE {
    Packet<C> sum = load<C>(sum_format, reinterpret_cast<const char*>(sums), first, extent);
    if (a.accumulate) sum = load<C>(format, gradient, first, extent) + sum;
    store(format, gradient, first, extent, sum);
  });
}

template <class C>
void sum_columns(const NormSpec& spec, const ColumnArguments& a) {
  const int64_t n = spec.hidden_size;
  const int64_t group_count = groups(a.rows, n);
  const int64_t lane_count = row_lanes(n);
  for (int64_t column = a.column_begin; column < a.column_end; column += kTile) {
    const int64_t columns = a.column_end - column < kTile ? a.column_end - column : kTile;
    if (group_count == 0) {
      const C zeros[kTile] = {};
      if (!a.accumulate) write_gradient(a, column, zeros, columns);
      continue;
    }
    const Tile<C> tile{reinterpret_cast<C*>(a.parts) + column, n, columns};
    for (int64_t g = 0; g < group_count; ++g) tile.halve(g * lane_count, lane_count, 1);
    tile.halve(0, group_count, lane_count);
    write_gradient(a, column, tile.parts, columns);
  }
}

}  // namespace

void norm_columns(const NormSpec& spec, const ColumnArguments& a) {
  if (spec.compute == Compute::float64) {
    sum_columns<double>(spec, a);
  } else {
    sum_columns<float>(spec, a);
  }
}

}  // namespace NC_LEVEL
}  // namespace nc
