#!/usr/bin/env python3
"""comparison_report.py RESULT.json: the tables of a comparison, in Markdown. Standard library only."""

import json
import sys

import cases
import targets
from targets import OURS

TITLES = {"rms_norm": "RMSNorm", "layer_norm": "LayerNorm"}
SHORT = {"bfloat16": "bf16", "float32": "f32"}


def number(value, form):
    return "" if value is None else format(value, form)


def microseconds(value):
    """Formats a number with three or four digits."""
    if value is None:
        return ""
    return format(value, ".2f" if value < 100 else ".1f" if value < 1000 else ".0f")


def name_of(case):
    return f"{TITLES[case['op']]} {types(case)} {case['rows']} x {case['n']} {case['kind']}"


def types(case):
    policy = ", rounds first" if case.get("rounding") == cases.INPUT else ""
    return f"{SHORT[case['x_dtype']]}/{SHORT[case['weight_dtype']]}{policy}"


def size(case):
    text = f"{case['rows']} x {case['n']}"
    return f"{text} (of {case['asked_rows']} rows)" if case.get("asked_rows") else text


def table(found, peers):
    few = any(targets.is_few_rows(case) for case in found)
    head = ["x/weight", "rows x N", "us", "GB/s", "of the copy", *(["over empty, us"] if few else []), *peers]
    head += ["best peer", "times best", "verdict"]
    yield "| " + " | ".join(head) + " |"
    yield "|" + "---|" * len(head)
    for case in found:
        measured = targets.times(case)
        ours = measured.get(OURS)
        best = targets.best_peer(case)
        cells = [types(case), size(case), microseconds(ours)]
        cells.append(number(None if ours is None else case["bytes"] / ours / 1e3, ".0f"))
        cells.append(number(targets.of_copy(case), ".3f"))
        if few:
            cells.append(number(targets.over_empty(case), ".2f") if targets.is_few_rows(case) else "")
        cells += [microseconds(measured.get(peer)) for peer in peers]
        cells += [best[0] if best else "", number(targets.times_best(case), ".2f"), targets.verdict(case)]
        yield "| " + " | ".join(cells) + " |"


def order(case):
    """Tables sorted by type, then by hidden size; few rows last."""
    dtypes = (case["x_dtype"], case["weight_dtype"])
    return (targets.is_few_rows(case), cases.DTYPES.index(dtypes), case["n"], case["rows"])


def tables(report):
    peers = report["peers"]
    for op in cases.OPS:
        for kind in cases.KINDS:
            found = sorted((c for c in report["cases"] if (c["op"], c["kind"]) == (op, kind)), key=order)
            many = [c for c in found if not targets.is_few_rows(c)]
            few = [c for c in found if targets.is_few_rows(c)]
            for part, title in ((many, ""), (few, ", few rows, in a graph")):
                if part:
                    seen = [p for p in peers if any(p in targets.times(c) for c in part)]
                    yield f"\n## {TITLES[op]}, {kind}{title}\n"
                    yield from table(part, seen)


def counted(report):
    """The number of cases that met their targets, by title and kind."""
    yield "| | cases | met | missed | not judged |"
    yield "|---|---|---|---|---|"
    for op in cases.OPS:
        for kind in cases.KINDS:
            verdicts = [targets.verdict(c) for c in report["cases"] if (c["op"], c["kind"]) == (op, kind)]
            if verdicts:
                met, unjudged = verdicts.count("met"), verdicts.count("not judged")
                missed = len(verdicts) - met - unjudged
                yield f"| {TITLES[op]}, {kind} | {len(verdicts)} | {met} | {missed} | {unjudged} |"


def reasons(report):
    """Why a peer is not in a table: each reason once, with its cases."""
    found = {}
    for case in report["cases"]:
        for peer, why in case["reasons"].items():
            found.setdefault((peer, why), []).append(case)
    for (peer, why), held in sorted(found.items(), key=lambda item: (report["peers"] + [peer]).index(item[0][0])):
        if len(held) == len(report["cases"]):
            where = "everywhere"
        else:
            where = f"{len(held)} of {len(report['cases'])} cases"
            if len(held) <= 3:
                where = "; ".join(name_of(case) for case in held)
        yield f"- {peer}: {why} ({where})"


def starved(report):
    """Lists cases with at least a tenth of such samples for a candidate: their times are the host's."""
    found = {}
    for case in report["cases"]:
        for name, candidate in case["candidates"].items():
            if candidate.get("starved", 0) >= 0.1 * report["samples"]:
                found.setdefault(name, []).append(case)
    for name, held in found.items():
        shown = "; ".join(name_of(case) for case in held[:5])
        yield f"- {name}: {len(held)} of {len(report['cases'])} cases: {shown}" + ("; ..." if len(held) > 5 else "")


def left_out(report):
    """Lists what was not measured, one line for all forms and norms with the same reason and shape."""
    found = {}
    for item in report["left_out"]:
        found.setdefault((item["why"], f"{item['rows']} x {item['n']}"), []).append(item)
    for (why, shape), items in found.items():
        kinds = sorted({item["kind"] for item in items}, key=cases.KINDS.index)
        dtypes = sorted({types(item) for item in items})
        yield f"- {shape}, {', '.join(dtypes)}: {', '.join(kinds)}: {why}"


def markdown(report):
    lines = [f"# {report['device']}, {report['date']}", ""]
    if report["trial"]:
        lines += [
            "**A TRIAL WITHOUT A GPU. Every time here is that of the host's clock around the CPU backend, an"
            " interpreter or a peer's CPU code, on small shapes. The figures, fractions and verdicts mean nothing; they"
            " show that the script runs.**",
            "",
        ]
    lines += [f"{report['about']}.", ""]
    lines += [
        f"Time by {report['clock']}, medians of {report['samples']} samples; all candidates of a case take turns on the"
        " same tensors, with the copy between them. GB/s counts every input read and every output written once; the"
        " copy is device to device and moves as many bytes in the same run. Inputs go round over more memory than the"
        f" second-level cache of {report['cache_bytes'] / 2**20:.3g} MB holds, except for few rows, whose time is that"
        " of a launch in a replayed graph. Times are microseconds. x/weight: the types of x, y and dx, and of weight,"
        " bias and their gradients. Backward: dx and dweight, for LayerNorm dbias. Residual forms: the sum is an input"
        " of the norm and an output too; backward adds its gradient.",
        "",
    ]
    if report.get("empty_kernel"):
        lines += [f"The empty kernel is {report['empty_kernel']}.", ""]
    lines += [*counted(report), *tables(report)]
    for title, found in (
        ("Peers that are not in a table", reasons(report)),
        ("Left out", left_out(report)),
        ("Samples in which the device may have waited for the host", starved(report)),
        ("Wrong", (f"- {line}" for line in report["wrong"])),
    ):
        found = list(found)
        if found:
            lines += ["", f"## {title}", "", *found]
    return "\n".join(lines) + "\n"


def main():
    with open(sys.argv[1]) as file:
        sys.stdout.write(markdown(json.load(file)))


if __name__ == "__main__":
    main()
