// Rotary position embedding.
#include <algorithm>

#include "call.h"

namespace nc {
namespace {

using A = nc_rotary_args;

char* pointer_to(int64_t address) { return reinterpret_cast<char*>(address); }

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

Heads heads_of(const char* name, const RotarySpec& spec, const A& args, int64_t address, const int64_t (&strides)[3]) {
  const int64_t width = bytes_of(spec.x);
  Heads h{name,
          address,
          spec.head_dim * width,
          {{"batch", args.batch, 0}, {"seq", args.seq, 0}, {"head", args.heads, 0}},
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
         name, args.batch, args.seq, args.heads, strides[0], strides[1], strides[2]);
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

int64_t tokens_of(const A& args) {
  int64_t tokens;
  if (__builtin_mul_overflow(args.batch, args.seq, &tokens)) {
    fail(NC_INVALID_ARGUMENT, "batch: %" PRId64 " with a seq of %" PRId64 " exceeds the address space", args.batch,
         args.seq);
  }
  return tokens;
}

// The number of table rows, up to that of the last token.
int64_t table_rows(const A& args) {
  if (args.table_batch_rows != 0 && args.table_batch_rows < args.seq) {
    fail(NC_INVALID_ARGUMENT,
         "table_batch_rows: %" PRId64 ", expected at least seq, %" PRId64 ", or 0 for the same rows in every batch",
         args.table_batch_rows, args.seq);
  }
  if (args.batch == 0 || args.seq == 0 || args.heads == 0) return 0;
  int64_t rows;
  if (__builtin_mul_overflow(args.table_batch_rows, args.batch - 1, &rows) ||
      __builtin_add_overflow(rows, args.seq, &rows)) {
    fail(NC_INVALID_ARGUMENT, "table_batch_rows: %" PRId64 " with a batch of %" PRId64 " exceeds the address space",
         args.table_batch_rows, args.batch);
  }
  return rows;
}

struct RotaryApply {
  using Kind = RotaryKind;
  using Args = A;
  static constexpr const char* kUnits[2] = {"token range", "range of no units"};

  static void check(const RotaryPlan& plan, const Args& args, Call& call) {
    const RotarySpec& spec = plan.spec;
    if (args.backward != 0 && args.backward != 1) {
      fail(NC_INVALID_ARGUMENT, "backward: %d, expected 0 or 1", args.backward);
    }
    require_not_negative("batch", args.batch);
    require_not_negative("seq", args.seq);
    require_not_negative("heads", args.heads);
    const int64_t tokens = tokens_of(args);
    const int64_t half = spec.rotary_dim / 2;
    const int64_t rows = table_rows(args);
    const Heads x = heads_of("x", spec, args, args.x, {args.x_batch_stride, args.x_seq_stride, args.x_head_stride});
    const Heads y = heads_of("y", spec, args, args.y, {args.y_batch_stride, args.y_seq_stride, args.y_head_stride});
    const Tensor cos = matrix("cos", args.cos, rows, half, half, bytes_of(spec.table));
    const Tensor sin = matrix("sin", args.sin, rows, half, half, bytes_of(spec.table));
    require_heads_apart(y, bytes_of(spec.x));
    call.units[0] = x.empty() ? 0 : tokens;
    call.rotary = {args.seq,
                   args.heads,
                   0,
                   tokens,
                   pointer_to(args.x),
                   x.strides(),
                   pointer_to(args.cos),
                   pointer_to(args.sin),
                   args.table_batch_rows,
                   pointer_to(args.y),
                   y.strides(),
                   args.backward != 0};
    if (x.empty()) return;
    const Tensor tensors[] = {x.whole(), cos, sin, y.whole()};
    const Tensor& whole_y = tensors[3];
    require_present(tensors[0], "it is the input");
    require_present(cos, "it is part of the table");
    require_present(sin, "it is part of the table");
    require_present(whole_y, "it is the output");
    require_apart_or_in_place(y, x);
    require_apart(whole_y, cos);
    require_apart(whole_y, sin);
    require_reachable(plan, tensors);
  }

  static void run(const RotaryPlan& plan, const Call& call, int32_t, int64_t begin, int64_t end) {
    RotaryArguments a = call.rotary;
    a.token_begin = begin;
    a.token_end = end;
    plan.cpu.run(plan.spec, plan.cpu, a);
  }

  static void launch(const RotaryPlan& plan, const Call& call, int64_t stream) {
    const auto& cuda = *plan.cuda;
    if (call.units[0] > 0) {
      cuda.require(cuda.plugin.rotary(cuda.device, plan.spec, call.rotary, stream), "starting the rotary embedding");
    }
  }
};

}  // namespace
}  // namespace nc

extern "C" {

int32_t nc_rotary_apply(int64_t plan, const nc_rotary_args* args) NC_NOEXCEPT {
  return nc::run_whole<nc::RotaryApply>(plan, args);
}

int32_t nc_rotary_begin(int64_t plan, const nc_rotary_args* args, void* call, int64_t units[2]) NC_NOEXCEPT {
  return nc::begin_call<nc::RotaryApply>(plan, args, call, units);
}

}  // extern "C"
