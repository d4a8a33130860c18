#!/usr/bin/env bash
# Run a command with a RabbitMQ broker of its own.
#
#   docker/with-broker.sh COMMAND [ARG...]
#
# COMMAND finds the broker's URL in MQCTX_BROKER_URL, and that of its management
# API in MQCTX_MANAGEMENT_URL. The broker is a container
# that is removed when COMMAND ends; the exit code is COMMAND's. With
# MQCTX_BROKER_CPUS=1 it runs on that CPU only.
set -euo pipefail

HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)

if (($# == 0)); then
    echo "usage: with-broker.sh COMMAND [ARG...]" >&2
    exit 2
fi

# Sends AMQP 0-9-1's header and expects a method frame, whose first byte is 1.
# A connection alone says nothing: Docker accepts it before the broker listens.
broker_answers() {
    # shellcheck disable=SC2016 # $0 is for the inner bash
    timeout 5 bash -c '
        exec 3<>"/dev/tcp/127.0.0.1/$0"
        printf "AMQP\0\0\x09\x01" >&3
        [[ $(head -c 1 <&3 | od -An -tu1) -eq 1 ]]
    ' "$1" 2>/dev/null
}

wait_for_broker() {
    local deadline=$((SECONDS + 90))
    until broker_answers "$1"; do
        if ((SECONDS >= deadline)); then
            docker logs --tail 30 "$name" >&2
            echo "with-broker.sh: no broker answers on port $1 after 90 s" >&2
            exit 1
        fi
        sleep 0.5
    done
}

image=$("$HERE/prepare.sh")
name=mqctx-broker-$$-$RANDOM
trap 'docker rm --force --volumes "$name" >/dev/null' EXIT
docker run --detach --name "$name" --publish 127.0.0.1::5672 --publish 127.0.0.1::15672 \
    ${MQCTX_BROKER_CPUS:+--cpuset-cpus "$MQCTX_BROKER_CPUS"} "$image" >/dev/null
address=$(docker port "$name" 5672/tcp)
management=$(docker port "$name" 15672/tcp)
port=${address##*:}
wait_for_broker "$port"

MQCTX_BROKER_URL=amqp://guest:guest@127.0.0.1:$port/ \
    MQCTX_MANAGEMENT_URL=http://127.0.0.1:${management##*:} "$@"
