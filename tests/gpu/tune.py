#!/usr/bin/env python3
"""Times the variants that variants.py has built against the product, and sets what was predicted beside it.

tune.py DIRECTORY OUT [--budget SECONDS] [--only NAMES] [--product LIBRARY] [--stand-in]

For each case (direction, norm, format, shape) the product and all variants that are measured there work on the same
tensors, in turns; the product takes part twice, and what it differs by from itself is the noise. Before that a variant
must give the product's bits or, where its order of sums is another, lie within the bound of rounding errors of float64.
Writes OUT/tune.json after each case and OUT/tune.md at the end. A variant that fails, or that ends the process, loses
its own results and no other's: the cases run in a process of their own, which is begun again without it.

--stand-in runs it all without a GPU, on plugins of variants.py build --simulator and the host's clock: its times mean
nothing.
"""

import argparse
import contextlib
import ctypes
import datetime
import json
import lzma
import os
import statistics
import subprocess
import sys
import tempfile
import time

import variants as table_of_variants
from variants import UNCHANGED

HERE = os.path.dirname(os.path.abspath(__file__))
PRODUCT, AGAIN, SHIPPED = "product", "product again", "as shipped"
EPSILON = 1e-5
STALL_SECONDS = 60  # without a line, and a process hangs
STAND_IN_SHAPES = {"tiny": ["40x64"], "short": ["24x256"], "middle": ["12x1024", "6x4096"], "long": ["5x16384"],
                   "longest": ["3x32768"], "few": ["2x4096"]}  # fmt: skip


# ---- what to do, and in what order


def jobs_of(table, built, only, stand_in):
    """The cases in the order in which they are timed, each with the variants that are timed together."""
    shapes = STAND_IN_SHAPES if stand_in else table["shapes"]
    groups = {}
    for variant in table_of_variants.variants_of(table):
        if "kernels" not in built.get(variant["name"], {}) or variant["name"] == UNCHANGED:
            continue
        if only and not any(part in variant["name"] for part in only):
            continue
        for kind in variant["shapes"]:
            for shape in shapes[kind]:
                rows, n = map(int, shape.split("x"))
                for dtype in variant["dtypes"]:
                    for op in variant["ops"]:
                        for direction in variant["directions"]:
                            key = (variant["priority"], dtype != "bfloat16", op, kind, rows, n, direction)
                            groups.setdefault(key, []).append(variant["name"])
    order = ["middle", "short", "long", "tiny", "few", "longest"]
    jobs = []
    for key in sorted(groups, key=lambda k: (k[0], k[1], order.index(k[3]), k[2] != "rms_norm", k[5], k[6])):
        priority, is_float32, op, kind, rows, n, direction = key
        jobs.append({"priority": priority, "dtype": "float32" if is_float32 else "bfloat16", "op": op, "kind": kind,
                     "rows": rows, "n": n, "direction": direction, "variants": groups[key]})  # fmt: skip
    return jobs


def name_of(job):
    return f"{job['direction']} {job['op']} {job['dtype']} {job['rows']}x{job['n']}"


# ---- the process that works on the device


class Worker:
    def __init__(self, arguments, out):
        import clock
        import library
        import torch

        self.clock_module, self.binding, self.torch = clock, library, torch
        self.directory, self.stand_in, self.out = arguments.directory, arguments.stand_in, out
        self.device = "cpu" if self.stand_in else "cuda"
        self.clock = clock.HostClock() if self.stand_in else clock.DeviceClock()
        self.plugins = {SHIPPED: arguments.product}
        self.libraries = {}
        self.folder = tempfile.TemporaryDirectory()
        self.bits = {v["name"]: v["bits"] for v in table_of_variants.variants_of(table_of_variants.read_table())}
        torch.manual_seed(int.from_bytes(os.urandom(4), "little"))
        cache = 1 << 16
        about = {"device": "host, simulated", "multiprocessors": 0}
        if not self.stand_in:
            properties = torch.cuda.get_device_properties(0)
            cache = getattr(properties, "L2_cache_size", 64 << 20)
            about = {"device": properties.name, "multiprocessors": properties.multi_processor_count}
        self.cache = cache
        self.put({"about": {**about, "torch": torch.__version__, "clock": self.clock.name}})

    def put(self, line):
        self.out.write(json.dumps(line) + "\n")
        self.out.flush()

    def library(self, name):
        """The library of a candidate, with its plugin, unpacked where it came packed."""
        if name not in self.libraries:
            library = self.file("libraries", name)
            if library is None:
                library = self.file("libraries", UNCHANGED)
            plugin = self.plugins.get(name) or self.file("plugins", name)
            self.libraries[name] = self.binding.Library(library, plugin)
            if self.stand_in:
                # All memory of this process is the simulated device's.
                register = ctypes.CDLL(plugin)["_ZN2nc4simt15register_memoryElli"]
                register.argtypes = [ctypes.c_int64, ctypes.c_int64, ctypes.c_int32]
                register(4096, 1 << 62, 0)
        return self.libraries[name]

    def file(self, kind, name):
        path = os.path.join(self.directory, kind, f"{UNCHANGED if name == PRODUCT else name}.so")
        if not os.path.exists(path + ".xz"):
            return path if os.path.exists(path) else None
        unpacked = os.path.join(self.folder.name, f"{kind}-{os.path.basename(path)}")
        if not os.path.exists(unpacked):
            with lzma.open(path + ".xz") as packed, open(unpacked, "wb") as file:
                file.write(packed.read())
        return unpacked

    def run(self, job):
        case = Case(self, job)
        with contextlib.ExitStack() as plans:
            mark = {"case": name_of(job), "doing": "check"}
            self.put({**mark, "variant": PRODUCT})
            works = {PRODUCT: case.work(PRODUCT, plans)}
            expected = case.results(works[PRODUCT])
            works[AGAIN] = works[PRODUCT]
            verdicts, reference = {}, None
            for name in job["variants"] + ([SHIPPED] if self.plugins[SHIPPED] else []):
                self.put({**mark, "variant": name})
                try:
                    work = case.work(name, plans)
                    results = case.results(work)
                except (RuntimeError, OSError) as e:
                    verdicts[name] = self.clock_module.reason_of(e)
                    if not self.stand_in:
                        # An error of the device stays: what follows needs another process.
                        self.torch.cuda.synchronize()
                    continue
                if self.bits.get(name, "same") == "same":
                    wrong = case.differing(results, expected)
                else:
                    if reference is None:
                        reference = case.reference()
                    wrong = case.beyond(results, expected, reference)
                verdicts[name] = wrong
                if not wrong:
                    works[name] = work
                del results
            del expected, reference
            self.put({**mark, "doing": "time", "variant": ",".join(works)})
            times, launches = case.times(works)
        result = {"case": name_of(job), "doing": "done", "key": key_of(job)}
        result |= {key: value for key, value in job.items() if key != "variants"}
        result |= {"bytes": case.moved, "sets": case.sets, "launches": launches, "microseconds": times}
        result["wrong"] = {name: why for name, why in verdicts.items() if why}
        self.put(result)


class Case:
    """The tensors of a case, in as many sets as are more than the caches hold."""

    def __init__(self, worker, job):
        torch = worker.torch
        self.worker, self.torch, self.job = worker, torch, job
        self.rows, self.n = job["rows"], job["n"]
        self.forward, self.has_bias = job["direction"] == "forward", job["op"] == "layer_norm"
        self.dtype = getattr(torch, job["dtype"])
        self.item = 2 if job["dtype"] == "bfloat16" else 4
        size = self.rows * self.n * self.item
        self.sets = 2 if worker.stand_in else max(1, min(64, -(-3 * worker.cache // size)))
        self.moved = (2 if self.forward else 3) * size + self.rows * 4 * (2 if self.has_bias else 1)
        with worker.clock.current():
            self.x = [self.random(self.rows, self.n) for _ in range(self.sets)]
            self.dy = [self.random(self.rows, self.n) for _ in range(0 if self.forward else self.sets)]
            self.out = [torch.empty_like(x) for x in self.x]
            self.weight = (self.random(self.n).float() * 0.25 + 1).to(self.dtype)
            self.bias = self.random(self.n) if self.has_bias else None
            self.dweight, self.dbias = torch.empty_like(self.weight), torch.empty_like(self.weight)
            self.mean, self.rstd = (torch.zeros(self.rows, device=worker.device) for _ in range(2))
        if not self.forward:
            with contextlib.ExitStack() as plans:
                plan = plans.enter_context(self.plan(PRODUCT))
                self.launch_forward(plan, 0)
            worker.clock.synchronize()

    def random(self, *shape):
        torch = self.torch
        made = torch.empty(*shape, dtype=self.dtype, device=self.worker.device)
        for piece in made.view(-1).split(1 << 28):
            piece.copy_(torch.randn(piece.shape, device=self.worker.device).add_(0.25))
        return made

    def plan(self, name):
        return self.worker.library(name).plan(self.job["op"], self.n, x=self.job["dtype"], device=0, epsilon=EPSILON)

    def launch_forward(self, plan, i):
        plan.forward(self.rows, self.x[i].data_ptr(), self.weight.data_ptr(), address(self.bias),
                     self.out[i].data_ptr(), self.mean.data_ptr() if self.has_bias else 0, self.rstd.data_ptr(),
                     stream=self.worker.clock.handle())  # fmt: skip

    def work(self, name, plans):
        """A function that launches the candidate on set i."""
        plan = plans.enter_context(self.plan(name))
        if self.forward:
            return lambda i: self.launch_forward(plan, i)
        size = plan.workspace_bytes(self.rows)
        with self.worker.clock.current():
            workspace = self.torch.empty(max(size, 8), dtype=self.torch.uint8, device=self.worker.device)

        # The statistics are those of the first set in all of them: times don't depend on them.
        def backward(i):
            plan.backward(self.rows, self.x[i].data_ptr(), self.weight.data_ptr(), self.dy[i].data_ptr(),
                          self.mean.data_ptr() if self.has_bias else 0, self.rstd.data_ptr(), self.out[i].data_ptr(),
                          self.dweight.data_ptr(), self.dbias.data_ptr() if self.has_bias else 0, workspace.data_ptr(),
                          size, stream=self.worker.clock.handle())  # fmt: skip

        return backward

    def results(self, work):
        """What the candidate makes of the first set, where every byte was NaN's before."""
        written = {"y": self.out[0]} if self.forward else {"dx": self.out[0], "dweight": self.dweight}
        if self.has_bias:
            written |= {"mean": self.mean} if self.forward else {"dbias": self.dbias}
        if self.forward:
            written["rstd"] = self.rstd
        with self.worker.clock.current():
            for tensor in written.values():
                tensor.view(-1).view(self.torch.uint8).fill_(255)
            work(0)
            kept = {name: tensor.clone() for name, tensor in written.items()}
        self.worker.clock.synchronize()
        return kept

    def differing(self, results, expected):
        """Where results have other bits than expected; nothing if nowhere."""
        for name, tensor in results.items():
            same = self.torch.int16 if tensor.element_size() == 2 else self.torch.int32
            ours, theirs = tensor.view(-1).view(same), expected[name].view(-1).view(same)
            if not self.torch.equal(ours, theirs):
                count = sum(int((a != b).sum()) for a, b in zip(ours.split(1 << 28), theirs.split(1 << 28)))
                return f"{name}: {count} of {ours.numel()} elements have other bits"
        return ""

    def reference(self):
        """In float64, with the bound of the rounding errors of any order of sums in float32: y or dx of some rows,
        dweight and dbias of all.

        A sum of k float32 terms, one after another and then by halving, is off by at most (k + log2(count)) units of
        2^-24 of the sum of magnitudes; k is at most 64 in a row's sums here and ceil(rows / 128) in a column's. The
        result's own rounding is half a unit of its format.
        """
        torch, n, rows = self.torch, self.n, self.rows
        unit, half = 2.0**-24, 2.0**-8 if self.item == 2 else 2.0**-24
        within_row = (64 + n.bit_length() + 16) * unit
        some = sorted({0, rows - 1, *torch.randint(rows, (min(rows, 48),)).tolist()})
        x, w = self.x[0][some].double(), self.weight.double()
        if self.forward:
            mean = x.mean(1, keepdim=True) if self.has_bias else torch.zeros_like(x[:, :1])
            centred = x - mean
            rstd = (centred.square().mean(1, keepdim=True) + EPSILON).rsqrt()
            b = self.bias.double() if self.has_bias else torch.zeros_like(w)
            y = centred * rstd * w + b
            size = (x.abs() + mean.abs() + x.abs().mean(1, keepdim=True)) * rstd * w.abs() + b.abs()
            return some, {"y": (y, half * y.abs() + within_row * size)}
        mean, rstd = (s[some].double()[:, None] for s in (self.mean, self.rstd))
        if not self.has_bias:
            mean = torch.zeros_like(mean)
        xhat, dy = (x - mean) * rstd, self.dy[0][some].double()
        h = dy * w
        c1, c2 = (h * xhat).mean(1, keepdim=True), h.mean(1, keepdim=True) if self.has_bias else 0.0
        dx = rstd * (h - xhat * c1 - c2)
        magnitude = (x.abs() + mean.abs()) * rstd
        sizes = (h * magnitude).abs().mean(1, keepdim=True), h.abs().mean(1, keepdim=True)
        size = rstd * (h.abs() + magnitude * sizes[0] + sizes[1])
        of_columns = (max(-(-rows // 128), min(rows, 64)) + 48) * unit
        sums = torch.zeros(4, n, dtype=torch.float64, device=x.device)
        step = max(1, (1 << 26) // n)
        for first in range(0, rows, step):
            cut = slice(first, first + step)
            x, dy = self.x[0][cut].double(), self.dy[0][cut].double()
            rstd = self.rstd[cut].double()[:, None]
            mean = self.mean[cut].double()[:, None] if self.has_bias else torch.zeros_like(rstd)
            sums[0] += (dy * (x - mean) * rstd).sum(0)
            sums[1] += (dy.abs() * (x.abs() + mean.abs()) * rstd).sum(0)
            sums[2] += dy.sum(0)
            sums[3] += dy.abs().sum(0)
        of_tensors = {"dx": (dx, half * dx.abs() + within_row * size)}
        of_tensors["dweight"] = (sums[0], half * sums[0].abs() + of_columns * sums[1])
        if self.has_bias:
            of_tensors["dbias"] = (sums[2], half * sums[2].abs() + of_columns * sums[3])
        return some, of_tensors

    def beyond(self, results, expected, reference):
        """Where results are farther from the reference than rounding explains, or, in rows that it leaves out, far
        from the product's; nothing if nowhere."""
        some, of_tensors = reference
        for name, (right, bound) in of_tensors.items():
            ours = results[name].double() if results[name].dim() == 1 else results[name][some].double()
            worst = ((ours - right).abs() / bound.clamp(min=1e-300)).max().item()
            if not worst <= 1:
                return f"{name}: {worst:.3g} times the bound of rounding errors from float64"
        for name, tensor in results.items():
            apart = size = 0.0
            for a, b in zip(tensor.view(-1).split(1 << 26), expected[name].view(-1).split(1 << 26)):
                b = b.double()
                apart += (a.double() - b).square().sum().item()
                size += b.square().sum().item()
            if not apart <= size * 2.0**-14:
                return f"{name}: {(apart / max(size, 1e-300)) ** 0.5:.3g} of its norm from the product's"
        return ""

    def times(self, works):
        """Medians and quartiles in microseconds, and the launches of a sample."""
        clock = self.worker.clock
        estimate = max(self.moved / 2.5e6, 60.0)
        samples = 5 if self.worker.stand_in else max(9, min(50, int(1.2e6 / (estimate * len(works)))))
        timed = clock.replayed if self.moved < 16 << 20 else clock.interleaved
        answers = timed(works, self.sets, samples)
        times, launches = {}, {}
        for name, answer in answers.items():
            if isinstance(answer, str):
                raise RuntimeError(f"{name}: {answer}")
            quartiles = statistics.quantiles(answer.microseconds, n=4)
            times[name] = [quartiles[1], quartiles[0], quartiles[2]]
            launches[name] = answer.launches
        return times, launches


def address(tensor):
    return 0 if tensor is None else tensor.data_ptr()


def work_through(arguments):
    with open(arguments.jobs) as file:
        jobs = json.load(file)
    with open(arguments.out, "a") as out:
        worker = Worker(arguments, out)
        for job in jobs:
            try:
                worker.run(job)
            except worker.torch.cuda.OutOfMemoryError as e:
                worker.put({"case": name_of(job), "doing": "done", "key": key_of(job), "failed": str(e)[:300]})
            if not arguments.stand_in:
                worker.torch.cuda.empty_cache()


# ---- the process that sees to it that all get their turn


def supervise(arguments, jobs, deadline):
    """Runs the jobs in a process, and again without whatever ended it. All that was said, and what was left out."""
    said, excluded, left = [], {}, list(jobs)
    with tempfile.TemporaryDirectory() as folder:
        while left and time.monotonic() < deadline:
            queue, out = os.path.join(folder, "jobs.json"), os.path.join(folder, f"{len(excluded)}-{len(left)}.jsonl")
            with open(queue, "w") as file:
                json.dump(left, file)
            open(out, "w").close()
            command = [sys.executable, os.path.join(HERE, "tune.py"), arguments.directory, out, "--jobs", queue]
            command += ["--stand-in"] if arguments.stand_in else []
            command += ["--product", arguments.product] if arguments.product else []
            log = os.path.join(folder, "log.txt")
            environment = dict(os.environ)
            if arguments.stand_in:
                # Each simulator wants thread-local memory of a kind of which there is little.
                environment["GLIBC_TUNABLES"] = "glibc.rtld.optional_static_tls=65536"
            with open(log, "w") as errors:
                process = subprocess.Popen(command, stdout=errors, stderr=subprocess.STDOUT, env=environment)
            status, lines = watched(process, out, deadline, lambda lines: record(arguments, said + lines, excluded))
            said += lines
            done = [line["key"] for line in lines if line.get("doing") == "done"]
            left = [job for job in left if key_of(job) not in done]
            if status == 0 or status == "deadline":
                break
            last = next((line for line in reversed(lines) if "doing" in line), None)
            with open(log, errors="replace") as file:
                tail = file.read().strip().splitlines()[-1:]
            reason = f"{status} {' '.join(tail)}"[:300]
            left = without_culprit(left, last, reason, excluded)
            print(f"{last['case'] if last else 'the start'}: {reason}", flush=True)
    return said, excluded, left


def key_of(job):
    return [name_of(job), *job["variants"]]


def without_culprit(left, last, reason, excluded):
    """The jobs once more, less whatever was under way when the process ended."""
    if last is None or last.get("doing") == "done":
        excluded["all"] = reason
        return []
    case = next((job for job in left if name_of(job) == last["case"]), None)
    if case is None:
        excluded["all"] = reason
        return []
    if last["doing"] == "time" and len(case["variants"]) > 1:
        # Nobody knows whose kernel it was: one by one they tell.
        at = left.index(case)
        return left[:at] + [{**case, "variants": [name]} for name in case["variants"]] + left[at + 1 :]
    culprit = case["variants"][0] if last["doing"] == "time" else last["variant"]
    if culprit == PRODUCT:
        excluded[f"product, {last['case']}"] = reason
        return [job for job in left if job is not case]
    excluded[culprit] = f"{last['case']}: {reason}"
    kept = [{**job, "variants": [v for v in job["variants"] if v != culprit]} for job in left]
    return [job for job in kept if job["variants"]]


def watched(process, path, deadline, each):
    """Waits for a process as long as it goes on writing; its exit status, or why it was ended, and its lines."""
    lines, changed = [], time.monotonic()
    while True:
        status = process.poll()
        with open(path) as file:
            now = [json.loads(line) for line in file.read().splitlines(keepends=True) if line.endswith("\n")]
        if len(now) > len(lines):
            changed = time.monotonic()
            if any(line.get("doing") == "done" for line in now[len(lines) :]):
                each(now)
            lines = now
        if status is not None:
            return (0 if status == 0 else f"exit status {status}:"), lines
        over = time.monotonic() > deadline
        if over or time.monotonic() - changed > STALL_SECONDS:
            process.kill()
            process.wait()
            return ("deadline" if over else f"nothing for {STALL_SECONDS} s:"), lines
        time.sleep(0.05 if len(lines) < 3 else 0.2)


# ---- what it came to


def record(arguments, said, excluded, left=(), **more):
    report = {
        "date": datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%d"),
        "means_nothing": arguments.stand_in,
        "about": next((line["about"] for line in said if "about" in line), None),
        "cases": [line for line in said if line.get("doing") == "done"],
        "excluded": excluded,
        "left_out": [f"{name_of(job)}: {', '.join(job['variants'])}" for job in left],
        **more,
    }
    with open(os.path.join(arguments.out, "tune.json.part"), "w") as file:
        json.dump(report, file, indent=1)
    os.replace(os.path.join(arguments.out, "tune.json.part"), os.path.join(arguments.out, "tune.json"))
    return report


def noise_of(case):
    """How far the product is from itself: between its two turns, and within half the width of its quartiles."""
    (median, low, high), (again, *_) = case["microseconds"][PRODUCT], case["microseconds"][AGAIN]
    return max(abs(again / median - 1), (high - low) / 2 / median)


def change_of(case, name):
    """Of the time; negative is faster."""
    own = case["microseconds"]
    return own[name][0] / ((own[PRODUCT][0] + own[AGAIN][0]) / 2) - 1


def merged(cases):
    """By case, whatever was measured of it, with the change of each variant."""
    by_name = {}
    for case in cases:
        if "failed" in case:
            continue
        new = {"case": case["case"], "bytes": case["bytes"], "noise": 0.0, "change": {}, "wrong": {}}
        known = by_name.setdefault(case["case"], {**new, "product": case["microseconds"][PRODUCT][0]})
        known["noise"] = max(known["noise"], noise_of(case))
        known["wrong"] |= case["wrong"]
        for name in case["microseconds"]:
            if name not in (PRODUCT, AGAIN):
                known["change"][name] = change_of(case, name)
    return list(by_name.values())


def percent(value):
    return f"{100 * value:+.1f}"


def markdown(table, built, report):
    cases = merged(report["cases"])
    about = report["about"] or {"device": "no device"}
    if report["means_nothing"]:
        yield "**A TRIAL WITHOUT A GPU: NO TIME BELOW MEANS ANYTHING.**\n"
    yield f"# Variants, {about['device']}, {report['date']}\n"
    yield f"{about.get('multiprocessors')} multiprocessors, {about.get('clock')}. Microseconds are medians; a variant's"
    yield "column is the change of the product's time in %, negative is faster. Noise: the product against itself, %.\n"
    for lead in table["lead"]:
        names = [v["name"] for v in lead["variant"] if v["name"] != UNCHANGED]
        if lead["name"] == "nothing":
            names = [SHIPPED]
        rows = [case for case in cases if any(name in case["change"] or name in case["wrong"] for name in names)]
        yield f"## {lead['name']}: {lead['question']}\n"
        for variant in lead["variant"]:
            spills = built.get(variant["name"], {}).get("kernels", {}).get("spills")
            yield f"- **{variant['name']}** ({variant['bits']} bits): {variant['change']}."
            yield f"  Prediction: {variant['prediction']}"
            yield f"  Outcome: {outcome(variant['name'], rows, report, built)}"
            if spills:
                yield f"  Bytes of registers in memory: {', '.join(f'{k}: {v}' for k, v in spills.items())}."
        yield ""
        if rows:
            yield f"| case | product us | GB/s | noise | {' | '.join(names)} |"
            yield f"|---|---|---|---|{'---|' * len(names)}"
            for case in rows:
                cells = [cell(case, name) for name in names]
                rate = case["bytes"] / case["product"] / 1e3
                yield (f"| {case['case']} | {case['product']:.1f} | {rate:.0f} | {100 * case['noise']:.1f} |"
                       f" {' | '.join(cells)} |")  # fmt: skip
            yield ""
    yield from price(table, cases)
    for name, why in report["excluded"].items():
        yield f"Ended the process: {name}: {why}\n"
    for case in cases:
        for name, why in case["wrong"].items():
            yield f"Wrong: {name}, {case['case']}: {why}\n"
    for case in report["cases"]:
        if "failed" in case:
            yield f"Failed: {case['case']}: {case['failed']}\n"
    if report["left_out"]:
        yield "Left out for lack of time:\n"
        for line in report["left_out"]:
            yield f"- {line}"


def cell(case, name):
    if name in case["wrong"]:
        return "wrong"
    return percent(case["change"][name]) if name in case["change"] else ""


def outcome(name, rows, report, built):
    if "failed" in built.get(name, {}):
        return f"not built: {built[name]['failed']}"
    if name in report["excluded"]:
        return f"ended the process: {report['excluded'][name]}"
    changes = [(case["change"][name], case) for case in rows if name in case["change"]]
    if not changes:
        return "not measured."
    clear = [(change, case) for change, case in changes if abs(change) > max(2 * case["noise"], 0.005)]
    if not clear:
        return f"within the noise in all {len(changes)} cases."
    best, worst = min(clear, key=lambda c: c[0]), max(clear, key=lambda c: c[0])
    parts = [f"beyond the noise in {len(clear)} of {len(changes)} cases"]
    if best[0] < 0:
        parts.append(f"best {percent(best[0])} % ({best[1]['case']})")
    if worst[0] > 0:
        parts.append(f"worst {percent(worst[0])} % ({worst[1]['case']})")
    return ", ".join(parts) + "."


def price(table, cases):
    """What an order of sums for this device alone would gain over the best with the product's bits."""
    bits = {v["name"]: v["bits"] for v in table_of_variants.variants_of(table)}
    yield "## The price of the same bits\n"
    yield "The product's time over that of the fastest variant of another order of sums; and the same for the fastest"
    yield "of the product's bits, itself included: what is left is the price, none where it is within the noise.\n"
    yield "| case | product us | fastest other order | over it | fastest same bits | over it | price % | noise % |"
    yield "|---|---|---|---|---|---|---|---|"
    for case in cases:
        other = {name: change for name, change in case["change"].items() if bits.get(name) == "other"}
        same = {name: change for name, change in case["change"].items() if bits.get(name) == "same"} | {PRODUCT: 0.0}
        if not other:
            continue
        fastest, own = min(other, key=other.get), min(same, key=same.get)
        over, own_over = 1 / (1 + other[fastest]), 1 / (1 + same[own])
        gain = over / own_over - 1
        priced = percent(gain) if gain > max(case["noise"], 0.005) else "none"
        yield (f"| {case['case']} | {case['product']:.1f} | {fastest} | {over:.3f} | {own} | {own_over:.3f} |"
               f" {priced} | {100 * case['noise']:.1f} |")  # fmt: skip
    yield ""


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("directory", help="what variants.py has built")
    parser.add_argument("out", help="where tune.json and tune.md are written")
    parser.add_argument("--budget", type=float, default=520, help="seconds, at most 540")
    parser.add_argument("--only", help="names of variants, with commas between them, or parts of names")
    parser.add_argument("--product", default="", help="the plugin as it is shipped, to be timed as one more variant")
    parser.add_argument("--stand-in", action="store_true", help="a trial without a GPU; its times mean nothing")
    parser.add_argument("--jobs", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.jobs:
        return work_through(arguments)
    begun = time.monotonic()
    deadline = begun + min(arguments.budget, 540)
    os.makedirs(arguments.out, exist_ok=True)
    table = table_of_variants.read_table()
    with open(os.path.join(arguments.directory, "built.json")) as file:
        built = json.load(file)
    if built["simulator"] != arguments.stand_in:
        sys.exit("tune.py: plugins of the simulator are for --stand-in, and only they")
    built = built["variants"]
    if "kernels" not in built.get(UNCHANGED, {}):
        sys.exit(f"tune.py: {arguments.directory} has no {UNCHANGED}, which stands for the product")
    only = arguments.only.split(",") if arguments.only else []
    jobs = jobs_of(table, built, only, arguments.stand_in)
    said, excluded, left = supervise(arguments, jobs, deadline)
    report = record(arguments, said, excluded, left, seconds=time.monotonic() - begun, built=built)
    lines = list(markdown(table, built, report))
    with open(os.path.join(arguments.out, "tune.md"), "w") as file:
        file.write("\n".join(lines) + "\n")
    cases = merged(report["cases"])
    if arguments.stand_in:
        print("A TRIAL WITHOUT A GPU: NO TIME MEANS ANYTHING")
    for variant in table_of_variants.variants_of(table):
        if variant["name"] != UNCHANGED:
            print(f"{variant['name']:26} {outcome(variant['name'], cases, report, built)}")
    for line in price(table, cases):
        print(line)
    wrong = sum(len(case["wrong"]) for case in cases)
    print(f"{len(report['cases'])} of {len(jobs)} groups in {report['seconds']:.0f} s; {wrong} wrong results,"
          f" {len(excluded)} ended the process, {len(report['left_out'])} left out")  # fmt: skip
    sys.exit(1 if wrong or excluded or not report["cases"] else 0)


if __name__ == "__main__":
    main()
