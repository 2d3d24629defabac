#!/usr/bin/env bash
# consumers.sh ROOT TARGET VERSION MAVEN LOCAL OFFLINE: builds and runs users' projects in Kotlin, Scala 3 and Scala 2.13,
# for which Maven gets this build's artifacts from a repository, and with them the Kotlin and Scala blocks of README.md
# and the guides. ROOT is the project's directory, TARGET Maven's target directory, MAVEN Maven's home, LOCAL its local
# repository, OFFLINE offline=true or offline=false.
set -euo pipefail
root=$1
target=$2
version=$3
maven=$4
local=$5
offline=$6

# A local repository that holds what `mvn install` would put there, and has LOCAL's directories for the rest. What is
# downloaded goes through to LOCAL, so it is downloaded once; what this build has made doesn't.
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

# Groups that LOCAL didn't have.
keep_new_groups() {
  local entry name
  for entry in "$repository"/* "$repository"/org/*; do
    name=${entry#"$repository/"}
    [[ -L "$entry" || "$name" == org || "$name" == org/normcore ]] || cp -Rn "$entry" "$local/$name"
  done
}
trap keep_new_groups EXIT

options=(--quiet "-Dmaven.repo.local=$repository" "-Dnormcore.version=$version")
if [[ "$offline" == offline=true ]]; then
  options+=(--offline)
fi

# gather LANGUAGE: puts the sources of the language's project and the guides' blocks into one directory.
gather() {
  local directory=$target/consumers/sources/$1
  rm -rf "$directory"
  mkdir -p "$(dirname "$directory")"
  cp -R "$root/tests/$1/src" "$directory"
  (cd "$root" && "${JAVA_HOME:+$JAVA_HOME/bin/}java" -cp "$target/test-classes" org.normcore.docs.Snippet "$1" "$directory")
}
gather kotlin
gather scala

# consumer NAME PROJECT OPTIONS...
consumer() {
  local name=$1 project=$root/tests/$2/pom.xml sources=$target/consumers/sources/$2
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
