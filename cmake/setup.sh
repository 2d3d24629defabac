#!/usr/bin/env bash
# Checks the build requirements. Installs missing ones with apt-get if possible; otherwise prints what to install and
# fails. Prints nothing if all are met. nvcc is optional: without it the build skips CUDA and says so.
set -euo pipefail

problems=()
packages=()

# missing PROBLEM PACKAGE: records a problem and the Debian package that solves it.
missing() {
  problems+=("$1")
  packages+=("$2")
}

# at_least MINIMUM VERSION: succeeds if VERSION is MINIMUM or newer.
at_least() {
  [[ "$(printf '%s\n%s\n' "$1" "$2" | sort -V | head -n 1)" == "$1" ]]
}

# The first version number in a command's output, ignoring terminal colours.
version_of() {
  { "$@" 2>&1 || true; } | sed 's/\x1b\[[0-9;]*m//g' | grep -Eo '[0-9]+(\.[0-9]+)*' | head -n 1 || true
}

# needs NAME MINIMUM PACKAGE COMMAND...: checks the version that COMMAND prints.
needs() {
  local name=$1 minimum=$2 package=$3
  shift 3
  if ! command -v "$1" > /dev/null; then
    missing "$name $minimum or newer ('$1' was not found)" "$package"
    return
  fi
  local found
  found=$(version_of "$@")
  if [[ -z "$found" ]] || ! at_least "$minimum" "$found"; then
    missing "$name $minimum or newer ('$1' is version ${found:-unknown})" "$package"
  fi
}

includes() {
  command -v g++ > /dev/null && g++ -E -x c++ - <<< "#include <$1>" > /dev/null 2>&1
}

check() {
  problems=()
  packages=()
  needs 'a JDK,' 17 openjdk-17-jdk-headless "${JAVA_HOME:+$JAVA_HOME/bin/}javac" -version
  needs Maven 3.8 maven mvn -version
  needs 'a C++ compiler, g++' 9 g++ g++ -dumpfullversion
  needs CMake 3.25 cmake cmake --version
  needs Ninja 1.10 ninja-build ninja --version
  includes gtest/gtest.h || missing 'GoogleTest (gtest/gtest.h was not found)' libgtest-dev
  includes gmock/gmock.h || missing 'GoogleMock (gmock/gmock.h was not found)' libgmock-dev
  # Exactly this version: others format differently.
  command -v clang-format-14 > /dev/null || missing "clang-format 14 ('clang-format-14' was not found)" clang-format-14
}

fail() {
  {
    echo 'Missing build requirements:'
    printf '  %s\n' "${problems[@]}"
    echo "$1"
  } >&2
  exit 1
}

check
if ((${#problems[@]} == 0)); then
  exit 0
fi

if ! command -v apt-get > /dev/null; then
  fail "Install them; on Debian 12 the packages are: ${packages[*]}"
fi
as_root=()
if ((EUID != 0)); then
  if ! command -v sudo > /dev/null || ! { sudo -n true 2> /dev/null || [[ -t 0 ]]; }; then
    fail "As root: apt-get update && apt-get install ${packages[*]}"
  fi
  as_root=(sudo)
fi

echo "Installing ${packages[*]}"
log=$(mktemp)
trap 'rm -f "$log"' EXIT
install() {
  "${as_root[@]}" apt-get -q -o Acquire::Retries=3 update &&
    "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive \
      apt-get -q -y -o Acquire::Retries=3 install --no-install-recommends "${packages[@]}"
}
if ! install > "$log" 2>&1; then
  cat "$log" >&2
  fail "apt-get could not install: ${packages[*]}"
fi
hash -r
check
if ((${#problems[@]} > 0)); then
  fail "The installed packages are too old or not first on the PATH."
fi
