"""Why the broker did not do what was asked, in one line that says what to do about it."""

import ssl
from typing import Final

from pika import exceptions
from pika.adapters.utils.connection_workflow import (
    AMQPConnectorException,
    AMQPConnectorStackTimeout,
)

from ._broker import Broker

NOT_CONNECTED: Final = (exceptions.AMQPError, AMQPConnectorException, OSError)
"""All that pika raises while it opens a connection."""

_LOST: Final = (exceptions.StreamLostError, exceptions.AMQPHeartbeatTimeout)


class BrokerError(Exception):
    """The broker cannot be reached, or refuses. The text is one line, without any password.

    `code` is the number that AMQP gives the reason, such as 404, if the broker told one.
    """

    def __init__(self, text: str, code: int | None = None) -> None:
        super().__init__(text)
        self.code = code


def not_connected(broker: Broker, error: BaseException) -> BrokerError:
    """Return what to say when no connection can be opened."""
    where = f"RabbitMQ at {broker.address}"
    if isinstance(error, exceptions.ProbableAuthenticationError | exceptions.AuthenticationError):
        return BrokerError(f"{where} refused the user {broker.user!r} or the password", 403)
    if isinstance(error, exceptions.ProbableAccessDeniedError):
        return BrokerError(
            f"{where}: there is no vhost {broker.vhost!r}, or {broker.user!r} has no right to it",
            530,
        )
    if isinstance(error, ssl.SSLError):
        return BrokerError(f"{where}: TLS failed: {_one_line(error)}. {_about_tls(error)}")
    if isinstance(error, AMQPConnectorStackTimeout | exceptions.IncompatibleProtocolError):
        return BrokerError(
            f"{where} does not answer in AMQP. Is this the right port?{_hint(broker)}"
        )
    return BrokerError(
        f"cannot reach {where}: {_innermost(error)}. Is it running, and the URL right?"
    )


def refused(broker: Broker, error: exceptions.AMQPError) -> BrokerError:
    """Return what to say when a connection or channel ended against our will."""
    where = f"RabbitMQ at {broker.address}"
    if isinstance(error, exceptions.ConnectionClosed | exceptions.ChannelClosed):
        code, text = error.reply_code, _one_line(error.reply_text)
        advice = _ABOUT_TIMEOUT if _TIMED_OUT in text else _ADVICE.get(code, "")
        return BrokerError(f"{where} refused: {text}{advice}", code)
    if isinstance(error, _LOST):
        return BrokerError(f"the connection to {where} was lost; nothing was settled that was held")
    if isinstance(error, exceptions.ConnectionBlockedTimeout):
        return BrokerError(f"{where} takes no messages: it is short of memory or disk")
    return BrokerError(f"{where}: {_one_line(error) or type(error).__name__}")


_ADVICE: Final = {
    320: ". It was told to close the connection",
    403: ". Ask for the right, or use another user",
    404: ". Check name and vhost",
    405: ". Another connection has it for itself",
}
_TIMED_OUT: Final = "delivery acknowledgement on channel"
_ABOUT_TIMEOUT: Final = ". All is in place: read less at once, or set a longer consumer_timeout"


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
