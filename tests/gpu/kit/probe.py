#!/usr/bin/env python3
"""Describes the machine in lines of JSON: the device, the kernels of plans for the most important shapes, the programs
and packages that the kit can use. Standard library only.

--device: only checks for a GPU that the kit is built for. Without one it prints the reason and exits with status 2.
--simulate: uses the simulator.
"""

import importlib.metadata
import importlib.util
import json
import os
import platform
import shutil
import subprocess
import sys

import kit_tools
import library

HERE = os.path.dirname(os.path.abspath(__file__))
SIZES = (64, 256, 1024, 4096, 16384, 32768, 262144)
PACKAGES = ("torch", "triton", "jax", "liger_kernel")


def put(result, **entries):
    print(json.dumps({"result": result, **entries}), flush=True)


def serves(architectures, capability):
    """Whether code for these architectures runs there: that for 9.0 on 9.x, PTX on everything later."""
    for each in architectures.split(";"):
        built = int("".join(filter(str.isdigit, each.split("-")[0])))
        same_major = built // 10 == capability // 10 and built <= capability
        if same_major and not each.endswith("-virtual") or not each.endswith("-real") and built <= capability:
            return True
    return False


def architectures():
    """The architectures that the kit was built for; empty if unknown."""
    try:
        with open(os.path.join(HERE, "about.txt")) as file:
            lines = dict(line.strip().split(" ", 1) for line in file if " " in line)
    except OSError:
        return ""
    return lines.get("architectures", "")


def opened():
    """The library with the kit's plugin, and the reason if it has no device that the kit is built for."""
    os.environ.setdefault(library.VARIABLE, os.path.join(HERE, "lib", "libnormcore_cuda.so"))
    found = library.Library(os.path.join(HERE, "lib", "libnormcore.so"))
    try:
        found.device_count()
        name, capability = found.device(0)
    except RuntimeError as e:
        # The library's message says what is missing.
        return found, f"there is no CUDA device: {str(e).split(': ', 2)[-1].strip().rstrip('.')}"
    built = architectures()
    if built and "--simulate" not in sys.argv and not serves(built, capability):
        return found, (f"the kit is built for the architectures {built} and this device, {name}, is {capability}: pack"
                       f" it with pack.sh DIRECTORY {capability}-real")  # fmt: skip
    return found, ""


def kernels(found):
    """Prints the kernels that plans use, and those that they leave out."""
    for n in SIZES:
        for op in library.OPS:
            for dtype in ("bfloat16", "float32"):
                for rounding in ("compute", "input") if dtype == "bfloat16" else ("compute",):
                    case = f"{op} {dtype} {rounding} {n}"
                    with found.plan(op, n, x=dtype, device=0, rounding=rounding) as plan:
                        all_kernels = plan.kernels()
                    if all_kernels is None:
                        put(
                            "note",
                            text="the library has no nc_cuda_norm_kernels: which kernels its plans have is not known",
                        )
                        return
                    for role, kernel in all_kernels:
                        if "left out" in kernel:
                            put("plan", case=case, role=role, left_out=kernel.removeprefix("left out: "))
                        else:
                            put("plan", case=case, role=role, kernel=kernel)


def clocks():
    """Prints clocks and temperature from nvidia-smi, which only reads them."""
    program = shutil.which("nvidia-smi")
    if program is None:
        return
    asked = "driver_version,clocks.sm,clocks.mem,clocks.max.sm,temperature.gpu,power.draw,power.limit"
    try:
        answer = subprocess.run([program, f"--query-gpu={asked}", "--format=csv,noheader"], capture_output=True,
                                text=True, timeout=8)  # fmt: skip
    except (OSError, subprocess.TimeoutExpired):
        return
    if answer.returncode == 0 and answer.stdout.strip():
        put("note", text=f"nvidia-smi: {asked}: {answer.stdout.strip().splitlines()[0]}")


def main():
    found, reason = opened()
    if reason:
        print(reason)
        sys.exit(2)
    if "--device" in sys.argv:
        return
    name, capability = found.device(0)
    put("fact", name="device", value=name)
    put("fact", name="compute_capability", value=capability)
    put("fact", name="kernel", value=platform.release())
    put("fact", name="processors", value=os.cpu_count())
    put("fact", name="python", value=platform.python_version())
    for package in PACKAGES:
        if importlib.util.find_spec(package) is not None:
            try:
                put("fact", name=package, value=importlib.metadata.version(package.replace("_", "-")))
            except importlib.metadata.PackageNotFoundError:
                put("fact", name=package, value="of no known version")
    stand_ins = os.path.join(HERE, "simulator") if "--simulate" in sys.argv else ""
    for tool in kit_tools.PLACES:
        put("fact", name=tool, value=kit_tools.found(tool, stand_ins) or "not found")
    kernels(found)
    clocks()


if __name__ == "__main__":
    main()
