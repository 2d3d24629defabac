"""RMSNorm and LayerNorm as plain Triton kernels: a lower bound for fused norms in Triton.

A program holds a whole row. Each program of the backward processes a part of the rows and keeps sums of dweight and
dbias, which a second kernel adds. Importing this module fails without Triton.
"""

import torch
import triton
import triton.language as tl

LONGEST_ROW = 65536
ELEMENTS_PER_THREAD = 16
MOST_WARPS = 32
MOST_PROGRAMS_PER_MULTIPROCESSOR = 16
COLUMN_ROWS, COLUMN_COLUMNS = 32, 64


@triton.jit
def _forward(
    x, residual, weight, bias, y, summed, mean, rstd, n, epsilon,
    CENTRED: tl.constexpr, RESIDUAL: tl.constexpr, SAVES: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    row = tl.program_id(0).to(tl.int64)
    columns = tl.arange(0, BLOCK)
    inside = columns < n
    at = row * n + columns
    v = tl.load(x + at, mask=inside, other=0.0).to(tl.float32)
    if RESIDUAL:
        v += tl.load(residual + at, mask=inside, other=0.0).to(tl.float32)
        rounded = v.to(summed.dtype.element_ty)
        tl.store(summed + at, rounded, mask=inside)
        v = rounded.to(tl.float32)
    if CENTRED:
        m = tl.sum(v, axis=0) / n
        v = tl.where(inside, v - m, 0.0)
        if SAVES:
            tl.store(mean + row, m)
    r = 1.0 / tl.sqrt(tl.sum(v * v, axis=0) / n + epsilon)
    if SAVES:
        tl.store(rstd + row, r)
    out = v * r * tl.load(weight + columns, mask=inside, other=0.0).to(tl.float32)
    if CENTRED:
        out += tl.load(bias + columns, mask=inside, other=0.0).to(tl.float32)
    tl.store(y + at, out.to(y.dtype.element_ty), mask=inside)


@triton.jit
def _backward(
    x, weight, dy, mean, rstd, dresidual, dx, partial, rows, n, steps,
    CENTRED: tl.constexpr, RESIDUAL: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    program = tl.program_id(0).to(tl.int64)
    programs = tl.num_programs(0).to(tl.int64)
    columns = tl.arange(0, BLOCK)
    inside = columns < n
    w = tl.load(weight + columns, mask=inside, other=0.0).to(tl.float32)
    dweight = tl.zeros((BLOCK,), dtype=tl.float32)
    dbias = tl.zeros((BLOCK,), dtype=tl.float32)
    for step in range(0, steps):
        row = program + step * programs
        here = inside & (row < rows)
        at = row * n + columns
        v = tl.load(x + at, mask=here, other=0.0).to(tl.float32)
        d = tl.load(dy + at, mask=here, other=0.0).to(tl.float32)
        r = tl.load(rstd + row, mask=row < rows, other=0.0)
        if CENTRED:
            v = tl.where(here, v - tl.load(mean + row, mask=row < rows, other=0.0), 0.0)
        xhat = v * r
        scaled = d * w
        along = tl.sum(scaled * xhat, axis=0) / n
        out = scaled - xhat * along
        if CENTRED:
            out -= tl.sum(scaled, axis=0) / n
            dbias += d
        out *= r
        if RESIDUAL:
            out += tl.load(dresidual + at, mask=here, other=0.0).to(tl.float32)
        tl.store(dx + at, out.to(dx.dtype.element_ty), mask=here)
        dweight += d * xhat
    tl.store(partial + program * n + columns, dweight, mask=inside)
    if CENTRED:
        tl.store(partial + (programs + program) * n + columns, dbias, mask=inside)


@triton.jit
def _columns(partial, total, shares, n, ROWS: tl.constexpr, COLUMNS: tl.constexpr):
    columns = tl.program_id(0) * COLUMNS + tl.arange(0, COLUMNS)
    which = tl.program_id(1).to(tl.int64)
    sums = tl.zeros((COLUMNS,), dtype=tl.float32)
    for first in range(0, shares, ROWS):
        share = first + tl.arange(0, ROWS)
        inside = (share[:, None] < shares) & (columns[None, :] < n)
        at = (which * shares + share[:, None]) * n + columns[None, :]
        sums += tl.sum(tl.load(partial + at, mask=inside, other=0.0), axis=0)
    tl.store(total + which * n + columns, sums.to(total.dtype.element_ty), mask=columns < n)


@triton.jit
def _nothing():
    pass


def nothing():
    """An empty kernel."""
    _nothing[(1,)](num_warps=1)


def block_and_warps(n):
    """A row's length, rounded up to a power of two, and its number of warps."""
    if n > LONGEST_ROW:
        raise ValueError(f"a program holds rows of at most {LONGEST_ROW} elements")
    block = max(16, 1 << (n - 1).bit_length())
    return block, max(1, min(MOST_WARPS, block // (32 * ELEMENTS_PER_THREAD)))


def programs_of(rows, warps, multiprocessors):
    """Programs of the backward: as many as an SM is expected to hold at once."""
    return max(1, min(rows, multiprocessors * min(MOST_PROGRAMS_PER_MULTIPROCESSOR, MOST_WARPS // warps)))


def forward(x, residual, weight, bias, epsilon, saves):
    """y, x + residual (None without one), and mean and rstd, None where they are not saved."""
    rows, n = x.shape
    block, warps = block_and_warps(n)
    y = torch.empty_like(x)
    summed = None if residual is None else torch.empty_like(x)
    rstd = torch.empty(rows, dtype=torch.float32, device=x.device) if saves else None
    mean = torch.empty_like(rstd) if saves and bias is not None else None
    _forward[(rows,)](
        x, residual, weight, bias, y, summed, mean, rstd, n, epsilon,
        CENTRED=bias is not None, RESIDUAL=residual is not None, SAVES=saves, BLOCK=block, num_warps=warps,
    )  # fmt: skip
    return y, summed, mean, rstd


def backward(x, weight, dy, mean, rstd, dresidual, multiprocessors):
    """dx, and dweight with, for LayerNorm (which has a mean), dbias below it."""
    rows, n = x.shape
    block, warps = block_and_warps(n)
    programs = programs_of(rows, warps, multiprocessors)
    vectors = 1 if mean is None else 2
    dx = torch.empty_like(x)
    partial = torch.empty((vectors * programs, n), dtype=torch.float32, device=x.device)
    total = torch.empty((vectors, n), dtype=weight.dtype, device=x.device)
    _backward[(programs,)](
        x, weight, dy, mean, rstd, dresidual, dx, partial, rows, n, triton.cdiv(rows, programs),
        CENTRED=mean is not None, RESIDUAL=dresidual is not None, BLOCK=block, num_warps=warps,
    )  # fmt: skip
    _columns[(triton.cdiv(n, COLUMN_COLUMNS), vectors)](
        partial, total, programs, n, ROWS=COLUMN_ROWS, COLUMNS=COLUMN_COLUMNS
    )
    return dx, total
