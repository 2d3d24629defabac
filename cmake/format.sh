#!/usr/bin/env bash
# Formats the C and C++ sources. With --check changes nothing and fails if a file is not formatted.
set -euo pipefail
cd "$(dirname "$0")/.."

sources() {
  find native tests -type f \( -name '*.h' -o -name '*.c' -o -name '*.cpp' -o -name '*.cu' -o -name '*.cuh' \) -print0
}

if [[ "${1:-}" != --check ]]; then
  sources | xargs -0 -r clang-format-14 --style=file -i
elif ! sources | xargs -0 -r clang-format-14 --style=file --dry-run -Werror; then
  echo 'C and C++ sources are not formatted: run cmake/format.sh' >&2
  exit 1
fi
