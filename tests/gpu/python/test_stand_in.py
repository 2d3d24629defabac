"""The whole comparison without a GPU, and the Triton kernels without Triton's compiler; each test needs its packages.

NORMCORE_LIBRARY: libnormcore.so.
"""

import importlib.util
import json
import os
import subprocess
import sys
import tempfile
import unittest

import scripts

LIBRARY = os.environ.get("NORMCORE_LIBRARY", "")


def lacks(*modules):
    """The modules of these that this Python lacks."""
    return ", ".join(m for m in modules if importlib.util.find_spec(m) is None)


@unittest.skipUnless(LIBRARY, "NORMCORE_LIBRARY names no library")
@unittest.skipIf(lacks("torch"), f"this Python has no {lacks('torch')}")
class StandIn(unittest.TestCase):
    def test_it_measures_checks_and_reports(self):
        with tempfile.TemporaryDirectory() as out:
            command = [sys.executable, scripts.path_of("compare.py"), "--stand-in", "--library", LIBRARY, "--out", out, "--budget", "40"]
            run = subprocess.run([*command, "--peers", "PyTorch,cuDNN"], env=scripts.environment(), capture_output=True, text=True)
            self.assertEqual(run.returncode, 0, run.stdout + run.stderr)
            written = os.listdir(os.path.join(out, "results"))
            self.assertTrue(all(name.startswith("trial-") for name in written), written)
            paths = {os.path.splitext(name)[1]: os.path.join(out, "results", name) for name in written}
            with open(paths[".json"]) as file:
                report = json.load(file)
            with open(paths[".md"]) as file:
                text = file.read()
            self.assertEqual(".svg" in paths, not lacks("matplotlib"))
        self.assertEqual(report["wrong"], [])
        self.assertTrue(report["trial"])
        self.assertIn("TRIAL", text)
        self.assertGreater(len(report["cases"]), 10)
        for case in report["cases"]:
            self.assertIn("Normcore", case["candidates"])
            self.assertIn("copy", case["candidates"])
            self.assertLessEqual(max(case["differences"]["Normcore"].values()), 1)
            self.assertIn("cuDNN", case["reasons"])
            self.assertTrue("PyTorch" in case["reasons"] or "PyTorch" in case["candidates"])

    def test_wrong_results_are_not_timed(self):
        program = """
import sys, torch
import cases, clock, compare, library, ours, peers, tensors
for name, module in (("torch", torch), ("tensors", tensors), ("clocks", clock), ("peers_module", peers)):
    setattr(compare, name, module)
class Wrong(peers.PyTorch):
    def norm_of(self, group, kind):
        norm = super().norm_of(group, kind)
        return lambda x, residual, weight, bias: norm(x, residual, weight, bias) * 1.01
class Raising(peers.PyTorch):
    calls = 0
    def prepare(self, group, kind, inputs):
        work = super().prepare(group, kind, inputs)
        def later(i):
            self.calls += 1
            if self.calls > 4:
                raise ValueError("no more")
            return work(i)
        return later
group = cases.Group(0, "layer_norm", "float32", "float32", 80, 64, ("forward", "backward"))
pools = tensors.Pools(1 << 16, torch.device("cpu"))
report = {"samples": 3, "cache_bytes": 1, "cases": [], "left_out": [], "wrong": []}
held = {"Wrong": Wrong(), "PyTorch": peers.PyTorch(), "Raising": Raising()}
import time
c = compare.Comparison(clock.HostClock(), pools, ours.Ours(library.Library(sys.argv[1]), clock.HostClock(), None), held,
                       cases.Budget(60, time.monotonic), report, sys.argv[2], 1e9)
c.group(group)
forward, backward = report["cases"]
assert report["wrong"] == [], report["wrong"]
assert "beyond the tolerance: y" in forward["reasons"]["Wrong"], forward["reasons"]
assert "no more" in forward["reasons"]["Raising"], forward["reasons"]
assert set(forward["candidates"]) == {"Normcore", "copy", "PyTorch"}, forward["candidates"]
assert set(backward["candidates"]) == {"Normcore", "copy", "PyTorch"}, backward["candidates"]

class Narrow(compare.Comparison):
    def free_bytes(self):
        return 12 * group.tensor_bytes
c.peers = {"A": peers.PyTorch(), "Wrong": Wrong(), "B": peers.PyTorch(), "C": peers.PyTorch()}
c.__class__ = Narrow
c.group(group)
for case in report["cases"][2:]:
    assert set(case["candidates"]) == {"Normcore", "copy", "A", "B", "C"}, case["candidates"]
    # Two rounds: two peers fit, and one that is wrong takes no room.
    counts = {name: len(candidate["samples"]) for name, candidate in case["candidates"].items()}
    assert counts == {"Normcore": 6, "copy": 6, "A": 3, "B": 3, "C": 3}, counts
"""
        with tempfile.TemporaryDirectory() as out:
            command = [sys.executable, "-c", program, LIBRARY, os.path.join(out, "result")]
            run = subprocess.run(command, env=scripts.environment(), capture_output=True, text=True)
        self.assertEqual(run.returncode, 0, run.stdout + run.stderr)


@unittest.skipIf(lacks("torch", "triton"), f"this Python has no {lacks('torch', 'triton')}")
class Triton(unittest.TestCase):
    def test_kernels_in_the_interpreter(self):
        program = """
import torch
import cases, peers, tensors
torch.manual_seed(2)
for n, rows in ((64, 5), (100, 3), (769, 2), (1024, 1)):
    for op in cases.OPS:
        for x_dtype, weight_dtype in cases.DTYPES:
            group = cases.Group(0, op, x_dtype, weight_dtype, rows, n, cases.KINDS)
            pools = tensors.Pools(group.tensor_bytes, torch.device("cpu"))
            pools.draw(x_dtype)
            inputs = tensors.inputs_of(group, pools, 1)
            for kind in cases.KINDS:
                expected = tensors.Expected(
                    group, kind, inputs, kind in cases.BACKWARD_KINDS, kind in cases.RESIDUAL_KINDS
                )
                results = peers.Triton(torch.device("cpu"), 2).prepare(group, kind, inputs)(0)
                away = expected.differences(results)
                # The interpreter rounds to bfloat16 towards zero.
                most = 1 if x_dtype == "float32" else 3
                assert max(away.values()) <= most and not expected.other_types(results), (str(group), kind, away)
"""
        run = subprocess.run(
            [sys.executable, "-c", program],
            env={**scripts.environment(), "TRITON_INTERPRET": "1"}, capture_output=True, text=True,
        )  # fmt: skip
        self.assertEqual(run.returncode, 0, run.stdout + run.stderr)

    def test_launches(self):
        program = """
import triton_norm as t
assert t.block_and_warps(64) == (64, 1) and t.block_and_warps(4096) == (4096, 8)
assert t.block_and_warps(5120) == (8192, 16) and t.block_and_warps(65536) == (65536, 32)
try:
    t.block_and_warps(65537)
    raise SystemExit("a row of 65537 was taken")
except ValueError:
    pass
assert t.programs_of(32768, 32, 132) == 132 and t.programs_of(32768, 8, 132) == 528
assert t.programs_of(32768, 1, 132) == 2112 and t.programs_of(3, 1, 132) == 3
"""
        run = subprocess.run([sys.executable, "-c", program], env=scripts.environment(), capture_output=True, text=True)
        self.assertEqual(run.returncode, 0, run.stdout + run.stderr)


if __name__ == "__main__":
    unittest.main()
