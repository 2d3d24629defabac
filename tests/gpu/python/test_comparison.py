"""The comparison's decisions, without a GPU or a framework: order, budget, verdicts, tables."""

import unittest

import scripts  # Must be first: makes the kit's scripts importable.
import cases
import comparison_report
import targets


def group(rows, n, op="rms_norm", x_dtype="bfloat16", weight_dtype="bfloat16"):
    return cases.Group(0, op, x_dtype, weight_dtype, rows, n, cases.KINDS)


def case(times, rows=32768, n=4096, kind="forward", replayed=None, **more):
    """A case in the form that compare.py writes, with these microseconds."""
    timed = {name: {"microseconds": t, "starved": 0} for name, t in times.items()}
    again = {name: {"microseconds": t} for name, t in (replayed or {}).items()}
    return {
        "op": "rms_norm", "kind": kind, "x_dtype": "bfloat16", "weight_dtype": "bfloat16", "rows": rows, "n": n,
        "asked_rows": 0, "bytes": 536870912, "candidates": timed, "replayed": again, "reasons": {}, **more,
    }  # fmt: skip


class Cases(unittest.TestCase):
    def test_every_shape_type_and_form_once(self):
        seen = [(g.op, g.x_dtype, g.weight_dtype, g.rows, g.n, kind) for g in cases.groups() for kind in g.kinds]
        self.assertEqual(len(seen), len(set(seen)))
        shapes = set(cases.HOT + cases.FEW_ROWS + cases.SHORT_AND_LONG + cases.ODD)
        self.assertEqual(len(shapes), 9 + 2 + 2 + 9 + 5)
        self.assertEqual(len(seen), len(shapes) * len(cases.OPS) * len(cases.DTYPES) * len(cases.KINDS))
        for shape in ((32768, 256), (16384, 131072), (8192, 262144), (1048576, 64), (8, 4096), (32768, 769)):
            self.assertIn(shape, shapes)

    def test_groups_are_sorted_by_priority(self):
        found = list(cases.groups())
        self.assertEqual([g.tier for g in found], sorted(g.tier for g in found))
        first = found[: 2 * 2 * len(cases.HOT)]
        self.assertEqual({g.kinds for g in first}, {(cases.FORWARD, cases.BACKWARD)})
        self.assertEqual({g.x_dtype == g.weight_dtype for g in first}, {True})
        self.assertIn((8, 4096), [(g.rows, g.n) for g in first])

    def test_bytes(self):
        x, w = 2 * 100 * 64, 2 * 64
        self.assertEqual(group(100, 64).moved_bytes("inference"), 2 * x + w)
        self.assertEqual(group(100, 64).moved_bytes("forward"), 2 * x + w + 400)
        self.assertEqual(group(100, 64).moved_bytes("backward"), 3 * x + 2 * w + 400)
        self.assertEqual(group(100, 64).moved_bytes("residual forward"), 4 * x + w + 400)
        layer = group(100, 64, "layer_norm", "bfloat16", "float32")
        self.assertEqual(layer.moved_bytes("forward"), 2 * x + 4 * w + 800)
        self.assertEqual(layer.moved_bytes("residual backward"), 4 * x + 6 * w + 800)

    def test_sets_exceed_the_cache(self):
        self.assertEqual(group(1024, 1024).sets(10 << 20, 1 << 30), 15)
        self.assertEqual(group(1024, 1024).sets(10 << 20, 4 << 20), 2)
        self.assertEqual(group(32768, 65536).sets(50 << 20, 1 << 33), 1)
        self.assertEqual(group(1, 4096).sets(50 << 20, 1 << 33), cases.MOST_SETS)

    def test_rows_are_halved_until_they_fit(self):
        whole = group(32768, 4096)
        self.assertEqual(whole.fitted(1 << 28).asked_rows, 0)
        half = whole.fitted((1 << 28) - 1)
        self.assertEqual((half.rows, half.asked_rows), (16384, 32768))
        self.assertIsNone(group(1, 4096).fitted(4096))


class Budgets(unittest.TestCase):
    def setUp(self):
        self.time = 100.0
        self.budget = cases.Budget(50, lambda: self.time)

    def test_a_peers_preparation_is_limited(self):
        self.budget.prepared("Liger", 5.9)
        self.assertTrue(self.budget.may_prepare("Liger"))
        self.budget.prepared("Liger", 0.2)
        self.assertFalse(self.budget.may_prepare("Liger"))
        self.budget.prepared("torch.compile", 6.1)
        self.assertTrue(self.budget.may_prepare("torch.compile"))
        self.budget.prepared("torch.compile", 11.5)
        self.assertFalse(self.budget.may_prepare("torch.compile"))

    def test_cases_that_do_not_fit_are_not_started(self):
        # 0.54 GB, 50 samples, 5 candidates at 1 GB/s: 1.5 * 6 * 50 * 0.54 s.
        large = group(32768, 4096)
        self.assertFalse(self.budget.allows(large, "forward", 5, 50, 1e9))
        self.assertTrue(self.budget.allows(large, "forward", 5, 50, 5e9))
        self.time = 148.0
        self.assertFalse(self.budget.allows(large, "forward", 5, 50, 1e11))
        self.assertTrue(self.budget.allows(group(64, 64), "forward", 5, 50, 1e11))
        self.time = 151.0
        self.assertFalse(self.budget.allows(group(1, 64), "forward", 5, 50, 1e11))


class Targets(unittest.TestCase):
    def test_fractions_by_direction_and_hidden_size(self):
        for kind, n, expected in (
            ("forward", 256, 0.85), ("forward", 769, 0.85), ("forward", 1024, 0.95), ("forward", 262144, 0.95),
            ("inference", 5120, 0.95), ("residual forward", 512, 0.85), ("backward", 64, 0.80), ("backward", 769, 0.80),
            ("backward", 1024, 0.90), ("residual backward", 65536, 0.90), ("backward", 131072, 0.80),
        ):  # fmt: skip
            self.assertEqual(targets.fraction_of_copy_target(kind, n), expected, f"{kind} {n}")

    def test_met_and_missed(self):
        good = case({"Normcore": 100, "copy": 96, "PyTorch": 150, "Triton": 100})
        self.assertEqual(targets.best_peer(good), ("Triton", 100))
        self.assertEqual(targets.verdict(good), "met")
        slow = case({"Normcore": 100, "copy": 94, "PyTorch": 150})
        self.assertEqual(targets.verdict(slow), "missed: 0.94 of the copy (target 0.95)")
        beaten = case({"Normcore": 100, "copy": 96, "PyTorch": 150, "Triton": 90})
        self.assertEqual(targets.verdict(beaten), "missed: 0.90 times Triton (target 1.00)")
        both = case({"Normcore": 100, "copy": 80, "Triton": 90}, kind="backward")
        self.assertEqual(
            targets.verdict(both), "missed: 0.80 of the copy (target 0.90), 0.90 times Triton (target 1.00)"
        )

    def test_without_a_peer_only_the_copy_is_compared(self):
        alone = case({"Normcore": 100, "copy": 96})
        self.assertIsNone(targets.best_peer(alone))
        self.assertIsNone(targets.times_best(alone))
        self.assertEqual(targets.verdict(alone), "met")
        self.assertEqual(targets.verdict(case({"Normcore": 100})), "not judged")

    def test_few_rows_are_compared_in_a_graph(self):
        launched = {"Normcore": 9, "copy": 2, "PyTorch": 5}
        quick = {"Normcore": 2.9, "copy": 2.5, "empty kernel": 2.0, "PyTorch": 3.1}
        self.assertEqual(targets.verdict(case(launched, 8, replayed=quick)), "met")
        late = {"Normcore": 3.2, "copy": 2.5, "empty kernel": 2.0, "PyTorch": 3.1}
        self.assertEqual(
            targets.verdict(case(launched, 8, replayed=late)),
            "missed: 1.20 us over an empty kernel (target 1.00), 0.97 times PyTorch (target 1.00)",
        )
        self.assertEqual(targets.best_peer(case(launched, 8, replayed=quick)), ("PyTorch", 3.1))
        # This many rows are not latency-bound.
        self.assertIn("of the copy", targets.verdict(case(launched, 65, replayed=quick)))


class Report(unittest.TestCase):
    def report(self, **more):
        found = [
            case({"Normcore": 200, "copy": 196, "PyTorch": 300, "Triton": 210}, reasons={"cuDNN": "it is not there"}),
            case({"Normcore": 200, "copy": 100, "Triton": 190}, n=1024, reasons={"cuDNN": "it is not there"},
                 asked_rows=65536),
            case({"Normcore": 9, "copy": 9}, rows=1, replayed={"Normcore": 2.5, "copy": 2, "empty kernel": 2},
                 reasons={"cuDNN": "it is not there", "PyTorch": "too slow"}),
        ]  # fmt: skip
        return {
            "trial": False, "device": "A GPU", "date": "2026-01-02", "about": "Kit", "clock": "events", "samples": 50,
            "cache_bytes": 50 << 20, "peers": ["PyTorch", "cuDNN", "Triton"], "cases": found, "left_out": [],
            "wrong": [], **more,
        }  # fmt: skip

    def rows(self, text):
        return [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if "| " in line]

    def test_tables(self):
        text = comparison_report.markdown(self.report())
        rows = self.rows(text)
        head = next(row for row in rows if row[0] == "x/weight")
        # cuDNN is in no table, because it was never measured.
        self.assertEqual(
            head,
            ["x/weight", "rows x N", "us", "GB/s", "of the copy", "PyTorch", "Triton", "best peer", "times best",
             "verdict"],
        )  # fmt: skip
        at = rows.index(head)
        # By hidden size; what was not measured is empty.
        self.assertEqual(
            rows[at + 1],
            ["bf16/bf16", "32768 x 1024 (of 65536 rows)", "200.0", "2684", "0.500", "", "190.0", "Triton", "0.95",
             "missed: 0.50 of the copy (target 0.95), 0.95 times Triton (target 1.00)"],
        )  # fmt: skip
        self.assertEqual(
            rows[at + 2],
            ["bf16/bf16", "32768 x 4096", "200.0", "2684", "0.980", "300.0", "210.0", "Triton", "1.05", "met"],
        )
        self.assertIn("few rows, in a graph", text)
        self.assertIn(["RMSNorm, forward", "3", "2", "1", "0"], rows)
        for row in rows[at:]:
            self.assertIn(len(row), (len(head), 9), row)

    def test_reasons_and_skipped_cases(self):
        item = {"op": "rms_norm", "kind": "backward", "x_dtype": "float32", "weight_dtype": "float32"}
        item |= {"rows": 64, "n": 8}
        other = {**item, "op": "layer_norm", "kind": "forward"}
        text = comparison_report.markdown(
            self.report(left_out=[{**item, "why": "no time was left"}, {**other, "why": "no time was left"}])
        )
        self.assertIn("- cuDNN: it is not there (everywhere)", text)
        self.assertIn("- PyTorch: too slow (RMSNorm bf16/bf16 1 x 4096 forward)", text)
        self.assertIn("- 64 x 8, f32/f32: forward, backward: no time was left", text)
        self.assertNotIn("## Wrong", text)
        self.assertIn("## Wrong\n\n- y", comparison_report.markdown(self.report(wrong=["y"])))

    def test_host_bound_cases_are_listed(self):
        hosts = case({"Normcore": 100, "copy": 96, "QuACK": 300})
        hosts["candidates"]["QuACK"]["starved"] = 5
        text = comparison_report.markdown(self.report(cases=[hosts]))
        self.assertIn("waited for the host\n\n- QuACK: 1 of 1 cases: RMSNorm bf16/bf16 32768 x 4096 forward\n", text)
        hosts["candidates"]["QuACK"]["starved"] = 4
        self.assertNotIn("waited for the host", comparison_report.markdown(self.report(cases=[hosts])))

    def test_a_trial_is_labelled(self):
        self.assertNotIn("TRIAL", comparison_report.markdown(self.report()))
        self.assertIn("A TRIAL WITHOUT A GPU", comparison_report.markdown(self.report(trial=True)))


if __name__ == "__main__":
    unittest.main()
