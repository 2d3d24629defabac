#!/usr/bin/env bash
# pack_java.sh [DIRECTORY]: packs the Java API's tests, the command line and a Java runtime into DIRECTORY
# (target/gpu-kit-java). run.sh all runs them if this package lies beside the kit. Needs Maven, a JDK and nvcc.
set -euo pipefail
cd "$(dirname "$0")/../../.."
package=$(realpath -m "${1:-target/gpu-kit-java}")
java_bin=${JAVA_HOME:+$JAVA_HOME/bin/}
if [[ -e "$package" && ! -f "$package/about.txt" ]]; then
  echo "pack_java.sh: $package is there and is no kit; expected a directory that is one, or is not there" >&2
  exit 2
fi
rm -rf "$package"
mkdir -p "$package"
echo 'unfinished' > "$package/about.txt"

mvn -q -DskipTests -Dcuda=on package
# The command line's jar contains the whole library, including natives and plugin.
cp target/normcore-cli.jar "$package/jars"
# Without the tests that need PyTorch, the peers or the frameworks: their natives are too large to pack.
tests=$(mktemp -d)
trap 'rm -rf "$tests"' EXIT
cp -R target/test-classes/. "$tests"
rm -r "$tests"/org/normcore/{oracle,bench,frameworks} "$tests"/org/normcore/testing/{Svg*,Outline*}.class \
  "$tests"/META-INF/{BenchmarkList,CompilerHints}
"${java_bin}jar" cf "$package/jars/normcore-tests.jar" -C "$tests" .

# property NAME: the value of a property of pom.xml, without references to others.
property() {
  sed -n "s|^ *<$1>\(.*\)</$1>.*|\1|p" pom.xml
}
javacpp=$(property javacpp.version)
cuda=$(property cuda.version)
cuda=${cuda%\$*}$javacpp
for artifact in "org.junit.platform:junit-platform-console-standalone:$(property junit.platform.version)" \
  "org.bytedeco:cuda:$cuda" "org.bytedeco:cuda:$cuda:jar:linux-x86_64"; do
  mvn -q org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy "-Dartifact=$artifact" \
    "-DoutputDirectory=$package/jars"
done
cp tests/gpu/kit/java.sh "$package"
# Of the CUDA presets' natives only those of the runtime.
presets=$(echo "$package"/jars/cuda-*-linux-x86_64.jar)
(
  cd "$package"
  natives=org/bytedeco/cuda/linux-x86_64
  "${java_bin}jar" xf "$presets" $natives/libjnicudart.so
  "${java_bin}jar" cf "$presets" $natives/libjnicudart.so
  rm -r org
)
modules=java.base,java.logging,java.management,java.xml,jdk.management,jdk.unsupported,jdk.zipfs
"${java_bin}jlink" --add-modules $modules --strip-debug --no-header-files --no-man-pages --compress=0 \
  --output "$package/java"
strip "$package/java/lib/server/libjvm.so"
# Packed with xz, which compresses better than jlink; java.sh unpacks it.
tar -C "$package" -cJf "$package/java.tar.xz" java
rm -r "$package/java"
{
  echo "version $(basename target/normcore-[0-9]*-sources.jar -sources.jar)"
  echo "commit $(git describe --always --dirty 2> /dev/null || echo unknown)"
} > "$package/about.txt"
exec tests/gpu/kit/kit_size.py
