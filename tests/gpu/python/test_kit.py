"""Whole runs of the kit with programs that fail in every known way, and the files that each run leaves. Standard
library only."""

import concurrent.futures
import os
import signal
import sys
import tarfile
import tempfile
import time
import unittest

if sys.version_info < (3, 11):
    raise unittest.SkipTest(f"Python {sys.version.split()[0]}: the kit needs 3.11")

import scripts  # Must be first: makes the kit's scripts importable.
import kit_output
from fake_kit import GARBAGE, FakeKit

STAGES = ["probe", "gate", "alone", "names", "counters", "bits", "peers", "sanitizers", "java"]


class Ended:
    """A run that has ended."""

    def __init__(self, kit, status, output, seconds):
        self.kit, self.status, self.output, self.seconds = kit, status, output, seconds


def without_tools_and_torch(kit):
    os.remove(os.path.join(kit.modules, "torch.py"))
    for name in ("ncu", "compute-sanitizer"):
        kit.remove(f"simulator/{name}")


# By name: a modification of the kit, and the arguments of start().
SCENARIOS = {
    "well": (None, {}),
    "gate wrong": (None, {"FAKE_GATE": "wrong", "NORMCORE_STAND_IN_SANITIZER": "finds"}),
    "gate crash": (None, {"FAKE_GATE": "crash"}),
    "gate hang": (None, {"FAKE_GATE": "hang", "FAKE_CUT": "gate,gate-sanitizers"}),
    "gate garbage": (lambda kit: kit.script("bin/gpu_norm_test", GARBAGE), {}),
    "gate missing": (lambda kit: kit.remove("bin/gpu_norm_test"), {}),
    "crashes": (None, {"FAKE_ALONE": "crash", "FAKE_BITS": "crash", "FAKE_PEERS": "raise",
                       "NORMCORE_STAND_IN_NCU": "refuses", "NORMCORE_STAND_IN_SANITIZER": "refuses"}),
    "faults": (None, {"FAKE_ALONE": "hang", "FAKE_PEERS": "wrong", "FAKE_CUT": "alone", "NORMCORE_STAND_IN_NCU": "old",
                      "NORMCORE_STAND_IN_SANITIZER": "finds"}),
    "bits hang": (None, {"FAKE_BITS": "hang", "FAKE_CUT": "bits,sanitizers"}),
    "garbage": (lambda kit: kit.script("compare.py", "print('what is this')\n"), {"FAKE_DEVICE": "lacks"}),
    "missing": (without_tools_and_torch, {"PATH": "/usr/bin:/bin"}),
    "little time": (None, {"budget": 11.0, "FAKE_ALONE": "hang"}),
    "no device": (None, {"FAKE_DEVICE": "none", "simulate": False}),
    "tune": (lambda kit: os.mkdir(os.path.join(kit.folder, "gpu-variants-simulated")), {"what": "tune"}),
    "tune without variants": (None, {"what": "tune"}),
}  # fmt: skip


def ended(folder, name):
    change, given = SCENARIOS[name]
    kit = FakeKit(os.path.join(folder, name.replace(" ", "-")))
    if change is not None:
        change(kit)
    begun = time.monotonic()
    process = kit.start(**given)
    output, _ = process.communicate(timeout=60)
    return Ended(kit, process.returncode, output, time.monotonic() - begun)


class Runs(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.TemporaryDirectory()
        # These processes mostly wait.
        with concurrent.futures.ThreadPoolExecutor(4) as pool:
            futures = {name: pool.submit(ended, cls.folder.name, name) for name in SCENARIOS}
            cls.runs = {name: future.result() for name, future in futures.items()}

    @classmethod
    def tearDownClass(cls):
        cls.folder.cleanup()

    def run_of(self, name, status):
        """Checks that the run ended this way, that the summary came last and is short enough, and that few files are
        left."""
        run = self.runs[name]
        self.assertEqual(run.status, status, run.output)
        summary = run.kit.text("summary.txt")
        self.assertTrue(run.output.endswith(summary), run.output[-500:])
        self.assertLessEqual(len(summary), 12000)
        self.assertEqual(sorted(os.listdir(run.kit.out)), sorted(set(kit_output.FILES) - {"stage.log"}))
        return run, summary

    def passed(self, run, names):
        stages = run.kit.stages()
        self.assertEqual({name: stages.get(name) for name in names}, dict.fromkeys(names, "passed"), run.output)

    def test_successful_run(self):
        run, summary = self.run_of("well", 0)
        self.passed(run, STAGES[:-1])
        self.assertEqual(run.kit.stages()["java"], "not run: the Java package is not beside the kit")
        self.assertIn("RMS bf16 32768x4096: F 131.0 4000 .94(4250;.92-.97) | B 220.0 4000 .94(4250;.82-.92)+", summary)
        self.assertIn("RMS bf16 32768x4096: F torch 2.00 | B torch 2.00", summary)
        self.assertIn("membar 15(10-40)", summary)
        self.assertIn("clusters_of_16_with_227_kb 8 (expected 8: as expected)", summary)
        with tarfile.open(os.path.join(run.kit.out, "details.tar.gz")) as archive:
            logs = {os.path.basename(name) for name in archive.getnames() if name.endswith(".log")}
        self.assertEqual(logs, {f"{name}.log" for name in STAGES[:-1]})

    def test_wrong_bits_fail_the_gate(self):
        run, summary = self.run_of("gate wrong", 1)
        self.assertEqual(list(run.kit.stages()), ["probe", "gate", "gate-sanitizers"])
        self.assertIn("FAILED: Hot/GpuGate.IsTheCpus/Rms_bf16_4096: y: element 7 has other bits", summary)
        self.assertIn("MEMCHECK: gate: 1 errors: Invalid __global__ write of size 16 bytes", summary)
        self.assertIn("the gate has failed: nothing is timed", run.output)
        with open(os.path.join(run.kit.folder, "tests.txt")) as file:
            asked = file.read().splitlines()
        # The sanitizers run only on the tests that failed.
        self.assertEqual(asked[1:], ["--gtest_filter=Hot/GpuGate.IsTheCpus/Rms_bf16_4096"] * 2)

    def test_a_crash_and_a_hang_fail_the_gate(self):
        for name, verdict in (("gate crash", "CRASHED: "), ("gate hang", "not ended: ")):
            with self.subTest(name):
                run, summary = self.run_of(name, 1)
                self.assertIn("gate-sanitizers", run.kit.stages())
                self.assertNotIn("alone", run.kit.stages())
                self.assertIn(f"{verdict}Hot/GpuGate.IsTheCpus/Rms_bf16_4096", summary)

    def test_a_gate_without_output_fails(self):
        for name, why in (("gate garbage", "nothing that it said could be read"), ("gate missing", "cannot be run")):
            with self.subTest(name):
                run, _ = self.run_of(name, 1)
                self.assertEqual(list(run.kit.stages()), ["probe", "gate"])
                self.assertIn(why, run.kit.stages()["gate"])

    def failed(self, run, reasons):
        """Checks the outcomes of these stages; all others must have passed."""
        for name, verdict in run.kit.stages().items():
            if name != "java":
                self.assertIn(reasons.get(name, "passed"), verdict, f"{name}: {run.output}")

    def test_crashes_keep_results_and_stop_no_other_stage(self):
        run, summary = self.run_of("crashes", 1)
        self.failed(run, {
            "alone": "FAILED: alone: ended by signal 6 (SIGABRT)",
            "counters": "ERR_NVGPUCTRPERM",
            "bits": "FAILED: 5 results are wrong",
            "peers": "FAILED: peers: exit status 1: RuntimeError: CUDA error: an illegal memory access",
            "sanitizers": "Device not supported",
        })  # fmt: skip
        self.assertEqual(list(run.kit.stages()), STAGES)
        self.assertIn("RMS bf16 32768x4096: F 131.0", summary)
        self.assertIn("CRASHED: Triples/CudaFast.ShortRows/Rms_bf16_4096", summary)
        self.assertIn("ended by signal 11 (SIGSEGV)", summary)

    def test_hangs_and_wrong_results(self):
        run, summary = self.run_of("faults", 1)
        self.failed(run, {
            "alone": "NOT ENDED: alone: stopped at its limit",
            "peers": "FAILED: 1 results are wrong",
            "sanitizers": "FAILED: 2 results are wrong",
        })  # fmt: skip
        self.assertIn("RMS bf16 32768x4096: F 131.0", summary)
        self.assertIn("WRONG: our y is 3 tolerances from the formula", summary)
        self.assertIn("MEMCHECK: CudaFp8Amax: 1 errors: Invalid __global__ write", summary)
        # An ncu that does not know the named metrics is called without them.
        self.assertIn("membar 15", summary)
        self.assertNotIn("sectors 16", summary)
        run, summary = self.run_of("bits hang", 1)
        self.assertIn("not ended: Triples/CudaFast.ShortRows/Rms_bf16_4096", summary)
        self.failed(run, {"bits": "NOT ENDED", "sanitizers": "NOT ENDED"})

    def test_unreadable_output_is_a_failure(self):
        run, summary = self.run_of("garbage", 1)
        self.failed(run, dict.fromkeys(("alone", "peers"), "FAILED: nothing that it said could be read"))
        self.assertIn("LEFT OUT: forward aligned: no room for its clusters: rms_norm bfloat16 compute 262144", summary)

    def test_missing_programs_are_named(self):
        run, summary = self.run_of("missing", 1)
        self.failed(run, {
            **dict.fromkeys(("alone", "names", "peers"), "has no PyTorch"),
            "counters": "not run: ncu was found neither on the PATH nor in CUDA_HOME",
            "sanitizers": "not run: compute-sanitizer was found neither on the PATH nor in CUDA_HOME",
        })  # fmt: skip

    def test_the_budget_is_kept(self):
        run, _ = self.run_of("little time", 1)
        self.assertLess(run.seconds, 11 + 3)
        self.assertIn("stopped at its limit", run.kit.stages()["alone"])
        self.assertIn("no time was left", run.kit.stages()["sanitizers"])

    def test_without_a_device_it_prints_one_sentence(self):
        run = self.runs["no device"]
        self.assertEqual(run.status, 2)
        sentence = "there is no CUDA device: the driver is missing; --simulate tries the kit on a machine without one"
        self.assertEqual(run.output, f"run.sh: {sentence}\n")
        self.assertFalse(os.path.exists(run.kit.out))

    def test_tuning(self):
        run, summary = self.run_of("tune", 0)
        self.assertIn("whole-rows (same bits): beyond the noise in 1 of 1 cases, best -10.0 %", summary)
        self.assertIn("WRONG: blocks-4, backward rms_norm bfloat16 32768x256: dx: 3 times the bound", summary)
        run, _ = self.run_of("tune without variants", 1)
        self.assertIn("gpu-variants-simulated is not beside the kit", run.kit.stages()["tune"])


class Killed(unittest.TestCase):
    """A run terminated from outside, in the middle of a stage."""

    def started(self, kit, stage, **variables):
        process = kit.start(**variables)
        pid_file = os.path.join(kit.folder, f"{stage}.pid")
        until = time.monotonic() + 30
        while time.monotonic() < until:
            if os.path.exists(os.path.join(kit.out, "results.jsonl")) and os.path.exists(pid_file):
                if any(r.get("stage") == stage and r.get("kind") == "backward" for r in kit.results()):
                    # The time that the summary may lag behind the results.
                    time.sleep(1.5)
                    with open(pid_file) as file:
                        return process, int(file.read())
            time.sleep(0.02)
        process.kill()
        self.fail("the stage never began: " + process.communicate()[0])

    def assert_results_are_kept(self, kit, stage, before):
        results = kit.results()
        self.assertEqual(sum(r["result"] == "test" and r["stage"] == "gate" for r in results), 2)
        self.assertEqual(sum(r["result"] == "speed" and r["stage"] == stage for r in results), 2)
        summary = kit.text("summary.txt")
        for name in before:
            self.assertIn(f"== {name}: passed", summary)
        self.assertIn(f"== {stage}", summary)
        self.assertIn("F 131.0", summary)
        self.assertLessEqual(len(os.listdir(kit.out)), 6)
        with tarfile.open(os.path.join(kit.out, "details.tar.gz")) as archive:
            names = archive.getnames()
        for name in before:
            self.assertIn(f"details/{name}.log", names)

    def assert_process_ended(self, pid):
        until = time.monotonic() + 5
        while time.monotonic() < until:
            try:
                with open(f"/proc/{pid}/stat") as file:
                    if file.read().rsplit(")", 1)[1].split()[0] == "Z":
                        return
            except (FileNotFoundError, ProcessLookupError):
                return
            time.sleep(0.02)
        self.fail(f"process {pid} has outlived the kit")

    def test_sigkill_keeps_results_and_leaves_no_process(self):
        for stage, before in (("alone", STAGES[:2]), ("peers", STAGES[:6])):
            with self.subTest(stage), tempfile.TemporaryDirectory() as folder:
                kit = FakeKit(folder)
                process, pid = self.started(kit, stage, **{f"FAKE_{stage.upper()}": "hang"})
                process.send_signal(signal.SIGKILL)
                process.communicate()
                self.assert_process_ended(pid)
                self.assert_results_are_kept(kit, stage, before)
                # The stage's output is not in the archive yet.
                self.assertIn('"n": 4096', kit.text("stage.log"))

    def test_sigterm_ends_with_the_summary(self):
        with tempfile.TemporaryDirectory() as folder:
            kit = FakeKit(folder)
            process, pid = self.started(kit, "alone", FAKE_ALONE="hang")
            process.send_signal(signal.SIGTERM)
            output, _ = process.communicate(timeout=15)
            self.assertEqual(process.returncode, 1)
            self.assert_process_ended(pid)
            self.assert_results_are_kept(kit, "alone", STAGES[:2])
            self.assertTrue(output.endswith(kit.text("summary.txt")))
            self.assertIn("STOPPED in alone", output)
            with tarfile.open(os.path.join(kit.out, "details.tar.gz")) as archive:
                self.assertIn("details/alone.log", archive.getnames())


if __name__ == "__main__":
    unittest.main()
