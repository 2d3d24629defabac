// Uses the driver itself, loaded when a test runs: the kit is built on machines without one.
#include <dlfcn.h>

#include <stdexcept>

#include "support/captured_graph.h"

namespace harness {
namespace {

// The driver's handles are pointers, its results are int: see cuda.h.
struct Driver {
  int (*begin)(void* stream, int mode);
  int (*end)(void* stream, void** graph);
  int (*instantiate)(void** executable, void* graph, unsigned long long flags);
  int (*launch)(void* executable, void* stream);
  int (*destroy_executable)(void* executable);
  int (*destroy_graph)(void* graph);
  std::string absence;

  Driver() {
    void* const library = dlopen("libcuda.so.1", RTLD_NOW);
    if (library == nullptr) {
      absence = std::string("no driver: ") + dlerror();
      return;
    }
    find(library, "cuStreamBeginCapture_v2", begin);
    find(library, "cuStreamEndCapture", end);
    find(library, "cuGraphInstantiateWithFlags", instantiate);
    find(library, "cuGraphLaunch", launch);
    find(library, "cuGraphExecDestroy", destroy_executable);
    find(library, "cuGraphDestroy", destroy_graph);
  }
  template <class Function>
  void find(void* library, const char* name, Function& function) {
    function = reinterpret_cast<Function>(dlsym(library, name));
    if (function == nullptr) absence = std::string("the driver has no ") + name;
  }
};

const Driver& driver() {
  static const Driver found;
  return found;
}

void* stream_of(int64_t stream) { return reinterpret_cast<void*>(stream); }

void require(int result, const char* what) {
  if (result != 0) throw std::runtime_error(std::string(what) + ": CUDA driver error " + std::to_string(result));
}

constexpr int kCaptureModeGlobal = 0;

}  // namespace

std::string CapturedGraph::absence() { return driver().absence; }

void CapturedGraph::begin(int64_t stream) {
  require(driver().begin(stream_of(stream), kCaptureModeGlobal), "cuStreamBeginCapture");
}

CapturedGraph::CapturedGraph(int64_t stream) {
  require(driver().end(stream_of(stream), &graph_), "cuStreamEndCapture");
  require(driver().instantiate(&executable_, graph_, 0), "cuGraphInstantiateWithFlags");
}

CapturedGraph::~CapturedGraph() {
  if (executable_ != nullptr) driver().destroy_executable(executable_);
  if (graph_ != nullptr) driver().destroy_graph(graph_);
}

void CapturedGraph::launch(int64_t stream) const {
  require(driver().launch(executable_, stream_of(stream)), "cuGraphLaunch");
}

}  // namespace harness
