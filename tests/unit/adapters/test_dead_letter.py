"""Cases that the clients do not show on a broker: refusals, other transports, odd endings."""

import asyncio
import inspect
import logging
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any, cast

import kombu
import pika
import pika.exceptions
import pika.spec
import pytest
from aio_pika.abc import AbstractIncomingMessage
from pika.exceptions import AMQPError, ChannelWrongStateError

import mqctx
import mqctx.adapters.aio_pika
import mqctx.adapters.kombu
import mqctx.adapters.pika
from mqctx import HandlerError
from mqctx._amqp.content_header import ContentHeader
from mqctx._failures.record import Failure
from mqctx.adapters import _pika_outbox
from mqctx.adapters._aio_pika_settling import _Delivery as AioPikaDelivery
from mqctx.adapters._aio_pika_settling import _properties as aio_pika_properties
from mqctx.adapters._copy import Copy
from mqctx.adapters._dead_letter import DeadLetter
from mqctx.adapters._kombu_raw import as_received
from mqctx.adapters._pika_properties import raw_properties
from mqctx.adapters._pika_watch import Watch
from mqctx.adapters._settling import NotSentError
from tests.adapters.clients import CLIENTS, RecordingChannel, incoming, properties_of

COPY = Copy("dlx", "new", b"\0\0", b"42")


def fail(*_: object) -> None:
    raise ValueError("no")


@pytest.mark.parametrize("name", CLIENTS)
class TestEveryClient:
    def test_refuses_a_setting_that_cannot_work_when_it_decorates(self, name: str) -> None:
        with pytest.raises(mqctx.ConfigurationError, match="default exchange"):
            CLIENTS[name].adapter.consume_with_context(fail, dead_letter="")

    def test_refuses_a_call_without_a_message(self, name: str) -> None:
        handler = CLIENTS[name].adapter.consume_with_context(fail, dead_letter="dlx")
        with pytest.raises(HandlerError, match="without"):
            handler("no message")

    def test_settles_once_what_is_decorated_twice(self, name: str) -> None:
        decorate = CLIENTS[name].adapter.consume_with_context
        settling = decorate(dead_letter="dlx")(fail)
        assert decorate(settling) is settling
        assert decorate(settling, dead_letter="other") is settling

    def test_settles_what_is_decorated_already(self, name: str) -> None:
        decorate = CLIENTS[name].adapter.consume_with_context
        decorated = decorate(fail)
        settling = decorate(decorated, dead_letter="dlx")
        assert settling is not decorated
        with pytest.raises(HandlerError, match="without"):
            settling()

    def test_keeps_name_and_kind_of_the_handler(self, name: str) -> None:
        handler = CLIENTS[name].adapter.consume_with_context(fail, dead_letter="dlx")
        assert handler.__name__ == "fail"
        assert not inspect.iscoroutinefunction(handler)

    def test_has_no_other_names(self, name: str) -> None:
        with pytest.raises(AttributeError, match="no attribute 'nothing'"):
            _ = CLIENTS[name].adapter.nothing
        assert CLIENTS[name].adapter.DeadLetter is DeadLetter


class PikaChannel(RecordingChannel):
    """A channel with a consumer, and frames that go nowhere."""

    def __init__(self, *, auto_ack: bool = False) -> None:
        super().__init__()
        inner = cast("Any", self)
        inner._consumers["c"] = print
        if auto_ack:
            inner._consumers_with_noack.add("c")
        inner.connection.params = pika.ConnectionParameters()

    @property
    def sent(self) -> list[str]:
        """Return the names of what was sent."""
        return [method.NAME for method, *_ in self.published]


def pika_delivery(channel: Any) -> tuple[Any, ...]:
    deliver = pika.spec.Basic.Deliver("c", 7, False, "orders", "new")
    return channel, deliver, properties_of({"a": "1"}), b"42"


class Connection:
    """A connection of pika that opens channels when told, and calls back when told."""

    params = pika.ConnectionParameters()

    def __init__(self, *, is_open: bool = True) -> None:
        self.is_open = is_open
        self.channels: list[Any] = []
        self.timers: list[Callable[[], None]] = []

    def channel(self, on_open_callback: Callable[[Any], None]) -> Any:
        if not self.is_open:
            raise pika.exceptions.ConnectionWrongStateError
        self.channels.append(OwnChannel(on_open_callback))
        return self.channels[-1]

    def _adapter_call_later(self, _: float, callback: Callable[[], None]) -> Callable[[], None]:
        self.timers.append(callback)
        return callback

    def _adapter_remove_timeout(self, timer: Callable[[], None]) -> None:
        self.timers.remove(timer)


class OwnChannel:
    """A channel for copies."""

    def __init__(self, on_open: Callable[[Any], None]) -> None:
        self.on_open = lambda: on_open(self)
        self.is_open = False
        self.published = 0
        self.on_close: Any = None
        self.on_return: Any = None
        self.on_confirm: Any = None
        self.selected: Any = None

    def add_on_close_callback(self, callback: Any) -> None:
        self.on_close = callback

    def add_on_return_callback(self, callback: Any) -> None:
        self.on_return = callback

    def confirm_delivery(self, on_confirm: Any, callback: Any) -> None:
        self._check()
        self.on_confirm, self.selected = on_confirm, callback

    def basic_publish(self, *_: Any, **__: Any) -> None:
        self._check()
        self.published += 1

    def close(self, **_: Any) -> None:
        self._check()
        self.is_open = False

    def answer(self, method: Any) -> None:
        self.on_confirm(SimpleNamespace(method=method))

    def _check(self) -> None:
        if not self.is_open:
            raise ChannelWrongStateError

    def ready(self) -> None:
        """Open, and confirm the mode."""
        self.is_open = True
        self.on_open()
        self.selected(None)


class TestPikaCallbackOutbox:
    def sent(self, count: int = 1) -> tuple[Connection, OwnChannel, list[Any]]:
        connection, answers = Connection(), list[Any]()
        outbox = _pika_outbox.CallbackOutbox()
        for _ in range(count):
            outbox.send(connection, COPY, answers.append)
        channel = connection.channels[0]
        channel.ready()
        return connection, channel, answers

    def test_sends_one_after_another(self) -> None:
        connection, channel, answers = self.sent(3)
        for number in range(1, 4):
            assert channel.published == number
            channel.answer(pika.spec.Basic.Ack(number))
        assert answers == [None] * 3
        assert connection.timers == []
        assert len(connection.channels) == 1

    def test_tells_what_was_not_routed_or_refused(self) -> None:
        _, channel, answers = self.sent(3)
        channel.on_return(channel, None, None, b"")
        channel.answer(pika.spec.Basic.Ack(1))
        channel.answer(pika.spec.Basic.Nack(2))
        channel.answer(pika.spec.Basic.Ack(3))
        assert [str(each) for each in answers] == [
            "it was not routed to any queue",
            "the broker refused it",
            "None",
        ]

    def test_opens_another_channel_after_one_was_closed(self) -> None:
        connection, channel, answers = self.sent(2)
        channel.is_open = False
        channel.on_close(channel, AMQPError("no exchange"))
        assert [each.args for each in answers] == [("no exchange",)]
        connection.channels[1].ready()
        connection.channels[1].answer(pika.spec.Basic.Ack(1))
        assert answers[1:] == [None]

    def test_closes_its_channel_when_no_answer_comes_in_time(self) -> None:
        connection, channel, answers = self.sent()
        connection.timers.pop()()
        assert not channel.is_open
        channel.on_close(channel, NotSentError("late"))
        assert len(answers) == 1

    @pytest.mark.parametrize("step", ["open", "selected", "late"])
    def test_survives_a_channel_that_closes_meanwhile(self, step: str) -> None:
        connection, answers = Connection(), list[Any]()
        _pika_outbox.CallbackOutbox().send(cast("Any", connection), COPY, answers.append)
        channel = connection.channels[0]
        channel.is_open = step != "open"
        channel.on_open()
        if step != "open":
            channel.is_open = step == "late"
            channel.selected(None)
            channel.is_open = False
            for timer in connection.timers[:]:
                timer()
        assert answers == []
        channel.on_close(channel, AMQPError("closed"))
        assert len(answers) == 1

    def test_waits_for_a_channel_that_is_closing(self) -> None:
        connection, answers = Connection(), list[Any]()
        outbox = _pika_outbox.CallbackOutbox()
        outbox.send(cast("Any", connection), COPY, answers.append)
        channel = connection.channels[0]
        channel.ready()
        channel.answer(pika.spec.Basic.Ack(1))
        channel.is_open = False
        outbox.send(cast("Any", connection), COPY, answers.append)
        assert answers == [None]
        channel.on_close(channel, AMQPError("closed"))
        assert len(answers) == 2

    def test_tells_of_a_connection_that_is_closed(self) -> None:
        answers: list[Any] = []
        closed = cast("Any", Connection(is_open=False))
        _pika_outbox.CallbackOutbox().send(closed, COPY, answers.append)
        assert isinstance(answers[0], AMQPError)

    def test_says_nothing_of_a_channel_that_closes_idle(self) -> None:
        _, channel, answers = self.sent()
        channel.answer(pika.spec.Basic.Ack(1))
        channel.on_close(channel, AMQPError("closed"))
        assert answers == [None]


class TestPika:
    def test_refuses_a_consumer_without_acknowledgements(self) -> None:
        seen: list[object] = []
        handler = mqctx.adapters.pika.consume_with_context(
            lambda *delivery: seen.append(delivery[3]), dead_letter="dlx"
        )
        with pytest.raises(HandlerError, match="auto_ack"):
            handler(*pika_delivery(PikaChannel(auto_ack=True)))
        assert seen == []

    def test_settled_without_a_message_does_nothing(self) -> None:
        channel: Any = PikaChannel()
        with mqctx.adapters.pika.settled(channel, None, None, None, dead_letter="dlx"):
            assert mqctx.current() == {}
        with (
            pytest.raises(ValueError, match="passes"),
            mqctx.adapters.pika.settled(channel, None, None, None, dead_letter="dlx"),
        ):
            raise ValueError("passes")
        assert channel.sent == []

    def test_an_error_of_the_client_does_not_end_a_connection_of_callbacks(
        self, caplog: pytest.LogCaptureFixture
    ) -> None:
        channel: Any = PikaChannel()
        handler = mqctx.adapters.pika.consume_with_context(
            lambda *_: channel._set_state(channel.CLOSED), dead_letter="dlx"
        )
        handler(*pika_delivery(channel))
        assert "could not be settled, and will come again" in caplog.text

    def test_an_interrupted_handler_puts_its_message_back(self) -> None:
        def interrupt(*_: object) -> None:
            raise KeyboardInterrupt

        channel = PikaChannel()
        handler = mqctx.adapters.pika.consume_with_context(interrupt, dead_letter="dlx")
        with pytest.raises(KeyboardInterrupt):
            handler(*pika_delivery(channel))
        assert channel.sent == ["Basic.Nack"]

    def test_a_copy_that_must_not_be_sent_is_not(self, caplog: pytest.LogCaptureFixture) -> None:
        channel = PikaChannel()
        dead_letter = DeadLetter("orders", fallback="reject")
        mqctx.adapters.pika.consume_with_context(fail, dead_letter=dead_letter)(
            *pika_delivery(channel)
        )
        assert channel.sent == ["Basic.Reject"]
        assert "would again" in caplog.text

    def test_properties_from_before_they_were_kept_are_encoded(self) -> None:
        made = ContentHeader(raw_properties(properties_of({"a": "1"})))
        assert made.headers == {"a": "1"}


class TestPikaWatch:
    @pytest.mark.parametrize(
        ("call", "left"),
        [
            (lambda channel: channel.basic_ack(2), [1, 3]),
            (lambda channel: channel.basic_ack(delivery_tag=2), [1, 3]),
            (lambda channel: channel.basic_ack(2, True), [3]),
            (lambda channel: channel.basic_ack(0, multiple=True), []),
            (lambda channel: channel.basic_nack(2, multiple=True, requeue=False), [3]),
            (lambda channel: channel.basic_reject(2, True), [1, 3]),
            (lambda channel: channel.basic_reject(2, requeue=False), [1, 3]),
            (lambda channel: channel.basic_recover(True), []),
        ],
    )
    def test_sees_each_way_to_settle(self, call: Callable[[Any], None], left: list[int]) -> None:
        channel, watch = PikaChannel(), Watch()
        for tag in (1, 2, 3):
            watch.expect(channel, tag)
        call(channel)
        assert [tag for tag in (1, 2, 3) if not watch.is_settled(tag)] == left

    def test_does_not_count_what_failed(self) -> None:
        channel: Any = PikaChannel()
        watch = Watch()
        watch.expect(channel, 1)
        channel._set_state(channel.CLOSED)
        with pytest.raises(ChannelWrongStateError):
            channel.basic_ack(1)
        assert not watch.is_settled(1)


def aio_pika_message(channel: Any, **more: Any) -> Any:
    message = incoming({"a": "1"})
    cast("Any", message)._IncomingMessage__channel = channel
    for name, value in more.items():
        setattr(message, name, value)
    return message


class TestAioPika:
    def test_refuses_a_message_that_is_settled_already(self) -> None:
        message = incoming(None)
        cast("Any", message)._IncomingMessage__processed = True
        handler = mqctx.adapters.aio_pika.consume_with_context(fail, dead_letter="dlx")
        with pytest.raises(HandlerError, match="no_ack"):
            handler(message)

    def test_properties_from_before_they_were_kept_are_encoded(self) -> None:
        message: Any = incoming({"a": "1"})
        message.headers = dict(message.headers)
        made = ContentHeader(aio_pika_properties(message))
        assert made.headers == {"a": "1"}
        assert made.get("message_id") is None

    def test_a_channel_that_closes_counts_as_not_sent_and_a_cancelled_task_does_not(self) -> None:
        class Connection:
            url = SimpleNamespace(user="guest")
            connection_tune = SimpleNamespace(frame_max=0)

            async def channel(self, **_: Any) -> Any:
                if self.waits:
                    await asyncio.sleep(60)
                raise asyncio.CancelledError("closed")

            def __init__(self, *, waits: bool) -> None:
                self.waits = waits

        def sending(*, waits: bool) -> Any:
            channel = SimpleNamespace(is_closed=False, connection=Connection(waits=waits))
            message: AbstractIncomingMessage = aio_pika_message(channel)
            return AioPikaDelivery(message, DeadLetter("dlx")).send(Failure(type="E"))

        async def main() -> None:
            assert "the channel was closed" in str(await sending(waits=False))
            task = asyncio.ensure_future(sending(waits=True))
            await asyncio.sleep(0)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task

        asyncio.run(main())

    @pytest.mark.parametrize(
        ("consumers", "tag", "is_closed", "has_ended"),
        [
            ({"c": print}, "c", False, False),
            ({}, "c", False, True),
            ({}, None, False, False),
            ({"c": print}, "c", True, True),
        ],
    )
    def test_knows_when_its_consumer_has_ended(
        self, consumers: Any, tag: str | None, is_closed: bool, has_ended: bool
    ) -> None:
        channel = SimpleNamespace(is_closed=is_closed, consumers=consumers)
        message = aio_pika_message(channel, consumer_tag=tag)
        delivery = AioPikaDelivery(message, DeadLetter("dlx"))
        assert delivery.has_ended is has_ended
        assert delivery.origin.queue is None

    def test_a_connection_of_ones_own_that_is_closed_is_told(self) -> None:
        closed = SimpleNamespace(transport=None)
        message = aio_pika_message(SimpleNamespace(is_closed=False))
        delivery = AioPikaDelivery(message, DeadLetter("dlx", connection=closed))
        problem = asyncio.run(delivery.send(Failure(type="E")))
        assert "the connection for copies is not open" in str(problem)


@pytest.fixture
def memory() -> Iterator[Any]:
    """A connection in memory with a queue, and an exchange for dead letters."""
    with kombu.Connection("memory://") as connection, connection.channel() as channel:
        queue = kombu.Queue("settled-in", channel=channel)
        dead = kombu.Queue("settled-dead", kombu.Exchange("settled-dlx", "fanout"), channel=channel)
        for each in (queue, dead):
            each.declare()
            each.purge()
        producer = connection.Producer(channel)
        yield SimpleNamespace(queue=queue, dead=dead, producer=producer, channel=channel)


class TestKombuWithoutConfirms:
    """Redis, memory and others: the copy is sent first."""

    def test_sends_the_copy_as_the_message_was(self, memory: Any) -> None:
        with mqctx.scope(tenant="acme"):
            mqctx.adapters.kombu.publish(
                memory.producer,
                {"a": 1},
                routing_key="settled-in",
                headers={"CC": [], "kept": "1"},
                compression="zlib",
                expiration=60,
                correlation_id="c-1",
            )
        message = memory.queue.get()
        with mqctx.adapters.kombu.settled(message, dead_letter="settled-dlx") as context:
            assert context == {"tenant": "acme"}
            fail()
        assert message.acknowledged
        dead = memory.dead.get(no_ack=True)
        failure = Failure.from_header(dead.headers.pop("mqctx-failure"))
        assert failure is not None
        assert (failure.message, failure.attempt) == ("no", 1)
        assert failure.routing_key == "settled-in"
        assert dead.payload == {"a": 1}
        assert dead.headers.keys() == {"mqctx", "kept", "compression"}
        assert dead.properties["correlation_id"] == "c-1"
        assert "expiration" not in dead.properties

    def test_an_empty_body_stays_empty(self, memory: Any) -> None:
        memory.producer.publish(
            b"", routing_key="settled-in", content_type="x", content_encoding=""
        )
        with mqctx.adapters.kombu.settled(memory.queue.get(), dead_letter="settled-dlx"):
            fail()
        assert not memory.dead.get(no_ack=True).body

    def test_a_message_that_comes_again_is_a_second_attempt(self, memory: Any) -> None:
        memory.producer.publish("x", routing_key="settled-in")
        memory.queue.get().requeue()
        with mqctx.adapters.kombu.settled(memory.queue.get(), dead_letter="settled-dlx"):
            fail()
        dead = memory.dead.get(no_ack=True)
        failure = Failure.from_header(dead.headers["mqctx-failure"])
        assert failure is not None
        assert failure.attempt == 2

    def test_holds_what_no_queue_is_bound_for_until_one_is(self, memory: Any) -> None:
        memory.producer.publish("x", routing_key="settled-in")
        memory.producer.publish("y", routing_key="settled-in")
        first = memory.queue.get()
        with mqctx.adapters.kombu.settled(first, dead_letter="settled-late"):
            fail()
        assert not first.acknowledged
        late = kombu.Queue(
            "settled-late", kombu.Exchange("settled-late", "fanout"), channel=memory.channel
        )
        late.declare()
        waiting = vars(memory.channel.connection)["mqctx_Waiting"]
        waiting._due = [(0.0, then) for _, then in waiting._due]
        with mqctx.adapters.kombu.settled(memory.queue.get(), dead_letter="settled-late"):
            pass
        assert first.acknowledged
        again = late.get(no_ack=True)
        assert again is not None
        assert again.payload == "x"

    def test_may_go_to_a_queue_by_the_default_exchange(self, memory: Any) -> None:
        memory.producer.publish("x", routing_key="settled-in")
        dead_letter = DeadLetter("", routing_key="settled-dead")
        with mqctx.adapters.kombu.settled(memory.queue.get(), dead_letter=dead_letter):
            fail()
        assert memory.dead.get(no_ack=True).payload == "x"

    def test_rejects_or_puts_back_as_told(self, memory: Any) -> None:
        memory.producer.publish("x", routing_key="settled-in")
        message = memory.queue.get()
        kombu.Exchange("settled-nowhere", "fanout", channel=memory.channel).declare()
        dead_letter = DeadLetter("settled-nowhere", fallback="reject")
        with mqctx.adapters.kombu.settled(message, dead_letter=dead_letter):
            fail()
        assert message.acknowledged
        memory.producer.publish("x", routing_key="settled-in")
        with (
            pytest.raises(KeyboardInterrupt),
            mqctx.adapters.kombu.settled(memory.queue.get(), dead_letter="settled-dlx"),
        ):
            raise KeyboardInterrupt
        assert memory.queue.get(no_ack=True).payload == "x"

    def test_refuses_a_message_that_is_settled_already(self, memory: Any) -> None:
        memory.producer.publish("x", routing_key="settled-in")
        message = memory.queue.get()
        message.ack()
        with pytest.raises(HandlerError, match="no_ack"):
            mqctx.adapters.kombu.settled(message, dead_letter="settled-dlx")


def test_kombus_messages_from_before_their_bytes_were_kept_are_encoded() -> None:
    body = b"\x78\x9c\x4b\x04\x00\x00\x62\x00\x62"
    message: Any = kombu.Message(
        body, headers={"compression": "zlib"}, properties={"application_headers": {"a": "1"}}
    )
    assert message.body == b"a"
    properties, encoded = as_received(message)
    assert ContentHeader(properties).headers == {"a": "1"}
    assert encoded == body
    message = kombu.Message(b"a", properties={})
    assert as_received(message) == (b"\0\0", b"a")


@pytest.fixture(autouse=True)
def _quiet(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING, "mqctx.failures")
