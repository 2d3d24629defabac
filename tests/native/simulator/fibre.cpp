#include "fibre.h"

#include <pthread.h>

#include <cstdint>
#include <cstdlib>

// The machine may be compiled without sanitizers, for speed, while the kernels have them.
#if defined(__SANITIZE_ADDRESS__) && !defined(NC_SANITIZED_KERNELS)
#define NC_SANITIZED_KERNELS
#endif
#if defined(NC_SANITIZED_KERNELS)
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif

// On other processors, or on request, uses the C library's contexts, several times slower.
#if !defined(__x86_64__) && !defined(__aarch64__) && !defined(NC_PORTABLE_FIBRES)
#define NC_PORTABLE_FIBRES
#endif
#if defined(NC_PORTABLE_FIBRES)
#include <ucontext.h>
#endif

namespace {
thread_local nc::simt::Fibre* running = nullptr;
}

#if !defined(NC_PORTABLE_FIBRES)
// nc_simt_switch(from, to): saves the callee-saved registers on the current stack, stores its address at *from, and
// resumes the stack `to`. The system's swapcontext does the same with two system calls.
extern "C" __attribute__((visibility("hidden"))) void nc_simt_switch(void** from, void* to);
#if defined(__x86_64__)
asm(R"(
.text
.globl nc_simt_switch
.hidden nc_simt_switch
.type nc_simt_switch, @function
nc_simt_switch:
  pushq %rbp
  pushq %rbx
  pushq %r12
  pushq %r13
  pushq %r14
  pushq %r15
  movq %rsp, (%rdi)
  movq %rsi, %rsp
  popq %r15
  popq %r14
  popq %r13
  popq %r12
  popq %rbx
  popq %rbp
  ret
.size nc_simt_switch, . - nc_simt_switch
)");
// Six registers, the return address, and no return address for the called function.
constexpr size_t kSlots = 8, kReturn = 6;
#else
asm(R"(
.text
.globl nc_simt_switch
.hidden nc_simt_switch
.type nc_simt_switch, %function
nc_simt_switch:
  stp x29, x30, [sp, #-160]!
  stp x19, x20, [sp, #16]
  stp x21, x22, [sp, #32]
  stp x23, x24, [sp, #48]
  stp x25, x26, [sp, #64]
  stp x27, x28, [sp, #80]
  stp d8, d9, [sp, #96]
  stp d10, d11, [sp, #112]
  stp d12, d13, [sp, #128]
  stp d14, d15, [sp, #144]
  mov x9, sp
  str x9, [x0]
  mov sp, x1
  ldp x19, x20, [sp, #16]
  ldp x21, x22, [sp, #32]
  ldp x23, x24, [sp, #48]
  ldp x25, x26, [sp, #64]
  ldp x27, x28, [sp, #80]
  ldp d8, d9, [sp, #96]
  ldp d10, d11, [sp, #112]
  ldp d12, d13, [sp, #128]
  ldp d14, d15, [sp, #144]
  ldp x29, x30, [sp], #160
  ret
.size nc_simt_switch, . - nc_simt_switch
)");
constexpr size_t kSlots = 20, kReturn = 1;
#endif
#endif

namespace nc {
namespace simt {

#if defined(NC_PORTABLE_FIBRES)
struct Fibre::Context {
  ucontext_t machine;
};
#endif

Fibre::Fibre() {
  // The sanitizer needs the bounds of the stack that a switch leads to.
  pthread_attr_t attributes;
  void* memory = nullptr;
  if (pthread_getattr_np(pthread_self(), &attributes) != 0 ||
      pthread_attr_getstack(&attributes, &memory, &bytes_) != 0) {
    std::abort();
  }
  pthread_attr_destroy(&attributes);
  memory_ = static_cast<char*>(memory);
#if defined(NC_PORTABLE_FIBRES)
  at_ = new Context;
#endif
}

Fibre::Fibre(char* memory, size_t bytes) : memory_(memory), bytes_(bytes) {
#if defined(NC_PORTABLE_FIBRES)
  at_ = new Context;
#endif
}

Fibre::~Fibre() {
#if defined(NC_PORTABLE_FIBRES)
  delete static_cast<Context*>(at_);
#endif
}

void Fibre::start(void (*entry)(), size_t down) {
  entry_ = entry;
#if defined(NC_SANITIZED_KERNELS)
  // Frames that never returned are still poisoned: all of them, or the first ones of a fibre that ended.
  constexpr size_t first_frames = 1024;
  if (unfinished_) {
    __asan_unpoison_memory_region(memory_, bytes_);
  } else {
    __asan_unpoison_memory_region(memory_ + bytes_ - down - first_frames, first_frames);
  }
#endif
  unfinished_ = true;
#if defined(NC_PORTABLE_FIBRES)
  ucontext_t& machine = static_cast<Context*>(at_)->machine;
  getcontext(&machine);
  machine.uc_stack.ss_sp = memory_;
  machine.uc_stack.ss_size = bytes_ - down;
  machine.uc_link = nullptr;
  makecontext(&machine, begin, 0);
#else
  void** slots = reinterpret_cast<void**>(memory_ + bytes_ - down) - kSlots;
  for (size_t i = 0; i < kSlots; ++i) slots[i] = nullptr;
  slots[kReturn] = reinterpret_cast<void*>(&begin);
  at_ = slots;
#endif
}

void Fibre::begin() {
#if defined(NC_SANITIZED_KERNELS)
  __sanitizer_finish_switch_fiber(nullptr, nullptr, nullptr);
#endif
  running->entry_();
  std::abort();
}

void Fibre::switch_to(Fibre& other) {
  running = &other;
#if defined(NC_SANITIZED_KERNELS)
  __sanitizer_start_switch_fiber(&sanitizer_, other.memory_, other.bytes_);
#endif
#if defined(NC_PORTABLE_FIBRES)
  swapcontext(&static_cast<Context*>(at_)->machine, &static_cast<Context*>(other.at_)->machine);
#else
  nc_simt_switch(&at_, other.at_);
#endif
#if defined(NC_SANITIZED_KERNELS)
  __sanitizer_finish_switch_fiber(sanitizer_, nullptr, nullptr);
#endif
}

void Fibre::leave_for(Fibre& other) {
  running = &other;
  unfinished_ = false;
#if defined(NC_SANITIZED_KERNELS)
  __sanitizer_start_switch_fiber(nullptr, other.memory_, other.bytes_);
#endif
#if defined(NC_PORTABLE_FIBRES)
  setcontext(&static_cast<Context*>(other.at_)->machine);
#else
  nc_simt_switch(&at_, other.at_);
#endif
  std::abort();
}

}  // namespace simt
}  // namespace nc
