#!/usr/bin/env bash
# Run nox's tests on Python 3.14 where none is installed: in a container of Debian's forky.
#
#   docker/python314.sh                       what `nox --session tests-3.14` runs
#   docker/python314.sh tests/unit            some of it
#
# The container has pip's settings of this machine, and the folders and files that these name.
set -euo pipefail

HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
BASE=mqctx-debian:forky IMAGE=mqctx-python:3.14

if ! docker image inspect "$IMAGE" >/dev/null 2>&1; then
    # The base is a by-product of the broker's image.
    docker image inspect "$BASE" >/dev/null 2>&1 || "$HERE/build.sh" forky 4.3 >/dev/null
    timeout 900 docker build --network=host --tag "$IMAGE" - >&2 <<DOCKERFILE
FROM $BASE
RUN apt-get update -o Acquire::Check-Valid-Until=false \
    && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends \
        python3.14 python3.14-venv ca-certificates \
    && rm -rf /var/lib/apt/lists/*
DOCKERFILE
fi

settings=()
while read -r path; do
    [[ ! -e $path ]] || settings+=(--volume "$path:$path:ro")
done < <(
    {
        python3 -m pip config debug | sed -n 's/^ *\(.*\), exists: True$/\1/p'
        # The pages of an index on disk lead to files beside it.
        python3 -m pip config list | grep -oE "(file://)?/[[:alnum:]._/-]+" |
            sed -E 's,^file://(.*)/[^/]*$,\1,'
    } | sort -u
)
while read -r name; do settings+=(--env "$name"); done < <(compgen -e PIP_ || true)

docker run --rm --network=host --volume "$HERE/..:/source:ro" "${settings[@]}" "$IMAGE" \
    bash -euc '
        mkdir /mqctx && cd /mqctx
        tar -C /source --exclude="./.[!g]*" --exclude=./mutants --exclude=./site -c . | tar -x
        rm -rf .git
        python3.14 -m venv /venv
        /venv/bin/pip install --quiet --constraint constraints.txt nox
        exec /venv/bin/nox --session tests-3.14 -- "$@"
    ' -- "$@"
