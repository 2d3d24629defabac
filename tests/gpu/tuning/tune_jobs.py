"""The cases of tune.py in their order, each with its variants. Standard library only."""

import dataclasses

import variants as table_of_variants
from variants import UNCHANGED

PRODUCT, AGAIN, SHIPPED = "product", "product again", "as shipped"
STAND_IN_SHAPES = {"tiny": ["40x64"], "short": ["24x256"], "middle": ["12x1024", "6x4096"], "long": ["5x16384"],
                   "longest": ["3x32768"], "few": ["2x4096"]}  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Wanted:
    """Filters of the cases; None: all. shapes: by format; ignored without a GPU."""

    variants: list | None = None
    shapes: dict | None = None
    ops: list | None = None
    dtypes: list | None = None

    def has(self, dtype, op, shape, stand_in):
        if self.ops is not None and op not in self.ops or self.dtypes is not None and dtype not in self.dtypes:
            return False
        return stand_in or self.shapes is None or shape in self.shapes[dtype]


def first_of(table):
    """The cases that run.sh tune measures."""
    first = table["first"]
    return Wanted(first["variants"], {dtype: first[dtype] for dtype in table_of_variants.DTYPES}, first["ops"])


def jobs_of(table, built, only, stand_in, wanted=Wanted()):
    """The cases in timing order, each with the variants that are timed together."""
    shapes = STAND_IN_SHAPES if stand_in else table["shapes"]
    groups = {}
    for variant in table_of_variants.variants_of(table):
        if "kernels" not in built.get(variant["name"], {}) or variant["name"] == UNCHANGED:
            continue
        if only and not any(part in variant["name"] for part in only):
            continue
        if wanted.variants is not None and variant["name"] not in wanted.variants:
            continue
        for kind in variant["shapes"]:
            for shape in shapes[kind]:
                rows, n = map(int, shape.split("x"))
                for dtype in variant["dtypes"]:
                    for op in variant["ops"]:
                        if not wanted.has(dtype, op, shape, stand_in):
                            continue
                        for direction in variant["directions"]:
                            key = (variant["priority"], dtype != "bfloat16", op, kind, rows, n, direction)
                            groups.setdefault(key, []).append(variant["name"])
    order = ["middle", "short", "long", "tiny", "few", "longest"]
    jobs = []
    for key in sorted(groups, key=lambda k: (k[0], k[1], order.index(k[3]), k[2] != "rms_norm", k[5], k[6])):
        priority, is_float32, op, kind, rows, n, direction = key
        jobs.append({"priority": priority, "dtype": "float32" if is_float32 else "bfloat16", "op": op, "kind": kind,
                     "rows": rows, "n": n, "direction": direction, "variants": groups[key]})  # fmt: skip
    return jobs


def name_of(job):
    return f"{job['direction']} {job['op']} {job['dtype']} {job['rows']}x{job['n']}"


def key_of(job):
    return [name_of(job), *job["variants"]]


def without_culprit(left, last, reason, excluded):
    """The remaining jobs, without what was running when the process ended."""
    if last is None or last.get("doing") == "done":
        excluded["all"] = reason
        return []
    case = next((job for job in left if name_of(job) == last["case"]), None)
    if case is None:
        excluded["all"] = reason
        return []
    if last["doing"] == "time" and len(case["variants"]) > 1:
        # The failing kernel is unknown: run the variants one by one.
        at = left.index(case)
        return left[:at] + [{**case, "variants": [name]} for name in case["variants"]] + left[at + 1 :]
    culprit = case["variants"][0] if last["doing"] == "time" else last["variant"]
    if culprit == PRODUCT:
        excluded[f"product, {last['case']}"] = reason
        return [job for job in left if job is not case]
    excluded[culprit] = f"{last['case']}: {reason}"
    kept = [{**job, "variants": [v for v in job["variants"] if v != culprit]} for job in left]
    return [job for job in kept if job["variants"]]
