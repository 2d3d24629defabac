#!/usr/bin/env python3
"""The GPU kit. run.sh starts this program and describes it. Standard library only, Python 3.11."""

import argparse
import datetime
import os
import signal
import subprocess
import sys
import time
import traceback

import kit_stages
import kit_summary
from kit_output import Output
from kit_run import Runner
from kit_stages import ALL, TUNE, Kit, Missing

# The whole process counts towards the budget.
STARTED = time.monotonic()
ROOT = os.path.dirname(os.path.abspath(__file__))
# Reserved for ending the last stage, and for the last summary and archive.
LAST_SECONDS = 6.0
LEAST_SECONDS = 5.0
SUMMARY_SECONDS = 0.5
GATE_SECONDS = 60.0
DEVICE_SECONDS = 30.0


class Stopped(BaseException):
    """A signal asks the run to end. Its results are kept."""


class Run:
    def __init__(self, arguments):
        self.begun = STARTED
        self.deadline = self.begun + arguments.budget - LAST_SECONDS
        self.budget, self.simulate = arguments.budget, arguments.simulate
        self.output = Output(arguments.out)
        self.kit = Kit(ROOT, arguments.simulate, self.output.details)
        self.runner = Runner(self.line, self.result, self.keep_summary)
        self.stage, self.stages, self.results = "", [], []
        self.summarised, self.summarised_results = 0.0, 0
        self.alone_in_stage = True

    def elapsed(self):
        return time.monotonic() - self.begun

    def line(self, call, text):
        self.output.line(text if self.alone_in_stage else f"[{call.name}] {text}")

    def result(self, call, result):
        result = {**result, "stage": self.stage, "at": round(self.elapsed(), 1)}
        self.results.append(result)
        self.output.result(result)
        if words := spoken(result):
            self.output.say(f"[{self.elapsed():4.0f} s] {words}")

    def keep_summary(self):
        """Rewrites the summary soon after each result, because this process may be killed at any time."""
        if len(self.results) > self.summarised_results and time.monotonic() - self.summarised > SUMMARY_SECONDS:
            self.summarise("not ended yet")

    def run(self, stage, calls=None):
        """Runs the stage if there is time for it. Returns its entry in the summary."""
        self.stage = stage.name
        entry = {"name": stage.name, "verdict": "under way", "seconds": 0.0}
        self.stages.append(entry)
        begun = time.monotonic()
        limit = min(stage.limit, self.deadline - begun)
        first = len(self.results)
        if limit < min(LEAST_SECONDS, stage.limit):
            entry["verdict"] = "not run: no time was left"
        else:
            try:
                calls = (calls or stage.calls)(self.kit, limit)
            except Missing as e:
                entry["verdict"] = f"not run: {e}"
                entry["optional"] = stage.optional
            else:
                self.output.say(f"== {stage.name}: at most {limit:.0f} s")
                self.summarise("not ended yet")
                entry["verdict"] = self.ran(calls, begun + limit, stage, first)
        entry["seconds"] = time.monotonic() - begun
        self.output.say(kit_summary.stage_line(entry, self.results))
        self.output.result({"result": "stage", **entry})
        self.summarise("not ended yet")
        return entry

    def ran(self, calls, deadline, stage, first):
        """Runs the calls and returns the stage's verdict."""
        self.alone_in_stage = len(calls) == 1
        self.output.begin_stage()
        try:
            ended = self.runner.run(calls, deadline, min(stage.at_once, self.kit.processes))
        finally:
            self.output.end_stage(stage.name)
        return verdict_of(self.results[first:], ended)

    def summarise(self, state):
        self.summarised, self.summarised_results = time.monotonic(), len(self.results)
        text = kit_summary.text(self.head(state), self.stages, self.results)
        self.output.summary(text)
        return text

    def head(self, state):
        lines = [f"Normcore's GPU kit, {about()}, {datetime.datetime.now(datetime.timezone.utc):%F %R} UTC: {state}"
                 f" after {self.elapsed():.0f} s of {self.budget:.0f} s"]  # fmt: skip
        if self.simulate:
            lines.append(
                "A TRIAL WITHOUT A GPU: NO TIME MEANS ANYTHING, COUNTERS AND KERNELS ARE MADE UP, AND NO BIT IS A GPU'S"
            )
        return lines

    def all_stages(self):
        """The exit status."""
        for stage in ALL:
            entry = self.run(stage)
            if stage.name == "gate" and entry["verdict"] != "passed":
                return self.gate_is_shut()
        return 0 if all(is_well(entry) for entry in self.stages) else 1

    def tuning(self):
        for stage in TUNE:
            self.run(stage)
        return 0 if all(is_well(entry) for entry in self.stages) else 1

    def gate_is_shut(self):
        """Kernels with wrong bits are not timed. compute-sanitizer runs on the tests that failed, then the run ends."""
        tests = [r["name"] for r in self.results if r["result"] == "test" and r["verdict"] not in ("passed", "skipped")]
        if tests:
            stage = kit_stages.Stage("gate-sanitizers", GATE_SECONDS, GATE_SECONDS, None)
            self.run(stage, lambda kit, limit: kit_stages.failed_gate(kit, tests))
        self.output.say("== the gate has failed: nothing is timed")
        return 1

    def end(self, state):
        text = self.summarise(state)
        self.output.close()
        sys.stdout.write(text)
        sys.stdout.flush()


def verdict_of(results, ended):
    """The verdict of a stage, from its results and from how its calls ended."""
    wrong = sum(map(kit_summary.is_wrong, results))
    if wrong:
        return f"FAILED: {wrong} results are wrong"
    # A call does not count as failed if the call that replaced it had results.
    good = [id(e.call) for e in ended if e.results]
    bad = [e for e in ended if e.why and id(e.call.instead) not in good]
    if bad:
        first = next((e for e in bad if e.status is not None and not e.stopped), bad[0])
        word = "NOT ENDED" if first.stopped or first.status is None and first.why.startswith("no time") else "FAILED"
        text = f"{word}: {first.call.name}: {first.why}"
        said = [line.strip() for line in first.tail if line.strip() and not line.startswith("{")]
        text += f": {said[-1][:200]}" if said and word == "FAILED" else ""
        return text + (f" (and {len(bad) - 1} more calls)" if len(bad) > 1 else "")
    if any(result["result"] == "sanitizer" and result["errors"] is None for result in results):
        return "FAILED: compute-sanitizer gave no count of errors"
    return "passed" if results else "FAILED: nothing that it said could be read"


def is_well(entry):
    return entry["verdict"] == "passed" or entry.get("optional", False)


def spoken(result):
    """The line of the log for a result. Tests that pass have none: there are too many."""
    kind = result["result"]
    if kit_summary.is_wrong(result):
        return f"WRONG: {result.get('name', '')} {kit_summary.one_line(result.get('text', ''), 300)}"
    if kind == "speed":
        return result.get("words", "")
    if kind == "tuned":
        return f"{result['case']}: {len(result.get('microseconds', {}))} candidates"
    if kind == "counter":
        return f"{result['case']}: " + ", ".join(f"{k} {result[k]}" for k in ("us", "dram", "issue") if k in result)
    return ""


def no_device():
    """Why there is no GPU for this kit; empty if there is one. Another process asks the driver, which may hang."""
    try:
        answer = subprocess.run([sys.executable, os.path.join(ROOT, "probe.py"), "--device"], capture_output=True,
                                text=True, timeout=DEVICE_SECONDS)  # fmt: skip
    except subprocess.TimeoutExpired:
        return f"the driver gave no answer within {DEVICE_SECONDS:.0f} s"
    if answer.returncode == 0:
        return ""
    return (answer.stdout + answer.stderr).strip().splitlines()[-1][:400]


def about():
    try:
        with open(os.path.join(ROOT, "about.txt")) as file:
            return ", ".join(line.strip() for line in file if line.strip())
    except OSError:
        return "not packed"


def main():
    parser = argparse.ArgumentParser(prog="run.sh")
    parser.add_argument("what", choices=("all", "tune"))
    parser.add_argument("--budget", type=float, help="seconds (all: 400, tune: 240)")
    parser.add_argument("--out", default=os.path.join(ROOT, "out"), help="the output folder (out)")
    parser.add_argument("--simulate", action="store_true", help="a trial without a GPU")
    arguments = parser.parse_args()
    if arguments.budget is None:
        arguments.budget = 400 if arguments.what == "all" else 240

    if not arguments.simulate and (reason := no_device()):
        print(f"run.sh: {reason}; --simulate tries the kit on a machine without one", file=sys.stderr)
        sys.exit(2)

    def stop(*_):
        raise Stopped

    run = Run(arguments)
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, stop)
    state, status = "ended", 1
    try:
        status = run.all_stages() if arguments.what == "all" else run.tuning()
    except Stopped:
        state = f"STOPPED in {run.stage}"
    except Exception:
        # A fault of the kit itself. The results before it are kept.
        state = f"BROKEN in {run.stage}"
        run.output.say(traceback.format_exc())
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    run.end(state)
    sys.exit(status)


if __name__ == "__main__":
    main()
