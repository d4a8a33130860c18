#!/usr/bin/env bash
# Prepare a RabbitMQ image that the tests run, and print its name.
#
#   MQCTX_TEST_IMAGE="$(docker/prepare.sh)" MQCTX_TEST_IMAGE_43="$(docker/prepare.sh 4.3)" pytest
#
# Starts a Docker engine where none answers, then takes the first of
#   1. $MQCTX_TEST_IMAGE (default rabbitmq:4-management), if it is here,
#   2. the image that an earlier run built, unless MQCTX_TEST_IMAGE is set,
#   3. $MQCTX_TEST_IMAGE from its registry,
#   4. the image that build.sh makes of Debian packages only.
# For 4.3 the variable is MQCTX_TEST_IMAGE_43, the default rabbitmq:4.3-management.
# Installing and starting things is done as root on Debian or Ubuntu only.
set -euo pipefail

HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
VERSION=${1:-4}
case $VERSION in
    4) DEMANDED=${MQCTX_TEST_IMAGE:-} RELEASE=trixie ;;
    4.3) DEMANDED=${MQCTX_TEST_IMAGE_43:-} RELEASE=forky ;;
    *) echo "usage: prepare.sh [4|4.3]" >&2 && exit 2 ;;
esac
WANTED=${DEMANDED:-rabbitmq:$VERSION-management}

say() { echo "prepare.sh: $*" >&2; }

die() {
    say "$@"
    exit 1
}

may_install() { [[ $EUID -eq 0 ]] && command -v apt-get >/dev/null; }

install_packages() {
    say "installing $*"
    # A package list that cannot be refreshed is no reason to stop: the
    # installation tells whether the packages can be had.
    timeout 300 apt-get update -qq >&2 || true
    DEBIAN_FRONTEND=noninteractive timeout 600 \
        apt-get install -qq --no-install-recommends "$@" >&2
}

engine_answers() { timeout 10 docker info >/dev/null 2>&1; }

install_engine() {
    local packages=(docker.io iptables)
    # Newer releases have the docker command in a package of its own.
    if ! command -v docker >/dev/null; then
        timeout 300 apt-get update -qq >&2 || true
        apt-cache show docker-cli >/dev/null 2>&1 && packages+=(docker-cli)
    fi
    install_packages "${packages[@]}"
}

start_engine() {
    local log=${TMPDIR:-/tmp}/mqctx-dockerd.log deadline=$((SECONDS + 60))
    say "starting dockerd, its output is in $log"
    # Nothing of the caller's may stay open: whoever reads this script's output
    # to its end would wait for as long as the engine runs.
    setsid nohup dockerd </dev/null >"$log" 2>&1 &
    until engine_answers; do
        ((SECONDS < deadline)) || die "dockerd does not answer after 60 s, see $log"
        sleep 1
    done
}

prepare_engine() {
    engine_answers && return
    if [[ -n ${DOCKER_HOST:-} ]] || ! may_install; then
        die "no Docker engine answers 'docker info'${DOCKER_HOST:+ at $DOCKER_HOST}. Ways out:
  - start Docker, or let this user reach it, or correct DOCKER_HOST
  - run this script as root on Debian or Ubuntu, with DOCKER_HOST unset: it
    installs docker.io and starts dockerd
  - run the tests without Docker: set MQCTX_TEST_AMQP_URL to a broker's URL, or
    install rabbitmq-server on this machine"
    fi
    type docker dockerd iptables >/dev/null 2>&1 || install_engine
    engine_answers || start_engine
}

have_image() { docker image inspect "$1" >/dev/null 2>&1; }

pull_image() {
    say "pulling $1"
    timeout 60 docker pull "$1" >&2
}

built_image() { "$HERE/build.sh" "$RELEASE" "$VERSION" "$@"; }

prepare_image() {
    if have_image "$WANTED"; then
        echo "$WANTED"
    elif [[ -z $DEMANDED ]] && built_image --look; then
        return
    elif pull_image "$WANTED"; then
        echo "$WANTED"
    else
        say "$WANTED cannot be pulled, taking one that is built from Debian's packages"
        built_image
    fi
}

prepare_engine
prepare_image
