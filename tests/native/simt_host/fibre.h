// Threads of control that give way to each other by hand: each has a stack and remembers where on it it stopped.
#pragma once

#include <cstddef>

namespace nc {
namespace simt {

class Fibre {
 public:
  // The calling thread itself, on the stack that the system gave it.
  Fibre();
  // On memory that has to outlive it; a page below it should be a guard. entry never returns: it leaves for good.
  Fibre(char* memory, size_t bytes);
  Fibre(const Fibre&) = delete;
  Fibre& operator=(const Fibre&) = delete;
  ~Fibre();

  // Makes the next switch to it call entry. Whatever was on its stack is dropped. `down`: how far below the end of its
  // memory it starts, a multiple of 16: stacks that start at the same place of a page compete for the same cache lines.
  void start(void (*entry)(), size_t down);
  // Leaves this fibre, which is running, for another. Comes back when another one switches to it.
  void switch_to(Fibre& other);
  // The same, never to come back.
  [[noreturn]] void leave_for(Fibre& other);

  struct Context;

 private:
  static void begin();

  char* memory_;
  size_t bytes_;
  void* at_ = nullptr;  // where on the stack, or of the portable form the context
  void (*entry_)() = nullptr;
  void* sanitizer_ = nullptr;  // what the address sanitizer keeps for the stack that is not in use
  bool unfinished_ = false;    // was left without an end, and the sanitizer still watches its frames
};

}  // namespace simt
}  // namespace nc
