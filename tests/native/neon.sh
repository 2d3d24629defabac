#!/bin/sh
# The NEON kernels, run on an x86 machine and compared bit for bit with the kernels of that machine.
#
#   tests/native/neon.sh BUILD_DIRECTORY
#
# Cross-compiles the library for aarch64, runs digest.cpp under emulation and natively, and compares what they print:
# a digest of every result of about 600 cases, for the plain and the NEON level there and all levels here. Then runs
# the conversion, policy, special value, FP8 and rotary tests under emulation, against the models. Not part of the
# build: it takes half an hour on two cores. Debian packages: g++-aarch64-linux-gnu, qemu-user, libgtest-dev (whose
# sources are compiled for aarch64), cmake, ninja-build.
set -eu

[ $# -eq 1 ] || {
  echo "usage: neon.sh BUILD_DIRECTORY" >&2
  exit 2
}
here=$(cd "$(dirname "$0")" && pwd)
native=$(cd "$here/../../native" && pwd)
mkdir -p "$1"
build=$(cd "$1" && pwd)

numeric=$(grep -o -- "-f[a-z-]*=*[a-z]*" "$here/../../cmake/Numerics.cmake" | tr "\n" " ")
flags="-std=c++17 -O1 -DNDEBUG $numeric -Wno-psabi -I$here -I$native -I$native/include"

echo "the library for aarch64"
cmake -S "$native" -B "$build/aarch64" -G Ninja -DNORMCORE_TESTS=OFF -DCMAKE_SYSTEM_NAME=Linux \
  -DCMAKE_SYSTEM_PROCESSOR=aarch64 -DCMAKE_C_COMPILER=aarch64-linux-gnu-gcc \
  -DCMAKE_CXX_COMPILER=aarch64-linux-gnu-g++ >"$build/aarch64.log"
cmake --build "$build/aarch64" -j 2
echo "the library for this machine"
cmake -S "$native" -B "$build/host" -G Ninja -DNORMCORE_TESTS=OFF >"$build/host.log"
cmake --build "$build/host" -j 2

emulate() {
  qemu-aarch64 -L /usr/aarch64-linux-gnu -E LD_LIBRARY_PATH="$build/aarch64/lib:/usr/aarch64-linux-gnu/lib" "$@"
}
gtest=/usr/src/googletest/googletest
if [ ! -f "$build/gtest.o" ]; then
  aarch64-linux-gnu-g++ -O1 -I"$gtest" -I"$gtest/include" -c "$gtest/src/gtest-all.cc" -o "$build/gtest.o"
  aarch64-linux-gnu-g++ -O1 -I"$gtest" -I"$gtest/include" -c "$gtest/src/gtest_main.cc" -o "$build/gtest_main.o"
fi

echo "digests"
# shellcheck disable=SC2086
aarch64-linux-gnu-g++ $flags "$here/digest.cpp" "$build/gtest.o" -o "$build/digest.aarch64" -L"$build/aarch64/lib" \
  -lnormcore -lpthread
# shellcheck disable=SC2086
g++ $flags "$here/digest.cpp" -o "$build/digest.host" -L"$build/host/lib" -lnormcore -lgtest -lpthread
emulate "$build/digest.aarch64" >"$build/digest.aarch64.txt"
LD_LIBRARY_PATH="$build/host/lib" "$build/digest.host" >"$build/digest.host.txt"
if ! cmp "$build/digest.aarch64.txt" "$build/digest.host.txt"; then
  diff "$build/digest.aarch64.txt" "$build/digest.host.txt" | head -20
  exit 1
fi
echo "$(wc -l <"$build/digest.host.txt") digests agree"

for name in copy_test streaming_test numbers_test policy_test values_test fp8_test rotary_test; do
  echo "$name under emulation"
  # shellcheck disable=SC2086
  aarch64-linux-gnu-g++ $flags "$here/$name.cpp" "$build/gtest.o" "$build/gtest_main.o" -o "$build/$name.aarch64" \
    -L"$build/aarch64/lib" -lnormcore -lpthread
  # The sweep of float32 would take an hour.
  emulate "$build/$name.aarch64" --gtest_brief=1 \
    --gtest_filter='-*Fp8Format.Sweep*:Fp8FarRows.*:*RotaryTypes.OffsetsBeyond*'
done
