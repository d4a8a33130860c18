"""The cost of a message, counted without a clock, so that it cannot grow unnoticed.

Calls are those of Python and of C functions. Blocks are those of memory that are held when the
client has taken the message over, or when the handler runs. Both are what comes on top of the
raw client's, and are the same in every run of an interpreter (under coverage, up to three more).

The bounds are upper ones, for each Python that is supported. To renew them, when something was
made better or has to cost more, write what the failing tests show, the most of all versions.
"""

import contextvars
import os
import sys
from itertools import cycle
from pathlib import Path
from types import FrameType
from typing import Any, cast

import aio_pika
import kombu
import pytest
from kombu.transport.pyamqp import Channel as PyamqpChannel

import mqctx
import mqctx.adapters.aio_pika
import mqctx.adapters.kombu
import mqctx.adapters.pika
from tests.adapters.clients import (
    CLIENTS,
    RecordingAiormqChannel,
    RecordingChannel,
    exchange,
    properties_of,
)
from tests.counting import (
    Call,
    Cost,
    added_cost,
    assert_within,
    calls_in,
    run_to_its_end,
    take_over,
    take_over_async,
)

pytestmark = pytest.mark.usefixtures("no_garbage")

PUBLISH = {"pika": Cost(6, 4), "kombu": Cost(6, 6), "aio-pika": Cost(5, 4)}
# More than `publish` takes: whether the call is meant, and whether it may carry a context.
INSTRUMENTED_PUBLISH = {"pika": 4, "kombu": 5, "aio-pika": 5}
# Two of the calls are what it costs to have each step written once, and short: reading a context
# that was not read last, and (of an `async def`) going through the steps of a coroutine.
CONSUME = {"pika": Cost(13, 7), "kombu": Cost(13, 7), "aio-pika": Cost(15, 9)}
CONSUME_AGAIN = {"pika": Cost(7, 7), "kombu": Cost(7, 7), "aio-pika": Cost(9, 9)}
CONSUME_HOOKED = {"pika": Cost(16, 8), "aio-pika": Cost(18, 11)}
CONSUME_WITHOUT = {"pika": Cost(6, 7), "kombu": Cost(6, 7), "aio-pika": Cost(9, 9)}


class PikaChannel(RecordingChannel):
    def _send_method(self, method: Any, content: Any = None) -> None:
        take_over()


class AiormqChannel(RecordingAiormqChannel):
    async def basic_publish(self, **publish: Any) -> str:
        take_over()
        return "confirmed"


class KombuChannel(PyamqpChannel):
    def __init__(self) -> None:
        self.events = {"basic_return": set[object]()}

    def basic_publish(self, *args: Any, **options: Any) -> None:
        take_over()


def publishing(client: str) -> tuple[Call, Call]:
    """Return the raw publish, and ours."""
    if client == "pika":
        channel, properties = PikaChannel(), properties_of(None)
        arguments = ("", "orders", b"42", properties)
        return (
            lambda: channel.basic_publish(*arguments),
            lambda: mqctx.adapters.pika.publish(channel, *arguments),
        )
    if client == "kombu":
        producer = cast("Any", kombu.Producer)(KombuChannel(), auto_declare=False)
        return (
            lambda: producer.publish("42", "orders"),
            lambda: mqctx.adapters.kombu.publish(producer, "42", "orders"),
        )
    orders, message = exchange(AiormqChannel()), aio_pika.Message(b"42")
    return (
        lambda: orders.publish(message, "orders"),
        lambda: mqctx.adapters.aio_pika.publish(orders, message, "orders"),
    )


def consuming(
    client: str, *headers: dict[str, Any] | None, hooked: bool = False
) -> tuple[Call, Call]:
    """Return the raw call of a handler, and that of a decorated one, with these in turn."""
    handler = take_over_async if client == "aio-pika" else take_over
    decorate = CLIENTS[client].adapter.consume_with_context
    if hooked:  # as `instrument` decorates it
        propagator = mqctx.Propagator()
        decorated = decorate.hook(handler, lambda: propagator)
    else:
        decorated = decorate(handler)
    deliveries = cycle([CLIENTS[client].delivery(each) for each in headers])
    return lambda: handler(*next(deliveries)), lambda: decorated(*next(deliveries))


def added_to_consuming(client: str, *headers: dict[str, Any] | None, hooked: bool = False) -> Cost:
    """Return what ours adds where no other context variable makes a copy of them larger."""
    return contextvars.Context().run(added_cost, *consuming(client, *headers, hooked=hooked))


def files_in(call: Call) -> set[str]:
    """Return which of mqctx's files have code that runs in a call."""
    names: set[str] = set()
    start = str(Path(mqctx.__file__).parent) + os.sep

    def note(frame: FrameType, event: str, _arg: object) -> None:
        if event == "call" and frame.f_code.co_filename.startswith(start):
            names.add(frame.f_code.co_filename.removeprefix(start))

    run_to_its_end(call)
    sys.setprofile(note)
    try:
        run_to_its_end(call)
    finally:
        sys.setprofile(None)
    return names


def of_values(count: int, what: str = "value") -> dict[str, str]:
    return {f"name_{number}": f"{what} {number}" for number in range(count)}


def headers_of(values: dict[str, str]) -> dict[str, Any]:
    with mqctx.scope(values):
        return mqctx.Propagator().inject()


def two_contexts() -> tuple[dict[str, Any], dict[str, Any]]:
    return headers_of(of_values(5)), headers_of(of_values(5, "other value"))


@pytest.fixture(params=CLIENTS)
def client_name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def test_publishing_again_in_the_same_context_stays_cheap(client_name: str) -> None:
    with mqctx.scope(of_values(5)):
        assert_within(added_cost(*publishing(client_name)), PUBLISH[client_name])


def test_publishing_again_costs_the_same_with_1_value_and_with_50(client_name: str) -> None:
    costs = []
    for count in (1, 50):
        with mqctx.scope(of_values(count)):
            costs.append(added_cost(*publishing(client_name)))
    assert costs[0] == costs[1]


def test_publishing_without_a_context_stays_cheap(client_name: str) -> None:
    assert_within(added_cost(*publishing(client_name)), PUBLISH[client_name])


def test_consuming_a_context_stays_cheap(client_name: str) -> None:
    assert_within(added_to_consuming(client_name, *two_contexts()), CONSUME[client_name])


def test_consuming_the_same_context_again_stays_cheaper(client_name: str) -> None:
    same, _ = two_contexts()
    assert_within(added_to_consuming(client_name, same), CONSUME_AGAIN[client_name])


@pytest.mark.parametrize("client_name", CONSUME_HOOKED)
def test_consuming_by_a_handler_that_is_hooked_stays_cheap(client_name: str) -> None:
    assert_within(
        added_to_consuming(client_name, *two_contexts(), hooked=True), CONSUME_HOOKED[client_name]
    )


def test_consuming_a_context_of_declared_values_stays_cheap(client_name: str) -> None:
    for name in of_values(5):
        mqctx.Variable(name, str)
    each_value, all_together = 3, 4
    bound = CONSUME[client_name]
    assert_within(
        added_to_consuming(client_name, *two_contexts()),
        Cost(bound.calls + 5 * each_value + all_together, bound.blocks + 1),
    )


def test_consuming_the_same_context_of_declared_values_again_costs_no_more(
    client_name: str,
) -> None:
    same, _ = two_contexts()
    undeclared = added_to_consuming(client_name, same)
    for name in of_values(5):
        mqctx.Variable(name, str)
    assert_within(added_to_consuming(client_name, same), undeclared)


def test_consuming_stays_cheap_after_any_number_of_strange_names(client_name: str) -> None:
    for number in range(3_000):
        mqctx.Propagator().extract({"mqctx": f'{{"strange_{number}":1}}'})
    test_consuming_a_context_stays_cheap(client_name)


def test_nothing_runs_for_a_format_that_is_not_in_use(client_name: str) -> None:
    with mqctx.scope(of_values(5)):
        _, publish = publishing(client_name)
        files = files_in(publish)
    _, consume = consuming(client_name, *two_contexts())
    adapter = f"adapters/{client_name.replace('-', '_')}.py"
    of_every_format = {
        adapter,
        "_core/context.py",
        "_core/isolation.py",
        "_propagation/injector.py",
        "adapters/_handler.py",
    }
    assert files | files_in(consume) == {*of_every_format, "_propagation/extractor.py"}


def test_consuming_a_message_without_context_stays_cheap(client_name: str) -> None:
    assert_within(added_to_consuming(client_name, None), CONSUME_WITHOUT[client_name])


def test_a_hooked_handler_takes_at_most_3_calls_more_than_a_decorated_one(
    client_name: str,
) -> None:
    decorated = added_to_consuming(client_name, *two_contexts())
    hooked = added_to_consuming(client_name, *two_contexts(), hooked=True)
    assert hooked.calls - decorated.calls <= 3


def test_an_instrumented_publish_takes_few_calls_more_than_that_of_the_adapter(
    client_name: str,
) -> None:
    raw, ours = publishing(client_name)
    adapter = CLIENTS[client_name].adapter
    with mqctx.scope(of_values(5)):
        calls = calls_in(ours)
        adapter.instrument()
        try:
            instrumented = calls_in(raw)
        finally:
            adapter.uninstrument()
    assert instrumented - calls <= INSTRUMENTED_PUBLISH[client_name]
