"""Instrumented clients carry the context by themselves, and are as they were afterwards."""

import gc
import sys
from collections.abc import Iterator
from types import ModuleType, SimpleNamespace
from typing import Any, cast
from unittest.mock import Mock, patch

import aio_pika
import kombu
import pytest
from kombu import pidbox
from pika.channel import Channel

import mqctx
from mqctx import Context, Propagator, configure, current, scope
from mqctx.adapters import aio_pika as aio_pika_adapter
from mqctx.adapters import kombu as kombu_adapter
from mqctx.adapters import pika as pika_adapter
from tests.adapters.clients import (
    RecordingAiormqChannel,
    RecordingChannel,
    exchange,
    incoming,
    properties_of,
)

ADAPTERS: dict[str, Any] = {
    "aio_pika": aio_pika_adapter,
    "kombu": kombu_adapter,
    "pika": pika_adapter,
}
CARRIED = {"mqctx": '{"user":"ada"}'}


@pytest.fixture(autouse=True)
def _nothing_is_left() -> Iterator[None]:
    before = {name: attributes_of(name) for name in ADAPTERS}
    yield
    for name, adapter in ADAPTERS.items():
        adapter.uninstrument()
        after, known = attributes_of(name), {place[:2] for place in before[name]}
        assert {k: v for k, v in after.items() if k[:2] in known} == before[name]


def attributes_of(package: str) -> dict[tuple[str, str, str], int]:
    """Return the identity of each attribute of each class of a client library."""
    modules = [
        module
        for name, module in sys.modules.items()
        if isinstance(module, ModuleType) and name.split(".")[0] == package
    ]
    return {
        (module.__name__, kind.__qualname__, attribute): id(value)
        for module in modules
        for kind in tuple(vars(module).values())
        if isinstance(kind, type)
        for attribute, value in vars(kind).items()
        # The last two are made when they are asked for: by `isinstance` with a Protocol, by `copy`.
        if not attribute.startswith(
            ("__abstractmethods", "_abc", "__annotations__", "__slotnames__")
        )
    }


@pytest.fixture(params=ADAPTERS)
def adapter(request: pytest.FixtureRequest) -> Any:
    return ADAPTERS[request.param]


class TestInstrument:
    def test_instrument_changes_the_library_and_uninstrument_leaves_no_trace(
        self, adapter: Any
    ) -> None:
        package = adapter.__name__.rsplit(".", 1)[1]
        before = attributes_of(package)
        adapter.instrument()
        assert attributes_of(package) != before
        adapter.uninstrument()
        assert attributes_of(package) == before

    def test_instrument_is_idempotent_both_ways(self, adapter: Any) -> None:
        package = adapter.__name__.rsplit(".", 1)[1]
        before = attributes_of(package)
        adapter.uninstrument()
        adapter.instrument()
        once = attributes_of(package)
        adapter.instrument()
        assert attributes_of(package) == once
        adapter.uninstrument()
        adapter.uninstrument()
        assert attributes_of(package) == before

    def test_instrument_refuses_what_it_cannot_instrument(self, adapter: Any) -> None:
        with pytest.raises(mqctx.ConfigurationError, match="cannot be instrumented; give one of"):
            adapter.instrument(object())

    def test_instrument_keeps_the_names_and_docstrings_of_the_clients_methods(self) -> None:
        documented = kombu.Producer.publish.__doc__
        kombu_adapter.instrument()
        assert kombu.Producer.publish.__name__ == "publish"
        assert kombu.Producer.publish.__doc__ == documented

    def test_instrument_stays_quiet_where_another_wrapped_the_hook(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """As when OpenTelemetry instruments after us, and we leave before it does."""
        with monkeypatch.context() as patched:
            pika_adapter.instrument()
            patched.setattr(Channel, "basic_publish", wrapped(Channel.basic_publish))
            pika_adapter.uninstrument()
            assert published_by_pika() is None
            pika_adapter.instrument()
            assert published_by_pika() == CARRIED
        pika_adapter.uninstrument()

    def test_instrument_calls_what_another_made_of_a_method_before_as_a_method(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """As when OpenTelemetry instruments before us: it does so with wrapt."""
        wrapper = BindingWrapper(Channel.basic_publish)
        monkeypatch.setattr(Channel, "basic_publish", wrapper)
        pika_adapter.instrument()
        channel = RecordingChannel()
        assert published_by_pika(channel) == CARRIED
        assert wrapper.instances == [channel]
        pika_adapter.uninstrument()
        assert vars(Channel)["basic_publish"] is wrapper


class BindingWrapper:
    """Like wrapt's FunctionWrapper: tells its wrapper the instance that it is bound to."""

    def __init__(self, original: Any) -> None:
        self.original = original
        self.instances: list[object] = []

    def __get__(self, instance: object, owner: type) -> Any:
        def bound(*args: Any) -> Any:
            given = args if instance is None else (instance, *args)
            self.instances.append(given[0])
            return self.original(*given)

        return bound

    def __call__(self, *args: Any) -> Any:
        self.instances.append(None)
        return self.original(*args)


def wrapped(original: Any) -> Any:
    """Return another's wrapper around a method."""

    def wrapper(*args: Any, **kwargs: Any) -> Any:
        return original(*args, **kwargs)

    return wrapper


def published_by_pika(channel: RecordingChannel | None = None, headers: Any = None) -> Any:
    """Publish as an application does, in a context, and return the headers that are sent."""
    channel = channel or RecordingChannel()
    properties = None if headers is None else properties_of(headers)
    with scope(user="ada"):
        channel.basic_publish("", "orders", b"42", properties)
    return channel.published[-1][1].headers


class TestPika:
    def test_instrumented_pika_publishes_the_context_and_never_changes_what_it_was_given(
        self,
    ) -> None:
        pika_adapter.instrument()
        headers = {"kind": "order"}
        assert published_by_pika(headers=headers) == {"kind": "order", **CARRIED}
        assert headers == {"kind": "order"}

    def test_instrumented_pika_publishes_nothing_when_there_is_no_context(self) -> None:
        pika_adapter.instrument()
        channel = RecordingChannel()
        properties = properties_of(None)
        channel.basic_publish("", "orders", b"42", properties)
        assert vars(channel.published[0][1]) == vars(properties)

    def test_instrumented_pika_injects_once_with_explicit_publish_whose_propagator_counts(
        self,
    ) -> None:
        pika_adapter.instrument(propagator=Propagator(send=[]))
        channel = RecordingChannel()
        with scope(user="ada", secret="s"):
            pika_adapter.publish(channel, "", "orders", b"42", propagator=Propagator(send=["user"]))
        assert channel.published[0][1].headers == CARRIED

    def test_instrumented_pika_hooks_one_channel_only(self) -> None:
        chosen, other = RecordingChannel(), RecordingChannel()
        pika_adapter.instrument(chosen)
        assert published_by_pika(chosen) == CARRIED
        assert published_by_pika(other) is None
        pika_adapter.uninstrument(chosen)
        assert published_by_pika(chosen) is None

    def test_instrumented_pika_forgets_a_target_that_is_gone(self) -> None:
        channel = RecordingChannel()
        pika_adapter.instrument(channel)
        del channel
        gc.collect()
        pika_adapter.uninstrument(RecordingChannel())

    def test_instrumented_pika_runs_handlers_in_their_messages_context_while_it_is_instrumented(
        self,
    ) -> None:
        pika_adapter.instrument()
        channel: Any = RecordingChannel()
        seen: list[Context] = []
        channel.basic_consume("orders", lambda *_: seen.append(current()))
        (handler,) = channel._consumers.values()
        handler(channel, None, properties_of(CARRIED), b"42")
        pika_adapter.uninstrument()
        handler(channel, None, properties_of(CARRIED), b"42")
        assert seen == [{"user": "ada"}, {}]

    def test_instrumented_pika_runs_a_get_callback_in_its_messages_context(self) -> None:
        pika_adapter.instrument()
        channel: Any = RecordingChannel()
        seen: list[Context] = []
        channel.basic_get("orders", lambda *_: seen.append(current()))
        assert channel._on_getok_callback is not None
        channel._on_getok_callback(channel, cast("Any", None), properties_of(CARRIED), b"42")
        assert seen == [{"user": "ada"}]

    def test_instrumented_pika_leaves_decorated_and_unfit_handlers_alone(self) -> None:
        async def never_awaited(*_: object) -> None: ...

        def generate(*_: object) -> Iterator[None]:
            yield

        pika_adapter.instrument()
        for handler in (pika_adapter.consume_with_context(print), never_awaited, generate):
            channel: Any = RecordingChannel()
            channel.basic_consume("orders", cast("Any", handler))
            assert list(channel._consumers.values()) == [handler]

    @pytest.mark.parametrize("headers", [["a"], "text", 5])
    def test_instrumented_pika_lets_the_client_refuse_headers_that_are_no_mapping(
        self, headers: Any
    ) -> None:
        pika_adapter.instrument()
        assert published_by_pika(headers=headers) == headers

    def test_instrumented_pika_lets_the_client_refuse_what_are_no_properties(self) -> None:
        pika_adapter.instrument()
        channel, properties = RecordingChannel(), cast("Any", SimpleNamespace())
        with scope(user="ada"):
            channel.basic_publish("", "orders", b"42", properties)
        assert channel.published[-1][1] is properties

    def test_instrumented_pika_lets_the_client_refuse_what_is_no_handler(self) -> None:
        pika_adapter.instrument()
        with pytest.raises(TypeError, match="must be callable"):
            RecordingChannel().basic_consume("orders", cast("Any", "no handler"))


class TestKombu:
    @pytest.fixture
    def connection(self) -> Iterator[Any]:
        with kombu.Connection("memory://") as connection:
            yield connection

    def publish_and_consume(self, connection: Any, **consumer: Any) -> Context:
        """Publish and consume as an application does, and return the handler's context."""
        seen: list[Context] = []
        queue = kombu.Queue("instrumented")
        consumer = consumer or {"callbacks": [lambda body, message: seen.append(current())]}
        if "on_message" in consumer:
            consumer = {"on_message": lambda message: seen.append(current())}
        with connection.Consumer(queue, no_ack=True, **consumer):
            with scope(user="ada"):
                connection.Producer().publish("42", routing_key="instrumented", declare=[queue])
            connection.drain_events(timeout=5)
        return seen[0]

    @pytest.mark.parametrize("consumer", [{}, {"on_message": None}])
    def test_instrumented_kombu_carries_the_context_into_callbacks_and_on_message(
        self, connection: Any, consumer: Any
    ) -> None:
        assert self.publish_and_consume(connection, **consumer) == {}
        kombu_adapter.instrument()
        assert self.publish_and_consume(connection, **consumer) == {"user": "ada"}
        assert current() == {}

    def consume_from_queue(self, connection: Any, callback: Any) -> Any:
        queue = kombu.Queue("direct")(connection.default_channel)
        queue.declare()
        queue.consume("tag", callback)
        with scope(user="ada"):
            connection.Producer().publish("42", routing_key="direct")
        connection.drain_events(timeout=5)
        queue.cancel("tag")

    def test_instrumented_kombu_carries_the_context_into_the_callback_of_a_queue(
        self, connection: Any
    ) -> None:
        kombu_adapter.instrument()
        seen: list[Context] = []
        self.consume_from_queue(connection, lambda message: seen.append(current()))
        assert seen == [{"user": "ada"}]

    @pytest.mark.parametrize(
        ("target", "context"), [("connection", {"user": "ada"}), ("other", {})]
    )
    def test_instrumented_kombu_hooks_the_callback_of_a_queue_of_an_instrumented_connection_only(
        self, connection: Any, target: str, context: Any
    ) -> None:
        seen: list[Context] = []
        with kombu.Connection("memory://") as other:
            targets = {"connection": connection, "other": other}
            kombu_adapter.instrument(targets[target])
            self.consume_from_queue(connection, lambda message: seen.append(current()))
            kombu_adapter.uninstrument(targets[target])
        assert seen == [context]

    def test_instrumented_kombu_hooks_the_callback_of_a_queue_of_an_instrumented_channel(
        self, connection: Any
    ) -> None:
        seen: list[Context] = []
        kombu_adapter.instrument(connection.default_channel)
        self.consume_from_queue(connection, lambda message: seen.append(current()))
        kombu_adapter.uninstrument(connection.default_channel)
        assert seen == [{"user": "ada"}]

    def test_instrumented_kombu_gives_a_mock_of_a_channel_the_callback_itself(self) -> None:
        kombu_adapter.instrument()
        channel, callback = Mock(), Mock()
        kombu.Queue("direct", channel=channel).consume("tag", callback)
        assert channel.basic_consume.call_args.kwargs["callback"] is callback

    @pytest.mark.parametrize("message", [{}, {"headers": CARRIED}, b"42", None, object()])
    def test_instrumented_kombu_gives_a_message_of_any_shape_to_the_client(
        self, connection: Any, message: Any
    ) -> None:
        kombu_adapter.instrument()
        seen: list[object] = []

        class Decoded(SimpleNamespace):
            """A message as kombu decodes it."""

            errors: tuple[()] = ()

        with connection.Consumer(kombu.Queue("any")) as consumer:
            consumer.on_message = lambda made: seen.append((made.given, current()))
            consumer.channel.message_to_python = lambda given: Decoded(given=given)
            consumer._receive_callback(message)
        assert seen == [(message, {})]

    @pytest.mark.parametrize("headers", [["a"], "text"])
    def test_instrumented_kombu_sends_headers_that_are_no_mapping_as_the_client_does(
        self, connection: Any, headers: Any
    ) -> None:
        kombu_adapter.instrument()
        producer = connection.Producer()
        with scope(user="ada"), patch.object(producer, "_publish") as sent:
            producer.publish("42", routing_key="odd", headers=headers)
        assert sent.call_args.args[4] is headers

    def test_a_reply_of_a_mailbox_is_trimmed_where_the_context_is_too_large(self) -> None:
        rejections = configure(max_bytes=64, on_rejected=lambda _: None).rejections
        kombu_adapter.instrument()
        with kombu.Connection("memory://") as connection:
            mailbox: Any = pidbox.Mailbox("trimmed", type="direct")(connection)
            node = mailbox.Node("here", channel=connection.default_channel)

            def grow(state: object) -> str:
                mqctx.bind(basket="x" * 100)
                return "grown"

            node.handler(grow)
            replies: list[Any] = []
            queue = mailbox.reply_queue(connection.default_channel)
            queue.declare()
            with connection.Consumer(queue, callbacks=[lambda body, _: replies.append(body)]):
                with scope(user="ada"):
                    reply_to = {"exchange": mailbox.reply_exchange.name, "routing_key": mailbox.oid}
                    node.dispatch("grow", reply_to=reply_to, ticket="t-1")
                    with pytest.raises(mqctx.OversizeError):
                        connection.Producer().publish("42", routing_key="any")
                connection.drain_events(timeout=5)
        assert replies == [{"here": "grown"}]
        assert rejections.total() == 1

    @pytest.mark.parametrize(
        ("properties", "trimmed"),
        [
            ({"correlation_id": "c-1"}, True),
            ({"correlation_id": "c-1", "reply_to": ""}, True),
            ({"correlation_id": "c-1", "reply_to": "answers"}, False),
            ({}, False),
        ],
    )
    def test_an_answer_is_trimmed_where_the_context_is_too_large(
        self, connection: Any, properties: dict[str, str], trimmed: bool
    ) -> None:
        rejections = configure(max_bytes=64, on_rejected=lambda _: None).rejections
        kombu_adapter.instrument()
        with scope(basket="x" * 100):
            if trimmed:
                connection.Producer().publish("42", routing_key="answers", **properties)
            else:
                with pytest.raises(mqctx.OversizeError):
                    connection.Producer().publish("42", routing_key="answers", **properties)
        assert rejections.total() == trimmed

    def test_instrumented_kombu_gives_the_context_to_the_handler_of_decode_errors(
        self, connection: Any
    ) -> None:
        kombu_adapter.instrument()
        seen: list[Context] = []
        queue = kombu.Queue("undecodable")

        def on_error(message: Any, error: Exception) -> None:
            seen.append(current())

        with connection.Consumer(
            queue, callbacks=[print], no_ack=True, accept=["json"], on_decode_error=on_error
        ):
            with scope(user="ada"):
                connection.Producer().publish(
                    {"a": 1}, routing_key="undecodable", serializer="pickle"
                )
            connection.drain_events(timeout=5)
        assert seen == [{"user": "ada"}]

    def test_instrumented_kombu_hooks_one_connection_and_its_clones_only(
        self, connection: Any
    ) -> None:
        kombu_adapter.instrument(connection)
        assert self.publish_and_consume(connection) == {"user": "ada"}
        with connection.clone() as clone, kombu.Connection("memory://") as other:
            assert self.publish_and_consume(clone) == {"user": "ada"}
            assert self.publish_and_consume(other) == {}
            with other.clone() as of_other:
                assert self.publish_and_consume(of_other) == {}
            kombu_adapter.uninstrument(clone)
        kombu_adapter.uninstrument(connection)

    def test_instrumented_kombu_injects_once_with_explicit_publish_whose_propagator_counts(
        self, connection: Any
    ) -> None:
        kombu_adapter.instrument(propagator=Propagator(send=[]))
        queue = kombu.Queue("explicit")(connection.default_channel)
        queue.declare()
        with scope(user="ada", secret="s"):
            kombu_adapter.publish(
                connection.Producer(), "42", "explicit", propagator=Propagator(send=["user"])
            )
        headers = cast("Any", queue.get(no_ack=True)).headers
        assert headers == CARRIED
        assert type(headers) is dict

    def test_instrumented_kombu_extracts_once_for_a_decorated_handler(
        self, connection: Any
    ) -> None:
        rejections = configure(on_rejected=lambda _: None).rejections
        kombu_adapter.instrument()
        queue = kombu.Queue("once")

        @kombu_adapter.consume_with_context
        def handle(body: object, message: Any) -> None:
            with kombu_adapter.restored(message):
                pass

        with connection.Consumer(queue, no_ack=True, callbacks=[handle, handle]):
            producer = connection.Producer()
            kombu_adapter.uninstrument()
            producer.publish("42", routing_key="once", headers={"mqctx": "nonsense"})
            kombu_adapter.instrument()
            connection.drain_events(timeout=5)
        assert rejections.total() == 1


class TestAioPika:
    @pytest.mark.asyncio
    async def test_instrumented_aio_pika_publishes_the_context_and_never_changes_what_it_was_given(
        self,
    ) -> None:
        aio_pika_adapter.instrument()
        channel = RecordingAiormqChannel()
        message = aio_pika.Message(b"42", headers={"kind": "order"})
        with scope(user="ada"):
            result: Any = await exchange(channel).publish(message, "orders")
        assert result == "confirmed"
        assert channel.published[0]["properties"].headers == {"kind": "order", **CARRIED}
        assert message.headers == {"kind": "order"}

    @pytest.mark.asyncio
    async def test_instrumented_aio_pika_injects_once_with_explicit_publish_whose_propagator_counts(
        self,
    ) -> None:
        aio_pika_adapter.instrument(propagator=Propagator(send=[]))
        channel = RecordingAiormqChannel()
        with scope(user="ada", secret="s"):
            await aio_pika_adapter.publish(
                exchange(channel),
                aio_pika.Message(b"42"),
                "orders",
                propagator=Propagator(send=["user"]),
            )
        assert channel.published[0]["properties"].headers == CARRIED

    @pytest.mark.asyncio
    async def test_instrumented_aio_pika_lets_the_client_refuse_what_is_no_message(self) -> None:
        aio_pika_adapter.instrument()
        with pytest.raises(AttributeError):
            await exchange(RecordingAiormqChannel()).publish(cast("Any", "no message"), "orders")

    @pytest.mark.asyncio
    async def test_a_process_block_is_in_its_messages_context(self) -> None:
        aio_pika_adapter.instrument()
        with scope(user="ambient"):
            async with processed(CARRIED):
                assert current() == {"user": "ada"}
            assert current() == {"user": "ambient"}

    @pytest.mark.asyncio
    async def test_a_process_block_in_the_messages_own_run_keeps_what_was_added(self) -> None:
        aio_pika_adapter.instrument()
        message = incoming(CARRIED)
        with aio_pika_adapter.restored(message), scope(step="pay"):
            async with message.process(ignore_processed=True):
                assert current() == {"user": "ada", "step": "pay"}
                message._IncomingMessage__processed = True  # there is no channel to ack on

    @pytest.mark.asyncio
    async def test_leaving_while_a_block_is_open_undoes_what_the_block_did(self) -> None:
        original = aio_pika.message.ProcessContext.__aenter__
        aio_pika_adapter.instrument()
        with scope(user="ambient"):
            async with processed(CARRIED):
                aio_pika_adapter.uninstrument()
                assert current() == {"user": "ada"}
            assert current() == {"user": "ambient"}
        assert aio_pika.message.ProcessContext.__aenter__ is original


def processed(headers: dict[str, Any]) -> Any:
    """Return a `process` block for a message that was acked before."""
    message = incoming(headers)
    message._IncomingMessage__processed = True  # there is no channel to ack on
    return message.process(ignore_processed=True)
