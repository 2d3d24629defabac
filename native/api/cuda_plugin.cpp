#include "cuda_plugin.h"

#include <dlfcn.h>

#include <cstdlib>

namespace nc {
namespace {

constexpr char kLibrary[] = "libnormcore_cuda.so";
constexpr char kVariable[] = "NORMCORE_CUDA_LIBRARY";

const CudaPlugin& table_of(void* library, const char* name) {
  const auto get = reinterpret_cast<nc_cuda_plugin_function>(dlsym(library, NC_CUDA_PLUGIN_SYMBOL));
  const CudaPlugin* table = get != nullptr ? get() : nullptr;
  if (table == nullptr) {
    fail(NC_UNSUPPORTED, "CUDA: %s is not a plugin of this library: it has no function %s", name,
         NC_CUDA_PLUGIN_SYMBOL);
  }
  if (table->version != kCudaPluginVersion) {
    fail(NC_UNSUPPORTED, "CUDA: the plugin %s has interface version %d, expected %d: use both libraries of one release",
         name, table->version, kCudaPluginVersion);
  }
  return *table;
}

int32_t devices_of(const CudaPlugin& plugin) {
  int32_t count = 0;
  const int32_t error = plugin.device_count(&count);
  if (error == kCudaInsufficientDriver) {
    fail(NC_UNSUPPORTED, "CUDA: the driver is missing or too old: %s (%s); install a current NVIDIA driver",
         plugin.error_name(error), plugin.error_text(error));
  }
  if (error != 0) {
    fail(NC_UNSUPPORTED, "CUDA: no device can be used: %s (%s)", plugin.error_name(error), plugin.error_text(error));
  }
  if (count < 1) fail(NC_UNSUPPORTED, "CUDA: the driver reports no device");
  return count;
}

void find(Cuda& answer) {
  const char* named = std::getenv(kVariable);
  const bool is_named = named != nullptr && named[0] != '\0';
  const char* name = is_named ? named : kLibrary;
  // A bare name also finds a library that the process has already loaded from any directory.
  void* library = dlopen(name, RTLD_NOW | RTLD_LOCAL);
  if (library == nullptr) {
    const char* why = dlerror();
    if (is_named) {
      fail(NC_UNSUPPORTED, "CUDA: the library that %s names cannot be loaded (dlopen: %s)", kVariable, why);
    }
    fail(NC_UNSUPPORTED,
         "CUDA: %s cannot be loaded; add org.normcore:normcore with the classifier linux-x86_64-gpu to the class "
         "path, or name the file in %s (dlopen: %s)",
         kLibrary, kVariable, why);
  }
  // An unusable library stays loaded: its code has run, so unloading it is a risk without a gain.
  const CudaPlugin& plugin = table_of(library, name);
  answer.devices = devices_of(plugin);
  answer.plugin = &plugin;
}

Cuda found() {
  Cuda answer{};
  try {
    find(answer);
  } catch (const Failure& failure) {
    static_assert(sizeof(answer.reason) == sizeof(failure.message));
    __builtin_memcpy(answer.reason, failure.message, sizeof(answer.reason));
  }
  return answer;
}

}  // namespace

const Cuda& cuda() {
  static const Cuda answer = found();
  return answer;
}

const Cuda& require_cuda() {
  const Cuda& answer = cuda();
  if (answer.plugin == nullptr) fail(NC_UNSUPPORTED, "%s", answer.reason);
  return answer;
}

void require_device(const Cuda& cuda, const char* name, int32_t index) {
  if (index < 0 || index >= cuda.devices) {
    fail(NC_INVALID_ARGUMENT, "%s: %d, expected 0 to %d: the CUDA devices of this machine", name, index,
         cuda.devices - 1);
  }
}

void require_success(const CudaPlugin& plugin, int32_t error, const char* what, int32_t device) {
  if (error == 0) return;
  fail(error == kCudaMemoryAllocation ? NC_OUT_OF_MEMORY : NC_CUDA_ERROR, "%s on CUDA device %d: %s (%s)", what, device,
       plugin.error_name(error), plugin.error_text(error));
}

}  // namespace nc
