#include "structure.h"

#include <cstring>

#include "error.h"

namespace nc {

bool is_complete(const void* given, size_t known, size_t first_version, void* copy, const char* name) {
  if (given == nullptr) fail(NC_INVALID_ARGUMENT, "%s: null, expected a structure", name);
  uint32_t size;
  std::memcpy(&size, given, sizeof(size));
  if (size == known) return true;
  if (size < first_version) {
    fail(NC_INVALID_ARGUMENT, "%s: struct_size %u, expected at least %zu, or %zu for all fields of this library", name,
         size, first_version, known);
  }
  if (size > known) {
    const char* const bytes = static_cast<const char*>(given);
    for (size_t i = known; i < size; ++i) {
      if (bytes[i] == 0) continue;
      fail(NC_INVALID_ARGUMENT,
           "%s: struct_size %u with a value at byte %zu, expected 0 from byte %zu on: this library has no such field",
           name, size, i, known);
    }
    return true;
  }
  std::memset(copy, 0, known);
  std::memcpy(copy, given, size);
  return false;
}

}  // namespace nc
