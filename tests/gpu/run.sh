#!/usr/bin/env bash
# run.sh [compare] [--simulate] [--out DIRECTORY]: on a machine with a GPU, checks and times the packed kit that this
# script is part of. It needs a driver, the CUDA 13 toolkit (compute-sanitizer, libcudart) and a Python with PyTorch; no
# JDK, no Maven, no network. At most 6 minutes; each stage has a limit of its own, and one that fails does not stop the
# next.
#
#   bits        every kernel against the CPU's, bit for bit: formats, policies, sizes, strides, many rows
#   java        the Java API on device memory: forward, backward, errors, streams, graphs captured and replayed
#   command     the command line on the device
#   speed       both norms at the most important shapes, beside PyTorch, Triton and a device-to-device copy
#   code        what the hot kernels' machine code does with memory
#   memcheck, racecheck, synccheck   compute-sanitizer on a reduced sweep
#
# Writes DIRECTORY/gpu.json, DIRECTORY/results/<date>-<device>-checks.md, another that ends in -machine-code.md, and
# DIRECTORY/log.txt (DIRECTORY: out, in the kit). Exit status: 0 if all is well; 1 if a bit differs or another stage
# failed; 2 if there is no GPU that the kit is for.
#
# compare runs nothing but the whole comparison of speeds, beside every other implementation that the Python has, in at
# most 9 minutes, and writes DIRECTORY/results/<date>-<device>.json, .md and .svg.
# --simulate runs what makes sense on a host without a GPU, on the simulator: a trial of the kit itself.
set -uo pipefail
kit=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
out=$kit/out
simulate=false
compare=false
while (($# > 0)); do
  case "$1" in
    compare) compare=true ;;
    --simulate) simulate=true ;;
    --out)
      out=${2:?--out needs a directory}
      shift
      ;;
    *)
      echo "run.sh: unknown argument $1; expected compare, --simulate or --out DIRECTORY" >&2
      exit 2
      ;;
  esac
  shift
done
mkdir -p "$out" && out=$(cd "$out" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
deadline=$((SECONDS + 355))
! $compare || deadline=$((SECONDS + 535))
: > "$work/stages.tsv"
exec > >(tee "$out/log.txt") 2>&1
echo "$(date -u '+%F %T UTC'), $(nproc) processors, kit: $(tr '\n' ' ' < "$kit/about.txt")"

if ! tar -C "$work" -xzf "$kit/java.tar.gz"; then
  echo "run.sh: the kit's Java cannot be unpacked into $work" >&2
  exit 2
fi
java=$work/java/bin/java
jars=$(printf '%s:' "$kit"/jars/*.jar)
if $simulate; then
  export NORMCORE_CUDA_LIBRARY=$kit/simulator/libnormcore_cuda.so
else
  unset NORMCORE_CUDA_LIBRARY
  if ! reason=$("$java" "-Dorg.bytedeco.javacpp.cachedir=$work/cache" -cp "$jars" org.normcore.gpu.Devices \
    "$kit/about.txt"); then
    echo "run.sh: $reason" >&2
    echo 'run.sh: --simulate tries the kit on a machine without a GPU' >&2
    exit 2
  fi
  echo "$reason"
fi

# stage NAME SECONDS COMMAND...: notes how it went; what it says goes to the log.
stage() {
  local name=$1 limit=$2 begun=$SECONDS status=0
  shift 2
  ((limit > deadline - SECONDS)) && limit=$((deadline - SECONDS))
  if ((limit < 5)); then
    printf '%s\t%s\t%s\n' "$name" 'no time left' 0 >> "$work/stages.tsv"
    echo "== $name: no time left"
    return
  fi
  echo "== $name"
  timeout -k 5 "$limit" bash -c '"$@"' stage "$@" > "$work/$name.log" 2>&1 || status=$?
  local verdict=passed
  ((status == 0)) || verdict="failed (exit status $status)"
  ((status != 124 && status != 137)) || verdict="timed out after $limit s"
  printf '%s\t%s\t%s\n' "$name" "$verdict" $((SECONDS - begun)) >> "$work/stages.tsv"
  tail -n "$([[ $verdict == passed ]] && echo 6 || echo 60)" "$work/$name.log"
  echo "== $name: $verdict, $((SECONDS - begun)) s"
}

# norm_test NAME PROCESSES FILTER [PREFIX...]: the native sweep in several processes.
norm_test() {
  local name=$1 processes=$2 filter=$3 i failed=0
  shift 3
  if ! "$kit/bin/gpu_norm_test" "--gtest_filter=$filter" --gtest_list_tests | grep -q '^  '; then
    echo "no test is named $filter"
    return 1
  fi
  local ids=()
  for ((i = 0; i < processes; ++i)); do
    GTEST_TOTAL_SHARDS=$processes GTEST_SHARD_INDEX=$i "$@" "$kit/bin/gpu_norm_test" --gtest_brief=1 \
      "--gtest_filter=$filter" "--gtest_output=json:$work/$name-$i.json" > "$work/$name-$i.log" 2>&1 &
    ids+=($!)
  done
  for id in "${ids[@]}"; do
    wait "$id" || failed=1
  done
  for ((i = 0; i < processes; ++i)); do
    tail -n 40 "$work/$name-$i.log"
  done
  return $failed
}

java_tests() {
  local tags=(--include-tag cuda)
  $simulate || tags+=(--include-tag gpu)
  # The CUDA presets load the toolkit's libcudart, or that of the Python packages.
  local runtime
  runtime=$(find -L /usr/local/cuda/lib64 /usr/local/cuda*/lib64 "$(python3 -c \
    'import sysconfig; print(sysconfig.get_paths()["purelib"])' 2> /dev/null)/nvidia" -name 'libcudart.so.13' \
    -print -quit 2> /dev/null)
  if [[ -n "$runtime" ]]; then
    runtime=$(dirname "$runtime")
    export LD_LIBRARY_PATH=$runtime${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}
  fi
  "$java" "-Dorg.bytedeco.javacpp.cachedir=$work/cache" -cp "$jars" org.junit.platform.console.ConsoleLauncher execute \
    --disable-banner --disable-ansi-colors --include-engine junit-jupiter --details=tree --fail-if-no-tests "${tags[@]}" \
    --scan-classpath "$kit/jars/normcore-tests.jar" --reports-dir "$work/java"
}

command_line() {
  local device rows=64 hidden=4096
  if $simulate; then
    rows=2 hidden=256
  fi
  for device in cpu cuda; do
    "$java" "-Dorg.bytedeco.javacpp.cachedir=$work/cli-cache" -jar "$kit/jars/normcore-cli.jar" audit --device "$device" \
      --rows $rows --hidden $hidden --json --out "$work/audit-$device" > "$work/audit-$device.json" || return 1
  done
  "$java" "-Dorg.bytedeco.javacpp.cachedir=$work/cli-cache" -jar "$kit/jars/normcore-cli.jar" info --device cuda || return 1
  # The figures of a difference between policies depend on every bit.
  local named='"(device|device_name|report)":'
  if ! diff <(grep -Ev "$named" "$work/audit-cpu.json") <(grep -Ev "$named" "$work/audit-cuda.json"); then
    echo 'audit gives other figures on the device'
    return 1
  fi
}

sanitizer() {
  local tool=$1 filter=$2 program
  program=$(command -v compute-sanitizer || find /usr/local/cuda*/bin "${CUDA_HOME:-/usr/local/cuda}/bin" \
    -name compute-sanitizer -print -quit 2> /dev/null)
  if [[ -z "$program" ]]; then
    echo 'compute-sanitizer was found neither on the PATH nor in /usr/local/cuda*/bin'
    return 1
  fi
  norm_test "$tool" "$processes" "$filter" "$program" --tool "$tool" --error-exitcode 9 --print-limit 20
}

processes=$(nproc)
((processes <= 8)) || processes=8
export kit work java jars simulate processes
export -f norm_test java_tests command_line sanitizer

if $compare; then
  arguments=()
  ! $simulate || arguments=(--stand-in)
  if ! command -v python3 > /dev/null; then
    echo 'run.sh: compare needs a python3 with PyTorch' >&2
    exit 2
  fi
  timeout -k 10 $((deadline - SECONDS)) python3 "$kit/compare.py" --out "$out" "${arguments[@]}"
  exit
fi

if $simulate; then
  export NORMCORE_SIMULATED=1
  stage bits 240 norm_test bits "$processes" '*CudaHot.ShortRows*:*CudaHot.InPlace*:*CudaAny.Sizes*:*CudaRotary.Forms*:*CudaFp8Matrices*'
  stage java 90 java_tests
  stage command 60 command_line
else
  export NORMCORE_CUDA_LIBRARY=$kit/lib/libnormcore_cuda.so
  stage bits 100 norm_test bits "$processes" '*'
  unset NORMCORE_CUDA_LIBRARY
  stage java 45 java_tests
  stage command 20 command_line
  export NORMCORE_CUDA_LIBRARY=$kit/lib/libnormcore_cuda.so
  stage speed 110 python3 "$kit/compare.py" --out "$work/speed" --budget 85 --most-tier 1 --peers PyTorch,Triton
  stage code 30 python3 "$kit/machine_code.py" "$kit/lib/libnormcore_cuda.so" "$work/machine-code.md"
  stage memcheck 45 sanitizer memcheck \
    '*CudaHot.ShortRows*:*CudaHot.LongerRows*:*CudaHot.RowsOfSeveralSegments*:*CudaHot.Alignment*:*CudaAny.RowsStridesAndAlignment*:*CudaRotary.Forms*:*CudaFp8Matrices*'
  stage racecheck 40 sanitizer racecheck \
    '*CudaHot.ShortRows*_bf16_bf16_bf16:*CudaHot.LongerRows*_f32_f32_f32:*CudaHot.RowsOfSeveralSegments*_bf16_f32_bf16:*CudaFp8Amax*'
  stage synccheck 30 sanitizer synccheck \
    '*CudaHot.ShortRows*_bf16_bf16_bf16:*CudaHot.LongerRows*_f32_f32_f32:*CudaHot.RowsOfSeveralSegments*_bf16_f32_bf16:*CudaFp8Amax*'
fi

if command -v python3 > /dev/null; then
  python3 "$kit/report.py" "$work" "$kit/about.txt" "$out"
else
  echo 'no python3: there is no report beyond the log'
fi
failed=$(grep -cv "$(printf '\tpassed\t')" "$work/stages.tsv" || true)
echo "== $(grep -c . "$work/stages.tsv") stages, $failed not passed"
((failed == 0))
