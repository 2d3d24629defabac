"""The contents and the length of the summary. Standard library only."""

import sys
import unittest

if sys.version_info < (3, 11):
    raise unittest.SkipTest(f"Python {sys.version.split()[0]}: the kit needs 3.11")

import scripts  # Must be first: makes the kit's scripts importable.
import cases
import kit_names
import kit_summary
import predictions
import targets


def speed(group, kind, us=100.0, of_copy=0.9, stage="alone", **more):
    few = group.is_few_rows
    return {
        "result": "speed", "stage": stage, "op": group.op, "kind": kind, "x_dtype": group.x_dtype,
        "weight_dtype": group.weight_dtype, "rounding": group.rounding, "rows": group.rows, "n": group.n, "us": us,
        "gbs": 3900.0, "copy_gbs": 4250.0, "of_copy": of_copy, "over_empty": 0.9 if few else None, "peers": {}, **more,
    }  # fmt: skip


def everything():
    """The maximum of a run: every case of ours and the peers', every counter and kernel, many failures."""
    results = [speed(g, kind) for g in cases.alone_groups() for kind in g.kinds]
    peers = {"PyTorch": 170.0, "torch.compile": 120.0, "Triton": 110.0, "HF compiled": 130.0}
    results += [speed(g, kind, stage="peers", peers=peers) for g in cases.peer_groups() for kind in g.kinds]
    results += [{"result": "fact", "name": f"fact_{i}", "value": 10 * i} for i in range(40)]
    results += [{"result": "test", "stage": "bits", "name": f"Triples/CudaFast.ShortRows/Rms_{i}", "verdict": "failed",
                 "text": "y: element 7\\n" * 20} for i in range(300)]  # fmt: skip
    stalls = dict.fromkeys(("membar", "barrier", "short_scoreboard", "long_scoreboard"), 12.5)
    results += [{"result": "counter", "case": f"backward bfloat16 32768x{i}", "kernel": "norm_backward", "dram": 70.0,
                 "issue": 40.0, "occupancy": 12.0, "stalls": stalls} for i in range(20)]  # fmt: skip
    results += [{"result": "kernel", "case": f"forward rms_norm bfloat16 {i}x4096", "name": "norm_forward<>", "us": 9.0,
                 "hot": i % 2 == 0} for i in range(60)]  # fmt: skip
    return results


class Summary(unittest.TestCase):
    def text(self, results, stages=()):
        return kit_summary.text(["head"], list(stages), results)

    def test_length_is_limited(self):
        stages = [{"name": f"stage-{i}", "verdict": "FAILED: " + "x" * 300, "seconds": 3.0} for i in range(12)]
        text = self.text(everything(), stages)
        self.assertLess(len(text), 12000)
        # Failures come first, and leave room for every important case of ours.
        self.assertLess(text.index("FAILED: Triples"), text.index("RMS bf16 32768x4096: F"))
        self.assertIn("lines more: see results.jsonl", text)

    def test_every_case_has_a_line_if_few_failed(self):
        results = [r for r in everything() if r["result"] == "speed"]
        text = self.text(results)
        for group in cases.alone_groups():
            self.assertIn(kit_names.case(group.op, group.x_dtype, group.rounding, group.rows, group.n) + ": F", text)

    def test_predictions_are_shown_with_outcomes(self):
        hot = cases.Group(0, "rms_norm", "bfloat16", "bfloat16", 32768, 4096, cases.KINDS)
        few = cases.Group(0, "rms_norm", "bfloat16", "bfloat16", 8, 4096, cases.KINDS)
        many = [speed(hot, "forward", 131, 0.95), speed(hot, "backward", 230, 0.70)]
        text = self.text([*many, speed(few, "forward", 2.5), speed(few, "backward", 9.6)])
        self.assertIn("F 131.0 3900 .95(4250;.92-.97) | B 230.0 3900 .70(4250;.82-.92)-", text)
        self.assertIn("F 2.50 (+0.90)2.2-2.8 us | B 9.60 (+0.90)7-9 us+", text)
        self.assertIn("2 as expected, 1 above, 1 below", text)

    def test_rules_for_counters(self):
        stalls = {"membar": 30.0, "barrier": 1.0, "short_scoreboard": 2.0, "long_scoreboard": 9.0}
        results = [{"result": "counter", "case": "backward bfloat16 32768x32768", "kernel": "", "stalls": stalls},
                   {"result": "counter", "case": "forward bfloat16 32768x256", "kernel": "", "issue": 75.0},
                   {"result": "fact", "name": "clusters_of_16_with_227_kb", "value": 0}]  # fmt: skip
        hot = cases.Group(0, "rms_norm", "bfloat16", "bfloat16", 32768, 4096, cases.KINDS)
        uneven = cases.Group(0, "rms_norm", "bfloat16", "bfloat16", cases.UNEVEN_ROWS, 4096, cases.KINDS)
        results += [speed(hot, "forward"), {**speed(uneven, "forward"), "gbs": 4290.0}]
        text = self.text(results)
        for expected in ("no cluster of 16 fits", "30 % (over 15): backward 32768 waits for memory barriers",
                         "75 % (over 70): forward 256 is bound by issue", "channels are camped on"):  # fmt: skip
            self.assertIn(expected, text)

    def test_a_kernel_that_is_not_a_fast_one_is_named(self):
        case = "forward rms_norm bfloat16 8192x262144"
        result = {"result": "kernel", "case": case, "name": "norm_forward_generic<>", "us": 1.0, "hot": False}
        self.assertIn("NOT A FAST KERNEL: forward rms_norm bfloat16 8192x262144: norm_forward_generic", self.text([result]))

    def test_empty_run(self):
        self.assertEqual(self.text([]), "head\n")


class Predictions(unittest.TestCase):
    def test_every_case_of_many_rows_has_one(self):
        table = predictions.read()
        for group in cases.alone_groups():
            for kind in group.kinds:
                case = {"direction": targets.direction(kind), "x_dtype": group.x_dtype, "op": group.op, "n": group.n,
                        "rounding": group.rounding}  # fmt: skip
                least, most = predictions.fraction(table, case)
                self.assertTrue(0 < least < most <= 1, case)

    def test_the_most_specific_prediction_applies(self):
        table = predictions.read()
        case = {"direction": "backward", "x_dtype": "bfloat16", "op": "rms_norm", "rounding": "compute", "n": 4096}
        self.assertEqual(predictions.fraction(table, case), [0.82, 0.92])
        self.assertEqual(predictions.fraction(table, {**case, "rounding": "input"}), [0.75, 0.88])
        self.assertEqual(predictions.fraction(table, {**case, "op": "layer_norm"}), [0.75, 0.88])
        self.assertIsNone(predictions.fraction(table, {**case, "n": 1 << 20}))

    def test_counters_and_predictions_have_the_same_names(self):
        import kit_stages

        for entry in predictions.read()["counter"]:
            self.assertIn(entry["case"], kit_stages.COUNTED)


class Names(unittest.TestCase):
    def test_kernels(self):
        plain = "void nc::norm_backward<nc::FastFormats<(nc::DType)2>, (bool)0, (int)8, (int)1>(nc::BackwardParameters)"
        self.assertEqual(kit_names.kernel(plain), "norm_backward<8, 1>")
        mangled = "_ZN2nc8baseline12norm_forwardINS0_11FastFormatsILNS_5DTypeE2EEELi2ELi4EEEvNS0_17ForwardParametersE"
        self.assertEqual(kit_names.kernel(mangled), "norm_forward<2, 4>")
        self.assertEqual(kit_names.kernel("nc::norm_forward_generic<nc::X>(P)"), "norm_forward_generic")


if __name__ == "__main__":
    unittest.main()
