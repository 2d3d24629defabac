// Structures of callers, which may be of another version of the header: the first field is struct_size.
#pragma once

#include <cstddef>
#include <cstdint>

namespace nc {

// Whether `given` has all `known` bytes of the structure, so that it can be used as it is. Otherwise copies it to
// `copy` and sets the missing fields to 0. Refuses null, a structure shorter than its first version, and one with a
// byte other than 0 beyond the known ones.
bool is_complete(const void* given, size_t known, size_t first_version, void* copy, const char* name);

template <class T>
class Structure {
 public:
  // name: of the parameter. first_version: the size of the structure's first version.
  Structure(const T* given, const char* name, size_t first_version = sizeof(T))
      : fields_(is_complete(given, sizeof(T), first_version, &copy_, name) ? given : &copy_) {}
  Structure(const Structure&) = delete;

  const T& operator*() const { return *fields_; }

 private:
  T copy_;
  const T* fields_;
};

}  // namespace nc
