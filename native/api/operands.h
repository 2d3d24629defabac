// The operands of a call as a table: where the structure has the address and the stride of each tensor, its shape, its
// type and which memory it may share.
#pragma once

#include <array>
#include <iterator>
#include <utility>

#include "../core/fp8_scale.h"
#include "../core/reduction_order.h"
#include "tensor.h"

namespace nc {

enum class Extent {
  matrix,     // rows x columns, at a stride
  columns,    // one row of columns
  rows,       // one number per row
  one,        // one number
  count,      // `count` numbers
  scales,     // by scaling: one float32, one float32 per row, or one E8M0 code per block
  workspace,  // absent if its size is 0
};

enum class Element { x, weight, y, q, compute, float32, dweight, dbias, byte };
constexpr int kElements = 9;

struct Shape {
  int64_t rows, columns;
  const char* columns_name;     // in messages; or null
  int64_t widths[kElements]{};  // bytes of an Element
  Scaling scaling = Scaling::none;
  int64_t count = 0;
  int64_t workspace_bytes = 0;

  int64_t width(Element element) const { return widths[static_cast<int>(element)]; }
  void set(Element element, int64_t width) { widths[static_cast<int>(element)] = width; }
  bool empty() const { return rows == 0 || columns == 0; }
};

template <class Args>
struct Operand {
  const char* name;
  int64_t Args::*address;
  int64_t Args::*stride;  // null if contiguous
  Extent extent;
  Element element;
  const char* required_because;  // null if optional; a shape without elements requires nothing
  bool is_output = false;
  unsigned in_place = 0;  // of an output: bit i if it may be in place of operand i
};

template <size_t N>
using Tensors = std::array<Tensor, N>;

// The tensor of an operand, by Extent. stride: in elements.
inline Tensor tensor_of(const char* name, Extent extent, int64_t address, int64_t stride, int64_t width,
                        const Shape& shape) {
  switch (extent) {
    case Extent::matrix:
      return matrix(name, address, shape.rows, shape.columns, stride, width, shape.columns_name);
    case Extent::columns:
      return vector(name, address, shape.columns, width);
    case Extent::rows:
      return vector(name, address, shape.rows, width);
    case Extent::one:
      return vector(name, address, 1, width);
    case Extent::count:
      return vector(name, address, shape.count, width);
    case Extent::scales: {
      const int64_t blocks = ceil_div(shape.columns, kScaleBlock);
      if (shape.scaling == Scaling::block) return matrix(name, address, shape.rows, blocks, blocks, 1);
      return vector(name, address, shape.scaling == Scaling::row ? shape.rows : 1, width);
    }
    default:
      return vector(name, shape.workspace_bytes == 0 ? 0 : address, shape.workspace_bytes, 1);
  }
}

template <const auto& Table, size_t I, class Args>
Tensor tensor_at(const Args& args, const Shape& shape) {
  constexpr Operand<Args> o = Table[I];
  const int64_t stride = o.stride == nullptr ? 0 : args.*o.stride;
  const Tensor tensor = tensor_of(o.name, o.extent, args.*o.address, stride, shape.width(o.element), shape);
  if (o.element == Element::float32 && tensor.width == 4) require_multiple(tensor, 4);
  return tensor;
}
template <const auto& Table, class Args, size_t... I>
Tensors<sizeof...(I)> tensors_at(const Args& args, const Shape& shape, std::index_sequence<I...>) {
  const Tensors<sizeof...(I)> tensors = {tensor_at<Table, I>(args, shape)...};
  const auto require = [](const char* why, const Tensor& tensor) {
    if (why != nullptr) require_present(tensor, why);
  };
  if (!shape.empty()) (require(Table[I].required_because, tensors[I]), ...);
  return tensors;
}

// Reads the operands of a call. Refuses wrong strides, required tensors that are absent, and unaligned float32. The
// table is a template argument, so that the compiler makes straight code of it.
template <const auto& Table, class Args>
auto tensors_of(const Args& args, const Shape& shape) {
  return tensors_at<Table>(args, shape, std::make_index_sequence<std::size(Table)>());
}

// Refuses outputs that overlap another operand, unless in place. Of two outputs, the message names the first one first.
template <class Args, size_t N>
void require_apart(const Operand<Args> (&table)[N], const Tensors<N>& tensors) {
  // Most operands are absent, and the others do not overlap.
  struct Present {
    int64_t begin, end;
    size_t index;
  } present[N];
  size_t count = 0;
  for (size_t i = 0; i < N; ++i) {
    if (tensors[i].present()) present[count++] = {tensors[i].address, end_of(tensors[i]), i};
  }
  for (size_t i = 1; i < count; ++i) {
    for (size_t j = 0; j < i; ++j) {
      if (present[i].begin >= present[j].end || present[j].begin >= present[i].end) continue;
      size_t output = present[j].index, other = present[i].index;
      if (!table[output].is_output) std::swap(output, other);
      if (!table[output].is_output) continue;
      if ((table[output].in_place >> other & 1) != 0) {
        refuse_overlap_unless_in_place(tensors[output], tensors[other]);
      } else {
        refuse_overlap(tensors[output], tensors[other]);
      }
    }
  }
}

}  // namespace nc
