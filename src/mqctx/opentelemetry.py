"""The context in OpenTelemetry: with all that it instruments, in its baggage, on its spans."""

from collections.abc import Generator, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any, Final, cast

from opentelemetry import baggage, trace
from opentelemetry.context import Context as OtelContext
from opentelemetry.context import attach, detach, get_current
from opentelemetry.propagators.textmap import (
    CarrierT,
    Getter,
    Setter,
    TextMapPropagator,
    default_getter,
    default_setter,
)
from opentelemetry.sdk.trace import Span, SpanProcessor

from mqctx._core.context import EMPTY, Context
from mqctx._core.name_filter import name_filter
from mqctx._core.scope import Scope
from mqctx._core.store import active_store, current, restored_here
from mqctx._core.values import JSONValue, as_plain
from mqctx._opentelemetry_runtime import get_from_context, set_in_context
from mqctx._propagation.decoder import is_mapping
from mqctx._propagation.propagator import Propagator, registry
from mqctx.errors import MqctxError
from mqctx.formats.json import JsonFormat, from_json, to_json

__all__ = [
    "ContextSpanProcessor",
    "MqctxTextMapPropagator",
    "from_baggage",
    "mirrored_to_baggage",
    "restored",
]

_INT64: Final = range(-(2**63), 2**63)


class MqctxTextMapPropagator(TextMapPropagator):
    """Carry the context with everything that OpenTelemetry instruments.

    Chosen as `mqctx` in OTEL_PROPAGATORS, beside OpenTelemetry's own. The default propagator at
    each call decides what is sent and accepted, and in which headers.
    """

    def inject(
        self,
        carrier: CarrierT,
        context: OtelContext | None = None,
        setter: Setter[CarrierT] = default_setter,
    ) -> None:
        """Write the headers of the active context; a value that cannot be sent is a rejection.

        If `context` is not the current one and brought its own, write that. `traceparent`,
        `tracestate` and `baggage` are left to OpenTelemetry if it has a span, or entries, to write
        there; a `baggage` that it has written already gets our members beside its own.
        """
        context = _given_or_current(context)
        present: Mapping[Any, Any] = cast("Any", carrier) if is_mapping(carrier) else {}
        headers = _headers(context, present)
        left = _left_to_opentelemetry(context) - ({"baggage"} & present.keys())
        for header in headers.keys() - left:
            # Do not set again what is there already: some carriers would append to it.
            if present.get(header) != headers[header]:
                setter.set(carrier, header, headers[header])

    def extract(
        self,
        carrier: CarrierT,
        context: OtelContext | None = None,
        getter: Getter[CarrierT] = default_getter,
    ) -> OtelContext:
        """Return `context` with the one that `carrier` brought, to be restored. Never raises.

        If it brought none, return `context` itself inside a run, as OpenTelemetry's own do.
        Outside, attaching the result begins an empty run, in which handlers may `bind`.
        """
        context = OtelContext() if context is None else context
        # If an adapter has restored it already, its own propagator counts.
        brought = restored_here(carrier) or registry.propagator.extract(_Carried(carrier, getter))
        if not brought and (active_store().active or _would_be_replaced(context)):
            return context
        return set_in_context(brought, context)

    @property
    def fields(self) -> set[str]:
        """The headers that `inject` writes, as the default propagator's formats name them."""
        return {header for each in registry.propagator.formats for header in each.headers}


def _given_or_current(context: OtelContext | None) -> OtelContext:
    return get_current() if context is None else context


def _would_be_replaced(context: OtelContext) -> bool:
    """Tell whether some instrumentations would take the current context instead of this one."""
    return not context and bool(get_current())


def _headers(context: OtelContext, present: Mapping[Any, Any]) -> dict[str, Any]:
    propagator = registry.propagator
    brought = get_from_context(context)
    # The active context has what was bound since; one that was brought elsewhere is as it came.
    if not brought or brought is get_from_context(get_current()):
        headers = propagator.inject(present, trim=True)
    else:
        headers = brought.run(propagator.inject, present, trim=True)
    return {name: text for name, text in headers.items() if name not in propagator.properties}


def _left_to_opentelemetry(context: OtelContext) -> set[str]:
    span = trace.get_current_span(context).get_span_context()
    left = {"traceparent", "tracestate"} if span.is_valid else set[str]()
    return left | {"baggage"} if baggage.get_all(context) else left


class _Carried(Mapping[str, Any]):
    """The headers of a carrier of any kind, as far as its getter knows them."""

    def __init__(self, carrier: Any, getter: Getter[Any]) -> None:
        self._carrier = carrier
        self._getter = getter

    def __getitem__(self, header: str) -> Any:
        found: Any = self._getter.get(self._carrier, header)
        if not found:
            raise KeyError(header)
        # Most getters give a list of the header's lines, as HTTP may have several.
        return found if isinstance(found, str | bytes | bytearray) else _one_value(list(found))

    def __iter__(self) -> Iterator[str]:
        return iter(self._getter.keys(self._carrier))

    def __len__(self) -> int:
        return len(self._getter.keys(self._carrier))

    def __bool__(self) -> bool:
        return True  # pika's and Celery's getters know values, but no keys


def _one_value(lines: list[Any]) -> Any:
    if len(lines) == 1:
        return lines[0]
    # RFC 9110 5.3: the lines of one header are one value.
    return ",".join(lines) if all(isinstance(line, str) for line in lines) else lines


def restored(context: OtelContext | None = None) -> Scope:
    """Return a `with` block inside exactly the context that an OpenTelemetry context brought.

    Use it if OTEL_PYTHON_CONTEXT is not `mqctx`, and for contexts that are not attached. The
    default is the current one; if it brought nothing, the block's context is empty.
    """
    return (get_from_context(_given_or_current(context)) or EMPTY).scope()


@contextmanager
def mirrored_to_baggage(names: Iterable[str]) -> Generator[None]:
    """Show chosen values of the active context as OpenTelemetry's baggage, in a `with` block.

    The values are those at the start of the block: a str as it is, other types as JSON. Local
    values stay out, since OpenTelemetry sends its baggage along.

    Args:
        names: Names of the values, a trailing `*` for a prefix (`"order.*"`).

    Raises:
        ConfigurationError: `names` is text.
    """
    chosen = name_filter("names", names)
    otel = get_current()
    values = current().propagated()
    for name in filter(chosen, values):
        otel = baggage.set_baggage(name, _text(as_plain(name, values[name])), otel)
    token = attach(otel)
    try:
        yield
    finally:
        detach(token)


# Reads entries by the rules for a message; OpenTelemetry has limits of its own for their size.
_from_baggage = Propagator(formats=[JsonFormat(header="baggage")], max_bytes=65_536)


def from_baggage(names: Iterable[str], context: OtelContext | None = None) -> Context:
    """Return chosen entries of OpenTelemetry's baggage as a context, such as for a scope.

    Entries are text. They get the type that a `Variable` declares, also from the JSON that
    `mirrored_to_baggage` writes. An entry that does not fit is left out, and logged.

    Args:
        names: Names of the entries, a trailing `*` for a prefix (`"order.*"`).
        context: The OpenTelemetry context, None for the current one.

    Raises:
        ConfigurationError: `names` is text.
    """
    chosen = name_filter("names", names)
    entries = {str(key): str(value) for key, value in baggage.get_all(context).items()}
    plain = {name: _meant(name, entries[name]) for name in filter(chosen, entries)}
    return _from_baggage.extract({"baggage": to_json(plain)})


class ContextSpanProcessor(SpanProcessor):
    """Put chosen values on each span that starts, from the context that is active then.

    str, bool, int, float and lists of one of them become attributes as they are. Other values
    become JSON, or text if they have no JSON. The SDK's `ConcurrentMultiSpanProcessor` calls this
    in other threads, where no context is active: use the default one.

    Args:
        names: Names of the values, a trailing `*` for a prefix (`"order.*"`). None: all but the
            local ones, which may be named.
        prefix: Goes before each name.

    Raises:
        ConfigurationError: `names` is text.
    """

    def __init__(self, names: Iterable[str] | None = None, *, prefix: str = "mqctx.") -> None:
        self._chosen = name_filter("names", names)
        self._local_too = names is not None
        self._prefix = prefix

    def on_start(self, span: Span, parent_context: OtelContext | None = None) -> None:
        """Put the values on `span`. Never raises."""
        del parent_context  # the SDK passes it by name, so the parameter must be there
        context = current()
        values = context if self._local_too else context.propagated()
        for name in filter(self._chosen, values):
            with suppress(Exception):  # the code of a local value may raise anything
                span.set_attribute(self._prefix + name, _attribute(name, values[name]))


def _text(plain: JSONValue) -> str:
    return plain if isinstance(plain, str) else to_json(plain)


def _meant(name: str, text: str) -> object:
    """Return `text`, or its value as JSON if the variable does not take this text."""
    declaration = registry.declarations.get(name)
    try:
        if declaration is not None:
            declaration.restore(text)
    except Exception:  # noqa: BLE001 - a declared type's own code may raise anything
        with suppress(ValueError):
            return from_json(text)
    return text


def _attribute(name: str, value: object) -> Any:
    try:
        plain = as_plain(name, value)
    except MqctxError:  # only a local value: it may be of any type
        return str(value)
    return plain if _is_attribute(plain) else to_json(plain)


def _is_attribute(plain: JSONValue) -> bool:
    """Tell whether OpenTelemetry takes it as it is: a scalar, or a list of one kind of them."""
    # Types, not isinstance: a list of True and 1 is no list of one kind to OpenTelemetry.
    items = plain if isinstance(plain, list) else [plain]
    kinds = set(map(type, items))
    return len(kinds) < 2 and kinds <= {str, bool, int, float} and all(map(_fits_int64, items))


def _fits_int64(item: object) -> bool:
    # OTLP has no larger ones, and leaves them out.
    return not isinstance(item, int) or item in _INT64
