"""The binding, against the library on the CPU and against plugins that simulate a GPU in host memory.

NORMCORE_LIBRARY: libnormcore.so. NORMCORE_SIMULATED_CUDA: such a plugin, or empty.
"""

import array
import ctypes
import math
import os
import shutil
import tempfile
import types
import unittest

import scripts  # Must be first: makes the kit's scripts importable.
import library as binding

LIBRARY = os.environ.get("NORMCORE_LIBRARY", "")
SIMULATED = os.environ.get("NORMCORE_SIMULATED_CUDA", "")
ROWS, N, EPSILON = 5, 24, 1e-5


def floats(count, seed=None):
    """Float32 values without a period of any vector width or, without a seed, NaN."""
    values = [math.nan if seed is None else math.sin(seed + 1.7 * i) for i in range(count)]
    return array.array("f", values)


def at(memory):
    return memory.buffer_info()[0]


class Tensors:
    """Memory on the host, and memory of the plan: the host's, or device 0 of a library."""

    INPUTS = {"x": ROWS * N, "dy": ROWS * N, "dresidual": ROWS * N, "weight": N, "bias": N}
    OUTPUTS = {"y": ROWS * N, "dx": ROWS * N, "mean": ROWS, "rstd": ROWS, "dweight": N, "dbias": N}

    def __init__(self, library=None):
        self.library = library
        self.host = {name: floats(count, seed) for seed, (name, count) in enumerate(self.INPUTS.items())}
        self.host |= {name: floats(count) for name, count in self.OUTPUTS.items()}
        self.addresses = {name: at(memory) for name, memory in self.host.items()}
        if library is not None:
            for name, memory in self.host.items():
                self.addresses[name] = self.allocate(4 * len(memory))
                library.nc_cuda_copy(0, self.addresses[name], at(memory), 4 * len(memory), 0)

    def allocate(self, size):
        if self.library is None:
            self.workspace = array.array("d", bytes(8 * (size // 8 + 1)))
            return at(self.workspace)
        address = ctypes.c_int64()
        self.library.nc_cuda_allocate(0, size, ctypes.byref(address))
        return address.value

    def __getattr__(self, name):
        return self.host[name]

    def fetch(self, addresses):
        if self.library is not None:
            for name in self.OUTPUTS:
                self.library.nc_cuda_copy(0, at(self.host[name]), self.addresses[name], 4 * len(self.host[name]), 0)
            self.library.nc_cuda_stream_synchronize(0, 0)
            for address in addresses:
                self.library.nc_cuda_free(0, address)


def run(library, op, device=None):
    """Forward and backward."""
    t = Tensors(None if device is None else library)
    a = t.addresses
    with library.plan(op, N, device=device, epsilon=EPSILON) as plan:
        bias, mean, dbias = (a[name] if plan.has_bias else 0 for name in ("bias", "mean", "dbias"))
        size = plan.workspace_bytes(ROWS)
        workspace = t.allocate(size)
        plan.forward(ROWS, a["x"], a["weight"], bias, a["y"], mean, a["rstd"])
        plan.backward(ROWS, a["x"], a["weight"], a["dy"], mean, a["rstd"], a["dx"], a["dweight"], dbias, workspace,
                      size, a["dresidual"])  # fmt: skip
        t.fetch([workspace, *a.values()])
    return t


@unittest.skipUnless(LIBRARY, "NORMCORE_LIBRARY names no library")
class OnTheCpu(unittest.TestCase):
    def test_forward_and_backward_match_the_formulas(self):
        for op in binding.OPS:
            t = run(binding.Library(LIBRARY), op)
            centred = op == "layer_norm"
            dweight, dbias = [0.0] * N, [0.0] * N
            for row in range(ROWS):
                cut = slice(row * N, (row + 1) * N)
                x, dy, dresidual = t.x[cut], t.dy[cut], t.dresidual[cut]
                mean = sum(x) / N if centred else 0.0
                rstd = 1 / math.sqrt(sum((v - mean) ** 2 for v in x) / N + EPSILON)
                xhat = [(v - mean) * rstd for v in x]
                scaled = [d * w for d, w in zip(dy, t.weight)]
                c1 = sum(s * h for s, h in zip(scaled, xhat)) / N
                c2 = sum(scaled) / N if centred else 0.0
                self.assertAlmostEqual(rstd, t.rstd[row], 5)
                for i in range(N):
                    y = xhat[i] * t.weight[i] + (t.bias[i] if centred else 0.0)
                    dx = (scaled[i] - xhat[i] * c1 - c2) * rstd + dresidual[i]
                    self.assertAlmostEqual(y, t.y[cut][i], 5)
                    self.assertAlmostEqual(dx, t.dx[cut][i], 5)
                    dweight[i] += dy[i] * xhat[i]
                    dbias[i] += dy[i]
            for i in range(N):
                self.assertAlmostEqual(dweight[i], t.dweight[i], 5)
                if centred:
                    self.assertAlmostEqual(dbias[i], t.dbias[i], 5)

    def test_a_refusal_raises_the_librarys_message(self):
        with self.assertRaisesRegex(RuntimeError, "nc_norm_plan_create: status 1: .*hidden_size"):
            binding.Library(LIBRARY).plan("rms_norm", 0)

    def test_a_missing_plugin(self):
        with self.assertRaisesRegex(FileNotFoundError, "no-such-plugin"):
            binding.Library(LIBRARY, "no-such-plugin.so")


@unittest.skipUnless(LIBRARY and SIMULATED, "NORMCORE_SIMULATED_CUDA names no plugin")
class OnPlugins(unittest.TestCase):
    def test_several_in_one_process_give_the_cpus_bits(self):
        expected = {op: run(binding.Library(LIBRARY), op) for op in binding.OPS}
        with tempfile.TemporaryDirectory() as folder:
            other = os.path.join(folder, "other.so")
            shutil.copyfile(SIMULATED, other)
            before = os.environ.get(binding.VARIABLE)
            libraries = [binding.Library(LIBRARY, plugin) for plugin in (SIMULATED, other)]
            self.assertEqual(before, os.environ.get(binding.VARIABLE))
            with open("/proc/self/maps") as maps:
                loaded = maps.read()
            self.assertIn(os.path.realpath(SIMULATED), loaded)
            self.assertIn(os.path.realpath(other), loaded)
            for library in libraries:
                for op in binding.OPS:
                    t = run(library, op, device=0)
                    for name in ("y", "rstd", "dx", "dweight") + (("mean", "dbias") if op == "layer_norm" else ()):
                        self.assertEqual(bytes(getattr(expected[op], name)), bytes(getattr(t, name)), f"{op} {name}")

    def test_a_file_that_is_no_plugin_is_refused(self):
        with self.assertRaisesRegex(RuntimeError, "not a plugin"):
            binding.Library(LIBRARY, LIBRARY)


class Kernels(unittest.TestCase):
    """The library's description of a plan's kernels, if it supports that."""

    TEXT = b"forward aligned: norm_forward<8, 1>\nforward any: norm_forward_generic\nbackward aligned: left out: no room\n"

    def plan(self, library):
        plan = object.__new__(binding.Plan)
        plan.library, plan.handle = library, 5
        return plan

    def test_one_line_for_each_role(self):
        def nc_cuda_norm_kernels(plan, text, capacity):
            self.assertEqual(plan, 5)
            self.assertGreater(capacity, len(self.TEXT))
            ctypes.memmove(text, self.TEXT + b"\0", len(self.TEXT) + 1)

        library = types.SimpleNamespace(nc_cuda_norm_kernels=nc_cuda_norm_kernels)
        self.assertEqual(
            self.plan(library).kernels(),
            [
                ("forward aligned", "norm_forward<8, 1>"),
                ("forward any", "norm_forward_generic"),
                ("backward aligned", "left out: no room"),
            ],
        )

    def test_a_library_without_kernel_descriptions(self):
        self.assertIsNone(self.plan(types.SimpleNamespace()).kernels())


if __name__ == "__main__":
    unittest.main()
