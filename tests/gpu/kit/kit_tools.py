"""Finds the toolkit's programs, which may be missing from the PATH. Standard library only."""

import glob
import os
import shutil

# Relative to a folder such as /usr/local or /opt/nvidia. The last of several versions is used.
PLACES = {
    "compute-sanitizer": ("cuda*/bin/{0}", "cuda*/compute-sanitizer/{0}", "cuda*/extras/compute-sanitizer/{0}",
                          "nsight-compute/*/host/target-linux-x64/{0}"),
    "ncu": ("cuda*/bin/{0}", "cuda*/nsight-compute*/{0}", "nsight-compute/*/{0}", "nsight-compute*/{0}"),
}  # fmt: skip
ROOTS = ("/usr/local", "/opt/nvidia", "/opt")


def found(name, first="", roots=ROOTS):
    """The program's path, searched for in the folder `first`, on the PATH, in the toolkit, beside Nsight; or None."""
    if first and os.access(os.path.join(first, name), os.X_OK):
        return os.path.join(first, name)
    if program := shutil.which(name):
        return program
    homes = [os.environ[variable] for variable in ("CUDA_HOME", "CUDA_PATH") if os.environ.get(variable)]
    patterns = [os.path.join(home, pattern.split("/", 1)[1]) for home in homes for pattern in PLACES[name]]
    patterns += [os.path.join(root, pattern) for root in roots for pattern in PLACES[name]]
    for pattern in patterns:
        programs = [p for p in sorted(glob.glob(pattern.format(name))) if os.path.isfile(p) and os.access(p, os.X_OK)]
        if programs:
            return programs[-1]
    return None


def looked_for(name):
    """The sentence for a program that was not found."""
    return f"{name} was found neither on the PATH nor in CUDA_HOME, /usr/local/cuda* or /opt/nvidia"
