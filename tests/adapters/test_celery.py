"""Behaviour particular to Celery, on its in-memory transport, with the worker's own code."""

import copy
import logging
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace
from typing import Any, cast
from unittest.mock import MagicMock, patch
from uuid import uuid4

import celery
import pytest
from celery import chain, chord, group, signals
from celery.app.amqp import AMQP
from celery.app.task import Context as TaskContext
from celery.app.trace import ExceptionInfo, trace_task
from celery.concurrency.solo import TaskPool
from celery.contrib.testing.app import setup_default_app
from celery.exceptions import WorkerLostError
from celery.worker.request import Request

import mqctx
from mqctx import Context, Propagator, configure, current, scope
from mqctx.adapters import celery as celery_adapter
from mqctx.adapters import kombu as kombu_adapter
from tests.adapters.conftest import other

CARRIED = {"mqctx": '{"user":"ada"}'}


@pytest.fixture(autouse=True)
def _hooks_go_as_they_came() -> Iterator[None]:
    yield
    celery_adapter.uninstrument()
    kombu_adapter.uninstrument()
    assert class_attributes() == UNTOUCHED


@pytest.fixture(autouse=True, params=[2, 1], ids="protocol {}".format)
def app(request: pytest.FixtureRequest) -> Iterator[Any]:
    """Give an instrumented app with queues of its own; tests in classes try both protocols."""
    with app_of(task_protocol=request.param) as made:
        celery_adapter.instrument()
        yield made
        celery_adapter.uninstrument(made)


class app_of:  # noqa: N801 - used as a function
    """A Celery app that is the current one in the `with` block."""

    def __init__(self, **settings: Any) -> None:
        self.app = celery.Celery(
            broker="memory://", backend="cache+memory://", set_as_current=False
        )
        self.app.conf.update(task_default_queue=uuid4().hex, **settings)
        self._setup = setup_default_app(self.app)

    def __enter__(self) -> Any:
        self._setup.__enter__()
        self.app.set_default()
        self.app.set_current()
        return self.app

    def __exit__(self, *error: object) -> None:
        self._setup.__exit__(None, None, None)


def sent_messages(app: Any) -> list[Any]:
    """Take the messages that were sent and not yet worked off."""
    messages: list[Any] = []
    with app.connection() as connection, connection.SimpleQueue(default_queue(app)) as queue:
        while queue.qsize():
            messages.append(queue.get_nowait())
            messages[-1].ack()
    return messages


def default_queue(app: Any) -> str:
    return cast("str", app.conf.task_default_queue)


def contexts(app: Any) -> list[object]:
    """Take the messages that were sent, and return what they carry for us."""
    return [message.headers.get("mqctx") for message in sent_messages(app)]


def work(app: Any) -> None:
    """Work off what was sent, and what that sends, as a worker does; countdowns take no time."""
    consumer = MagicMock(pool=TaskPool(), event_dispatcher=None, disable_rate_limits=True)
    consumer.controller.state.revoked = set()
    consumer.timer.call_at = lambda eta, function, args, priority: function(*args)
    consumer.on_task_request = consumer.apply_eta_task = lambda request: request.execute_using_pool(
        consumer.pool
    )
    while messages := sent_messages(app):
        for message in messages:
            payload = None if "task" in message.headers else message.decode()
            name = (payload or message.headers)["task"]
            handle = app.tasks[name].start_strategy(app, consumer)
            handle(message, payload, no_ack, no_ack, [])


def no_ack(*_: object) -> None:
    """Stand in for the acknowledgement of what `sent` acknowledged."""


@pytest.fixture
def seen() -> list[Context]:
    """The context in each run of `note` and the tasks below, in order."""
    return []


@pytest.fixture
def note(app: Any, seen: list[Context]) -> Any:
    """A task that notes what is active, binds its step, and returns its argument."""

    @app.task(name="note")
    def note(value: Any = None, step: str | None = None) -> Any:
        seen.append(current())
        if step is not None:
            mqctx.bind(step=step)
        return value

    return note


@pytest.fixture
def errback(app: Any, seen: list[Context]) -> Any:
    """A task that notes what is active; sent, since it takes the id of the failed task only."""

    @app.task
    def errback(task_id: str) -> None:
        seen.append(current())

    return errback


WAYS_TO_SEND: dict[str, Callable[[Any, Any], object]] = {
    "delay": lambda app, task: task.delay(1),
    "apply_async": lambda app, task: task.apply_async((1,), countdown=5),
    "send_task": lambda app, task: app.send_task("note", (1,)),
    "a signature": lambda app, task: task.s(1).apply_async(),
    "a signature by name": lambda app, task: app.signature("note", (1,)).delay(),
    "a group of one": lambda app, task: group([task.s(1)], app=app).delay(),
    "chunks of one": lambda app, task: task.chunks([(1,)], 1).apply_async(),
    "a connection": lambda app, task: task.apply_async((1,), connection=app.connection()),
}


@pytest.mark.parametrize("way", WAYS_TO_SEND)
class TestSending:
    def test_sending_a_task_carries_the_context_of_the_moment(
        self, way: str, app: Any, note: Any
    ) -> None:
        with scope(user="ada"):
            WAYS_TO_SEND[way](app, note)
        WAYS_TO_SEND[way](app, note)
        assert contexts(app) == [CARRIED["mqctx"], None]

    def test_sending_a_task_raises_where_the_context_does_not_fit_and_sends_nothing(
        self, way: str, app: Any, note: Any
    ) -> None:
        """A receiver of `before_task_publish` could not: Celery logs its errors, and sends."""
        with scope(basket="x" * 5000), pytest.raises(mqctx.OversizeError, match="'basket'"):
            WAYS_TO_SEND[way](app, note)
        assert sent_messages(app) == []


class TestHeaders:
    def test_headers_of_the_caller_are_kept_and_never_written_into(
        self, app: Any, note: Any
    ) -> None:
        given = {"kind": "order"}
        options = {"headers": given, "priority": 3}
        with scope(user="ada"):
            note.apply_async(**options)
        (message,) = sent_messages(app)
        assert message.headers.items() >= {"kind": "order", **CARRIED}.items()
        assert given == {"kind": "order"}
        assert options == {"headers": given, "priority": 3}

    def test_headers_may_be_pairs_as_celery_lets_them(self, app: Any, note: Any) -> None:
        with scope(user="ada"):
            note.apply_async(headers=[("kind", "order")])
        (message,) = sent_messages(app)
        assert message.headers.items() >= {"kind": "order", **CARRIED}.items()

    def test_headers_that_a_route_adds_are_kept(self, app: Any, note: Any) -> None:
        app.conf.task_routes = {"note": {"headers": {"kind": "order"}}}
        with scope(user="ada"):
            note.delay()
        (message,) = sent_messages(app)
        assert message.headers.items() >= {"kind": "order", **CARRIED}.items()

    def test_headers_that_are_stale_are_replaced_or_removed(self, app: Any, note: Any) -> None:
        stale = {"mqctx": '{"user":"eve","old":1}'}
        with scope(user="ada"):
            note.apply_async(headers=stale)
        with Context().scope():
            note.apply_async(headers=stale)
        assert contexts(app) == [CARRIED["mqctx"], None]

    def test_headers_that_bring_a_context_of_their_own_stay_outside_every_run(
        self, app: Any, note: Any
    ) -> None:
        note.apply_async(headers={"mqctx": '{"job":"nightly"}'})  # as beat does with an entry
        assert contexts(app) == ['{"job":"nightly"}']

    def test_headers_reach_the_task_beside_the_context(self, app: Any, note: Any) -> None:
        headers: list[dict[str, Any]] = []

        @app.task(bind=True)
        def look(self: Any) -> None:
            headers.append(self.request.headers)

        with scope(user="ada"):
            look.apply_async(headers={"kind": "order"})
        work(app)
        assert [{"kind": "order", **CARRIED}.items() <= each.items() for each in headers] == [True]

    def test_headers_nested_in_headers_as_sentry_does_hide_nothing(
        self, app: Any, note: Any, seen: list[Context]
    ) -> None:
        with scope(user="ada"):
            note.apply_async(headers={"headers": {"sentry-trace": "1"}})
        work(app)
        assert seen == [{"user": "ada"}]

    def test_headers_of_a_message_as_short_as_protocol_1_allows_are_read(
        self, app: Any, note: Any, seen: list[Context]
    ) -> None:
        with scope(user="ada"), app.connection() as connection:
            body = {"task": "note", "id": "1"}
            kombu_adapter.publish(connection.Producer(), body, routing_key=default_queue(app))
        work(app)
        assert seen == [{"user": "ada"}]

    @pytest.mark.parametrize("raw", ["nonsense", "[1]", 5, None, {"a": 1}, b"\xff"], ids=repr)
    def test_headers_that_cannot_be_read_never_keep_a_task_from_running(
        self, app: Any, note: Any, seen: list[Context], raw: object
    ) -> None:
        rejections = configure(on_rejected=lambda _: None).rejections
        celery_adapter.uninstrument()
        note.apply_async(headers={"mqctx": raw})
        celery_adapter.instrument()
        work(app)
        assert seen == [{}]
        assert rejections.total() == 1


class TestRunning:
    def test_running_a_task_restores_exactly_what_was_sent_and_then_what_was_before(
        self, app: Any, note: Any, seen: list[Context]
    ) -> None:
        for user in ("ada", None, "eve"):
            with scope({} if user is None else {"user": user}):
                note.delay(step="bound")
        with scope(user="ambient"):
            work(app)
            assert current() == {"user": "ambient"}
        assert seen == [{"user": "ada"}, {}, {"user": "eve"}]

    def test_running_a_task_keeps_what_a_task_sets_to_itself(
        self, app: Any, seen: list[Context]
    ) -> None:
        others: list[str] = []

        @app.task
        def leak() -> None:
            others.append(other.get())
            seen.append(current())
            other.set("leaked")
            scope(user="leaked").__enter__()
            raise LookupError

        leak.delay()
        leak.delay()
        work(app)
        assert others == ["outside"] * 2
        assert seen == [{}, {}]
        assert other.get() == "outside"

    def test_running_a_task_covers_what_surrounds_the_body(
        self, app: Any, seen: list[Context], caplog: pytest.LogCaptureFixture
    ) -> None:
        """Handlers of the task, receivers of signals, and Celery's line of success or failure."""

        class Noting(logging.Handler):
            def emit(self, record: logging.LogRecord) -> None:
                seen.append(current())

        def noting(*_: object, **__: object) -> None:
            seen.append(current())

        class Base(app.Task):
            before_start = on_success = on_failure = after_return = noting

        @app.task(base=Base)
        def halve(number: int) -> float:
            return 1 / number

        log = logging.getLogger("celery.app.trace")
        log.addHandler(handler := Noting())
        caplog.set_level("INFO", log.name)
        for signal in (signals.task_prerun, signals.task_success, signals.task_postrun):
            signal.connect(noting, sender=halve)
        with scope(user="ada"):
            halve.delay(2)
            halve.delay(0)
        work(app)
        log.removeHandler(handler)
        assert seen == [{"user": "ada"}] * (7 + 6)

    def test_running_a_task_mixes_nothing_where_two_runs_of_one_id_overlap(self, app: Any) -> None:
        """As with a retry in another thread, or a message that is delivered again meanwhile."""
        together = threading.Barrier(2, timeout=10)
        seen: list[tuple[str, Context]] = []

        @app.task
        def meet(user: str) -> None:
            together.wait()
            seen.append((user, current()))
            mqctx.bind(user=user.upper())
            together.wait()
            seen.append((user.upper(), current()))

        def run(user: str) -> Context:
            request = {"lang": "py", "mqctx": f'{{"user":"{user}"}}'}
            trace_task(meet, "one-id", (user,), {}, request, app=app)
            return current()

        # Celery prepares an app and a task at their first use: let no two threads do it at once.
        app.finalize()
        assert meet.name
        with ThreadPoolExecutor(2) as pool:
            assert list(pool.map(run, ["ada", "eve"])) == [{}, {}]
        assert sorted(user for user, _ in seen) == ["ADA", "EVE", "ada", "eve"]
        assert all(context == {"user": user} for user, context in seen)

    def test_running_a_task_knows_a_run_without_request(
        self, app: Any, note: Any, seen: list[Context]
    ) -> None:
        with scope(user="ambient"):
            trace_task(note, "id", (), {}, app=app)
            note.__trace__("id", (), {})
        assert seen == [{}, {}]


class TestFollowing:
    """Tasks that follow from a task: they carry its context, and what it bound."""

    def test_steps_of_a_chain_have_the_context_and_what_earlier_ones_bound(
        self, app: Any, note: Any, seen: list[Context]
    ) -> None:
        with scope(user="ada"):
            chain(note.s(1, step="pick"), note.s(step="pack"), note.s(), app=app).delay()
        work(app)
        assert seen == [
            {"user": "ada"},
            {"user": "ada", "step": "pick"},
            {"user": "ada", "step": "pack"},
        ]

    def test_members_of_a_group_have_the_context(
        self, app: Any, note: Any, seen: list[Context]
    ) -> None:
        with scope(user="ada"):
            group([note.s(1, step="a"), note.s(2, step="b")], app=app).delay()
        work(app)
        assert seen == [{"user": "ada"}] * 2

    def test_header_and_body_of_a_chord_have_the_context(
        self, app: Any, note: Any, seen: list[Context]
    ) -> None:
        """Also the task that waits for the header, and sends the body when it is complete."""
        with scope(user="ada"):
            result: Any = chord([note.s(1), note.s(2)], note.s(), app=app).delay()
        work(app)
        assert sorted(result.get()) == [1, 2]
        assert seen == [{"user": "ada"}] * 3

    def test_the_task_of_a_starmap_has_the_context(
        self, app: Any, note: Any, seen: list[Context]
    ) -> None:
        with scope(user="ada"):
            note.starmap([(1,), (2,)]).delay()
        work(app)
        assert seen == [{"user": "ada"}] * 2

    def test_a_linked_task_has_the_context(self, app: Any, note: Any, seen: list[Context]) -> None:
        with scope(user="ada"):
            note.apply_async((1, "pay"), link=note.s())
        work(app)
        assert seen == [{"user": "ada"}, {"user": "ada", "step": "pay"}]

    @pytest.mark.parametrize("inline", [False, True])
    def test_an_errback_has_the_context(
        self, app: Any, errback: Any, seen: list[Context], inline: bool
    ) -> None:
        @app.task
        def called(request: Any, error: Exception, traceback: str) -> None:
            seen.append(current())

        @app.task
        def fail() -> None:
            mqctx.bind(step="pay")
            raise LookupError

        with scope(user="ada"):
            fail.apply_async(link_error=(called if inline else errback).s())
        work(app)
        assert seen == [{"user": "ada", "step": "pay"}]

    def test_tasks_that_a_task_sends_have_its_context(
        self, app: Any, note: Any, seen: list[Context]
    ) -> None:
        @app.task
        def send() -> None:
            with scope(tenant="acme"):
                note.delay()
            note.delay()

        with scope(user="ada"):
            send.delay()
        work(app)
        assert seen == [{"user": "ada", "tenant": "acme"}, {"user": "ada"}]

    def test_the_task_that_replaces_one_has_its_context(
        self, app: Any, note: Any, seen: list[Context]
    ) -> None:
        @app.task(bind=True)
        def replaced(self: Any) -> None:
            mqctx.bind(step="pay")
            self.replace(note.s())

        with scope(user="ada"):
            replaced.delay()
        work(app)
        assert seen == [{"user": "ada", "step": "pay"}]


class TestRetry:
    @pytest.fixture
    def retry(self, app: Any, seen: list[Context]) -> Any:
        """A task that is retried four times, and binds which attempt it was."""

        @app.task(bind=True, max_retries=4)
        def retry(self: Any) -> None:
            seen.append(current())
            headers.append(self.request.headers)
            mqctx.bind(attempt=self.request.retries)
            raise self.retry(countdown=1)

        headers: list[dict[str, Any]] = []
        retry.seen_headers = headers
        return retry

    def test_a_retry_carries_the_context_and_what_was_bound(
        self, app: Any, retry: Any, seen: list[Context]
    ) -> None:
        with scope(user="ada"):
            retry.delay()
        work(app)
        assert seen == [{"user": "ada"}, *({"user": "ada", "attempt": n} for n in range(4))]

    def test_a_retry_neither_loses_headers_nor_lets_them_grow(self, app: Any, retry: Any) -> None:
        with scope(user="ada"):
            retry.apply_async(headers={"kind": "order"})
        work(app)
        assert [headers["kind"] for headers in retry.seen_headers] == ["order"] * 5
        assert len({len(headers) for headers in retry.seen_headers}) == 1
        assert {len(headers["mqctx"]) for headers in retry.seen_headers[1:]} == {26}

    def test_a_retry_of_a_task_without_context_carries_none(
        self, app: Any, note: Any, seen: list[Context]
    ) -> None:
        @app.task(bind=True, autoretry_for=(LookupError,), max_retries=1)
        def flaky(self: Any) -> None:
            seen.append(current())
            raise LookupError

        flaky.delay()
        with scope(user="ambient"):
            work(app)
        assert seen == [{}, {}]


class TestContextThatGrewTooLarge:
    """In a task, nobody could catch what Celery's own sends raise: the rest goes on without it."""

    @pytest.fixture
    def grow(self, app: Any, seen: list[Context]) -> Any:
        """A task that binds more than fits, and ends as it is told."""

        @app.task(bind=True, max_retries=1, default_retry_delay=0)
        def grow(self: Any, end: str = "") -> None:
            seen.append(current())
            mqctx.bind(basket="x" * 5000)
            if end == "retry":
                raise self.retry()
            if end == "fail":
                raise LookupError

        return grow

    def test_a_context_that_grew_too_large_loses_no_retry(
        self, app: Any, grow: Any, seen: list[Context]
    ) -> None:
        rejections = configure(on_rejected=lambda _: None).rejections
        with scope(user="ada"):
            grow.delay("retry")
        work(app)
        assert seen == [{"user": "ada"}] * 2
        assert rejections == {"too-large": 1}

    @pytest.mark.parametrize("follows", ["link", "chain", "link_error", "chord"])
    def test_a_context_that_grew_too_large_loses_nothing_that_follows(
        self, app: Any, grow: Any, note: Any, errback: Any, seen: list[Context], follows: str
    ) -> None:
        configure(on_rejected=lambda _: None)
        with scope(user="ada"):
            if follows == "link":
                grow.apply_async(link=note.si())
            elif follows == "chain":
                chain(grow.si(), note.si(), app=app).delay()
            elif follows == "link_error":
                grow.apply_async(("fail",), link_error=errback.s())
            else:
                chord([grow.si()], note.si(), app=app).delay()
        work(app)
        assert seen == [{"user": "ada"}] * 2


class TestBatch:
    """Work that a message gives rise to, and that is not its own: celery-batches' flush is such."""

    def test_a_batch_in_the_solo_pool_is_in_none_of_its_messages_contexts(
        self, app: Any, seen: list[Context]
    ) -> None:
        kombu_adapter.instrument()

        def flush() -> None:
            seen.append(current())

        with app.connection() as connection:
            with scope(user="ada"):
                connection.Producer().publish("42", routing_key=default_queue(app))

            def on_message(message: Any) -> None:
                seen.append(current())
                TaskPool(app=app).apply_async(flush, callback=no_ack)
                seen.append(current())

            queue = app.amqp.queues[default_queue(app)]
            with connection.Consumer([queue], on_message=on_message, no_ack=True):
                connection.drain_events(timeout=1)
                celery_adapter.uninstrument()
                connection.Producer().publish("43", routing_key=default_queue(app))
                connection.drain_events(timeout=1)
        assert seen == [{"user": "ada"}, {}, {"user": "ada"}, {}, {}, {}]

    def test_a_batch_has_the_context_of_each_request(self, app: Any, note: Any) -> None:
        """As celery-batches hands them over: with the fields of the worker's request."""
        requests: list[Any] = []
        for user in ("ada", None):
            with scope({"user": user} if user else {}):
                note.delay()
        consumer = MagicMock(on_task_request=requests.append, disable_rate_limits=True)
        consumer.controller.state.revoked = set()
        for message in sent_messages(app):
            payload = None if "task" in message.headers else message.decode()
            note.start_strategy(app, consumer)(message, payload, no_ack, no_ack, [])
        for each, context in zip(requests, ({"user": "ada"}, {}), strict=True):
            simple = SimpleNamespace(request_dict=each.request_dict)
            with scope(user="ambient"):
                for request in (each, simple, TaskContext(each.request_dict)):
                    with celery_adapter.restored(request):
                        assert current() == context
        with scope(user="ambient"), celery_adapter.restored(None):
            assert current() == {}
        with celery_adapter.restored(requests[0], propagator=Propagator(accept=[])):
            assert current() == {}


class TestInTheMainProcess:
    """The worker's own work for a task whose process is gone, or that never ran."""

    @pytest.fixture
    def request_of(self, app: Any, note: Any) -> Callable[..., Any]:
        """Return the worker's request for a task that was sent in a context."""

        def request_of(**options: Any) -> Any:
            with scope(user="ada"):
                note.apply_async(**options)
            (message,) = sent_messages(app)
            if app.conf.task_protocol == 2:
                return Request(message, app=app)
            body = message.decode()
            headers = {**body, "headers": message.headers}
            embed = {name: body[name] for name in ("callbacks", "errbacks", "chord")}
            return Request(
                message,
                app=app,
                headers=headers,
                body=((), {}, embed | {"chain": None}),
                decoded=True,
            )

        return request_of

    def test_an_errback_of_a_task_whose_process_was_lost_has_its_context(
        self, app: Any, request_of: Any, errback: Any, seen: list[Context]
    ) -> None:
        request = request_of(link_error=errback.s())
        try:
            raise WorkerLostError
        except WorkerLostError:
            request.on_failure(ExceptionInfo())
        work(app)
        assert seen == [{"user": "ada"}]

    def test_an_errback_of_a_task_whose_time_was_over_has_its_context(
        self, app: Any, request_of: Any, errback: Any, seen: list[Context]
    ) -> None:
        request_of(link_error=errback.s()).on_timeout(soft=False, timeout=1)
        work(app)
        assert seen == [{"user": "ada"}]

    def test_receivers_of_the_signal_that_a_task_was_revoked_are_in_its_context(
        self, request_of: Any, note: Any, seen: list[Context]
    ) -> None:
        def receive(**_: object) -> None:
            seen.append(current())

        signals.task_revoked.connect(receive, sender=note)
        request = request_of(expires=3600)
        assert not request.revoked()
        request.expires = request.expires.replace(year=2000)
        assert request.revoked()
        assert seen == [{"user": "ada"}]


class TestEager:
    """A task that is called, not sent, is part of its caller's run."""

    @pytest.mark.parametrize("always", [False, True])
    def test_an_eager_task_stays_in_its_callers_context(
        self, app: Any, note: Any, seen: list[Context], always: bool
    ) -> None:
        app.conf.task_always_eager = always
        with scope(user="ada"):
            if always:
                note.apply_async(headers={"mqctx": '{"user":"eve"}'})
            else:
                note.apply()
            note()
            assert current() == {"user": "ada"}
        assert seen == [{"user": "ada"}] * 2

    def test_an_eager_task_in_a_task_leaves_that_tasks_context_alone(
        self, app: Any, note: Any, seen: list[Context]
    ) -> None:
        @app.task
        def outer() -> None:
            note.apply(throw=True)
            seen.append(current())

        with scope(user="ada"):
            outer.delay()
        work(app)
        assert seen == [{"user": "ada"}] * 2

    def test_an_eager_task_retried_stays_there_too(self, app: Any, seen: list[Context]) -> None:
        @app.task(bind=True, max_retries=2)
        def retry(self: Any) -> None:
            seen.append(current())
            raise self.retry(exc=LookupError())

        with scope(user="ada"):
            retry.apply()
        assert seen == [{"user": "ada"}] * 3


def class_attributes() -> dict[tuple[type, str], object]:
    """Return what Celery's classes consist of."""
    kinds = (AMQP, celery.Celery, Request, celery.Task)
    return {(kind, name): value for kind in kinds for name, value in vars(kind).items()}


UNTOUCHED = class_attributes()


class TestInstrument:
    def test_instrument_is_idempotent_and_uninstrument_leaves_no_trace(
        self, app: Any, note: Any
    ) -> None:
        hooked = class_attributes()
        celery_adapter.instrument(app)
        celery_adapter.instrument()
        assert class_attributes() == hooked
        note.delay()
        work(app)
        celery_adapter.uninstrument()
        assert class_attributes() == hooked
        celery_adapter.uninstrument(app)
        celery_adapter.uninstrument(app)
        assert class_attributes() == UNTOUCHED
        celery_adapter.instrument()
        assert {key for key, _ in class_attributes().items() ^ UNTOUCHED.items()} == {
            (AMQP, "send_task_message"),
            (celery.Task, "__trace__"),
            (Request, "on_failure"),
            (Request, "on_timeout"),
            (Request, "_announce_revoked"),
        }

    def test_instrument_refuses_what_is_no_app(self) -> None:
        with pytest.raises(mqctx.ConfigurationError, match="give one of: celery.app.base.Celery"):
            celery_adapter.instrument(cast("Any", object()))

    def test_instrument_hooks_one_app_only(self, app: Any, note: Any, seen: list[Context]) -> None:
        celery_adapter.uninstrument()
        celery_adapter.instrument(app)
        with scope(user="ada"):
            note.delay()
            with app_of() as uninstrumented:
                uninstrumented.send_task("note")
                assert contexts(uninstrumented) == [None]
        work(app)
        assert seen == [{"user": "ada"}]

    def test_instrument_leaves_the_tasks_of_another_app_where_they_run(
        self, app: Any, note: Any, seen: list[Context]
    ) -> None:
        celery_adapter.uninstrument()
        with app_of() as instrumented:
            celery_adapter.instrument(instrumented)
        note.delay()
        with scope(user="ambient"):
            work(app)
        assert seen == [{"user": "ambient"}]
        celery_adapter.uninstrument(instrumented)

    def test_instrument_takes_the_proxy_of_the_current_app(self, app: Any, note: Any) -> None:
        celery_adapter.uninstrument()
        celery_adapter.instrument(celery.current_app)
        with scope(user="ada"):
            note.delay()
            celery_adapter.uninstrument(celery.current_app)
            note.delay()
        assert contexts(app) == [CARRIED["mqctx"], None]

    def test_instrument_holds_at_once_for_an_app_that_was_at_work_before(
        self, app: Any, note: Any, seen: list[Context]
    ) -> None:
        celery_adapter.uninstrument()
        with scope(user="ada"):
            note.delay()
            work(app)
            celery_adapter.instrument()
            note.delay()
            mqctx.run({}, work, app)
            celery_adapter.uninstrument()
            note.delay()
            mqctx.run({}, work, app)
        assert seen == [{"user": "ada"}, {"user": "ada"}, {}]

    @pytest.mark.parametrize("known", [True, False])
    def test_instrument_lets_a_test_replace_what_sends(
        self, app: Any, note: Any, known: bool
    ) -> None:
        """It sees what would be sent; afterwards, tasks are sent with their context as ever."""
        if known:
            assert app.amqp.send_task_message.__name__ == "send_task_message"
        with patch.object(app.amqp, "send_task_message") as replacement, scope(user="ada"):
            assert app.amqp.send_task_message is replacement
            note.delay()
        (message,) = replacement.call_args.args[2:]
        assert message.headers["mqctx"] == CARRIED["mqctx"]
        with scope(user="ada"):
            note.delay()
        assert contexts(app) == [CARRIED["mqctx"]]

    def test_instrument_lets_anything_else_that_sends_be_read_and_deleted(
        self, app: Any, note: Any
    ) -> None:
        app.amqp.send_task_message = other = MagicMock()
        assert app.amqp.send_task_message is other
        celery_adapter.uninstrument()
        assert app.amqp.send_task_message is other
        celery_adapter.instrument()
        assert app.amqp.send_task_message is other
        del app.amqp.send_task_message
        with pytest.raises(AttributeError, match="send_task_message"):
            del app.amqp.send_task_message
        with scope(user="ada"):
            note.delay()
        assert contexts(app) == [CARRIED["mqctx"]]

    def test_instrument_leaves_a_message_of_no_known_kind_to_celery(self, app: Any) -> None:
        with pytest.raises(TypeError, match="NoneType"), scope(user="ada"):
            app.amqp.send_task_message(None, "note", None)

    def test_instrument_lets_a_test_replace_what_traces(
        self, app: Any, note: Any, seen: list[Context]
    ) -> None:
        def tracer(owner: Any = note) -> Any:
            return owner.__trace__

        assert tracer(celery.Task) is None
        with scope(user="ada"):
            note.delay()

        def traced(*_: object) -> tuple[None, ...]:
            seen.append(current())
            return None, None, None, None

        with patch.object(note, "__trace__", traced):
            assert tracer() is traced
            work(app)
        assert tracer() is None
        trace_task(note, "id", (), {}, app=app)
        made = tracer()
        assert copy.copy(made).__name__ == made.__name__ == "trace_task"
        note.__trace__ = made
        assert tracer().original is made.original
        del note.__trace__
        assert tracer() is None
        assert seen == [{"user": "ada"}, {}]

    def test_instrument_asks_for_the_default_propagator_at_each_call(
        self, app: Any, note: Any, seen: list[Context]
    ) -> None:
        with scope(user="ada", secret="s"):
            configure(send=["user"])
            note.delay()
            configure(send=[])
            note.delay()
        configure(accept=[], on_rejected=lambda _: None)
        work(app)
        assert seen == [{}, {}]

    def test_instrument_takes_a_propagator_for_each_app(
        self, app: Any, note: Any, seen: list[Context]
    ) -> None:
        celery_adapter.instrument(app, propagator=Propagator(send=["user", "secret"]))
        with scope(user="ada", secret="s", tenant="acme"):
            note.delay()
        strict = Propagator(accept=["user"], on_rejected=lambda _: None)
        celery_adapter.instrument(app, propagator=strict)
        work(app)
        assert seen == [{"user": "ada"}]
        assert strict.rejections == {"not-accepted": 1}


class TestWithKombu:
    """kombu's hooks see Celery's messages too, on which Celery's propagator counts."""

    def test_with_kombu_instrumented_too_tasks_have_the_right_context(
        self, app: Any, note: Any, seen: list[Context]
    ) -> None:
        kombu_adapter.instrument()
        with scope(user="ada"):
            chain(note.s(1, step="pick"), note.s(), app=app).delay()
        note.delay()
        work(app)
        assert seen == [{"user": "ada"}, {}, {"user": "ada", "step": "pick"}]

    def test_with_kombu_instrumented_too_a_message_is_injected_once(
        self, app: Any, note: Any
    ) -> None:
        celery_adapter.instrument(propagator=Propagator(send=["user"]))
        kombu_adapter.instrument(propagator=Propagator(send=["secret"]))
        with scope(user="ada", secret="s"):
            note.delay()
        (message,) = sent_messages(app)
        assert message.headers["mqctx"] == CARRIED["mqctx"]
        assert type(message.headers) is dict

    def test_what_is_no_task_is_left_to_kombu(self, app: Any) -> None:
        kombu_adapter.instrument()
        with scope(user="ada"), app.connection() as connection:
            connection.Producer().publish("42", routing_key=default_queue(app))
            with connection.SimpleQueue(default_queue(app)) as queue:
                queue.put("43")
        assert [message.headers for message in sent_messages(app)] == [CARRIED, CARRIED]
