"""Errors when the broker cannot be reached, or refuses: one line, and no password."""

import socket
import ssl
from typing import Any

import pytest
from pika import exceptions
from pika.adapters.utils.connection_workflow import (
    AMQPConnectorSocketConnectError,
    AMQPConnectorStackTimeout,
)

from mqctx.inspection._broker import Broker
from mqctx.inspection._errors import not_connected, refused

BROKER = Broker.parse("amqp://alice:s3cret@mq.example:5673/shop")
TLS = Broker.parse("amqps://alice:s3cret@mq.example/shop")
UNTRUSTED = ssl.SSLCertVerificationError(1, "certificate verify failed")


def wrapped(error: Exception) -> exceptions.AMQPConnectionError:
    """Return a socket's error as pika raises it."""
    return exceptions.AMQPConnectionError(AMQPConnectorSocketConnectError(error))


@pytest.mark.parametrize(
    ("broker", "error", "told"),
    [
        (BROKER, exceptions.ProbableAuthenticationError("x"), "refused the user 'alice' or the"),
        (BROKER, exceptions.AuthenticationError("x"), "refused the user 'alice' or the password"),
        (BROKER, exceptions.ProbableAccessDeniedError("x"), "there is no vhost 'shop', or 'alice'"),
        (TLS, UNTRUSTED, "Give the authority's certificate with --ca"),
        (TLS, ssl.SSLError(1, "wrong version number"), "Is this the TLS port"),
        (BROKER, AMQPConnectorStackTimeout("x"), "Is this the right port? A TLS port needs amqps"),
        (TLS, exceptions.IncompatibleProtocolError("x"), "does not answer in AMQP"),
        (BROKER, wrapped(ConnectionRefusedError(111, "Connection refused")), "Connection refused"),
        (BROKER, wrapped(TimeoutError("TCP connection attempt timed out")), "timed out. Is it"),
        (BROKER, socket.gaierror(-2, "Name or service not known"), "Name or service not known. Is"),
        (BROKER, FileNotFoundError(2, "No such file or directory"), "No such file or directory"),
        (BROKER, wrapped(OSError()), "OSError. Is it running"),
    ],
)
def test_a_connection_that_cannot_be_opened_is_one_line(
    broker: Broker, error: Exception, told: str
) -> None:
    said = str(not_connected(broker, error))
    assert told in said
    assert broker.address in said
    assert "s3cret" not in said
    assert "\n" not in said


@pytest.mark.parametrize(
    ("error", "told", "code"),
    [
        (exceptions.ChannelClosedByBroker(404, "NOT_FOUND - no queue 'q'"), "no queue 'q'", 404),
        (exceptions.ChannelClosedByBroker(403, "ACCESS_REFUSED - to q"), "Ask for the right", 403),
        (exceptions.ChannelClosedByBroker(405, "RESOURCE_LOCKED - q"), "Another connection", 405),
        (exceptions.ConnectionClosedByBroker(320, "CONNECTION_FORCED"), "was told to close", 320),
        (exceptions.ConnectionClosedByBroker(541, "INTERNAL\nERROR."), "INTERNAL ERROR", 541),
        (
            exceptions.ChannelClosedByBroker(
                406, "PRECONDITION_FAILED - delivery acknowledgement on channel 1 timed out."
            ),
            "timed out. All is in place: read less at once, or set a longer consumer_timeout",
            406,
        ),
        (exceptions.StreamLostError("x"), "was lost", None),
        (exceptions.AMQPHeartbeatTimeout("x"), "was lost", None),
        (exceptions.ConnectionBlockedTimeout("x"), "short of memory or disk", None),
        (exceptions.ChannelWrongStateError("Channel is closed."), "Channel is closed", None),
        (exceptions.ChannelWrongStateError(), "ChannelWrongStateError", None),
    ],
)
def test_what_ends_a_connection_or_a_channel_is_one_line(
    error: Any, told: str, code: int | None
) -> None:
    said = refused(BROKER, error)
    assert told in str(said)
    assert "\n" not in str(said)
    assert said.code == code


@pytest.mark.parametrize(
    ("url", "host", "port", "vhost", "user", "tls"),
    [
        ("amqp://h", "h", 5672, "/", "guest", False),
        ("amqps://u%40x:p%2F@h/", "h", 5671, "/", "u@x", True),
        ("amqp://u:p@[::1]:5673/a%2Fb?heartbeat=5", "::1", 5673, "a/b", "u", False),
    ],
)
def test_a_url_is_read(url: str, host: str, port: int, vhost: str, user: str, tls: bool) -> None:
    broker = Broker.parse(url)
    assert (broker.host, broker.port, broker.vhost) == (host, port, vhost)
    assert (broker.user, broker.tls) == (user, tls)
    assert broker.address == (f"[{host}]:{port}" if ":" in host else f"{host}:{port}")


@pytest.mark.parametrize("url", ["http://u:s3cret@h", "amqp://u:s3cret@h:x/", "amqp://u:s3cret@"])
def test_what_is_no_url_of_a_broker_is_refused_and_not_repeated(url: str) -> None:
    with pytest.raises(ValueError, match="amqp") as caught:
        Broker.parse(url)
    assert "s3cret" not in str(caught.value)


def test_a_broker_that_is_shown_hides_its_password() -> None:
    assert "s3cret" not in repr(BROKER)
