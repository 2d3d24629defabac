#!/usr/bin/env bash
# Formats the C and C++ sources. With --check changes nothing and fails if a file is not formatted.
set -euo pipefail
cd "$(dirname "$0")/.."

arguments=(-i)
if [[ "${1:-}" == --check ]]; then
  arguments=(--dry-run -Werror)
fi
find native tests -type f \( -name '*.h' -o -name '*.c' -o -name '*.cpp' -o -name '*.cu' -o -name '*.cuh' \) -print0 |
  xargs -0 -r clang-format-14 --style=file "${arguments[@]}"
