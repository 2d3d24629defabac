#!/usr/bin/env bash
# run.sh TARGET VERSION CLASSPATH PYTORCH MAVEN LOCAL OFFLINE: checks the packaged jars: outside of the build tree, with
# PyTorch, and in user projects in Kotlin and Scala. TARGET is Maven's target directory, CLASSPATH the run-time class
# path, PYTORCH the versions of PyTorch's and OpenBLAS' jars, MAVEN Maven's home, LOCAL its local repository, OFFLINE true
# or false.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
target=$1
version=$2
classpath=$3
read -r pytorch openblas <<< "$4"
maven=$5
local=$6
offline=$7

jars() {
  find "$local/org/bytedeco/pytorch/$pytorch" "$local/org/bytedeco/openblas/$openblas" -name '*.jar' -printf ':%p'
}

# The two halves take equally long, and each leaves a core idle.
"$here/consumers.sh" "$target" "$version" "$maven" "$local" "$offline" &
consumers=$!
trap 'kill "$consumers" 2> /dev/null || true' EXIT
"$here/check.sh" "$target" "$classpath"
"$here/beside.sh" "$target" "$classpath$(jars)"
wait "$consumers"
trap - EXIT
