#!/usr/bin/env python3
"""comparison_plots.py RESULT.json FIGURE.svg: the fraction of a copy's speed by hidden size, ours and the peers'. Needs
matplotlib."""

import json
import sys

import cases
import targets
from comparison_report import SHORT, TITLES
from targets import COPY, EMPTY, OURS

# Ours first; colours that remain distinct with red-green blindness, and a marker each.
STYLES = {
    OURS: ("#000000", "o"),
    "PyTorch": ("#e69f00", "s"),
    "torch.compile": ("#56b4e9", "^"),
    "HF compiled": ("#0072b2", "v"),
    "Triton": ("#009e73", "D"),
    "Liger": ("#cc79a7", "P"),
    "QuACK": ("#d55e00", "X"),
    "cuDNN": ("#999933", "<"),
    "TransformerEngine": ("#882255", ">"),
}
SHOWN = (cases.FORWARD, cases.BACKWARD)


def curves(report, op, dtypes, kind):
    """Points (N, fraction of the copy) by candidate; for two shapes with the same N the one with more elements."""
    largest = {}
    for case in report["cases"]:
        if (case["op"], (case["x_dtype"], case["weight_dtype"]), case["kind"]) != (op, dtypes, kind):
            continue
        if targets.is_few_rows(case):
            continue
        held = largest.get(case["n"])
        if held is None or held["rows"] < case["rows"]:
            largest[case["n"]] = case
    found = {}
    for n in sorted(largest):
        measured = targets.times(largest[n])
        if COPY not in measured:
            continue
        for name, time in measured.items():
            if name not in (COPY, EMPTY):
                found.setdefault(name, []).append((n, measured[COPY] / time))
    return {name: found[name] for name in STYLES if name in found}


def target_steps(kind, least, most):
    """The target as a line of points (N, fraction)."""
    steps = []
    n = least
    while n <= most:
        steps.append((n, targets.fraction_of_copy_target(kind, n)))
        n *= 2
    return steps


def draw(report, path):
    import matplotlib

    matplotlib.use("svg")
    from matplotlib import pyplot

    pyplot.rcParams["svg.hashsalt"] = "normcore"
    panels = [(op, kind) for op in cases.OPS for kind in SHOWN]
    figure, axes = pyplot.subplots(
        len(panels), len(cases.DTYPES), figsize=(15, 3.4 * len(panels)), sharex=True, sharey=True, squeeze=False
    )
    all_n = [c["n"] for c in report["cases"] if not targets.is_few_rows(c)] or [1024]
    handles = {}
    for (op, kind), line in zip(panels, axes):
        for dtypes, axis in zip(cases.DTYPES, line):
            axis.set_title(f"{TITLES[op]} {kind}, {SHORT[dtypes[0]]} x, {SHORT[dtypes[1]]} weight", fontsize=10)
            axis.axhline(1.0, color="#bbbbbb", linewidth=0.8)
            steps = target_steps(kind, min(all_n), max(all_n))
            (handles["target"],) = axis.step(
                *zip(*steps), where="post", color="#888888", linewidth=1.0, linestyle=":", label="target"
            )
            for name, points in curves(report, op, dtypes, kind).items():
                colour, marker = STYLES[name]
                ours = name == OURS
                (handles[name],) = axis.plot(
                    *zip(*points), color=colour, marker=marker, markersize=5 if ours else 4,
                    linewidth=2.0 if ours else 1.0, zorder=3 if ours else 2, label=name,
                )  # fmt: skip
            axis.set_xscale("log", base=2)
            axis.xaxis.set_major_formatter(lambda n, _: f"{n / 1024:.3g}K" if n >= 1024 else f"{n:.3g}")
            axis.set_ylim(bottom=0)
            axis.grid(True, color="#eeeeee", linewidth=0.6)
            axis.set_axisbelow(True)
    for axis in axes[-1]:
        axis.set_xlabel("hidden size N")
    for line in axes:
        line[0].set_ylabel("fraction of the copy")
    ordered = [name for name in [*STYLES, "target"] if name in handles]
    title = f"{report['device']}, {report['date']}"
    if report["trial"]:
        title = f"TRIAL WITHOUT A GPU: THESE TIMES MEAN NOTHING ({report['date']})"
    figure.suptitle(title, fontsize=14, color="#aa0000" if report["trial"] else "#000000")
    figure.legend([handles[name] for name in ordered], ordered, loc="lower center", ncol=len(ordered), frameon=False)
    figure.tight_layout(rect=(0, 0.03, 1, 0.985))
    figure.savefig(path, format="svg", metadata={"Date": None})
    pyplot.close(figure)


def main():
    with open(sys.argv[1]) as file:
        draw(json.load(file), sys.argv[2])


if __name__ == "__main__":
    main()
