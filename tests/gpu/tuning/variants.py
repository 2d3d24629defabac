#!/usr/bin/env python3
"""Builds the variants of variants.toml: plugins that differ from the product in launch parameters, kernels or order of
sums.

variants.py check             checks the table, and that every substitution matches the sources once
variants.py build DIRECTORY   builds the variants into DIRECTORY, for tune.py
variants.py pack DIRECTORY    the same, compressed, to take to a machine with a GPU beside the kit

The product has no switch for any of this: a variant is a copy of native/ with text substitutions, compiled for two
combinations of formats and one policy, without FP8. If its order of sums needs another workspace it gets its own library,
too. Needs nvcc and a C++ compiler or, with --simulator, which compiles the kernels for the host, only the latter. An
object that several variants have in common is compiled once.
"""

import argparse
import concurrent.futures
import hashlib
import json
import lzma
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import tomllib

HERE = os.path.dirname(os.path.abspath(__file__))
TABLE = os.path.join(HERE, "variants.toml")
ROOT = os.path.dirname(os.path.dirname(os.path.dirname(HERE)))

DIRECTIONS = ("forward", "backward")
OPS = ("rms_norm", "layer_norm")
DTYPES = ("bfloat16", "float32")
BITS = ("same", "other")
UNCHANGED = "unchanged"

FORMATS = ("bfloat16", "float32")
OF_FORMATS = {"forward": ["cuda/norm_forward.cu"], "backward": ["cuda/norm_backward.cu"]}
OF_ALL = {"forward": [], "backward": ["cuda/norm_columns.cu"]}
SIMULATOR = (
    "fibre.cpp", "machine.cpp", "runtime_devices.cpp", "runtime_kernels.cpp", "runtime_memory.cpp",
    "runtime_streams.cpp",
)  # fmt: skip
# The library without its CPU kernels, which device plans do not call.
NO_KERNELS = """#include "cpu/kernels.h"
namespace nc {
namespace plain {
extern const CpuKernels kernels;
const CpuKernels kernels = {};
}  // namespace plain
}  // namespace nc
"""


class Wrong(Exception):
    """An error message for the user."""


def read_table(path=TABLE):
    """The leads of the table, each with its variants; a variant inherits missing entries from its lead."""
    with open(path, "rb") as file:
        table = tomllib.load(file)
    names = set()
    for lead in table["lead"]:
        if not lead.get("question"):
            raise Wrong(f"{lead['name']}: question is missing")
        for variant in lead["variant"]:
            for key in ("directions", "ops", "dtypes", "shapes", "bits", "priority", "architecture"):
                if key in lead:
                    variant.setdefault(key, lead[key])
            variant["lead"] = lead["name"]
            if "like" in variant:
                base = next(v for v in lead["variant"] if v["name"] == variant["like"])
                variant["substitutions"] = base["substitutions"] + variant["substitutions"]
                variant["files"] = base.get("files", [])
            variant.setdefault("architecture", 90)
            require_complete(variant, table["shapes"])
            if variant["name"] in names:
                raise Wrong(f"{variant['name']}: this name is there twice")
            names.add(variant["name"])
    if unknown := set(table["first"]["variants"]) - names:
        raise Wrong(f"first: no variant is called {', '.join(sorted(unknown))}")
    return table


def require_complete(variant, shapes):
    if not variant.get("name"):
        raise Wrong("a variant has no name")
    name = variant["name"]
    expected = {"directions": DIRECTIONS, "ops": OPS, "dtypes": DTYPES, "shapes": tuple(shapes)}
    for key, known in expected.items():
        values = variant.get(key)
        if not values or not set(values) <= set(known):
            raise Wrong(f"{name}: {key} is {values}, expected some of {', '.join(known)}")
    if variant.get("bits") not in BITS:
        raise Wrong(f"{name}: bits is {variant.get('bits')}, expected same or other")
    if variant.get("priority") not in (1, 2, 3):
        raise Wrong(f"{name}: priority is {variant.get('priority')}, expected 1, 2 or 3")
    for key in ("change", "prediction"):
        if len(variant.get(key, "")) < 10:
            raise Wrong(f"{name}: {key} is missing")
    known = {*expected, "name", "lead", "bits", "priority", "change", "prediction", "substitutions", "files", "like",
             "architecture", "spills"}  # fmt: skip
    if unknown := set(variant) - known:
        raise Wrong(f"{name}: unknown: {', '.join(sorted(unknown))}")
    if (variant["name"] == UNCHANGED) != (not variant.get("substitutions")):
        raise Wrong(f"{name}: only {UNCHANGED} has no substitutions")


def variants_of(table):
    return [variant for lead in table["lead"] for variant in lead["variant"]]


class Sources:
    """The files of native/, with a variant's changes."""

    def __init__(self, root, changed=None):
        self.root, self.changed = root, changed or {}

    def text(self, path):
        if path not in self.changed:
            with open(os.path.join(self.root, path)) as file:
                return file.read()
        return self.changed[path]

    def texts(self):
        """The files of the folder itself, without subfolders."""
        names = sorted(os.listdir(self.root))
        return {name: self.text(name) for name in names if os.path.isfile(os.path.join(self.root, name))}

    def replaced(self, substitutions, whose):
        changed = dict(self.changed)
        for path, old, new in substitutions:
            text = Sources(self.root, changed).text(path)
            if (count := text.count(old)) != 1:
                raise Wrong(f"{whose}: found {count} times in {path}, expected once: {old!r}")
            changed[path] = text.replace(old, new)
        return Sources(self.root, changed)

    def included(self, path, found=None):
        """The file and all files of native/ that it includes."""
        found = {} if found is None else found
        if path not in found:
            found[path] = self.text(path)
            for name in re.findall(r'^#include "([^"]+)"', found[path], re.MULTILINE):
                beside = os.path.normpath(os.path.join(os.path.dirname(path), name))
                here = [p for p in (beside, name) if p in self.changed or os.path.isfile(os.path.join(self.root, p))]
                if here:
                    self.included(here[0], found)
        return found

    def with_files(self, files):
        changed = dict(self.changed)
        for path, name in files:
            if os.path.exists(os.path.join(self.root, path)):
                raise Wrong(f"{path}: is there already")
            with open(os.path.join(HERE, "variants", name)) as file:
                changed[path] = file.read()
        return Sources(self.root, changed)

    def write(self, directory):
        for folder, _, names in os.walk(self.root):
            within = os.path.relpath(folder, self.root)
            os.makedirs(os.path.join(directory, within), exist_ok=True)
            for name in names:
                path = os.path.normpath(os.path.join(within, name))
                shutil.copyfile(os.path.join(folder, name), os.path.join(directory, path))
        for path, text in self.changed.items():
            with open(os.path.join(directory, path), "w") as file:
                file.write(text)


def sources_of(table, variant, root=ROOT):
    """The sources of a variant."""
    native = Sources(os.path.join(root, "native"))
    few = native.replaced(table["few_kernels"]["substitutions"], "few_kernels")
    return few.replaced(variant.get("substitutions", []), variant["name"]).with_files(variant.get("files", []))


def is_for_device_only(variant):
    """Whether the simulator cannot run it: it changes simt.cuh or adds device instructions without a host form."""
    return any(path == "cuda/simt.cuh" for path, _, _ in variant.get("substitutions", [])) or any(
        word in new and "defined(__CUDA_ARCH__)" not in new
        for _, _, new in variant.get("substitutions", [])
        for word in ("__stc", "asm volatile", "uint4")
    )


def numeric_flags(root):
    """The numeric flags, from cmake/Numerics.cmake."""
    with open(os.path.join(root, "cmake", "Numerics.cmake")) as file:
        text = file.read()
    host = re.search(r"set\(NORMCORE_NUMERIC_FLAGS([^)]*)\)", text).group(1).split()
    device = re.search(r"set\(NORMCORE_CUDA_NUMERIC_FLAGS ([^)]*)-Xcompiler", text).group(1).split()
    return host, [*device, "-Xcompiler=" + ",".join(host)]


class Builder:
    def __init__(self, table, root, out, architecture, simulator):
        self.table, self.root, self.out = table, root, out
        self.architecture, self.simulator = architecture, simulator
        self.host_flags, self.device_flags = numeric_flags(root)
        self.objects = os.path.normpath(out) + "-objects"
        for folder in (self.objects, os.path.join(out, "plugins"), os.path.join(out, "libraries")):
            os.makedirs(folder, exist_ok=True)
        self.trees = {}
        # Every object compiled for the simulator includes its headers.
        self.of_simulator = digest(json.dumps(sorted(Sources(self.folder()).texts().items()))) if simulator else ""

    def folder(self):
        """The simulator's sources."""
        return os.path.join(self.root, "tests", "native", "simulator")

    def tree(self, sources):
        """Writes the sources to disk, once for all variants with the same ones."""
        key = digest(json.dumps(sorted(sources.changed.items())))
        if key not in self.trees:
            self.trees[key] = os.path.join(self.work, key)
            sources.write(self.trees[key])
        return self.trees[key]

    def plan(self, variant):
        """The compile and link commands of a variant: compile commands by object, link commands by file."""
        sources = sources_of(self.table, variant, self.root)
        common = sources_of(self.table, {"name": UNCHANGED}, self.root) if variant["bits"] == "same" else sources
        commands = {}
        number = self.architecture

        def add(source, path, *flags):
            device = path.endswith(".cu")
            if device and not self.simulator:
                # As in native/cuda/CMakeLists.txt.
                how = ["nvcc", "-std=c++17", "-O3", "-DNDEBUG", *self.device_flags,
                       "-Xcompiler=-fPIC,-fvisibility=hidden", f"-gencode=arch=compute_{number},code=sm_{number}",
                       "-Xptxas=-v", "--compress-mode=size"]  # fmt: skip
            else:
                how = ["c++", "-std=c++17", "-O1" if self.simulator else "-O2", "-DNDEBUG", *self.host_flags, "-fPIC",
                       "-fvisibility=hidden", "-w"]  # fmt: skip
                if device:
                    how += ["-I", self.folder(), "-x", "c++"]
            how += flags
            key = digest(json.dumps([how, sorted(source.included(path).items()), self.of_simulator]))
            target = os.path.join(self.objects, f"{os.path.basename(path)}-{key}.o")
            tree = self.tree(source)
            commands[target] = [*how, "-I", tree, "-I", os.path.join(tree, "include"), "-c",
                                os.path.join(tree, path), "-o", target]  # fmt: skip

        for direction in DIRECTIONS:
            # A direction that is not measured comes from the product, which saves compiling it.
            whose = sources if direction in variant["directions"] else common
            for path in OF_FORMATS[direction]:
                for dtype in FORMATS:
                    add(whose, path, f"-DNC_X={dtype}", f"-DNC_W={dtype}", f"-DNC_Y={dtype}")
            for path in OF_ALL[direction]:
                add(whose, path)
        for path in ("cuda/plugin.cu", "cuda/kernel_selection.cu", "cuda/launch_plan.cu", "cuda/describe.cu"):
            add(sources, path)
        add(common, "cuda/norm_generic.cu")
        if self.simulator:
            for name in SIMULATOR:
                source = os.path.join(self.folder(), name)
                target = os.path.join(self.objects, f"{name}-{self.of_simulator}.o")
                tree = self.tree(sources_of(self.table, {"name": UNCHANGED}, self.root))
                commands[target] = ["c++", "-std=c++17", "-O2", "-DNDEBUG", *self.host_flags, "-fPIC", "-w",
                                    "-fvisibility=hidden", "-ftls-model=initial-exec", "-I", os.path.dirname(source),
                                    "-I", tree, "-I", os.path.join(tree, "include"), "-c", source,
                                    "-o", target]  # fmt: skip
        add(common, "cuda/runtime.cu")
        plugin = os.path.join(self.out, "plugins", variant["name"] + ".so")
        how = ["c++"] if self.simulator else ["nvcc", "-cudart=static", "-Xcompiler=-s"]
        links = {plugin: [*how, "-shared", "-o", plugin, *commands]}

        if variant["bits"] == "other" or variant["name"] == UNCHANGED:
            before = set(commands)
            tree = self.tree(sources)
            no_kernels = os.path.join(tree, "no_kernels.cpp")
            with open(no_kernels, "w") as file:
                file.write(NO_KERNELS)
            for name in sorted(os.listdir(os.path.join(tree, "api"))):
                if name.endswith(".cpp"):
                    add(sources, f"api/{name}", "-DNC_VERSION=0")
            add(sources, "cpu/caches.cpp")
            add(sources, "cpu/levels.cpp")
            target = os.path.join(self.objects, "no_kernels.o")
            commands[target] = ["c++", "-std=c++17", "-fPIC", "-I", tree, "-I", os.path.join(tree, "include"), "-c",
                                no_kernels, "-o", target]  # fmt: skip
            library = os.path.join(self.out, "libraries", variant["name"] + ".so")
            links[library] = ["c++", "-shared", "-s", "-o", library, *(o for o in commands if o not in before), "-ldl"]
        return commands, links

    def build(self, variants, jobs):
        """The outcome of each variant, by name."""
        results = {}
        with tempfile.TemporaryDirectory() as self.work:
            plans = {}
            for variant in variants:
                try:
                    plans[variant["name"]] = self.plan(variant)
                except Wrong as e:
                    results[variant["name"]] = {"failed": str(e)}
            commands = {}
            for of_variant, _ in plans.values():
                commands.update(of_variant)
            begun = time.monotonic()
            with concurrent.futures.ThreadPoolExecutor(jobs) as pool:
                done = {target: pool.submit(compiled, target, command) for target, command in commands.items()}
                failures = {target: result.result() for target, result in done.items()}
            print(f"{len(commands)} objects in {time.monotonic() - begun:.0f} s", flush=True)
            for name, (of_variant, links) in plans.items():
                why = next((failures[target] for target in of_variant if failures[target]), "")
                for target, command in links.items():
                    why = why or linked(command)
                results[name] = {"failed": why} if why else {"kernels": kernels_of(of_variant)}
        return results


def digest(text):
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def compiled(target, command):
    """Compiles an object unless it exists; returns the error, or nothing. The output of ptxas is stored beside the
    object."""
    if os.path.exists(target):
        return ""
    ran = subprocess.run(command[:-1] + [target + ".part"], capture_output=True, text=True)
    if ran.returncode != 0:
        lines = ran.stderr.strip().splitlines()
        return next((line for line in lines if "error" in line), lines[-1] if lines else "no message")
    with open(target + ".ptxas", "w") as file:
        file.write(ran.stderr)
    os.rename(target + ".part", target)
    return ""


def linked(command):
    ran = subprocess.run(command, capture_output=True, text=True)
    return "" if ran.returncode == 0 else ran.stderr.strip().splitlines()[-1]


def kernels_of(objects):
    """The maximum registers of the norms' fast kernels, and the bytes of registers that they spill."""
    most, spills, name, stores = 0, {}, "", 0
    for target in objects:
        if not os.path.basename(target).startswith(("norm_forward", "norm_backward")):
            continue
        if not os.path.exists(target + ".ptxas"):
            continue
        with open(target + ".ptxas") as file:
            for line in file:
                if "Compiling entry function" in line:
                    name = line.split("'")[1]
                elif "bytes stack frame" in line:
                    stores = int(re.search(r"(\d+) bytes spill stores", line).group(1))
                elif match := re.search(r"Used (\d+) registers", line):
                    most = max(most, int(match.group(1)))
                    if stores:
                        spills[short_name(name)] = stores
    return {"registers": most, "spills": spills}


def short_name(mangled):
    """norm_forward, the format of x, the norm, vectors per thread and rows, from a mangled name."""
    kernel = re.search(r"norm_(forward|backward)", mangled).group(0)
    dtype = {"1": "float32", "2": "bfloat16"}.get((re.findall(r"DTypeE(\d)", mangled) or ["?"])[0], "")
    layer = re.search(r"StaticNormILb(\d)|Lb\dEEELb(\d)", mangled)
    op = OPS[int(layer.group(1) or layer.group(2))] if layer else ""
    return " ".join([kernel, dtype, op, *re.findall(r"Li(\d+)E", mangled)])


def pack(directory):
    """Compresses what was built, halving it. run.sh tune, in the kit, has the scripts."""
    for folder in ("plugins", "libraries"):
        for name in os.listdir(os.path.join(directory, folder)):
            path = os.path.join(directory, folder, name)
            with open(path, "rb") as file, lzma.open(path + ".xz", "wb") as packed:
                shutil.copyfileobj(file, packed)
            os.remove(path)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("command", choices=("check", "build", "pack"))
    parser.add_argument("directory", nargs="?", help="where to build")
    parser.add_argument("--root", default=ROOT, help="the repository")
    parser.add_argument("--only", help="variants by name or part of a name, separated by commas")
    parser.add_argument("--first", action="store_true", help="only the variants that run.sh tune measures")
    parser.add_argument("--most-priority", type=int, default=3, help="the largest priority number to build (3)")
    parser.add_argument(
        "--architecture", type=int, default=90, help="compute capability (90), without variants that need a later one"
    )
    parser.add_argument("--jobs", type=int, default=os.cpu_count())
    parser.add_argument("--simulator", action="store_true", help="build for the host, with fibres as threads")
    arguments = parser.parse_args()
    table = read_table()
    variants = variants_of(table)
    if arguments.command == "check":
        for variant in variants:
            sources_of(table, variant, arguments.root)
        print(f"{len(table['lead'])} leads, {len(variants)} variants: every substitution matches once")
        return
    if arguments.directory is None:
        raise Wrong(f"{arguments.command} needs a directory")
    wanted = arguments.only.split(",") if arguments.only else [""]
    for part in wanted:
        if not any(part in variant["name"] for variant in variants):
            raise Wrong(f"no variant is called {part}; expected some of {', '.join(v['name'] for v in variants)}")
    if arguments.command == "pack" and os.path.exists(arguments.directory):
        if not os.path.exists(os.path.join(arguments.directory, "built.json")):
            raise Wrong(f"{arguments.directory} is there and has no variants; expected a directory that has, or none")
        shutil.rmtree(arguments.directory)
    for compiler in ("c++",) if arguments.simulator else ("c++", "nvcc"):
        if shutil.which(compiler) is None:
            raise Wrong(f"{compiler} is not on the PATH; --simulator needs no nvcc")
    chosen = [
        v
        for v in variants
        if v["name"] == UNCHANGED
        or any(part in v["name"] for part in wanted)
        and v["priority"] <= arguments.most_priority
        and v["architecture"] <= arguments.architecture
        and not (arguments.simulator and is_for_device_only(v))
        and not (arguments.first and v["name"] not in table["first"]["variants"])
    ]
    builder = Builder(table, arguments.root, arguments.directory, arguments.architecture, arguments.simulator)
    results = builder.build(chosen, arguments.jobs)
    record = {"simulator": arguments.simulator, "architecture": arguments.architecture, "variants": results}
    with open(os.path.join(arguments.directory, "built.json"), "w") as file:
        json.dump(record, file, indent=1)
    failed = 0
    by_name = {variant["name"]: variant for variant in chosen}
    for name, result in results.items():
        if "failed" in result:
            failed += 1
            print(f"{name}: {result['failed']}", file=sys.stderr)
        elif result["kernels"]["spills"]:
            known = "as the table says" if by_name[name].get("spills") else "which the table does not say"
            print(f"{name}: spills {known}: {result['kernels']['spills']}")
    if arguments.command == "pack":
        pack(arguments.directory)
    print(f"{len(results) - failed} of {len(results)} variants are in {arguments.directory}")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    try:
        main()
    except Wrong as e:
        sys.exit(f"variants.py: {e}")
