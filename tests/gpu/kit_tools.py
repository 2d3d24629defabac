"""Where the toolkit's programs are: not all of them are on the PATH of every machine. Standard library only."""

import glob
import os
import shutil

# Below a folder such as /usr/local or /opt/nvidia; a later version comes last.
PLACES = {
    "compute-sanitizer": ("cuda*/bin/{0}", "cuda*/compute-sanitizer/{0}", "cuda*/extras/compute-sanitizer/{0}",
                          "nsight-compute/*/host/target-linux-x64/{0}"),
    "ncu": ("cuda*/bin/{0}", "cuda*/nsight-compute*/{0}", "nsight-compute/*/{0}", "nsight-compute*/{0}"),
}  # fmt: skip
ROOTS = ("/usr/local", "/opt/nvidia", "/opt")


def found(name, first="", roots=ROOTS):
    """The program: in the folder that is named first, on the PATH, in the toolkit, beside Nsight; None if nowhere."""
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
    """In words, for a sentence that says that it was not found."""
    return f"{name} was found neither on the PATH nor in CUDA_HOME, /usr/local/cuda* or /opt/nvidia"
