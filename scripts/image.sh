#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# image.sh [ARCHIVE]: builds localhost/falco-py:VERSION and prints the sizes of its layers; ARCHIVE gets the image, as
# `docker load`, `podman load` and `ctr images import` take it.
# BASE: another base image. PLATFORM: such as linux/arm64 (what runs in the build then runs on such a machine or qemu).
# IMAGE_TOOL: the command, when it is not podman, or docker where only that is there.
set -eu
cd "$(dirname "$0")/.."

say() { echo "image: $*"; }
fail() {
	echo "image: $*" >&2
	exit 2
}

# The settings of pip and the authorities of this machine, where it has its own; as secrets they stay out of the image.
secrets() {
	for file in "${PIP_CONFIG_FILE:-}" "${HOME:-/root}/.config/pip/pip.conf" /etc/pip.conf; do
		if [ -f "$file" ]; then
			echo "--secret=id=pip-conf,src=$file"
			break
		fi
	done
	for file in "${PIP_CERT:-}" "${SSL_CERT_FILE:-}"; do
		if [ -f "$file" ]; then
			echo "--secret=id=ca,src=$file"
			break
		fi
	done
}

if [ -z "${IMAGE_TOOL:-}" ]; then
	if command -v podman >/dev/null; then
		IMAGE_TOOL=podman
	elif command -v docker >/dev/null; then
		IMAGE_TOOL=docker
	else
		fail "neither podman nor docker is there: apt-get install podman"
	fi
fi
VERSION=$(sed -n 's/^__version__ = "\(.*\)"$/\1/p' agent/falco_py/__init__.py)
[ -n "$VERSION" ] || fail "agent/falco_py/__init__.py names no version"
SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct 2>/dev/null || stat -c %Y pyproject.toml)}
REVISION=$(git rev-parse HEAD 2>/dev/null || echo unknown)
IMAGE=localhost/falco-py:$VERSION

set -- "${1:-}" --file docker/Dockerfile --tag "$IMAGE" --network=host \
	--build-arg "VERSION=$VERSION" --build-arg "REVISION=$REVISION" --build-arg "SOURCE_DATE_EPOCH=$SOURCE_DATE_EPOCH"
ARCHIVE=$1
shift
[ -z "${BASE:-}" ] || set -- "$@" --build-arg "BASE=$BASE"
[ -z "${PLATFORM:-}" ] || set -- "$@" --platform "$PLATFORM"
case $IMAGE_TOOL in
*docker*)
	DOCKER_BUILDKIT=1
	export DOCKER_BUILDKIT
	;;
*) set -- "$@" --layers --ignorefile docker/Dockerfile.dockerignore ;;
esac
# shellcheck disable=SC2046,SC2086 # lists of words
$IMAGE_TOOL build "$@" $(secrets) .

say "$IMAGE: its layers, the newest first"
# The first layer of the Dockerfile is the one of apt; what is older is the base's.
# shellcheck disable=SC2086
$IMAGE_TOOL history --no-trunc --format '{{.Size}}|{{.CreatedBy}}' "$IMAGE" | awk -F '|' '
	BEGIN { of["B"] = 1e-6; of["kB"] = 1e-3; of["MB"] = 1; of["GB"] = 1e3 }
	{ unit = $1; gsub(/[0-9. ]/, "", unit); size = $1 * of[unit] }
	size > 0 { sub(/^([^#]*#)?[(]nop[)] /, "", $2); printf "%8.1f MB  %s%.80s\n", size, of_base ? "base: " : "", $2 }
	!of_base { adds += size }
	of_base { base += size }
	/apt-get -qq update/ { of_base = 1 }
	END { printf "%8.1f MB  added to %.1f MB of the base\n", adds, base }'
if [ -n "$ARCHIVE" ]; then
	rm -f "$ARCHIVE"
	case $IMAGE_TOOL in
	*docker*) $IMAGE_TOOL save --output "$ARCHIVE" "$IMAGE" ;;
	*) $IMAGE_TOOL save --quiet --format docker-archive --output "$ARCHIVE" "$IMAGE" ;;
	esac
	say "$ARCHIVE ($(du -sh --apparent-size "$ARCHIVE" | cut -f 1))"
fi
