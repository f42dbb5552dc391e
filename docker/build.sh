#!/bin/sh
# Builds one of the two images, refuses it when it has outgrown its budget, and lists its parts: build/*.cdx.json.
#
#   docker/build.sh train|serve    settings from the environment: BASE TAG PLATFORM SOURCE VERSION CA_BUNDLE DOCKER,
#                                  and NO_CACHE=1 to build every layer anew
#
# Quiet while all goes well; the whole log of a build that fails.
set -eu

image=$1
case $image in
  train) budget_mb=7000 ;;
  serve) budget_mb=450 ;;
  *) echo "usage: docker/build.sh train|serve" >&2; exit 2 ;;
esac
budget_mb=${BUDGET_MB:-$budget_mb}
docker=${DOCKER:-docker}
name=dog-breeds-$image:${TAG:-latest}
candidate=dog-breeds-$image:candidate-$$
cd "$(dirname "$0")/.."

"$docker" info >/dev/null 2>&1 || {
  echo "build.sh: no Docker engine answers: start it (systemctl start docker), or work without one: BACKEND=process" >&2
  exit 1
}

revision=$(git describe --always --dirty --abbrev=40 --exclude '*' 2>/dev/null || echo unknown)

# One plain docker v2 schema 2 manifest: SageMaker and Lambda refuse the index that attestations make.
set -- --network host --file "docker/$image.Dockerfile" --tag "$candidate" \
  --build-arg "BASE=${BASE:-debian:bookworm-slim}" \
  --build-arg "REVISION=$revision" \
  --label "org.opencontainers.image.title=dog-breeds-$image" \
  --label "org.opencontainers.image.source=${SOURCE:-unknown}" \
  --label "org.opencontainers.image.revision=$revision" \
  --label "org.opencontainers.image.version=${VERSION:-unknown}" \
  --label "org.opencontainers.image.created=$(git log -1 --format=%cI 2>/dev/null || date -Is)"
[ -z "${PLATFORM:-}" ] || set -- "$@" --platform "$PLATFORM"
[ -z "${NO_CACHE:-}" ] || set -- "$@" --no-cache
[ ! -r "${CA_BUNDLE:-}" ] || set -- "$@" --secret "id=ca_bundle,src=$CA_BUNDLE"
if "$docker" buildx version >/dev/null 2>&1; then
  set -- buildx build --load --provenance=false "$@"
else
  set -- build "$@"
fi

log=$(mktemp)
build=
trap 'rm -f "$log"; "$docker" rmi "$candidate" >/dev/null 2>&1 || :' EXIT # the candidate's tag, not the image, once it has its name
trap '[ -z "$build" ] || kill "$build" 2>/dev/null || :; exit 130' INT TERM
started=$(date +%s)
echo "build.sh: building $name" >&2
DOCKER_BUILDKIT=1 BUILDKIT_PROGRESS=plain "$docker" "$@" . >"$log" 2>&1 &
build=$!
while [ -t 2 ] && kill -0 "$build" 2>/dev/null; do # a person watches: say every 10 s where it stands
  for _ in 1 2 3 4 5 6 7 8 9 10; do
    sleep 1
    kill -0 "$build" 2>/dev/null || break
  done
  step=$(grep -o '^#[0-9]* \[[^]]*\]' "$log" | tail -n 1 | cut -d ' ' -f 2-)
  printf 'build.sh: %s, %s s: %s\n' "$name" "$(($(date +%s) - started))" "$step" >&2
done
wait "$build" || { cat "$log" >&2; exit 1; }

size_mb=$(($("$docker" image inspect --format '{{.Size}}' "$candidate") / 1000000))
if [ "$size_mb" -gt "$budget_mb" ]; then
  echo "build.sh: $name is $size_mb MB, its budget $budget_mb MB: see what grew with docker history $name" >&2
  exit 1
fi
"$docker" tag "$candidate" "$name"
mkdir -p build
DOCKER=$docker python3 docker/sbom.py "$name" >"build/dog-breeds-$image.cdx.json.partial"
mv "build/dog-breeds-$image.cdx.json.partial" "build/dog-breeds-$image.cdx.json"
echo "build.sh: $name, $size_mb of $budget_mb MB, in $(($(date +%s) - started)) s" >&2
