// Calls: operands that were checked once, ready to run whole or in ranges. One template for all operations.
//
// An operation Op has
//   Kind                       the kind of its plan
//   Args                       the structure of its operands
//   kUnits[2]                  what the units of its phases are, for messages
//   check(plan, args, call)    checks the operands and sets the arguments and the units of the call; units[1] is 0
//   run(plan, call, phase, begin, end)  runs a range of units on the CPU; all of phase 0 comes before phase 1
//   launch(plan, call, stream)  enqueues the whole call on the CUDA device
#pragma once

#include <cstring>
#include <type_traits>

#include "../core/arguments.h"
#include "plan.h"
#include "tensor.h"

namespace nc {

struct BackwardCall {
  BackwardArguments rows;
  ColumnArguments gradients[2];  // the requested ones first
  int32_t gradient_count;
};

struct Call {
  uint64_t magic;  // identifies memory with a call
  int32_t (*run)(const Call&, int32_t phase, int64_t begin, int64_t end) noexcept;
  const void* plan;
  int64_t units[2];
  union {
    ForwardArguments forward;
    BackwardCall backward;
    RotaryArguments rotary;
    Fp8AmaxArguments amax;
    Fp8ScaleArguments scale;
    Fp8QuantizeArguments quantize;
    Fp8DequantizeArguments dequantize;
  };
};
static_assert(sizeof(Call) <= NC_CALL_BYTES && alignof(Call) <= NC_CALL_ALIGNMENT);
static_assert(std::is_trivially_copyable<Call>::value);

constexpr uint64_t kCallMagic = 0x6e6f726d63616c6cull;  // "normcall"

void require_stream(bool on_cuda, int64_t stream);
void require_call_memory(const void* call, const int64_t* units);
[[noreturn]] void refuse_ranges(int32_t device);

// Refuses tensors that the device of the plan cannot access.
template <class Kind, class Tensors>
void require_reachable(const Plan<Kind>& plan, const Tensors& tensors) {
  if (plan.cuda == nullptr) return;
  for (const Tensor& tensor : tensors) plan.cuda->memory.require(tensor);
}

// Checks a call.
template <class Op>
void check_call(const Plan<typename Op::Kind>& plan, const typename Op::Args* given, Call& call, int64_t& stream) {
  const Structure<typename Op::Args> args(given, "args");
  require_stream(plan.cuda != nullptr, (*args).stream);
  stream = (*args).stream;
  call.units[1] = 0;
  Op::check(plan, *args, call);
}

// Runs a range of a begun call.
template <class Op>
int32_t run_range(const Call& call, int32_t phase, int64_t begin, int64_t end) noexcept {
  return guarded([&] {
    require_within(Op::kUnits[phase], begin, end, call.units[phase]);
    if (begin == end) return;
    Op::run(*static_cast<const Plan<typename Op::Kind>*>(call.plan), call, phase, begin, end);
  });
}

template <class Op>
int32_t run_whole(int64_t handle, const typename Op::Args* args) noexcept {
  return guarded([&] {
    const Plan<typename Op::Kind>& plan = plan_of<typename Op::Kind>(handle);
    Call call;
    int64_t stream;
    check_call<Op>(plan, args, call, stream);
    if (plan.cuda != nullptr) return Op::launch(plan, call, stream);
    for (int32_t phase = 0; phase < 2; ++phase) {
      if (call.units[phase] > 0) Op::run(plan, call, phase, 0, call.units[phase]);
    }
  });
}

template <class Op>
int32_t begin_call(int64_t handle, const typename Op::Args* args, void* memory, int64_t* units) noexcept {
  return guarded([&] {
    const Plan<typename Op::Kind>& plan = plan_of<typename Op::Kind>(handle);
    if (plan.cuda != nullptr) refuse_ranges(plan.cuda->device);
    require_call_memory(memory, units);
    Call call{};
    int64_t stream;
    check_call<Op>(plan, args, call, stream);
    call.magic = kCallMagic;
    call.run = run_range<Op>;
    call.plan = &plan;
    std::memcpy(memory, &call, sizeof(call));
    units[0] = call.units[0];
    units[1] = call.units[1];
  });
}

}  // namespace nc
