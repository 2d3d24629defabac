"""The cases of a comparison, by priority: shapes, types, forms. Standard library only."""

import dataclasses

OPS = ("rms_norm", "layer_norm")
# Of x (and y, dx, residual), and of weight and bias.
DTYPES = (("bfloat16", "bfloat16"), ("float32", "float32"), ("bfloat16", "float32"))
ITEM_BYTES = {"bfloat16": 2, "float32": 4}
FORWARD, INFERENCE, BACKWARD = "forward", "inference", "backward"
RESIDUAL_FORWARD, RESIDUAL_BACKWARD = "residual forward", "residual backward"
KINDS = (FORWARD, BACKWARD, INFERENCE, RESIDUAL_FORWARD, RESIDUAL_BACKWARD)
BACKWARD_KINDS = (BACKWARD, RESIDUAL_BACKWARD)
RESIDUAL_KINDS = (RESIDUAL_FORWARD, RESIDUAL_BACKWARD)

HOT = [(32768, n) for n in (4096, 8192, 2048, 1024, 16384)]
FEW_ROWS = [(rows, n) for rows in (1, 8, 64) for n in (4096, 8192, 16384)]
SHORT_AND_LONG = (
    [(32768, n) for n in (256, 512, 32768, 65536)] + [(131072, 128), (1048576, 64)] + [(16384, 131072), (8192, 262144)]
)
ODD = [(32768, n) for n in (769, 5120, 6144, 7168, 12288)]
MOST_FEW_ROWS = 64
# Not a power of two: tests whether the groups' first rows, otherwise a power of two apart, conflict on memory channels.
UNEVEN_ROWS = 32768 + 264
# Policies: where the normalised value is rounded. The models of Hugging Face's library round it to the type of x.
COMPUTE, INPUT = "compute", "input"

# Ours and the copy: most shapes, the most informative first.
ALONE = [
    *((32768, n) for n in (4096, 256, 1024, 32768, 16384)),
    (1048576, 64), (8, 4096), (8192, 262144), (32768, 2048), (32768, 8192), (UNEVEN_ROWS, 4096), (32768, 512),
    (131072, 128), (32768, 65536), (16384, 131072), (1, 4096), (64, 16384),
]  # fmt: skip
ALONE_INPUT = [(32768, 4096), (32768, 1024)]
# Ours, the copy and the peers.
BESIDE_PEERS = [(32768, 4096), (32768, 1024), (8, 4096), (32768, 256), (32768, 16384), (32768, 65536)]

# For a trial without a GPU: one shape of each kind.
TRIAL = [(96, 256), (66, 1024), (1, 512), (65, 769), (128, 64)]

# Sets of tensors rotate over this multiple of the cache; the maximum number of sets.
CACHES = 3
MOST_SETS = 64


@dataclasses.dataclass(frozen=True)
class Group:
    """Forms of one norm on the same tensors: they are measured together, since a peer compiles for all of them."""

    tier: int
    op: str
    x_dtype: str
    weight_dtype: str
    rows: int
    n: int
    kinds: tuple
    asked_rows: int = 0  # the requested rows, if memory required fewer
    rounding: str = COMPUTE

    def __str__(self):
        return f"{self.op} {self.x_dtype}/{self.weight_dtype} {self.rows}x{self.n} {self.rounding}"

    @property
    def tensor_bytes(self):
        """Bytes of one tensor of the size of x."""
        return self.rows * self.n * ITEM_BYTES[self.x_dtype]

    @property
    def is_few_rows(self):
        return self.rows <= MOST_FEW_ROWS

    def moved_bytes(self, kind):
        """Bytes with every input read once and every output written once: what the reference copy moves."""
        tensors = {FORWARD: 2, INFERENCE: 2, BACKWARD: 3, RESIDUAL_FORWARD: 4, RESIDUAL_BACKWARD: 4}[kind]
        vectors = 2 if self.op == "layer_norm" else 1  # weight and bias, rstd and mean
        statistics = 0 if kind == INFERENCE else 4 * vectors * self.rows
        gradients = vectors if kind in BACKWARD_KINDS else 0
        read = 1 if kind in BACKWARD_KINDS else vectors  # the backward needs no bias
        return tensors * self.tensor_bytes + statistics + (read + gradients) * self.n * ITEM_BYTES[self.weight_dtype]

    def sets(self, cache_bytes, pool_bytes):
        """The number of sets of tensors to rotate, so that a set is evicted from the cache before its next use. Few
        rows would need an unreasonable number."""
        wanted = max(1, min(MOST_SETS, -(-CACHES * cache_bytes // self.tensor_bytes)))
        return max(1, min(wanted, pool_bytes // self.tensor_bytes))

    def fitted(self, pool_bytes):
        """The group with its rows halved until a tensor fits; None if none does."""
        rows = self.rows
        while rows > 1 and rows * self.n * ITEM_BYTES[self.x_dtype] > pool_bytes:
            rows //= 2
        if rows * self.n * ITEM_BYTES[self.x_dtype] > pool_bytes:
            return None
        return dataclasses.replace(self, rows=rows, asked_rows=self.rows if rows != self.rows else 0)


def groups():
    """All groups of the comparison, by priority."""
    main, residual = (FORWARD, BACKWARD), (INFERENCE, RESIDUAL_FORWARD, RESIDUAL_BACKWARD)
    both, mixed = DTYPES[:2], DTYPES[2:]
    yield from _tier(0, HOT[:2] + FEW_ROWS[3:4], both, main)
    yield from _tier(1, HOT[2:] + SHORT_AND_LONG + FEW_ROWS[:3] + FEW_ROWS[4:], both, main)
    yield from _tier(2, HOT[:2], both, residual)
    yield from _tier(3, HOT + ODD, mixed, main)
    yield from _tier(4, ODD, both, main)
    yield from _tier(5, HOT[2:] + FEW_ROWS, both, residual)
    yield from _tier(6, FEW_ROWS + SHORT_AND_LONG, mixed, main)
    yield from _tier(7, HOT + ODD + FEW_ROWS, mixed, residual)
    yield from _tier(8, ODD, both, residual)
    yield from _tier(9, SHORT_AND_LONG, DTYPES, residual)


def alone_groups():
    """Forward and backward at the important shapes: bfloat16 RMSNorm, its other policy, float32, then LayerNorm."""
    for op in OPS:
        for x_dtype, weight_dtype in DTYPES[:2]:
            for rows, n in ALONE:
                yield Group(0, op, x_dtype, weight_dtype, rows, n, (FORWARD, BACKWARD))
            if (op, x_dtype) == (OPS[0], DTYPES[0][0]):
                for rows, n in ALONE_INPUT:
                    yield Group(0, op, x_dtype, weight_dtype, rows, n, (FORWARD, BACKWARD), rounding=INPUT)


def peer_groups():
    """The groups measured with peers: bfloat16 first, and float32 at one shape."""
    first, rest = BESIDE_PEERS[:2], BESIDE_PEERS[2:]
    for shapes in (first, rest):
        for op in OPS:
            for rows, n in shapes:
                yield Group(0, op, *DTYPES[0], rows, n, (FORWARD, BACKWARD))
        if shapes is first:
            yield Group(0, OPS[0], *DTYPES[0], *first[0], (FORWARD, BACKWARD), rounding=INPUT)
            yield Group(0, OPS[0], *DTYPES[1], *first[0], (FORWARD, BACKWARD))


def trial_groups():
    yield from _tier(0, TRIAL, DTYPES, KINDS)


SELECTIONS = {"all": groups, "alone": alone_groups, "peers": peer_groups}


def small(group):
    """The group at a size for a trial without a GPU."""
    n = group.n if group.n <= 1024 else group.n // 32 + 8
    return dataclasses.replace(group, rows=min(group.rows, MOST_FEW_ROWS + 2), n=n)


def _tier(tier, shapes, dtypes, kinds):
    for rows, n in shapes:
        for x_dtype, weight_dtype in dtypes:
            for op in OPS:
                yield Group(tier, op, x_dtype, weight_dtype, rows, n, kinds)


class Budget:
    """Seconds, of which each peer's preparation (mostly compilation) may use a limited share."""

    SHARES = {"PyTorch": 1.0, "torch.compile": 0.35, "HF compiled": 0.2}
    SHARE = 0.12

    def __init__(self, seconds, now):
        self.seconds, self._now = seconds, now
        self._begun = now()
        self._prepared = {}

    def elapsed(self):
        return self._now() - self._begun

    def remaining(self):
        return self.seconds - self.elapsed()

    def prepared(self, peer, seconds):
        self._prepared[peer] = self._prepared.get(peer, 0.0) + seconds

    def spent(self, peer):
        return self._prepared.get(peer, 0.0)

    def may_prepare(self, peer):
        return self.spent(peer) < self.SHARES.get(peer, self.SHARE) * self.seconds

    def allows(self, group, kind, candidates, samples, bytes_per_second):
        """Whether the kind is expected to end in time. Peers move more bytes, or are slower, and are checked first."""
        seconds = 1.5 * (candidates + 1) * samples * group.moved_bytes(kind) / bytes_per_second
        return seconds < self.remaining()
