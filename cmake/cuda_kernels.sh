#!/bin/sh
# cuda_kernels.sh TABLE OBJECT...: makes TABLE.tsv and TABLE.md, what each kernel needs on each architecture, of what
# keep_ptxas.sh has left beside the objects. Fails if one of the hot kernels, those of norm_forward.cu and
# norm_backward.cu, rotary_octets of rotary.cu and those InWords of fp8.cu, keeps registers in memory, or if one of the
# norms' reaches into global memory for less than 16 bytes of a row.
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

# One line per function and architecture: source, mangled name, architecture, figures and accesses. A function that
# kernels call has properties, but is no entry.
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
        printf "%s\t%s\t%s\t%s\t%s\t%s\t%d\t%d\t%d\t%s\t%s\t%s\t%s\n", source, name, kind, architecture, registers,
               shared, stack, stores, loads, of_kind("load"), of_kind("copy"), of_kind("store"), of_kind("local")
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
  echo "ptxas has named no kernel: were the objects compiled without -Xptxas -v?" >&2
  exit 1
fi

# Namespaces, return types and parameters tell nothing here; template arguments do.
cut -f 2 "$table.raw" | c++filt | sed -E '
  s/_INTERNAL_[0-9a-f]+_[0-9]+_[A-Za-z0-9_]+::|\(anonymous namespace\)::|(nc::)?baseline::|nc:://g
  s/^void //
  s/\([^()]*\)( \[clone [^]]*\])?$//' > "$table.names"
cut -f 2 "$table.raw" > "$table.symbols"
paste "$table.names" "$table.raw" "$table.symbols" | cut -f 1,2,4- | sort -t '	' -k 2,2 -k 1,1 -k 4,4 > "$table.rows"
{
  printf 'function\tsource\tkind\tarchitecture\tregisters\tshared\tstack\tspill_stores\tspill_loads\t'
  printf 'loads\tcopies\tstores\tlocal\tsymbol\n'
  cat "$table.rows"
} > "$table.tsv"

awk -F '\t' '
  {
    lines[NR] = sprintf("| `%s` | %s | %s | %s | %s | %s | %s | %s | %s | %s | %s | %s | %s |",
                        $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)
    if ($5 + 0 > most) most = $5 + 0
    if ($8 + $9 > 0) ++spilling
    ++kinds[$3]
  }
  END {
    print "# CUDA kernels, as nvcc and ptxas compiled them"
    print ""
    printf "%d kernels and %d functions that they call, architectures counted apart; at most %d registers; %d spill.\n",
           kinds["kernel"], kinds["function"], most, spilling
    print "Shared memory is the static part, in bytes, like stack and spills. Accesses to global memory are those written"
    print "in the PTX, loads, asynchronous copies to shared memory and stores: 8x16 are 8 of 16 bytes. Those in local"
    print "memory are in the same terms."
    print ""
    print "| function | source | kind | architecture | registers | shared | stack | spill stores | spill loads |" \
          " loads | copies | stores | local |"
    print "|---|---|---|---|---|---|---|---|---|---|---|---|---|"
    for (i = 1; i <= NR; ++i) print lines[i]
  }
' "$table.rows" > "$table.md"
rm -f "$table.raw" "$table.names" "$table.symbols" "$table.rows"

awk -F '\t' '
  ($2 == "norm_forward.cu" || $2 == "norm_backward.cu" || $1 ~ /^(rotary_octets|fp8_.*<InWords)</) && $8 + $9 > 0 {
    printf "%s spills on %s: %d bytes stored, %d loaded, %d registers\n", $1, $4, $8, $9, $5
    found = 1
  }
  END { exit found }
' "$table.tsv" >&2 || {
  echo "hot kernels spill: give them fewer values per thread or fewer threads per block" >&2
  exit 1
}

# 4 bytes are a statistic of a row or a scale. Rows that begin anywhere have single elements at their ends. An FP8 y is stored 8 bytes at a time, a block of its scales by the byte.
awk -F '\t' '
  function narrow(accesses, allowed,   i, n, of, count_width) {
    n = split(accesses, of, " ")
    for (i = 1; i <= n; ++i) {
      split(of[i], count_width, "x")
      if (of[i] != "-" && index(allowed, " " count_width[2] " ") == 0) return 1
    }
    return 0
  }
  $1 ~ /^norm_(forward|backward)<HotFormats</ {
    quantized = $1 ~ /, \(DType\)[45], (true|false)>/
    if (narrow($10, " 16 4 ") || narrow($11, " 16 ") || narrow($12, quantized ? " 8 4 1 16 " : " 16 4 ") || $13 != "-") {
      printf "%s on %s: loads %s, copies %s, stores %s, local %s\n", $1, $4, $10, $11, $12, $13
      found = 1
    }
  }
  $1 ~ /^norm_(forward|backward)_shifted</ {
    if (narrow($10, " 16 4 2 ") || narrow($11, " 16 ") || narrow($12, " 16 4 2 ") || $13 != "-") {
      printf "%s on %s: loads %s, copies %s, stores %s, local %s\n", $1, $4, $10, $11, $12, $13
      found = 1
    }
  }
  END { exit found }
' "$table.tsv" >&2 || {
  echo "hot kernels reach for less than 16 bytes of a row at a time, or into local memory" >&2
  exit 1
}
