// The simulated runtime: streams, whose work runs when something waits for it, and stream captures.
#include <algorithm>
#include <memory>
#include <set>

#include "control.h"
#include "device.h"

struct CUgraph_st {
  std::vector<nc::simt::host::Work> work;
};
struct CUgraphExec_st {
  std::vector<nc::simt::host::Work> work;
};

namespace nc {
namespace simt {
namespace host {
namespace {

struct Streams {
  CUstream_st by_default[kDevices] = {{0, {}, {}}, {1, {}, {}}};
  std::set<cudaStream_t> created, destroyed, captured;
};
Streams& streams() {
  static auto* const all = new Streams;
  return *all;
}

thread_local cudaStreamCaptureMode own_mode = cudaStreamCaptureModeGlobal;

// The caller holds the lock.
cudaStream_t known(cudaStream_t stream) {
  if (stream == nullptr) return &streams().by_default[current_device()];
  return streams().created.count(stream) != 0 ? stream : nullptr;
}

void end_capture(cudaStream_t stream) {
  streams().captured.erase(stream);
  delete stream->capture;
  stream->capture = nullptr;
}

// Runs a stream's work in order; stops at the first error.
cudaError_t run_stream(cudaStream_t stream) {
  const std::lock_guard<std::mutex> alone(stream->running);
  while (true) {
    Work work;
    {
      const std::lock_guard<std::mutex> hold(lock);
      if (stream->queue.empty()) return cudaSuccess;
      work = std::move(stream->queue.front());
      stream->queue.pop_front();
    }
    const cudaError_t error = work();
    if (error == cudaSuccess) continue;
    lose(stream->device, error);
    const std::lock_guard<std::mutex> hold(lock);
    stream->queue.clear();
    return error;
  }
}

std::vector<cudaStream_t> streams_of(int32_t device) {
  const std::lock_guard<std::mutex> hold(lock);
  std::vector<cudaStream_t> all = {&streams().by_default[device]};
  for (const auto* set : {&streams().created, &streams().destroyed}) {
    std::copy_if(set->begin(), set->end(), std::back_inserter(all),
                 [device](cudaStream_t stream) { return stream->device == device; });
  }
  return all;
}

}  // namespace

cudaStream_t stream_of(cudaStream_t stream) {
  const std::lock_guard<std::mutex> hold(lock);
  return known(stream);
}

bool is_captured(cudaStream_t stream) {
  const std::lock_guard<std::mutex> hold(lock);
  const cudaStream_t found = known(stream);
  return found != nullptr && found->capture != nullptr;
}

void break_capture(cudaStream_t stream) {
  const std::lock_guard<std::mutex> hold(lock);
  const cudaStream_t found = known(stream);
  if (found != nullptr && found->capture != nullptr) found->capture->broken = true;
}

cudaError_t enqueue(cudaStream_t stream, Work work) {
  const std::lock_guard<std::mutex> hold(lock);
  const cudaStream_t found = known(stream);
  if (found == nullptr) return refused(cudaErrorInvalidResourceHandle, "stream: there is no such stream");
  if (found->device != current_device()) {
    return refused(cudaErrorInvalidResourceHandle, "stream: one of another device than the current one");
  }
  if (found->capture == nullptr) {
    found->queue.push_back(std::move(work));
    return cudaSuccess;
  }
  if (found->capture->broken) return cudaErrorStreamCaptureInvalidated;
  found->capture->work.push_back(std::move(work));
  return cudaSuccess;
}

bool capture_forbids() {
  if (own_mode == cudaStreamCaptureModeRelaxed) return false;
  const std::lock_guard<std::mutex> hold(lock);
  bool forbidden = false;
  for (const cudaStream_t stream : streams().captured) {
    Capture& capture = *stream->capture;
    if (capture.mode == cudaStreamCaptureModeRelaxed) continue;
    const bool own = capture.thread == std::this_thread::get_id();
    if (!own && (capture.mode != cudaStreamCaptureModeGlobal || own_mode != cudaStreamCaptureModeGlobal)) continue;
    capture.broken = forbidden = true;
  }
  return forbidden;
}

cudaError_t run_all(int32_t device) {
  for (const cudaStream_t stream : streams_of(device)) {
    if (const cudaError_t error = run_stream(stream); error != cudaSuccess) return error;
  }
  return cudaSuccess;
}

void drop_all(int32_t device) {
  for (const cudaStream_t stream : streams_of(device)) {
    const std::lock_guard<std::mutex> alone(stream->running);
    const std::lock_guard<std::mutex> hold(lock);
    stream->queue.clear();
    if (stream->capture != nullptr) end_capture(stream);
  }
}

}  // namespace host

bool work_waits() {
  const std::lock_guard<std::mutex> hold(host::lock);
  if (!host::streams().captured.empty()) return true;
  const auto waits = [](cudaStream_t stream) { return !stream->queue.empty(); };
  const auto& created = host::streams().created;
  return std::any_of(created.begin(), created.end(), waits) || waits(&host::streams().by_default[0]) ||
         waits(&host::streams().by_default[1]);
}

}  // namespace simt
}  // namespace nc

using namespace nc::simt;
using namespace nc::simt::host;

cudaError_t cudaStreamCreateWithFlags(cudaStream_t* stream, unsigned flags) {
  if (const cudaError_t error = begin(); error != cudaSuccess) return noted(error);
  if (flags != cudaStreamNonBlocking) {
    return noted(refused(cudaErrorInvalidValue, "the simulator has no streams that wait for the default one"));
  }
  auto created = std::make_unique<CUstream_st>();
  created->device = current_device();
  const std::lock_guard<std::mutex> hold(lock);
  streams().created.insert(*stream = created.release());
  return cudaSuccess;
}

// Its work stays queued; only waiting for the whole device runs it.
cudaError_t cudaStreamDestroy(cudaStream_t stream) {
  if (const cudaError_t error = begin(); error != cudaSuccess) return noted(error);
  const std::lock_guard<std::mutex> hold(lock);
  if (streams().created.count(stream) == 0) return noted(cudaErrorInvalidResourceHandle);
  if (stream->capture != nullptr) end_capture(stream);
  streams().created.erase(stream);
  streams().destroyed.insert(stream);
  return cudaSuccess;
}

cudaError_t cudaStreamSynchronize(cudaStream_t stream) {
  if (const cudaError_t error = begin(); error != cudaSuccess) return noted(error);
  const cudaStream_t found = stream_of(stream);
  if (found == nullptr) return noted(refused(cudaErrorInvalidResourceHandle, "stream: there is no such stream"));
  if (is_captured(stream) || capture_forbids()) {
    break_capture(stream);
    return noted(refused(cudaErrorStreamCaptureUnsupported, "a wait while a stream is captured"));
  }
  return noted(run_stream(found));
}

cudaError_t cudaThreadExchangeStreamCaptureMode(cudaStreamCaptureMode* mode) {
  std::swap(*mode, own_mode);
  return cudaSuccess;
}

cudaError_t cudaStreamBeginCapture(cudaStream_t stream, cudaStreamCaptureMode mode) {
  if (const cudaError_t error = begin(); error != cudaSuccess) return noted(error);
  if (stream == nullptr) return noted(refused(cudaErrorStreamCaptureImplicit, "the default stream is not captured"));
  const std::lock_guard<std::mutex> hold(lock);
  if (known(stream) == nullptr) return noted(cudaErrorInvalidResourceHandle);
  if (stream->capture != nullptr) return noted(cudaErrorStreamCaptureUnsupported);
  stream->capture = new Capture{mode, std::this_thread::get_id(), false, {}};
  streams().captured.insert(stream);
  return cudaSuccess;
}

cudaError_t cudaStreamEndCapture(cudaStream_t stream, cudaGraph_t* graph) {
  if (const cudaError_t error = begin(); error != cudaSuccess) return noted(error);
  *graph = nullptr;
  const std::lock_guard<std::mutex> hold(lock);
  if (stream == nullptr || known(stream) == nullptr) return noted(cudaErrorInvalidResourceHandle);
  if (stream->capture == nullptr) return noted(cudaErrorStreamCaptureUnmatched);
  const Capture& capture = *stream->capture;
  if (capture.mode != cudaStreamCaptureModeRelaxed && capture.thread != std::this_thread::get_id()) {
    return noted(cudaErrorStreamCaptureWrongThread);
  }
  const bool broken = capture.broken;
  if (!broken) *graph = new CUgraph_st{capture.work};
  end_capture(stream);
  return broken ? noted(cudaErrorStreamCaptureInvalidated) : cudaSuccess;
}

cudaError_t cudaGraphInstantiate(cudaGraphExec_t* executable, cudaGraph_t graph, unsigned long long) {
  if (const cudaError_t error = begin(); error != cudaSuccess) return noted(error);
  *executable = new CUgraphExec_st{graph->work};
  return cudaSuccess;
}

cudaError_t cudaGraphLaunch(cudaGraphExec_t executable, cudaStream_t stream) {
  if (const cudaError_t error = begin(); error != cudaSuccess) return noted(error);
  for (const Work& work : executable->work) {
    if (const cudaError_t error = enqueue(stream, work); error != cudaSuccess) return noted(error);
  }
  return cudaSuccess;
}

cudaError_t cudaGraphExecDestroy(cudaGraphExec_t executable) {
  delete executable;
  return cudaSuccess;
}

cudaError_t cudaGraphDestroy(cudaGraph_t graph) {
  delete graph;
  return cudaSuccess;
}
