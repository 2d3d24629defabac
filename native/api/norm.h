// What the forward and the backward of a norm have in common.
#pragma once

#include "call.h"
#include "operands.h"

namespace nc {

void require_rows(int64_t rows);
void require_reserved(int32_t reserved);

// The shape and the types of a norm's operands.
Shape shape_of(const NormSpec& spec, int64_t rows);

// Requires weight or bias as the plan has it.
void require_affine(const Tensor& t, bool has);

// Bytes of workspace of one gradient of a backward.
int64_t gradient_workspace_bytes_of(const NormSpec& spec, int64_t rows);

// Whether the inputs are probably not cached, so that prefetch pays off.
bool beyond_cache(const Tensor& input);

// Whether to use non-temporal stores for an output.
bool non_temporal(const Tensor& output);

}  // namespace nc
