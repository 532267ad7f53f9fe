#!/usr/bin/env bash
# Builds the images. ENGINE: docker, podman or buildah (the first found). REGISTRY, TAG: their names.
# BASE_IMAGE: any Debian or Ubuntu with Python 3.11; RELEASE=1 demands it by digest. ENGINE_OPTIONS: more options of the engine's build.
set -eu
cd "$(dirname "${BASH_SOURCE[0]}")/.."
REGISTRY=${REGISTRY:-ghcr.io/pagoda}
TAG=${TAG:-$(sed -n 's/^version = "\(.*\)"/\1/p' pyproject.toml)}
if [ "${RELEASE:-}" = 1 ] && ! [[ ${BASE_IMAGE:-} =~ @sha256:[0-9a-f]{64}$ ]]; then
  echo "images: RELEASE=1 needs BASE_IMAGE by digest (NAME@sha256:…), not '${BASE_IMAGE:-}': a tag can be moved" >&2
  exit 1
fi
ENGINE=${ENGINE:-$(command -v docker podman buildah | head -n 1 || true)}
case $(basename "${ENGINE:-none}") in
  docker) build=(build) ;;
  # The format that knows health checks.
  podman | buildah) build=(build --format docker) ;;
  *) echo "images: install docker, podman or buildah" >&2; exit 1 ;;
esac
for image in tower tower-kserve recall recall-compact components; do
  name=$REGISTRY/$image:$TAG
  echo "images: $name"
  # shellcheck disable=SC2086 # several options
  "$ENGINE" "${build[@]}" ${BASE_IMAGE:+--build-arg BASE_IMAGE="$BASE_IMAGE"} ${ENGINE_OPTIONS:-} \
    --build-arg IMAGE="$image" --target "$image" --tag "$name" .
done
