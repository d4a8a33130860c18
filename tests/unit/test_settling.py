"""The steps that settle a message, with a delivery that only notes what is done to it."""

import asyncio
import logging
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest

import mqctx
from mqctx import ConfigurationError, HandlerError
from mqctx._core.runs import Run, active_run
from mqctx._failures.record import Failure
from mqctx._failures.recording import Origin
from mqctx.adapters._dead_letter import DeadLetter, as_dead_letter
from mqctx.adapters._settled import SyncBlock, Waiting, settle_calls
from mqctx.adapters._settled_async import AsyncBlock, settle_async_calls
from mqctx.adapters._settling import NotSentError

TO_DLX = DeadLetter("dlx")
EMPTY = mqctx.Context()


class Clock:
    """The time, as `Waiting` sees it."""

    def __init__(self) -> None:
        self.now = 0.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr("mqctx.adapters._settled.time", made)
    return made


class Delivery:
    """A delivery that notes what is done to it."""

    def __init__(self, *problems: Exception | None, settled: bool = False) -> None:
        """Take what becomes of each copy, the last for all others."""
        self.problems = list(problems) or [None]
        self.done: list[str] = []
        self.failures: list[Failure] = []
        self.contexts: list[mqctx.Context] = []
        self.waiting = Waiting()
        self.is_settled = settled
        self.has_ended = False
        self.origin = Origin(exchange="orders", routing_key="new", attempt=2)

    def ack(self) -> Any:
        return self._do("ack")

    def reject(self) -> Any:
        return self._do("reject")

    def requeue(self) -> Any:
        return self._do("requeue")

    def send(self, failure: Failure, then: Callable[[Exception | None], None]) -> Any:
        then(self._sent(failure))

    def later(self, seconds: float, then: Callable[[], None]) -> None:
        self.waiting.add(seconds, then)

    def _do(self, what: str) -> Any:
        self.done.append(what)

    def _sent(self, failure: Failure) -> Exception | None:
        assert "ack" not in self.done
        self.done.append("send")
        self.failures.append(failure)
        self.contexts.append(mqctx.current())
        return self.problems.pop(0) if len(self.problems) > 1 else self.problems[0]


class AsyncDelivery(Delivery):
    """The same for a client that is awaited."""

    def __init__(self, *problems: Exception | None) -> None:
        super().__init__(*problems)
        self.acknowledged = asyncio.Event()

    async def ack(self) -> None:
        self._do("ack")
        self.acknowledged.set()

    async def reject(self) -> None:
        self._do("reject")

    async def requeue(self) -> None:
        self._do("requeue")

    async def send(self, failure: Failure) -> Exception | None:  # type: ignore[override]  # async
        await asyncio.sleep(0)
        return self._sent(failure)


def block(delivery: Any, dead_letter: DeadLetter = TO_DLX, **options: Any) -> SyncBlock:
    return SyncBlock(delivery, dead_letter, EMPTY, {"some": "headers"}, None, **options)


@pytest.fixture
def errors(caplog: pytest.LogCaptureFixture) -> Callable[[], list[str]]:
    caplog.set_level(logging.INFO, "mqctx.failures")
    return lambda: [each.getMessage() for each in caplog.records if each.levelname == "ERROR"]


class TestBlock:
    def test_that_ends_acknowledges(self) -> None:
        delivery = Delivery()
        with block(delivery):
            pass
        assert delivery.done == ["ack"]

    def test_that_raises_acknowledges_once_the_copy_is_sent_and_goes_on(
        self, errors: Callable[[], list[str]]
    ) -> None:
        delivery = Delivery()
        with block(delivery, handler="shop.on_order"):
            raise ValueError("no")
        assert delivery.done == ["send", "ack"]
        failure = delivery.failures[0]
        assert (failure.type, failure.message, failure.attempt) == ("ValueError", "no", 2)
        assert failure.handler == "shop.on_order"
        assert errors() == ["shop.on_order failed: dead-lettering the message to 'dlx'"]

    def test_tells_the_run_that_is_under_way_what_failed(self) -> None:
        run = Run("shop.bill")
        token = active_run.set(run)
        with block(Delivery()):
            pass
        assert run.failed is None
        with block(Delivery()):
            raise ValueError
        active_run.reset(token)
        assert run.failed is ValueError

    def test_logs_a_failure_once_with_traceback_inside_the_context(
        self, caplog: pytest.LogCaptureFixture
    ) -> None:
        seen: list[mqctx.Context] = []

        class Seeing(logging.Handler):
            def emit(self, record: logging.LogRecord) -> None:
                seen.append(mqctx.current())
                assert record.exc_info

        handler = Seeing()
        logging.getLogger("mqctx.failures").addHandler(handler)
        try:
            brought = mqctx.Context(tenant="acme")
            with SyncBlock(Delivery(), TO_DLX, brought, {"h": "h"}, None):
                raise ValueError("no")
        finally:
            logging.getLogger("mqctx.failures").removeHandler(handler)
        assert seen == [{"tenant": "acme"}]
        (message,) = caplog.messages
        assert message.endswith("context failed: dead-lettering the message to 'dlx'")

    @pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit, GeneratorExit])
    def test_that_ends_otherwise_puts_the_message_back_and_raises(
        self, kind: type[BaseException]
    ) -> None:
        delivery = Delivery()
        with pytest.raises(kind), block(delivery):
            raise kind
        assert delivery.done == ["requeue"]

    @pytest.mark.parametrize("error", [None, ValueError("after it")])
    def test_that_settled_by_itself_is_told_and_left_alone(
        self, error: Exception | None, caplog: pytest.LogCaptureFixture
    ) -> None:
        delivery = Delivery(settled=True)
        with block(delivery, handler="shop.on_order"):
            if error:
                raise error
        assert delivery.done == []
        assert len(caplog.records) == 1
        assert caplog.records[0].exc_info
        told = caplog.records[0].exc_info[1]
        assert isinstance(told, HandlerError)
        assert str(told) == (
            "shop.on_order settled its message by itself; with dead_letter= mqctx settles it, and "
            "has sent and settled nothing"
        )
        assert told.__cause__ is error

    def test_has_its_messages_context_and_leaves_the_one_before(self) -> None:
        brought = mqctx.Context(tenant="acme")
        with (
            mqctx.scope(user="ambient"),
            SyncBlock(Delivery(), TO_DLX, brought, {"h": "h"}, None) as context,
        ):
            assert context == mqctx.current() == {"tenant": "acme"}
        assert mqctx.current() == {}

    def test_keeps_what_was_bound_where_the_message_is_handled_already(self) -> None:
        headers = {"h": "h"}
        delivery: Any = Delivery()
        with mqctx.Context(tenant="acme").scope() as brought:
            pass
        outer = SyncBlock(Delivery(), TO_DLX, brought, headers, None)
        with outer:
            mqctx.bind(step=1)
            with SyncBlock(delivery, TO_DLX, brought, headers, None):
                raise ValueError
        assert delivery.failures[0].bound == {"step": 1}

    def test_records_what_was_bound_and_may_leave(self) -> None:
        mqctx.Variable("password_of_db", str, local=True)
        delivery: Any = Delivery()
        brought = mqctx.Context(tenant="acme", step=1)
        propagator = mqctx.Propagator(send=["step", "tenant", "password_of_db", "order"])
        with SyncBlock(delivery, TO_DLX, brought, {"h": "h"}, propagator):
            mqctx.bind(step=2, tenant="acme", order="o", other="x", password_of_db="p")
            raise ValueError
        assert delivery.failures[0].bound == {"step": 2, "order": "o"}

    def test_lets_an_error_of_the_client_pass(self) -> None:
        class Broken(Delivery):
            def ack(self) -> None:
                raise ConnectionError

        with pytest.raises(ConnectionError), block(Broken()):
            pass
        assert mqctx.current() == {}

    def test_that_is_interrupted_while_it_sends_puts_the_message_back(self) -> None:
        class Interrupted(Delivery):
            def send(self, failure: Failure, then: Callable[[Exception | None], None]) -> None:
                raise KeyboardInterrupt

        delivery = Interrupted()
        with pytest.raises(KeyboardInterrupt), block(delivery):
            raise ValueError
        assert delivery.done == ["requeue"]


class TestACopyThatCannotBeSent:
    def test_holds_the_message_with_growing_pauses_until_it_can(
        self, clock: Clock, caplog: pytest.LogCaptureFixture
    ) -> None:
        caplog.set_level(logging.INFO, "mqctx.failures")
        delivery = Delivery(*[NotSentError("no exchange")] * 9, None)
        with block(delivery):
            raise ValueError
        tries = [0.0]
        while "ack" not in delivery.done:
            sent = delivery.done.count("send")
            clock.now += 0.25
            delivery.waiting.run()
            if delivery.done.count("send") > sent:
                tries.append(clock.now)
        pauses = [later - earlier for earlier, later in pairwise(tries)]
        assert pauses == [0.25, 0.5, 1, 2, 4, 8, 16, 30, 30]
        assert delivery.done == ["send"] * 10 + ["ack"]
        assert caplog.messages[-1] == "the copy to 'dlx' was sent at last"

    def test_is_tried_again_in_the_context_of_its_message(self, clock: Clock) -> None:
        delivery: Any = Delivery(NotSentError(), None)
        with SyncBlock(delivery, TO_DLX, mqctx.Context(tenant="acme"), {"h": "h"}, None):
            raise ValueError
        clock.now = 1.0
        delivery.waiting.run()
        assert delivery.contexts == [{"tenant": "acme"}] * 2

    def test_lets_the_message_go_back_when_its_consumer_ends(self, clock: Clock) -> None:
        delivery = Delivery(NotSentError())
        with block(delivery):
            raise ValueError
        delivery.has_ended = True
        clock.now = 1.0
        delivery.waiting.run()
        assert delivery.done == ["send", "requeue"]
        assert delivery.waiting.seconds() is None

    def test_is_not_waited_for_where_the_consumer_has_ended(self) -> None:
        delivery = Delivery(NotSentError())
        delivery.has_ended = True
        with block(delivery):
            raise ValueError
        assert delivery.done == ["send", "requeue"]

    def test_leaves_a_message_alone_that_others_settle_meanwhile(self, clock: Clock) -> None:
        delivery = Delivery(NotSentError())
        with block(delivery):
            raise ValueError
        delivery.is_settled = True
        clock.now = 1.0
        delivery.waiting.run()
        assert delivery.done == ["send"]

    @pytest.mark.parametrize(("has_ended", "done"), [(False, ["send", "reject"]), (True, ["send"])])
    def test_rejects_the_message_if_asked(self, has_ended: bool, done: list[str]) -> None:
        delivery = Delivery(NotSentError())
        delivery.has_ended = has_ended
        with block(delivery, DeadLetter("dlx", fallback="reject")):
            raise ValueError
        assert delivery.done == done

    def test_is_told_once_as_a_warning(
        self, clock: Clock, caplog: pytest.LogCaptureFixture
    ) -> None:
        caplog.set_level(logging.INFO, "mqctx.failures")
        delivery = Delivery(NotSentError("why"), NotSentError("again"), None)
        with block(delivery):
            raise ValueError
        for _ in range(4):
            clock.now += 1
            delivery.waiting.run()
        told = [(each.levelname, each.getMessage()) for each in caplog.records]
        assert [level for level, _ in told] == ["ERROR", "WARNING", "INFO"]
        assert told[1][1].startswith("the copy to 'dlx' cannot be sent: held (")
        assert "why" in told[1][1]


class TestWaiting:
    def test_knows_how_long_the_first_has_to_wait(self, clock: Clock) -> None:
        waiting = Waiting()
        assert waiting.seconds() is None
        waiting.add(3, lambda: None)
        waiting.add(2, lambda: None)
        assert waiting.seconds() == 2
        clock.now = 9
        assert waiting.seconds() == 0


class TestHandler:
    def test_returns_what_it_returns_and_none_where_it_failed(self) -> None:
        deliveries: list[Delivery] = []

        def open_block(arguments: tuple[Any, ...], name: str) -> SyncBlock:
            assert name == f"{__name__}.halve"
            deliveries.append(Delivery())
            return block(deliveries[-1], handler=name)

        handler = settle_calls(halve, open_block)
        assert handler(4) == 2
        assert handler(number=0) is None
        assert [each.done for each in deliveries] == [["ack"], ["send", "ack"]]


def halve(number: int) -> int:
    return 2 if number else 1 // number


class TestAsync:
    def block(self, delivery: Any, dead_letter: DeadLetter = TO_DLX) -> AsyncBlock:
        return AsyncBlock(delivery, dead_letter, EMPTY, {"h": "h"}, None, "shop.on_order")

    def test_block_settles_by_what_happened(self) -> None:
        async def main() -> list[list[str]]:
            returned, failed, requeued = AsyncDelivery(), AsyncDelivery(), AsyncDelivery()
            async with self.block(returned):
                pass
            async with self.block(failed):
                raise ValueError
            with pytest.raises(asyncio.CancelledError):
                async with self.block(requeued):
                    raise asyncio.CancelledError
            return [each.done for each in (returned, failed, requeued)]

        assert asyncio.run(main()) == [["ack"], ["send", "ack"], ["requeue"]]

    def test_handler_returns_what_it_returns(self) -> None:
        async def double(number: int) -> int:
            return 2 * number

        delivery = AsyncDelivery()
        handler = settle_async_calls(double, lambda *_: self.block(delivery))
        assert asyncio.run(handler(2)) == 4
        assert delivery.done == ["ack"]

    def test_handler_that_is_sync_settles_in_the_background(self) -> None:
        async def main() -> list[str]:
            delivery = AsyncDelivery()
            handler = settle_calls(halve, lambda *_: self.block(delivery))
            assert handler(0) is None
            assert delivery.done == []
            await delivery.acknowledged.wait()
            return delivery.done

        assert asyncio.run(main()) == ["send", "ack"]

    def test_holds_in_the_background(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("mqctx.adapters._settling._FIRST_PAUSE", 0.001)

        async def main() -> list[str]:
            delivery = AsyncDelivery(NotSentError(), NotSentError(), None)
            async with self.block(delivery):
                raise ValueError
            assert delivery.done == ["send"]
            await delivery.acknowledged.wait()
            return delivery.done

        assert asyncio.run(main()) == ["send"] * 3 + ["ack"]

    def test_cancelled_while_it_sends_puts_the_message_back(self) -> None:
        class Waits(AsyncDelivery):
            async def send(self, failure: Failure) -> Exception | None:  # type: ignore[override]
                await asyncio.sleep(60)
                return None

        async def main() -> list[str]:
            delivery = Waits()

            async def work() -> None:
                async with self.block(delivery):
                    raise ValueError

            task = asyncio.ensure_future(work())
            await asyncio.sleep(0)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            return delivery.done

        assert asyncio.run(main()) == ["requeue"]

    def test_lets_an_error_of_the_client_pass(self) -> None:
        class Broken(AsyncDelivery):
            async def ack(self) -> None:
                raise ConnectionError

        async def main() -> None:
            async with self.block(Broken()):
                pass

        with pytest.raises(ConnectionError):
            asyncio.run(main())

    def test_tells_of_an_error_of_the_client_in_the_background(
        self, caplog: pytest.LogCaptureFixture
    ) -> None:
        class Broken(AsyncDelivery):
            async def ack(self) -> None:
                raise ConnectionError

        async def main() -> None:
            with self.block(Broken()):
                pass
            await asyncio.sleep(0.01)

        asyncio.run(main())
        assert "could not be settled: ConnectionError()" in caplog.text

    def test_is_silent_when_the_loop_ends_what_waits(
        self, caplog: pytest.LogCaptureFixture
    ) -> None:
        async def main() -> None:
            async with self.block(AsyncDelivery(NotSentError())):
                raise ValueError

        asyncio.run(main())
        assert "settled" not in caplog.text


class TestDeadLetter:
    @pytest.mark.parametrize(
        ("make", "message"),
        [
            (lambda: as_dead_letter(5), "an exchange such as 'orders.dead'"),
            (lambda: DeadLetter(5), "dead_letter: expected text"),  # type: ignore[arg-type]
            (lambda: DeadLetter(""), "would come back to its queue"),
            (lambda: DeadLetter("", routing_key="q", queue="q"), "would come back to its queue"),
            (lambda: DeadLetter("d", routing_key=5), "routing_key: expected text"),  # type: ignore[arg-type]
            (lambda: DeadLetter("d", queue=b"q"), "queue: expected text"),  # type: ignore[arg-type]
            (lambda: DeadLetter("d", fallback="drop"), "'hold' or 'reject'"),  # type: ignore[arg-type]
            (lambda: DeadLetter("d", traceback="no"), "traceback: expected True or False"),  # type: ignore[arg-type]
            (lambda: DeadLetter("d", redact="no"), "redact: expected a function"),  # type: ignore[arg-type]
        ],
    )
    def test_that_cannot_work_is_refused(self, make: Callable[[], object], message: str) -> None:
        with pytest.raises(ConfigurationError, match=message):
            make()

    def test_may_be_an_exchange_or_a_queue_behind_the_default_one(self) -> None:
        assert as_dead_letter("dlx") == as_dead_letter(DeadLetter("dlx")) == DeadLetter("dlx")
        assert DeadLetter("", routing_key="orders.dead", queue="orders").exchange == ""
