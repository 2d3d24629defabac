#!/usr/bin/env python3
"""Lists the kernels of our calls as PyTorch's profiler reports them: names, times, launch parameters, and the gap
between the two kernels of a backward. One line of JSON each.

kernel_names.py [--library LIBRARY] [--stand-in]

--stand-in: a trial without a GPU, with an invented trace.
"""

import argparse
import json
import os
import re
import statistics
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
# In the packed kit all scripts lie in one folder; here they lie in three.
sys.path += [os.path.join(HERE, "..", name) for name in ("kit", "compare", "tuning")]
CALLS = 6
CASES = [
    (op, dtype, rows, n)
    for op, dtype, shapes in (
        ("rms_norm", "bfloat16", ((1048576, 64), (32768, 256), (32768, 1024), (32768, 4096), (32768, 16384),
                                  (32768, 32768), (8192, 262144), (8, 4096))),
        ("rms_norm", "float32", ((32768, 4096), (32768, 16384))),
        ("layer_norm", "bfloat16", ((32768, 256), (32768, 4096))),
    )
    for rows, n in shapes
]  # fmt: skip
FAST = re.compile(r"norm_(forward|backward)(?!_generic|_unaligned)")
COLUMNS = re.compile(r"norm_columns")


def kernels_of(events):
    """The kernels of a profiler's trace in execution order."""
    found = [event for event in events if event.get("cat") == "kernel"]
    return sorted(found, key=lambda event: event["ts"])


def described(case, kernels):
    """A result per kernel name: its launches in a call, its median time, its launch parameters."""
    by_name = {}
    for kernel in kernels:
        by_name.setdefault(kernel["name"], []).append(kernel)
    for name, of_name in by_name.items():
        arguments = of_name[0].get("args", {})
        result = {
            "result": "kernel", "case": case, "name": name, "us": statistics.median(k["dur"] for k in of_name),
            "launches": len(of_name) / CALLS, "hot": bool(FAST.search(name) or COLUMNS.search(name)),
        }  # fmt: skip
        for ours, theirs in (("grid", "grid"), ("block", "block")):
            if theirs in arguments:
                result[ours] = "x".join(str(v) for v in arguments[theirs] if v != 1) or "1"
        if "registers per thread" in arguments:
            result["registers"] = arguments["registers per thread"]
        if COLUMNS.search(name) and (gaps := gaps_before(name, kernels)):
            result["gap_us"] = round(statistics.median(gaps), 2)
        yield result


def gaps_before(name, kernels):
    """Microseconds between the end of the previous kernel and the start of each kernel of this name."""
    pairs = zip(kernels, kernels[1:])
    return [after["ts"] - before["ts"] - before["dur"] for before, after in pairs if after["name"] == name]


def pretended(direction):
    """An invented trace with the entries that are read, for a trial without a GPU."""
    names = ["norm_forward<>"] if direction == "forward" else ["norm_backward<>", "norm_columns<float>"]
    return [
        {"cat": "kernel", "name": f"nc::{name}", "ts": 20.0 * (i * len(names) + j), "dur": 15.0,
         "args": {"grid": [7, 1, 1], "block": [128, 1, 1], "registers per thread": 99}}
        for i in range(CALLS)
        for j, name in enumerate(names)
    ]  # fmt: skip


def traced(torch, call):
    """The events of a profiled call, which is repeated."""
    call()
    torch.cuda.synchronize()
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CUDA]) as profile:
        for _ in range(CALLS):
            call()
        torch.cuda.synchronize()
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "trace.json")
        profile.export_chrome_trace(path)
        with open(path) as file:
            return json.load(file)["traceEvents"]


def calls_of(torch, library, op, dtype, rows, n):
    """Forward and backward as functions."""
    kind = getattr(torch, dtype)
    x, dy, out = (torch.randn(rows, n, device="cuda", dtype=kind) for _ in range(3))
    weight = torch.rand(n, device="cuda", dtype=kind) + 0.5
    bias = torch.randn(n, device="cuda", dtype=kind) if op == "layer_norm" else None
    mean, rstd = torch.zeros(rows, device="cuda"), torch.ones(rows, device="cuda")
    dweight, dbias = torch.empty_like(weight), torch.empty_like(weight)
    plan = library.plan(op, n, x=dtype, device=0)
    size = plan.workspace_bytes(rows)
    workspace = torch.empty(max(8, size), dtype=torch.uint8, device="cuda")
    of_bias, of_mean, of_dbias = (
        t.data_ptr() if bias is not None else 0 for t in (weight if bias is None else bias, mean, dbias)
    )
    stream = torch.cuda.current_stream().cuda_stream

    def forward():
        plan.forward(
            rows, x.data_ptr(), weight.data_ptr(), of_bias, out.data_ptr(), of_mean, rstd.data_ptr(), stream=stream
        )

    def backward():
        plan.backward(rows, x.data_ptr(), weight.data_ptr(), dy.data_ptr(), of_mean, rstd.data_ptr(), out.data_ptr(),
                      dweight.data_ptr(), of_dbias, workspace.data_ptr(), size, stream=stream)  # fmt: skip

    return {"forward": forward, "backward": backward}, plan.close


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--library", default=os.path.join(HERE, "lib", "libnormcore.so"))
    parser.add_argument("--stand-in", action="store_true", help="a trial without a GPU")
    arguments = parser.parse_args()
    if not arguments.stand_in:
        import torch

        import library as binding

        plugin = os.path.join(os.path.dirname(os.path.abspath(arguments.library)), "libnormcore_cuda.so")
        os.environ.setdefault(binding.VARIABLE, plugin)
        library = binding.Library(arguments.library)
    seen = 0
    for op, dtype, rows, n in CASES:
        calls, close = ({"forward": None, "backward": None}, None)
        if not arguments.stand_in:
            calls, close = calls_of(torch, library, op, dtype, rows, n)
        for direction, call in calls.items():
            events = pretended(direction) if arguments.stand_in else traced(torch, call)
            for result in described(f"{direction} {op} {dtype} {rows}x{n}", kernels_of(events)):
                seen += 1
                print(json.dumps(result), flush=True)
        if close is not None:
            close()
    if seen == 0:
        sys.exit("kernel_names.py: the profiler has seen no kernel")


if __name__ == "__main__":
    main()
