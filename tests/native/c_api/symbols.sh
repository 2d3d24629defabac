#!/bin/sh
# What the linker sees.
#
#   symbols.sh library LIBRARY HEADER     the library needs libc, libm and the loader, and exports the header's
#                                         functions and nothing else
#   symbols.sh level LEVEL OBJECT...      code compiled for a vector level defines global and weak symbols only in its
#                                         own namespace. A template or inline function of any other name would be
#                                         merged with its namesake from another level, and a machine without AVX would
#                                         one day run the AVX one.
set -eu
export LC_ALL=C

fail() {
  echo "$1" >&2
  exit 1
}

case "$1" in
  library)
    needed=$(readelf -d "$2" | sed -n 's/.*(NEEDED).*\[\(.*\)\]/\1/p')
    for name in $needed; do
      case "$name" in
        libc.so.6 | libm.so.6 | ld-linux*) ;;
        *) fail "$2 needs $name; only libc, libm and the loader are on every machine" ;;
      esac
    done
    declared=$(grep -o 'nc_[a-z0-9_]*(' "$3" | tr -d '(' | sort -u)
    exported=$(nm -D --defined-only "$2" | awk '{print $3}' | sort -u)
    [ -n "$declared" ] || fail "no functions found in $3"
    [ "$declared" = "$exported" ] || fail "declared: $declared
exported: $exported"
    ;;
  level)
    level=$2
    shift 2
    [ $# -gt 0 ] || fail "no objects of level $level"
    for object in "$@"; do
      nm -C --defined-only "$object" >/dev/null || fail "$object can't be read"
      # Lower case is local; u, v and w are unique and weak. DW.ref.* are the compiler's own pointers.
      shared=$(nm -C --defined-only "$object" | grep -E '^[0-9a-f]+ [A-Zuvw] ' | grep -v ' DW\.ref\.' |
        grep -v "nc::$level::" || true)
      [ -z "$shared" ] || fail "$object defines outside nc::$level:
$shared"
    done
    if [ "$level" = plain ] && objdump -f "$1" | grep -q x86-64; then
      for object in "$@"; do
        if objdump -d --no-show-raw-insn "$object" | grep -E -m 1 '%[yz]mm|%k[1-7]'; then
          fail "$object holds instructions beyond the baseline"
        fi
      done
    fi
    ;;
  *)
    fail "usage: symbols.sh library LIBRARY HEADER | level LEVEL OBJECT..."
    ;;
esac
