"""kombu on its transports that are not AMQP: Redis, and the two that need no server."""

import json
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any
from uuid import uuid4

import kombu
import pytest

import mqctx
from mqctx import Context, Propagator, Variable, configure, current, scope
from mqctx.adapters.kombu import consume_with_context, publish, restored, settled
from tests.integration.redis_server import NoRedisError, find_redis
from tests.integration.test_nine_pairs import DECLARED, VALUES, shape

pytestmark = pytest.mark.usefixtures("ambient")

SECONDS = 30.0
"""How long anything here waits before it is a failure."""

Connect = Callable[[], Any]
"""Opens a connection; what is opened with one of them shares its queues."""


@pytest.fixture(params=["memory", "filesystem", "redis"])
def transport(request: pytest.FixtureRequest, tmp_path: Path) -> Connect:
    """Give what connects by each transport."""
    if request.param == "redis":
        url = request.getfixturevalue("redis_url")
        return lambda: kombu.Connection(url)
    options = {f"{name}_folder": str(tmp_path) for name in ("processed", "control")}
    folders = {"data_folder_in": str(tmp_path), "data_folder_out": str(tmp_path), **options}
    return lambda: kombu.Connection(f"{request.param}://", transport_options=folders)


@pytest.fixture
def kombu_queue() -> kombu.Queue:
    return kombu.Queue(f"mqctx-test-{uuid4().hex}")


def send(
    connect: Connect, queue: kombu.Queue, *contexts: Mapping[str, Any], **options: Any
) -> None:
    """Publish a message in each of the contexts."""
    with connect() as connection:
        producer = connection.Producer()
        for context in contexts:
            with Context(context).scope():
                publish(producer, "order", routing_key=queue.name, declare=[queue], **options)


def consume_decorated(
    connect: Connect, queue: kombu.Queue, handle: Callable[[Any], None], count: int
) -> None:
    """Give so many messages to `handle`, in a decorated handler."""
    handled = 0

    @consume_with_context
    def on_message(body: str, message: Any) -> None:
        nonlocal handled
        handled += 1
        handle(message)

    with connect() as connection, connection.Consumer(queue, callbacks=[on_message]) as consumer:
        consumer.qos(prefetch_count=1)
        until = time.monotonic() + SECONDS
        while handled < count and time.monotonic() < until:
            connection.drain_events(timeout=SECONDS)
    assert handled == count


def seen_by_handlers(connect: Connect, queue: kombu.Queue, count: int) -> list[Context]:
    """Consume and acknowledge so many messages; return what was active for each."""
    seen: list[Context] = []

    def handle(message: Any) -> None:
        seen.append(current())
        message.ack()

    consume_decorated(connect, queue, handle, count)
    return seen


def by_user(contexts: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return the contexts in the order of their users."""
    return sorted(map(dict, contexts), key=lambda context: context.get("user", ""))


def test_a_context_arrives_equal_in_value_and_type(
    transport: Connect, kombu_queue: kombu.Queue
) -> None:
    for name, value in DECLARED.items():
        Variable(name, type(value))
    sent = Context(VALUES | DECLARED)
    send(transport, kombu_queue, sent)
    (arrived,) = seen_by_handlers(transport, kombu_queue, 1)
    assert arrived == sent
    assert shape(dict(arrived)) == shape(dict(sent))


def test_messages_with_and_without_context_do_not_mix(
    transport: Connect, kombu_queue: kombu.Queue
) -> None:
    contexts = [{"user": "ada"}, {}, {"user": "eve", "tenant": "acme"}, {}]
    send(transport, kombu_queue, *contexts, headers={"kind": "order"})
    # Not in order: the filesystem keeps none.
    assert by_user(seen_by_handlers(transport, kombu_queue, 4)) == by_user(contexts)


def test_a_message_that_is_requeued_keeps_its_context(
    transport: Connect, kombu_queue: kombu.Queue
) -> None:
    seen: list[Context] = []

    def handle(message: Any) -> None:
        seen.append(current())
        mqctx.bind(attempt=len(seen))
        if len(seen) < 3:
            message.requeue()
        else:
            message.ack()

    send(transport, kombu_queue, {"user": "ada"})
    consume_decorated(transport, kombu_queue, handle, 3)
    assert seen == [{"user": "ada"}] * 3


def test_a_message_whose_handler_fails_keeps_its_context(
    transport: Connect, kombu_queue: kombu.Queue
) -> None:
    def fail(message: Any) -> None:
        message.requeue()
        raise LookupError(current()["user"])

    send(transport, kombu_queue, {"user": "ada"})
    with pytest.raises(LookupError, match="ada"):
        consume_decorated(transport, kombu_queue, fail, 1)
    assert current() == {"user": "ambient"}
    assert seen_by_handlers(transport, kombu_queue, 1) == [{"user": "ada"}]


def test_a_message_that_redis_delivers_again_keeps_its_context(
    redis_url: str, kombu_queue: kombu.Queue
) -> None:
    """Messages that a consumer leaves unacknowledged are given back when its connection ends."""

    def connect() -> Any:
        return kombu.Connection(redis_url)

    flags: list[tuple[Context, object]] = []

    def leave(message: Any) -> None:
        flags.append((current(), message.headers.get("redelivered")))

    send(connect, kombu_queue, {"user": "ada"})
    for _ in range(2):
        consume_decorated(connect, kombu_queue, leave, 1)
    assert flags == [(Context(user="ada"), None), (Context(user="ada"), True)]


def test_a_message_that_is_published_on_carries_the_new_context_only(
    transport: Connect, kombu_queue: kombu.Queue
) -> None:
    headers: list[dict[str, Any]] = []

    def note(message: Any) -> None:
        message.ack()
        headers.append(message.headers)

    def publish_on(message: Any) -> None:
        note(message)
        send(transport, kombu_queue, {"user": "grace"}, headers=message.headers)

    send(transport, kombu_queue, {"user": "ada", "old": True}, headers={"kind": "order"})
    consume_decorated(transport, kombu_queue, publish_on, 1)
    consume_decorated(transport, kombu_queue, note, 1)
    assert headers == [
        {"kind": "order", "mqctx": '{"user":"ada","old":true}'},
        {"kind": "order", "mqctx": '{"user":"grace"}'},
    ]


def test_a_simple_queue_restores_each_message(transport: Connect, kombu_queue: kombu.Queue) -> None:
    contexts = [{"user": "ada"}, {}, {"user": "eve"}]
    send(transport, kombu_queue, *contexts)
    seen: list[Context] = []
    with transport() as connection, closing(connection.SimpleQueue(kombu_queue)) as simple:
        for _ in contexts:
            message = simple.get(timeout=SECONDS)
            with restored(message):
                seen.append(current())
            message.ack()
            assert current() == {"user": "ambient"}
    assert by_user(seen) == by_user(contexts)


def test_what_is_published_through_a_simple_queue(
    transport: Connect, kombu_queue: kombu.Queue
) -> None:
    with transport() as connection, closing(connection.SimpleQueue(kombu_queue.name)) as simple:
        with scope(user="ada"):
            publish(simple.producer, "order")
        with restored(simple.get(timeout=SECONDS)) as context:
            assert context == {"user": "ada"}


@pytest.mark.parametrize("raw", ["nonsense", "", 5, None, ["a"], {"a": 1}], ids=repr)
def test_a_header_that_cannot_be_read_never_keeps_a_message_from_its_handler(
    transport: Connect, kombu_queue: kombu.Queue, raw: object
) -> None:
    rejections = configure(on_rejected=lambda _: None).rejections
    with transport() as connection:
        connection.Producer().publish(
            "order", routing_key=kombu_queue.name, declare=[kombu_queue], headers={"mqctx": raw}
        )
    assert seen_by_handlers(transport, kombu_queue, 1) == [{}]
    assert rejections.total() == 1


def test_a_context_that_is_too_large_is_refused_or_trimmed(
    transport: Connect, kombu_queue: kombu.Queue
) -> None:
    large = {"user": "ada", "basket": "x" * 200_000}
    with pytest.raises(mqctx.OversizeError, match="'basket'"):
        send(transport, kombu_queue, large)
    trimming = Propagator(on_oversize="drop", on_rejected=lambda _: None)
    send(transport, kombu_queue, large, propagator=trimming)
    assert seen_by_handlers(transport, kombu_queue, 1) == [{"user": "ada"}]
    assert trimming.rejections == {"too-large": 1}


def test_a_redis_that_is_named_is_taken() -> None:
    with find_redis({"MQCTX_TEST_REDIS_URL": "redis://elsewhere/0"}) as url:
        assert url == "redis://elsewhere/0"


def test_without_redis_the_tests_say_what_to_do() -> None:
    with pytest.raises(NoRedisError, match="make redis"), find_redis({"PATH": ""}):
        pass


def test_what_a_handler_or_a_block_fails_on_is_dead_lettered_with_the_reason(
    transport: Connect, kombu_queue: kombu.Queue
) -> None:
    dlx = kombu.Exchange(f"{kombu_queue.name}.dlx", "direct")
    dead = kombu.Queue(f"{kombu_queue.name}.dead", dlx, routing_key=kombu_queue.name)
    send(transport, kombu_queue, {"tenant": "acme"}, {"tenant": "initech"})

    @consume_with_context(dead_letter=dlx.name)
    def on_message(body: str, message: Any) -> None:
        raise LookupError("no card")

    with transport() as connection:
        dead.bind(connection.channel()).declare()
        with connection.Consumer(kombu_queue, callbacks=[on_message]) as consumer:
            consumer.qos(prefetch_count=1)
            connection.drain_events(timeout=SECONDS)
        with settled(taken(connection, kombu_queue), dead_letter=dlx.name):
            raise LookupError("no card")
        assert kombu_queue.bind(connection.channel()).get() is None
        copies = [taken(connection, dead) for _ in range(2)]
        tenants = {json.loads(each.headers["mqctx"])["tenant"] for each in copies}
        assert tenants == {"acme", "initech"}
        for each in copies:
            failure = json.loads(each.headers["mqctx-failure"])
            assert (failure["type"], failure["message"]) == ("LookupError", "no card")
            each.ack()


def taken(connection: Any, queue: kombu.Queue) -> Any:
    """Get a message that is there."""
    message = queue.bind(connection.channel()).get()
    assert message is not None
    return message
