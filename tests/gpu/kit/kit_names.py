"""Short names for the summary: cases, kernels, variants. Standard library only."""

import re

OPS = {"rms_norm": "RMS", "layer_norm": "LN"}
DTYPES = {"bfloat16": "bf16", "float32": "f32"}
PEERS = {"PyTorch": "torch", "torch.compile": "compile", "HF compiled": "HF"}


def case(op, dtype, rounding, rows, n):
    policy = " HF" if rounding == "input" else ""
    return f"{OPS.get(op, op)} {DTYPES.get(dtype, dtype)}{policy} {rows}x{n}"


def microseconds(value):
    return format(value, ".2f" if value < 100 else ".1f" if value < 1000 else ".0f")


def kernel(name):
    """norm_forward<8, 1>, with vectors and rows, from a kernel's name, mangled or not."""
    found = re.search(r"norm_(?:forward|backward|columns)(?:_unaligned|_generic)?", name)
    if found is None:
        return name[:80]
    if name.startswith("_Z"):
        numbers = re.findall(r"Li(\d+)E", name[found.end() :])
    else:
        # The template's arguments, without those of the call.
        numbers = re.findall(r"\b(\d+)(?=[,>])", name[found.end() :].rsplit(">(", 1)[0] + ">")
    return found[0] + (f"<{', '.join(numbers[-2:])}>" if numbers else "")


def tuning(tuned):
    """The outcome of each variant beside its prediction, from the cases of tune.py."""
    if not tuned:
        return []
    import tune_report
    import variants

    table = variants.read_table()
    merged = tune_report.merged(tuned)
    report = {"excluded": {}}
    lines = ["-- variants: outcome; prediction"]
    for variant in variants.variants_of(table):
        name = variant["name"]
        found = [case for case in merged if name in case["change"]]
        for one in merged:
            if name in one["wrong"]:
                lines.append(f"WRONG: {name}, {one['case']}: {one['wrong'][name][:200]}")
        if found:
            outcome = tune_report.outcome(name, found, report, {})
            lines.append(f"{name} ({variant['bits']} bits): {outcome} Predicted: {variant['prediction'][:150]}")
    lines.append("-- cases: product us, GB/s, noise %, change of each variant %")
    for one in merged:
        changes = ", ".join(f"{name} {100 * change:+.1f}" for name, change in sorted(one["change"].items()))
        rate = one["bytes"] / one["product"] / 1e3
        lines.append(f"{one['case']}: {one['product']:.1f} us, {rate:.0f}, {100 * one['noise']:.1f}: {changes}")
    return lines
