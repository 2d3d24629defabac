#!/usr/bin/env bash
# consumers.sh TARGET VERSION MAVEN LOCAL OFFLINE: builds and runs user projects in Kotlin, Scala 3 and Scala 2.13,
# including the Kotlin and Scala blocks of README.md and the guides. Maven gets this build's artifacts from a
# repository. TARGET is Maven's target directory, MAVEN Maven's home, LOCAL its local repository, OFFLINE true or false.
set -euo pipefail
root=$(cd "$(dirname "$0")/../.." && pwd)
target=$1
version=$2
maven=$3
local=$4
offline=$5

# A local repository with the artifacts that `mvn install` would put there and links to LOCAL's directories for the
# rest. Downloads go to LOCAL, so they happen once; the artifacts of this build do not.
repository=$target/repository
rm -rf "$repository"
mkdir -p "$repository/org/normcore"/{normcore,normcore-platform}/"$version"
cp "$target/normcore-$version"*.jar "$repository/org/normcore/normcore/$version"
cp "$root/pom.xml" "$repository/org/normcore/normcore/$version/normcore-$version.pom"
cp "$target/platform/normcore-platform.jar" \
  "$repository/org/normcore/normcore-platform/$version/normcore-platform-$version.jar"
cp "$target/platform/pom.xml" "$repository/org/normcore/normcore-platform/$version/normcore-platform-$version.pom"
mkdir -p "$local/org"
for entry in "$local"/* "$local"/org/*; do
  name=${entry#"$local/"}
  [[ "$name" == org || "$name" == org/normcore ]] || ln -s "$entry" "$repository/$name"
done

# Copies new groups to LOCAL.
keep_new_groups() {
  local entry name
  for entry in "$repository"/* "$repository"/org/*; do
    name=${entry#"$repository/"}
    [[ -L "$entry" || "$name" == org || "$name" == org/normcore ]] || cp -Rn "$entry" "$local/$name"
  done
}
trap keep_new_groups EXIT

options=(--quiet "-Dmaven.repo.local=$repository" "-Dnormcore.version=$version")
if [[ "$offline" == true ]]; then
  options+=(--offline)
fi

# gather LANGUAGE: collects the sources of the language's project and the guides' blocks in one directory.
gather() {
  local directory=$target/consumers/sources/$1
  rm -rf "$directory"
  mkdir -p "$(dirname "$directory")"
  cp -R "$root/tests/packaging/$1/src" "$directory"
  (cd "$root" && "${JAVA_HOME:+$JAVA_HOME/bin/}java" -cp "$target/test-classes" org.normcore.docs.Snippet "$1" "$directory")
}
gather kotlin
gather scala

# consumer NAME PROJECT OPTIONS...
consumer() {
  local name=$1 project=$root/tests/packaging/$2/pom.xml sources=$target/consumers/sources/$2
  shift 2
  "$maven/bin/mvn" "${options[@]}" -f "$project" "-Dconsumer.sources=$sources" \
    "-Dconsumer.build=$target/consumers/$name" "$@" compile || {
    echo "packaging: the project $name failed" >&2
    exit 1
  }
}

consumer kotlin kotlin
consumer scala-3 scala
consumer scala-2.13 scala -Dscala.library=scala-library -Dscala.version=2.13.18
echo 'packaging: projects in Kotlin and Scala build and run with the artifacts'
