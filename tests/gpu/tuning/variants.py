#!/usr/bin/env python3
"""Builds the variants of variants.toml: plugins that differ from the product in launch parameters, kernels or order of
sums.

variants.py check             checks the table, and that every definition changes what is compiled
variants.py build DIRECTORY   builds the variants into DIRECTORY, for tune.py
variants.py pack DIRECTORY    the same, compressed, to take to a machine with a GPU beside the kit

A variant is a set of definitions of macros in native/, with headers of variants/ where the code is another one. It is
compiled with NC_TUNE_FEW_KERNELS, without rotary embedding and FP8. If its order of sums needs another workspace it
gets its own library, too. Needs nvcc and a C++ compiler or, with --simulator, which compiles the kernels for the host,
only the latter. An object that several variants have in common is compiled once.
"""

import argparse
import concurrent.futures
import functools
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

FOR_ALL = "NC_TUNE_FEW_KERNELS=1"
# By direction: compiled for each format, and once.
OF_FORMATS = {"forward": ["cuda/norm_forward.cu"], "backward": ["cuda/norm_backward.cu"]}
OF_ALL = {"forward": [], "backward": ["cuda/norm_columns.cu"]}
OF_BOTH = ["cuda/kernel_selection.cu", "cuda/launch_plan.cu", "cuda/plugin.cu", "cuda/describe.cu"]
# The same for all variants. The generic kernels take the order of sums as parameters.
COMMON = ["cuda/norm_generic.cu", "cuda/runtime.cu"]
SIMULATOR = (
    "fibre.cpp", "machine.cpp", "runtime_devices.cpp", "runtime_kernels.cpp", "runtime_memory.cpp",
    "runtime_streams.cpp",
)  # fmt: skip


class Wrong(Exception):
    """An error message for the user."""


DEFAULTS = {"ops": list(OPS), "dtypes": list(DTYPES), "bits": "same", "architecture": 90}
INHERITED = ("directions", "shapes", "priority", *DEFAULTS)


def read_table(path=TABLE):
    """The table, with a list of leads, each with a list of variants, whose missing entries are its lead's."""
    with open(path, "rb") as file:
        table = tomllib.load(file)
    leads, names = [], set()
    for name, entries in table["lead"].items():
        lead = {key: value for key, value in entries.items() if not isinstance(value, dict)}
        if not lead.get("question"):
            raise Wrong(f"{name}: question is missing")
        inherited = DEFAULTS | {key: lead[key] for key in INHERITED if key in lead}
        own = {key: value for key, value in entries.items() if isinstance(value, dict)}
        variants = [inherited | values | {"name": key, "lead": name} for key, values in own.items()]
        for variant in variants:
            require_complete(variant, table["shapes"])
            if variant["name"] in names:
                raise Wrong(f"{variant['name']}: this name is there twice")
            names.add(variant["name"])
        leads.append({"name": name, "question": lead["question"], "variant": variants})
    if unknown := set(table["first"]["variants"]) - names:
        raise Wrong(f"first: no variant is called {', '.join(sorted(unknown))}")
    return table | {"lead": leads}


def require_complete(variant, shapes):
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
    if len(variant.get("prediction", "")) < 10:
        raise Wrong(f"{name}: prediction is missing")
    known = {*INHERITED, "name", "lead", "definitions", "change", "prediction", "spills", "device_only"}
    if unknown := set(variant) - known:
        raise Wrong(f"{name}: unknown: {', '.join(sorted(unknown))}")
    if (name == UNCHANGED) != (not variant.get("definitions")):
        raise Wrong(f"{name}: only {UNCHANGED} has no definitions")
    for definition in variant.get("definitions", []):
        if not re.fullmatch(r"NC_TUNE_[A-Z0-9_]+=[\w.,]+", definition):
            raise Wrong(f"{name}: {definition} is no definition NC_TUNE_NAME=VALUE")


def variants_of(table):
    return [variant for lead in table["lead"] for variant in lead["variant"]]


def change_of(variant):
    return variant.get("change") or ", ".join(d.removeprefix("NC_TUNE_") for d in variant["definitions"])


@functools.cache
def text_of(path):
    with open(path) as file:
        return file.read()


class Sources:
    """The files that take part in compiling a variant, and the macros that matter to them."""

    def __init__(self, root):
        self.native = os.path.join(root, "native")
        self.variants = os.path.join(root, "tests", "gpu", "tuning", "variants")
        self.folders = [self.native, os.path.join(self.native, "include"), self.variants]

    def included(self, path, definitions=(), found=None):
        """The texts, by path, of a file and of all files that it includes; those of other folders are left out."""
        found = {} if found is None else found
        if path in found:
            return found
        found[path] = text_of(path)
        headers = dict(d.split("=", 1) for d in definitions)
        for name, macro in re.findall(r'^#include (?:["<]([^">]+)|(NC_TUNE_\w+))', found[path], re.MULTILINE):
            for folder in [os.path.dirname(path), *self.folders]:
                candidate = os.path.normpath(os.path.join(folder, name or headers.get(macro, "")))
                if os.path.isfile(candidate):
                    self.included(candidate, definitions, found)
                    break
        return found

    def relevant(self, path, definitions):
        """Those of the definitions that matter to a file and what it includes.

        All include the two files of parameters. A macro of these matters only to files that use a name which its
        paragraph declares, or another paragraph by such a name.
        """
        texts = self.included(path, definitions)
        parameters = [os.path.join(self.native, name) for name in ("cuda/tuning.h", "core/reduction_order.h")]
        paragraphs = [p for name in parameters if name in texts for p in texts[name].split("\n\n")]
        used = set().union(*(words_of(text) for name, text in texts.items() if name not in parameters))
        return [d for d in definitions if used & affected(d.split("=")[0], paragraphs)]


@functools.cache
def words_of(text):
    return set(re.findall(r"\w+", re.sub(r"//.*", "", text)))


def affected(macro, paragraphs):
    """The macro, and the names declared in paragraphs that use it or such a name."""
    names = {macro}
    words = [words_of(p) for p in paragraphs]
    declared = [set(re.findall(r"(?:constexpr \w+|#define) (\w+)", p)) for p in paragraphs]
    while True:
        more = set().union(*(d for w, d in zip(words, declared) if w & names)) - names
        if not more:
            return names
        names |= more


def tested_macros(texts):
    """The macros that sources test, each with its default values, if any."""
    macros = {}
    for text in texts:
        for name in re.findall(r"^#\s*ifn?def (NC_TUNE_\w+)", text, re.MULTILINE):
            defaults = re.findall(rf"^#\s*define {name} (.*)", text, re.MULTILINE)
            macros.setdefault(name, set()).update(value.replace(" ", "") for value in defaults)
    return macros


def check(variant, root=ROOT):
    """Every definition is of a macro that the sources test, has another value than its default, and matters to what is
    compiled; in each direction at least one does. Only what changes the order of sums is said to have other bits."""
    name, sources, definitions = variant["name"], Sources(root), variant.get("definitions", [])
    macros, used = {}, set()
    for direction in variant["directions"]:
        relevant = set()
        for path in (*OF_FORMATS[direction], *OF_ALL[direction], *OF_BOTH):
            path = os.path.join(sources.native, path)
            macros |= tested_macros(sources.included(path, definitions).values())
            relevant.update(sources.relevant(path, definitions))
        if definitions and not relevant:
            raise Wrong(f"{name}: no definition changes what is compiled for {direction}")
        used |= relevant
    for definition in definitions:
        macro, value = definition.split("=", 1)
        if macro not in macros:
            raise Wrong(f"{name}: no source tests {macro}")
        if value in macros[macro]:
            raise Wrong(f"{name}: {definition} is the default")
        if value.endswith(".cuh") and not os.path.isfile(os.path.join(sources.variants, value)):
            raise Wrong(f"{name}: variants/ has no {value}")
        if definition not in used:
            raise Wrong(f"{name}: {definition} changes nothing that is compiled")
    changes_order = any(d.startswith("NC_TUNE_ORDER_") for d in definitions)
    if changes_order != (variant["bits"] == "other"):
        raise Wrong(f"{name}: bits is {variant['bits']}; other is for definitions NC_TUNE_ORDER_, and only for them")


def numeric_flags(root):
    """The numeric flags, from cmake/Numerics.cmake."""
    with open(os.path.join(root, "cmake", "Numerics.cmake")) as file:
        text = file.read()
    host = re.search(r"set\(NORMCORE_NUMERIC_FLAGS([^)]*)\)", text).group(1).split()
    device = re.search(r"set\(NORMCORE_CUDA_NUMERIC_FLAGS ([^)]*)-Xcompiler", text).group(1).split()
    return host, [*device, "-Xcompiler=" + ",".join(host)]


class Builder:
    def __init__(self, root, out, architecture, simulator):
        self.out, self.architecture, self.simulator = out, architecture, simulator
        self.sources = Sources(root)
        self.host_flags, self.device_flags = numeric_flags(root)
        self.objects = os.path.normpath(out) + "-objects"
        for folder in (self.objects, os.path.join(out, "plugins"), os.path.join(out, "libraries")):
            os.makedirs(folder, exist_ok=True)
        if simulator:
            self.sources.folders.append(os.path.join(root, "tests", "native", "simulator"))
        self.compilers = [version_of(name) for name in (("c++",) if simulator else ("c++", "nvcc"))]

    def command(self, path, definitions, *flags):
        """The object of a source file, and the command that makes it. Definitions that do not matter to it are left
        out, so that variants share it."""
        by_nvcc = path.endswith(".cu") and not self.simulator
        if by_nvcc:
            # As in native/cuda/CMakeLists.txt.
            code = f"-gencode=arch=compute_{self.architecture},code=sm_{self.architecture}"
            how = ["nvcc", "-std=c++17", "-O3", "-DNDEBUG", *self.device_flags, "-Xcompiler=-fPIC,-fvisibility=hidden",
                   code, "-Xptxas=-v", "--compress-mode=size"]  # fmt: skip
        else:
            how = ["c++", "-x", "c++", "-std=c++17", "-O1" if self.simulator else "-O2", "-DNDEBUG", *self.host_flags,
                   "-fPIC", "-fvisibility=hidden", "-w"]  # fmt: skip
        defined = [FOR_ALL, *self.sources.relevant(path, definitions)]
        how += [*flags, *(flag_of(definition, by_nvcc) for definition in defined)]
        texts = [text for _, text in sorted(self.sources.included(path, definitions).items())]
        target = os.path.join(self.objects, f"{os.path.basename(path)}-{digest([how, self.compilers, texts])}.o")
        return target, [*how, *(f"-I{folder}" for folder in self.sources.folders), "-c", path, "-o", target]

    def plan(self, variant):
        """The compile and link commands of a variant: compile commands by object, link commands by file."""
        definitions, commands = variant.get("definitions", []), {}
        here = self.sources.variants

        def add(path, whose, *flags):
            commands.update([self.command(os.path.join(self.sources.native, path), whose, *flags)])

        for direction in DIRECTIONS:
            # A direction that is not measured comes from the product, which saves compiling it. Another order of sums
            # concerns both.
            own = direction in variant["directions"] or variant["bits"] == "other"
            whose = definitions if own else []
            for path in OF_FORMATS[direction]:
                for dtype in DTYPES:
                    add(path, whose, f"-DNC_X={dtype}", f"-DNC_W={dtype}", f"-DNC_Y={dtype}")
            for path in OF_ALL[direction]:
                add(path, whose)
        for path in OF_BOTH:
            add(path, definitions)
        for path in (*COMMON, os.path.join(here, "no_elementwise.cpp")):
            add(path, [])
        if self.simulator:
            for name in SIMULATOR:
                add(os.path.join(self.sources.folders[-1], name), [], "-O2", "-ftls-model=initial-exec")
        plugin = os.path.join(self.out, "plugins", variant["name"] + ".so")
        how = ["c++"] if self.simulator else ["nvcc", "-cudart=static", "-Xcompiler=-s"]
        links = {plugin: [*how, "-shared", "-o", plugin, *commands]}

        if variant["bits"] == "other" or variant["name"] == UNCHANGED:
            before = set(commands)
            for name in sorted(os.listdir(os.path.join(self.sources.native, "api"))):
                if name.endswith(".cpp"):
                    add(f"api/{name}", definitions, "-DNC_VERSION=0")
            for path in ("cpu/caches.cpp", "cpu/levels.cpp", os.path.join(here, "no_kernels.cpp")):
                add(path, definitions)
            library = os.path.join(self.out, "libraries", variant["name"] + ".so")
            links[library] = ["c++", "-shared", "-s", "-o", library, *(o for o in commands if o not in before), "-ldl"]
        return commands, links

    def build(self, variants, jobs):
        """The outcome of each variant, by name."""
        plans = {variant["name"]: self.plan(variant) for variant in variants}
        commands = {}
        for of_variant, _ in plans.values():
            commands.update(of_variant)
        begun, results = time.monotonic(), {}
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


def version_of(compiler):
    return subprocess.run([compiler, "--version"], capture_output=True, text=True).stdout


def flag_of(definition, by_nvcc):
    name, value = definition.split("=", 1)
    if value.endswith(".cuh"):
        return f'-D{name}="{value}"'
    # nvcc takes a list of definitions, separated by commas.
    return f"-D{name}={value.replace(',', chr(92) + ',') if by_nvcc else value}"


def digest(what):
    return hashlib.sha256(json.dumps(what).encode()).hexdigest()[:16]


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
            check(variant, arguments.root)
        print(f"{len(table['lead'])} leads, {len(variants)} variants: every definition changes what is compiled")
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
        and not (arguments.simulator and v.get("device_only"))
        and not (arguments.first and v["name"] not in table["first"]["variants"])
    ]
    with tempfile.TemporaryDirectory() as copy:
        # An edit while the build runs must not reach an object whose name is made from the text before it.
        for folder in ("native", "cmake", "tests/native/simulator", "tests/gpu/tuning/variants"):
            shutil.copytree(os.path.join(arguments.root, folder), os.path.join(copy, folder))
        builder = Builder(copy, arguments.directory, arguments.architecture, arguments.simulator)
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
