#include "kernels.h"
#include "packet.h"

namespace nc {
inline namespace NC_LEVEL {
void rotary(const RotarySpec&, const RotaryArguments&) {}
}  // namespace NC_LEVEL
}  // namespace nc
