#!/usr/bin/env python3
"""Measures Normcore's norms on this machine's GPU against every other implementation that this Python has, and against
a copy of as many bytes: one process, the same tensors, in turns.

compare.py [--out DIRECTORY]

Takes at most 9 minutes and writes DIRECTORY/results/<date>-<device>.json, .md and .svg (the figure if matplotlib is
installed). The most important cases are measured first; skipped cases are listed. Exit status: 0 if all of our results
were right, 1 if not, 2 if there is no GPU.

--select alone: ours at the important shapes, both policies; peers: the shapes at which the peers are compared.
--stand-in: a trial run without a GPU: the CPU backend, the host's clock, small shapes.
"""

import time

# Loading the framework counts towards the budget.
STARTED = time.monotonic()

import argparse
import datetime
import gc
import json
import os
import re
import signal
import statistics
import sys

import cases
import comparison_report
import targets
from targets import COPY, EMPTY, OURS

HERE = os.path.dirname(os.path.abspath(__file__))
# In the packed kit all scripts lie in one folder; here they lie in three.
sys.path += [os.path.join(HERE, "..", name) for name in ("kit", "compare", "tuning")]
# Fraction of the device's memory for one of the pools: the peers' results need the rest.
POOL_SHARE = 0.11
LARGEST_POOL = 32768 * 65536 * 4


def arguments_of():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--library", default=os.path.join(HERE, "lib", "libnormcore.so"))
    parser.add_argument("--out", default=os.path.join(HERE, "out"))
    parser.add_argument("--budget", type=float, default=480, help="seconds of measurement (480)")
    parser.add_argument("--samples", type=int, help="samples per candidate (50; 3 in a trial)")
    parser.add_argument("--most-tier", type=int, default=9, help="0: only the most important cases, 9: all (9)")
    parser.add_argument("--select", choices=cases.SELECTIONS, default="all", help="which cases (all)")
    parser.add_argument("--peers", help="only these peers, separated by commas; none: no peers")
    parser.add_argument("--json-lines", action="store_true", help="print each case as a line of JSON")
    parser.add_argument("--stand-in", action="store_true", help="a trial without a GPU")
    return parser.parse_args()


class Comparison:
    """Measures the groups in order and writes all results so far to a file."""

    def __init__(self, clock, pools, ours, peers, budget, report, path, bytes_per_second):
        self.clock, self.pools, self.ours, self.peers = clock, pools, ours, peers
        self.budget, self.report, self.path = budget, report, path
        self.bytes_per_second = bytes_per_second
        self.free_at_first = self.free_bytes()
        self.empty = None
        self.json_lines = False

    def group(self, asked):
        group = asked.fitted(self.pools.bytes)
        if group is None:
            self.leave_out(asked, asked.kinds, "a row does not fit the memory")
            return
        for peer in self.peers.values():
            peer.begin_group()
        sets = group.sets(self.report["cache_bytes"], self.pools.bytes)
        for kind in asked.kinds:
            samples = self.report["samples"]
            if not self.budget.allows(group, kind, len(self.peers) + 1, samples, self.bytes_per_second):
                self.leave_out(asked, [kind], "no time was left")
                continue
            self.pools.draw(group.x_dtype)
            inputs = tensors.inputs_of(group, self.pools, sets)
            case = self.kind(group, kind, inputs)
            del inputs
            if case is not None:
                self.report["cases"].append(case)
                if self.json_lines:
                    print(json.dumps(line_of(case)), flush=True)
                else:
                    print(f"[{self.budget.elapsed():4.0f} s] {summary(case)}", flush=True)
            self.write()

    def kind(self, group, kind, inputs):
        """The case's figures; None if ours failed."""
        case = {
            "op": group.op, "kind": kind, "x_dtype": group.x_dtype, "weight_dtype": group.weight_dtype,
            "rows": group.rows, "n": group.n, "asked_rows": group.asked_rows, "rounding": group.rounding,
            "bytes": group.moved_bytes(kind),
            "sets": inputs.sets, "candidates": {}, "replayed": {}, "reasons": {}, "differences": {},
        }  # fmt: skip
        expected = tensors.Expected(
            group, kind, inputs, kind in cases.BACKWARD_KINDS, kind in cases.RESIDUAL_KINDS
        )  # fmt: skip
        name = comparison_report.name_of(case)
        try:
            with self.clock.current():
                work, close = self.ours.prepare(group, kind, inputs)
                away = expected.differences(self.checked(work, inputs))
            case["differences"][OURS] = away
            for tensor, worst in away.items():
                if not worst <= 1:
                    self.wrong(f"{name}: our {tensor} is {worst:.3g} tolerances from the formula")
            self.rounds(group, kind, inputs, case, expected, work)
            self.clock.synchronize()
            close()
            self.forget(group)
        except DeviceLost:
            raise
        except Exception as e:
            self.wrong(f"{name}: {clocks.reason_of(e)}")
            self.survived()
        return case if OURS in case["candidates"] else None

    def rounds(self, group, kind, inputs, case, expected, work):
        """Measures all peers together, or as many as memory has room for; ours and the copy take part in every round.
        """
        copy, factor = self.pools.copy(case["bytes"], inputs.sets)
        names = list(self.peers)
        while names or OURS not in case["candidates"]:
            room = self.room(group, inputs)
            held = {}
            while names and len(held) < room:
                name = names.pop(0)
                peer = self.prepared(name, group, kind, inputs, case, expected)
                if peer is not None:
                    held[name] = peer
            if not held and OURS in case["candidates"]:
                break
            works = {OURS: work, COPY: copy, **held}
            self.time(case, works, inputs.sets, factor)
            if group.is_few_rows:
                self.replay(case, works, inputs.sets, factor)
            works.clear()
            held.clear()
            self.forget(group)

    def room(self, group, inputs):
        """The number of peers whose results fit memory: a graph's y and sum, and dx twice."""
        free = self.free_bytes()
        return len(self.peers) if free is None else max(1, int(0.9 * free / (5 * inputs.sets * group.tensor_bytes)))

    def free_bytes(self):
        if self.pools.device.type != "cuda":
            return None
        return torch.cuda.mem_get_info()[0]

    def prepared(self, name, group, kind, inputs, case, expected):
        """The peer's work if it is right on the first set; otherwise None, and the case has the reason."""
        if not self.budget.may_prepare(name):
            case["reasons"][name] = "its share of the time for compilation is used up"
            return None
        begun = time.monotonic()
        try:
            with self.clock.current():
                work = Held(self.peers[name].prepare(group, kind, inputs), inputs.sets)
                results = self.checked(work, inputs)
                self.budget.prepared(name, time.monotonic() - begun)
                begun = None
                away = expected.differences(results)
                other = expected.other_types(results)
                del results
            case["differences"][name] = away
            if other:
                case["reasons"][name] = other[0]
                return None
            wrong = [tensor for tensor, worst in away.items() if not worst <= 1]
            if wrong:
                case["reasons"][name] = f"beyond the tolerance: {', '.join(wrong)}"
                return None
            # Further sets may compile or allocate: do so before the clock starts.
            with self.clock.current():
                for i in range(inputs.sets):
                    work(i)
            self.clock.synchronize()
            return work
        except peers_module.Missing as e:
            case["reasons"][name] = str(e)
            return None
        except Exception as e:
            case["reasons"][name] = clocks.reason_of(e)
            self.survived()
            return None
        finally:
            if begun is not None:
                self.budget.prepared(name, time.monotonic() - begun)

    def checked(self, work, inputs):
        """The results on the first set, in memory that had other contents before."""
        inputs.out[0].fill_(float("nan"))
        results = work(0)
        self.clock.synchronize()
        return results

    def time(self, case, works, sets, factor):
        timed = self.clock.interleaved(works, sets, self.report["samples"])
        self.note(case, "candidates", timed, factor, "while it was timed")

    def replay(self, case, works, sets, factor):
        timed = self.clock.replayed({**works, EMPTY: self.empty}, sets, self.report["samples"])
        self.note(case, "replayed", timed, factor, "in a graph")

    def note(self, case, part, timed, factor, when):
        for name, samples in timed.items():
            if not isinstance(samples, str):
                self.add(case[part], name, samples, factor)
            elif name == OURS:
                raise RuntimeError(f"{when}: {samples}")
            else:
                case["reasons"][name] = f"{when}: {samples}"

    def add(self, candidates, name, samples, factor):
        """The median and the first and last deciles of a candidate's samples, including earlier rounds."""
        factor = factor if name == COPY else 1.0
        held = candidates.setdefault(name, {"samples": [], "launches": samples.launches, "starved": 0})
        held["samples"] += [round(t * factor, 4) for t in samples.microseconds]
        held["starved"] += samples.starved
        ordered = sorted(held["samples"])
        held["microseconds"] = statistics.median(ordered)
        held["low"], held["high"] = ordered[len(ordered) // 10], ordered[-1 - len(ordered) // 10]

    def forget(self, group):
        """Frees the results' memory for the next ones. The garbage collector is slow and runs only if memory is short.
        """
        if self.pools.device.type != "cuda" or group.tensor_bytes < 1 << 27:
            return
        torch.cuda.empty_cache()
        if self.free_bytes() < 0.9 * self.free_at_first:
            gc.collect()
            torch.cuda.empty_cache()

    def survived(self):
        """Raises if the device is lost, because everything after it would fail as well."""
        try:
            self.clock.synchronize()
        except Exception as e:
            raise DeviceLost(clocks.reason_of(e)) from e

    def leave_out(self, group, kinds, why):
        for kind in kinds:
            self.report["left_out"].append(
                {
                    "op": group.op, "kind": kind, "x_dtype": group.x_dtype, "weight_dtype": group.weight_dtype,
                    "rows": group.rows, "n": group.n, "rounding": group.rounding, "why": why,
                }
            )  # fmt: skip
            if self.json_lines:
                print(json.dumps({"result": "left_out", **self.report["left_out"][-1]}), flush=True)

    def wrong(self, line):
        self.report["wrong"].append(line)
        if self.json_lines:
            print(json.dumps({"result": "wrong", "text": line}), flush=True)
        else:
            print(line, file=sys.stderr, flush=True)

    def write(self):
        self.report["seconds"] = round(self.budget.elapsed(), 1)
        self.report["preparation_seconds"] = {name: round(self.budget.spent(name), 1) for name in self.peers}
        unfinished = self.path + ".json.part"
        with open(unfinished, "w") as file:
            measured = [without_samples(case) for case in self.report["cases"]]
            json.dump({**self.report, "cases": measured}, file, indent=1, allow_nan=False)
        os.replace(unfinished, self.path + ".json")


class DeviceLost(Exception):
    """The device is unusable in this process."""


class Stopped(BaseException):
    """A signal ended the run; the results so far are kept."""


def stop(*_):
    raise Stopped


class Held:
    """Work whose results live until the set's next turn, so that new results do not reuse memory that is still in the
    cache."""

    def __init__(self, work, sets):
        self._work, self._results = work, [None] * sets

    def __call__(self, i):
        self._results[i] = self._work(i)
        return self._results[i]


def without_samples(case):
    return {
        **case,
        **{
            part: {name: {**c, "samples": len(c["samples"])} for name, c in case[part].items()}
            for part in ("candidates", "replayed")
        },
    }


def summary(case):
    best = targets.best_peer(case)
    text = f"{comparison_report.name_of(case)}: {targets.times(case)[OURS]:.2f} us"
    text += f", {targets.of_copy(case):.3f} of the copy"
    return text + (f", {targets.times_best(case):.2f} times {best[0]}" if best else ", no peer")


def line_of(case):
    """A case's figures, flat."""
    measured = targets.times(case)
    return {
        "result": "speed",
        **{key: case[key] for key in ("op", "kind", "x_dtype", "weight_dtype", "rounding", "rows", "n")},
        "asked_rows": case["asked_rows"], "us": round(measured[OURS], 3),
        "gbs": round(case["bytes"] / measured[OURS] / 1e3, 1),
        "copy_gbs": round(case["bytes"] / measured[COPY] / 1e3, 1) if COPY in measured else None,
        "of_copy": targets.of_copy(case), "over_empty": targets.over_empty(case), "verdict": targets.verdict(case),
        "peers": {name: t for name, t in measured.items() if name not in (OURS, COPY, EMPTY)},
        "reasons": case["reasons"], "starved": case["candidates"][OURS]["starved"], "words": summary(case),
    }  # fmt: skip


def empty_kernel(device):
    """The minimum time of a launch, and what it consists of."""
    if device.type != "cuda":
        return (lambda i: None), "a Python function that does nothing"
    try:
        import triton_norm

        triton_norm.nothing()
        return (lambda i: triton_norm.nothing()), "Triton's, without instructions"
    except Exception:
        one = torch.zeros(1, device=device)
        return (lambda i: one.fill_(1.0)), "one that stores a single number"


def copy_rate(clock, pools):
    """Approximate bytes per second, to estimate what fits the budget."""
    moved = min(pools.bytes, 1 << 30)
    work, factor = pools.copy(moved, 1)
    return moved / (statistics.median(clock.interleaved({COPY: work}, 1, 5)[COPY].microseconds) * factor) * 1e6


def about():
    """The kit's version and commit, if this script is part of one."""
    try:
        with open(os.path.join(HERE, "about.txt")) as file:
            return "Kit: " + ", ".join(line.strip() for line in file if line.strip())
    except OSError:
        return "Not from a kit"


def set_up(arguments):
    """The device's or the host's clock, memory and facts."""
    if arguments.stand_in:
        device = torch.device("cpu")
        clock = clocks.HostClock()
        torch.set_num_threads(1)
        facts = {"device": "trial without a GPU", "cache_bytes": 1 << 15, "multiprocessors": 2}
        pools = tensors.Pools(8 << 20, device)
    else:
        device = torch.device("cuda", torch.cuda.current_device())
        clock = clocks.DeviceClock()
        properties = torch.cuda.get_device_properties(device)
        facts = {
            "device": properties.name,
            "compute_capability": f"{properties.major}.{properties.minor}",
            "multiprocessors": properties.multi_processor_count,
            "memory_bytes": properties.total_memory,
            "cache_bytes": getattr(properties, "L2_cache_size", 64 << 20),
        }
        free, _ = torch.cuda.mem_get_info()
        # Whole kilobytes, so that sets of any type and row length are aligned like allocations.
        with clock.current():
            pools = tensors.Pools(int(min(LARGEST_POOL, POOL_SHARE * free)) // 1024 * 1024, device)
    return device, clock, pools, facts


def finish(report, path):
    """Writes the table and the figure."""
    with open(path + ".md", "w") as file:
        file.write(comparison_report.markdown(report))
    print(path + ".md")
    try:
        import comparison_plots

        comparison_plots.draw(report, path + ".svg")
        print(path + ".svg")
    except ImportError as e:
        print(f"no figure: {e}")


def main():
    arguments = arguments_of()
    if not arguments.stand_in and not torch.cuda.is_available():
        print("compare.py: PyTorch sees no CUDA device; --stand-in is a trial without one", file=sys.stderr)
        sys.exit(2)
    torch.manual_seed(1)
    device, clock, pools, facts = set_up(arguments)
    date = datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%d")
    peers = peers_module.peers_of(device, facts["multiprocessors"])
    asked = arguments.peers.split(",") if arguments.peers else list(peers)
    if asked == ["none"]:
        asked = []
    unknown = [name for name in asked if name not in peers]
    if unknown:
        print(f"compare.py: no peer is called {unknown[0]}; there are {', '.join(peers)}", file=sys.stderr)
        sys.exit(2)
    report = {
        "trial": arguments.stand_in,
        "date": date,
        "about": f"{about()}; PyTorch {torch.__version__}, CUDA {torch.version.cuda}",
        "clock": clock.name,
        "samples": arguments.samples or (3 if arguments.stand_in else clocks.SAMPLES),
        "peers": asked,
        "versions": peers_module.versions(),
        **facts,
        "cases": [],
        "left_out": [],
        "wrong": [],
    }
    folder = os.path.join(arguments.out, "results")
    os.makedirs(folder, exist_ok=True)
    slug = re.sub(r"[^a-z0-9]+", "-", report["device"].lower()).strip("-")
    path = os.path.join(folder, f"trial-{date}" if arguments.stand_in else f"{date}-{slug}")

    plugin = os.path.join(os.path.dirname(os.path.abspath(arguments.library)), "libnormcore_cuda.so")
    if os.path.isfile(plugin):
        os.environ.setdefault(binding.VARIABLE, plugin)
    ours = ours_module.Ours(binding.Library(arguments.library), clock, None if arguments.stand_in else device.index)
    budget = cases.Budget(arguments.budget - (time.monotonic() - STARTED), time.monotonic)
    with clock.current():
        pools.draw("float32")
    comparison = Comparison(
        clock, pools, ours, {name: peers[name] for name in asked}, budget, report, path, copy_rate(clock, pools)
    )
    comparison.empty, report["empty_kernel"] = empty_kernel(device)
    comparison.json_lines = arguments.json_lines
    groups = cases.SELECTIONS[arguments.select]()
    if arguments.stand_in:
        groups = cases.trial_groups() if arguments.select == "all" else map(cases.small, groups)
    signal.signal(signal.SIGTERM, stop)
    try:
        for group in groups:
            if group.tier <= arguments.most_tier:
                with clock.current():
                    comparison.group(group)
    except DeviceLost as e:
        comparison.wrong(f"the device is lost: {e}")
    except (Stopped, KeyboardInterrupt):
        comparison.wrong("stopped before the end")
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    comparison.write()
    print(
        f"{len(report['cases'])} cases in {report['seconds']:.0f} s, {len(report['left_out'])} left out,"
        f" {len(report['wrong'])} wrong"
    )
    finish(report, path)
    sys.exit(1 if report["wrong"] or not report["cases"] else 0)


if __name__ == "__main__":
    if "--stand-in" in sys.argv:
        # Triton reads this when it is imported.
        os.environ.setdefault("TRITON_INTERPRET", "1")

    try:
        import torch
    except ImportError as e:
        print(f"compare.py: this Python has no PyTorch: {e}", file=sys.stderr)
        sys.exit(2)

    import clock as clocks
    import library as binding
    import ours as ours_module
    import peers as peers_module
    import tensors

    main()
