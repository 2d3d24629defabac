#!/bin/sh
# keep_ptxas.sh NVCC ARGUMENT...: runs nvcc. What ptxas -v says of every kernel goes to OBJECT.ptxas.txt beside the
# object, everything else to standard error as usual.
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
trap 'rm -f "$log"' EXIT INT TERM
"$@" 2> "$log"
status=$?
# The second line of a function's properties does not name ptxas.
ptxas='^ptxas info|^ +[0-9]+ bytes stack frame'
grep -E "$ptxas" "$log" > "$object.ptxas.txt"
grep -Ev "$ptxas" "$log" >&2
exit $status
