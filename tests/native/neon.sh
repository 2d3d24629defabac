#!/bin/sh
# Runs the NEON kernels on an x86 machine and checks them against the golden hashes.
#
#   tests/native/neon.sh BUILD_DIRECTORY
#
# Cross-compiles the library for aarch64 and runs golden_test under emulation: about 500 cases at the plain and the NEON
# level, against the hashes in tests/golden/hashes.txt, which are those of every other level too. Then runs the
# conversion, policy, special value, FP8 and rotary tests under emulation, against the models. Not part of the build: it
# takes half an hour on two cores. Debian packages: g++-aarch64-linux-gnu, qemu-user, libgtest-dev (whose sources are
# compiled for aarch64), cmake, ninja-build.
set -eu

[ $# -eq 1 ] || {
  echo "usage: neon.sh BUILD_DIRECTORY" >&2
  exit 2
}
here=$(cd "$(dirname "$0")" && pwd)
native=$(cd "$here/../../native" && pwd)
mkdir -p "$1"
build=$(cd "$1" && pwd)

numeric=$(sed -n "s/^ *\(-f[a-z-]*=*[a-z]*\).*/\1/p" "$here/../../cmake/Numerics.cmake" | tr "\n" " ")
flags="-std=c++17 -O1 -DNDEBUG $numeric -Wno-psabi -I$here -I$native -I$native/include"

echo "the library for aarch64"
cmake -S "$native" -B "$build/aarch64" -G Ninja -DNORMCORE_TESTS=OFF -DCMAKE_SYSTEM_NAME=Linux \
  -DCMAKE_SYSTEM_PROCESSOR=aarch64 -DCMAKE_C_COMPILER=aarch64-linux-gnu-gcc \
  -DCMAKE_CXX_COMPILER=aarch64-linux-gnu-g++ >"$build/aarch64.log"
cmake --build "$build/aarch64" -j 2

emulate() {
  qemu-aarch64 -L /usr/aarch64-linux-gnu -E LD_LIBRARY_PATH="$build/aarch64/lib:/usr/aarch64-linux-gnu/lib" "$@"
}
gtest=/usr/src/googletest/googletest
if [ ! -f "$build/gtest.o" ]; then
  aarch64-linux-gnu-g++ -O1 -I"$gtest" -I"$gtest/include" -c "$gtest/src/gtest-all.cc" -o "$build/gtest.o"
  aarch64-linux-gnu-g++ -O1 -I"$gtest" -I"$gtest/include" -c "$gtest/src/gtest_main.cc" -o "$build/gtest_main.o"
fi

echo "golden hashes"
# shellcheck disable=SC2086
aarch64-linux-gnu-g++ $flags -DNC_GOLDEN_FILE="\"$here/../golden/hashes.txt\"" "$here/golden_test.cpp" \
  "$here/support/golden_file.cpp" "$build/gtest.o" -o "$build/golden_test.aarch64" -L"$build/aarch64/lib" -lnormcore -lpthread
emulate "$build/golden_test.aarch64" --gtest_brief=1

for name in copy_test non_temporal_test numbers_test policy_test values_test fp8_test rotary_test; do
  echo "$name under emulation"
  # shellcheck disable=SC2086
  aarch64-linux-gnu-g++ $flags "$here/$name.cpp" "$build/gtest.o" "$build/gtest_main.o" -o "$build/$name.aarch64" \
    -L"$build/aarch64/lib" -lnormcore -lpthread
  # Without the sweep of float32, which would take an hour.
  emulate "$build/$name.aarch64" --gtest_brief=1 \
    --gtest_filter='-*Fp8Format.Sweep*:Fp8FarRows.*:*RotaryTypes.OffsetsBeyond*'
done
