"""Context to headers, headers to context: what leaves, what is accepted, within which limits."""

import threading
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final, Literal, TypedDict, Unpack

from mqctx._core.context import Context, active_store
from mqctx._core.linked_vars import linked
from mqctx._core.name_filter import name_filter
from mqctx._core.rejection import Reason, Rejection, Report, log_rejection, tell
from mqctx._core.values import JSONValue, all_undeclared, as_plain, escape, type_name
from mqctx._propagation.decoder import Accepted, HeaderDecoder, is_mapping
from mqctx._propagation.encoder import Encoded, HeaderEncoder
from mqctx._propagation.properties import Extract, Inject, SetProperty, WithProperties
from mqctx.errors import ConfigurationError, HeadersError, InvalidValueError, MqctxError
from mqctx.formats._format import Format, header_label
from mqctx.formats.json import JsonFormat

# RabbitMQ closes the connection over a header frame of 131,072 bytes (its default frame_max), which
# also holds how AMQP frames our text, and the other properties.
_MOST_BYTES = 130_000
DEFAULT_MAX_BYTES: Final = 3584
"""Half a KiB less than the smallest frame, 4,096 bytes: for other headers and properties."""
_counting = threading.Lock()


class Propagator:
    """Decide what leaves, what is accepted, in which formats and within which limits.

    Args:
        formats: All are written and all are read; where two have a name, the first one counts.
            A format that verifies what it reads (`SignedFormat`) writes no value that was read
            unsigned: see `Context.origin`.
        send: Names that may leave, a trailing `*` for a prefix (`"order.*"`). None: all. Where
            a format writes a fixed set of names, its header stands for them: `"traceparent"`.
        accept: Names that are restored, in the same way. None: all. A mapping has a list for each
            of some formats, `{json_format: ["request_id"]}`; of the others all names are restored.
        max_bytes: The most that names and values of all our headers together may take, in
            bytes, on the way out and on the way in. A format may have limits of its own.
        on_oversize: What `inject` does with more: `"raise"` an `OversizeError`, or `"drop"`
            values, the largest first, each a rejection, until the rest fits.
        on_rejected: Called with each `Rejection`, in the thread of the message. By default
            one WARNING per kind and minute goes to the logger `mqctx`.

    Raises:
        ConfigurationError: a setting cannot work.
    """

    __slots__ = (
        *("formats", "send", "accept", "max_bytes", "on_oversize", "on_rejected", "rejections"),
        *("properties", "inject_into", "extract_from"),
        *("_decoder", "_tell", "_encoder", "_joins", "_verifies", "_may_leave"),
    )

    def __init__(
        self,
        *,
        formats: Sequence[Format] = (JsonFormat(),),
        send: Iterable[str] | None = None,
        accept: Accepted = None,
        max_bytes: int = DEFAULT_MAX_BYTES,
        on_oversize: Literal["raise", "drop"] = "raise",
        on_rejected: Callable[[Rejection], object] = log_rejection,
    ) -> None:
        formats = tuple(formats)
        _check_formats(formats)
        _check_limit(max_bytes, on_oversize)
        self.formats: Final = formats
        self.send: Final = send
        self.accept: Final = accept
        self.max_bytes: Final = max_bytes
        self.on_oversize: Final = on_oversize
        self.on_rejected: Final = on_rejected
        self.rejections: Final = Counter[Reason]()
        """How many rejections there were, by reason."""
        self.properties: Final = frozenset(key for each in formats for key in each.properties)
        """AMQP properties that the formats use besides headers, as `property:correlation_id`."""
        self.inject_into: Inject
        """For adapters: `inject`, and set those properties of the message."""
        self.extract_from: Extract
        """For adapters: `extract`, with those properties of the message."""
        self._tell: Report = self._report  # bound once, not for each message
        self._encoder = HeaderEncoder(formats, max_bytes, self._tell)
        self._verifies = any(each.verifies for each in formats)
        self._joins = [(h, each.join) for each in formats if each.join for h in each.headers]
        groups = {h: each.owned_names for each in formats for h in each.headers if each.owned_names}
        self._may_leave = name_filter("send", send, groups)
        self._decoder = HeaderDecoder(formats, accept, groups, max_bytes, self._tell)
        self.inject_into, self.extract_from = self._least()

    def __setattr__(self, name: str, value: object) -> None:
        if hasattr(self, name):
            raise AttributeError(f"{name}: a propagator does not change; make another one")
        super().__setattr__(name, value)

    def __repr__(self) -> str:
        settings = (f"{name}={getattr(self, name)!r}" for name in Settings.__annotations__)
        return f"Propagator({', '.join(settings)})"

    def _least(self) -> tuple[Inject, Extract]:
        """Return how to inject and extract without a step that these formats do not need."""
        extract = self._decoder.extract
        if self.properties:
            both = WithProperties(self.properties, self._inject, extract)
            return both.inject, both.extract
        return self._inject, self._decoder.shortcut() or extract

    def inject(
        self, headers: Mapping[str, Any] | None = None, *, trim: bool = False
    ) -> dict[str, Any]:
        """Return a new dict: `headers`, and the active context in place of any that they carry.

        Outside every run and scope, a context that they carry stays. Members of other vendors in
        a `baggage` header stay beside ours, unless the message that is being handled brought them.
        A key that is in `properties` is no header: `inject_into` sets the AMQP property that it
        names instead.

        Args:
            headers: What the message has already.
            trim: Drop and report what cannot be sent, whatever `on_oversize` says, for where a
                framework publishes by itself and nobody could catch an error.

        Raises:
            OversizeError: what was set in this process takes more than `max_bytes`, or than a
                format has room for, and `on_oversize="raise"`.
            InvalidValueError: a linked ContextVar holds a value that cannot travel.
            HeadersError: `headers` are not a mapping.
        """
        return self._inject(headers, trim=trim)

    def extract(self, headers: Mapping[str, Any] | None) -> Context:
        """Return the context that `headers` carry, the empty one if they carry none.

        Never raises: what cannot be restored is a `Rejection`, and the rest is restored.
        """
        return self.extract_from(headers, None, getattr)

    def _inject(
        self,
        headers: Mapping[str, Any] | None,
        _message: object = None,
        _set_property: SetProperty = setattr,
        *,
        trim: bool = False,
    ) -> dict[str, Any]:
        store = active_store()
        if headers:
            if not isinstance(headers, dict) and not is_mapping(headers):
                raise HeadersError(f"headers: expected a mapping, got {type_name(type(headers))}")
            injected = dict(headers)
            for format in self.formats:
                format.strip(injected)
            if not store.active and len(injected) < len(headers):
                return dict(headers)  # a script that sends a message on must not erase whose it is
        context = store.context
        if linked:
            context = context.captured()
        known = context.encoded
        encoded = known[1] if known and known[0] is self else self._encode(context, trim)
        if not headers:
            return encoded.copy()
        injected.update(encoded.copy())
        return self._join(injected, headers, store.headers) if self._joins else injected

    def _encode(self, context: Context, trim: bool) -> Encoded:
        """Return the headers of `context`; remember them if nothing but a setting trimmed them."""
        unsigned, brought = context.unsigned, frozenset([*context.unsigned, *context.signed])
        encoder = self._encoder
        if unsigned and self._verifies:
            encoder = HeaderEncoder(self.formats, self.max_bytes, self._tell, unsigned)
        try:
            values = self._plain(context)
            encoded = encoder.encode(values, brought, trim=self.on_oversize == "drop")
        except MqctxError:
            if not trim:
                raise
            return encoder.encode(self._plain(context, trim=True), brought, trim=True)
        context.encoded = (self, encoded)
        return encoded

    def _join(
        self, injected: dict[str, Any], given: Mapping[str, Any], handled: object
    ) -> dict[str, Any]:
        """Keep what others wrote into a header of ours, unless the message handled brought it."""
        old: Mapping[Any, Any] = handled if isinstance(handled, Mapping) else {}
        for header, join in self._joins:
            theirs = given.get(header)
            if theirs is not None and old.get(header) != theirs:
                joined = join(injected.get(header, ""), theirs, self._tell)
                injected |= {header: joined} if joined else {}
        return injected

    def _plain(self, context: Context, *, trim: bool = False) -> Mapping[str, JSONValue]:
        """Return what may leave, as JSON has it; with `trim` leave out and report what it lacks."""
        values = context.propagated()
        # What nobody declared is plain since it was set; a linked ContextVar may hold anything.
        if self.send is None and not linked and all_undeclared(values):
            return values
        plain: dict[str, JSONValue] = {}
        for name in filter(self._may_leave, values):
            try:
                plain[name] = as_plain(name, values[name])
            except InvalidValueError as error:
                if not trim:
                    raise
                label = header_label(self.formats[0])
                self._tell(Rejection("inject", label, name, "illegal-value", escape(str(error))))
        return plain

    def _report(self, rejection: Rejection) -> None:
        with _counting:
            self.rejections[rejection.reason] += 1
        tell(self.on_rejected, rejection)


def _check_formats(formats: Sequence[Format]) -> None:
    if not formats:
        raise ConfigurationError("formats: give at least one, such as JsonFormat()")
    headers = [header for each in formats for header in each.headers]
    prefixes = [each.header_prefix for each in formats if each.header_prefix is not None]
    # HTTP, through OpenTelemetry, does not tell upper case from lower.
    headers, prefixes = [*map(str.lower, headers)], [*map(str.lower, prefixes)]
    twice = len(set(headers)) < len(headers) or any(
        sum(other.startswith(prefix) for other in [*headers, *prefixes]) > 1 for prefix in prefixes
    )
    if twice:
        labels = [header_label(each) for each in formats]
        raise ConfigurationError(f"formats: two of them write the same header, of {labels}")


def _check_limit(max_bytes: int, on_oversize: str) -> None:
    if not 0 < max_bytes <= _MOST_BYTES:
        raise ConfigurationError(
            f"max_bytes: {max_bytes} is not between 1 and {_MOST_BYTES}; RabbitMQ "
            "closes the connection when the headers are larger than a frame"
        )
    if on_oversize not in ("raise", "drop"):
        raise ConfigurationError(f"on_oversize: {on_oversize!r} is not 'raise' or 'drop'")


class Settings(TypedDict, total=False):
    """What `configure` takes: the arguments of `Propagator`."""

    formats: Sequence[Format]
    send: Iterable[str] | None
    accept: Accepted
    max_bytes: int
    on_oversize: Literal["raise", "drop"]
    on_rejected: Callable[[Rejection], object]


default = Propagator()
"""The propagator that `configure` set last: to be asked of this module when it is needed."""


def configure(**settings: Unpack[Settings]) -> Propagator:
    """Make `Propagator(**settings)` the default one, and return it.

    It holds at once for all that was not given a propagator of its own, handlers that are
    already decorated included. Without settings, the defaults are back.

    Raises:
        ConfigurationError: a setting cannot work.
    """
    global default  # noqa: PLW0603 - the default is one per process
    default = Propagator(**settings)
    return default
