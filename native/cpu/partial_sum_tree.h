// The partial sums of dweight and dbias on the CPU, combined as early as the order of sums allows.
//
// The halving tree combines group i with group i + step, largest step first. Its leaves, from left to right, are the
// groups in another order than that of their rows. A call processes groups in leaf order and combines two neighbouring
// subtrees as soon as both are complete. It therefore keeps a stack of a few rows, which stay in the cache; one row per
// group would be written to memory and read back. Other calls process other leaves. The rows that remain on a call's
// stack stay in the workspace, from the row of the call's first leaf on, and the PartialSumEntry list records the
// subtree of each.
#pragma once

#include "partial_sum_layout.h"

namespace nc {
inline namespace NC_LEVEL {

// A subtree: the groups index, index + step, ..., with step = 2^depth. The root is index 0 at depth 0.
struct Subtree {
  int64_t index;
  int depth;
  NC_INLINE int64_t step() const { return int64_t{1} << depth; }
  NC_INLINE int64_t leaves(int64_t groups) const { return (groups - index + step() - 1) >> depth; }
  NC_INLINE Subtree left() const { return {index, depth + 1}; }
  NC_INLINE Subtree right() const { return {index + step(), depth + 1}; }
};

// The group of a leaf.
inline int64_t group_at(int64_t groups, int64_t leaf) {
  Subtree tree{0, 0};
  while (tree.leaves(groups) > 1) {
    const int64_t left = tree.left().leaves(groups);
    if (leaf < left) {
      tree = tree.left();
    } else {
      leaf -= left;
      tree = tree.right();
    }
  }
  return tree.index;
}

// A step of a call: process a group, or combine two neighbouring subtrees.
struct TreeStep {
  bool combines;
  int64_t group;   // the group to process
  int64_t next;    // the group after it, or -1
  int64_t leaf;    // the first leaf of the resulting subtree
  int64_t leaves;  // the number of its leaves
};

template <class F>
inline void for_each_group(int64_t groups, int64_t begin, int64_t end, Subtree tree, int64_t leaf, const F& f) {
  const int64_t leaves = tree.leaves(groups);
  if (leaf >= end || leaf + leaves <= begin) return;
  if (leaves == 1) {
    f(TreeStep{false, tree.index, leaf + 1 < end ? group_at(groups, leaf + 1) : -1, leaf, 1});
    return;
  }
  for_each_group(groups, begin, end, tree.left(), leaf, f);
  for_each_group(groups, begin, end, tree.right(), leaf + tree.left().leaves(groups), f);
  if (begin <= leaf && leaf + leaves <= end) f(TreeStep{true, -1, -1, leaf, leaves});
}
// The steps for leaves begin .. end - 1, in order.
template <class F>
inline void for_each_group(int64_t groups, int64_t begin, int64_t end, const F& f) {
  if (begin < end) for_each_group(groups, begin, end, Subtree{0, 0}, 0, f);
}

// One gradient's part of the workspace: see core/workspace.h.
template <class C>
struct PartialSumBuffer {
  C* sums;
  PartialSumEntry* entries = nullptr;
  int64_t stride, row_slot_count;

  PartialSumBuffer(char* partials, const PartialSumLayout& layout, int64_t rows)
      : sums(reinterpret_cast<C*>(partials)), stride(layout.stride()), row_slot_count(row_slots(layout.n)) {
    if (sums != nullptr)
      entries = reinterpret_cast<PartialSumEntry*>(partials + partial_sum_bytes(rows, layout.n, sizeof(C)));
  }
  C* row(int64_t index) const { return sums + index * stride; }
};

template <class C>
class PartialSumTree {
 public:
  PartialSumTree(char* partials, const PartialSumLayout& layout, const BackwardArguments& a)
      : space(partials, layout, a.rows), base(a.group_begin * space.row_slot_count) {
    if (space.sums == nullptr) return;
    memset(space.entries + a.group_begin, 0,
           static_cast<size_t>(a.group_end - a.group_begin) * sizeof(PartialSumEntry));
  }

  // Uninitialised memory for the row slots of a group, above the stack; null if the gradient is not requested.
  C* begin_group() const { return space.sums == nullptr ? nullptr : space.row(base + depth); }
  // Sums the row slots of a group into one row of the stack. Row slots without rows count as +0: adding +0 turns a sum
  // of -0, such as that of underflowed products, into +0.
  void end_group(const TreeStep& step, int64_t rows) {
    if (space.sums == nullptr) return;
    const int64_t occupied = rows < space.row_slot_count ? rows : space.row_slot_count;
    for (int64_t s = first_step(space.row_slot_count); s > 0; s /= 2) {
      for (int64_t i = 0; i < s && i + s < occupied; ++i) add(base + depth + i, base + depth + i + s);
    }
    if (occupied < space.row_slot_count) {
      C* const sum = space.row(base + depth);
      for (int64_t j = 0; j < space.stride; ++j) sum[j] = sum[j] + C(0);
    }
    space.entries[step.leaf] = {1, static_cast<int32_t>(base + depth)};
    ++depth;
  }
  // Adds the top row of the stack to the one below it.
  void combine(const TreeStep& step) {
    if (space.sums == nullptr) return;
    add(base + depth - 2, base + depth - 1);
    const int64_t left = step.leaf, right = left + space.entries[left].leaves;
    space.entries[left].leaves = static_cast<int32_t>(step.leaves);
    space.entries[right] = {0, 0};
    --depth;
  }

 private:
  void add(int64_t to, int64_t from) const {
    C* const target = space.row(to);
    const C* const source = space.row(from);
    for (int64_t j = 0; j < space.stride; ++j) target[j] = target[j] + source[j];
  }

  PartialSumBuffer<C> space;
  int64_t base, depth = 0;
};

}  // namespace NC_LEVEL
}  // namespace nc
