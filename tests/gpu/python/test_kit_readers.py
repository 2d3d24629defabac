"""The readers of the processes' output. Standard library only."""

import os
import subprocess
import tempfile
import unittest

import scripts  # Must be first: makes the kit's scripts importable.
import kit_readers

STAND_INS = scripts.path_of("stand_in")


def read(reader, text, why=""):
    results = [result for line in text.splitlines() for result in reader.line(line)]
    return results + reader.end(why)


class Gtest(unittest.TestCase):
    TEXT = """Running main() from gtest_main.cc
[==========] Running 4 tests from 1 test suite.
[ RUN      ] Hot/GpuGate.IsTheCpus/Rms_bf16_64
[       OK ] Hot/GpuGate.IsTheCpus/Rms_bf16_64 (3 ms)
[ RUN      ] Hot/GpuGate.IsTheCpus/Rms_f32_64
gate.cpp:41: Failure
y: 3 of 64 elements
[  FAILED  ] Hot/GpuGate.IsTheCpus/Rms_f32_64, where GetParam() = (4099 x 64, 0, 1) (12 ms)
[ RUN      ] GpuFar.Rows
no memory
[  SKIPPED ] GpuFar.Rows (0 ms)
[ RUN      ] Hot/GpuGate.IsTheCpus/Layer_f32_64
terminate called after throwing an instance of 'std::runtime_error'
"""

    def test_each_test_has_its_verdict(self):
        found = read(kit_readers.Gtest(), self.TEXT, "ended by signal 6 (SIGABRT)")
        self.assertEqual([(r["name"].split("/")[-1], r["verdict"], r["ms"]) for r in found],
                         [("Rms_bf16_64", "passed", 3), ("Rms_f32_64", "failed", 12), ("GpuFar.Rows", "skipped", 0),
                          ("Layer_f32_64", "crashed", None)])  # fmt: skip
        self.assertIn("y: 3 of 64 elements", found[1]["text"])
        self.assertTrue(found[3]["text"].endswith("ended by signal 6 (SIGABRT)"))

    def test_gtest_repeats_its_failures_at_the_end(self):
        text = self.TEXT.split("[ RUN      ] Hot/GpuGate.IsTheCpus/Layer")[0]
        text += "[  FAILED  ] 1 test, listed below:\n"
        text += "[  FAILED  ] Hot/GpuGate.IsTheCpus/Rms_f32_64, where GetParam() = (3)\n"
        self.assertEqual(len(read(kit_readers.Gtest(), text)), 3)

    def test_a_stopped_process(self):
        (found,) = read(kit_readers.Gtest(), "[ RUN      ] A.b\n", "stopped at its limit of 9 s")
        self.assertEqual((found["verdict"], found["text"]), ("stopped", "stopped at its limit of 9 s"))


class Sanitizer(unittest.TestCase):
    def test_findings_and_locations(self):
        text = """========= COMPUTE-SANITIZER
[ RUN      ] A.b
========= Invalid __global__ read of size 16 bytes
=========     at nc::baseline::norm_forward<X>(P)+0x90
=========     by thread (0,0,0) in block (1,0,0)
========= Invalid __global__ read of size 16 bytes
=========     at nc::baseline::norm_forward<X>(P)+0x90
[       OK ] A.b (100 ms)
========= ERROR SUMMARY: 2 errors
"""
        test, found = read(kit_readers.Sanitizer("memcheck", "A"), text)
        self.assertEqual((test["tool"], test["verdict"]), ("memcheck", "passed"))
        self.assertEqual(found["errors"], 2)
        self.assertEqual(found["text"].count("Invalid"), 1)
        self.assertIn("norm_forward<X>", found["text"])

    def test_racecheck_counts_differently(self):
        text = "========= RACECHECK SUMMARY: 3 hazards displayed (1 error, 2 warnings)\n"
        self.assertEqual(read(kit_readers.Sanitizer("racecheck", "A"), text)[0]["errors"], 3)

    def test_a_missing_count_is_a_failure(self):
        self.assertIsNone(read(kit_readers.Sanitizer("memcheck", "A"), "========= Error: x\n")[0]["errors"])


class Counters(unittest.TestCase):
    def test_a_kernel_in_ncus_form(self):
        with tempfile.TemporaryDirectory() as folder:
            program = os.path.join(folder, "gpu_counters")
            os.symlink("/bin/true", program)
            command = [os.path.join(STAND_INS, "ncu"), "--metrics", "some", program]
            run = subprocess.run(command, capture_output=True, text=True)
        (found,) = read(kit_readers.Counters("backward bfloat16 32768x256"), run.stdout)
        self.assertEqual(found["case"], "backward bfloat16 32768x256")
        self.assertEqual((found["us"], found["dram"], found["l2"], found["issue"]), (1234.56, 71.2, 48.0, 41.0))
        self.assertEqual((found["occupancy"], found["load_sectors"], found["store_sectors"]), (12.4, 16.0, 15.5))
        # 20 cycles between instructions of a warp; those not issued would otherwise count twice.
        self.assertEqual(
            found["stalls"], {"membar": 15.0, "barrier": 10.0, "short_scoreboard": 5.0, "long_scoreboard": 40.0}
        )
        self.assertEqual(found["other_stall"], ["wait", 20.0])

    def test_other_text_gives_no_results(self):
        for text in ("", "==ERROR== no\n", '"ID","Kernel Name"\n', '"ID","x"\n"",""\n"0"\n', '"ID\n'):
            self.assertEqual(read(kit_readers.Counters("c"), text), [], text)

    def test_a_missing_number(self):
        names = (f"{unit}.avg.pct_of_peak_sustained_elapsed" for unit in ("gpu__dram_throughput", "lts__throughput"))
        text = '"ID","{}","{}"\n"","%","%"\n"0","n/a","55"\n'.format(*names)
        (found,) = read(kit_readers.Counters("c"), text)
        self.assertNotIn("dram", found)
        self.assertEqual(found["l2"], 55)


class TestFeed(unittest.TestCase):
    TEXT = """JUnit Jupiter > CudaNormTest > sizes() > [1] RMS_NORM :: STARTED
JUnit Jupiter > CudaNormTest > sizes() > [1] RMS_NORM :: SUCCESSFUL
JUnit Jupiter > CudaNormTest > graphs() :: STARTED
JUnit Jupiter > CudaNormTest > graphs() :: FAILED
	org.opentest4j.AssertionFailedError: y: expected 1 but was 2
JUnit Jupiter > CudaNormTest > streams() :: STARTED
"""

    def test_each_test_has_its_verdict(self):
        found = read(kit_readers.TestFeed(), self.TEXT, "exit status 134")
        self.assertEqual([(r["name"].split(" > ")[1], r["verdict"]) for r in found],
                         [("sizes()", "passed"), ("graphs()", "failed"), ("streams()", "crashed")])  # fmt: skip
        self.assertIn("expected 1 but was 2", found[1]["text"])

    def test_a_failure_at_the_end(self):
        text = "".join(self.TEXT.splitlines(True)[:5])
        self.assertEqual([r["verdict"] for r in read(kit_readers.TestFeed(), text)], ["passed", "failed"])


class JsonLines(unittest.TestCase):
    def test_only_results_are_results(self):
        text = '{"result": "fact", "value": 1}\n{"result": 3}\n{"a": 1}\n{"result"\nwords\n[1]\n'
        self.assertEqual(read(kit_readers.JsonLines(), text), [{"result": "fact", "value": 1}])


if __name__ == "__main__":
    unittest.main()
