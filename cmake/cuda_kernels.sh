#!/bin/sh
# cuda_kernels.sh TABLE OBJECT...: writes TABLE.tsv and TABLE.md, the resource use of each kernel on each architecture,
# from the files that keep_ptxas.sh has written beside the objects. Fails if a fast kernel spills registers (those of
# norm_forward.cu and norm_backward.cu, rotary_aligned of rotary.cu, those InWords of fp8.cu), or if a fast kernel of a
# norm accesses less than 16 bytes of a row in global memory at a time.
set -eu
export LC_ALL=C
table=$1
shift

for object in "$@"; do
  for kept in ptxas accesses; do
    if [ ! -f "$object.$kept.txt" ] || { [ $kept = ptxas ] && [ ! -s "$object.$kept.txt" ]; }; then
      echo "$object.$kept.txt is missing or empty: delete the object and build again" >&2
      exit 1
    fi
  done
done

# One line per function and architecture: source, mangled name, kind, architecture, figures and accesses. ptxas reports
# properties of device functions too, which are not entry functions.
for object in "$@"; do
  awk -v source="$(basename "$object" .o)" '
    FILENAME ~ /accesses.txt$/ {
      split($0, of, "\t")
      key = of[1] "," of[2] "," of[3]
      before = key in accesses ? accesses[key] " " : ""
      accesses[key] = before of[5] "x" of[4]
      next
    }
    function of_kind(kind) {
      key = architecture "," name "," kind
      return key in accesses ? accesses[key] : "-"
    }
    function put() {
      if (name != "") {
        threads = of_kind("bound")
        sub(/^1x/, "", threads)
        printf "%s\t%s\t%s\t%s\t%s\t%s\t%d\t%d\t%d\t%s\t%s\t%s\t%s\t%s\n", source, name, kind, architecture,
               registers, shared, stack, stores, loads, of_kind("load"), of_kind("copy"), of_kind("store"),
               of_kind("local"), threads
      }
      name = ""
    }
    /Compiling entry function/ { split($0, quoted, "\047"); entry = quoted[2]; entry_architecture = quoted[4] }
    /Function properties for/ {
      put()
      name = $NF
      architecture = entry_architecture
      kind = name == entry ? "kernel" : "function"
      registers = shared = kind == "kernel" ? 0 : "-"
    }
    /bytes stack frame/ { stack = $1; stores = $5; loads = $9 }
    /Used [0-9]+ registers/ {
      for (i = 1; i < NF; ++i) {
        if ($i == "Used") registers = $(i + 1)
        if ($(i + 2) ~ /^smem/) shared = $i
      }
    }
    END { put() }
  ' "$object.accesses.txt" "$object.ptxas.txt"
done | sort -u > "$table.raw"

if [ ! -s "$table.raw" ]; then
  echo "ptxas reported no kernel: were the objects compiled without -Xptxas -v?" >&2
  exit 1
fi

# Shortens the names: drops namespaces, return types and parameters, keeps template arguments.
cut -f 2 "$table.raw" | c++filt | sed -E '
  s/_INTERNAL_[0-9a-f]+_[0-9]+_[A-Za-z0-9_]+::|\(anonymous namespace\)::|(nc::)?baseline::|nc:://g
  s/^void //
  s/\([^()]*\)( \[clone [^]]*\])?$//' > "$table.names"
cut -f 2 "$table.raw" > "$table.symbols"
paste "$table.names" "$table.raw" "$table.symbols" | cut -f 1,2,4- | sort -t '	' -k 2,2 -k 1,1 -k 4,4 > "$table.rows"
{
  printf 'function\tsource\tkind\tarchitecture\tregisters\tshared\tstack\tspill_stores\tspill_loads\t'
  printf 'loads\tcopies\tstores\tlocal\tthreads\tsymbol\n'
  cat "$table.rows"
} > "$table.tsv"

awk -F '\t' '
  {
    lines[NR] = sprintf("| `%s` | %s | %s | %s | %s | %s | %s | %s | %s | %s | %s | %s | %s | %s |",
                        $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)
    if ($5 + 0 > most) most = $5 + 0
    if ($8 + $9 > 0) ++spilling
    ++kinds[$3]
  }
  END {
    print "# Resource use of the CUDA kernels"
    print ""
    printf "%d kernels and %d device functions over all architectures; at most %d registers; %d spill.\n",
           kinds["kernel"], kinds["function"], most, spilling
    print "Static shared memory, stack and spills are in bytes. Loads, asynchronous copies to shared memory and stores"
    print "are the accesses to global memory in the PTX: 8x16 means 8 accesses of 16 bytes. Local memory likewise."
    print "Threads are the most of a block that the kernel is compiled for: a device refuses a launch with more."
    print ""
    print "| function | source | kind | architecture | registers | shared | stack | spill stores | spill loads |" \
          " loads | copies | stores | local | threads |"
    print "|---|---|---|---|---|---|---|---|---|---|---|---|---|---|"
    for (i = 1; i <= NR; ++i) print lines[i]
  }
' "$table.rows" > "$table.md"
rm -f "$table.raw" "$table.names" "$table.symbols" "$table.rows"

awk -F '\t' '
  ($2 == "norm_forward.cu" || $2 == "norm_backward.cu" || $1 ~ /^(rotary_aligned|fp8_.*<InWords)</) && $8 + $9 > 0 {
    printf "%s spills on %s: %d bytes stored, %d loaded, %d registers\n", $1, $4, $8, $9, $5
    found = 1
  }
  END { exit found }
' "$table.tsv" >&2 || {
  echo "fast kernels spill registers: give them fewer values per thread or fewer threads per block" >&2
  exit 1
}

# Exceptions: 4 bytes, for the statistics of a row or a scale; single elements at the ends of unaligned rows; an FP8 y,
# stored 8 bytes at a time, and its block scales, stored by the byte.
awk -F '\t' '
  function narrow(accesses, allowed,   i, n, of, count_width) {
    n = split(accesses, of, " ")
    for (i = 1; i <= n; ++i) {
      split(of[i], count_width, "x")
      if (of[i] != "-" && index(allowed, " " count_width[2] " ") == 0) return 1
    }
    return 0
  }
  $1 ~ /^norm_(forward|backward)(<FastFormats|_unaligned)</ {
    loads = stores = $1 ~ /_unaligned/ ? " 16 4 2 " : " 16 4 "
    if ($1 ~ /, \(DType\)[45], (true|false)>/) stores = " 16 8 4 1 "
    if (narrow($10, loads) || narrow($11, " 16 ") || narrow($12, stores) || $13 != "-") {
      printf "%s on %s: loads %s, copies %s, stores %s, local %s\n", $1, $4, $10, $11, $12, $13
      found = 1
    }
  }
  END { exit found }
' "$table.tsv" >&2 || {
  echo "fast kernels access less than 16 bytes of a row at a time, or local memory" >&2
  exit 1
}
