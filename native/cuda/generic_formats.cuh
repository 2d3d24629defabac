// Common parts of the generic kernels: formats and policy looked up at run time, or compiled in for the common formats,
// and rows whose segments one block processes in sequence.
#pragma once

#include "formats.cuh"
#include "generic_access.cuh"
#include "row_reduce.cuh"

namespace nc {
inline namespace NC_LEVEL {

// C: the compute type. X, W, Y: Static... or RuntimeFormat.
template <class C, class X, class W, class Y>
struct GenericFormats {
  using Compute = C;
  X x;
  W weight;
  Y y;
  RuntimePolicy policy;
  NC_DEVICE AffinePolicy<RuntimePolicy, X, W> affine() const { return {policy, x, weight}; }
};

template <class C>
using RuntimeFormats = GenericFormats<C, RuntimeFormat, RuntimeFormat, RuntimeFormat>;
template <DType X, DType W, DType Y>
using CommonFormats = GenericFormats<float, StaticFormat<X>, StaticFormat<W>, StaticFormat<Y>>;

template <class F>
struct FormatsOf;
template <class C>
struct FormatsOf<RuntimeFormats<C>> {
  static NC_DEVICE RuntimeFormats<C> from(const NormSpec& s) {
    return {{s.x}, {s.weight}, {s.y}, {s.scale_rounding, s.gamma_offset}};
  }
};
template <DType X, DType W, DType Y>
struct FormatsOf<CommonFormats<X, W, Y>> {
  static NC_DEVICE CommonFormats<X, W, Y> from(const NormSpec& s) {
    return {{}, {}, {}, {s.scale_rounding, s.gamma_offset}};
  }
};

// Reduces a row: of_lane(vectors) returns a lane's value of a segment. All threads of the block must call this; rows
// that do not exist have no vectors.
template <class Value, class OfLane>
NC_DEVICE Value over_row(const RowShape& shape, const ThreadCoord& coord, bool live, char* memory, OfLane of_lane) {
  ReduceScratch<Value>* scratch = reinterpret_cast<ReduceScratch<Value>*>(memory);
  RowReducer<Value> reduce(scratch, shape.lanes, coord.row_slot, coord.lane, 1);
  Value value;
  for (int segment = 0; segment < shape.segments; ++segment) {
    LaneVecs vecs(shape, segment, coord.lane);
    if (!live) vecs.end = vecs.first;
    value = reduce(of_lane(vecs));
    if (shape.segments > 1 && coord.lane == 0) scratch->of_blocks[0][segment] = value;
  }
  // The barrier below keeps the next call from writing `meeting` before all threads have read it.
  if (shape.segments > 1) {
    simt::block_barrier();
    value = tree_reduce_any(scratch->of_blocks[0], shape.segments);
  }
  simt::block_barrier();
  return value;
}

// Calls f(vec, count) for every vector of a thread's row.
template <class Body>
NC_DEVICE void for_each_vec(const RowShape& shape, const ThreadCoord& coord, Body f) {
  for (int segment = 0; segment < shape.segments; ++segment) {
    const LaneVecs vecs(shape, segment, coord.lane);
    for (int vec = vecs.first; vec < vecs.end; vec += shape.lanes) f(vec, elements_of(shape, vec));
  }
}

}  // namespace NC_LEVEL
}  // namespace nc
