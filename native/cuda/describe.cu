// Describes the kernels that a norm's calls launch, from the launches planned for tensors of dummy addresses.
#include <cstdarg>
#include <cstdio>
#include <initializer_list>

#include "../core/reduction_order.h"
#include "describe.h"
#include "launch_plan.h"

namespace nc {
inline namespace NC_LEVEL {
namespace {

// A text buffer that truncates at its capacity.
class Text {
 public:
  Text(char* to, int64_t capacity) : next_(to), left_(capacity) {
    if (left_ > 0) *next_ = '\0';
  }
  __attribute__((format(printf, 2, 3))) void add(const char* format, ...) {
    if (left_ <= 1) return;
    va_list arguments;
    va_start(arguments, format);
    const int wanted = std::vsnprintf(next_, static_cast<size_t>(left_), format, arguments);
    va_end(arguments);
    const int64_t added = wanted < 0 ? 0 : wanted < left_ ? wanted : left_ - 1;
    next_ += added;
    left_ -= added;
  }

 private:
  char* next_;
  int64_t left_;
};

// The kernel that a call launches, and those that it could have launched.
template <class Function>
struct Choice {
  const char* direction;
  Function launched, fast, unaligned;
  int fast_vecs, unaligned_vecs;  // of a thread
  Absence absence;                // why the generic kernel is launched
};

// Writes the kernel's name with the vectors per thread, or, for the generic kernel, the reason.
template <class Function>
void describe_choice(Text& text, const NormKernels& k, const Choice<Function>& c) {
  if (c.launched == c.fast) {
    text.add("norm_%s, %d vectors a thread\n", c.direction, c.fast_vecs);
    return;
  }
  if (c.launched == c.unaligned) {
    text.add("norm_%s_unaligned, %d vectors a thread\n", c.direction, c.unaligned_vecs);
    return;
  }
  text.add("norm_%s_generic; ", c.direction);
  switch (c.absence) {
    case Absence::none:
      text.add("the faster kernel is left out: its part of a row does not fit a block's shared memory, %d bytes\n",
               k.shared_bytes);
      break;
    case Absence::not_compiled:
      text.add("no faster kernel is compiled for these dtypes, this policy and this hidden size\n");
      break;
    case Absence::no_clusters:
      text.add("the faster kernel is left out: a row takes clusters of %d blocks, the device has no clusters\n",
               k.shape.segments);
      break;
    case Absence::code_lacks_clusters:
      text.add(
          "the faster kernel is left out: a row takes clusters of %d blocks, the code is for compute capabilities"
          " below 9.0\n",
          k.shape.segments);
      break;
    case Absence::cluster_does_not_fit:
      text.add("the faster kernel is left out: the device does not hold a cluster of %d blocks\n", k.shape.segments);
      break;
  }
}

// Tensors of a described call, with dummy addresses: on a 256-byte boundary, or one element after it.
struct DescribedTensors {
  const NormSpec& spec;
  bool aligned;

  char* vector() const { return reinterpret_cast<char*>(int64_t{1} << 40); }
  char* rows(DType type) const { return vector() + (aligned ? 0 : bytes_of(type)); }
  int64_t stride(DType type) const { return (spec.hidden_size + (aligned ? 0 : 1)) * bytes_of(type); }
  // Why such a call has no fast kernel, or Absence::none.
  Absence absence(Absence no_fast, Absence no_unaligned) const {
    return aligned && spec.hidden_size % kVecWidth == 0 ? no_fast : no_unaligned;
  }
};

constexpr int64_t kDescribedRows = 4096;

void describe_forward(Text& text, const NormKernels& k, const DescribedTensors& t, bool residual) {
  const NormSpec& spec = t.spec;
  ForwardArguments a{};
  a.row_end = kDescribedRows;
  a.x = t.rows(spec.x);
  a.x_stride = t.stride(spec.x);
  a.y = t.rows(spec.y);
  a.y_stride = t.stride(spec.y);
  a.weight = spec.has_weight ? t.vector() : nullptr;
  a.bias = spec.has_bias ? t.vector() : nullptr;
  if (residual) {
    a.residual = a.residual_out = t.rows(spec.x);
    a.residual_stride = a.residual_out_stride = a.x_stride;
  }
  text.add("forward %s%s: ", t.aligned ? "aligned" : "unaligned", residual ? " residual" : "");
  Choice<ForwardFunction> c{};
  c.direction = "forward";
  c.launched = forward_launch(k, spec, a).launch.kernel;
  c.fast = k.fast_forward;
  c.fast_vecs = compiled_vecs_for(k.vecs_per_thread);
  c.unaligned = k.unaligned_forward;
  c.unaligned_vecs = unaligned_vecs_for(k.vecs_per_thread);
  c.absence = t.absence(k.no_fast_forward, k.no_unaligned_forward);
  describe_choice(text, k, c);
}

void describe_backward(Text& text, const NormKernels& k, const DescribedTensors& t, bool residual) {
  const NormSpec& spec = t.spec;
  BackwardArguments a{};
  a.rows = kDescribedRows;
  a.group_end = groups(kDescribedRows, spec.hidden_size);
  a.x = t.rows(spec.x);
  a.dx = t.rows(spec.x);
  a.x_stride = a.dx_stride = t.stride(spec.x);
  a.dy = t.rows(spec.y);
  a.dy_stride = t.stride(spec.y);
  a.weight = spec.has_weight ? t.vector() : nullptr;
  a.dweight_partials = t.vector();
  a.dbias_partials = spec.op == Op::layer_norm ? t.vector() : nullptr;
  if (residual) {
    a.dresidual = t.rows(spec.x);
    a.dresidual_stride = a.x_stride;
  }
  text.add("backward %s%s: ", t.aligned ? "aligned" : "unaligned", residual ? " residual" : "");
  Choice<BackwardFunction> c{};
  c.direction = "backward";
  c.launched = backward_launch(k, spec, a).launch.kernel;
  c.fast = k.fast_backward;
  c.fast_vecs = compiled_vecs_for(k.vecs_per_thread);
  c.unaligned = k.unaligned_backward;
  c.unaligned_vecs = unaligned_backward_vecs_for(k.vecs_per_thread);
  c.absence = t.absence(k.no_fast_backward, k.no_unaligned_backward);
  describe_choice(text, k, c);
}

}  // namespace

// Calls with many rows, aligned and not, without and with a residual.
int32_t describe(const CudaNorm& norm, char* to, int64_t capacity) {
  const NormKernels k = kernels_of(norm);
  Text text(to, capacity);
  for (const bool forward : {true, false}) {
    for (const bool aligned : {true, false}) {
      for (const bool residual : {false, true}) {
        (forward ? describe_forward : describe_backward)(text, k, {norm.spec, aligned}, residual);
      }
    }
  }
  return 0;
}

}  // namespace NC_LEVEL
}  // namespace nc
