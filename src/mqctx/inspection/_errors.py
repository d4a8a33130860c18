"""Why the broker did not do what was asked, in one line that says what to do about it."""

import ssl
from functools import singledispatch
from typing import Final

from pika import exceptions
from pika.adapters.utils.connection_workflow import (
    AMQPConnectorException,
    AMQPConnectorStackTimeout,
)

from ._broker import Broker

NOT_CONNECTED: Final = (exceptions.AMQPError, AMQPConnectorException, OSError)
"""All that pika raises while it opens a connection."""


class BrokerError(Exception):
    """The broker cannot be reached, or refuses. The text is one line, without any password.

    `code` is the number that AMQP gives the reason, such as 404, if the broker told one.
    """

    def __init__(self, text: str, code: int | None = None) -> None:
        super().__init__(text)
        self.code = code


def not_connected(broker: Broker, error: BaseException) -> BrokerError:
    """Return what to say when no connection can be opened."""
    return _no_connection(error, broker)


@singledispatch
def _no_connection(error: BaseException, broker: Broker) -> BrokerError:
    return BrokerError(
        f"cannot reach {_at(broker)}: {_innermost(error)}. Is it running, and the URL right?"
    )


@_no_connection.register(exceptions.AuthenticationError)
@_no_connection.register(exceptions.ProbableAuthenticationError)
def _(_: object, broker: Broker) -> BrokerError:
    return BrokerError(f"{_at(broker)} refused the user {broker.user!r} or the password", 403)


@_no_connection.register(exceptions.ProbableAccessDeniedError)
def _(_: object, broker: Broker) -> BrokerError:
    return BrokerError(
        f"{_at(broker)}: there is no vhost {broker.vhost!r}, or {broker.user!r} has no right to it",
        530,
    )


@_no_connection.register(ssl.SSLError)
def _(error: ssl.SSLError, broker: Broker) -> BrokerError:
    return BrokerError(f"{_at(broker)}: TLS failed: {_one_line(error)}. {_about_tls(error)}")


@_no_connection.register(exceptions.IncompatibleProtocolError)
@_no_connection.register(AMQPConnectorStackTimeout)
def _(_: object, broker: Broker) -> BrokerError:
    return BrokerError(
        f"{_at(broker)} does not answer in AMQP. Is this the right port?{_hint(broker)}"
    )


def refused(broker: Broker, error: exceptions.AMQPError) -> BrokerError:
    """Return what to say when a connection or channel ended against our will."""
    return _ended(error, broker)


@singledispatch
def _ended(error: exceptions.AMQPError, broker: Broker) -> BrokerError:
    return BrokerError(f"{_at(broker)}: {_one_line(error) or type(error).__name__}")


@_ended.register(exceptions.ConnectionClosed)
@_ended.register(exceptions.ChannelClosed)
def _(error: exceptions.ConnectionClosed | exceptions.ChannelClosed, broker: Broker) -> BrokerError:
    code, text = error.reply_code, _one_line(error.reply_text)
    advice = _ABOUT_TIMEOUT if _TIMED_OUT in text else _ADVICE.get(code, "")
    return BrokerError(f"{_at(broker)} refused: {text}{advice}", code)


@_ended.register(exceptions.StreamLostError)
@_ended.register(exceptions.AMQPHeartbeatTimeout)
def _(_: object, broker: Broker) -> BrokerError:
    return BrokerError(
        f"the connection to {_at(broker)} was lost; nothing was settled that was held"
    )


@_ended.register(exceptions.ConnectionBlockedTimeout)
def _(_: object, broker: Broker) -> BrokerError:
    return BrokerError(f"{_at(broker)} takes no messages: it is short of memory or disk")


_ADVICE: Final = {
    320: ". It was told to close the connection",
    403: ". Ask for the right, or use another user",
    404: ". Check name and vhost",
    405: ". Another connection has it for itself",
}
_TIMED_OUT: Final = "delivery acknowledgement on channel"
_ABOUT_TIMEOUT: Final = ". All is in place: read less at once, or set a longer consumer_timeout"


def _at(broker: Broker) -> str:
    return f"RabbitMQ at {broker.address}"


def _about_tls(error: ssl.SSLError) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return (
            "Give the authority's certificate with --ca, and the host as the certificate names it"
        )
    return "Is this the TLS port, and are --ca, --cert and --key right?"


def _hint(broker: Broker) -> str:
    return "" if broker.tls else " A TLS port needs amqps://"


def _innermost(error: BaseException) -> str:
    """Return the text of what pika wraps: the connector's error, which has the socket's."""
    # pika has it in `exception`, Python's own wrappers in their first argument.
    inner: object = error
    while isinstance(inner, BaseException):
        error = inner
        inner = getattr(error, "exception", None) or next(iter(error.args), None)
    return getattr(error, "strerror", None) or _one_line(error) or type(error).__name__


def _one_line(text: object) -> str:
    return " ".join(str(text).split()).rstrip(".")
