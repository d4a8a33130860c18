"""The propagator: context to headers and back, in its formats and within its limits."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final, Literal, Unpack, cast

from mqctx._core.context import Context
from mqctx._core.registry import Registry
from mqctx._core.registry import registry as _registry
from mqctx._core.rejection import Rejection, Tally, log_rejection, tell, witness
from mqctx._core.settings import check_exchange, check_text
from mqctx._propagation.decoder import HeaderDecoder
from mqctx._propagation.injector import HeaderInjector
from mqctx._propagation.properties import Extract, Inject, WithProperties
from mqctx._propagation.settings import (
    DEFAULT_MAX_BYTES,
    Accepted,
    Settings,
    SettingsArguments,
    as_formats,
)
from mqctx.errors import ConfigurationError
from mqctx.formats._format import Format, Headers
from mqctx.formats.json import JsonFormat

registry = cast("Registry[Propagator]", _registry)
"""The registry, typed: ask it for the default propagator at each call, for that may change."""


class Propagator:
    """Decide what leaves, what is accepted, in which formats and within which limits.

    Args:
        formats: All are written and all are read; if two carry the same name, the first counts.
            A format that verifies what it reads (`SignedFormat`) writes no value that was read
            unsigned: see `Context.origin`.
        send: Names that may leave, a trailing `*` for a prefix (`"order.*"`). None: all. The
            header of a format with a fixed set of names stands for these: `"traceparent"`.
        accept: Names that are restored, in the same way. None: all. A mapping has a list for each
            of some formats, `{json_format: ["request_id"]}`; of the others all names are restored.
        max_bytes: The most that all headers of the context together may take, in bytes, with the
            6 that AMQP adds to each, on the way out and on the way in. With large headers of your
            own, choose `frame_max` minus 512 minus their size. A format may have limits of its own.
        on_oversize: If the values set in this process take more, `"raise"` an `OversizeError`, or
            `"drop"` values, the largest first, each with a rejection, until the rest fits. Values
            that a message brought are dropped in any case, and first.
        on_rejected: Called with each `Rejection`, in the thread of the message. By default
            one WARNING per kind and minute goes to the logger `mqctx`.

    Raises:
        ConfigurationError: a setting cannot work.
    """

    __slots__ = (
        *("_inject", "extract_from", "inject_into"),
        *("plain", "properties", "rejections", "settings"),
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
        self.settings: Final = Settings(
            formats=as_formats(formats),
            send=send,
            accept=accept,
            max_bytes=max_bytes,
            on_oversize=on_oversize,
            on_rejected=on_rejected,
        )
        """The settings it was made with."""
        self.rejections: Final = Tally()
        """The number of rejections so far, by reason."""
        self.properties: Final = self.settings.properties
        """AMQP properties that the formats use besides headers, as `property:correlation_id`."""
        self.inject_into: Inject
        """For adapters: `inject`, and set those properties of the message."""
        self.extract_from: Extract
        """For adapters: `extract`, with those properties of the message."""
        report = self.report  # bound once, not for each message
        decoder = HeaderDecoder(self.settings, report)
        injector = HeaderInjector(self.settings, report)
        self._inject: Inject = injector.inject
        self.plain: Final = injector.plain
        """For adapters: the values of a context that may leave, as plain JSON."""
        if self.properties:
            both = WithProperties(self.properties, self._inject, decoder.extract)
            self.inject_into, self.extract_from = both.inject, both.extract
        else:
            # No step that these formats do not need.
            self.inject_into = self._inject
            self.extract_from = decoder.for_usual_messages() or decoder.extract

    def __setattr__(self, name: str, value: object) -> None:
        # Hooks and decorated handlers hold on to it: a change would be half a change.
        if hasattr(self, name):
            raise AttributeError(f"{name}: a propagator does not change; make another one")
        super().__setattr__(name, value)

    def __repr__(self) -> str:
        return repr(self.settings).replace("Settings", "Propagator", 1)

    @property
    def formats(self) -> tuple[Format, ...]:
        """All that are written and read."""
        return self.settings.formats

    @property
    def max_bytes(self) -> int:
        """The limit for all headers of the context together, in bytes."""
        return self.settings.max_bytes

    def inject(self, headers: Headers | None = None, *, trim: bool = False) -> dict[str, Any]:
        """Return a new dict: `headers`, and the active context in place of any that they carry.

        Outside every run and scope, a context that they carry stays. Members of other vendors in
        a `baggage` header stay beside ours, unless the message that is being handled brought them.
        A key that is in `properties` is no header: `inject_into` sets the AMQP property that it
        names instead.

        Args:
            headers: The headers that the message has already.
            trim: Drop and report what cannot be sent, whatever `on_oversize` says: for a framework
                that publishes by itself, where an error could not be caught.

        Raises:
            OversizeError: the values set in this process take more than `max_bytes`, or than a
                format has room for, and `on_oversize="raise"`.
            InvalidValueError: a linked ContextVar holds a value that cannot travel.
            HeadersError: `headers` are not a mapping.
        """
        return self._inject(headers, None, setattr, trim=trim)

    def extract(self, headers: Headers | None) -> Context:
        """Return the context that `headers` carry, the empty one if they carry none.

        Never raises: a value that cannot be restored is a `Rejection`, and the rest is restored.
        """
        return self.extract_from(headers, None, getattr)

    def report(self, rejection: Rejection) -> None:
        """Count a rejection, and pass it to `on_rejected`."""
        self.rejections.add(rejection.reason)
        witness(rejection)
        tell(self.settings.on_rejected, rejection)


def check_propagator(given: object) -> None:
    """Raise `ConfigurationError` unless it is a propagator, or None for the default one."""
    if not isinstance(given, Propagator | None):
        raise ConfigurationError(
            f"propagator: expected one such as Propagator(formats=[JsonFormat()]), got {given!r}"
        )


# On import, so that the default one is there for whatever is decorated or hooked first.
registry.propagator = Propagator()


def configure(
    *,
    service: str | None = None,
    report: str | None = None,
    **settings: Unpack[SettingsArguments],
) -> Propagator:
    """Make `Propagator(**settings)` the default one, and return it.

    It applies at once wherever no other propagator was given, also to handlers that are
    already decorated. Without settings, the defaults are back.

    Args:
        service: The name of this service in the records of failures: a setting of the process,
            whichever propagator a handler has. None: `OTEL_SERVICE_NAME`, else the program's name.
        report: An exchange, such as `"mqctx.journeys"`, to which this process reports each run of a
            handler, for `mqctx trace`: a setting of the process, too. None: nowhere.
        settings: Those of `Propagator`.

    Raises:
        ConfigurationError: a setting cannot work.
    """
    # All checks come before the change: a `configure` that raises leaves the last one in force.
    if service is not None:
        check_text("service", service)
    if report is not None:
        check_exchange("report", report)
    configured = Propagator(**settings)

    def make_default(changed: Registry[Propagator]) -> None:
        changed.propagator = configured
        changed.service, changed.report = service, report

    registry.change(make_default)
    return configured


def inject(headers: Headers | None = None, *, trim: bool = False) -> dict[str, Any]:
    """Return a new dict: `headers`, and the active context, as the default propagator writes it.

    `Propagator.inject` describes `trim`, the headers that stay, and the errors.
    """
    return registry.propagator.inject(headers, trim=trim)


def extract(headers: Headers | None) -> Context:
    """Return the context that `headers` carry, as the default propagator reads it; never raises."""
    return registry.propagator.extract(headers)
