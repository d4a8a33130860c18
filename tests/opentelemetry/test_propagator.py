"""The mqctx context goes where OpenTelemetry's propagators are asked."""

import logging
from collections.abc import Callable, Mapping
from typing import Any

import pytest
from opentelemetry import baggage, trace
from opentelemetry.baggage.propagation import W3CBaggagePropagator
from opentelemetry.context import Context as OtelContext
from opentelemetry.context import attach, detach, set_value
from opentelemetry.propagators.composite import CompositePropagator
from opentelemetry.propagators.textmap import Getter, Setter
from opentelemetry.trace import Tracer
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from mqctx import Context, JsonFormat, Propagator, Rejection, Variable, configure, current, scope
from mqctx.adapters import pika as pika_adapter
from mqctx.formats import BaggageFormat, Format, Report
from mqctx.formats.trace_context import TraceContextFormat
from mqctx.opentelemetry import MqctxTextMapPropagator, restored
from mqctx.testing import pika_delivery
from tests.opentelemetry.messages import brought

ADA = '{"user":"ada"}'
propagator = MqctxTextMapPropagator()


def injected_headers(context: OtelContext | None = None) -> dict[str, str]:
    """Return what is injected."""
    carrier: dict[str, str] = {}
    propagator.inject(carrier, context)
    return carrier


class TestInject:
    def test_inject_writes_what_the_default_propagator_of_the_moment_writes(self) -> None:
        with scope(user="ada", tenant="acme"):
            assert injected_headers() == {"mqctx": '{"user":"ada","tenant":"acme"}'}
            configure(send=["user"], formats=[JsonFormat(header="app-context")])
            assert injected_headers() == {"app-context": ADA}

    def test_inject_writes_nothing_where_no_context_is_active(self) -> None:
        assert injected_headers() == {}

    def test_inject_writes_through_any_setter(self) -> None:
        class Lines(Setter[list[str]]):
            def set(self, carrier: list[str], key: str, value: str) -> None:
                carrier.append(f"{key}: {value}")

        lines: list[str] = []
        with scope(user="ada"):
            propagator.inject(lines, setter=Lines())
        assert lines == [f"mqctx: {ADA}"]

    @pytest.mark.parametrize("attached", [True, False])
    def test_inject_writes_the_active_context_not_what_was_once_brought(
        self, attached: bool
    ) -> None:
        otel = propagator.extract({"mqctx": ADA})
        token = attach(otel)
        with restored(), scope(tenant="acme"):
            assert injected_headers(otel if attached else None) == {
                "mqctx": '{"user":"ada","tenant":"acme"}'
            }
        with Context().scope():
            assert injected_headers(set_value("any", 1)) == {}
        detach(token)

    def test_inject_writes_what_a_context_brought_that_is_not_the_current_one(self) -> None:
        otel = propagator.extract({"mqctx": ADA})
        with scope(user="eve"):
            assert injected_headers(otel) == {"mqctx": ADA}
            assert current() == {"user": "eve"}

    @pytest.mark.parametrize("of_current", [True, False])
    def test_inject_leaves_the_trace_to_opentelemetry_where_it_has_a_span(
        self, of_current: bool, tracer: Tracer
    ) -> None:
        configure(formats=[JsonFormat(), TraceContextFormat()])
        span = tracer.start_span("span")
        otel = trace.set_span_in_context(span)
        with scope(user="ada"):
            if of_current:
                with trace.use_span(span):
                    assert injected_headers() == {"mqctx": ADA}
            else:
                assert injected_headers(otel) == {"mqctx": ADA}
            assert set(injected_headers()) == {"mqctx", "traceparent"}
        span.end()

    def test_inject_leaves_the_baggage_to_opentelemetry_where_it_has_entries(self) -> None:
        configure(formats=[JsonFormat(header="baggage")])
        with scope(user="ada"):
            assert injected_headers() == {"baggage": ADA}
            assert injected_headers(baggage.set_baggage("tenant", "acme")) == {}

    def test_inject_joins_the_baggage_that_opentelemetry_has_written(self) -> None:
        configure(formats=[BaggageFormat()])
        carrier = {"baggage": "tenant=acme", "kept": "1"}
        with scope(user="ada"):
            propagator.inject(carrier, baggage.set_baggage("tenant", "acme"))
        assert carrier == {"baggage": "user=ada,tenant=acme", "kept": "1"}

    def test_inject_outside_every_run_leaves_a_context_as_it_is(self) -> None:
        configure(formats=[JsonFormat(), TraceContextFormat()])
        carrier = {"mqctx": ADA}
        propagator.inject(carrier)
        assert carrier == {"mqctx": ADA}

    def test_inject_writes_headers_only(self) -> None:
        configure(formats=[WithProperty()])
        with scope(user="ada"):
            assert injected_headers() == {"plain": "ada"}

    @pytest.mark.parametrize(
        ("settings", "reason"),
        [({"max_bytes": 4}, "too-large"), ({}, "illegal-value")],
    )
    def test_inject_never_raises_but_logs_what_was_not_sent(
        self, settings: dict[str, Any], reason: str, caplog: pytest.LogCaptureFixture
    ) -> None:
        configure(**settings)
        Variable("unfit", int)
        unfit = Context._from_checked(
            {"unfit": object()} if reason == "illegal-value" else {"a": 1}
        )
        with caplog.at_level(logging.WARNING, "mqctx"):
            assert unfit.run(injected_headers) == {}
        assert [f"({reason})" in line for line in caplog.messages] == [True]


class WithProperty(Format):
    """A format that uses an AMQP property besides its header."""

    @property
    def headers(self) -> tuple[str]:
        return ("plain",)

    @property
    def properties(self) -> tuple[str]:
        return ("property:correlation_id",)

    def encode(self, values: Mapping[str, Any]) -> Mapping[str, str]:
        return {"plain": values["user"], "property:correlation_id": values["user"]}

    def decode(self, headers: Mapping[str, Any], max_bytes: int, report: Any) -> dict[str, Any]:
        return {}

    def strip(self, headers: dict[str, Any]) -> None:
        headers.pop("plain", None)


class Given(Getter[object]):
    """Gives whatever a test wants, for any carrier."""

    def __init__(self, get: Callable[[str], Any], keys: Any = ()) -> None:
        self._get = get
        self._keys = keys

    def get(self, carrier: object, key: str) -> Any:
        return self._get(key)

    def keys(self, carrier: object) -> Any:
        return self._keys


class TestExtract:
    def test_extract_gives_the_context_to_restore(self) -> None:
        otel = propagator.extract({"mqctx": ADA})
        assert current() == {}
        with restored(otel):
            assert current() == {"user": "ada"}
        assert current() == {}

    def test_extract_keeps_what_the_given_context_has(self) -> None:
        otel = propagator.extract({"mqctx": ADA}, baggage.set_baggage("tenant", "acme"))
        assert baggage.get_baggage("tenant", otel) == "acme"

    @pytest.mark.parametrize("carrier", [{}, {"mqctx": ""}, {"mqctx": "{}"}, {"mqctx": "[]"}])
    def test_extract_of_nothing_gives_inside_a_run_the_given_context_itself(
        self, carrier: dict[str, str]
    ) -> None:
        configure(on_rejected=lambda _: None)
        otel = OtelContext(a=1)
        with scope(user="ada"):
            assert propagator.extract(carrier, otel) is otel
            assert propagator.extract(carrier) == {}

    def test_extract_of_nothing_outside_every_run_says_so(self) -> None:
        otel = propagator.extract({}, OtelContext(a=1))
        assert otel["a"] == 1
        assert brought(otel) == Context()

    def test_extract_accepts_what_the_default_propagator_of_the_moment_accepts(self) -> None:
        configure(accept=["tenant"], on_rejected=lambda _: None)
        assert brought(propagator.extract({"mqctx": ADA})) == Context()

    @pytest.mark.parametrize(
        "found",
        [[ADA], ADA, ADA.encode(), bytearray(ADA.encode()), [ADA.encode()], (ADA,)],
    )
    def test_extract_takes_text_in_any_form(self, found: object) -> None:
        otel = propagator.extract(object(), getter=Given({"mqctx": found}.get))
        with restored(otel):
            assert current() == {"user": "ada"}

    @pytest.mark.parametrize(
        "found",
        [5, [5], [None], {"a": 1}, [["a"]], [1, 2], ["{}", 5], [ADA, ADA], object()],
    )
    def test_extract_never_raises_whatever_a_getter_gives(self, found: object) -> None:
        rejected: list[Rejection] = []
        configure(on_rejected=rejected.append)
        otel = propagator.extract(object(), getter=Given({"mqctx": found}.get))
        assert brought(otel) == Context()
        assert len(rejected) == 1

    @pytest.mark.parametrize("found", [None, [], ()])
    def test_extract_takes_nothing_for_nothing(self, found: object) -> None:
        rejected: list[Rejection] = []
        configure(on_rejected=rejected.append)
        otel = propagator.extract(object(), getter=Given({"mqctx": found}.get))
        assert brought(otel) == Context()
        assert rejected == []

    def test_extract_never_raises_what_a_getter_raises(self) -> None:
        rejected: list[Rejection] = []
        configure(on_rejected=rejected.append)
        otel = propagator.extract(None, getter=Given(lambda _: 1 / 0))
        assert brought(otel) == Context()
        assert [each.reason for each in rejected] == ["error"]

    def test_extract_joins_the_lines_of_one_header(self) -> None:
        configure(formats=[TraceContextFormat()])
        parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
        lines = {"traceparent": [parent], "tracestate": ["a=1", "b=2"]}
        with restored(propagator.extract(lines)):
            assert current()["tracestate"] == "a=1,b=2"

    def test_extract_lets_a_format_look_for_its_headers(self) -> None:
        class Prefixed(JsonFormat):
            def decode(
                self, headers: Mapping[str, Any], max_bytes: int, report: Report
            ) -> dict[str, Any]:
                assert len(headers) == 2
                return {key[4:]: headers[key] for key in headers if key.startswith("ctx-")}

        configure(formats=[Prefixed()])
        carrier = {"ctx-user": "ada", "other": "eve"}
        with restored(propagator.extract(carrier)):
            assert current() == {"user": "ada"}

    def test_extract_takes_what_an_adapter_restored_with_a_propagator_of_its_own(self) -> None:
        _, _, properties, _ = pika_delivery(b"", user="ada", role="admin")
        strict = Propagator(accept=["user"], on_rejected=lambda _: None)
        with pika_adapter.restored(properties, propagator=strict):
            otel = propagator.extract(properties.headers)
        with restored(otel):
            assert current() == {"user": "ada"}


class TestRestored:
    def test_restored_is_empty_where_nothing_was_brought(self) -> None:
        with scope(user="eve"), restored():
            assert current() == {}

    def test_restored_is_of_the_current_context_if_none_is_given(self) -> None:
        token = attach(propagator.extract({"mqctx": ADA}))
        with scope(tenant="acme"), restored():
            assert current() == {"user": "ada"}
        detach(token)


def test_fields_are_the_headers_of_the_default_propagator() -> None:
    assert propagator.fields == {"mqctx"}
    configure(formats=[JsonFormat(header="app-context")])
    assert propagator.fields == {"app-context"}


def test_goes_beside_opentelemetrys_own_in_any_order(tracer: Tracer) -> None:
    own = [TraceContextTextMapPropagator(), W3CBaggagePropagator()]
    for each in ([propagator, *own], [*own, propagator]):
        both = CompositePropagator(each)
        carrier: dict[str, str] = {}
        otel = baggage.set_baggage("tenant", "acme")
        with scope(user="ada"), tracer.start_as_current_span("span") as span:
            both.inject(carrier, trace.set_span_in_context(span, otel))
        assert set(carrier) == {"mqctx", "traceparent", "baggage"}
        received = both.extract(carrier)
        with restored(received):
            assert current() == {"user": "ada"}
        assert baggage.get_baggage("tenant", received) == "acme"
        parent = trace.get_current_span(received).get_span_context()
        assert parent.span_id == span.get_span_context().span_id
