// Errors: thrown as Failure inside the library; guarded() turns them into a status and a message at the C ABI.
#pragma once

#include <cstdarg>
#include <exception>
#include <new>

#include "normcore/normcore.h"

namespace nc {

constexpr int kMessageBytes = 512;

struct Failure {
  int32_t status;
  char message[kMessageBytes];
};

[[noreturn]] void fail(int32_t status, const char* format, ...) __attribute__((format(printf, 2, 3)));

// Stores the message for the calling thread and returns the status.
int32_t report(int32_t status, const char* message) noexcept;

template <class F>
int32_t guarded(F f) noexcept {
  try {
    f();
    return NC_OK;
  } catch (const Failure& failure) {
    return report(failure.status, failure.message);
  } catch (const std::bad_alloc&) {
    return report(NC_OUT_OF_MEMORY, "out of memory");
  } catch (const std::exception& e) {
    return report(NC_INTERNAL_ERROR, e.what());
  } catch (...) {
    return report(NC_INTERNAL_ERROR, "an unknown error");
  }
}

}  // namespace nc
