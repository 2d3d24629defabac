// Included by a test: makes the fake plugin the CUDA plugin of libnormcore.so, and gives access to its records.
#pragma once

#include <dlfcn.h>

#include <cstdlib>

#include "c_api/fake_plugin.h"

namespace harness {

// Must run first: the library looks for its plugin once.
inline const int fake_plugin_is_named = setenv("NORMCORE_CUDA_LIBRARY", FAKE_PLUGIN_FILE, 1);

inline FakePlugin& fake() {
  static const auto get =
      reinterpret_cast<fake_plugin_function>(dlsym(dlopen(FAKE_PLUGIN_FILE, RTLD_NOW), FAKE_PLUGIN_SYMBOL));
  return get();
}

}  // namespace harness
