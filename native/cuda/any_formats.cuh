// Common parts of the generic kernels: formats and policy looked up at run time, or compiled in for the common formats,
// and rows whose segments one block processes in sequence.
#pragma once

#include "access.cuh"
#include "formats.cuh"
#include "row_reduce.cuh"

namespace nc {
inline namespace NC_LEVEL {

// C: the compute type. X, W, Y: Static... or RuntimeFormat.
template <class C, class X, class W, class Y>
struct AnyFormats {
  using Compute = C;
  X x;
  W weight;
  Y y;
  RuntimePolicy policy;
  NC_DEVICE AffinePolicy<RuntimePolicy, X, W> affine() const { return {policy, x, weight}; }
};

template <class C>
using RuntimeFormats = AnyFormats<C, RuntimeFormat, RuntimeFormat, RuntimeFormat>;
template <DType X, DType W, DType Y>
using CommonFormats = AnyFormats<float, StaticFormat<X>, StaticFormat<W>, StaticFormat<Y>>;

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

// Reduces a row: of_lane(octets) returns a lane's value of a segment. All threads of the block must call this; rows
// that do not exist have no octets.
template <class Value, class OfLane>
NC_DEVICE Value over_row(const RowShape& shape, const Place& place, bool live, char* memory, OfLane of_lane) {
  Meeting<Value>* meeting = reinterpret_cast<Meeting<Value>*>(memory);
  RowReducer<Value> reduce(meeting, shape.lanes, place.slot, place.lane, 1);
  Value value;
  for (int segment = 0; segment < shape.segments; ++segment) {
    LaneOctets octets(shape, segment, place.lane);
    if (!live) octets.end = octets.first;
    value = reduce(of_lane(octets));
    if (shape.segments > 1 && place.lane == 0) meeting->of_blocks[0][segment] = value;
  }
  // The barrier below keeps the next call from writing `meeting` before all threads have read it.
  if (shape.segments > 1) {
    simt::block_barrier();
    value = halved_any(meeting->of_blocks[0], shape.segments);
  }
  simt::block_barrier();
  return value;
}

// Calls f(octet, count) for every octet of a thread's row.
template <class Body>
NC_DEVICE void for_each_octet(const RowShape& shape, const Place& place, Body f) {
  for (int segment = 0; segment < shape.segments; ++segment) {
    const LaneOctets octets(shape, segment, place.lane);
    for (int octet = octets.first; octet < octets.end; octet += shape.lanes) f(octet, elements_of(shape, octet));
  }
}

}  // namespace NC_LEVEL
}  // namespace nc
