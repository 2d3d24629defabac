// Linked into a test, makes the simulator the CUDA plugin that libnormcore.so finds.
#include <cstdlib>

namespace {
[[maybe_unused]] const int named = setenv("NORMCORE_CUDA_LIBRARY", NC_SIMULATOR_FILE, 1);
}
