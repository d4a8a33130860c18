"""Values of the context in OpenTelemetry's baggage, and back."""

import logging
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest
from opentelemetry import baggage
from opentelemetry.baggage.propagation import W3CBaggagePropagator
from opentelemetry.context import attach, detach, get_current

from mqctx import ConfigurationError, Variable, current, scope
from mqctx.opentelemetry import from_baggage, mirrored_to_baggage

VALUES = [
    ("text", str, "Zo\u00eb, ada; eve"),
    ("count", int, 5),
    ("ratio", float, 0.5),
    ("flag", bool, True),
    ("nothing", None, None),
    ("tags", list[int], [1, 2]),
    ("order", dict[str, int], {"id": 1}),
    ("id", UUID, UUID(int=7)),
    ("price", Decimal, Decimal("19.90")),
    ("at", datetime, datetime(2026, 11, 22, 9, 30, tzinfo=UTC)),
    ("maybe", int | None, None),
    ("digits", str, "5"),
]


class TestMirror:
    def test_the_mirror_shows_the_chosen_values_inside_the_block(self) -> None:
        with scope({"tenant": "acme", "order.id": 5, "user": "ada"}):
            with mirrored_to_baggage(["tenant", "order.*"]):
                assert baggage.get_all() == {"tenant": "acme", "order.id": "5"}
            assert baggage.get_all() == {}

    def test_the_mirror_restores_what_was_there_after_an_error_too(self) -> None:
        token = attach(baggage.set_baggage("tenant", "initech"))
        before = get_current()

        @scope(tenant="acme")
        def fail() -> None:
            with mirrored_to_baggage(["tenant"]):
                assert baggage.get_all() == {"tenant": "acme"}
                raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            fail()
        assert get_current() is before
        detach(token)

    def test_the_mirror_keeps_the_other_entries(self) -> None:
        token = attach(baggage.set_baggage("region", "eu"))
        with scope(tenant="acme"), mirrored_to_baggage(["tenant"]):
            assert baggage.get_all() == {"region": "eu", "tenant": "acme"}
        detach(token)

    def test_the_mirror_keeps_local_values_in_the_process(self) -> None:
        Variable("secret", str, local=True)
        with scope(secret="s", tenant="acme"), mirrored_to_baggage(["*"]):
            assert baggage.get_all() == {"tenant": "acme"}

    def test_the_mirror_refuses_text_for_the_names(self) -> None:
        with pytest.raises(ConfigurationError, match="names: expected names or prefixes"):
            mirrored_to_baggage("tenant").__enter__()


class TestFromBaggage:
    def test_from_baggage_gives_the_chosen_entries_as_a_context(self) -> None:
        context = baggage.set_baggage("tenant", "acme", baggage.set_baggage("user", "ada"))
        with scope(from_baggage(["tenant"], context)):
            assert current() == {"tenant": "acme"}

    def test_from_baggage_gives_those_of_the_current_context(self) -> None:
        token = attach(baggage.set_baggage("tenant", "acme"))
        assert from_baggage(["tenant"]) == {"tenant": "acme"}
        detach(token)
        assert from_baggage(["tenant"]) == {}

    def test_from_baggage_refuses_text_for_the_names(self) -> None:
        with pytest.raises(ConfigurationError, match="names: expected names or prefixes"):
            from_baggage("tenant")

    @pytest.mark.parametrize(
        ("name", "text"),
        [
            ("count", "many"),
            ("count", "5.5"),
            ("count", "[" * 5000),
            ("local", "x"),
            ("a b", "x"),
        ],
        ids=["no number", "a fraction", "too deep", "local", "no name"],
    )
    def test_from_baggage_leaves_out_and_logs_what_does_not_fit(
        self, name: str, text: str, caplog: pytest.LogCaptureFixture
    ) -> None:
        Variable("count", int)
        Variable("local", str, local=True)
        context = baggage.set_baggage(name, text, baggage.set_baggage("tenant", "acme"))
        with caplog.at_level(logging.WARNING, "mqctx"):
            assert from_baggage(["*"], context) == {"tenant": "acme"}
        assert [
            line.startswith(f"{name} in baggage: not restored") for line in caplog.messages
        ] == [True]

    def test_from_baggage_takes_what_another_set_there_as_text(self) -> None:
        assert from_baggage(["*"], baggage.set_baggage("tenant", 5)) == {"tenant": "5"}


@pytest.mark.parametrize(("name", "type", "value"), VALUES, ids=[name for name, *_ in VALUES])
def test_a_declared_value_survives_opentelemetrys_baggage_header(
    name: str, type: Any, value: object
) -> None:
    Variable(name, type)
    carrier: dict[str, str] = {}
    with scope({name: value}), mirrored_to_baggage([name]):
        W3CBaggagePropagator().inject(carrier)
    assert from_baggage([name], W3CBaggagePropagator().extract(carrier)) == {name: value}


def test_a_value_that_nobody_declared_arrives_as_text() -> None:
    with scope(count=5), mirrored_to_baggage(["count"]):
        assert from_baggage(["count"]) == {"count": "5"}
