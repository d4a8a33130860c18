"""OpenTelemetry as an application would set it up, and nothing of it left afterwards."""

from collections.abc import Iterator
from importlib.metadata import entry_points
from typing import cast

import pytest
from opentelemetry import context, propagate, trace
from opentelemetry.baggage.propagation import W3CBaggagePropagator
from opentelemetry.propagators.composite import CompositePropagator
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import Tracer
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from mqctx import configure
from mqctx.opentelemetry import MqctxTextMapPropagator
from tests.http_clients.conftest import server
from tests.integration.conftest import amqp_url, broker, queue, queue_name
from tests.opentelemetry.messages import FORMATS

__all__ = ["amqp_url", "broker", "queue", "queue_name", "server"]


@pytest.fixture(autouse=True)
def _nothing_attached() -> Iterator[None]:
    token = context.attach(context.Context())
    yield
    left = context.get_current()
    context.detach(token)
    assert left == {}, "an OpenTelemetry context is still attached after the test"


@pytest.fixture
def exporter() -> InMemorySpanExporter:
    """Give what collects the finished spans."""
    return InMemorySpanExporter()


@pytest.fixture
def provider(exporter: InMemorySpanExporter) -> Iterator[TracerProvider]:
    """Give the provider of an SDK."""
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    yield provider
    provider.shutdown()


@pytest.fixture
def tracer(provider: TracerProvider) -> Tracer:
    return provider.get_tracer("tests")


@pytest.fixture
def propagated() -> Iterator[None]:
    """As with OTEL_PROPAGATORS=tracecontext,baggage,mqctx."""
    each = [TraceContextTextMapPropagator(), W3CBaggagePropagator(), MqctxTextMapPropagator()]
    before = propagate.get_global_textmap()
    propagate.set_global_textmap(CompositePropagator(each))
    yield
    propagate.set_global_textmap(before)


@pytest.fixture
def activated(propagated: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """As with OTEL_PYTHON_CONTEXT=mqctx, too."""
    (named,) = entry_points(group="opentelemetry_context", name="mqctx")
    runtime = named.load()()
    monkeypatch.setattr(context, "_RUNTIME_CONTEXT", runtime)
    yield
    assert runtime.get_current() == {}, "an OpenTelemetry context is still attached after the test"


@pytest.fixture(params=["sdk", "no sdk"])
def either(request: pytest.FixtureRequest) -> trace.TracerProvider:
    """A provider with an SDK, and one without."""
    if request.param == "no sdk":
        return trace.NoOpTracerProvider()
    return cast("TracerProvider", request.getfixturevalue("provider"))


@pytest.fixture(params=FORMATS)
def formats(request: pytest.FixtureRequest) -> str:
    """Give the name of the formats that the default propagator writes."""
    configure(formats=FORMATS[request.param])
    return request.param
