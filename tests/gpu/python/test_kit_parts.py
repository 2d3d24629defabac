"""The kit's smaller parts: processes with limits, tools, sizes, the probe, the profiler's trace. Standard library
only."""

import os
import shutil
import subprocess
import sys
import tempfile
import time
import unittest

if sys.version_info < (3, 11):
    raise unittest.SkipTest(f"Python {sys.version.split()[0]}: the kit needs 3.11")

import scripts  # Must be first: makes the kit's scripts importable.
import kernel_names
import kit_run
import kit_size
import kit_stages
import kit_tools
import probe
import tune_jobs
import variants
from kit_readers import JsonLines
from kit_run import Call, Runner


class Processes(unittest.TestCase):
    def run_of(self, *scripts, seconds=20.0, at_once=1, instead=None):
        self.lines, self.results = [], []
        calls = [
            Call(f"call-{i}", ["sh", "-c", script], JsonLines(), instead=instead) for i, script in enumerate(scripts)
        ]
        runner = Runner(lambda call, text: self.lines.append(text), lambda call, result: self.results.append(result))
        return runner.run(calls, time.monotonic() + seconds, at_once)

    def test_lines_and_results_of_a_successful_call(self):
        (ended,) = self.run_of("echo a; echo '{\"result\": \"x\"}'; printf 'no end of line'")
        self.assertEqual((ended.status, ended.why, ended.results), (0, "", 1))
        self.assertEqual(self.lines, ["a", '{"result": "x"}', "no end of line"])

    def test_the_reason_of_a_failure_is_described(self):
        self.assertEqual(self.run_of("exit 7")[0].why, "exit status 7")
        self.assertEqual(self.run_of("kill -KILL $$")[0].why, "ended by signal 9 (SIGKILL)")
        (ended,) = Runner(None, None).run([Call("x", ["/nowhere/x"], JsonLines())], time.monotonic() + 5)
        self.assertEqual(ended.why, "/nowhere/x cannot be run: No such file or directory")

    def test_a_hanging_call_is_stopped_with_its_children(self):
        with tempfile.TemporaryDirectory() as folder:
            file = os.path.join(folder, "pid")
            begun = time.monotonic()
            (ended,) = self.run_of(f'sleep 50 & echo $! > {file}; echo \'{{"result": "x"}}\'; wait', seconds=1.0)
            self.assertTrue(ended.stopped)
            self.assertEqual(ended.results, 1)
            self.assertLess(time.monotonic() - begun, 10)
            with open(file) as pid:
                pid = int(pid.read())
        until = time.monotonic() + 5
        while os.path.exists(f"/proc/{pid}") and time.monotonic() < until:
            with open(f"/proc/{pid}/stat") as stat:
                if " Z " in stat.read():
                    return
            time.sleep(0.02)
        self.assertFalse(os.path.exists(f"/proc/{pid}"))

    def test_surviving_children_do_not_block_the_rest(self):
        begun = time.monotonic()
        ended = self.run_of("sleep 50 & echo a", "echo b")
        self.assertEqual([e.status for e in ended], [0, 0])
        self.assertLess(time.monotonic() - begun, 10)

    def test_several_at_once(self):
        ended = self.run_of(*["sleep 0.4"] * 4, at_once=4)
        self.assertEqual(len(ended), 4)
        ended = self.run_of("sleep 30", "echo never", seconds=0.5)
        self.assertEqual(ended[1].why, "no time was left for it")

    def test_fallback_of_a_call_without_a_result(self):
        instead = Call("instead", ["echo", '{"result": "y"}'], JsonLines())
        ended = self.run_of("exit 1", instead=instead)
        self.assertEqual([(e.call.name, e.results) for e in ended], [("call-0", 0), ("instead", 1)])
        self.assertEqual(len(self.run_of('echo \'{"result": "x"}\'; exit 1', instead=instead)), 1)

    def test_endless_lines_are_cut(self):
        (ended,) = self.run_of("head -c 100000 /dev/zero | tr '\\0' a")
        self.assertEqual(ended.status, 0)
        self.assertLessEqual(max(map(len, self.lines)), kit_run.LONGEST_LINE)


class Stages(unittest.TestCase):
    def kit(self, simulate=False):
        return kit_stages.Kit("/kit", simulate, "/details")

    def test_limits_leave_room_within_the_budgets(self):
        self.assertLessEqual(sum(stage.expected for stage in kit_stages.ALL if stage.name != "java"), 400)
        self.assertLessEqual(sum(stage.expected for stage in kit_stages.TUNE), 240)
        for stage in kit_stages.ALL:
            self.assertLess(stage.expected, stage.limit)

    def test_every_test_is_in_one_part_of_the_bits(self):
        calls = kit_stages.bits(self.kit(), 100)
        filters = [call.command[1].removeprefix("--gtest_filter=") for call in calls]
        self.assertTrue(filters[0].startswith("*CudaFast*"))
        self.assertEqual(filters[-1].split("-")[0], "*")
        for suite in (*kit_stages.SUITES, "GpuGate"):
            self.assertIn(f"*{suite}*", filters[-1])
        # A suite whose name is part of another's is not run twice.
        self.assertIn("*CudaFp8*-*CudaFast*", " ".join(filters))

    def test_no_simulated_process_sees_the_real_plugin(self):
        for simulate, part in ((False, "/kit/lib/"), (True, "/kit/simulator/")):
            for call in (*kit_stages.gate(self.kit(simulate), 9), *kit_stages.bits(self.kit(simulate), 9)):
                self.assertTrue(call.environment["NORMCORE_CUDA_LIBRARY"].startswith(part))
                self.assertNotIn("--gtest_brief=1", call.command)

    def test_java_of_another_commit_is_not_run(self):
        with tempfile.TemporaryDirectory() as folder:
            for name, commit in (("gpu-kit", "1"), ("gpu-kit-java", "2")):
                os.mkdir(os.path.join(folder, name))
                with open(os.path.join(folder, name, "about.txt"), "w") as about:
                    about.write(f"commit {commit}\n")
            kit = kit_stages.Kit(os.path.join(folder, "gpu-kit"), True, folder)
            with self.assertRaisesRegex(kit_stages.Missing, "Java package is of commit 2, the kit of 1"):
                kit_stages.java(kit, 9)
            shutil.copy(os.path.join(folder, "gpu-kit", "about.txt"), os.path.join(folder, "gpu-kit-java"))
            self.assertEqual(len(kit_stages.java(kit, 9)), 1)


class Tools(unittest.TestCase):
    def test_places(self):
        with tempfile.TemporaryDirectory() as root:
            for place in ("cuda-13.0/compute-sanitizer/compute-sanitizer", "nsight-compute/2025.3.1/ncu"):
                path = os.path.join(root, place)
                os.makedirs(os.path.dirname(path))
                shutil.copy("/bin/true", path)
            path, os.environ["PATH"] = os.environ["PATH"], root
            try:
                for name in ("compute-sanitizer", "ncu"):
                    self.assertTrue(kit_tools.found(name, roots=(root,)).endswith(f"/{name}"))
                    self.assertIsNone(kit_tools.found(name, roots=(os.path.join(root, "none"),)))
            finally:
                os.environ["PATH"] = path


class Sizes(unittest.TestCase):
    def test_each_limit(self):
        self.assertEqual(kit_size.judged(11e6, 15e6, 12e6, 0)[1], [])
        self.assertIn("at most 20 are allowed", kit_size.judged(11e6, 21e6, 0, 0)[1][0])
        self.assertIn("at most 60 are allowed", kit_size.judged(11e6, 15e6, 40e6, 0)[1][0])
        # Java's package and the variants are never sent together.
        self.assertEqual(kit_size.judged(11e6, 15e6, 30e6, 30e6)[1], [])

    def test_a_folder(self):
        with tempfile.TemporaryDirectory() as folder:
            os.mkdir(os.path.join(folder, "a"))
            for name in ("x", "a/y"):
                with open(os.path.join(folder, name), "wb") as file:
                    file.write(bytes(1000))
            self.assertEqual(kit_size.size_of(folder), 2000)
            self.assertEqual(kit_size.size_of(os.path.join(folder, "none")), 0)


class Probe(unittest.TestCase):
    def test_which_devices_the_code_is_for(self):
        for architectures, capability, expected in (
            ("90-real", 90, True), ("90-real", 100, False), ("80-real", 86, True), ("86-real", 80, False),
            ("80-real;90-real", 90, True), ("120-virtual", 121, True), ("90-virtual", 100, True), ("90", 100, True),
            ("120-virtual", 90, False),
        ):  # fmt: skip
            self.assertEqual(probe.serves(architectures, capability), expected, (architectures, capability))

    @unittest.skipUnless(shutil.which("nvcc"), "there is no nvcc")
    def test_the_native_part_compiles_and_reports_no_device(self):
        with tempfile.TemporaryDirectory() as folder:
            program = os.path.join(folder, "gpu_probe")
            source = scripts.path_of("gpu_probe.cu")
            flags = [
                "-std=c++17",
                "-cudart=static",
                "-gencode=arch=compute_90,code=sm_90",
                "-Xcompiler=-Wall,-Wextra,-Werror",
            ]
            subprocess.run(["nvcc", *flags, source, "-o", program], check=True)
            run = subprocess.run([program], capture_output=True, text=True)
        if run.returncode != 0:
            self.assertEqual(run.returncode, 2)
            self.assertIn("no CUDA device", run.stdout)

    @unittest.skipUnless(os.environ.get("NORMCORE_SIMULATED_CUDA"), "NORMCORE_SIMULATED_CUDA names no plugin")
    def test_unknown_facts_are_reported(self):
        with tempfile.TemporaryDirectory() as folder:
            os.mkdir(os.path.join(folder, "lib"))
            for name in ("probe.py", "library.py", "kit_tools.py"):
                shutil.copy(scripts.path_of(name), folder)
            shutil.copy(os.environ["NORMCORE_LIBRARY"], os.path.join(folder, "lib", "libnormcore.so"))
            environment = {**os.environ, "NORMCORE_CUDA_LIBRARY": os.environ["NORMCORE_SIMULATED_CUDA"]}
            command = [sys.executable, os.path.join(folder, "probe.py"), "--simulate"]
            run = subprocess.run(command, env=environment, capture_output=True, text=True)
            self.assertEqual(run.returncode, 0, run.stdout + run.stderr)
            self.assertIn("not a GPU", run.stdout)
            self.assertTrue('"plan"' in run.stdout or "no nc_cuda_norm_kernels" in run.stdout, run.stdout)
            with open(os.path.join(folder, "about.txt"), "w") as about:
                about.write("architectures 100-real\n")
            run = subprocess.run([*command[:-1], "--device"], env=environment, capture_output=True, text=True)
            self.assertEqual(run.returncode, 2)
            self.assertIn("the kit is built for the architectures 100-real and this device", run.stdout)
            environment["NORMCORE_CUDA_LIBRARY"] = os.path.join(folder, "none.so")
            run = subprocess.run([*command[:-1], "--device"], env=environment, capture_output=True, text=True)
            self.assertEqual((run.returncode, len(run.stdout.splitlines())), (2, 1), run.stdout + run.stderr)


class KernelNames(unittest.TestCase):
    def test_a_backward_of_two_kernels(self):
        events = kernel_names.pretended("backward") + [{"cat": "cpu_op", "name": "x", "ts": 1, "dur": 2}, {"ph": "M"}]
        first, second = kernel_names.described("case", kernel_names.kernels_of(events))
        self.assertEqual(
            (first["name"], first["launches"], first["us"], first["block"]), ("nc::norm_backward<>", 1, 15, "128")
        )
        self.assertNotIn("gap_us", first)
        # The first kernel ends 15 us after its start; the second starts 20 us after the same time.
        self.assertEqual((second["gap_us"], second["hot"]), (5.0, True))

    def test_fast_kernels_by_name(self):
        for name, hot in (
            ("nc::norm_forward<X>", True),
            ("nc::norm_forward_generic<X>", False),
            ("nc::norm_backward_unaligned<X>", False),
        ):
            event = {"cat": "kernel", "name": name, "ts": 0, "dur": 1}
            (found,) = kernel_names.described("case", [event])
            self.assertEqual(found["hot"], hot, name)


class First(unittest.TestCase):
    def test_the_first_list_has_its_shapes_and_variants_and_no_more(self):
        table = variants.read_table()
        built = {variant["name"]: {"kernels": {}} for variant in variants.variants_of(table)}
        jobs = tune_jobs.jobs_of(table, built, [], False, tune_jobs.first_of(table))
        self.assertEqual(
            {name for job in jobs for name in job["variants"]}, set(table["first"]["variants"]) - {"unchanged"}
        )
        self.assertEqual({job["op"] for job in jobs}, {"rms_norm"})
        for dtype in variants.DTYPES:
            shapes = {f"{job['rows']}x{job['n']}" for job in jobs if job["dtype"] == dtype}
            self.assertEqual(shapes, set(table["first"][dtype]))

    def test_only_requested_cases(self):
        table = variants.read_table()
        built = {variant["name"]: {"kernels": {}} for variant in variants.variants_of(table)}
        wanted = tune_jobs.Wanted(None, dict.fromkeys(variants.DTYPES, ["8x4096"]), ["layer_norm"], ["float32"])
        jobs = tune_jobs.jobs_of(table, built, [], False, wanted)
        self.assertEqual(
            {(job["op"], job["dtype"], job["rows"], job["n"]) for job in jobs}, {("layer_norm", "float32", 8, 4096)}
        )


if __name__ == "__main__":
    unittest.main()
