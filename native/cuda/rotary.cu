// Selects the kernel of a rotary position embedding and launches it.
#include "device_call.h"
#include "elementwise.h"
#include "rotary.cuh"

namespace nc {
inline namespace NC_LEVEL {
namespace {

using RotaryFunction = void (*)(RotaryParameters);

NC_KERNEL(kRotaryThreads, 1)
void rotary_generic(const RotaryParameters p) { GenericRotaryKernel::run(p); }

template <DType X, DType T>
RotaryFunction aligned_kernel(RotaryLayout layout) {
  return layout == RotaryLayout::interleaved ? rotary_aligned<X, T, RotaryLayout::interleaved>
                                             : rotary_aligned<X, T, RotaryLayout::half_split>;
}

// The kernel for whole vectors; null if the pair of formats has none.
RotaryFunction aligned_kernel(const RotarySpec& s) {
  using D = DType;
  const auto is = [&](D x, D table) { return s.x == x && s.table == table; };
  if (is(D::float32, D::float32)) return aligned_kernel<D::float32, D::float32>(s.layout);
  if (is(D::bfloat16, D::bfloat16)) return aligned_kernel<D::bfloat16, D::bfloat16>(s.layout);
  if (is(D::bfloat16, D::float32)) return aligned_kernel<D::bfloat16, D::float32>(s.layout);
  if (is(D::float16, D::float16)) return aligned_kernel<D::float16, D::float16>(s.layout);
  if (is(D::float16, D::float32)) return aligned_kernel<D::float16, D::float32>(s.layout);
  return nullptr;
}

// Strides are multiples of the element size.
Alignment alignment_of(const RotarySpec& s, const RotaryArguments& a) {
  if (s.rotary_dim % (2 * kVecWidth) == 0 &&
      all_multiples(16, at(a.x), a.x_strides.batch, a.x_strides.seq, a.x_strides.head, at(a.y), a.y_strides.batch,
                    a.y_strides.seq, a.y_strides.head)) {
    return Alignment::vector;
  }
  return all_multiples(bytes_of(s.x), at(a.x), at(a.y)) ? Alignment::element : Alignment::none;
}
Alignment table_alignment_of(const RotarySpec& s, const RotaryArguments& a) {
  if (s.rotary_dim % (2 * kVecWidth) == 0 && all_multiples(16, at(a.cos), at(a.sin))) return Alignment::vector;
  return all_multiples(bytes_of(s.table), at(a.cos), at(a.sin)) ? Alignment::element : Alignment::none;
}

// With fewer threads than this a device is partly idle: then each thread takes one head.
constexpr int64_t kManyThreads = int64_t{1} << 17;

}  // namespace

int32_t rotary_prepare(int32_t device, const RotarySpec& spec) {
  const cuda_runtime::CurrentDevice current(device);
  if (current.error() != 0) return current.error();
  KernelFacts facts{};
  const RotaryFunction kernel = aligned_kernel(spec);
  if (kernel != nullptr) {
    if (const int32_t error = load_kernel(kernel, &facts)) return error;
  }
  return load_kernel(rotary_generic, &facts);
}

int32_t rotary(int32_t device, const RotarySpec& spec, const RotaryArguments& a, int64_t stream) {
  RotaryParameters p{};
  p.spec = spec;
  p.a = a;
  p.alignment = alignment_of(spec, a);
  p.table_alignment = table_alignment_of(spec, a);
  p.rotated = static_cast<int>(ceil_div(spec.rotary_dim / 2, kVecWidth));
  p.copied = a.x == a.y ? 0 : static_cast<int>(ceil_div(spec.head_dim - spec.rotary_dim, kVecWidth));
  const int64_t of_a_head = a.token_end * (p.rotated + p.copied);
  p.head_groups = a.heads;
  if (of_a_head >= ceil_div(kManyThreads, a.heads)) p.head_groups = ceil_div(a.heads, heads_together(spec.x));
  p.threads = of_a_head * p.head_groups;
  const bool vecs = p.alignment == Alignment::vector && p.table_alignment == Alignment::vector;
  const RotaryFunction kernel = vecs ? aligned_kernel(spec) : nullptr;
  Launch<RotaryParameters> l{};
  l.kernel = kernel != nullptr ? kernel : rotary_generic;
  l.threads = kRotaryThreads;
  l.blocks = ceil_div(p.threads, l.threads);
  l.block_rows = 1;
  l.cluster = 1;
  return launch_on(device, l, p, stream);
}

}  // namespace NC_LEVEL
}  // namespace nc
