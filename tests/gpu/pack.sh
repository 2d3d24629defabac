#!/usr/bin/env bash
# pack.sh [DIRECTORY [ARCHITECTURES]]: packs all that run.sh needs on a machine with a GPU, but without JDK, Maven or
# network, into DIRECTORY (target/gpu-kit), for the GPU architectures that CMake is told (90-real). Needs what the build
# needs, and nvcc.
#
# pack.sh --variants [DIRECTORY]: packs what is tried beside the product, for tune.py, into a kit of its own
# (target/gpu-variants), without Java: see NOTES.md.
set -euo pipefail
cd "$(dirname "$0")/../.."
if [[ "${1:-}" == --variants ]]; then
  exec tests/gpu/variants.py pack "${2:-target/gpu-variants}"
fi
kit=$(realpath -m "${1:-target/gpu-kit}")
architectures=${2:-90-real}
java_bin=${JAVA_HOME:+$JAVA_HOME/bin/}
most=60

if [[ -e "$kit" && ! -f "$kit/about.txt" ]]; then
  echo "pack.sh: $kit is there and is no kit; expected a directory that is one, or is not there" >&2
  exit 2
fi
rm -rf "$kit"
mkdir -p "$kit"/{bin,lib,simulator}
echo 'unfinished' > "$kit/about.txt"

mvn -q -DskipTests -Dcuda=on "-Dcuda.architectures=$architectures" -Pgpu-kit "-Dgpu.kit.jars=$kit/jars" package
cmake --build target/native-build --target gpu_norm_test normcore_cuda_simt_plain
built=target/native-build
# All of the library, natives and plugin included, is in the command line's jar.
cp target/normcore-cli.jar "$kit/jars"
cp target/normcore-[0-9]*-tests.jar "$kit/jars/normcore-tests.jar"
cp tests/gpu/run.sh tests/gpu/*.py "$kit"
cp "$(find $built -name gpu_norm_test -type f)" "$kit/bin"
cp $built/lib/libnormcore.so $built/lib-gpu/libnormcore_cuda.so "$kit/lib"
cp $built/lib-test/libnormcore_cuda_simt_plain.so "$kit/simulator/libnormcore_cuda.so"
cp $built/cuda-kernels.md "$kit"
strip "$kit"/{bin,lib,simulator}/*
# Of the CUDA presets' natives, those of the runtime.
presets=$(echo "$kit"/jars/cuda-*-linux-x86_64.jar)
(
  cd "$kit/simulator"
  natives=org/bytedeco/cuda/linux-x86_64
  "${java_bin}jar" xf "$presets" $natives/libjnicudart.so
  "${java_bin}jar" cf "$presets" $natives/libjnicudart.so
  rm -r org
)
modules=java.base,java.logging,java.management,java.xml,jdk.management,jdk.unsupported,jdk.zipfs
"${java_bin}jlink" --add-modules $modules --strip-debug --no-header-files --no-man-pages --compress=2 \
  --output "$kit/java"
strip "$kit/java/lib/server/libjvm.so"
# Half its size; run.sh unpacks it.
tar -C "$kit" -czf "$kit/java.tar.gz" java
rm -r "$kit/java"
{
  echo "version $(basename target/normcore-[0-9]*-tests.jar -tests.jar)"
  echo "commit $(git describe --always --dirty 2> /dev/null || echo unknown)"
  echo "architectures $architectures"
} > "$kit/about.txt"

size=$(du -sm --apparent-size "$kit" | cut -f 1)
echo "$kit: $size MB; on the GPU machine: $(basename "$kit")/run.sh"
if ((size > most)); then
  echo "pack.sh: the kit is larger than $most MB; pack it for fewer architectures" >&2
  exit 1
fi
