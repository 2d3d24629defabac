// A CUDA graph captured from a stream, in whatever the tests run on: the simulator (captured_graph_simulated.cpp) or a
// driver (tests/gpu/captured_graph_driver.cpp).
#pragma once

#include <cstdint>
#include <memory>
#include <string>

namespace harness {

class CapturedGraph {
 public:
  // Why nothing can be captured here; empty if something can.
  static std::string absence();

  // From now on what is put into the stream is captured, in the mode that forbids the most.
  static void begin(int64_t stream);
  // Ends the capture; throws if something in between was not allowed.
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
