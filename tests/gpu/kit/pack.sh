#!/usr/bin/env bash
# pack.sh [DIRECTORY [ARCHITECTURES]]: packs native programs and scripts for run.sh into DIRECTORY (target/gpu-kit), at
# most 20 MB, for a machine with a GPU but without a compiler or network. ARCHITECTURES: CMake's GPU architectures
# (90-real). Needs CMake, a C++ compiler and nvcc, no Maven.
#
# pack.sh --variants [DIRECTORY]: builds and compresses the variants that run.sh tune times beside the product, into
# target/gpu-variants: see NOTES.md. pack.sh --java [DIRECTORY]: packs the Java API's tests with a Java runtime into
# target/gpu-kit-java. Needs Maven and a JDK. run.sh finds either package beside the kit.
#
# NORMCORE_NATIVE_BUILD: a build folder with the product's plugin, to be packed as it is.
set -euo pipefail
cd "$(dirname "$0")/../../.."

# fresh DIRECTORY: empties the folder if it is one of our packages, and refuses any other.
fresh() {
  if [[ -e "$1" && ! -f "$1/about.txt" ]]; then
    echo "pack.sh: $1 is there and is no kit; expected a directory that is one, or is not there" >&2
    exit 2
  fi
  rm -rf "$1"
  mkdir -p "$1"
  echo 'unfinished' > "$1/about.txt"
}

about() {
  echo "commit $(git describe --always --dirty 2> /dev/null || echo unknown)"
  echo "architectures $1"
}

case "${1:-}" in
  --variants)
    tests/gpu/tuning/variants.py pack "${2:-target/gpu-variants}" --first
    exec python3 tests/gpu/kit/kit_size.py
    ;;
  --java)
    exec tests/gpu/kit/pack_java.sh "${2:-target/gpu-kit-java}"
    ;;
  --*)
    echo "pack.sh: unknown argument $1; expected --variants, --java or a directory" >&2
    exit 2
    ;;
esac
kit=$(realpath -m "${1:-target/gpu-kit}")
architectures=${2:-90-real}
built=${NORMCORE_NATIVE_BUILD:-target/native-build}
fresh "$kit"
mkdir -p "$kit"/{bin,lib,simulator}

if [[ -z "${NORMCORE_NATIVE_BUILD:-}" ]]; then
  cmake -S native -B "$built" -G Ninja -DCMAKE_BUILD_TYPE=Release -DNORMCORE_CUDA=on \
    "-DCMAKE_CUDA_ARCHITECTURES=$architectures"
  cmake --build "$built" --target normcore normcore_cuda
fi
cmake --build "$built" --target gpu_norm_test gpu_counters normcore_cuda_simt_plain
codes=()
for architecture in ${architectures//;/ }; do
  number=${architecture%%-*}
  codes+=("-gencode=arch=compute_$number,code=sm_$number")
done
nvcc -std=c++17 -O2 -cudart=static "${codes[@]}" -Xcompiler=-s tests/gpu/kit/gpu_probe.cu -o "$kit/bin/gpu_probe"

cp tests/gpu/kit/run.sh tests/gpu/{kit,compare,tuning}/*.py tests/gpu/{kit,tuning}/*.toml "$kit"
cp "$built"/tests-gpu/gpu_norm_test "$built"/tests-gpu/gpu_counters "$kit/bin"
cp "$built/lib/libnormcore.so" "$built/lib-gpu/libnormcore_cuda.so" "$kit/lib"
cp "$built/lib-test/libnormcore_cuda_simt_plain.so" "$kit/simulator/libnormcore_cuda.so"
cp tests/gpu/kit/stand_in/* "$kit/simulator"
strip "$kit"/bin/* "$kit"/lib/* "$kit/simulator/libnormcore_cuda.so"
about "$architectures" > "$kit/about.txt"

# Checks the machine code's memory accesses here: it needs no GPU.
table=$(dirname "$kit")/gpu-machine-code.md
if ! tests/gpu/kit/machine_code.py "$kit/lib/libnormcore_cuda.so" "$table"; then
  echo 'pack.sh: the machine code was not read; the kit is packed without that' >&2
fi
exec python3 tests/gpu/kit/kit_size.py "$kit"
