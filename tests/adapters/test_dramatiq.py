"""dramatiq, without a broker: its StubBroker, and a real Worker with its threads."""

import asyncio
import importlib
import inspect
import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any

import dramatiq
import pytest
from dramatiq.brokers.stub import StubBroker
from dramatiq.middleware import AsyncIO, GroupCallbacks, MiddlewareError, Retries, SkipMessage

import mqctx
from mqctx import Context, Propagator, bind, current, scope
from mqctx.adapters.dramatiq import ContextMiddleware
from tests.adapters.conftest import other

SECONDS = 30
ADA: Any = {"mqctx": '{"user":"ada"}'}
Seen = list[Mapping[str, object]]
pytestmark = pytest.mark.usefixtures("unchanged")


class Witness(dramatiq.Middleware):
    """Notes what is active in the worker's thread before and after all that is ours."""

    def __init__(self) -> None:
        self.active: list[tuple[Mapping[str, object], str]] = []

    def before_process_message(self, broker: Any, message: Any) -> None:
        self.active.append((current(), other.get()))

    def after_ack(self, broker: Any, message: Any) -> None:
        self.active.append((current(), other.get()))

    after_nack = after_ack


@pytest.fixture
def stub_broker() -> Iterator[StubBroker]:
    """Give a broker whose threads are as they were, each time they are done with a message."""
    witness = Witness()
    broker = StubBroker()
    broker.add_middleware(witness, before=type(broker.middleware[0]))
    broker.add_middleware(ContextMiddleware())
    yield broker
    assert {(tuple(context), value) for context, value in witness.active} <= {((), "outside")}
    broker.flush_all()
    broker.close()


@contextmanager
def worked(broker: StubBroker) -> Iterator[Callable[[], None]]:
    """Start one worker thread, and give what waits until it did everything; stop it afterwards."""
    worker = dramatiq.Worker(broker, worker_timeout=10, worker_threads=1)

    def finish() -> None:
        for queue in broker.queues:
            broker.join(queue, timeout=SECONDS * 1000, fail_fast=False)
        worker.join()

    worker.start()
    try:
        yield finish
        finish()
    finally:
        worker.stop()


def handled(broker: StubBroker, *sends: Callable[[], object]) -> None:
    """Send messages, each when the one before was handled."""
    with worked(broker) as finish:
        for send in sends:
            send()
            finish()


def enqueued(broker: StubBroker) -> list[Any]:
    """Return the options of the messages that wait, as a worker gets them."""
    waiting = [json.loads(data) for queue in broker.queues.values() for data in queue.queue]
    return [message["options"] for message in waiting]


def test_an_actor_runs_in_the_context_that_its_message_was_sent_in(stub_broker: StubBroker) -> None:
    seen: Seen = []

    @dramatiq.actor(broker=stub_broker)
    def work() -> None:
        seen.append(current())

    contexts: Seen = [{"user": "ada", "tenant": "acme"}, {}, {"user": "eve"}]
    handled(stub_broker, *(Context(context).wrap(work.send) for context in contexts))
    assert seen == contexts


def test_nothing_that_an_actor_sets_reaches_the_next_message(stub_broker: StubBroker) -> None:
    seen: list[tuple[Mapping[str, object], str]] = []

    @dramatiq.actor(broker=stub_broker)
    def work() -> None:
        seen.append((current(), other.get()))
        other.set("inside")
        bind(step="pay")

    handled(stub_broker, Context(user="ada").wrap(work.send), Context().wrap(work.send))
    assert seen == [({"user": "ada"}, "outside"), ({}, "outside")]


def test_an_actor_that_the_application_calls_is_called_as_ever(stub_broker: StubBroker) -> None:
    @dramatiq.actor(broker=stub_broker)
    def inner() -> str:
        """Do the work."""
        other.set("inner")
        return current().get("user", "nobody")

    seen: list[tuple[str, str]] = []

    @dramatiq.actor(broker=stub_broker)
    def outer() -> None:
        seen.append((inner(), other.get()))

    before = other.set("before")
    assert (inner(), other.get()) == ("ambient", "inner")
    other.reset(before)
    assert (inner.fn.__name__, inner.fn.__doc__) == ("inner", "Do the work.")
    handled(stub_broker, Context(user="ada").wrap(outer.send))
    assert seen == [("ada", "inner")]


@pytest.mark.parametrize("position", [{}, {"before": Witness}, {"after": Witness}])
def test_it_stands_anywhere_and_finds_the_actors_that_are_there(position: Any) -> None:
    broker = StubBroker(middleware=[Witness(), Retries(min_backoff=1)])
    seen: Seen = []

    @dramatiq.actor(broker=broker, max_retries=1)
    def work() -> None:
        seen.append({**current(), "other": other.get()})
        other.set("inside")
        raise LookupError

    broker.add_middleware(ContextMiddleware(), **position)
    with scope(user="ada"), worked(broker):
        work.send()
    assert seen == [{"user": "ada", "other": "outside"}] * 2


def test_it_finds_the_actors_that_dramatiq_1_18_names(stub_broker: StubBroker) -> None:
    @dramatiq.actor(broker=stub_broker)
    def work() -> None:
        pass

    before: Any = work.fn
    ContextMiddleware().after_declare_actor(stub_broker, "work")
    assert inspect.unwrap(work.fn, stop=lambda function: function is before) is before
    assert work.fn is not before


def test_a_retry_has_the_context_and_what_was_bound(stub_broker: StubBroker) -> None:
    seen: Seen = []

    @dramatiq.actor(broker=stub_broker, max_retries=2, min_backoff=1, max_backoff=1)
    def work() -> None:
        seen.append(current())
        bind({f"attempt-{len(seen)}": True})
        raise LookupError

    with scope(user="ada"), worked(stub_broker):
        work.send()
    first = {"user": "ada"}
    second = {**first, "attempt-1": True}
    assert seen == [first, second, {**second, "attempt-2": True}]


def test_a_message_that_is_delayed_keeps_its_context(stub_broker: StubBroker) -> None:
    seen: Seen = []

    @dramatiq.actor(broker=stub_broker)
    def work() -> None:
        seen.append(current())

    with worked(stub_broker):
        for context in (Context(user="ada"), Context()):
            context.run(work.send_with_options, delay=10)
    assert sorted(seen, key=len) == [{}, {"user": "ada"}]


# dramatiq 1.18 warns of each other backend whose client is not installed.
@pytest.mark.filterwarnings("ignore::ImportWarning")
def test_callbacks_pipelines_and_groups_go_on_in_the_context(stub_broker: StubBroker) -> None:
    backends: Any = importlib.import_module("dramatiq.rate_limits.backends")
    stub_broker.add_middleware(GroupCallbacks(backends.StubBackend()))
    seen: dict[str, Mapping[str, object]] = {}

    @dramatiq.actor(broker=stub_broker, max_retries=0)
    def work(name: str, *_: object) -> str:
        seen[name] = current()
        bind(by=name)
        if name == "failing":
            raise LookupError
        return "result"

    @dramatiq.actor(broker=stub_broker)
    def on_success(message: Any, result: str) -> None:
        seen[f"after {message['args'][0]}"] = current()

    @dramatiq.actor(broker=stub_broker)
    def on_failure(message: Any, error: Any) -> None:
        seen[f"after {message['args'][0]}"] = current()

    callbacks: Any = {"on_success": on_success, "on_failure": on_failure}
    pipeline = dramatiq.pipeline([work.message("one"), work.message("two")], broker=stub_broker)
    group = dramatiq.group([work.message("member")], broker=stub_broker)
    group.add_completion_callback(work.message("complete"))
    with Context(user="ada").scope(), worked(stub_broker):
        for name in ("working", "failing"):
            work.send_with_options(args=(name,), **callbacks)
        pipeline.run()
        group.run()
    assert seen == {
        name: {"user": "ada", **({"by": by} if by else {})}
        for name, by in {
            "working": None,
            "after working": "working",
            "failing": None,
            "after failing": "failing",
            "one": None,
            "two": "one",
            "member": None,
            "complete": "member",
        }.items()
    }


def test_a_message_that_an_actor_sends_carries_what_is_active_there(
    stub_broker: StubBroker,
) -> None:
    seen: Seen = []

    @dramatiq.actor(broker=stub_broker)
    def second() -> None:
        seen.append(current())

    @dramatiq.actor(broker=stub_broker)
    def first() -> None:
        with scope(step="pay"):
            second.send()
        second.send()

    handled(stub_broker, Context(user="ada").wrap(first.send))
    assert sorted(seen, key=len) == [{"user": "ada"}, {"user": "ada", "step": "pay"}]


def test_an_async_actor_has_the_context_on_its_event_loop(stub_broker: StubBroker) -> None:
    stub_broker.add_middleware(AsyncIO())
    seen: list[tuple[Mapping[str, object], str]] = []

    @dramatiq.actor(broker=stub_broker)
    async def work() -> None:
        await asyncio.sleep(0)
        seen.append((current(), other.get()))
        other.set("inside")

    handled(stub_broker, *(Context(user=user).wrap(work.send) for user in ("ada", "eve")))
    assert seen == [({"user": "ada"}, "outside"), ({"user": "eve"}, "outside")]


@pytest.mark.parametrize("fails", [SkipMessage, LookupError, MiddlewareError])
def test_a_message_that_does_not_come_to_its_actor_leaves_nothing_active(
    stub_broker: StubBroker, fails: type[Exception]
) -> None:
    class Failing(dramatiq.Middleware):
        def before_process_message(self, broker: Any, message: Any) -> None:
            seen.append(current())
            raise fails

    stub_broker.add_middleware(Failing())
    seen: Seen = []

    @dramatiq.actor(broker=stub_broker, max_retries=0)
    def work() -> None:
        raise LookupError

    handled(stub_broker, *(Context(user=user).wrap(work.send) for user in ("ada", "eve")))
    assert seen == [{"user": "ada"}, {"user": "eve"}]


def test_a_header_that_cannot_be_read_keeps_no_message_from_its_actor(
    stub_broker: StubBroker,
) -> None:
    rejections = mqctx.configure(on_rejected=lambda _: None).rejections
    seen: Seen = []

    @dramatiq.actor(broker=stub_broker)
    def work() -> None:
        seen.append(current())

    for header in ("nonsense", 42, '{"user":"ada"}'):
        foreign = work.message_with_options(mqctx=header).encode()
        handled(stub_broker, partial(stub_broker.queues["default"].put, foreign))
    assert seen == [{}, {}, {"user": "ada"}]
    assert rejections == {"malformed": 1, "wrong-type": 1}


def test_a_stale_context_is_replaced_or_removed(stub_broker: StubBroker) -> None:
    @dramatiq.actor(broker=stub_broker)
    def work() -> None:
        pass

    message = work.message_with_options(own=1, **ADA)
    with Context(user="eve").scope():
        assert stub_broker.enqueue(message) is message
    with Context().scope():
        stub_broker.enqueue(message)
        stub_broker.enqueue(message, delay=1)
    sent, removed, delayed = enqueued(stub_broker)
    assert sent == {"own": 1, "mqctx": '{"user":"eve"}'}
    assert removed == {"own": 1}
    assert delayed == {"own": 1, "eta": delayed["eta"]}


def test_more_than_the_limit_is_refused_before_anything_is_sent(stub_broker: StubBroker) -> None:
    refused: list[mqctx.OversizeError] = []

    @dramatiq.actor(broker=stub_broker)
    def work() -> None:
        with scope(text="x" * 5000), pytest.raises(mqctx.OversizeError, match="'text'") as error:
            work.send()
        refused.append(error.value)

    with scope(text="x" * 5000), pytest.raises(mqctx.OversizeError, match="'text'") as error:
        work.send()
    assert enqueued(stub_broker) == []
    with worked(stub_broker):
        work.send()
    assert len(refused) == 1, "what the message brought does not count, and would be dropped first"
    assert type(error.value).__name__ == "OversizeError"


def test_a_retry_is_not_lost_to_a_context_that_grew_too_large(stub_broker: StubBroker) -> None:
    rejections = mqctx.configure(on_rejected=lambda _: None).rejections
    seen: Seen = []

    @dramatiq.actor(broker=stub_broker, max_retries=1, min_backoff=1)
    def work() -> None:
        seen.append(current())
        bind(text="x" * 5000, step="pay")
        raise LookupError

    with Context(user="ada").scope(), worked(stub_broker):
        work.send()
    assert seen == [{"user": "ada"}, {"user": "ada", "step": "pay"}]
    assert rejections == {"too-large": 1}


@pytest.mark.parametrize("kind", ["callback", "pipeline"])
def test_what_follows_is_not_lost_to_a_context_that_grew_too_large(
    stub_broker: StubBroker, kind: str
) -> None:
    mqctx.configure(on_rejected=lambda _: None)
    seen: Seen = []

    @dramatiq.actor(broker=stub_broker)
    def work() -> None:
        bind(text="x" * 5000)

    @dramatiq.actor(broker=stub_broker)
    def follow(*_: object) -> None:
        seen.append(current())

    with Context(user="ada").scope(), worked(stub_broker):
        if kind == "callback":
            options: Any = {"on_success": follow}
            work.send_with_options(**options)
        else:
            dramatiq.pipeline([work.message(), follow.message()], broker=stub_broker).run()
    assert seen == [{"user": "ada"}]


class Setting(dramatiq.Middleware):
    """Sets a context variable for the actor, as dramatiq's CurrentMessage does."""

    def before_process_message(self, broker: Any, message: Any) -> None:
        other.set("set for the actor")

    def after_process_message(
        self, broker: Any, message: Any, *, result: Any = None, exception: Any = None
    ) -> None:
        other.set("outside")


@pytest.mark.parametrize("position", ["before", "after"])
@pytest.mark.parametrize("kind", ["sync", "async"])
def test_an_actor_has_what_middlewares_before_and_after_set_for_it(
    stub_broker: StubBroker, position: str, kind: str
) -> None:
    stub_broker.add_middleware(AsyncIO())
    stub_broker.add_middleware(Setting(), **{position: ContextMiddleware})
    seen: list[tuple[Mapping[str, object], str]] = []

    def note() -> None:
        seen.append((current(), other.get()))
        other.set("set by the actor")

    async def note_async() -> None:
        note()

    actor = dramatiq.actor(broker=stub_broker)
    work: Any = actor(note) if kind == "sync" else actor(note_async)
    handled(stub_broker, *(Context(user=user).wrap(work.send) for user in ("ada", "eve")))
    assert seen == [({"user": user}, "set for the actor") for user in ("ada", "eve")]


def test_a_propagator_of_its_own_injects_and_extracts() -> None:
    narrow = Propagator(send=["user"], accept=["user"])
    mqctx.configure(send=[], accept=[])
    broker = StubBroker(middleware=[ContextMiddleware(propagator=narrow)])
    seen: Seen = []

    @dramatiq.actor(broker=broker)
    def work() -> None:
        seen.append(current())

    with Context(user="ada", tenant="acme").scope():
        assert work.send().options == ADA
    foreign = work.message_with_options(mqctx='{"user":"eve","tenant":"acme"}').encode()
    handled(broker, partial(broker.queues["default"].put, foreign))
    assert sorted(seen, key=str) == [{"user": "ada"}, {"user": "eve"}]
    assert narrow.rejections == {"not-accepted": 1}


def test_the_default_propagator_is_asked_at_the_time_of_the_message(
    stub_broker: StubBroker,
) -> None:
    @dramatiq.actor(broker=stub_broker)
    def work() -> None:
        pass

    mqctx.configure(send=["user"])
    with scope(user="ada", tenant="acme"):
        work.send()
    assert enqueued(stub_broker) == [ADA]
