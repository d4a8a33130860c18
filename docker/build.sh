#!/usr/bin/env bash
# Build an image of RabbitMQ from the packages of a Debian release, and print its name.
#
#   docker/build.sh trixie 4      docker/build.sh forky 4.3      docker/build.sh bookworm 3.10
#
# For where no image registry can be reached. The base is made with debootstrap, which needs root
# on Debian or Ubuntu. An image that an earlier run built is taken as it is; with --look, none is
# built, and the exit code tells whether there is one.
set -euo pipefail

HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
RELEASE=$1 VERSION=$2 LOOK=${3:-}
BASE=mqctx-debian:$RELEASE
# The checksum makes an image of an older Dockerfile count as missing.
BUILT=mqctx-rabbitmq:$VERSION-$(sha256sum <"$HERE/rabbitmq/Dockerfile" | head -c 8)

say() { echo "build.sh: $*" >&2; }

have_image() { docker image inspect "$1" >/dev/null 2>&1; }

install_debootstrap() {
    if [[ $EUID -ne 0 ]] || ! command -v apt-get >/dev/null; then
        say "$BASE, which a local build starts from, is missing. Ways out:
  - set MQCTX_TEST_IMAGE to a RabbitMQ image that is here or can be pulled
  - run this script as root on Debian or Ubuntu: it makes $BASE with debootstrap"
        exit 1
    fi
    command -v debootstrap >/dev/null && return
    say "installing debootstrap"
    # A package list that cannot be refreshed is no reason to stop: the
    # installation tells whether the packages can be had.
    timeout 300 apt-get update -qq >&2 || true
    DEBIAN_FRONTEND=noninteractive timeout 600 \
        apt-get install -qq --no-install-recommends debootstrap debian-archive-keyring >&2
}

make_base_image() {
    install_debootstrap
    say "making $BASE with debootstrap"
    # Not in /tmp: debootstrap refuses file systems that are mounted nodev.
    tree=$(mktemp -d "${TMPDIR:-/var/tmp}/mqctx-debian.XXXXXX")
    trap 'rm -rf --one-file-system "$tree"' EXIT
    # With the script of all newer releases, also for one that is newer than debootstrap.
    timeout 900 debootstrap --variant=minbase "$RELEASE" "$tree" "" sid >&2
    tar -C "$tree" --exclude='./var/cache/apt/archives/*.deb' -c . |
        timeout 300 docker import - "$BASE" >&2
}

if ! have_image "$BUILT"; then
    [[ -z $LOOK ]] || exit 1
    have_image "$BASE" || make_base_image
    say "building $BUILT"
    timeout 900 docker build --network=host --build-arg "BASE=$BASE" --tag "$BUILT" "$HERE/rabbitmq" >&2
fi
echo "$BUILT"
