#!/usr/bin/env bash
# The steps of the native build, for Maven. BUILD is CMake's build directory, JAR the directory of a native jar's
# contents.
#
# build.sh library BUILD JAR OPTION...       configures BUILD with CMake's OPTIONs, builds the library, installs it
# build.sh tests BUILD                       builds everything and runs the native tests
# build.sh plugin BUILD JAR CUDA SKIP_TESTS  builds and installs the CUDA plugin. CUDA: on; off; auto, if there is nvcc
#                                            and SKIP_TESTS is false
set -euo pipefail
cd "$(dirname "$0")/../native"
step=$1
build=$2

# install_jar COMPONENT JAR
install_jar() {
  cmake --install "$build" --component "$1" --prefix "$2" | grep -Ev -- '-- (Install configuration|Installing|Up-to-date)' || true
}

case "$step" in
  library)
    cmake --preset release -B "$build" "${@:4}"
    cmake --build "$build" --target normcore
    install_jar jar "$3"
    ;;
  tests)
    cmake --build "$build"
    # One more than cores: the tests of the GPU kit's scripts mostly wait.
    ctest --test-dir "$build" --output-on-failure --no-tests=error --parallel $(($(nproc) + 1))
    ;;
  plugin)
    rm -rf "$3"
    if [[ "$4" != off && ("$4" == on || "$5" != true) ]]; then
      cmake --build "$build" --target normcore_cuda
      install_jar jar-gpu "$3"
    fi
    [[ -d "$3" ]] || echo 'The jars hold no CUDA plugin; -Dcuda=on builds it, with nvcc.'
    ;;
esac
