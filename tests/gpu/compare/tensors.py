"""The tensors of a group of cases, and the expected results."""

import dataclasses

import torch

EPSILON = 1e-5
TYPES = {"bfloat16": torch.bfloat16, "float32": torch.float32}

# Largest error, relative to the value or, below 1, absolute; the values here are of order 1. bfloat16: every result is
# rounded once, by 2^-9 of itself; norms that also round the normalised value, and products with it, round three times,
# for which 2^-7 leaves a margin of a third. float32: the order of sums differs, for up to 2^18 terms in chains of
# perhaps a thousand: 2^-24 times the root of their length, with a margin for approximate reciprocal roots.
TOLERANCES = {"bfloat16": 2.0**-7, "float32": 2.0**-16}
# An error in tolerances that means "wrong anywhere".
WRONG = 1e9
# y and dx are checked on this many rows at the beginning, in the middle and at the end.
CHECKED_ROWS = 64
# Maximum elements held in float64 at a time.
CHUNK = 1 << 25


class Pools:
    """Device memory for all tensors of the size of x, one set after the other: four pools, for x, for the residual or
    its gradient, for dy or the residual's sum, and for y or dx."""

    COUNT = 4

    def __init__(self, pool_bytes, device):
        self.bytes = pool_bytes
        self.device = device
        self.pools = [torch.empty(pool_bytes, dtype=torch.uint8, device=device) for _ in range(self.COUNT)]
        self._drawn = None

    def draw(self, dtype):
        """Fills all but the last pool with random numbers of the type, once."""
        if self._drawn == dtype:
            return
        for pool in self.pools[:-1]:
            for piece in pool.view(TYPES[dtype]).split(1 << 28):
                piece.normal_()
        self._drawn = dtype

    def sets(self, group, sets):
        size = group.tensor_bytes
        return [
            [pool[i * size : (i + 1) * size].view(TYPES[group.x_dtype]).view(group.rows, group.n) for i in range(sets)]
            for pool in self.pools
        ]

    def copy(self, moved_bytes, most_sets):
        """A copy that moves as many bytes, as a candidate for the clock, and the factor for its time: one pool may be
        less than half of the bytes."""
        wanted = moved_bytes // 2
        half = max(16, min(wanted, self.bytes) // 16 * 16)
        sets = max(1, min(most_sets, self.bytes // half))
        source, target = self.pools[0], self.pools[-1]

        def work(i):
            begin = i % sets * half
            target[begin : begin + half].copy_(source[begin : begin + half])

        return work, moved_bytes / 2 / half


@dataclasses.dataclass
class Inputs:
    """Tensors of a group, one list entry per set. Results may be written to out and, for the residual's sum, to dy."""

    x: list
    residual: list  # also the incoming gradient of the residual's sum
    dy: list
    out: list
    weight: torch.Tensor
    bias: torch.Tensor | None

    @property
    def sets(self):
        return len(self.x)


def inputs_of(group, pools, sets):
    x, residual, dy, out = pools.sets(group, sets)
    dtype = TYPES[group.weight_dtype]
    weight = (torch.rand(group.n, device=pools.device) + 0.5).to(dtype)
    bias = torch.randn(group.n, device=pools.device).to(dtype) if group.op == "layer_norm" else None
    return Inputs(x, residual, dy, out, weight, bias)


class Expected:
    """The expected results of a kind of a group on the first set, by the formulas in float64."""

    def __init__(self, group, kind, inputs, backward, residual):
        self.dtype = group.x_dtype
        self.weight_dtype = group.weight_dtype
        self.rows = group.rows
        self._sample = _sampled_rows(group.rows)
        x = inputs.x[0]
        index = torch.tensor(self._sample, device=x.device)
        w = inputs.weight.double()
        self.values = {}
        if not backward:
            h = x[index]
            if residual:
                h = h + inputs.residual[0][index]
                self.values["sum"] = h.double()
            xhat, _ = _normalised(h.double(), inputs.bias is not None)
            y = xhat * w
            self.values["y"] = y if inputs.bias is None else y + inputs.bias.double()
            return
        dy = inputs.dy[0]
        xhat, rstd = _normalised(x[index].double(), inputs.bias is not None)
        scaled = dy[index].double() * w
        dx = scaled - xhat * (scaled * xhat).mean(1, keepdim=True)
        if inputs.bias is not None:
            dx = dx - scaled.mean(1, keepdim=True)
        dx = dx * rstd
        self.values["dx"] = dx + inputs.residual[0][index].double() if residual else dx
        dweight, dbias = torch.zeros_like(w), torch.zeros_like(w)
        rows = max(1, CHUNK // group.n)
        for first in range(0, group.rows, rows):
            d = dy[first : first + rows].double()
            dweight += (d * _normalised(x[first : first + rows].double(), inputs.bias is not None)[0]).sum(0)
            dbias += d.sum(0)
        self.values["dweight"] = dweight
        if inputs.bias is not None:
            self.values["dbias"] = dbias

    def other_types(self, results):
        """Results of the size of x whose type differs from x: another problem, with other bytes."""
        return [
            f"its {name} is of type {str(results[name].dtype).removeprefix('torch.')}"
            for name in ("y", "sum", "dx")
            if name in results and results[name].dtype != TYPES[self.dtype]
        ]

    def differences(self, results):
        """The largest error of each result, in tolerances: at most 1 is right. A NaN, a missing result and a wrong
        shape give the maximum."""
        away = {}
        for name, value in self.values.items():
            result = results.get(name)
            is_of_rows = name in ("y", "sum", "dx")
            if result is None or result.numel() != (self.rows if is_of_rows else 1) * value.shape[-1]:
                away[name] = WRONG
                continue
            if is_of_rows:
                result = result.reshape(self.rows, -1)[torch.tensor(self._sample, device=result.device)]
                tolerance, scale = TOLERANCES[self.dtype], 1.0
            else:
                # A sum over rows: the rounding of partial sums grows like the root of their number. Some peers round
                # its terms to the type of x.
                tolerance, scale = max(TOLERANCES[self.dtype], TOLERANCES[self.weight_dtype]), self.rows**0.5
            error = (result.reshape(value.shape).double() - value).abs() / value.abs().clamp(min=scale)
            worst = (error / tolerance).max().item()
            away[name] = min(worst, WRONG) if worst == worst else WRONG
        return away


def _sampled_rows(rows):
    if rows <= 3 * CHECKED_ROWS:
        return list(range(rows))
    middle = rows // 2 - CHECKED_ROWS // 2
    return [first + i for first in (0, middle, rows - CHECKED_ROWS) for i in range(CHECKED_ROWS)]


def _normalised(h, centred):
    if centred:
        h = h - h.mean(1, keepdim=True)
    rstd = torch.rsqrt((h * h).mean(1, keepdim=True) + EPSILON)
    return h * rstd, rstd
