// The shares of dweight and dbias on the CPU, summed as soon as the order of sums allows it.
//
// By halving, group i takes group i + step, for the largest step first: a binary tree, whose leaves from left to right
// are the groups in another order than that of their rows. A call takes groups in the order of the leaves, so that two
// neighbours can be summed when both are there; what has to be kept is a stack of a few rows, which stay in the cache,
// instead of a row for each group, which would be written to memory and read again. Other calls may take other leaves.
// What is left on a call's stack at its end lies in the workspace where its leaves begin, and the list says which part
// of the tree each row is.
#pragma once

#include "share_layout.h"

namespace nc {
inline namespace NC_LEVEL {

// Of a tree whose root is group 0 at depth 0: the groups index, index + step, ..., where step is 2 to the depth.
struct Subtree {
  int64_t index;
  int depth;
  NC_INLINE int64_t step() const { return int64_t{1} << depth; }
  NC_INLINE int64_t leaves(int64_t groups) const { return (groups - index + step() - 1) >> depth; }
  NC_INLINE Subtree left() const { return {index, depth + 1}; }
  NC_INLINE Subtree right() const { return {index + step(), depth + 1}; }
};

// The group at a leaf.
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

// A group to be made, or two neighbouring parts of the tree to be summed.
struct TreeStep {
  bool merges;
  int64_t group;   // where one is made
  int64_t next;    // the one that is made after it, or -1
  int64_t leaf;    // the first of the part that is made or summed
  int64_t leaves;  // how many it has
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
// Leaves begin .. end - 1, in order, and the sums that they allow.
template <class F>
inline void for_each_group(int64_t groups, int64_t begin, int64_t end, const F& f) {
  if (begin < end) for_each_group(groups, begin, end, Subtree{0, 0}, 0, f);
}

// One gradient's shares: see core/workspace.h.
template <class C>
struct ShareSpace {
  C* sums;
  ShareEntry* entries = nullptr;
  int64_t slots, lane_count;

  ShareSpace(char* parts, const ShareLayout& layout, int64_t rows)
      : sums(reinterpret_cast<C*>(parts)), slots(layout.slots()), lane_count(row_lanes(layout.n)) {
    if (sums != nullptr) entries = reinterpret_cast<ShareEntry*>(parts + share_bytes(rows, layout.n, sizeof(C)));
  }
  C* row(int64_t index) const { return sums + index * slots; }
};

template <class C>
class ShareStack {
 public:
  ShareStack(char* parts, const ShareLayout& layout, const BackwardArguments& a)
      : space(parts, layout, a.rows), base(a.group_begin * space.lane_count) {
    if (space.sums == nullptr) return;
    memset(space.entries + a.group_begin, 0, static_cast<size_t>(a.group_end - a.group_begin) * sizeof(ShareEntry));
  }

  // Memory for the row lanes of a group, above the stack, which the first row of each lane is to write; null if the
  // gradient is not wanted.
  C* open() const { return space.sums == nullptr ? nullptr : space.row(base + depth); }
  // The lanes of a group's rows have become one row of the stack. Lanes without rows would have added +0, which makes
  // +0 of a sum that is -0, as that of a product too small for the type may be.
  void close(const TreeStep& step, int64_t rows) {
    if (space.sums == nullptr) return;
    const int64_t lanes = rows < space.lane_count ? rows : space.lane_count;
    for (int64_t s = first_step(space.lane_count); s > 0; s /= 2) {
      for (int64_t i = 0; i < s && i + s < lanes; ++i) add(base + depth + i, base + depth + i + s);
    }
    if (lanes < space.lane_count) {
      C* const sum = space.row(base + depth);
      for (int64_t j = 0; j < space.slots; ++j) sum[j] = sum[j] + C(0);
    }
    space.entries[step.leaf] = {1, static_cast<int32_t>(base + depth)};
    ++depth;
  }
  // The upper two rows become one.
  void merge(const TreeStep& step) {
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
    for (int64_t j = 0; j < space.slots; ++j) target[j] = target[j] + source[j];
  }

  ShareSpace<C> space;
  int64_t base, depth = 0;
};

}  // namespace NC_LEVEL
}  // namespace nc
