// Backward, second step: the remaining partial sums of dweight or dbias, summed in a halving tree and rounded once to
// the gradient's type.
#include "kernels.h"
#include "partial_sum_tree.h"

namespace nc {
inline namespace NC_LEVEL {
namespace {

// Columns per tile, and the depth of the stack of tiles: at least that of the tree.
constexpr int64_t kColumnTile = 256;
constexpr int kDeepest = 10;

// Stores rd(sum) or rd(gradient + sum).
template <class C, class Format>
struct GradientColumns {
  char* gradient;
  bool accumulates;
  Format format;

  template <class Extent>
  NC_INLINE void write(int64_t column, Extent extent, Vec8<C> sum) const {
    if (accumulates) sum = load<C>(format, gradient, column, extent) + sum;
    store(format, gradient, column, extent, sum);
  }
  NC_INLINE void write_natural(int64_t column, const C* sums, int64_t columns) const {
    for_each_vec(columns, [=, *this](int64_t first, auto extent)
                              NC_LAMBDA_INLINE { write(column + first, extent, load_sum(sums, first, extent)); });
  }
  NC_INLINE void write_even_odd(int64_t column, const float* sums, int64_t columns) const {
    for (int64_t first = 0; first < columns; first += kColumnPadding) {
      const Vec16<Order::natural> in_order = natural(load_sum(sums, first, Full16<Order::even_odd>{}));
      write(column + first, FullVec{}, in_order.a);
      write(column + first + kVecWidth, FullVec{}, in_order.b);
    }
  }
};

// Calls f(format) for the type of a gradient.
template <class C, class F>
NC_INLINE void with_gradient_format(DType dtype, F f) {
#if defined(NC_STATIC_KERNELS)
  if (sizeof(C) == sizeof(float)) {
    if (dtype == DType::float32) return f(StaticFormat<DType::float32>{});
    if (dtype == DType::bfloat16) return f(StaticFormat<DType::bfloat16>{});
    if (dtype == DType::float16) return f(StaticFormat<DType::float16>{});
  }
#endif
  f(RuntimeFormat{dtype});
}

template <class C, class Format>
struct ColumnSums {
  PartialSumLayout layout;
  int64_t group_count;
  PartialSumBuffer<C> space;
  GradientColumns<C, Format> gradient;

  ColumnSums(PartialSumLayout partial_sums, const ColumnArguments& a, Format format)
      : layout(partial_sums),
        group_count(groups(a.rows, layout.n)),
        space(a.partials, layout, a.rows),
        gradient{a.gradient, a.accumulate, format} {}

  struct Tile {
    C sums[kColumnTile];
  };

  // The sum of a subtree, if the first step has stored it, or null. Stays within the workspace even if the first step
  // never ran and the entries are garbage.
  const C* left(Subtree tree, int64_t leaf, int64_t offset) const {
    const PartialSumEntry entry = space.entries[leaf];
    const int64_t leaves = tree.leaves(group_count);
    if (entry.leaves != leaves && leaves > 1) return nullptr;
    const int64_t rows = group_count * space.row_slot_count;
    return space.row(entry.row >= 0 && entry.row < rows ? entry.row : 0) + offset;
  }
  // The sum of a subtree over `count` slots: a stored one, or the sum of its two halves in a tile.
  const C* add_up(Subtree tree, int64_t leaf, int64_t offset, int64_t count, Tile* tiles) const {
    const C* const there = left(tree, leaf, offset);
    if (there != nullptr) return there;
    const C* const lower = add_up(tree.left(), leaf, offset, count, tiles);
    const C* const upper = add_up(tree.right(), leaf + tree.left().leaves(group_count), offset, count, tiles + 1);
    for (int64_t j = 0; j < count; ++j) tiles->sums[j] = lower[j] + upper[j];
    return tiles->sums;
  }
  // The sum of all groups.
  const C* sum(int64_t offset, int64_t count, Tile (&tiles)[kDeepest]) const {
    return add_up({0, 0}, 0, offset, count, tiles);
  }
  // Columns whose slots are in natural order.
  void in_order(int64_t begin, int64_t end) const {
    Tile tiles[kDeepest];
    for (int64_t column = begin; column < end; column += kColumnTile) {
      const int64_t count = end - column < kColumnTile ? end - column : kColumnTile;
      gradient.write_natural(column, sum(column, count, tiles), count);
    }
  }
  // Columns begin .. end - 1 of the group of sixteen from column `first`; another call writes the rest of the group.
  void of_group(int64_t first, int64_t offset, int64_t begin, int64_t end) const {
    Tile tiles[kDeepest];
    const C* sums = sum(offset, kColumnPadding, tiles);
    if constexpr (std::is_same<C, float>::value) {
      const auto in_order = natural(load_sum(sums, 0, Full16<Order::even_odd>{}));
      if (layout.order == Order::even_odd) store_sum(tiles[0].sums, 0, Full16<Order::natural>{}, in_order);
      if (layout.order == Order::even_odd) sums = tiles[0].sums;
    }
    gradient.write_natural(begin, sums + (begin - first), end - begin);
  }
  void even_odd(int64_t begin, int64_t end) const {
    if constexpr (std::is_same<C, float>::value) {
      Tile tiles[kDeepest];
      int64_t column = begin;
      const int64_t group = column / kColumnPadding * kColumnPadding;
      if (column > group && column < end) {
        const int64_t group_end = group + kColumnPadding < end ? group + kColumnPadding : end;
        of_group(group, group, column, group_end);
        column = group_end;
      }
      while (column + kColumnPadding <= end) {
        const int64_t whole = (end - column) / kColumnPadding * kColumnPadding;
        const int64_t count = whole < kColumnTile ? whole : kColumnTile;
        gradient.write_even_odd(column, sum(column, count, tiles), count);
        column += count;
      }
      if (column < end) of_group(column, column, column, end);
    }
  }
  void write(int64_t begin, int64_t end) const {
    const int64_t in_place = layout.in_place(), end_in_place = end < in_place ? end : in_place;
    if (begin < end_in_place) {
      if (layout.order == Order::natural) {
        in_order(begin, end_in_place);
      } else {
        even_odd(begin, end_in_place);
      }
    }
    const int64_t rest = begin > in_place ? begin : in_place;
    if (rest < end) of_group(layout.n - kColumnPadding, in_place, rest, end);
  }
};

template <class C, class Format>
void sum_columns(const NormSpec& spec, PartialSumOrder order, const ColumnArguments& a) {
  const ColumnSums<C, Format> sums({order, spec.hidden_size}, a, format_of<Format>(a.dtype));
  if (sums.group_count == 0) {
    const C zeros[kColumnTile] = {};
    if (a.accumulate) return;
    for (int64_t column = a.column_begin; column < a.column_end; column += kColumnTile) {
      const int64_t left = a.column_end - column;
      sums.gradient.write_natural(column, zeros, left < kColumnTile ? left : kColumnTile);
    }
  } else {
    sums.write(a.column_begin, a.column_end);
  }
}

template <class C>
CpuColumns::Run select_sum(DType gradient) {
  CpuColumns::Run sum = nullptr;
  with_gradient_format<C>(gradient, [&](auto format) { sum = sum_columns<C, decltype(format)>; });
  return sum;
}

template <class C>
CpuColumns select(const NormSpec& spec) {
  return {select_sum<C>(spec.weight), select_sum<C>(DType::float32), partial_sum_order(spec)};
}

}  // namespace

CpuColumns select_columns(const NormSpec& spec) {
  return spec.compute == Compute::float64 ? select<double>(spec) : select<float>(spec);
}

}  // namespace NC_LEVEL
}  // namespace nc
