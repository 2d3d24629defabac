// Cooperative fibres: each has a stack and resumes where it was suspended.
#pragma once

#include <cstddef>

namespace nc {
namespace simt {

class Fibre {
 public:
  // The calling thread itself, on its system stack.
  Fibre();
  // Uses memory that must outlive the fibre; a page below it should be a guard. entry never returns: it calls
  // leave_for.
  Fibre(char* memory, size_t bytes);
  Fibre(const Fibre&) = delete;
  Fibre& operator=(const Fibre&) = delete;
  ~Fibre();

  // Makes the next switch to this fibre call entry. The stack's previous contents are dropped. `down`: how far below
  // the end of its memory the stack starts, a multiple of 16: stacks that start at the same page offset compete for the
  // same cache lines.
  void start(void (*entry)(), size_t down);
  // Suspends this fibre, which is running, and resumes another. Returns when another fibre switches back.
  void switch_to(Fibre& other);
  // The same, but never returns.
  [[noreturn]] void leave_for(Fibre& other);

  struct Context;

 private:
  static void begin();

  char* memory_;
  size_t bytes_;
  void* at_ = nullptr;  // stack pointer or, in the portable form, the context
  void (*entry_)() = nullptr;
  void* sanitizer_ = nullptr;  // the address sanitizer's state of the suspended stack
  bool unfinished_ = false;    // left without an end: the sanitizer still tracks its frames
};

}  // namespace simt
}  // namespace nc
