#!/bin/sh
# Runs the AVX-512 kernels on an x86 machine without AVX-512 and checks the golden hashes.
#
#   tests/native/avx512.sh BUILD_DIRECTORY
#
# Builds the library and boots Debian's kernel with it under Bochs, which emulates a processor with AVX-512. Runs
# golden_test there, about 500 cases at the levels avx2 and avx512, and compares what it prints with
# tests/golden/hashes.txt. Not part of the build: it takes ten minutes or more, most of it in Bochs. Debian packages:
# bochs, isolinux, syslinux-common, xorriso, cpio, libgtest-dev, cmake, ninja-build. The kernel and a static busybox are
# downloaded and unpacked in the build directory, not installed.
#
# Bochs 2.7 rounds ties away from zero in VCVTPS2PH, where processors round them to even. Cases with a float16 tensor
# may therefore differ from the file. For them the script checks only that the two levels agree; AVX2 is tested on real
# processors.
set -eu

[ $# -eq 1 ] || {
  echo "usage: avx512.sh BUILD_DIRECTORY" >&2
  exit 2
}
here=$(cd "$(dirname "$0")" && pwd)
native=$(cd "$here/../../native" && pwd)
mkdir -p "$1"
build=$(cd "$1" && pwd)

echo "the library and golden_test"
(cd "$native" && cmake --preset avx512 -B "$build/host") >"$build/host.log"
cmake --build "$build/host" --target golden_test
cp "$build/host/tests/golden_test" "$build"

echo "the system that Bochs boots"
system="$build/system"
rm -rf "$system"
mkdir -p "$system/packages" "$system/unpacked" "$system/root/proc" "$system/root/lib64" "$system/disc"
kernel=$(apt-cache depends linux-image-cloud-amd64 | sed -n 's/^ *Depends: //p')
(cd "$system/packages" && apt-get -q download busybox-static "$kernel")
for package in "$system"/packages/*.deb; do dpkg -x "$package" "$system/unpacked"; done
cp "$system/unpacked/bin/busybox" "$build/golden_test" "$system/root"
for library in $(LD_LIBRARY_PATH="$build/host/lib" ldd "$build/golden_test" | grep -o '/[^ ]*\.so[^ ]*'); do
  case $library in
    */ld-linux-*) cp -L "$library" "$system/root/lib64" ;;
    *) cp -L "$library" "$system/root" ;;
  esac
done
cat >"$system/root/init" <<'INIT'
#!/busybox sh
/busybox mount -t proc proc /proc
/busybox grep -m 1 flags /proc/cpuinfo
LD_LIBRARY_PATH=/ /golden_test --print avx2 avx512
echo "golden_test exits with $?"
/busybox poweroff -f
INIT
chmod 755 "$system/root/init"
(cd "$system/root" && find . | cpio -o -H newc --quiet | gzip -1 >"$system/disc/initrd")
cp "$system"/unpacked/boot/vmlinuz-* "$system/disc/vmlinuz"
cp /usr/lib/ISOLINUX/isolinux.bin /usr/lib/syslinux/modules/bios/ldlinux.c32 "$system/disc"
# Bochs 2.7 reports a compacted XSAVE size that Linux rejects, and then Linux enables no AVX. Clearing the CPU features
# 321 and 323, XSAVEC and XSAVES, selects the standard form.
cat >"$system/disc/isolinux.cfg" <<'CONFIG'
default linux
label linux
  kernel vmlinuz
  append initrd=initrd console=ttyS0,115200 quiet mitigations=off nokaslr panic=-1 noxsaves clearcpuid=321,323
CONFIG
xorriso -as mkisofs -quiet -o "$system/system.iso" -b isolinux.bin -c boot.cat -no-emul-boot -boot-load-size 4 \
  -boot-info-table "$system/disc"
cat >"$system/bochsrc" <<CONFIG
cpu: model=corei7_skylake_x, count=1, ips=100000000
memory: guest=512, host=512
romimage: file=/usr/share/bochs/BIOS-bochs-latest
vgaromimage: file=/usr/share/bochs/VGABIOS-lgpl-latest
ata0: enabled=1
ata0-master: type=cdrom, path=$system/system.iso, status=inserted
boot: cdrom
com1: enabled=1, mode=file, dev=$system/serial
clock: sync=none
display_library: rfb, options="timeout=0"
log: $system/log
panic: action=fatal
error: action=ignore
info: action=ignore
CONFIG
echo c >"$system/debugger"

echo "golden hashes under Bochs"
# No display is needed. Bochs fails when the system powers off, so the serial port carries the exit status.
timeout 3600 bochs -q -f "$system/bochsrc" -rc "$system/debugger" >"$system/messages" 2>&1 </dev/null || true
tr -d '\r' <"$system/serial" >"$build/serial.txt"
grep -o '^flags\|avx[^ ]*' "$build/serial.txt" | sort -u | tr '\n' ' '
echo
if ! grep -q '^golden_test exits with 0' "$build/serial.txt"; then
  tail -5 "$build/serial.txt"
  exit 1
fi
grep -E '^[0-9a-f]{64} ' "$build/serial.txt" | sort >"$build/golden.bochs.txt"
grep -v '^#' "$here/../golden/hashes.txt" | sort >"$build/golden.file.txt"
for side in file bochs; do
  grep -v '[ :=]float16' "$build/golden.$side.txt" >"$build/exact.$side.txt"
done
if ! cmp "$build/exact.file.txt" "$build/exact.bochs.txt"; then
  diff "$build/exact.file.txt" "$build/exact.bochs.txt" | head -20
  exit 1
fi
# Both lists have the same cases.
cut -c 66- "$build/golden.file.txt" | sort >"$build/cases.file.txt"
cut -c 66- "$build/golden.bochs.txt" | sort | cmp - "$build/cases.file.txt"
echo "$(wc -l <"$build/golden.file.txt") cases on which AVX2 and AVX-512 agree under Bochs"
echo "$(wc -l <"$build/exact.file.txt") without float16, all of whose hashes are those of the file"
same=$(grep -c -x -F -f "$build/golden.file.txt" "$build/golden.bochs.txt")
echo "$same of all cases, float16 included, whose hashes are those of the file"
