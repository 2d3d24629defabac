#!/usr/bin/env bash
# check.sh TARGET CLASSPATH: checks that the packaged jars work outside of the build tree, and on a machine without
# this one's C++ library and without a GPU. TARGET is Maven's target directory, CLASSPATH the run-time class path, where
# the jars in TARGET replace TARGET/classes.
set -euo pipefail
unset NORMCORE_CUDA_LIBRARY
target=$1
dependencies=${2#"$target/classes:"}
cuda=false
if [[ -n "$(find "$target/native-gpu" -name libnormcore_cuda.so 2> /dev/null)" ]]; then
  cuda=true
fi
here=$(cd "$(dirname "$0")" && pwd)
java_bin=${JAVA_HOME:+$JAVA_HOME/bin/}

away=$(mktemp -d)
trap 'rm -rf "$away"' EXIT
mkdir "$away/jars" "$away/natives"
cp "$target"/normcore-*.jar "$away/jars"
cp "$target/platform/normcore-platform.jar" "$away"
cp "$here/Smoke.java" "$away"

fail() {
  echo "packaging: $1" >&2
  exit 1
}

(cd "$away/natives" && for jar in ../jars/normcore-[0-9]*-linux-*.jar; do "${java_bin}jar" xf "$jar"; done)
found=$(cd "$away/natives" && find . -name '*.so' -printf '%P\n' | sort)
expected=$(
  for name in jninormcore normcore; do
    echo "org/normcore/internal/capi/linux-x86_64/lib$name.so"
  done
  if [[ "$cuda" == true ]]; then
    echo org/normcore/internal/capi/linux-x86_64-gpu/libnormcore_cuda.so
  fi
)
[[ "$(sort <<< "$expected")" == "$found" ]] || fail "expected in the native jars: $expected; found: $found"
gpu_jar=$(echo "$away"/jars/normcore-[0-9]*-gpu.jar)
if [[ "$cuda" == true ]]; then
  more=$("${java_bin}jar" tf "$gpu_jar" | grep -Ev '/$|^META-INF/|/libnormcore_cuda\.so$' || true)
  [[ -z "$more" ]] || fail "the -gpu jar holds more than the plugin: $more"
fi
inside=false
if "${java_bin}jar" tf "$away/jars/normcore-cli.jar" | grep -q '/libnormcore_cuda\.so$'; then
  inside=true
fi
[[ "$inside" == "$cuda" ]] || fail "the CUDA plugin is in normcore-cli.jar: $inside, expected $cuda"

mapfile -t libraries < <(find "$away/natives" -name '*.so')
for library in "${libraries[@]}"; do
  name=$(basename "$library")
  # The libraries may depend on glibc only.
  foreign=$(readelf -dW "$library" | sed -n 's/.*(NEEDED).*\[\(.*\)\]/\1/p' |
    grep -Ev '^(libc\.so\.6|libm\.so\.6|libpthread\.so\.0|libdl\.so\.2|librt\.so\.1|ld-linux-.*|libnormcore\.so)$' || true)
  [[ -z "$foreign" ]] || fail "$name needs $foreign"
  path=$(readelf -dW "$library" | sed -n 's/.*(R.*PATH).*\[\(.*\)\]/\1/p')
  [[ -z "$path" || "$path" == '$ORIGIN/' ]] || fail "$name has the run path $path"
  ! grep -qF "$target" "$library" || fail "$name names the build directory"
  # The symbols of the statically linked C++ runtime must not be visible to other libraries in the process.
  interface='^(nc_|Java_|JNI_|JavaCPP_)'
  if [[ "$name" == libnormcore_cuda.so ]]; then
    interface='^nc_cuda_plugin$'
    [[ "$(readelf -dW "$library")" == *'soname: [libnormcore_cuda.so]'* ]] || fail "$name has another SONAME"
  fi
  exported=$(nm -D --defined-only "$library" | awk '{ print $3 }' | grep -Ev "$interface" | head -n 5 || true)
  [[ -z "$exported" ]] || fail "$name exports more than its interface: $exported"
done

cd "$away"
# smoke NAME JARS EXPECTED: runs a user's program with a separate cache.
smoke() {
  "${java_bin}java" "-Dorg.bytedeco.javacpp.cachedir=$away/cache-$1" -cp "$2" Smoke.java "$away/cache-$1" "$3" ||
    fail "a program that uses the jars failed ($1)"
}
jars=$dependencies
for jar in jars/normcore-[0-9]*.jar; do
  [[ "$jar" == *-sources.jar || "$jar" == *-javadoc.jar || "$jar" == *-gpu.jar ]] || jars=$jar:$jars
done
smoke cpu "$jars" no-plugin
if [[ "$cuda" == true ]]; then
  smoke gpu "$gpu_jar:$jars" plugin
fi

# A user's module, which requires only the platform module.
mkdir modules
cat > modules/module-info.java << 'EOF'
module smoke {
  requires org.normcore.platform;
}
EOF
{ echo 'package smoke;' && sed 's/^final class Smoke/public &/' Smoke.java; } > modules/Smoke.java
modules=$jars:normcore-platform.jar
"${java_bin}javac" -p "$modules" -d modules/classes modules/*.java || fail 'a module that uses the jars failed to compile'
# in_module NAME PATH EXPECTED
in_module() {
  "${java_bin}java" "-Dorg.bytedeco.javacpp.cachedir=$away/cache-$1" -p "$2:modules/classes" -m smoke/smoke.Smoke \
    "$away/cache-$1" "$3" || fail "a module that uses the jars failed ($1)"
}
in_module module "$modules" no-plugin
if [[ "$cuda" == true ]]; then
  in_module module-gpu "$modules:$gpu_jar" plugin
fi

# All classes in one jar, as shading produces it.
mkdir fat
IFS=: read -r -a entries <<< "$jars"
for entry in "${entries[@]}"; do
  entry=$(realpath "$entry")
  (cd fat && "${java_bin}jar" xf "$entry")
done
"${java_bin}jar" cf fat.jar -C fat .
smoke fat fat.jar no-plugin

# Only the cache may be written, neither the working nor the home directory: both are in /proc, which is read-only.
(cd /proc && "${java_bin}java" "-Dorg.bytedeco.javacpp.cachedir=$away/cache-alone" -Duser.home=/proc/none \
  -Djava.io.tmpdir=/proc/none -cp "$away/fat.jar:$away/modules/classes" smoke.Smoke "$away/cache-alone" no-plugin) ||
  fail 'a program failed where only the cache is writable'
# Without a writable cache the error message names the system property to set.
sentence=$(cd /proc && "${java_bin}java" -Duser.home=/proc/none -Djava.io.tmpdir=/proc/none \
  -cp "$away/fat.jar:$away/modules/classes" smoke.Smoke none no-plugin 2>&1 || true)
[[ "$sentence" == *'Set the "org.bytedeco.javacpp.cachedir" system property'* ]] ||
  fail "without a writable cache: $sentence"

"${java_bin}java" "-Dorg.bytedeco.javacpp.cachedir=$away/cli-cache" -jar jars/normcore-cli.jar info > info.txt ||
  fail 'normcore-cli.jar info failed'
[[ -s info.txt ]] || fail 'normcore-cli.jar info printed nothing'
echo 'packaging: the jars work away from the build tree'
