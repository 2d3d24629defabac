#!/usr/bin/env python3
"""Times the variants that variants.py built against the product, and compares them with their predictions.

tune.py DIRECTORY OUT [--budget SECONDS] [--only NAMES] [--shapes SHAPES] [--ops OPS] [--dtypes DTYPES] [--first]
        [--product LIBRARY] [--stand-in]

For each case (direction, norm, format, shape) the product and all variants of that case work on the same tensors, in
turns. The product takes part twice, and the difference between its two results is the noise. Before timing, a variant
must give the product's bits or, if its order of sums differs, stay within the rounding-error bound from float64.
Writes OUT/tune.json after each case and OUT/tune.md at the end. A variant that fails, or that ends the process, loses
only its own results: the cases run in a separate process, which is restarted without it.

--stand-in: a trial without a GPU, on plugins of variants.py build --simulator and the host's clock: its times mean
nothing.
"""

import argparse
import dataclasses
import datetime
import json
import os
import subprocess
import sys
import tempfile
import time

import variants as table_of_variants
from tune_jobs import Wanted, first_of, jobs_of, key_of, name_of, without_culprit
from tune_report import markdown, merged, outcome, price
from variants import UNCHANGED

HERE = os.path.dirname(os.path.abspath(__file__))
# In the packed kit all scripts lie in one folder; here they lie in three.
sys.path += [os.path.join(HERE, "..", name) for name in ("kit", "compare", "tuning")]
STALL_SECONDS = 60  # seconds without output after which a process counts as hanging


def supervise(arguments, jobs, deadline):
    """Runs the jobs in a process, and restarts it without the candidate that ended it. Returns all lines, and what was
    left out."""
    said, excluded, left = [], {}, list(jobs)
    with tempfile.TemporaryDirectory() as folder:
        while left and time.monotonic() < deadline:
            queue, out = os.path.join(folder, "jobs.json"), os.path.join(folder, f"{len(excluded)}-{len(left)}.jsonl")
            with open(queue, "w") as file:
                json.dump(left, file)
            open(out, "w").close()
            command = [sys.executable, os.path.join(HERE, "tune.py"), arguments.directory, out, "--jobs", queue]
            command += ["--stand-in"] if arguments.stand_in else []
            command += ["--product", arguments.product] if arguments.product else []
            log = os.path.join(folder, "log.txt")
            environment = dict(os.environ)
            if arguments.stand_in:
                # Each simulator needs static thread-local memory, which is scarce.
                environment["GLIBC_TUNABLES"] = "glibc.rtld.optional_static_tls=65536"
            with open(log, "w") as errors:
                process = subprocess.Popen(command, stdout=errors, stderr=subprocess.STDOUT, env=environment)

            def each(lines, done):
                record(arguments, said + lines, excluded)
                for line in done if arguments.json_lines else []:
                    print(json.dumps({"result": "tuned", **line}), flush=True)

            status, lines = watched(process, out, deadline, each)
            said += lines
            done = [line["key"] for line in lines if line.get("doing") == "done"]
            left = [job for job in left if key_of(job) not in done]
            if status == 0 or status == "deadline":
                break
            last = next((line for line in reversed(lines) if "doing" in line), None)
            with open(log, errors="replace") as file:
                tail = file.read().strip().splitlines()[-1:]
            reason = f"{status} {' '.join(tail)}"[:300]
            left = without_culprit(left, last, reason, excluded)
            where = last["case"] if last else "the start"
            if arguments.json_lines:
                print(json.dumps({"result": "wrong", "text": f"tune: {where}: {reason}"}), flush=True)
            else:
                print(f"{where}: {reason}", flush=True)
    return said, excluded, left


def watched(process, path, deadline, each):
    """Waits for a process while it keeps writing. Returns its exit status, or why it was ended, and its lines."""
    lines, changed = [], time.monotonic()
    while True:
        status = process.poll()
        with open(path) as file:
            now = [json.loads(line) for line in file.read().splitlines(keepends=True) if line.endswith("\n")]
        if len(now) > len(lines):
            changed = time.monotonic()
            done = [line for line in now[len(lines) :] if line.get("doing") == "done"]
            lines = now
            if done:
                each(now, done)
        if status is not None:
            return (0 if status == 0 else f"exit status {status}:"), lines
        over = time.monotonic() > deadline
        if over or time.monotonic() - changed > STALL_SECONDS:
            process.kill()
            process.wait()
            return ("deadline" if over else f"nothing for {STALL_SECONDS} s:"), lines
        time.sleep(0.05 if len(lines) < 3 else 0.2)


def record(arguments, said, excluded, left=(), **more):
    report = {
        "date": datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%d"),
        "means_nothing": arguments.stand_in,
        "about": next((line["about"] for line in said if "about" in line), None),
        "cases": [line for line in said if line.get("doing") == "done"],
        "excluded": excluded,
        "left_out": [f"{name_of(job)}: {', '.join(job['variants'])}" for job in left],
        **more,
    }
    with open(os.path.join(arguments.out, "tune.json.part"), "w") as file:
        json.dump(report, file, indent=1)
    os.replace(os.path.join(arguments.out, "tune.json.part"), os.path.join(arguments.out, "tune.json"))
    return report


def wanted_of(arguments, table):
    wanted = first_of(table) if arguments.first else Wanted()
    for name, known in (("ops", table_of_variants.OPS), ("dtypes", table_of_variants.DTYPES)):
        if asked := getattr(arguments, name):
            asked = asked.split(",")
            if unknown := set(asked) - set(known):
                sys.exit(f"tune.py: --{name}: {', '.join(sorted(unknown))} is none of {', '.join(known)}")
            wanted = dataclasses.replace(wanted, **{name: asked})
    if arguments.shapes:
        shapes = arguments.shapes.split(",")
        if unknown := set(shapes) - {shape for of_kind in table["shapes"].values() for shape in of_kind}:
            sys.exit(f"tune.py: --shapes: {', '.join(sorted(unknown))} is in no list of variants.toml")
        wanted = dataclasses.replace(wanted, shapes=dict.fromkeys(table_of_variants.DTYPES, shapes))
    return wanted


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("directory", help="the folder that variants.py built into")
    parser.add_argument("out", help="the folder for tune.json and tune.md")
    parser.add_argument("--budget", type=float, default=520, help="seconds, at most 540")
    parser.add_argument("--only", help="variants by name or part of a name, separated by commas")
    parser.add_argument("--shapes", help="only these shapes, such as 32768x4096,8x4096")
    parser.add_argument("--ops", help="only these norms: rms_norm,layer_norm")
    parser.add_argument("--dtypes", help="only these types: bfloat16,float32")
    parser.add_argument("--first", action="store_true", help="only the variants and shapes of [first] in variants.toml")
    parser.add_argument("--json-lines", action="store_true", help="print each case as a line of JSON")
    parser.add_argument("--product", default="", help="the shipped plugin, timed as one more variant")
    parser.add_argument("--stand-in", action="store_true", help="a trial without a GPU; its times mean nothing")
    parser.add_argument("--jobs", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.jobs:
        import tune_worker

        return tune_worker.work_through(arguments)
    begun = time.monotonic()
    deadline = begun + min(arguments.budget, 540)
    try:
        with open(os.path.join(arguments.directory, "built.json")) as file:
            built = json.load(file)
    except FileNotFoundError as e:
        sys.exit(f"tune.py: {e.filename} is not there; variants.py build {arguments.directory} makes it")
    os.makedirs(arguments.out, exist_ok=True)
    table = table_of_variants.read_table()
    if built["simulator"] != arguments.stand_in:
        sys.exit("tune.py: plugins of the simulator are for --stand-in, and only they")
    built = built["variants"]
    if "kernels" not in built.get(UNCHANGED, {}):
        sys.exit(f"tune.py: {arguments.directory} has no {UNCHANGED}, which stands for the product")
    only = arguments.only.split(",") if arguments.only else []
    jobs = jobs_of(table, built, only, arguments.stand_in, wanted_of(arguments, table))
    if not jobs:
        sys.exit("tune.py: no case is left of those that were asked for")
    said, excluded, left = supervise(arguments, jobs, deadline)
    report = record(arguments, said, excluded, left, seconds=time.monotonic() - begun, built=built)
    lines = list(markdown(table, built, report))
    with open(os.path.join(arguments.out, "tune.md"), "w") as file:
        file.write("\n".join(lines) + "\n")
    cases = merged(report["cases"])
    if arguments.stand_in:
        print("A TRIAL WITHOUT A GPU: NO TIME MEANS ANYTHING")
    for variant in table_of_variants.variants_of(table):
        if variant["name"] != UNCHANGED:
            print(f"{variant['name']:26} {outcome(variant['name'], cases, report, built)}")
    for line in price(table, cases):
        print(line)
    wrong = sum(len(case["wrong"]) for case in cases)
    print(f"{len(report['cases'])} of {len(jobs)} groups in {report['seconds']:.0f} s; {wrong} wrong results,"
          f" {len(excluded)} ended the process, {len(report['left_out'])} left out")  # fmt: skip
    sys.exit(1 if wrong or excluded or not report["cases"] else 0)


if __name__ == "__main__":
    main()
