"""Behaviour particular to kombu."""

from inspect import Parameter, signature
from typing import Any, cast

import kombu
import pytest

import mqctx
from mqctx import Context, current, scope
from mqctx.adapters.kombu import consume_with_context, instrument, publish, uninstrument
from tests.adapters.clients import KombuClient, kombu_message

CARRIED = {"mqctx": '{"user":"ada"}'}


def test_headers_may_be_positional() -> None:
    given = {"kind": "order"}
    defaults = (None, False, False, 0, None, None, None)
    with scope(user="ada"):
        sent = KombuClient().sent(
            lambda producer, key: publish(producer, "42", key, *defaults, given, compression="zlib")
        )
    assert sent == {"kind": "order", "compression": "application/x-gzip", **CARRIED}
    assert given == {"kind": "order"}


def test_headers_may_be_positional_where_kombu_is_instrumented() -> None:
    given = {"kind": "order"}
    defaults = (None, False, False, 0, None, None, None)
    instrument()
    try:
        with scope(user="ada"):
            sent = KombuClient().sent(
                lambda producer, key: producer.publish("42", key, *defaults, given)
            )
    finally:
        uninstrument()
    assert sent == {"kind": "order", **CARRIED}
    assert given == {"kind": "order"}


def test_compression_does_not_reach_the_callers_headers() -> None:
    given = {"kind": "order"}
    KombuClient().publish(given, compression="zlib")
    assert given == {"kind": "order"}


def test_the_clients_result_is_returned() -> None:
    class Returning(kombu.Producer):
        def publish(self, *args: Any, **options: Any) -> object:
            return args, options

    with kombu.Connection("memory://") as connection, scope(user="ada"):
        result = publish(Returning(connection), "42", routing_key="orders", priority=3)
    assert result == (("42",), {"routing_key": "orders", "priority": 3, "headers": CARRIED})


def test_a_handler_of_the_message_alone_is_served_too() -> None:
    @consume_with_context
    def on_message(message: Any) -> Context:
        return current()

    assert on_message(kombu_message(CARRIED)) == {"user": "ada"}
    assert on_message(message=kombu_message(CARRIED)) == {"user": "ada"}


def test_a_handler_may_be_called_with_names_as_a_test_would() -> None:
    @consume_with_context
    def handler(body: object, message: Any) -> Context:
        return current()

    assert handler(body="42", message=kombu_message(CARRIED)) == {"user": "ada"}


def test_an_async_def_is_refused_when_decorated_with_the_way_out() -> None:
    async def on_order(body: object, message: object) -> None:
        """Would never be awaited."""

    with pytest.raises(mqctx.HandlerError, match=r"never awaits.*asyncio\.run"):
        consume_with_context(on_order)


def test_consumers_of_one_fanout_message_do_not_share_what_they_write() -> None:
    """The in-memory transport hands every consumer the publisher's own headers object."""
    seen: list[Context] = []
    with kombu.Connection("memory://") as connection:
        exchange = kombu.Exchange("fan", type="fanout")
        queues = [kombu.Queue(name, exchange) for name in ("fan-a", "fan-b")]

        @consume_with_context
        def handle(body: object, message: Any) -> None:
            seen.append(current())
            mqctx.bind(step="pay")
            with kombu.Connection("memory://") as onward:
                publish(onward.Producer(), "on", routing_key="nowhere", headers=message.headers)
            message.ack()

        with connection.Consumer(queues, callbacks=[handle]), scope(user="ada"):
            given: dict[str, Any] = {}
            publish(connection.Producer(), "42", exchange=exchange, headers=given)
            cast("Any", connection).drain_events(timeout=1)
            cast("Any", connection).drain_events(timeout=1)
    assert seen == [{"user": "ada"}] * 2
    assert given == {}


def test_publish_has_the_parameters_of_the_clients_own_and_a_propagator() -> None:
    def rows(function: Any) -> dict[str, object]:
        parameters = signature(function).parameters.values()
        return {each.name: (each.kind, each.default) for each in parameters}

    theirs, ours = rows(kombu.Producer.publish), rows(publish)
    assert ours.pop("propagator") == (Parameter.KEYWORD_ONLY, None)
    assert ours.pop("producer") == theirs.pop("self")
    if "confirm_timeout" not in theirs:  # in an old kombu
        ours.pop("confirm_timeout")
    assert list(ours.items()) == list(theirs.items())
