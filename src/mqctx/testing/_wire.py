"""Contexts in headers, as another service would have written them and would read them."""

from collections.abc import Mapping
from typing import Any

from mqctx._core.context import Context
from mqctx._core.rejection import Rejection
from mqctx._core.values import type_name
from mqctx._propagation.propagator import Propagator, registry
from mqctx._propagation.properties import PropertyOf, SetProperty
from mqctx.adapters._handler import attribute_of
from mqctx.errors import ConfigurationError


class _Peer(Propagator):
    """The propagator of a service that sends and accepts all names, and says nothing of it."""

    __slots__ = ()

    def report(self, rejection: Rejection) -> None:
        """Leave it to who asked: see `written`."""


def _peer(propagator: Propagator | None = None) -> _Peer:
    known = propagator or registry.propagator
    return _Peer(formats=known.formats, max_bytes=known.max_bytes)


def written(
    values: Mapping[str, object],
    headers: Mapping[str, Any] | None = None,
    properties: Any = None,
    set_property: SetProperty = setattr,
    property_of: PropertyOf = attribute_of,
) -> dict[str, Any]:
    """Return `headers` with a context of exactly `values`; set those of the AMQP `properties`.

    Without properties, all of it is in the headers.

    Raises:
        InvalidNameError: a name is not an identifier (`.` and `-` allowed), or over 64 characters.
        InvalidValueError: a value cannot travel, or does not fit its declared variable.
        OversizeError: the values take more bytes than the default propagator allows.
        ConfigurationError: a value is local, or the default propagator's formats have no place
            for it.
    """
    context, peer = Context(values), _peer()
    if properties is None:
        injected = context.run(peer.inject, headers)
    else:
        injected = context.run(peer.inject_into, headers, properties, set_property)
    # Read back: a format with a fixed set of names leaves the others out without a word.
    missing = context.keys() - peer.extract_from(injected, properties, property_of).keys()
    if missing:
        raise ConfigurationError(
            f"{', '.join(sorted(missing))}: no message brings this value: it is local, or the "
            "formats of the default propagator have no place for it"
        )
    return injected


def check_body(body: object) -> None:
    """Raise `TypeError` for a body that is not bytes, the only kind that a broker delivers."""
    if not isinstance(body, bytes):
        raise TypeError(
            f"body: expected bytes, as a broker delivers them, got {type_name(type(body))}; encode "
            "it as the publisher does, such as with json.dumps(...).encode()"
        )


def read(
    headers: Any, properties: Any, property_of: PropertyOf, propagator: Propagator | None
) -> Context:
    """Return the context that headers and AMQP properties carry, whatever is accepted here."""
    return _peer(propagator).extract_from(headers, properties, property_of)
