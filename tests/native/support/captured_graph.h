// A CUDA graph captured from a stream, on the tests' platform: the simulator (captured_graph_simulated.cpp) or a driver
// (tests/gpu/bits/captured_graph_driver.cpp).
#pragma once

#include <cstdint>
#include <memory>
#include <string>

namespace harness {

class CapturedGraph {
 public:
  // Why capture is unavailable; empty if it is available.
  static std::string absence();

  // Begins to capture the stream, in the strictest mode.
  static void begin(int64_t stream);
  // Ends the capture; throws if a call during it was not allowed.
  explicit CapturedGraph(int64_t stream);
  CapturedGraph(const CapturedGraph&) = delete;
  CapturedGraph& operator=(const CapturedGraph&) = delete;
  ~CapturedGraph();

  void launch(int64_t stream) const;

 private:
  void* graph_ = nullptr;
  void* executable_ = nullptr;
};

}  // namespace harness
