"""The stages of the kit as data, the most valuable ones first: the calls of each, its limit, the readers of its output.
Standard library only."""

import dataclasses
import importlib.util
import os
import sys

import kit_readers
import kit_tools
from kit_run import Call

# The launches that ncu counts, the most uncertain predictions first.
COUNTED = (
    "backward bfloat16 32768x32768",
    "backward bfloat16 32768x4096",
    "forward bfloat16 32768x256",
    "backward bfloat16 32768x256",
    "forward float32 32768x4096",
    "forward bfloat16 32768x4096",
    "backward float32 32768x16384",
    "forward bfloat16 32768x32768",
)
SECTIONS = ("SpeedOfLight", "MemoryWorkloadAnalysis", "SchedulerStats", "WarpStateStats", "Occupancy")
METRICS = (
    "l1tex__average_t_sectors_per_request_pipe_lsu_mem_global_op_ld.ratio",
    "l1tex__average_t_sectors_per_request_pipe_lsu_mem_global_op_st.ratio",
    "lts__t_sectors_op_write.avg.pct_of_peak_sustained_elapsed",
)
# Suites of the native tests, fast kernels first. All others but the gate's come last.
SUITES = ("CudaFast", "GpuManyRows", "GpuFp8", "CudaFp8", "GpuManyTokens", "CudaRotary", "CudaRows", "CudaGeneric", "GpuFar")
GATE = "GpuGate"
SWEPT_BY_SANITIZERS = (
    *(f"*CudaFast.{name}/*_{triple}" for name in ("ShortRows", "LongerRows", "RowsOfSeveralSegments")
      for triple in ("bf16_bf16_bf16", "f32_f32_f32")),
    "*CudaFp8Amax*",
)  # fmt: skip
# More processes would only take turns on the GPU, and each switch takes longer than a small kernel.
MOST_PROCESSES = 4


class Missing(Exception):
    """Why a stage cannot be run, in a sentence."""


@dataclasses.dataclass(frozen=True)
class Stage:
    """calls(kit, limit) returns the calls for a limit in seconds, or raises Missing. at_once: the most processes."""

    name: str
    limit: float
    expected: float
    calls: object
    at_once: int = 1
    # Whether the run is successful without it.
    optional: bool = False


class Kit:
    """The folder of the kit, and how its programs are started."""

    def __init__(self, root, simulate, details):
        self.root, self.simulate, self.details = root, simulate, details
        plugin = "simulator" if simulate else "lib"
        # For native programs. In a trial without a GPU the scripts use the CPU backend instead.
        self.environment = {"NORMCORE_CUDA_LIBRARY": self.path(plugin, "libnormcore_cuda.so")}
        self.script_environment = {} if simulate else self.environment
        self.processes = min(MOST_PROCESSES, os.cpu_count() or 1)

    def path(self, *parts):
        return os.path.join(self.root, *parts)

    def beside(self, name):
        """Another package, beside the kit; None if it is not there."""
        path = os.path.join(os.path.dirname(self.root), name)
        return path if os.path.isdir(path) else None

    def program(self, name):
        return self.path("bin", name)

    def tool(self, name):
        """The toolkit's program or, in a trial without a GPU, the kit's stand-in for it."""
        program = kit_tools.found(name, self.path("simulator") if self.simulate else "")
        if program is None:
            raise Missing(kit_tools.looked_for(name))
        return program

    def python(self, script, *arguments):
        return [sys.executable, self.path(script), *arguments]

    def torch_script(self, script, *arguments):
        if importlib.util.find_spec("torch") is None:
            raise Missing(f"{sys.executable} has no PyTorch")
        return self.python(script, *arguments, *(["--stand-in"] if self.simulate else []))

    def gtest(self, name, tests, reader, before=(), limit=None, **environment):
        command = [*before, self.program("gpu_norm_test"), f"--gtest_filter={tests}", "--gtest_color=no"]
        return Call(name, command, reader, {**self.environment, **environment}, limit)


def probe(kit, limit):
    """The library and its plans, then the driver."""
    script = kit.python("probe.py", *(["--simulate"] if kit.simulate else []))
    driver = kit.path("simulator" if kit.simulate else "bin", "gpu_probe")
    return [
        Call("device", script, kit_readers.JsonLines(), kit.environment, limit),
        Call("driver", [driver], kit_readers.JsonLines(), limit=limit),
    ]


def gate(kit, limit):
    return [kit.gtest("gate", f"*{GATE}*", kit_readers.Gtest())]


def failed_gate(kit, tests):
    """memcheck and racecheck on the first tests that failed."""
    program = kit.tool("compute-sanitizer")
    tests = ":".join(tests[:4])
    return [sanitized(kit, program, tool, "gate", tests, 35) for tool in ("memcheck", "racecheck")]


def alone(kit, limit):
    return [compared(kit, limit, "alone", "none")]


def peers(kit, limit):
    return [compared(kit, limit, "peers", "PyTorch,torch.compile,HF compiled,Triton,Liger")]


def compared(kit, limit, selection, names):
    script = kit.torch_script(
        "compare.py", "--out", os.path.join(kit.details, selection), "--budget", f"{max(1.0, limit - 4):.0f}",
        "--select", selection, "--peers", names, "--json-lines",
    )  # fmt: skip
    return Call(selection, script, kit_readers.JsonLines(), kit.script_environment)


def names(kit, limit):
    return [Call("names", kit.torch_script("kernel_names.py"), kit_readers.JsonLines(), kit.script_environment)]


def counters(kit, limit):
    """A call for each launch, so that a failure loses only its own counters."""
    ncu = kit.tool("ncu")
    rows = 64 if kit.simulate else None

    def call(case, metrics):
        direction, dtype, shape = case.split()
        shape = f"{rows}x{shape.split('x')[1]}" if rows else shape
        command = [ncu, "--clock-control", "none", "--csv", "--page", "raw"]
        for section in SECTIONS:
            command += ["--section", section]
        command += ["--metrics", ",".join(METRICS)] if metrics else []
        command += ["--kernel-name", "regex:norm_(forward|backward)", "--launch-count", "1"]
        command += [kit.program("gpu_counters"), direction, dtype, shape]
        # An ncu that does not know one of the metrics counts nothing: the fallback call omits them.
        instead = call(case, False) if metrics else None
        return Call(case, command, kit_readers.Counters(case), kit.environment, limit / 3, instead)

    return [call(case, True) for case in COUNTED]


def bits(kit, limit):
    """A call for each suite, fast kernels first. Long suites are divided among several processes."""
    if kit.simulate:
        few = ("*CudaFast.ShortRows*", "*CudaFast.InPlace*", "*CudaGeneric.Sizes*", "*CudaRotary.Forms*", "*CudaFp8Matrices*")
        return [kit.gtest(name.strip("*"), name, kit_readers.Gtest()) for name in few]
    calls, before = [], []
    for suite in SUITES:
        tests = f"*{suite}*" + (f"-{':'.join(before)}" if before else "")
        parts = kit.processes if suite in ("CudaFast", "CudaFp8") else 1
        calls += sharded(kit, suite, tests, parts)
        before.append(f"*{suite}*")
    return calls + sharded(kit, "rest", f"*-*{GATE}*:{':'.join(before)}", kit.processes)


def sharded(kit, name, tests, parts):
    return [
        kit.gtest(
            f"{name}-{part}" if parts > 1 else name, tests, kit_readers.Gtest(),
            GTEST_TOTAL_SHARDS=str(parts), GTEST_SHARD_INDEX=str(part),
        )
        for part in range(parts)
    ]  # fmt: skip


def sanitizers(kit, limit):
    program = kit.tool("compute-sanitizer")
    swept = SWEPT_BY_SANITIZERS[-1:] + SWEPT_BY_SANITIZERS[:1] if kit.simulate else SWEPT_BY_SANITIZERS
    return [
        sanitized(kit, program, tool, tests.strip("*"), tests) for tool in ("memcheck", "racecheck") for tests in swept
    ]


def sanitized(kit, program, tool, name, tests, limit=None):
    before = [program, "--tool", tool, "--error-exitcode", "9", "--print-limit", "20"]
    return kit.gtest(f"{tool} {name}", tests, kit_readers.Sanitizer(tool, name), before, limit)


def java(kit, limit):
    package = kit.beside("gpu-kit-java")
    if package is None:
        raise Missing("the Java package is not beside the kit")
    commits = [commit_of(path) for path in (package, kit.root)]
    if commits[0] != commits[1]:
        raise Missing("the Java package is of commit {}, the kit of {}: pack both again".format(*commits))
    arguments = [*(["--simulate"] if kit.simulate else []), kit.root]
    return [Call("java", [os.path.join(package, "java.sh"), *arguments], kit_readers.TestFeed())]


def commit_of(package):
    try:
        with open(os.path.join(package, "about.txt")) as file:
            lines = dict(line.strip().split(" ", 1) for line in file if " " in line)
    except OSError:
        lines = {}
    return lines.get("commit", "unknown")


def tune(kit, limit):
    name = "gpu-variants-simulated" if kit.simulate else "gpu-variants"
    variants = kit.beside(name)
    if variants is None:
        maker = f"variants.py build {name} --simulator --first" if kit.simulate else "pack.sh --variants"
        raise Missing(f"{name} is not beside the kit: {maker} makes it")
    script = kit.torch_script(
        "tune.py", variants, os.path.join(kit.details, "tune"), "--budget", f"{max(1.0, limit - 5):.0f}", "--first",
        "--json-lines",
    )  # fmt: skip
    return [Call("tune", script, kit_readers.JsonLines())]


PROBE = Stage("probe", 20, 6, probe)
ALL = (
    PROBE,
    Stage("gate", 45, 15, gate),
    Stage("alone", 70, 50, alone),
    Stage("names", 25, 8, names),
    Stage("counters", 60, 45, counters),
    Stage("bits", 100, 80, bits, MOST_PROCESSES),
    Stage("peers", 110, 100, peers),
    Stage("sanitizers", 90, 50, sanitizers, MOST_PROCESSES),
    Stage("java", 60, 30, java, optional=True),
)
TUNE = (PROBE, Stage("tune", 540, 230, tune))
