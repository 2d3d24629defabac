"""Readers of the output of the kit's processes. line(text) and end(why) return results: dictionaries whose entry
"result" is their kind. why is empty if the process ended well. A line that cannot be read is ignored; the log has it.
Standard library only."""

import csv
import json
import re

MOST_TEXT = 700


class JsonLines:
    """The kit's own programs print each result as a line of JSON."""

    def line(self, text):
        if not text.startswith("{"):
            return []
        try:
            result = json.loads(text)
        except ValueError:
            return []
        return [result] if isinstance(result, dict) and isinstance(result.get("result"), str) else []

    def end(self, why):
        return []


class Gtest:
    """A result for each test as soon as it ends. A test that ends the process has crashed."""

    BEGUN = re.compile(r"^\[ RUN      \] (\S+)$")
    ENDED = re.compile(r"^\[ +(OK|FAILED|SKIPPED) +\] (\S+?)(?:, where .*)? \((\d+) ms\)$")
    VERDICTS = {"OK": "passed", "FAILED": "failed", "SKIPPED": "skipped"}

    def __init__(self, tool=""):
        self.tool = tool
        self.test, self.said = None, []

    def line(self, text):
        if match := self.BEGUN.match(text):
            self.test, self.said = match[1], []
        elif (match := self.ENDED.match(text)) and self.test is not None:
            result = self._of(self.VERDICTS[match[1]], int(match[3]))
            self.test, self.said = None, []
            return [result]
        elif self.test is not None and len(self.said) < 40:
            self.said.append(text)
        return []

    def end(self, why):
        if self.test is None:
            return []
        stopped = why.startswith("stopped")
        self.said.append(why or "the process ended within the test")
        result = self._of("stopped" if stopped else "crashed", None)
        self.test = None
        return [result]

    def _of(self, verdict, milliseconds):
        result = {"result": "test", "name": self.test, "verdict": verdict, "ms": milliseconds}
        if self.tool:
            result["tool"] = self.tool
        if verdict != "passed":
            result["text"] = (
                "\n".join(self.said)[-MOST_TEXT:] if verdict == "crashed" else "\n".join(self.said)[:MOST_TEXT]
            )
        return result


class Sanitizer(Gtest):
    """The tests that ran under a tool of compute-sanitizer, its findings, and its own count of errors."""

    COUNT = re.compile(r"(?:ERROR|RACECHECK) SUMMARY: (\d+)")
    FOUND = re.compile(r"^=+ +((?:Invalid|Misaligned|Error|Race|Potential|Barrier|Uninitialized|Program hit) .*)")
    WHERE = re.compile(r"^=+ +(?:at|in) (.*norm_\w+.*|.*rotary.*|.*fp8.*)")

    def __init__(self, tool, name):
        super().__init__(tool)
        self.name, self.found, self.errors = name, [], None

    def line(self, text):
        if match := self.FOUND.match(text):
            self.found.append(match[1])
        elif (match := self.WHERE.match(text)) and self.found and "\n" not in self.found[-1]:
            self.found[-1] += "\n  " + match[1][:200]
        elif match := self.COUNT.search(text):
            self.errors = (self.errors or 0) + int(match[1])
        return super().line(text)

    def end(self, why):
        found = "\n".join(dict.fromkeys(self.found))[:MOST_TEXT]
        return [
            *super().end(why),
            {"result": "sanitizer", "tool": self.tool, "name": self.name, "errors": self.errors, "text": found,
             "why": why},
        ]  # fmt: skip


class TestFeed:
    """JUnit's console with --details=testfeed prints a line when a test begins and when it ends."""

    LINE = re.compile(r"^(?:JUnit Jupiter > )?(\S.*) :: (STARTED|SUCCESSFUL|FAILED|ABORTED|SKIPPED)$")
    VERDICTS = {"SUCCESSFUL": "passed", "FAILED": "failed", "ABORTED": "skipped", "SKIPPED": "skipped"}

    def __init__(self):
        self.under_way, self.failed = [], None

    def line(self, text):
        match = self.LINE.match(text)
        if match is None:
            # The lines after a failure are its reason.
            if self.failed is not None and text.strip() and len(self.failed["text"]) < MOST_TEXT:
                self.failed["text"] += text.strip()[:200] + "\n"
            return []
        name, state = match.groups()
        results = self._failure()
        if state == "STARTED":
            self.under_way.append(name)
            return results
        if name in self.under_way:
            self.under_way.remove(name)
        result = {"result": "test", "name": name, "verdict": self.VERDICTS[state], "ms": None}
        if state == "FAILED":
            self.failed = {**result, "text": ""}
            return results
        return [*results, result]

    def _failure(self):
        failed, self.failed = self.failed, None
        return [] if failed is None else [failed]

    def end(self, why):
        results = self._failure()
        if why:
            verdict = "stopped" if why.startswith("stopped") else "crashed"
            # The test that began last was running.
            results += [
                {"result": "test", "name": name, "verdict": verdict, "ms": None, "text": why}
                for name in self.under_way[-1:]
            ]
        self.under_way = []
        return results


class Counters:
    """ncu --csv --page raw prints a line of metric names, one of units, and one for each kernel."""

    # Our name, ncu's names (the first one present is used), and a factor.
    METRICS = (
        ("dram", ("gpu__dram_throughput.avg.pct_of_peak_sustained_elapsed",
                  "dram__throughput.avg.pct_of_peak_sustained_elapsed"), 1),
        ("l2", ("lts__throughput.avg.pct_of_peak_sustained_elapsed",), 1),
        ("issue", ("smsp__issue_active.avg.pct_of_peak_sustained_active",
                   "sm__inst_issued.avg.pct_of_peak_sustained_active"), 1),
        ("issue", ("smsp__issue_active.avg.per_cycle_active", "smsp__issue_active.avg"), 100),
        ("occupancy", ("sm__warps_active.avg.pct_of_peak_sustained_active",), 1),
        ("load_sectors", ("l1tex__average_t_sectors_per_request_pipe_lsu_mem_global_op_ld.ratio",), 1),
        ("store_sectors", ("l1tex__average_t_sectors_per_request_pipe_lsu_mem_global_op_st.ratio",), 1),
        ("l2_writes", ("lts__t_sectors_op_write.avg.pct_of_peak_sustained_elapsed",), 1),
    )  # fmt: skip
    STALL = re.compile(r"^smsp__average_warps?_(?:latency_)?issue_stalled_(\w+?)(?:_per_issue_active)?\.ratio$")
    LATENCY = "smsp__average_warp_latency_per_inst_issued.ratio"
    STALLS = ("membar", "barrier", "short_scoreboard", "long_scoreboard")
    NANOSECONDS = {"ns": 1, "nsecond": 1, "us": 1e3, "usecond": 1e3, "ms": 1e6, "msecond": 1e6, "s": 1e9, "second": 1e9}

    def __init__(self, case):
        self.case, self.lines = case, []

    def line(self, text):
        if text.startswith('"'):
            self.lines.append(text)
        return []

    def end(self, why):
        rows = [row for row in csv.reader(self.lines) if row]
        at = next((i for i, row in enumerate(rows) if row[0] == "ID"), None)
        if at is None or len(rows) < at + 3:
            return []
        names, units = rows[at], rows[at + 1]
        return [
            self._kernel(dict(zip(names, row)), dict(zip(names, units)))
            for row in rows[at + 2 :]
            if len(row) == len(names)
        ]

    def _kernel(self, row, units):
        result = {"result": "counter", "case": self.case, "kernel": row.get("Kernel Name", "")}
        for name, of_ncu, factor in self.METRICS:
            value = next((v for v in (number(row.get(metric)) for metric in of_ncu) if v is not None), None)
            if value is not None:
                result.setdefault(name, round(factor * value, 2))
        duration = "gpu__time_duration.sum"
        if (value := number(row.get(duration))) is not None:
            result["us"] = round(value * self.NANOSECONDS.get(units.get(duration), 1) / 1e3, 2)
        stalls = {}
        for metric, text in row.items():
            if (match := self.STALL.match(metric)) and not match[1].endswith("_not_issued"):
                stalls[match[1]] = number(text) or 0.0
        whole = number(row.get(self.LATENCY)) or sum(stalls.values())
        if stalls and whole:
            shares = {name: round(100 * value / whole, 1) for name, value in stalls.items()}
            result["stalls"] = {name: shares.get(name, 0.0) for name in self.STALLS}
            rest = {name: share for name, share in shares.items() if name not in self.STALLS}
            if rest:
                most = max(rest, key=rest.get)
                result["other_stall"] = [most, rest[most]]
        return result


def number(text):
    """ncu writes thousands with commas, and n/a for a missing value."""
    try:
        return float((text or "").replace(",", ""))
    except ValueError:
        return None
