"""The summary of a run: faults first, then measurements beside their predictions, in at most 12,000 characters,
because a borrowed machine may return no more of the output. Standard library only."""

import functools

import cases
import kit_names
import predictions
import targets

MOST_CHARACTERS = 11800
# For each part, so that a long one leaves room for the others.
MOST_OF_PART = {"wrong": 2600, "stages": 1600, "device": 900, "kernels": 1300, "counters": 1700, "speed": 6400,
                "peers": 1700, "decisions": 1100, "tuning": 7000}  # fmt: skip


expected = functools.cache(predictions.read)


class Facts:
    """The results of a run, by kind."""

    def __init__(self, results):
        self.of = {}
        for result in results:
            self.of.setdefault(result["result"], []).append(result)

    def all(self, kind):
        return self.of.get(kind, [])

    def fact(self, name):
        return next((fact.get("value") for fact in self.all("fact") if fact.get("name") == name), None)


def is_wrong(result):
    """Whether the result is a fault."""
    kind = result["result"]
    if kind == "test":
        return result["verdict"] in ("failed", "crashed")
    if kind == "sanitizer":
        return bool(result["errors"])
    return kind == "wrong"


def text(head, stages, results):
    """head: lines about the kit and the run; stages: the entries of kit.py."""
    facts = Facts(results)
    table = expected()
    parts = [
        ("wrong", wrong(facts)),
        ("stages", [stage_line(stage, results) for stage in stages]),
        ("device", device(facts, table)),
        ("decisions", decisions(facts)),
        ("speed", speed(facts, table)),
        ("peers", peers(facts)),
        ("counters", counters(facts, table)),
        ("kernels", kernels(facts)),
        ("tuning", kit_names.tuning(facts.all("tuned"))),
    ]
    lines = list(head)
    for name, part in parts:
        lines += shortened(part, MOST_OF_PART[name])
    return "\n".join(shortened(lines, MOST_CHARACTERS)) + "\n"


def shortened(lines, most):
    """As many lines as fit, and the number of the others."""
    kept, size = [], 0
    for i, line in enumerate(lines):
        size += len(line) + 1
        if size > most - 60 and i < len(lines) - 1 or size > most:
            return [*kept, f"... and {len(lines) - i} lines more: see results.jsonl"]
        kept.append(line)
    return kept


def wrong(facts):
    lines = [f"WRONG: {one_line(result['text'], 300)}" for result in facts.all("wrong")]
    for result in facts.all("kernel"):
        if not result.get("hot", True):
            lines.append(f"NOT A FAST KERNEL: {result['case']}: {result['name'][:160]}")
    for result in filter(is_wrong, facts.all("test")):
        tool = f" under {result['tool']}" if "tool" in result else ""
        lines.append(f"{result['verdict'].upper()}: {result['name']}{tool}: {one_line(result.get('text', ''), 320)}")
    for result in filter(is_wrong, facts.all("sanitizer")):
        lines.append(
            f"{result['tool'].upper()}: {result['name']}: {result['errors']} errors: {one_line(result['text'], 320)}"
        )
    lines += left_out(facts)
    for result in facts.all("test"):
        if result["verdict"] == "stopped":
            lines.append(f"not ended: {result['name']}")
    return lines


def left_out(facts):
    """The fast kernels that are left out of plans, each reason once with its plans."""
    found = {}
    for result in facts.all("plan"):
        if "left_out" in result:
            found.setdefault((result["role"], result["left_out"]), []).append(result["case"])
    for (role, why), plans in found.items():
        more = f" and {len(plans) - 3} plans more" if len(plans) > 3 else ""
        yield f"LEFT OUT: {role}: {one_line(why, 200)}: {', '.join(plans[:3])}{more}"


def one_line(text, most):
    return " / ".join(line.strip() for line in text.splitlines() if line.strip())[:most]


def stage_line(stage, results):
    text = f"== {stage['name']}: {stage['verdict']}, {stage['seconds']:.0f} s"
    tests = [r for r in results if r["result"] == "test" and r.get("stage") == stage["name"]]
    if tests:
        counts = {verdict: sum(test["verdict"] == verdict for test in tests) for verdict in ("passed", "skipped")}
        failed = len(tests) - sum(counts.values())
        text += f"; {counts['passed']} tests passed, {failed} did not, {counts['skipped']} skipped"
    left_out = sum(r["result"] == "left_out" and r.get("stage") == stage["name"] for r in results)
    return text + (f"; {left_out} cases left out" if left_out else "")


def device(facts, table):
    lines, shown = [], []
    for fact in facts.all("fact"):
        if "error" in fact:
            lines.append(f"{fact['name']}: {fact['error'][:160]}")
            continue
        expected = table["facts"].get(fact["name"])
        outcome = f" (expected {expected[0]}: {predictions.outcome(expected, fact['value'])})" if expected else ""
        shown.append(f"{fact['name']} {fact['value']}{outcome}")
    lines += ["; ".join(shown)] if shown else []
    return lines + [note["text"][:300] for note in facts.all("note")]


def case_of(result):
    """The result with the keys for looking up predictions."""
    return {**result, "direction": targets.direction(result["kind"])}


def speed(facts, table):
    """A line per shape: forward and backward, with the fraction of the copy's speed and the prediction."""
    rows = {}
    for result in facts.all("speed"):
        if result.get("stage", "alone") == "alone":
            key = (result["op"], result["x_dtype"], result["rounding"], result["rows"], result["n"])
            rows.setdefault(key, {})[result["kind"]] = result
    if not rows:
        return []
    lines = ["-- us, GB/s, of the copy (its GB/s; expected). few rows: us in a graph, over its empty kernels"]
    fallen = {"as expected": 0, "above": 0, "below": 0}
    for key in sorted(
        rows, key=lambda key: (key[3] <= cases.MOST_FEW_ROWS, key[0] != "rms_norm", key[1:3], key[4], key[3])
    ):
        cells = []
        for kind, short in ((cases.FORWARD, "F"), (cases.BACKWARD, "B")):
            if kind in rows[key]:
                cells.append(f"{short} {speed_cell(rows[key][kind], table, fallen)}")
        lines.append(f"{kit_names.case(*key)}: {' | '.join(cells)}")
    counted = ", ".join(f"{count} {name}" for name, count in fallen.items())
    lines.insert(1, f"-- of the cases with a prediction: {counted}")
    return lines


def speed_cell(result, table, fallen):
    if result["rows"] <= cases.MOST_FEW_ROWS:
        expected, value, digits = predictions.few_rows(table, case_of(result)), result["us"], 1
        text = f"{value:.2f}"
        if result.get("over_empty") is not None:
            text += f" (+{result['over_empty']:.2f})"
        form = "{0}-{1} us"
    else:
        text = f"{kit_names.microseconds(result['us'])} {result['gbs']:.0f}"
        if result.get("of_copy") is None:
            return text
        expected, value, digits = predictions.fraction(table, case_of(result)), result["of_copy"], 2
        text += f" {shorter(value)}({result['copy_gbs']:.0f}"
        form = ";{0}-{1})"
    if expected:
        outcome = predictions.outcome(expected, value, digits)
        fallen[outcome] += 1
        text += form.format(*map(shorter, expected)) + {"as expected": "", "above": "+", "below": "-"}[outcome]
    elif result["rows"] > cases.MOST_FEW_ROWS:
        text += ")"
    return text


def shorter(value):
    """Formats 0.95 as .95."""
    return f"{value:.2f}".removeprefix("0") if value < 2 else f"{value:g}"


def peers(facts):
    """A line per shape: each peer's time over ours, the fastest first."""
    rows = {}
    for result in facts.all("speed"):
        if result.get("stage") == "peers" and result.get("peers"):
            key = (result["op"], result["x_dtype"], result["rounding"], result["rows"], result["n"])
            others = sorted(result["peers"].items(), key=lambda item: item[1])
            text = ", ".join(f"{kit_names.PEERS.get(name, name)} {time / result['us']:.2f}" for name, time in others)
            rows.setdefault(key, []).append(f"{result['kind'][:1].upper()} {text}")
    lines = [f"{kit_names.case(*key)}: {' | '.join(cells)}" for key, cells in rows.items()]
    return ["-- peers, their time over ours", *lines] if lines else []


def counters(facts, table):
    lines = []
    for result in facts.all("counter"):
        expected = predictions.counters(table, result["case"])
        text = [f"{result['case']}:"]
        for name in ("dram", "l2", "l2_writes", "issue", "occupancy"):
            if name in result:
                text.append(f"{name} {result[name]:.0f}{beside(expected.get(name), result[name])}")
        for name, share in result.get("stalls", {}).items():
            text.append(f"{name} {share:.0f}{beside(expected.get(name), share)}")
        if "other_stall" in result:
            text.append("{} {:.0f}".format(*result["other_stall"]))
        if "load_sectors" in result or "store_sectors" in result:
            text.append(f"sectors {result.get('load_sectors', '?')}/{result.get('store_sectors', '?')}")
        lines.append(" ".join(text))
    return ["-- ncu, percent (expected); sectors of a load's and a store's request", *lines] if lines else []


def beside(expected, value):
    """The prediction, with a mark if the value is outside of it."""
    if expected is None:
        return ""
    least, most = expected
    return f"({least}-{most}{'' if least <= round(value) <= most else '!'})"


def kernels(facts):
    lines = []
    for result in facts.all("kernel"):
        gap = f", gap {result['gap_us']:.1f} us" if result.get("gap_us") is not None else ""
        lines.append(
            f"{result['case']}: {kit_names.kernel(result['name'])} {result['us']:.1f} us, grid"
            f" {result.get('grid', '?')}, block {result.get('block', '?')},"
            f" {result.get('registers', '?')} registers{gap}"
        )
    return ["-- kernels of a call, by the profiler", *lines] if lines else []


def decisions(facts):
    """The rules of NOTES.md, applied to the measurements."""
    lines = []
    clusters = facts.fact("clusters_of_16_with_227_kb")
    if clusters == 0:
        lines.append("no cluster of 16 fits: rows of 262144 run in the slow kernels")
    of = {result["case"]: result for result in facts.all("counter")}

    def stall(case, *names):
        stalls = of.get(case, {}).get("stalls")
        return None if stalls is None else sum(stalls[name] for name in names)

    def add(value, limit, above, below):
        if value is not None:
            lines.append(
                f"{value:.0f} % ({'over' if value > limit else 'under'} {limit}): {above if value > limit else below}"
            )

    add(stall("backward bfloat16 32768x32768", "membar"), 15, "backward 32768 waits for memory barriers: mailbox first",
        "backward 32768 waits little for memory barriers")  # fmt: skip
    add(of.get("forward bfloat16 32768x256", {}).get("issue"), 70, "forward 256 is bound by issue: fewer instructions",
        "forward 256 is not bound by issue")  # fmt: skip
    add(stall("backward bfloat16 32768x4096", "short_scoreboard", "barrier"), 40,
        "backward 4096 waits for shared memory: whole rows, more blocks",
        "backward 4096 waits little for shared memory")  # fmt: skip
    f32 = of.get("forward float32 32768x4096", {})
    if "l2_writes" in f32 and "dram" in f32:
        swap = f32["l2_writes"] > 80 and f32["dram"] < 85
        lines.append(f"f32 forward: second cache's writes {f32['l2_writes']:.0f} %, memory {f32['dram']:.0f} %: "
                     f"{'swap half sectors' if swap else 'half sectors do not limit it'}")  # fmt: skip
    rates = {(r["rows"], r["kind"]): r["gbs"] for r in facts.all("speed")
             if r.get("stage", "alone") == "alone" and r["n"] == 4096 and r["x_dtype"] == "bfloat16"
             and r["op"] == "rms_norm" and r["rounding"] == "compute"}  # fmt: skip
    for kind in (cases.FORWARD, cases.BACKWARD):
        even, odd = rates.get((32768, kind)), rates.get((cases.UNEVEN_ROWS, kind))
        if even and odd:
            lines.append(f"{kind}: {cases.UNEVEN_ROWS} rows at {odd / even:.3f} of the bytes a second of 32768"
                         f"{': memory channels are camped on' if odd > 1.02 * even else ''}")  # fmt: skip
    return ["-- what this decides", *lines] if lines else []
