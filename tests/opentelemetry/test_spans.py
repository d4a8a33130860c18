"""Values of the context on every span."""

from dataclasses import dataclass
from typing import Any
from uuid import UUID

import pytest
from opentelemetry import propagate
from opentelemetry.context import attach, detach
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from mqctx import ConfigurationError, Variable, scope
from mqctx.opentelemetry import ContextSpanProcessor


@dataclass
class Numbered:
    number: int


class Odd:
    def __str__(self) -> str:
        return "odd"


class Unprintable:
    def __str__(self) -> str:
        raise ZeroDivisionError


@pytest.fixture
def attributes(provider: TracerProvider, exporter: InMemorySpanExporter) -> Any:
    """Give a function that starts a span and returns its attributes."""

    def attributes(processor: ContextSpanProcessor | None = None, **given: Any) -> dict[str, Any]:
        if processor:
            provider.add_span_processor(processor)
        exporter.clear()
        with provider.get_tracer("tests").start_as_current_span("span", attributes=given):
            pass
        (span,) = exporter.get_finished_spans()
        return dict(span.attributes or {})

    return attributes


def test_the_chosen_values_are_on_each_span(attributes: Any) -> None:
    with scope({"tenant": "acme", "order.id": 5, "user": "ada"}):
        assert attributes(ContextSpanProcessor(["tenant", "order.*"])) == {
            "mqctx.tenant": "acme",
            "mqctx.order.id": 5,
        }
    assert attributes() == {}


def test_without_names_all_but_local_values_are(attributes: Any) -> None:
    Variable("secret", str, local=True)
    with scope(tenant="acme", secret="s"):
        assert attributes(ContextSpanProcessor()) == {"mqctx.tenant": "acme"}


def test_local_values_may_be_named(attributes: Any) -> None:
    Variable("secret", Odd, local=True)
    with scope(secret=Odd()):
        assert attributes(ContextSpanProcessor(["secret"])) == {"mqctx.secret": "odd"}


def test_the_prefix_may_be_another_and_other_attributes_stay(attributes: Any) -> None:
    with scope(tenant="acme"):
        assert attributes(ContextSpanProcessor(prefix=""), kind="order") == {
            "tenant": "acme",
            "kind": "order",
        }


@pytest.mark.usefixtures("activated")
def test_the_first_span_of_a_request_has_what_the_request_brought(attributes: Any) -> None:
    token = attach(propagate.extract({"mqctx": '{"user":"ada"}'}))
    assert attributes(ContextSpanProcessor()) == {"mqctx.user": "ada"}
    detach(token)


@pytest.mark.parametrize(
    ("value", "attribute"),
    [
        *[(each, each) for each in ("ada", 5, -(2**63), True, 0.5, "")],
        (["a", "b"], ("a", "b")),
        ([True, False], (True, False)),
        ([1, 2], (1, 2)),
        ([], ()),
        ([1, "a"], '[1,"a"]'),
        ([1, True], "[1,true]"),
        ([1, None], "[1,null]"),
        ([[1]], "[[1]]"),
        ({"a": "Zo\u00eb"}, '{"a":"Zo\\u00eb"}'),
        (None, "null"),
        (2**63, str(2**63)),
        ([1, 2**63], f"[1,{2**63}]"),
        (UUID(int=7), str(UUID(int=7))),
        (Numbered(5), '{"number":5}'),
    ],
)
def test_an_attribute_is_of_a_type_that_opentelemetry_takes(
    value: object, attribute: object, attributes: Any, caplog: pytest.LogCaptureFixture
) -> None:
    if isinstance(value, UUID | Numbered):
        Variable("value", type(value))
    with scope(value=value):
        assert attributes(ContextSpanProcessor()) == {"mqctx.value": attribute}
    assert caplog.messages == []


def test_a_value_whose_own_code_fails_keeps_no_span_from_starting(attributes: Any) -> None:
    Variable("hostile", Unprintable, local=True)
    with scope(hostile=Unprintable(), tenant="acme"):
        assert attributes(ContextSpanProcessor(["*"])) == {"mqctx.tenant": "acme"}


def test_text_for_the_names_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="names: expected names or prefixes"):
        ContextSpanProcessor("tenant")
