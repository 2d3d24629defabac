#!/usr/bin/env python3
"""kit_size.py [KIT]: prints the sizes of the packages in target and of the repository's files, which are sent to a
borrowed machine together. Exit status 1 if they are too large. Standard library only."""

import os
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(os.path.dirname(HERE)))
MOST_OF_KIT = 20_000_000
# Such a machine takes 64 MiB. The difference is room for a few more files.
MOST = 60 << 20


def size_of(path):
    """Bytes of a folder's files; 0 if there is no such folder."""
    files = (os.path.join(folder, name) for folder, _, names in os.walk(path) for name in names)
    return sum(os.path.getsize(file) for file in files if not os.path.islink(file))


def tree_size(root):
    """Bytes of the files that git tracks or does not ignore."""
    listed = subprocess.run(["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"], cwd=root,
                            capture_output=True, check=True).stdout.decode().split("\0")  # fmt: skip
    paths = [os.path.join(root, name) for name in set(listed) if name]
    return sum(os.path.getsize(path) for path in paths if os.path.isfile(path))


def judged(tree, kit, variants, java):
    """A line with the sizes, and the limits that they exceed. Java's package is never sent with the variants."""
    text = ", ".join(f"{name} {size / 1e6:.1f} MB" for name, size in
                     (("tree", tree), ("kit", kit), ("variants", variants), ("Java", java)) if size)  # fmt: skip
    together = max(tree + kit + variants, tree + kit + java)
    wrong = []
    if kit > MOST_OF_KIT:
        wrong.append(f"the kit has {kit / 1e6:.1f} MB, at most {MOST_OF_KIT / 1e6:.0f} are allowed:"
                     " pack it for fewer architectures")  # fmt: skip
    if together > MOST:
        wrong.append(f"together they have {together / 2**20:.1f} MiB, at most {MOST >> 20} are allowed")
    return f"{text}; at most {together / 2**20:.1f} MiB are sent together", wrong


def main():
    target = os.path.join(ROOT, "target")
    kit = sys.argv[1] if len(sys.argv) > 1 else os.path.join(target, "gpu-kit")
    variants, java = (os.path.join(os.path.dirname(kit), name) for name in ("gpu-variants", "gpu-kit-java"))
    text, wrong = judged(tree_size(ROOT), *map(size_of, (kit, variants, java)))
    print(text)
    for line in wrong:
        print(f"kit_size.py: {line}", file=sys.stderr)
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
