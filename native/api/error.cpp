#include "error.h"

#include <cstdio>

namespace nc {
namespace {
thread_local char last_message[kMessageBytes] = "";
}

void fail(int32_t status, const char* format, ...) {
  Failure failure;
  failure.status = status;
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(failure.message, sizeof(failure.message), format, arguments);
  va_end(arguments);
  throw failure;
}

int32_t report(int32_t status, const char* message) noexcept {
  snprintf(last_message, sizeof(last_message), "%s", message);
  return status;
}

}  // namespace nc

extern "C" const char* nc_last_error(void) NC_NOEXCEPT { return nc::last_message; }

extern "C" int32_t nc_version(void) NC_NOEXCEPT { return NC_VERSION; }
