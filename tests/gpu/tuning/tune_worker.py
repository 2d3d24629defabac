"""The process of tune.py that uses the device: checks and times one case after the other, and writes a line before and
after each step, so that the parent process knows what was running if it dies."""

import contextlib
import ctypes
import json
import lzma
import os
import statistics
import tempfile

import variants as table_of_variants
from tune_jobs import AGAIN, PRODUCT, SHIPPED, key_of, name_of
from variants import UNCHANGED

EPSILON = 1e-5


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
        """The library of a candidate, with its plugin, unpacked if it was packed."""
        if name not in self.libraries:
            library = self.file("libraries", name)
            if library is None:
                library = self.file("libraries", UNCHANGED)
            plugin = self.plugins.get(name) or self.file("plugins", name)
            self.libraries[name] = self.binding.Library(library, plugin)
            if self.stand_in:
                # All memory of this process belongs to the simulated device.
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
            if unwritten := case.unwritten(expected):
                # Without written results there is nothing to compare: a variant that writes nothing would have the same
                # bits.
                raise RuntimeError(f"the product: {unwritten}")
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
                        # A device error is sticky: the rest needs another process.
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
    """The tensors of a case, in enough sets to exceed the caches."""

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
                self.settle(plan)
            worker.clock.synchronize()

    def random(self, *shape):
        torch = self.torch
        made = torch.empty(*shape, dtype=self.dtype, device=self.worker.device)
        for piece in made.view(-1).split(1 << 28):
            piece.copy_(torch.randn(piece.shape, device=self.worker.device).add_(0.25))
        return made

    def plan(self, name):
        return self.worker.library(name).plan(self.job["op"], self.n, x=self.job["dtype"], device=0, epsilon=EPSILON)

    def settle(self, plan):
        """The simulator runs a stream's work only when something waits for it."""
        if self.worker.stand_in:
            plan.library.nc_cuda_stream_synchronize(0, 0)

    def launch_forward(self, plan, i):
        plan.forward(self.rows, self.x[i].data_ptr(), self.weight.data_ptr(), address(self.bias),
                     self.out[i].data_ptr(), self.mean.data_ptr() if self.has_bias else 0, self.rstd.data_ptr(),
                     stream=self.worker.clock.handle())  # fmt: skip

    def work(self, name, plans):
        """A function that runs the candidate on set i."""
        plan = plans.enter_context(self.plan(name))

        def forward(i):
            self.launch_forward(plan, i)
            self.settle(plan)

        if self.forward:
            return forward
        size = plan.workspace_bytes(self.rows)
        with self.worker.clock.current():
            workspace = self.torch.empty(max(size, 8), dtype=self.torch.uint8, device=self.worker.device)

        # All sets use the statistics of the first one: times do not depend on them.
        def backward(i):
            plan.backward(self.rows, self.x[i].data_ptr(), self.weight.data_ptr(), self.dy[i].data_ptr(),
                          self.mean.data_ptr() if self.has_bias else 0, self.rstd.data_ptr(), self.out[i].data_ptr(),
                          self.dweight.data_ptr(), self.dbias.data_ptr() if self.has_bias else 0, workspace.data_ptr(),
                          size, stream=self.worker.clock.handle())  # fmt: skip
            self.settle(plan)

        return backward

    def results(self, work):
        """The candidate's results on the first set, in memory that was filled with NaN bytes."""
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

    def unwritten(self, results):
        """Where a result was not written; empty if nowhere."""
        for name, tensor in results.items():
            whole = tensor.view(-1).view(self.torch.int16 if tensor.element_size() == 2 else self.torch.int32)
            if count := sum(int((piece == -1).sum()) for piece in whole.split(1 << 28)):
                return f"{name}: {count} of {whole.numel()} elements are not written"
        return ""

    def differing(self, results, expected):
        """Where results have other bits than expected; empty if nowhere."""
        for name, tensor in results.items():
            same = self.torch.int16 if tensor.element_size() == 2 else self.torch.int32
            ours, theirs = tensor.view(-1).view(same), expected[name].view(-1).view(same)
            if not self.torch.equal(ours, theirs):
                count = sum(int((a != b).sum()) for a, b in zip(ours.split(1 << 28), theirs.split(1 << 28)))
                return f"{name}: {count} of {ours.numel()} elements have other bits"
        return ""

    def reference(self):
        """The float64 results, with the rounding-error bound of any order of sums in float32: y or dx of some rows,
        dweight and dbias of all.

        A sum of k float32 terms, sequential and then by a tree, has an error of at most (k + log2(count)) units of
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
        """Where results differ from the reference by more than rounding explains or, in rows without a reference, are
        far from the product's; empty if nowhere."""
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
