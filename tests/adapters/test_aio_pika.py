"""Behaviour particular to aio-pika."""

import asyncio
import functools
import inspect
import logging
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any, cast, get_overloads
from unittest import mock

import aio_pika
import pytest
from aio_pika.abc import AbstractIncomingMessage, AbstractMessage
from pamqp.commands import Basic

from mqctx import Context, OversizeError, Propagator, current, scope
from mqctx.adapters.aio_pika import (
    consume_with_context,
    instrument,
    publish,
    restored,
    uninstrument,
)
from mqctx.formats.flat import CORRELATION_ID, FlatFormat
from tests.adapters.clients import RecordingAiormqChannel, exchange, incoming

CARRIED = {"mqctx": '{"user":"ada"}'}


@consume_with_context
async def on_order(message: AbstractIncomingMessage) -> Context:
    """Bill the order."""
    await asyncio.sleep(0)
    return current()


class OrderHandler:
    @consume_with_context
    async def decorated(self, message: AbstractIncomingMessage) -> Context:
        await asyncio.sleep(0)
        return current()

    async def __call__(self, message: AbstractIncomingMessage) -> Context:
        await asyncio.sleep(0)
        return current()


@pytest.mark.asyncio
@pytest.mark.parametrize(
    "handler",
    [
        on_order,
        OrderHandler().decorated,
        consume_with_context(OrderHandler()),
        consume_with_context(functools.partial(OrderHandler())),
    ],
    ids=["async def", "method", "object", "partial"],
)
async def test_an_async_handler_stays_async_and_runs_in_its_messages_context(handler: Any) -> None:
    assert inspect.iscoroutinefunction(handler)
    with scope(user="ambient"):
        assert await handler(incoming(CARRIED)) == {"user": "ada"}
        assert await handler(incoming(None)) == {}
        assert current() == {"user": "ambient"}


@pytest.mark.asyncio
async def test_a_handler_may_be_called_with_names_as_a_test_would() -> None:
    assert await on_order(message=incoming(CARRIED)) == {"user": "ada"}


@pytest.mark.asyncio
async def test_cancelling_a_handler_leaves_nothing_active() -> None:
    seen: list[Context] = []

    @consume_with_context
    async def wait(message: AbstractIncomingMessage) -> None:
        try:
            await asyncio.sleep(60)
        finally:
            seen.append(current())

    with scope(user="ambient"):
        task = asyncio.create_task(wait(incoming(CARRIED)))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert current() == {"user": "ambient"}
    assert seen == [{"user": "ada"}]


@pytest.mark.asyncio
async def test_a_handler_publishes_on_in_its_own_context() -> None:
    channel = RecordingAiormqChannel()

    @consume_with_context
    async def bill(message: AbstractIncomingMessage) -> None:
        await publish(exchange(channel), message, routing_key="bills")

    message = incoming({"mqctx": '{"user":"ada","old":1}', "kind": "order"})
    message.lock()  # as it is after an ack
    await bill(message)
    assert message.headers == {"mqctx": '{"user":"ada","old":1}', "kind": "order"}
    assert channel.published[0]["properties"].headers == message.headers
    assert channel.published[0]["properties"].headers is not message.headers


@pytest.mark.asyncio
async def test_everything_but_the_headers_is_sent_as_the_client_would() -> None:
    message = aio_pika.Message(
        b"42",
        headers={"kind": "order"},
        content_type="text/plain",
        delivery_mode=aio_pika.DeliveryMode.PERSISTENT,
        priority=5,
        correlation_id="c-1",
        expiration=60,
        message_id="m-1",
        type="order",
        app_id="shop",
    )
    ours, theirs = RecordingAiormqChannel(), RecordingAiormqChannel()
    options: dict[str, Any] = {"mandatory": False, "timeout": 5}
    with scope(user="ada"):
        await publish(exchange(ours), message, "orders", **options)
    await exchange(theirs).publish(message, "orders", **options)
    sent, expected = ours.published[0], theirs.published[0]
    assert sent["properties"].headers == {"kind": "order", **CARRIED}
    sent["properties"].headers = expected["properties"].headers
    assert dict(sent["properties"]) == dict(expected["properties"])
    assert {k: v for k, v in sent.items() if k != "properties"} == {
        k: v for k, v in expected.items() if k != "properties"
    }


@pytest.mark.asyncio
async def test_one_message_serves_many_publishes() -> None:
    message, channel = aio_pika.Message(b"42"), RecordingAiormqChannel()
    for user in ("ada", "grace"):
        with scope(user=user):
            await publish(exchange(channel), message, "orders")
    sent = [publish["properties"] for publish in channel.published]
    assert [p.headers for p in sent] == [CARRIED, {"mqctx": '{"user":"grace"}'}]
    assert sent[0] is not sent[1]
    assert message.headers == {}


@pytest.mark.asyncio
async def test_the_context_is_the_one_of_the_call_not_of_the_await() -> None:
    message, channel = aio_pika.Message(b"42", headers={"kind": "order"}), RecordingAiormqChannel()
    with scope(user="ada"):
        publishing = publish(exchange(channel), message, "orders")
    message.headers["kind"] = "changed while it waits"
    await publishing
    assert channel.published[0]["properties"].headers == {"kind": "order", **CARRIED}


def test_publish_takes_what_the_clients_own_takes() -> None:
    def parameters(function: Any) -> dict[str, tuple[Any, Any]]:
        found = inspect.signature(function).parameters.values()
        return {each.name: (each.kind, each.default) for each in found}

    theirs = parameters(aio_pika.Exchange.publish)
    del theirs["self"]
    for each in (publish, *get_overloads(publish)):
        ours = parameters(each)
        assert ours.pop("exchange")[1] is inspect.Parameter.empty
        assert ours.pop("propagator") == (inspect.Parameter.KEYWORD_ONLY, None)
        if each is publish:
            assert ours == theirs
        assert ours.keys() == theirs.keys()


def test_publish_is_known_as_a_coroutine_function() -> None:
    with mock.patch("mqctx.adapters.aio_pika.publish") as patched:
        assert isinstance(patched, mock.AsyncMock)


class ExchangeOfOnesOwn(aio_pika.Exchange):
    """Looks at what it publishes, and completes it, as an application's own Exchange may."""

    def __init__(self, channel: RecordingAiormqChannel) -> None:
        super().__init__(cast("Any", channel), "orders")
        self.given: list[Any] = []

    async def publish(self, message: Any, *args: Any, **options: Any) -> Any:
        self.given.append(message)
        message.delivery_mode = aio_pika.DeliveryMode.PERSISTENT
        message.headers["completed"] = True
        message.message_id = "m-1"
        return await super().publish(message, *args, **options)


class Named(aio_pika.Message):
    """A message class of an application's own."""

    __slots__ = ("name", "never_set")


class Task(Named):
    """One that has attributes of any name."""

    def __init__(self, name: str) -> None:
        super().__init__(b"42", headers={"kind": "task"})
        self.name = name
        self.attempt = 1


class TestAnExchangeOfOnesOwn:
    @pytest.fixture
    def channel(self) -> RecordingAiormqChannel:
        return RecordingAiormqChannel()

    @pytest.fixture
    def own(self, channel: RecordingAiormqChannel) -> Any:
        return ExchangeOfOnesOwn(channel)

    @pytest.fixture(params=[False, True], ids=["alone", "instrumented"], autouse=True)
    def _instrumented(self, request: pytest.FixtureRequest) -> Iterator[None]:
        if request.param:
            instrument()
        yield
        uninstrument()

    @pytest.mark.asyncio
    async def test_an_exchange_of_ones_own_completes_what_is_sent_and_not_what_the_caller_has(
        self, own: Any, channel: RecordingAiormqChannel
    ) -> None:
        message = aio_pika.Message(b"42", headers={"kind": "order"}, type="order")
        with scope(user="ada"):
            await publish(own, message, "orders")
        sent = channel.published[0]["properties"]
        assert sent.headers == {"kind": "order", "completed": True, **CARRIED}
        assert (sent.delivery_mode, sent.message_id, sent.message_type) == (2, "m-1", "order")
        assert message.headers == {"kind": "order"}
        assert message.delivery_mode == aio_pika.DeliveryMode.NOT_PERSISTENT
        assert message.message_id is None

    @pytest.mark.asyncio
    async def test_an_exchange_of_ones_own_has_a_message_like_the_clients_own(
        self, own: Any
    ) -> None:
        message = aio_pika.Message(b"42", content_type="text/plain")
        with scope(user="ada"):
            await publish(own, message, "orders")
        (given,) = own.given
        assert type(given) is aio_pika.Message
        assert (given.body, given.body_size, given.content_type) == (b"42", 2, "text/plain")
        assert dict(given.info())["headers"] == {"completed": True, **CARRIED}
        assert repr(given).startswith("Message:{")
        assert list(given) == list(b"42")
        given.lock()
        assert (given.locked, message.locked) == (True, False)
        with pytest.raises(ValueError, match="locked"):
            given.type = "order"

    @pytest.mark.asyncio
    async def test_an_exchange_of_ones_own_has_the_applications_own_kind_of_message(
        self, own: Any
    ) -> None:
        task = Task("bill")
        await publish(own, task, "orders")
        (given,) = own.given
        assert (type(given), given.name, given.attempt) == (Task, "bill", 1)
        assert not hasattr(given, "never_set")
        assert given is not task

    @pytest.mark.asyncio
    async def test_an_exchange_of_ones_own_may_send_on_a_message_that_arrived(
        self, channel: RecordingAiormqChannel
    ) -> None:
        exchange = ExchangeOfOnesOwn(channel)
        arrived = incoming({"mqctx": '{"old":1}', "kind": "order"})
        with scope(user="ada"):
            await publish(exchange, arrived, "orders")
        (given,) = exchange.given
        assert type(given) is aio_pika.IncomingMessage
        assert given.delivery_tag == 1
        assert channel.published[0]["properties"].headers["mqctx"] == CARRIED["mqctx"]
        assert arrived.headers == {"mqctx": '{"old":1}', "kind": "order"}

    @pytest.mark.asyncio
    async def test_an_exchange_of_ones_own_gets_the_properties_that_a_format_writes(
        self, own: Any
    ) -> None:
        message, locked = aio_pika.Message(b"42"), aio_pika.Message(b"42", correlation_id="c-1")
        propagator = Propagator(formats=[FlatFormat({"request_id": CORRELATION_ID})])
        with scope(request_id="r-1"):
            for each in (message, locked):
                await publish(own, each, "orders", propagator=propagator)
        assert [given.correlation_id for given in own.given] == ["r-1", "c-1"]
        assert message.correlation_id is None

    @pytest.mark.asyncio
    async def test_an_exchange_of_ones_own_is_given_the_options_that_the_caller_gave(
        self, own: Any
    ) -> None:
        send = own.publish = mock.AsyncMock()
        await publish(own, aio_pika.Message(b"42"), "orders")
        await publish(own, aio_pika.Message(b"42"), "orders", timeout=5)
        assert isinstance(send.await_args_list[0].args[0], aio_pika.Message)
        assert [each.kwargs for each in send.await_args_list] == [
            {},
            {"mandatory": True, "immediate": False, "timeout": 5},
        ]


class Bare(AbstractMessage):
    """A message whose class does not let anybody set anything: it cannot be copied."""

    __slots__ = ()
    body = b"42"
    body_size = 2

    @property
    def locked(self) -> bool:
        return True

    headers: Any = property(lambda self: {"kind": "bare"})

    @property
    def properties(self) -> Any:
        return Basic.Properties(headers=self.headers)

    def info(self) -> Any: ...
    def lock(self) -> None: ...
    def __iter__(self) -> Any: ...
    def __copy__(self) -> Any: ...


class WithoutHeaders(Bare):
    """A message that has no headers at all."""

    __slots__ = ()

    headers: Any = property()

    @property
    def properties(self) -> Any:
        return Basic.Properties()


class TestStrangeMessages:
    """Each does under `instrument()`, and with `publish`, what it does with the client alone."""

    @pytest.fixture(autouse=True)
    def _instrumented(self) -> Iterator[None]:
        instrument()
        with scope(user="ada"):
            yield
        uninstrument()

    @pytest.mark.asyncio
    async def test_strange_messages_that_cannot_be_copied_are_sent_with_the_context_all_the_same(
        self,
    ) -> None:
        channel = RecordingAiormqChannel()
        message = cast("Any", Bare)()
        await exchange(channel).publish(message, "orders")
        await publish(exchange(channel), message, "orders")
        for sent in channel.published:
            assert sent["properties"].headers == {"kind": "bare", **CARRIED}

    @pytest.mark.asyncio
    async def test_strange_messages_that_cannot_be_copied_can_be_looked_at_by_ones_own_exchange(
        self,
    ) -> None:
        own: Any = mock.Mock(publish=mock.AsyncMock())
        await publish(own, cast("Any", Bare)(), "orders")
        (given, _) = own.publish.await_args.args
        assert (given.headers, given.body_size) == ({"kind": "bare", **CARRIED}, 2)

    @pytest.mark.asyncio
    async def test_strange_messages_without_headers_have_no_context(self) -> None:
        channel = RecordingAiormqChannel()
        message = cast("Any", WithoutHeaders)()
        await exchange(channel).publish(message, "orders")
        await publish(exchange(channel), message, "orders")
        assert [sent["properties"].headers for sent in channel.published] == [None, None]

    @pytest.mark.asyncio
    @pytest.mark.parametrize("headers", [[("kind", "order")], "kind", 5])
    async def test_strange_messages_with_headers_that_are_no_mapping_reach_the_client_as_they_are(
        self, headers: Any
    ) -> None:
        channel = RecordingAiormqChannel()
        await exchange(channel).publish(aio_pika.Message(b"42", headers=headers), "orders")
        assert channel.published[0]["properties"].headers == headers

    @pytest.mark.asyncio
    @pytest.mark.parametrize("message", [None, "text", {"headers": {}}, b"42", 5])
    async def test_strange_messages_that_are_none_are_the_clients_to_refuse(
        self, message: Any
    ) -> None:
        with pytest.raises(AttributeError, match="body"):
            await exchange(RecordingAiormqChannel()).publish(message, "orders")
        with pytest.raises(AttributeError, match="body"):
            await publish(exchange(RecordingAiormqChannel()), message, "orders")

    @pytest.mark.parametrize("message", [None, "text", SimpleNamespace(headers=5)])
    def test_strange_messages_have_no_context_where_they_arrive(self, message: Any) -> None:
        with restored(message):
            assert current() == {}

    @pytest.mark.asyncio
    @pytest.mark.parametrize("channel", [None, SimpleNamespace(is_closed=True)])
    async def test_strange_messages_that_came_through_no_open_channel_are_processed(
        self, channel: Any
    ) -> None:
        instrumented: Any = aio_pika.Channel(mock.Mock(), 1)
        instrument(instrumented)
        message: Any = incoming({"mqctx": '{"user":"grace"}'})
        message._IncomingMessage__channel = channel
        message._IncomingMessage__processed = True
        async with message.process(ignore_processed=True):
            assert current() == {"user": "grace"}
        uninstrument(instrumented)


class TestReply:
    """Replies, which `aio_pika.patterns.RPC` publishes by itself."""

    @pytest.fixture(autouse=True)
    def _instrumented(self) -> Iterator[None]:
        instrument(propagator=Propagator(max_bytes=100, on_rejected=lambda _: None))
        yield
        uninstrument()

    @pytest.mark.asyncio
    @pytest.mark.parametrize("kind", ["result", "error"])
    async def test_a_reply_is_sent_with_what_fits(self, kind: str) -> None:
        channel = RecordingAiormqChannel()
        message = aio_pika.Message(b"42", type=kind, correlation_id="c-1")
        with scope(user="ada", note="x" * 200):
            await exchange(channel).publish(message, "reply", mandatory=False)
        assert channel.published[0]["properties"].headers == CARRIED

    @pytest.mark.asyncio
    async def test_a_reply_is_not_what_the_application_sends(self) -> None:
        with scope(note="x" * 200), pytest.raises(OversizeError):
            await exchange(RecordingAiormqChannel()).publish(aio_pika.Message(b"42"), "orders")


@pytest.mark.asyncio
async def test_the_clients_own_exchange_sends_the_properties_that_a_format_writes() -> None:
    channel = RecordingAiormqChannel()
    propagator = Propagator(formats=[FlatFormat({"request_id": CORRELATION_ID})])
    with scope(request_id="r-1"):
        for given in (None, "c-1"):
            message = aio_pika.Message(b"42", correlation_id=given)
            await publish(exchange(channel), message, "orders", propagator=propagator)
    assert [each["properties"].correlation_id for each in channel.published] == ["r-1", "c-1"]


@pytest.mark.asyncio
async def test_the_clients_debug_log_shows_the_message(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "aio_pika.exchange")
    message = aio_pika.Message(b"42", type="order")
    await publish(exchange(RecordingAiormqChannel()), message, "orders")
    assert "'type': 'order'" in caplog.text
