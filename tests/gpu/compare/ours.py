"""Normcore as a candidate: calls the library's C interface with given tensors."""

import torch

import cases
from tensors import EPSILON

NAME = "Normcore"


class Ours:
    def __init__(self, library, clock, device_index):
        self._library, self._clock, self._device = library, clock, device_index

    def prepare(self, group, kind, inputs):
        """Work on set i that returns its results by name, and a function that releases it."""
        plan = self._library.plan(
            group.op, group.n, group.x_dtype, group.weight_dtype, device=self._device, epsilon=EPSILON,
            rounding=group.rounding,
        )  # fmt: skip
        device = inputs.weight.device
        rows, stream = group.rows, self._clock.handle()
        bias = inputs.bias
        mean = torch.empty(inputs.sets, rows, device=device) if plan.has_bias else None
        rstd = torch.empty(inputs.sets, rows, device=device)

        def of(tensor, i=None):
            return 0 if tensor is None else (tensor if i is None else tensor[i]).data_ptr()

        def forward(i):
            residual = kind == cases.RESIDUAL_FORWARD
            saves = kind != cases.INFERENCE
            plan.forward(
                rows, of(inputs.x, i), of(inputs.weight), of(bias), of(inputs.out, i),
                of(mean, i) if saves else 0, of(rstd, i) if saves else 0,
                of(inputs.residual, i) if residual else 0, of(inputs.dy, i) if residual else 0, stream,
            )  # fmt: skip
            return {"y": inputs.out[i], **({"sum": inputs.dy[i]} if residual else {})}

        if kind not in cases.BACKWARD_KINDS:
            return forward, plan.close

        dweight = torch.empty_like(inputs.weight)
        dbias = torch.empty_like(dweight) if plan.has_bias else None
        size = plan.workspace_bytes(rows)
        workspace = torch.empty(max(1, -(-size // 8)), dtype=torch.float64, device=device)
        for i in range(inputs.sets):
            forward(i)

        def backward(i):
            plan.backward(
                rows, of(inputs.x, i), of(inputs.weight), of(inputs.dy, i), of(mean, i), of(rstd, i), of(inputs.out, i),
                of(dweight), of(dbias), of(workspace), size,
                of(inputs.residual, i) if kind == cases.RESIDUAL_BACKWARD else 0, stream,
            )  # fmt: skip
            return {"dx": inputs.out[i], "dweight": dweight, **({"dbias": dbias} if plan.has_bias else {})}

        return backward, plan.close
