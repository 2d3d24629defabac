#!/usr/bin/env bash
# check.sh TARGET CLASSPATH: do the packaged jars work away from the build tree, and on a machine that lacks this one's
# C++ library? TARGET is Maven's target directory, CLASSPATH the run-time class path, of which the jars in TARGET
# replace TARGET/classes.
set -euo pipefail
target=$1
dependencies=${2#"$target/classes:"}
here=$(cd "$(dirname "$0")" && pwd)
java_bin=${JAVA_HOME:+$JAVA_HOME/bin/}

away=$(mktemp -d)
trap 'rm -rf "$away"' EXIT
mkdir "$away/jars" "$away/natives"
cp "$target"/normcore-*.jar "$away/jars"
cp "$here/Smoke.java" "$away"

fail() {
  echo "packaging: $1" >&2
  exit 1
}

(cd "$away/natives" && for jar in ../jars/normcore-[0-9]*-linux-*.jar; do "${java_bin}jar" xf "$jar"; done)
mapfile -t libraries < <(find "$away/natives" -name '*.so' | sort)
((${#libraries[@]} == 2)) || fail "expected two libraries in the native jar, found: ${libraries[*]}"
for library in "${libraries[@]}"; do
  name=$(basename "$library")
  # glibc is the only thing asked of the user's machine.
  foreign=$(readelf -dW "$library" | sed -n 's/.*(NEEDED).*\[\(.*\)\]/\1/p' |
    grep -Ev '^(libc\.so\.6|libm\.so\.6|libpthread\.so\.0|libdl\.so\.2|ld-linux-.*|libnormcore\.so)$' || true)
  [[ -z "$foreign" ]] || fail "$name needs $foreign"
  path=$(readelf -dW "$library" | sed -n 's/.*(R.*PATH).*\[\(.*\)\]/\1/p')
  [[ -z "$path" || "$path" == '$ORIGIN/' ]] || fail "$name has the run path $path"
  ! grep -qF "$target" "$library" || fail "$name names the build directory"
  # A C++ library that is linked in must not be found by others in the same process.
  exported=$(nm -D --defined-only "$library" | awk '{ print $3 }' | grep -Ev '^(nc_|Java_|JNI_|JavaCPP_)' | head -n 5 || true)
  [[ -z "$exported" ]] || fail "$name exports more than its interface: $exported"
done

cd "$away"
jars=$dependencies
for jar in jars/normcore-[0-9]*.jar; do
  [[ "$jar" == *-sources.jar || "$jar" == *-javadoc.jar ]] || jars=$jar:$jars
done
"${java_bin}java" "-Dorg.bytedeco.javacpp.cachedir=$away/cache" -cp "$jars" Smoke.java \
  "$away/cache" || fail 'a program that uses the jars failed'
"${java_bin}java" "-Dorg.bytedeco.javacpp.cachedir=$away/cli-cache" -jar jars/normcore-cli.jar info > info.txt ||
  fail 'normcore-cli.jar info failed'
[[ -s info.txt ]] || fail 'normcore-cli.jar info printed nothing'
echo 'packaging: the jars work away from the build tree'
