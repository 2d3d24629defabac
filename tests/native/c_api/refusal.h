// The expectation of a refused call.
#pragma once

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "normcore/normcore.h"

namespace harness {

using Strings = std::vector<std::string>;

// The status, each of these parts in the message, and what was expected, unless the machine failed.
inline void expectRefused(int32_t expected, int32_t status, const Strings& parts, const std::string& what) {
  const std::string message = nc_last_error();
  EXPECT_EQ(expected, status) << what << ": " << message;
  if (status == NC_OK) return;
  for (const std::string& part : parts) {
    EXPECT_NE(std::string::npos, message.find(part)) << what << ": \"" << message << "\" lacks \"" << part << "\"";
  }
  bool says_why = expected == NC_CUDA_ERROR || expected == NC_OUT_OF_MEMORY;
  for (const char* words : {"expected", ", but ", "exceed", "does not have"}) {
    says_why = says_why || message.find(words) != std::string::npos;
  }
  EXPECT_TRUE(says_why) << what << ": \"" << message << "\" does not say what was expected";
}

}  // namespace harness
