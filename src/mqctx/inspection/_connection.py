"""Connect to RabbitMQ, with messages whose headers stay bytes."""

import ssl
from collections.abc import Generator
from contextlib import contextmanager, suppress
from typing import Any, Final, NamedTuple

import pika
from pika import exceptions
from pika.adapters.blocking_connection import BlockingConnection

from mqctx._amqp.content_header import ContentHeader

from ._arrivals import Arrival
from ._broker import Broker
from ._errors import NOT_CONNECTED, not_connected, refused
from ._wire import RawConnection

_SECONDS_TO_CONNECT: Final = 15
# So long may the broker hold publishers back, for want of memory or disk.
_SECONDS_BLOCKED: Final = 60


# Its annotation wants an instance of what it makes instances of.
_Connection: Any = BlockingConnection


class Delivery(NamedTuple):
    """A message as it came. Bytes of names that are not UTF-8 are lone surrogates, as in paths."""

    tag: int
    exchange: str
    routing_key: str
    redelivered: bool
    header: ContentHeader
    body: bytes


@contextmanager
def connected(broker: Broker, name: str) -> Generator[BlockingConnection]:
    """Open a connection, with a `RawConnection` below, and close it afterwards.

    RabbitMQ shows it by its `name`.

    Raises:
        BrokerError: it cannot be opened, or what is done with it fails.
    """
    connection = _open(broker, name)
    try:
        yield connection
    except exceptions.AMQPError as error:
        raise refused(broker, error) from error
    finally:
        _close(connection)


def delivery_of(arrival: Arrival) -> Delivery:
    """Return a message that arrived on a channel which is streamed."""
    tag, redelivered = arrival.receipt
    header = ContentHeader(arrival.properties)
    return Delivery(tag, *arrival.came_by, redelivered, header, arrival.body)


def _open(broker: Broker, name: str) -> BlockingConnection:
    try:
        connection: BlockingConnection = _Connection(_parameters(broker, name), RawConnection)
    except NOT_CONNECTED as error:
        raise not_connected(broker, error) from error
    return connection


def _parameters(broker: Broker, name: str) -> pika.ConnectionParameters:
    return pika.ConnectionParameters(
        host=broker.host,
        port=broker.port,
        virtual_host=broker.vhost,
        credentials=pika.PlainCredentials(broker.user, broker.password),
        ssl_options=_tls(broker) if broker.tls else None,
        connection_attempts=1,  # a person waits: better to say at once what is wrong
        socket_timeout=_SECONDS_TO_CONNECT,
        stack_timeout=_SECONDS_TO_CONNECT,
        blocked_connection_timeout=_SECONDS_BLOCKED,
        client_properties={"connection_name": name},
    )


def _tls(broker: Broker) -> pika.SSLOptions:
    context = ssl.create_default_context(cafile=broker.ca)
    if broker.cert:
        context.load_cert_chain(broker.cert, broker.key)
    return pika.SSLOptions(context, broker.host)


def _close(connection: BlockingConnection) -> None:
    # One that is lost cannot be closed; the reason was raised where it was noticed.
    with suppress(exceptions.AMQPError):
        connection.close()
