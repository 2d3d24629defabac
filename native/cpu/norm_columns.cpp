// Backward, second step: what the calls of the first have left of dweight or dbias, summed by halving and rounded once
// into the gradient's type.
#include "kernels.h"
#include "share_stack.h"

namespace nc {
inline namespace NC_LEVEL {
namespace {

// Columns that are summed at a time, on a stack: as deep as the tree at most.
constexpr int64_t kTile = 256;
constexpr int kDeepest = 10;

// rd(sum), or rd(gradient + sum), of columns that lie in order.
template <class C, class Format>
struct Gradient {
  char* gradient;
  bool accumulates;
  Format format;

  template <class Extent>
  NC_INLINE void write(int64_t column, Extent extent, Packet<C> sum) const {
    if (accumulates) sum = load<C>(format, gradient, column, extent) + sum;
    store(format, gradient, column, extent, sum);
  }
  NC_INLINE void write_natural(int64_t column, const C* sums, int64_t columns) const {
    for_each_packet(columns, [=, *this](int64_t first, auto extent)
                                 NC_LAMBDA_INLINE { write(column + first, extent, load_sum(sums, first, extent)); });
  }
  NC_INLINE void write_even_odd(int64_t column, const float* sums, int64_t columns) const {
    for (int64_t first = 0; first < columns; first += kSumGroup) {
      const Duo<Order::natural> in_order = natural(load_sum(sums, first, Sixteen<Order::even_odd>{}));
      write(column + first, Full{}, in_order.a);
      write(column + first + kPacket, Full{}, in_order.b);
    }
  }
};

// f(format)
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
  int64_t n;
  Order order;
  int64_t group_count;
  ShareSpace<C> space;
  Gradient<C, Format> gradient;

  ColumnSums(const NormSpec& spec, const ColumnArguments& a, Format format)
      : n(spec.hidden_size),
        order(sums_order(spec)),
        group_count(groups(a.rows, n)),
        space(a.parts, spec, a.rows),
        gradient{a.gradient, a.accumulate, format} {}

  struct Tile {
    C sums[kTile];
  };

  // What a call has left of a part of the tree, or null. Within the workspace even if the first step was never made.
  const C* left(Subtree tree, int64_t leaf, int64_t slot) const {
    const ShareEntry entry = space.entries[leaf];
    const int64_t leaves = tree.leaves(group_count);
    if (entry.leaves != leaves && leaves > 1) return nullptr;
    const int64_t rows = group_count * space.lane_count;
    return space.row(entry.row >= 0 && entry.row < rows ? entry.row : 0) + slot;
  }
  // What the groups of a part of the tree have in some slots: what a call has left, or the sum of two parts in a tile.
  const C* add_up(Subtree tree, int64_t leaf, int64_t slot, int64_t count, Tile* tiles) const {
    const C* const there = left(tree, leaf, slot);
    if (there != nullptr) return there;
    const C* const lower = add_up(tree.left(), leaf, slot, count, tiles);
    const C* const upper = add_up(tree.right(), leaf + tree.left().leaves(group_count), slot, count, tiles + 1);
    for (int64_t j = 0; j < count; ++j) tiles->sums[j] = lower[j] + upper[j];
    return tiles->sums;
  }
  // The sums of some slots.
  const C* sum(int64_t slot, int64_t count, Tile (&tiles)[kDeepest]) const {
    return add_up({0, 1}, 0, slot, count, tiles);
  }
  // Columns that lie in order, of them as many as a tile has.
  void in_order(int64_t begin, int64_t end) const {
    Tile tiles[kDeepest];
    for (int64_t column = begin; column < end; column += kTile) {
      const int64_t count = end - column < kTile ? end - column : kTile;
      gradient.write_natural(column, sum(column, count, tiles), count);
    }
  }
  // A group of which not all columns are asked for: one by one, for the others are somebody else's.
  void one_by_one(int64_t begin, int64_t end) const {
    Tile tiles[kDeepest];
    for (int64_t column = begin; column < end; ++column) {
      gradient.write_natural(column, sum(slot_of(order, column, n), 1, tiles), 1);
    }
  }
  void even_odd(int64_t begin, int64_t end) const {
    if constexpr (std::is_same<C, float>::value) {
      Tile tiles[kDeepest];
      const int64_t first_group = ceil_div(begin, kSumGroup) * kSumGroup, after_groups = n / kSumGroup * kSumGroup;
      const int64_t whole_begin = first_group < end ? first_group : end;
      const int64_t grouped_end = end < after_groups ? end : after_groups;
      one_by_one(begin, whole_begin < grouped_end ? whole_begin : grouped_end);
      int64_t column = whole_begin;
      while (column + kSumGroup <= grouped_end) {
        const int64_t groups_left = (grouped_end - column) / kSumGroup * kSumGroup;
        const int64_t count = groups_left < kTile ? groups_left : kTile;
        gradient.write_even_odd(column, sum(column, count, tiles), count);
        column += count;
      }
      if (column < grouped_end) one_by_one(column, grouped_end);
      const int64_t rest = begin > after_groups ? begin : after_groups;
      if (rest < end) in_order(rest, end);
    }
  }
};

template <class C>
void sum_columns(const NormSpec& spec, const ColumnArguments& a) {
  with_gradient_format<C>(a.dtype, [&](auto format) {
    const ColumnSums<C, decltype(format)> sums(spec, a, format);
    if (sums.group_count == 0) {
      const C zeros[kTile] = {};
      if (a.accumulate) return;
      for (int64_t column = a.column_begin; column < a.column_end; column += kTile) {
        const int64_t left = a.column_end - column;
        sums.gradient.write_natural(column, zeros, left < kTile ? left : kTile);
      }
    } else if (sums.order == Order::natural) {
      sums.in_order(a.column_begin, a.column_end);
    } else {
      sums.even_odd(a.column_begin, a.column_end);
    }
  });
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
