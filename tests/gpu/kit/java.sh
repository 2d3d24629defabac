#!/usr/bin/env bash
# java.sh [--simulate] KIT: runs the Java API on device memory, and the command line, with the packed Java runtime
# beside this script. Prints the outcome of each test when it ends. Started by the kit's run.sh.
set -uo pipefail
package=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
simulate=false
if [[ "${1:-}" == --simulate ]]; then
  simulate=true
  shift
fi
kit=$1
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
tar -C "$work" -xJf "$package/java.tar.xz" || exit 1
java=("$work/java/bin/java" "-Dorg.bytedeco.javacpp.cachedir=$work/cache")
jars=$(printf '%s:' "$package"/jars/*.jar)
tags=(--include-tag cuda)
rows=2 hidden=256
if $simulate; then
  export NORMCORE_CUDA_LIBRARY=$kit/simulator/libnormcore_cuda.so
else
  unset NORMCORE_CUDA_LIBRARY
  tags+=(--include-tag gpu)
  rows=64 hidden=4096
  # The CUDA presets load libcudart from the toolkit or from Python's packages.
  packages=$(python3 -c 'import sysconfig; print(sysconfig.get_paths()["purelib"])' 2> /dev/null)
  runtime=$(find -L /usr/local/cuda/lib64 /usr/local/cuda*/lib64 "$packages/nvidia" -name libcudart.so.13 -print -quit \
    2> /dev/null)
  if [[ -n "$runtime" ]]; then
    runtime=$(dirname "$runtime")
    export LD_LIBRARY_PATH=$runtime${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}
  fi
fi

status=0
"${java[@]}" -cp "$jars" org.junit.platform.console.ConsoleLauncher execute --disable-banner --disable-ansi-colors \
  --include-engine junit-jupiter --details=testfeed --fail-if-no-tests "${tags[@]}" \
  --scan-classpath "$package/jars/normcore-tests.jar" || status=1

# Compares figures of a difference between policies, which depend on every bit.
command_line() {
  local device named='"(device|device_name|report)":'
  for device in cpu cuda; do
    "${java[@]}" -jar "$package/jars/normcore-cli.jar" audit --device "$device" --rows $rows --hidden $hidden --json \
      --out "$work/audit-$device" > "$work/audit-$device.json" || return 1
  done
  "${java[@]}" -jar "$package/jars/normcore-cli.jar" info --device cuda || return 1
  if ! diff <(grep -Ev "$named" "$work/audit-cpu.json") <(grep -Ev "$named" "$work/audit-cuda.json"); then
    echo 'audit gives other figures on the device'
    return 1
  fi
}
echo 'the command line :: STARTED'
if command_line; then
  echo 'the command line :: SUCCESSFUL'
else
  echo 'the command line :: FAILED'
  status=1
fi
exit $status
