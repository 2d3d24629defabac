"""The table of variants against the current sources, and the evaluation of measurements by tune.py. No GPU, no PyTorch.
"""

import os
import shutil
import subprocess
import sys
import tempfile
import unittest

if sys.version_info < (3, 11):
    raise unittest.SkipTest(f"Python {sys.version.split()[0]} has no tomllib, which came with 3.11")

import scripts  # First: it finds the others.
import tune_jobs
import tune_report
import variants


class Table(unittest.TestCase):
    def setUp(self):
        self.table = variants.read_table()
        self.variants = variants.variants_of(self.table)

    def test_every_definition_changes_what_is_measured(self):
        for variant in self.variants:
            with self.subTest(variant["name"]):
                variants.check(variant)

    def test_definitions_that_change_nothing_are_refused(self):
        good = next(v for v in self.variants if v["name"] == "words-1")
        for definition, message in (
            ("NC_TUNE_FORWARD_WORD=1", "no source tests NC_TUNE_FORWARD_WORD"),
            ("NC_TUNE_FORWARD_WORDS=4", "is the default"),
            ("NC_TUNE_WHOLE_ROWS=1", "changes nothing that is compiled"),
            ("NC_TUNE_ACCESS_HEADER=no_such.cuh", "has no no_such.cuh"),
            ("NC_TUNE_ORDER_MAX_GROUPS=128", "bits is same"),
        ):
            with self.subTest(definition), self.assertRaisesRegex(variants.Wrong, message):
                variants.check(good | {"definitions": [*good["definitions"], definition]})
        with self.assertRaisesRegex(variants.Wrong, "for backward"):
            variants.check(good | {"definitions": ["NC_TUNE_EARLY_WORDS=0"], "directions": ["backward"]})
        with self.assertRaisesRegex(variants.Wrong, "bits is other"):
            variants.check(good | {"bits": "other"})

    def test_every_macro_of_the_parameters_has_a_default_and_a_use(self):
        sources = variants.Sources(variants.ROOT)
        paths = [p for d in variants.DIRECTIONS for p in (*variants.OF_FORMATS[d], *variants.OF_ALL[d])]
        paths = [os.path.join(sources.native, path) for path in (*paths, *variants.OF_BOTH)]
        macros = {}
        for path in paths:
            macros |= variants.tested_macros(sources.included(path).values())
        self.assertGreater(len(macros), 40)
        for macro, defaults in macros.items():
            with self.subTest(macro):
                self.assertEqual(bool(defaults), not macro.endswith("_HEADER"))
                self.assertTrue(any(sources.relevant(path, [f"{macro}=1"]) for path in paths))

    def test_a_macro_affects_what_its_paragraph_declares(self):
        paragraphs = ["#define NC_TUNE_A 1\nconstexpr int kA = NC_TUNE_A;  // not kC",
                      "constexpr int f(int x) { return x * kA; }", "constexpr int kC = 2;"]  # fmt: skip
        self.assertEqual(variants.affected("NC_TUNE_A", paragraphs), {"NC_TUNE_A", "kA", "f"})

    def test_variants_share_the_objects_that_they_do_not_change(self):
        by_name = {v["name"]: v for v in self.variants}
        with tempfile.TemporaryDirectory() as folder:
            builder = variants.Builder(variants.ROOT, os.path.join(folder, "built"), 90, simulator=True)
            plans = {name: builder.plan(by_name[name]) for name in ("unchanged", "words-1", "stages-2", "groups-528")}

        def added(name):
            objects = set(plans[name][0]) - set(plans["unchanged"][0])
            return {os.path.basename(target).rsplit("-", 1)[0] for target in objects}

        self.assertEqual(added("words-1"), {"norm_forward.cu", "launch_plan.cu"})
        self.assertEqual(added("stages-2"), {"launch_plan.cu"})
        self.assertIn("norm_columns.cu", added("groups-528"))
        self.assertEqual([os.path.basename(path) for path in plans["groups-528"][1]], ["groups-528.so"] * 2)
        self.assertEqual(len(plans["words-1"][1]), 1)

    def test_definitions_reach_the_compilers(self):
        self.assertEqual(variants.flag_of("NC_TUNE_A=2,1", by_nvcc=False), "-DNC_TUNE_A=2,1")
        self.assertEqual(variants.flag_of("NC_TUNE_A=2,1", by_nvcc=True), "-DNC_TUNE_A=2\\,1")
        self.assertEqual(variants.flag_of("NC_TUNE_A=b.cuh", by_nvcc=True), '-DNC_TUNE_A="b.cuh"')

    @unittest.skipIf(shutil.which("c++") is None, "no c++")
    def test_headers_with_a_host_form_compile(self):
        named = {d for v in self.variants if not v.get("device_only") for d in v.get("definitions", [])}
        headers = {d for d in named if d.endswith(".cuh")}
        self.assertEqual(len(headers), 3)
        with tempfile.TemporaryDirectory() as folder:
            builder = variants.Builder(variants.ROOT, folder, 90, simulator=True)
            for header in sorted(headers):
                source = os.path.join(folder, "source.cpp")
                with open(source, "w") as file:
                    file.write('#include "cuda/norm_forward.cuh"\n')
                _, command = builder.command(source, [header, "NC_TUNE_PERSISTENT_BLOCKS=528"])
                with self.subTest(header):
                    done = subprocess.run([*command, "-fsyntax-only"], capture_output=True, text=True)
                    self.assertEqual(done.returncode, 0, done.stderr)

    def test_incomplete_entries_are_refused(self):
        good = {"name": "v", "directions": ["forward"], "ops": ["rms_norm"], "dtypes": ["float32"], "shapes": ["few"],
                "bits": "same", "priority": 1, "prediction": "1 % faster",
                "definitions": ["NC_TUNE_FORWARD_WORDS=1"]}  # fmt: skip
        variants.require_complete(good, self.table["shapes"])
        for key in good.keys() - {"name"}:
            with self.subTest(key), self.assertRaises(variants.Wrong):
                variants.require_complete({k: v for k, v in good.items() if k != key}, self.table["shapes"])
        with self.assertRaises(variants.Wrong):
            variants.require_complete({**good, "shapes": ["huge"]}, self.table["shapes"])
        for definition in ("FORWARD_WORDS=1", "NC_TUNE_FORWARD_WORDS", "NC_TUNE_FORWARD_WORDS=1 2"):
            with self.subTest(definition), self.assertRaises(variants.Wrong):
                variants.require_complete({**good, "definitions": [definition]}, self.table["shapes"])


def job(*names, rows=8, priority=1):
    return {"priority": priority, "dtype": "bfloat16", "op": "rms_norm", "kind": "few", "rows": rows, "n": 4096,
            "direction": "forward", "variants": list(names)}  # fmt: skip


def measured(microseconds, wrong=None):
    times = {name: [value, value * 0.999, value * 1.001] for name, value in microseconds.items()}
    return {"case": "backward rms_norm bfloat16 8x4096", "doing": "done", "bytes": 1 << 20, "microseconds": times,
            "wrong": wrong or {}}  # fmt: skip


class Tuning(unittest.TestCase):
    def test_every_variant_that_was_built_has_its_turn(self):
        table = variants.read_table()
        built = {variant["name"]: {"kernels": {}} for variant in variants.variants_of(table)}
        built["words-1"] = {"failed": "on purpose"}
        jobs = tune_jobs.jobs_of(table, built, [], False)
        names = {name for each in jobs for name in each["variants"]}
        self.assertEqual(names, set(built) - {"words-1", "unchanged"})
        self.assertEqual([each["priority"] for each in jobs], sorted(each["priority"] for each in jobs))

    def test_what_ends_the_process_loses_only_its_own_results(self):
        left = [job("a", "b"), job("a", rows=64)]
        excluded = {}
        mark = {"case": tune_jobs.name_of(left[0]), "doing": "check", "variant": "a"}
        after = tune_jobs.without_culprit(left, mark, "exit status 1", excluded)
        self.assertEqual([each["variants"] for each in after], [["b"]])
        self.assertIn("a", excluded)

    def test_one_of_several_that_were_timed_is_found_one_by_one(self):
        left, excluded = [job("a", "b"), job("c", rows=64)], {}
        mark = {"case": tune_jobs.name_of(left[0]), "doing": "time", "variant": "product,a,b"}
        after = tune_jobs.without_culprit(left, mark, "exit status 1", excluded)
        self.assertEqual([each["variants"] for each in after], [["a"], ["b"], ["c"]])
        self.assertEqual(excluded, {})
        again = tune_jobs.without_culprit(after, mark, "exit status 1", excluded)
        self.assertEqual([each["variants"] for each in again], [["b"], ["c"]])
        self.assertEqual(list(excluded), ["a"])

    def test_a_process_that_cannot_begin_is_not_begun_for_ever(self):
        excluded = {}
        self.assertEqual(tune_jobs.without_culprit([job("a")], None, "exit status 1", excluded), [])
        self.assertEqual(excluded, {"all": "exit status 1"})

    def test_the_price_is_what_the_same_bits_cannot_have(self):
        table = variants.read_table()
        cases = tune_report.merged([measured({"product": 100, "product again": 100, "stages-4": 98, "groups-264": 90})])
        (line,) = [line for line in tune_report.price(table, cases) if line.startswith("| backward")]
        # 98 / 90 is 1.089.
        self.assertIn("| groups-264 | 1.111 | stages-4 | 1.020 | +8.9 |", line)
        cases = tune_report.merged([measured({"product": 100, "product again": 104, "groups-264": 99})])
        (line,) = [line for line in tune_report.price(table, cases) if line.startswith("| backward")]
        self.assertIn("| none |", line)

    def test_the_report_has_predictions_outcomes_and_what_went_wrong(self):
        table = variants.read_table()
        case = measured({"product": 100, "product again": 100, "stages-4": 110}, {"stages-2": "dx: 7 elements"})
        report = {"date": "2000-01-01", "means_nothing": True, "about": None, "cases": [case],
                  "excluded": {"bias-4": "exit status 1"}, "left_out": ["a case"]}  # fmt: skip
        built = {"stages-4": {"kernels": {"spills": {"a kernel": 8}}}, "bias-12": {"failed": "no"}}
        text = "\n".join(tune_report.markdown(table, built, report))
        for expected in ("MEANS ANYTHING", "worst +10.0 %", "a kernel: 8", "dx: 7 elements", "not built: no",
                         "ended the process: exit status 1", "- a case"):  # fmt: skip
            self.assertIn(expected, text)
        for variant in variants.variants_of(table):
            self.assertIn(variant["prediction"], text)


if __name__ == "__main__":
    unittest.main()
