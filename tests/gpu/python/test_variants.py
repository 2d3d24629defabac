"""The table of variants against the current sources, and the evaluation of measurements by tune.py. No GPU, no PyTorch.
"""

import os
import sys
import tempfile
import unittest

if sys.version_info < (3, 11):
    raise unittest.SkipTest(f"Python {sys.version.split()[0]} has no tomllib, which came with 3.11")

import scripts  # Must be first: makes the kit's scripts importable.
import tune_jobs
import tune_report
import variants


class Table(unittest.TestCase):
    def setUp(self):
        self.table = variants.read_table()
        self.variants = variants.variants_of(self.table)

    def test_every_substitution_matches_the_sources_once(self):
        for variant in self.variants:
            with self.subTest(variant["name"]):
                changed = variants.sources_of(self.table, variant).changed
                self.assertGreater(len(changed), 0)

    def test_variants_change_the_measured_sources(self):
        plain = variants.sources_of(self.table, {"name": "unchanged"})
        kernels_of = {"forward": "cuda/norm_forward.cu", "backward": "cuda/norm_backward.cu"}
        for variant in self.variants:
            if variant["name"] == variants.UNCHANGED:
                continue
            changed = variants.sources_of(self.table, variant)
            for direction in variant["directions"]:
                with self.subTest(variant["name"], direction=direction):
                    paths = [
                        kernels_of[direction],
                        "cuda/launch_plan.cu",
                        "cuda/kernel_selection.cu",
                        "cuda/norm_columns.cu",
                    ]
                    self.assertTrue(any(plain.included(path) != changed.included(path) for path in paths))

    def test_other_orders_of_sums_are_marked(self):
        for variant in self.variants:
            touches = any(path == "core/reduction_order.h" for path, _, _ in variant.get("substitutions", []))
            with self.subTest(variant["name"]):
                self.assertEqual(variant["bits"] == "other", touches)

    def test_text_must_occur_exactly_once(self):
        with tempfile.TemporaryDirectory() as root:
            with open(os.path.join(root, "a.h"), "w") as file:
                file.write("one two two\n")
            sources = variants.Sources(root)
            self.assertEqual(sources.replaced([["a.h", "one", "1"]], "v").text("a.h"), "1 two two\n")
            for old in ("two", "three"):
                with self.assertRaisesRegex(variants.Wrong, "v: found . times in a.h, expected once"):
                    sources.replaced([["a.h", old, "x"]], "v")

    def test_incomplete_entries_are_refused(self):
        good = {"name": "v", "directions": ["forward"], "ops": ["rms_norm"], "dtypes": ["float32"], "shapes": ["few"],
                "bits": "same", "priority": 1, "change": "some change", "prediction": "1 % faster",
                "substitutions": [["a", "b", "c"]]}  # fmt: skip
        variants.require_complete(good, self.table["shapes"])
        for key in good:
            with self.subTest(key), self.assertRaises(variants.Wrong):
                variants.require_complete({k: v for k, v in good.items() if k != key}, self.table["shapes"])
        with self.assertRaises(variants.Wrong):
            variants.require_complete({**good, "shapes": ["huge"]}, self.table["shapes"])


def job(*names, rows=8, priority=1):
    return {"priority": priority, "dtype": "bfloat16", "op": "rms_norm", "kind": "few", "rows": rows, "n": 4096,
            "direction": "forward", "variants": list(names)}  # fmt: skip


def measured(microseconds, wrong=None):
    times = {name: [value, value * 0.999, value * 1.001] for name, value in microseconds.items()}
    return {"case": "backward rms_norm bfloat16 8x4096", "doing": "done", "bytes": 1 << 20, "microseconds": times,
            "wrong": wrong or {}}  # fmt: skip


class Tuning(unittest.TestCase):
    def test_every_built_variant_is_timed(self):
        table = variants.read_table()
        built = {variant["name"]: {"kernels": {}} for variant in variants.variants_of(table)}
        built["words-1"] = {"failed": "on purpose"}
        jobs = tune_jobs.jobs_of(table, built, [], False)
        names = {name for each in jobs for name in each["variants"]}
        self.assertEqual(names, set(built) - {"words-1", "unchanged"})
        self.assertEqual([each["priority"] for each in jobs], sorted(each["priority"] for each in jobs))

    def test_a_crash_loses_only_its_own_results(self):
        left = [job("a", "b"), job("a", rows=64)]
        excluded = {}
        mark = {"case": tune_jobs.name_of(left[0]), "doing": "check", "variant": "a"}
        after = tune_jobs.without_culprit(left, mark, "exit status 1", excluded)
        self.assertEqual([each["variants"] for each in after], [["b"]])
        self.assertIn("a", excluded)

    def test_a_crash_of_unknown_cause_is_found_one_by_one(self):
        left, excluded = [job("a", "b"), job("c", rows=64)], {}
        mark = {"case": tune_jobs.name_of(left[0]), "doing": "time", "variant": "product,a,b"}
        after = tune_jobs.without_culprit(left, mark, "exit status 1", excluded)
        self.assertEqual([each["variants"] for each in after], [["a"], ["b"], ["c"]])
        self.assertEqual(excluded, {})
        again = tune_jobs.without_culprit(after, mark, "exit status 1", excluded)
        self.assertEqual([each["variants"] for each in again], [["b"], ["c"]])
        self.assertEqual(list(excluded), ["a"])

    def test_a_process_that_cannot_start_is_not_restarted_forever(self):
        excluded = {}
        self.assertEqual(tune_jobs.without_culprit([job("a")], None, "exit status 1", excluded), [])
        self.assertEqual(excluded, {"all": "exit status 1"})

    def test_the_price_excludes_gains_with_the_same_bits(self):
        table = variants.read_table()
        cases = tune_report.merged([measured({"product": 100, "product again": 100, "stages-4": 98, "groups-264": 90})])
        (line,) = [line for line in tune_report.price(table, cases) if line.startswith("| backward")]
        # 98 / 90 is 1.089.
        self.assertIn("| groups-264 | 1.111 | stages-4 | 1.020 | +8.9 |", line)
        cases = tune_report.merged([measured({"product": 100, "product again": 104, "groups-264": 99})])
        (line,) = [line for line in tune_report.price(table, cases) if line.startswith("| backward")]
        self.assertIn("| none |", line)

    def test_the_report_has_predictions_outcomes_and_failures(self):
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
