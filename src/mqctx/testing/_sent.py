"""Record what is published, without a broker."""

from collections.abc import Callable, Generator
from contextlib import contextmanager
from importlib import import_module
from typing import Any

import msgspec

from mqctx._core.context import Context
from mqctx._failures.record import Failure
from mqctx._propagation.propagator import Propagator, check_propagator
from mqctx._propagation.properties import PropertyOf
from mqctx.errors import ConfigurationError
from mqctx.formats._format import FAILURE
from mqctx.testing._wire import read

# Packages whose classes show which client an object belongs to; kombu is built on amqp.
_MODULES = {"aio_pika": "_aio_pika", "amqp": "_kombu", "kombu": "_kombu", "pika": "_pika"}


class Sent(msgspec.Struct, frozen=True, eq=False):
    """A message that was published, as a consumer would get it."""

    context: Context
    """The context that it carries, whatever the process that sent it accepts."""
    headers: dict[str, Any]
    """Its headers, after the client's own encoder and decoder."""
    body: bytes
    routing_key: str
    exchange: str
    """The name of the exchange, empty for the default one."""

    @property
    def failure(self) -> Failure | None:
        """Why a handler failed, if this is the copy that it dead-lettered."""
        return Failure.from_header(self.headers.get(FAILURE))


@contextmanager
def sent(target: Any, /, *, propagator: Propagator | None = None) -> Generator[list[Sent]]:
    """Return a `with` block in which what `target` publishes reaches no broker, but a list.

    The client's own calls are recorded, those of `publish`, and those that are instrumented.
    Messages published on anything else go their way.

    Args:
        target: An exchange or a channel of aio-pika; a producer, a bound exchange or a channel of
            kombu; a channel of pika. It need not be connected.
        propagator: Reads the contexts. None: the default one.

    Raises:
        ConfigurationError: `target` is none of these, or `propagator` is not one.
    """
    check_propagator(propagator)
    client = _client_of(target)
    if client is None or not isinstance(target, client.TARGETS):
        raise ConfigurationError(
            f"{target!r} publishes nothing; give an exchange, producer or channel of aio-pika, "
            "kombu or pika"
        )
    records: list[Sent] = []
    with client.recorded(target, note_in(records, propagator)):
        yield records


def note_in(records: list[Sent], propagator: Propagator | None = None) -> Callable[..., None]:
    """Return a function that adds what was published to the records."""

    def note(
        headers: Any, properties: Any, property_of: PropertyOf, body: bytes, key: str, exchange: str
    ) -> None:
        context = read(headers, properties, property_of, propagator)
        records.append(Sent(context, dict(headers or {}), bytes(body), key, exchange))

    return note


def _client_of(target: object) -> Any:
    # By the modules of its classes: to ask by isinstance would load all three clients.
    for kind in type(target).__mro__:
        module = _MODULES.get(kind.__module__.partition(".")[0])
        if module is not None:
            return import_module(f"mqctx.testing.{module}")
    return None
