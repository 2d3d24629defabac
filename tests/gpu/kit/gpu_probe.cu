// gpu_probe: prints the driver's properties of device 0, one line of JSON for each fact. pack.sh builds it with nvcc;
// it needs only the driver. Exit status 2 if there is no device.
#include <cuda_runtime.h>

#include <cstdio>

namespace {

__global__ void nothing() {}

bool failed(cudaError_t error, const char* what) {
  if (error == cudaSuccess) return false;
  std::printf("{\"result\": \"fact\", \"name\": \"%s\", \"error\": \"%s\"}\n", what, cudaGetErrorString(error));
  cudaGetLastError();
  return true;
}

void fact(const char* name, long long value) {
  std::printf("{\"result\": \"fact\", \"name\": \"%s\", \"value\": %lld}\n", name, value);
  std::fflush(stdout);
}

void attribute(const char* name, cudaDeviceAttr which) {
  int value = 0;
  if (!failed(cudaDeviceGetAttribute(&value, which, 0), name)) fact(name, value);
}

// How many clusters of this size the device holds at once, for blocks like those of the norms' longest rows.
void clusters(int size, int shared_bytes) {
  char name[64];
  std::snprintf(name, sizeof(name), "clusters_of_%d_with_%d_kb", size, shared_bytes / 1024);
  if (failed(cudaFuncSetAttribute(nothing, cudaFuncAttributeNonPortableClusterSizeAllowed, 1), name)) return;
  if (failed(cudaFuncSetAttribute(nothing, cudaFuncAttributeMaxDynamicSharedMemorySize, shared_bytes), name)) return;
  cudaLaunchAttribute of_cluster;
  of_cluster.id = cudaLaunchAttributeClusterDimension;
  of_cluster.val.clusterDim.x = static_cast<unsigned>(size);
  of_cluster.val.clusterDim.y = of_cluster.val.clusterDim.z = 1;
  cudaLaunchConfig_t config{};
  config.gridDim = dim3(static_cast<unsigned>(size));
  config.blockDim = dim3(256);
  config.dynamicSmemBytes = static_cast<size_t>(shared_bytes);
  config.attrs = &of_cluster;
  config.numAttrs = 1;
  int count = 0;
  if (!failed(cudaOccupancyMaxActiveClusters(&count, nothing, &config), name)) fact(name, count);
}

}  // namespace

int main() {
  int devices = 0;
  const cudaError_t error = cudaGetDeviceCount(&devices);
  if (error != cudaSuccess || devices == 0) {
    std::printf("no CUDA device: %s\n", error == cudaSuccess ? "the driver has none" : cudaGetErrorString(error));
    return 2;
  }
  int version = 0;
  if (!failed(cudaDriverGetVersion(&version), "driver_cuda_version")) fact("driver_cuda_version", version);
  if (!failed(cudaRuntimeGetVersion(&version), "runtime_version")) fact("runtime_version", version);
  attribute("multiprocessors", cudaDevAttrMultiProcessorCount);
  attribute("clock_khz", cudaDevAttrClockRate);
  attribute("memory_clock_khz", cudaDevAttrMemoryClockRate);
  attribute("l2_bytes", cudaDevAttrL2CacheSize);
  attribute("shared_bytes_optin", cudaDevAttrMaxSharedMemoryPerBlockOptin);
  attribute("pageable_memory_access", cudaDevAttrPageableMemoryAccess);
  attribute("cluster_launch", cudaDevAttrClusterLaunch);
  int most = 0;
  if (cudaDeviceGetAttribute(&most, cudaDevAttrMaxSharedMemoryPerBlockOptin, 0) == cudaSuccess) {
    for (const int size : {2, 4, 8, 16}) clusters(size, most);
    // The forward's blocks have almost no shared memory.
    for (const int size : {2, 4, 8, 16}) clusters(size, 1024);
  }
  return 0;
}
