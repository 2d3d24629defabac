"""The GPU performance targets of the norms, and whether a case meets them. Standard library only."""

import dataclasses

import cases

OURS, COPY, EMPTY = "Normcore", "copy", "empty kernel"
LARGEST = 1 << 20

# Direction, hidden sizes from and to, minimum fraction of the speed of a copy that moves as many bytes. The first match
# applies.
OF_THE_COPY = (
    ("forward", 1024, 262144, 0.95),
    ("forward", 1, LARGEST, 0.85),
    ("backward", 1024, 65536, 0.90),
    ("backward", 1, LARGEST, 0.80),
)
# Fraction of the best peer's speed, at every shape.
OF_THE_BEST_PEER = 1.0
# Few rows are latency-bound: kernels per call, and microseconds over as many empty ones, both in a graph.
EMPTY_KERNELS = {"forward": (1, 1.0), "backward": (2, 2.0)}


@dataclasses.dataclass
class Judgement:
    """One of a case's figures against its target."""

    what: str
    value: float
    target: float
    met: bool

    def __str__(self):
        return f"{self.value:.2f} {self.what} (target {self.target:.2f})"


def direction(kind):
    return "backward" if kind in cases.BACKWARD_KINDS else "forward"


def fraction_of_copy_target(kind, n):
    for way, least, most, fraction in OF_THE_COPY:
        if way == direction(kind) and least <= n <= most:
            return fraction
    raise ValueError(f"no target for hidden size {n}")


def is_few_rows(case):
    return case["rows"] <= cases.MOST_FEW_ROWS


def times(case):
    """Microseconds by candidate: graph replays for few rows if there are any, otherwise launches."""
    if is_few_rows(case) and OURS in case.get("replayed", {}):
        source = case["replayed"]
    else:
        source = case["candidates"]
    return {name: candidate["microseconds"] for name, candidate in source.items()}


def best_peer(case):
    """The fastest peer and its microseconds, or None."""
    peers = {name: t for name, t in times(case).items() if name not in (OURS, COPY, EMPTY)}
    if not peers:
        return None
    name = min(peers, key=peers.get)
    return name, peers[name]


def of_copy(case):
    """The copy's time over ours."""
    measured = times(case)
    return measured[COPY] / measured[OURS] if COPY in measured and OURS in measured else None


def times_best(case):
    """The best peer's time over ours."""
    best = best_peer(case)
    return None if best is None or OURS not in times(case) else best[1] / times(case)[OURS]


def over_empty(case):
    """Microseconds over as many empty kernels as the direction has kernels."""
    measured = times(case)
    if EMPTY not in measured or OURS not in measured:
        return None
    return measured[OURS] - EMPTY_KERNELS[direction(case["kind"])][0] * measured[EMPTY]


def judge(case):
    """The case's figures against their targets; figures that were not measured are skipped."""
    judgements = []
    if is_few_rows(case):
        over, (kernels, most) = over_empty(case), EMPTY_KERNELS[direction(case["kind"])]
        if over is not None:
            what = "us over an empty kernel" if kernels == 1 else f"us over {kernels} empty kernels"
            judgements.append(Judgement(what, over, most, over <= most))
    else:
        fraction, target = of_copy(case), fraction_of_copy_target(case["kind"], case["n"])
        if fraction is not None:
            judgements.append(Judgement("of the copy", fraction, target, fraction >= target))
    ratio = times_best(case)
    if ratio is not None:
        judgements.append(
            Judgement(f"times {best_peer(case)[0]}", ratio, OF_THE_BEST_PEER, ratio >= OF_THE_BEST_PEER)
        )
    return judgements


def verdict(case):
    """The verdict as text."""
    judgements = judge(case)
    if not judgements:
        return "not judged"
    missed = [str(j) for j in judgements if not j.met]
    return "missed: " + ", ".join(missed) if missed else "met"
