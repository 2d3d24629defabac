"""The report of tune.py: predictions beside outcomes, and the price of the same bits. Standard library only."""

import variants as table_of_variants
from tune_jobs import AGAIN, PRODUCT, SHIPPED
from variants import UNCHANGED


def noise_of(case):
    """The noise: the difference between the product's two results, or half the width of its quartiles."""
    (median, low, high), (again, *_) = case["microseconds"][PRODUCT], case["microseconds"][AGAIN]
    return max(abs(again / median - 1), (high - low) / 2 / median)


def change_of(case, name):
    """Relative change of the time; negative is faster."""
    own = case["microseconds"]
    return own[name][0] / ((own[PRODUCT][0] + own[AGAIN][0]) / 2) - 1


def merged(cases):
    """All measurements by case, with the change of each variant."""
    by_name = {}
    for case in cases:
        if "failed" in case:
            continue
        new = {"case": case["case"], "bytes": case["bytes"], "noise": 0.0, "change": {}, "wrong": {}}
        known = by_name.setdefault(case["case"], {**new, "product": case["microseconds"][PRODUCT][0]})
        known["noise"] = max(known["noise"], noise_of(case))
        known["wrong"] |= case["wrong"]
        for name in case["microseconds"]:
            if name not in (PRODUCT, AGAIN):
                known["change"][name] = change_of(case, name)
    return list(by_name.values())


def percent(value):
    return f"{100 * value:+.1f}"


def markdown(table, built, report):
    cases = merged(report["cases"])
    about = report["about"] or {"device": "no device"}
    if report["means_nothing"]:
        yield "**A TRIAL WITHOUT A GPU: NO TIME BELOW MEANS ANYTHING.**\n"
    yield f"# Variants, {about['device']}, {report['date']}\n"
    yield f"{about.get('multiprocessors')} multiprocessors, {about.get('clock')}. Microseconds are medians; a variant's"
    yield "column is the change of the product's time in %, negative is faster. Noise: the product against itself, %.\n"
    for lead in table["lead"]:
        names = [v["name"] for v in lead["variant"] if v["name"] != UNCHANGED]
        if lead["name"] == "nothing":
            names = [SHIPPED]
        rows = [case for case in cases if any(name in case["change"] or name in case["wrong"] for name in names)]
        yield f"## {lead['name']}: {lead['question']}\n"
        for variant in lead["variant"]:
            spills = built.get(variant["name"], {}).get("kernels", {}).get("spills")
            yield f"- **{variant['name']}** ({variant['bits']} bits): {table_of_variants.change_of(variant)}."
            yield f"  Prediction: {variant['prediction']}"
            yield f"  Outcome: {outcome(variant['name'], rows, report, built)}"
            if spills:
                yield f"  Bytes of registers in memory: {', '.join(f'{k}: {v}' for k, v in spills.items())}."
        yield ""
        if rows:
            yield f"| case | product us | GB/s | noise | {' | '.join(names)} |"
            yield f"|---|---|---|---|{'---|' * len(names)}"
            for case in rows:
                cells = [cell(case, name) for name in names]
                rate = case["bytes"] / case["product"] / 1e3
                yield (f"| {case['case']} | {case['product']:.1f} | {rate:.0f} | {100 * case['noise']:.1f} |"
                       f" {' | '.join(cells)} |")  # fmt: skip
            yield ""
    yield from price(table, cases)
    for name, why in report["excluded"].items():
        yield f"Ended the process: {name}: {why}\n"
    for case in cases:
        for name, why in case["wrong"].items():
            yield f"Wrong: {name}, {case['case']}: {why}\n"
    for case in report["cases"]:
        if "failed" in case:
            yield f"Failed: {case['case']}: {case['failed']}\n"
    if report["left_out"]:
        yield "Left out for lack of time:\n"
        for line in report["left_out"]:
            yield f"- {line}"


def cell(case, name):
    if name in case["wrong"]:
        return "wrong"
    return percent(case["change"][name]) if name in case["change"] else ""


def outcome(name, rows, report, built):
    if "failed" in built.get(name, {}):
        return f"not built: {built[name]['failed']}"
    if name in report["excluded"]:
        return f"ended the process: {report['excluded'][name]}"
    changes = [(case["change"][name], case) for case in rows if name in case["change"]]
    if not changes:
        return "not measured."
    clear = [(change, case) for change, case in changes if abs(change) > max(2 * case["noise"], 0.005)]
    if not clear:
        return f"within the noise in all {len(changes)} cases."
    best, worst = min(clear, key=lambda c: c[0]), max(clear, key=lambda c: c[0])
    parts = [f"beyond the noise in {len(clear)} of {len(changes)} cases"]
    if best[0] < 0:
        parts.append(f"best {percent(best[0])} % ({best[1]['case']})")
    if worst[0] > 0:
        parts.append(f"worst {percent(worst[0])} % ({worst[1]['case']})")
    return ", ".join(parts) + "."


def price(table, cases):
    """The gain of an order of sums for this device alone over the best one with the product's bits."""
    bits = {v["name"]: v["bits"] for v in table_of_variants.variants_of(table)}
    yield "## The price of the same bits\n"
    yield "The product's time over that of the fastest variant of another order of sums; and the same for the fastest"
    yield "of the product's bits, itself included: what is left is the price, none where it is within the noise.\n"
    yield "| case | product us | fastest other order | over it | fastest same bits | over it | price % | noise % |"
    yield "|---|---|---|---|---|---|---|---|"
    for case in cases:
        other = {name: change for name, change in case["change"].items() if bits.get(name) == "other"}
        same = {name: change for name, change in case["change"].items() if bits.get(name) == "same"} | {PRODUCT: 0.0}
        if not other:
            continue
        fastest, own = min(other, key=other.get), min(same, key=same.get)
        over, own_over = 1 / (1 + other[fastest]), 1 / (1 + same[own])
        gain = over / own_over - 1
        priced = percent(gain) if gain > max(case["noise"], 0.005) else "none"
        yield (f"| {case['case']} | {case['product']:.1f} | {fastest} | {over:.3f} | {own} | {own_over:.3f} |"
               f" {priced} | {100 * case['noise']:.1f} |")  # fmt: skip
    yield ""
