"""AMQP properties of a message that formats use beside headers, such as its correlation_id."""

from collections.abc import Callable, Collection
from contextlib import suppress
from typing import Any, Protocol, TypeAlias

from mqctx._core.context import Context
from mqctx.formats._format import PROPERTY, Headers

PropertyOf: TypeAlias = Callable[[Any, str], object]
"""Returns the property of a message by its AMQP name (`message_id`), None if it has none."""
SetProperty: TypeAlias = Callable[[Any, str, str], object]
"""Sets a property of an outgoing message by its AMQP name, unless the caller did."""
Extract: TypeAlias = Callable[[Headers | None, Any, PropertyOf], Context]
"""Returns the context of a message (None for no message) with these headers."""


class Inject(Protocol):
    """`Propagator.inject`, for a message with these headers."""

    def __call__(
        self,
        headers: Headers | None,
        message: Any,
        set_property: SetProperty,
        /,
        *,
        trim: bool = False,
    ) -> dict[str, Any]:
        """Return the headers, and set the properties of `message`."""
        ...


class WithProperties:
    """Inject into headers and AMQP properties, and extract from both."""

    def __init__(self, keys: Collection[str], inject: Inject, extract: Extract) -> None:
        self._names = {key: key.removeprefix(PROPERTY) for key in keys}
        self._inject = inject
        self._extract = extract

    def inject(
        self,
        headers: Headers | None,
        message: Any,
        set_property: SetProperty,
        *,
        trim: bool = False,
    ) -> dict[str, Any]:
        """Inject, and move the keys that are properties from the headers to `message`."""
        injected = self._inject(headers, message, set_property, trim=trim)
        for key, name in self._names.items():
            # Moved, not copied: a header of that name would outlive it when the message is sent on.
            if key in injected:
                set_property(message, name, injected.pop(key))
        return injected

    def extract(self, headers: Headers | None, message: Any, property_of: PropertyOf) -> Context:
        """Put the properties of `message` among its headers, and extract from all of them."""
        if message is not None:
            # Headers that are no mapping, or whose own code raises, are rejected below.
            with suppress(Exception):
                headers = {**(headers or {}), **self._present(message, property_of)}
        return self._extract(headers, message, property_of)

    def _present(self, message: Any, property_of: PropertyOf) -> dict[str, object]:
        """Return those of the properties that `message` has, by their keys among headers."""
        found = {key: property_of(message, name) for key, name in self._names.items()}
        return {key: text for key, text in found.items() if text is not None}
