"""Makes the kit's scripts importable. They lie in three folders here and in one in the packed kit."""

import os
import sys

GPU = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
FOLDERS = [os.path.join(GPU, name) for name in ("kit", "compare", "tuning")]
sys.path[:0] = FOLDERS


def path_of(name):
    """The path of a file in one of the folders."""
    return next(path for folder in FOLDERS if os.path.exists(path := os.path.join(folder, name)))


def packed():
    """The names and paths of the files that pack.sh copies."""
    for folder in FOLDERS:
        for name in os.listdir(folder):
            if name.endswith((".py", ".toml")) or name == "run.sh":
                yield name, os.path.join(folder, name)


def environment():
    """The environment of a Python program that imports the scripts."""
    return {**os.environ, "PYTHONPATH": os.pathsep.join([*FOLDERS, os.environ.get("PYTHONPATH", "")])}
