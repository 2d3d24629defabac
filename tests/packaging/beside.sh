#!/usr/bin/env bash
# beside.sh TARGET CLASSPATH: checks that the packaged jars work in one process with PyTorch, in both orders of loading.
# TARGET is Maven's target directory, CLASSPATH the run-time class path with PyTorch's jars, where the jars in TARGET
# replace TARGET/classes.
set -euo pipefail
target=$1
dependencies=${2#"$target/classes:"}
here=$(cd "$(dirname "$0")" && pwd)

jars=$dependencies
for jar in "$target"/normcore-[0-9]*.jar; do
  [[ "$jar" == *-sources.jar || "$jar" == *-javadoc.jar || "$jar" == *-gpu.jar ]] || jars=$jar:$jars
done
for order in 'normcore pytorch' 'pytorch normcore'; do
  # The cache of the tests already contains PyTorch's libraries.
  # shellcheck disable=SC2086
  "${JAVA_HOME:+$JAVA_HOME/bin/}java" "-Dorg.bytedeco.javacpp.cachedir=$target/jc" -cp "$jars" "$here/Beside.java" $order || {
    echo "packaging: loaded in the order $order, the libraries do not work together" >&2
    exit 1
  }
done
echo 'packaging: the jars work beside PyTorch'
