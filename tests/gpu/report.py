#!/usr/bin/env python3
"""report.py WORK ABOUT OUT: gathers what the stages of run.sh have left in WORK into OUT/gpu.json and
OUT/results/<date>-<device>-checks.md, and the table of machine code beside it."""

import datetime
import glob
import json
import os
import re
import shutil
import sys
import xml.etree.ElementTree as ElementTree

import comparison_report


def read_json(path):
    try:
        with open(path) as file:
            return json.load(file)
    except (OSError, ValueError):
        return None


def stages(work):
    with open(os.path.join(work, "stages.tsv")) as file:
        rows = [line.rstrip("\n").split("\t") for line in file]
    return [{"name": name, "verdict": verdict, "seconds": int(seconds)} for name, verdict, seconds in rows]


def native_tests(work, name):
    """What the processes of a native sweep have counted; one that wrote nothing has crashed or was stopped."""
    logs = glob.glob(os.path.join(work, f"{name}-*.log"))
    if not logs:
        return None
    counted = {"tests": 0, "failed": 0, "skipped": 0, "processes": len(logs), "without_result": 0, "failures": []}
    for log in sorted(logs):
        result = read_json(log[: -len(".log")] + ".json")
        if result is None:
            counted["without_result"] += 1
            continue
        for suite in result["testsuites"]:
            for case in suite["testsuite"]:
                if case["status"] != "RUN":
                    continue
                counted["tests"] += 1
                counted["skipped"] += case.get("result") == "SKIPPED"
                if "failures" in case:
                    counted["failed"] += 1
                    text = case["failures"][0]["failure"][:600]
                    counted["failures"].append(f"{suite['name']}.{case['name']}: {text}")
    counted["failures"] = counted["failures"][:60]
    return counted


def java_tests(work):
    counted = {"tests": 0, "failed": 0, "skipped": 0, "failures": []}
    files = glob.glob(os.path.join(work, "java", "TEST-*.xml"))
    for path in files:
        for case in ElementTree.parse(path).getroot().iter("testcase"):
            counted["tests"] += 1
            counted["skipped"] += case.find("skipped") is not None
            wrong = [child for tag in ("failure", "error") for child in case.findall(tag)]
            if wrong:
                counted["failed"] += 1
                message = (wrong[0].get("message") or wrong[0].text or "")[:600]
                counted["failures"].append(f"{case.get('classname')}.{case.get('name')}: {message}")
    return counted if files else None


def sanitizer_errors(work, tool):
    """The sum of the tool's own summaries."""
    total = None
    for log in glob.glob(os.path.join(work, f"{tool}-*.log")):
        with open(log, errors="replace") as file:
            for count in re.findall(r"(?:ERROR|RACECHECK) SUMMARY: (\d+)", file.read()):
                total = (total or 0) + int(count)
    return total


def counts(result):
    if result is None:
        return ""
    text = f"{result['tests']} tests, {result['failed']} failed, {result['skipped']} skipped"
    if result.get("without_result"):
        text += f", {result['without_result']} of {result['processes']} processes without a result"
    return text


def speed(work):
    """What compare.py has measured."""
    paths = glob.glob(os.path.join(work, "speed", "results", "*.json"))
    return read_json(paths[0]) if paths else None


def main():
    work, about, out = sys.argv[1:]
    with open(about) as file:
        kit = dict(line.rstrip("\n").split(" ", 1) for line in file)
    report = {
        "date": datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%d"),
        "kit": kit,
        "simulated": os.environ.get("NORMCORE_SIMULATED") == "1",
        "stages": stages(work),
        "bits": native_tests(work, "bits"),
        "java": java_tests(work),
        "speed": speed(work),
    }
    for tool in ("memcheck", "racecheck", "synccheck"):
        result = native_tests(work, tool)
        if result is not None:
            result["errors"] = sanitizer_errors(work, tool)
        report[tool] = result
    with open(os.path.join(out, "gpu.json"), "w") as file:
        json.dump(report, file, indent=1)

    measured = report["speed"]
    device = "simulator" if report["simulated"] else measured["device"] if measured else "unknown device"
    lines = [f"# {device}, {report['date']}", "", f"Kit: {', '.join(f'{k} {v}' for k, v in kit.items())}.", ""]
    lines += ["| stage | verdict | seconds | |", "|---|---|---|---|"]
    for stage in report["stages"]:
        result = report.get(stage["name"])
        text = counts(result) if isinstance(result, dict) and "tests" in result else ""
        if isinstance(result, dict) and result.get("errors") is not None:
            text += f", {result['errors']} errors reported"
        lines.append(f"| {stage['name']} | {stage['verdict']} | {stage['seconds']} | {text} |")
    for name in ("bits", "java", "memcheck", "racecheck", "synccheck"):
        for failure in (report[name] or {}).get("failures", []):
            lines.append("\n    " + failure.replace("\n", "\n    "))
    if measured:
        # A heading below this one's.
        lines += ["", "#" + comparison_report.markdown(measured).replace("\n#", "\n##")]
    slug = re.sub(r"[^a-z0-9]+", "-", device.lower()).strip("-")
    folder = os.path.join(out, "results")
    os.makedirs(folder, exist_ok=True)
    machine_code = os.path.join(work, "machine-code.md")
    if os.path.exists(machine_code):
        shutil.copyfile(machine_code, os.path.join(folder, f"{report['date']}-{slug}-machine-code.md"))
    path = os.path.join(folder, f"{report['date']}-{slug}-checks.md")
    with open(path, "w") as file:
        file.write("\n".join(lines) + "\n")
    print(path)


if __name__ == "__main__":
    main()
