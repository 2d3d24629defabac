#!/usr/bin/env python3
"""Lists the memory accesses of the fast kernels' machine code, disassembled by cuobjdump.

machine_code.py PLUGIN.so [OUT.md]

The build makes the same table of PTX, before ptxas schedules it; this one is of the executed instructions: the width
of global-memory accesses, any local-memory accesses, and how many loads a thread has in flight before it waits for the
first. Exit status 1 if a fast kernel accesses less than 16 bytes of a row, or local memory. cuobjdump is part of the
CUDA toolkit and of Triton's package.
"""

import dataclasses
import glob
import os
import re
import shutil
import subprocess
import sys

FUNCTION = re.compile(r"^\s*Function : (\S+)")
ARCHITECTURE = re.compile(r"^\s*code for (sm_\w+)")
INSTRUCTION = re.compile(r"^\s*/\*[0-9a-f]{4,}\*/\s+(?:@!?U?P\w+\s+)?([A-Z][A-Z0-9_.]*)\s*([^;]*);")
REGISTER = re.compile(r"\bR(\d+)\b")
WIDTHS = {"128": 16, "64": 8, "U16": 2, "S16": 2, "U8": 1, "S8": 1}
KINDS = {"LDG": "loads", "STG": "stores", "LDGSTS": "copies", "LDL": "local", "STL": "local"}
FAST = re.compile(r"norm_(forward|backward)(_unaligned)?I")


@dataclasses.dataclass
class Kernel:
    symbol: str
    architecture: str
    instructions: int = 0
    # By kind of access, then by width in bytes: the number of instructions.
    accesses: dict = dataclasses.field(default_factory=dict)
    # The maximum of 16-byte global loads that no instruction has waited for yet.
    in_flight: int = 0

    def count(self, kind, width):
        widths = self.accesses.setdefault(kind, {})
        widths[width] = widths.get(width, 0) + 1

    def faults(self):
        """Violations of a fast kernel. 4 bytes are a statistic of a row or a scale; unaligned rows have single elements
        at their ends; an FP8 y has 8 bytes for 8 elements, and one byte for a scale block."""
        loads = {16, 4, 2} if "_unaligned" in self.symbol else {16, 4}
        stores = {16, 8, 4, 1} if self.quantized() else loads
        allowed = {"loads": loads, "copies": {16}, "stores": stores, "local": set()}
        for kind, widths in sorted(self.accesses.items()):
            for width in sorted(widths):
                if width not in allowed[kind]:
                    yield f"{widths[width]} {kind} of {width} bytes"

    def quantized(self):
        return re.search(r"5DTypeE\dELS\w*_\dELS\w*_[45]E", self.symbol) is not None


def width_of(opcode):
    for modifier in opcode.split(".")[1:]:
        if modifier in WIDTHS:
            return WIDTHS[modifier]
    return 4


def kernels_of(disassembly):
    """Parses the kernels from the output of cuobjdump --dump-sass, line by line."""
    kernel, architecture, pending = None, "", set()
    for line in disassembly:
        if match := ARCHITECTURE.match(line):
            architecture = match[1]
        elif match := FUNCTION.match(line):
            if kernel is not None:
                yield kernel
            kernel, pending = Kernel(match[1], architecture), set()
        elif kernel is not None and (match := INSTRUCTION.match(line)):
            opcode, operands = match[1], match[2]
            kernel.instructions += 1
            registers = [int(r) for r in REGISTER.findall(operands)]
            name = opcode.split(".")[0]
            kind = KINDS.get(name)
            if kind:
                kernel.count(kind, width_of(opcode))
            if kind == "loads" and width_of(opcode) == 16 and registers:
                # The address may itself be the result of an outstanding load.
                pending = _without(pending, registers[1:])
                pending.add(registers[0])
                kernel.in_flight = max(kernel.in_flight, len(pending))
            else:
                pending = _without(pending, registers)
    if kernel is not None:
        yield kernel


def _without(pending, registers):
    """The outstanding loads, by the first of their four registers, minus those of these registers."""
    return {first for first in pending if not any(first <= r < first + 4 for r in registers)}


def short_names(symbols):
    """Demangles symbols, if c++filt is installed."""
    if shutil.which("c++filt") is None:
        return list(symbols)
    answer = subprocess.run(["c++filt"], input="\n".join(symbols), capture_output=True, text=True, check=True).stdout
    drop = re.compile(r"nc::baseline::|nc::|^void |\((Forward|Backward)Parameters\)$")
    return [drop.sub("", line) for line in answer.splitlines()]


def table(kernels):
    yield "| kernel | architecture | instructions | loads | copies | stores | local | 16-byte loads in flight |"
    yield "|---|---|---|---|---|---|---|---|"
    for kernel, name in zip(kernels, short_names([k.symbol for k in kernels])):
        cells = []
        for kind in ("loads", "copies", "stores", "local"):
            widths = kernel.accesses.get(kind, {})
            cells.append(" ".join(f"{widths[w]}x{w}" for w in sorted(widths, reverse=True)) or "-")
        yield (
            f"| `{name}` | {kernel.architecture} | {kernel.instructions} | {' | '.join(cells)} | {kernel.in_flight} |"
        )


def disassembler():
    found = shutil.which("cuobjdump")
    if found:
        return found
    places = glob.glob("/usr/local/cuda*/bin/cuobjdump")
    for folder in sys.path:
        places += glob.glob(os.path.join(folder, "triton/backends/nvidia/bin/cuobjdump"))
    return places[0] if places else None


def main():
    if len(sys.argv) not in (2, 3):
        sys.exit("usage: machine_code.py PLUGIN.so [OUT.md]")
    program = disassembler()
    if program is None:
        sys.exit("cuobjdump was found neither on the PATH, nor in /usr/local/cuda*/bin, nor in Triton's package")
    with subprocess.Popen([program, "--dump-sass", sys.argv[1]], stdout=subprocess.PIPE, text=True) as process:
        fast = [k for k in kernels_of(process.stdout) if FAST.search(k.symbol)]
    if process.returncode != 0 or not fast:
        sys.exit(f"{program}: exit status {process.returncode}, {len(fast)} fast kernels in {sys.argv[1]}")
    fast.sort(key=lambda k: (k.architecture, k.symbol))
    lines = ["# The fast kernels, as cuobjdump disassembles them", ""] + list(table(fast))
    if len(sys.argv) == 3:
        with open(sys.argv[2], "w") as file:
            file.write("\n".join(lines) + "\n")
    wrong = [(name, fault) for k, name in zip(fast, short_names([k.symbol for k in fast])) for fault in k.faults()]
    for name, fault in wrong:
        print(f"{name}: {fault}")
    print(f"{len(fast)} fast kernels, {len(wrong)} faults")
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
