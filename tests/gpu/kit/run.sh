#!/usr/bin/env bash
# run.sh all|tune [--budget SECONDS] [--out DIRECTORY] [--simulate]: checks and times the packed kit that this script is
# part of, on a machine with a GPU. It needs a driver and Python 3.11 or newer; PyTorch, ncu and compute-sanitizer are
# used if installed. No JDK, no Maven, no network, no compiler.
#
# all (400 s): identifies the device; runs a gate, every family of fast kernels once against the CPU's bits, and stops
# if a bit differs; then times ours and a copy, lists the kernels that run, reads hardware counters, checks every
# kernel's bits, times peers, runs compute-sanitizer and, if its package is beside the kit, the Java API.
# tune (240 s): times the variants beside the kit (pack.sh --variants) against the product.
#
# Every result is written to DIRECTORY (out, in the kit) at once: summary.txt, results.jsonl, log.txt, details.tar.gz
# and, for the running stage, stage.log. The summary, at most 12,000 characters, is also printed last. Exit status: 0 if
# everything passed, 1 if a bit differs or a stage failed, 2 if there is no GPU that the kit is built for. --simulate: a
# trial without a GPU, on the simulator and on stand-ins for the toolkit's programs.
set -euo pipefail
kit=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
if ! command -v python3 > /dev/null || ! python3 -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then
  echo 'run.sh: the kit needs a python3, 3.11 or newer, on the PATH' >&2
  exit 2
fi
export PYTHONDONTWRITEBYTECODE=1
exec python3 "$kit/kit.py" "$@"
