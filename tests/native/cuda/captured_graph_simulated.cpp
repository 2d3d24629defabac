#include <cuda_runtime.h>

#include <stdexcept>

#include "support/captured_graph.h"

namespace harness {
namespace {

cudaStream_t stream_of(int64_t stream) { return reinterpret_cast<cudaStream_t>(stream); }

void require(cudaError_t error, const char* what) {
  if (error == cudaSuccess) return;
  static_cast<void>(cudaGetLastError());
  throw std::runtime_error(std::string(what) + ": " + cudaGetErrorName(error));
}

}  // namespace

std::string CapturedGraph::absence() { return ""; }

void CapturedGraph::begin(int64_t stream) {
  require(cudaStreamBeginCapture(stream_of(stream), cudaStreamCaptureModeGlobal), "cudaStreamBeginCapture");
}

CapturedGraph::CapturedGraph(int64_t stream) {
  cudaGraph_t graph = nullptr;
  require(cudaStreamEndCapture(stream_of(stream), &graph), "cudaStreamEndCapture");
  graph_ = graph;
  cudaGraphExec_t executable = nullptr;
  require(cudaGraphInstantiate(&executable, graph, 0), "cudaGraphInstantiate");
  executable_ = executable;
}

CapturedGraph::~CapturedGraph() {
  static_cast<void>(cudaGraphExecDestroy(static_cast<cudaGraphExec_t>(executable_)));
  static_cast<void>(cudaGraphDestroy(static_cast<cudaGraph_t>(graph_)));
}

void CapturedGraph::launch(int64_t stream) const {
  require(cudaGraphLaunch(static_cast<cudaGraphExec_t>(executable_), stream_of(stream)), "cudaGraphLaunch");
}

}  // namespace harness
