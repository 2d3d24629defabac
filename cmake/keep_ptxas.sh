#!/bin/sh
# keep_ptxas.sh NVCC ARGUMENT...: runs nvcc. Writes the output of ptxas -v to OBJECT.ptxas.txt beside the object; other
# messages go to standard error. Writes the memory accesses of each function in the PTX to OBJECT.accesses.txt, one line
# each of architecture, function, kind, bytes per access and count; and, of the kind bound, the most threads of a block
# that the kernel is compiled for. PTX and not machine code, because not every nvcc
# comes with a disassembler: ptxas keeps the width of an access, and reports the spills and stack accesses that it adds.
set -u
object=
previous=
for argument in "$@"; do
  if [ "$previous" = -o ]; then
    object=$argument
  fi
  previous=$argument
done
if [ -z "$object" ]; then
  exec "$@"
fi

log=$object.log.$$
keep=$object.keep.$$
trap 'rm -rf "$log" "$keep"' EXIT INT TERM
mkdir -p "$keep"
"$@" --keep --keep-dir "$keep" 2> "$log"
status=$?
# The second line of a function's properties lacks the prefix "ptxas info".
ptxas='^ptxas info|^ +[0-9]+ bytes stack frame'
grep -E "$ptxas" "$log" > "$object.ptxas.txt"
grep -Ev "$ptxas" "$log" >&2

# An access is "[@predicate] op.space[.modifier]...[.vN].type"; the last operand of an asynchronous copy is its bytes.
find "$keep" -name '*.ptx' -exec cat {} + | awk '
  /^\.target/ { architecture = $2; sub(/,.*/, "", architecture) }
  /^[ \t]*(\.[a-z]+[ \t]+)*\.(entry|func)/ && match($0, /_Z[A-Za-z0-9_]+/) { name = substr($0, RSTART, RLENGTH) }
  $1 == ".maxntid" { ++count[architecture "\t" name "\tbound\t" $2 + 0] }
  {
    instruction = $1 ~ /^@/ ? $2 : $1
    if (instruction !~ /^(ld|st|cp\.async|atom|red)\./ || instruction ~ /^cp\.async\.(commit|wait)/) next
    kind = instruction ~ /^ld/ ? "load" : instruction ~ /^st/ ? "store" : instruction ~ /^cp/ ? "copy" : "atomic"
    if (instruction ~ /\.local/) kind = "local"
    else if (instruction !~ /\.global/) next
    if (kind == "copy") {
      width = $NF + 0
    } else {
      width = substr(instruction, match(instruction, /[0-9]+$/)) / 8
      if (match(instruction, /\.v[248]\./)) width *= substr(instruction, RSTART + 2, 1)
    }
    ++count[architecture "\t" name "\t" kind "\t" width]
  }
  END { for (access in count) printf "%s\t%d\n", access, count[access] }
' | LC_ALL=C sort > "$object.accesses.txt"
exit $status
