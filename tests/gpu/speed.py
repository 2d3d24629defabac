#!/usr/bin/env python3
"""Times the norms on this machine's GPU beside PyTorch's own and beside a copy of as many bytes.

speed.py LIBRARY OUT.json [--budget SECONDS]

PyTorch gives memory, streams, events and graphs; the library is called through its C interface. Every time is that of
one launch inside a replayed CUDA graph, whose launches go round over more memory than the second-level cache holds: the
median over replays. A case is compared with PyTorch's result before it is timed.
"""

import argparse
import ctypes
import json
import statistics
import sys
import time

import torch

FLOAT32, BFLOAT16 = 1, 2
DTYPES = {"bfloat16": (BFLOAT16, torch.bfloat16), "float32": (FLOAT32, torch.float32)}
OPS = {"rms_norm": 0, "layer_norm": 1}
WEIGHT, WEIGHT_AND_BIAS = 1, 3
GRADIENT_ABSENT, GRADIENT_WRITE = 0, 1
CUDA = 1
EPSILON = 1e-5

FULL = [(32768, n) for n in (256, 1024, 2048, 4096, 8192, 16384)] + [(16384, 65536), (8192, 131072)]
FEW_ROWS = [(8, 4096)]


class Spec(ctypes.Structure):
    """nc_norm_spec."""

    _fields_ = (
        [("struct_size", ctypes.c_uint32)]
        + [
            (name, ctypes.c_int32)
            for name in (
                "op x_dtype weight_dtype y_dtype affine scale_rounding gamma_offset variance compute residual_rounding"
                " cpu_level"
            ).split()
        ]
        + [("hidden_size", ctypes.c_int64), ("epsilon", ctypes.c_double)]
        + [("device_type", ctypes.c_int32), ("device_index", ctypes.c_int32)]
    )


class Library:
    """The functions of normcore.h that are timed, with a status that is not 0 as an exception."""

    def __init__(self, path):
        self._library = ctypes.CDLL(path)
        self._library.nc_last_error.restype = ctypes.c_char_p
        i32, i64, out = ctypes.c_int32, ctypes.c_int64, ctypes.POINTER(ctypes.c_int64)
        for name, arguments in {
            "nc_norm_plan_create": [ctypes.POINTER(Spec), out],
            "nc_norm_plan_destroy": [i64],
            "nc_norm_backward_workspace": [i64, i64, i32, i32, out],
            "nc_cuda_norm_forward": [i64] * 15,
            "nc_cuda_norm_backward": [i64] * 16 + [i32, i32, i64, i32, i32, i64],
        }.items():
            function = getattr(self._library, name)
            function.argtypes = arguments
            function.restype = i32
            setattr(self, name, self._checked(name, function))

    def _checked(self, name, function):
        def call(*arguments):
            status = function(*arguments)
            if status != 0:
                raise RuntimeError(f"{name}: status {status}: {self._library.nc_last_error().decode()}")

        return call


class Norm:
    """A plan on the GPU, and its tensors."""

    def __init__(self, library, op, dtype, rows, n):
        self.library, self.op, self.rows, self.n = library, op, rows, n
        self.code, self.torch_dtype = DTYPES[dtype]
        self.has_bias = op == "layer_norm"
        spec = Spec()
        spec.struct_size = ctypes.sizeof(Spec)
        spec.op = OPS[op]
        spec.x_dtype = spec.weight_dtype = spec.y_dtype = self.code
        spec.affine = WEIGHT_AND_BIAS if self.has_bias else WEIGHT
        spec.hidden_size = n
        spec.epsilon = EPSILON
        spec.device_type = CUDA
        spec.device_index = torch.cuda.current_device()
        plan = ctypes.c_int64()
        library.nc_norm_plan_create(ctypes.byref(spec), ctypes.byref(plan))
        self.plan = plan.value
        size = ctypes.c_int64()
        library.nc_norm_backward_workspace(self.plan, rows, 1, int(self.has_bias), ctypes.byref(size))
        self.workspace = torch.empty(max(size.value, 8), dtype=torch.uint8, device="cuda")
        self.weight = torch.rand(n, device="cuda").add_(0.5).to(self.torch_dtype)
        self.bias = torch.randn(n, device="cuda").to(self.torch_dtype) if self.has_bias else None
        self.dweight = torch.empty_like(self.weight)
        self.dbias = torch.empty_like(self.weight) if self.has_bias else None
        self.rstd = torch.empty(rows, device="cuda")
        self.mean = torch.empty(rows, device="cuda") if self.has_bias else None

    def close(self):
        self.library.nc_norm_plan_destroy(self.plan)

    def forward(self, x, y):
        self.library.nc_cuda_norm_forward(
            self.plan, self.rows, x.data_ptr(), self.n, 0, 0, self.weight.data_ptr(), address(self.bias), y.data_ptr(),
            self.n, 0, 0, address(self.mean), self.rstd.data_ptr(), torch.cuda.current_stream().cuda_stream,
        )  # fmt: skip

    def backward(self, x, dy, dx):
        self.library.nc_cuda_norm_backward(
            self.plan, self.rows, x.data_ptr(), self.n, self.weight.data_ptr(), dy.data_ptr(), self.n,
            address(self.mean), self.rstd.data_ptr(), 0, 0, dx.data_ptr(), self.n, self.workspace.data_ptr(),
            self.workspace.numel(), self.dweight.data_ptr(), self.code, GRADIENT_WRITE, address(self.dbias), self.code,
            GRADIENT_WRITE if self.has_bias else GRADIENT_ABSENT, torch.cuda.current_stream().cuda_stream,
        )  # fmt: skip

    def torch_forward(self, x):
        """PyTorch's own kernels: y and what its backward takes."""
        if self.has_bias:
            return torch.ops.aten.native_layer_norm(x, [self.n], self.weight, self.bias, EPSILON)
        return torch.ops.aten._fused_rms_norm(x, [self.n], self.weight, EPSILON)

    def torch_backward(self, x, dy, saved):
        if self.has_bias:
            mean, rstd = saved
            return torch.ops.aten.native_layer_norm_backward(
                dy, x, [self.n], mean, rstd, self.weight, self.bias, [True, True, True]
            )
        return torch.ops.aten._fused_rms_norm_backward(dy, x, [self.n], saved[0], self.weight, [True, True])


def address(tensor):
    return 0 if tensor is None else tensor.data_ptr()


class Clock:
    """Times work as one launch among many in a replayed graph."""

    def __init__(self):
        self.stream = torch.cuda.Stream()

    def microseconds(self, work, sets, estimate):
        """work(i) launches once on the i-th set of tensors; estimate: of one launch, in microseconds."""
        launches = max(sets, min(200, int(2000 / estimate) + 1))
        with torch.cuda.stream(self.stream):
            for i in range(min(launches, 3)):
                work(i % sets)
            self.stream.synchronize()
            graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(graph, stream=self.stream):
                kept = [work(i % sets) for i in range(launches)]
            times = []
            begun = time.monotonic()
            for replay in range(24):
                begin, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
                begin.record()
                graph.replay()
                end.record()
                end.synchronize()
                if replay >= 3:
                    times.append(begin.elapsed_time(end) * 1000 / launches)
                if len(times) >= 7 and time.monotonic() - begun > 0.4:
                    break
            del kept
            graph.reset()
        return statistics.median(times)

    def copy_microseconds(self, pool, moved, most_sets):
        """A device-to-device copy that moves as many bytes; the better of graph and plain stream."""
        whole = moved / 2
        half = min(moved // 2 // 256 * 256, pool[0].numel())
        sets = max(1, min(most_sets, pool[0].numel() // half))
        sources = [pool[0][i * half : (i + 1) * half] for i in range(sets)]
        targets = [pool[1][i * half : (i + 1) * half] for i in range(sets)]

        def work(i):
            targets[i].copy_(sources[i])

        best = self.microseconds(work, sets, 2 * half / 3e6)
        with torch.cuda.stream(self.stream):
            times = []
            count = max(sets, 8)
            for turn in range(8):
                begin, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
                begin.record()
                for i in range(count):
                    work(i % sets)
                end.record()
                end.synchronize()
                if turn >= 2:
                    times.append(begin.elapsed_time(end) * 1000 / count)
        return min(best, statistics.median(times)) * whole / half


def close(ours, theirs, dtype):
    """The largest difference in units of the tolerance; at most 1 is close."""
    relative = 2.0**-7 if dtype == "bfloat16" else 1e-5
    # In pieces: the whole in float32 is larger than what is compared.
    worst = 0.0
    for a, b in zip(ours.reshape(-1).split(1 << 26), theirs.reshape(-1).split(1 << 26)):
        a, b = a.float(), b.float()
        worst = max(worst, ((a - b).abs() / (relative * b.abs().clamp(min=1.0))).max().item())
    return worst


def attempt(function):
    """The function's result, or None and the reason: a peer that fails is no failure of ours."""
    try:
        return function(), None
    except (RuntimeError, AttributeError, NotImplementedError) as e:
        return None, str(e).splitlines()[0]


def measure(library, clock, pool, empty, op, dtype, rows, n, cache):
    torch_dtype = DTYPES[dtype][1]
    item = torch.empty(0, dtype=torch_dtype).element_size()
    size = rows * n * item
    # Whatever is touched again has left the cache meanwhile.
    sets = max(1, min(64, -(-3 * cache // size)))
    if sets * size > pool[0].numel():
        sets = pool[0].numel() // size
    if sets < 1:
        return [{"op": op, "dtype": dtype, "rows": rows, "n": n, "skipped": "does not fit the device's memory"}]
    x, dy, out = ([p[i * size : (i + 1) * size].view(torch_dtype).view(rows, n) for i in range(sets)] for p in pool)

    norm = Norm(library, op, dtype, rows, n)
    results = []
    try:
        for direction in ("forward", "backward"):
            statistics_bytes = rows * 4 * (2 if norm.has_bias else 1)
            moved = (2 if direction == "forward" else 3) * size + statistics_bytes
            theirs, why = attempt(lambda: norm.torch_forward(x[0]))
            norm.forward(x[0], out[0])
            torch.cuda.synchronize()
            away = {}
            if direction == "forward":
                if theirs is not None:
                    away["y"] = close(out[0], theirs[0], dtype)

                def work(i):
                    norm.forward(x[i], out[i])

                def torch_work(i):
                    return norm.torch_forward(x[i])
            else:
                saved = None if theirs is None else theirs[1:]
                theirs = None
                norm.backward(x[0], dy[0], out[0])
                torch.cuda.synchronize()
                if saved is not None:
                    theirs, why = attempt(lambda: norm.torch_backward(x[0], dy[0], saved))
                if theirs is not None:
                    away["dx"] = close(out[0], theirs[0], dtype)
                    # A sum over rows: its error is that of its largest partial sums.
                    away["dweight"] = close(norm.dweight / rows**0.5, theirs[1] / rows**0.5, dtype)

                def work(i):
                    norm.backward(x[i], dy[i], out[i])

                def torch_work(i):
                    return norm.torch_backward(x[i], dy[i], saved)

            del theirs
            estimate = moved / 2.5e6 + 3
            ours = clock.microseconds(work, sets, estimate)
            peer = None
            if why is None:
                peer, why = attempt(lambda: clock.microseconds(torch_work, sets, estimate))
            copy = clock.copy_microseconds(pool, moved, sets)
            results.append(
                {
                    "op": op, "direction": direction, "dtype": dtype, "rows": rows, "n": n, "bytes": moved,
                    "microseconds": ours, "gigabytes_per_second": moved / ours / 1e3, "copy_microseconds": copy,
                    "of_copy": copy / ours, "torch_microseconds": peer,
                    "times_torch": None if peer is None else peer / ours, "torch_failed": why,
                    "over_empty_kernel": ours - empty, "sets": sets, "difference_in_tolerances": away,
                }  # fmt: skip
            )
    finally:
        norm.close()
    return results


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("library")
    parser.add_argument("out")
    parser.add_argument("--budget", type=float, default=120, help="seconds after which no case is begun")
    arguments = parser.parse_args()
    begun = time.monotonic()
    if not torch.cuda.is_available():
        sys.exit("speed.py: PyTorch sees no CUDA device")
    torch.manual_seed(1)
    library = Library(arguments.library)
    properties = torch.cuda.get_device_properties(0)
    cache = getattr(properties, "L2_cache_size", 64 << 20)
    clock = Clock()

    free, _ = torch.cuda.mem_get_info()
    each = min(8192 * 131072 * 4, int(free * 0.2)) // 1024 * 1024
    pool = [torch.empty(each, dtype=torch.uint8, device="cuda") for _ in range(3)]
    one = torch.zeros(1, device="cuda")
    empty = clock.microseconds(lambda i: one.zero_(), 1, 2.0)

    report = {
        "device": properties.name,
        "compute_capability": f"{properties.major}.{properties.minor}",
        "multiprocessors": properties.multi_processor_count,
        "cache_bytes": cache,
        "torch": torch.__version__,
        "cuda": torch.version.cuda,
        "empty_kernel_microseconds": empty,
        "cases": [],
        "left_out": [],
    }
    wrong = []
    for dtype, (_, torch_dtype) in DTYPES.items():
        for p in pool[:2]:
            for piece in p.view(torch_dtype).split(1 << 28):
                piece.normal_()
        for rows, n in FEW_ROWS + FULL:
            for op in OPS:
                name = f"{op} {dtype} {rows}x{n}"
                if time.monotonic() - begun > arguments.budget:
                    report["left_out"].append(name)
                    continue
                try:
                    cases = measure(library, clock, pool, empty, op, dtype, rows, n, cache)
                except (RuntimeError, torch.OutOfMemoryError) as e:
                    wrong.append(f"{name}: {str(e).splitlines()[0]}")
                    continue
                report["cases"] += cases
                for case in cases:
                    for tensor, away in case.get("difference_in_tolerances", {}).items():
                        if not away <= 1:
                            wrong.append(f"{name} {case['direction']}: {tensor} is {away:.3g} tolerances from PyTorch's")
                # The next case's first write must be to memory that nobody else holds.
                torch.cuda.empty_cache()
                with open(arguments.out, "w") as file:
                    json.dump(report, file, indent=1)
    report["wrong"] = wrong
    report["seconds"] = time.monotonic() - begun
    with open(arguments.out, "w") as file:
        json.dump(report, file, indent=1)
    for line in wrong:
        print(line, file=sys.stderr)
    print(f"{len(report['cases'])} cases in {report['seconds']:.0f} s, {len(report['left_out'])} left out")
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
