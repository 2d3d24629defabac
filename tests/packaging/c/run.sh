#!/usr/bin/env bash
# run.sh BUILD: installs the native library from CMake's build directory BUILD, then builds and runs a user's C project
# with what was installed.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
away=$(mktemp -d)
trap 'rm -rf "$away"' EXIT
cmake --install "$1" --prefix "$away/prefix" > "$away/log.txt" || {
  cat "$away/log.txt" >&2
  exit 1
}
cmake -S "$here" -B "$away/build" -G Ninja "-DCMAKE_PREFIX_PATH=$away/prefix"
cmake --build "$away/build"
"$away/build/consumer"
for file in include/normcore/normcore.h share/licenses/normcore/LICENSE; do
  [[ -f "$away/prefix/$file" ]] || { echo "$file was not installed" >&2 && exit 1; }
done
