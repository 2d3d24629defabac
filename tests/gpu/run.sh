#!/usr/bin/env bash
# run.sh all|tune [--budget SECONDS] [--out DIRECTORY] [--simulate]: on a machine with a GPU, checks and times the
# packed kit that this script is part of. It needs a driver and Python 3.11 or newer; PyTorch, ncu and
# compute-sanitizer are used where they are. No JDK, no Maven, no network, no compiler.
#
# all (400 s): what device this is; a gate, every family of hot kernels once against the CPU's bits, which stops the run
# if a bit differs; ours beside a copy; the names of the kernels that run; hardware counters; every kernel's bits;
# peers; compute-sanitizer; and the Java API, where its package is beside the kit.
# tune (240 s): times the variants beside the kit (pack.sh --variants) against the product.
#
# Every result is written to DIRECTORY (out, in the kit) at once: summary.txt, results.jsonl, log.txt, details.tar.gz
# and, for the stage under way, stage.log. The summary, at most 12,000 characters, is also printed last.
# Exit status: 0 if all is well, 1 if a bit differs or something failed, 2 if there is no GPU that the kit is for.
# --simulate runs all of it on a machine without a GPU, on the simulator and on stand-ins for the toolkit's programs.
set -euo pipefail
kit=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
if ! command -v python3 > /dev/null || ! python3 -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then
  echo 'run.sh: the kit needs a python3, 3.11 or newer, on the PATH' >&2
  exit 2
fi
export PYTHONDONTWRITEBYTECODE=1
exec python3 "$kit/kit.py" "$@"
