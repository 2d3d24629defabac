// The calls that apply a rotary position embedding. They check all arguments before any work.
#include <algorithm>
#include <cinttypes>

#include "rotary_plan.h"

namespace nc {
namespace {

// As passed by callers; strides in elements.
struct RotaryCall {
  int32_t backward;
  int64_t batch, seq, heads, x, x_batch_stride, x_seq_stride, x_head_stride, cos, sin, table_batch_rows, y,
      y_batch_stride, y_seq_stride, y_head_stride;
};

struct Rotary {
  RotaryArguments arguments;
  Tensor tensors[4];  // x, cos, sin, y
};

struct Dimension {
  const char* name;
  int64_t extent;
  int64_t stride_bytes;  // 0 if the extent is 1
};

// batch x seq x heads of head_bytes each.
struct Heads {
  const char* name;
  int64_t address;
  int64_t head_bytes;
  Dimension of[3];      // batch, seq, head
  Dimension sorted[3];  // the same, the shortest stride first

  bool empty() const { return of[0].extent == 0 || of[1].extent == 0 || of[2].extent == 0; }
  bool has_strides_of(const Heads& o) const {
    for (int i = 0; i < 3; ++i) {
      if (of[i].stride_bytes != o.of[i].stride_bytes) return false;
    }
    return true;
  }
  // From the first byte to the last.
  int64_t extent() const {
    int64_t bytes = head_bytes;
    for (const Dimension& d : of) bytes += (d.extent - 1) * d.stride_bytes;
    return bytes;
  }
  // The bounding range, for coarse checks.
  Tensor whole() const {
    if (address == 0 || empty()) return {name, 0, 0, 0, 0, 1};
    return {name, address, 1, extent(), extent(), 1};
  }
  HeadStrides strides() const { return {of[0].stride_bytes, of[1].stride_bytes, of[2].stride_bytes}; }
};

void require_extent(const char* name, int64_t value) {
  if (value < 0) fail(NC_INVALID_ARGUMENT, "%s: %" PRId64 ", expected at least 0", name, value);
}

Heads heads_of(const char* name, const RotarySpec& spec, const RotaryCall& call, int64_t address,
               const int64_t (&strides)[3]) {
  const int64_t width = bytes_of(spec.x);
  Heads h{name,
          address,
          spec.head_dim * width,
          {{"batch", call.batch, 0}, {"seq", call.seq, 0}, {"head", call.heads, 0}},
          {}};
  int64_t end = 0;
  bool fits = !__builtin_add_overflow(address, h.head_bytes, &end);
  for (int i = 0; i < 3; ++i) {
    Dimension& d = h.of[i];
    if (h.empty() || d.extent == 1) continue;
    if (strides[i] < 0) {
      fail(NC_INVALID_ARGUMENT, "%s: %s stride %" PRId64 ", expected at least 0", name, d.name, strides[i]);
    }
    int64_t bytes = 0;
    fits = fits && !__builtin_mul_overflow(strides[i], width, &d.stride_bytes) &&
           !__builtin_mul_overflow(d.stride_bytes, d.extent - 1, &bytes) && !__builtin_add_overflow(end, bytes, &end);
  }
  if (!fits) {
    fail(NC_INVALID_ARGUMENT,
         "%s: %" PRId64 " x %" PRId64 " x %" PRId64 " heads at strides of %" PRId64 ", %" PRId64 " and %" PRId64
         " elements exceed the address space",
         name, call.batch, call.seq, call.heads, strides[0], strides[1], strides[2]);
  }
  std::copy(h.of, h.of + 3, h.sorted);
  std::sort(h.sorted, h.sorted + 3, [](const Dimension& a, const Dimension& b) {
    return a.stride_bytes != b.stride_bytes ? a.stride_bytes < b.stride_bytes : a.extent < b.extent;
  });
  return h;
}

// Requires nested strides: each at least as long as the extent of the shorter ones.
void require_heads_apart(const Heads& h, int64_t width) {
  if (h.empty()) return;
  int64_t reach = h.head_bytes;
  for (const Dimension& d : h.sorted) {
    if (d.extent == 1) continue;
    if (d.stride_bytes < reach) {
      fail(NC_INVALID_ARGUMENT,
           "%s: %s stride %" PRId64 ", expected at least %" PRId64 ": the extent of the shorter strides", h.name,
           d.name, d.stride_bytes / width, reach / width);
    }
    reach += (d.extent - 1) * d.stride_bytes;
  }
}

// Whether non-overlapping heads share a byte with a tensor of the same shape and strides at a byte offset. Recurses
// over the first `dimensions` sorted dimensions.
bool heads_overlap(const Heads& h, int64_t offset, int dimensions) {
  if (dimensions == 0) return -h.head_bytes < offset && offset < h.head_bytes;
  const Dimension& d = h.sorted[dimensions - 1];
  if (d.extent == 1) return heads_overlap(h, offset, dimensions - 1);
  // The shorter dimensions extend over less than one stride, so only two steps can overlap.
  const int64_t below = offset / d.stride_bytes - (offset % d.stride_bytes < 0 ? 1 : 0);
  for (const int64_t steps : {below, below + 1}) {
    if (-d.extent < steps && steps < d.extent && heads_overlap(h, offset - steps * d.stride_bytes, dimensions - 1)) {
      return true;
    }
  }
  return false;
}

void require_apart_or_in_place(const Heads& y, const Heads& x) {
  const bool same_strides = y.has_strides_of(x);
  if (!overlap(y.whole(), x.whole()) ||
      (same_strides && (y.address == x.address || !heads_overlap(y, x.address - y.address, 3)))) {
    return;
  }
  fail(NC_INVALID_ARGUMENT,
       "y: shares memory with x (addresses %" PRIx64 " and %" PRIx64
       "), expected memory of its own, or exactly the same address and strides",
       static_cast<uint64_t>(y.address), static_cast<uint64_t>(x.address));
}

int64_t tokens_of(const RotaryCall& call) {
  int64_t tokens;
  if (__builtin_mul_overflow(call.batch, call.seq, &tokens)) {
    fail(NC_INVALID_ARGUMENT, "batch: %" PRId64 " with a seq of %" PRId64 " exceeds the address space", call.batch,
         call.seq);
  }
  return tokens;
}

// The number of table rows, up to that of the last token.
int64_t table_rows(const RotaryCall& call) {
  if (call.table_batch_rows != 0 && call.table_batch_rows < call.seq) {
    fail(NC_INVALID_ARGUMENT,
         "table_batch_rows: %" PRId64 ", expected at least seq, %" PRId64 ", or 0 for the same rows in every batch",
         call.table_batch_rows, call.seq);
  }
  if (call.batch == 0 || call.seq == 0 || call.heads == 0) return 0;
  int64_t rows;
  if (__builtin_mul_overflow(call.table_batch_rows, call.batch - 1, &rows) ||
      __builtin_add_overflow(rows, call.seq, &rows)) {
    fail(NC_INVALID_ARGUMENT, "table_batch_rows: %" PRId64 " with a batch of %" PRId64 " exceeds the address space",
         call.table_batch_rows, call.batch);
  }
  return rows;
}

Rotary checked(const RotarySpec& spec, const RotaryCall& call) {
  if (call.backward != 0 && call.backward != 1) {
    fail(NC_INVALID_ARGUMENT, "backward: %d, expected 0 or 1", call.backward);
  }
  require_extent("batch", call.batch);
  require_extent("seq", call.seq);
  require_extent("heads", call.heads);
  const int64_t tokens = tokens_of(call);
  const int64_t half = spec.rotary_dim / 2;
  const int64_t rows = table_rows(call);
  const Heads x = heads_of("x", spec, call, call.x, {call.x_batch_stride, call.x_seq_stride, call.x_head_stride});
  const Heads y = heads_of("y", spec, call, call.y, {call.y_batch_stride, call.y_seq_stride, call.y_head_stride});
  const Tensor cos = matrix("cos", call.cos, rows, half, half, bytes_of(spec.table));
  const Tensor sin = matrix("sin", call.sin, rows, half, half, bytes_of(spec.table));
  const Rotary rotary{{call.seq, call.heads, 0, call.heads == 0 ? 0 : tokens, reinterpret_cast<const char*>(call.x),
                       x.strides(), reinterpret_cast<const char*>(call.cos), reinterpret_cast<const char*>(call.sin),
                       call.table_batch_rows, reinterpret_cast<char*>(call.y), y.strides(), call.backward != 0},
                      {x.whole(), cos, sin, y.whole()}};
  require_heads_apart(y, bytes_of(spec.x));
  if (x.empty()) return rotary;
  require_present(rotary.tensors[0], "it is the input");
  require_present(cos, "it is part of the table");
  require_present(sin, "it is part of the table");
  require_present(rotary.tensors[3], "it is the output");
  require_apart_or_in_place(y, x);
  require_apart(rotary.tensors[3], cos);
  require_apart(rotary.tensors[3], sin);
  return rotary;
}

}  // namespace
}  // namespace nc

extern "C" {

int32_t nc_rotary_apply(int64_t plan, int32_t backward, int64_t batch, int64_t seq, int64_t heads, int64_t token_begin,
                        int64_t token_end, int64_t x, int64_t x_batch_stride, int64_t x_seq_stride,
                        int64_t x_head_stride, int64_t cos, int64_t sin, int64_t table_batch_rows, int64_t y,
                        int64_t y_batch_stride, int64_t y_seq_stride, int64_t y_head_stride) NC_NOEXCEPT {
  return nc::guarded([&] {
    const nc::RotaryPlan& p = nc::rotary_plan_of(plan);
    if (p.cpu == nullptr) {
      nc::fail(NC_INVALID_ARGUMENT,
               "plan: for CUDA device %d, expected a plan for the CPU; call nc_cuda_rotary_apply for this one",
               p.cuda->device());
    }
    nc::Rotary r = nc::checked(p.spec, {backward, batch, seq, heads, x, x_batch_stride, x_seq_stride, x_head_stride,
                                        cos, sin, table_batch_rows, y, y_batch_stride, y_seq_stride, y_head_stride});
    nc::require_within("token range", token_begin, token_end, batch * seq);
    if (r.arguments.token_end == 0 || token_begin == token_end) return;
    r.arguments.token_begin = token_begin;
    r.arguments.token_end = token_end;
    p.cpu->rotary(p.spec, r.arguments);
  });
}

int32_t nc_cuda_rotary_apply(int64_t plan, int32_t backward, int64_t batch, int64_t seq, int64_t heads, int64_t x,
                             int64_t x_batch_stride, int64_t x_seq_stride, int64_t x_head_stride, int64_t cos,
                             int64_t sin, int64_t table_batch_rows, int64_t y, int64_t y_batch_stride,
                             int64_t y_seq_stride, int64_t y_head_stride, int64_t stream) NC_NOEXCEPT {
  return nc::guarded([&] {
    const nc::RotaryPlan& p = nc::rotary_plan_of(plan);
    if (p.cuda == nullptr) {
      nc::fail(NC_INVALID_ARGUMENT,
               "plan: for the CPU, expected a plan for a CUDA device; call nc_rotary_apply for this one");
    }
    const nc::Rotary r =
        nc::checked(p.spec, {backward, batch, seq, heads, x, x_batch_stride, x_seq_stride, x_head_stride, cos, sin,
                             table_batch_rows, y, y_batch_stride, y_seq_stride, y_head_stride});
    for (const nc::Tensor& tensor : r.tensors) p.cuda->require_reachable(tensor);
    if (r.arguments.token_end > 0) p.cuda->apply(p.spec, r.arguments, stream);
  });
}

}  // extern "C"
