#include "norm.h"

#include "../core/workspace.h"
#include "../cpu/caches.h"

namespace nc {
namespace {

int64_t bytes_of_compute(Compute compute) { return compute == Compute::float64 ? 8 : 4; }

uint64_t bytes_in(const Tensor& t) { return t.present() ? static_cast<uint64_t>(t.rows * t.row_bytes) : 0; }
uint64_t cache() { return static_cast<uint64_t>(last_level_cache()); }

void require_wants(const char* name, int32_t wants, const char* parameter, bool has) {
  require_range(name, wants, 1);
  if (wants != 0 && !has) fail(NC_INVALID_ARGUMENT, "%s: 1, expected 0: the plan has no %s", name, parameter);
}

}  // namespace

void require_rows(int64_t rows) { require_not_negative("rows", rows); }

void require_reserved(int32_t reserved) {
  if (reserved != 0) fail(NC_INVALID_ARGUMENT, "reserved: %d, expected 0", reserved);
}

Shape shape_of(const NormSpec& spec, int64_t rows) {
  require_rows(rows);
  Shape shape{rows, spec.hidden_size, "hidden size"};
  shape.scaling = spec.scaling;
  shape.set(Element::x, bytes_of(spec.x));
  shape.set(Element::weight, bytes_of(spec.weight));
  shape.set(Element::y, bytes_of(spec.y));
  shape.set(Element::q, bytes_of(spec.scaling == Scaling::none ? spec.y : spec.quantized));
  shape.set(Element::compute, bytes_of_compute(spec.compute));
  shape.set(Element::float32, 4);
  return shape;
}

void require_affine(const Tensor& t, bool has) {
  if (has) {
    require_present(t, "the plan has one");
  } else {
    require_absent(t, "the plan has none");
  }
}

int64_t gradient_workspace_bytes_of(const NormSpec& spec, int64_t rows) {
  return gradient_workspace_bytes(rows, spec.hidden_size, bytes_of_compute(spec.compute));
}

// For a cached input, prefetch costs more than it saves. The threshold is a quarter of the cache, because there are two
// or three such tensors and other cores share it.
bool beyond_cache(const Tensor& input) { return bytes_in(input) >= cache() / 4; }

// A large output would be evicted before anything reads it, and ordinary stores read each line first. The threshold is
// half of the last-level cache, because the input needs the other half.
bool non_temporal(const Tensor& output) {
  return output.present() && bytes_in(output) >= cache() / 2 && output.address % kNonTemporalAlignment == 0 &&
         (output.rows <= 1 || output.stride_bytes % kNonTemporalAlignment == 0);
}

}  // namespace nc

extern "C" {

int32_t nc_norm_backward_groups(int64_t plan, int64_t rows, int64_t* groups) NC_NOEXCEPT {
  return nc::guarded([&] {
    nc::require_rows(rows);
    if (groups == nullptr) nc::fail(NC_INVALID_ARGUMENT, "groups: null, expected an address");
    *groups = nc::groups(rows, nc::plan_of<nc::NormKind>(plan).spec.hidden_size);
  });
}

int32_t nc_norm_backward_workspace(int64_t plan, int64_t rows, int32_t wants_dweight, int32_t wants_dbias,
                                   int64_t* bytes) NC_NOEXCEPT {
  return nc::guarded([&] {
    const nc::NormSpec& spec = nc::plan_of<nc::NormKind>(plan).spec;
    nc::require_rows(rows);
    nc::require_wants("wants_dweight", wants_dweight, "weight", spec.has_weight);
    nc::require_wants("wants_dbias", wants_dbias, "bias", spec.has_bias);
    if (bytes == nullptr) nc::fail(NC_INVALID_ARGUMENT, "bytes: null, expected an address");
    *bytes = nc::gradient_workspace_bytes_of(spec, rows) * (wants_dweight + wants_dbias);
  });
}

int32_t nc_cuda_norm_kernels(int64_t plan, int64_t text, int64_t capacity) NC_NOEXCEPT {
  return nc::guarded([&] {
    if (text == 0) nc::fail(NC_INVALID_ARGUMENT, "text: 0, expected the address of %" PRId64 " bytes", capacity);
    if (capacity < 1) nc::fail(NC_INVALID_ARGUMENT, "capacity: %" PRId64 ", expected at least 1", capacity);
    const auto* const cuda = nc::plan_of<nc::NormKind>(plan).cuda.get();
    if (cuda == nullptr) nc::fail(NC_INVALID_ARGUMENT, "plan: for the CPU, expected a plan for a CUDA device");
    cuda->require(cuda->plugin.describe(cuda->prepared, reinterpret_cast<char*>(text), capacity), "naming the kernels");
  });
}

}  // extern "C"
