"""One order fails; its dead letter is looked at, and sent back, by the code of the commands."""

import os
import time
from collections.abc import Callable
from typing import Any, Final

from pika import BasicProperties, BlockingConnection, URLParameters
from pika.adapters.blocking_connection import BlockingChannel
from pika.spec import Basic
from rich.console import Console, RenderableType

import mqctx
from mqctx.adapters.pika import DeadLetter, consume_with_context, publish
from mqctx.cli._demo.check import Verdict
from mqctx.cli._demo.journal import whose
from mqctx.cli._demo.screen import say, story_lines
from mqctx.cli._demo.stage import Stage
from mqctx.cli._demo.story import REQUESTS
from mqctx.cli._looking.redrive_text import plan_table, title_of
from mqctx.cli._looking.summary import Summary
from mqctx.cli._looking.tables import groups_table
from mqctx.inspection import Grouping, Inspector, ManagementError, Redrive, RefusedError

PATIENCE_SECONDS: Final = 10.0
"""The limit for the failure, and again for the second attempt."""
_TICK_SECONDS: Final = 0.01
_WIDTH: Final = 79
_ORDER: Final = REQUESTS[0].orders[1]
_SENT_IN: Final = REQUESTS[0].context
_TITLE: Final = "\nOne order fails. Its copy in the dead-letter queue says whose it is, and why.\n"
_LEFT_OUT: Final = "Left out, an order that fails, is inspected and sent back: "


def fail_and_send_back(stage: Stage) -> Verdict | None:
    """Play it and return how it went; None, after a line that says why, if it is left out.

    Raises:
        BrokerError: the broker refuses, or is gone.
    """
    try:
        with Inspector(stage.url, management=os.environ.get("MQCTX_MANAGEMENT_URL")) as inspector:
            if inspector.has_management:
                return _played(stage, inspector)
            say(f"{_LEFT_OUT}no management API")
    except (ManagementError, RefusedError):
        say(f"{_LEFT_OUT}no look is safe")
    return None


def _played(stage: Stage, inspector: Inspector) -> Verdict:
    with (
        BlockingConnection(URLParameters(stage.url)) as connection,
        story_lines(_TITLE, "mqctx.demo"),
    ):
        payments = _Payments(stage, connection)
        with mqctx.scope(REQUESTS[0].begun):
            publish(payments.channel, "", stage.payments, _ORDER.encode())
        payments.work_until(payments.has_dead_letter)
        say(f"\n$ mqctx inspect {stage.dead} --by tenant")
        _inspect(inspector, stage.dead)
        say(f"\n$ mqctx redrive {stage.dead} --yes")
        _redrive(inspector, stage.dead)
        say()
        payments.work_until(lambda: len(payments.seen) > 1)
    return _judged(payments.seen)


class _Payments:
    """A service whose first attempt fails."""

    def __init__(self, stage: Stage, connection: BlockingConnection) -> None:
        self.seen: list[mqctx.Context] = []
        """The context of each attempt."""
        self.channel = connection.channel()
        self._connection = connection
        self._dead = stage.dead
        self._service = stage.service("payments", "pika")
        to = DeadLetter("", routing_key=stage.dead, queue=stage.payments)

        @consume_with_context(dead_letter=to)
        @self._service.named
        def on_order(
            _: BlockingChannel, __: Basic.Deliver, ___: BasicProperties, body: bytes
        ) -> None:
            self._handle(body)

        self.channel.basic_consume(stage.payments, on_order)

    def _handle(self, body: bytes) -> None:
        self.seen.append(whose())
        # The first attempt alone fails, so that what is sent back goes through.
        if len(self.seen) == 1:
            self._service.says(f"fails {body.decode()}")
            raise TimeoutError("the bank is silent")
        self._service.says(f"bills {body.decode()}")

    def has_dead_letter(self) -> bool:
        """Tell whether the copy has arrived."""
        declared: Any = self.channel.queue_declare(self._dead, passive=True)
        return bool(declared.method.message_count)

    def work_until(self, is_over: Callable[[], bool]) -> None:
        """Handle messages until something is the case, or the time is up."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not is_over() and time.monotonic() < deadline:
            self._connection.process_data_events(_TICK_SECONDS)  # pyright: ignore[reportArgumentType]  # a float will do


def _inspect(inspector: Inspector, name: str) -> None:
    groups, summary = Grouping(["tenant"]), Summary()
    with inspector.look(name) as look:
        for message in look:
            summary.choose(message)
            groups.add(message)
    summary.add(look)
    _print(summary.line(), groups_table(_WIDTH, groups.names, list(groups)))


def _redrive(inspector: Inspector, name: str) -> None:
    result = Redrive(inspector, name).run()
    _print(title_of(result, is_done=True), plan_table(result, _WIDTH))


def _print(*shown: RenderableType) -> None:
    console = Console(width=_WIDTH, color_system=None, markup=False, emoji=False, highlight=False)
    with console.capture() as captured:
        console.print(*shown, sep="\n")
    for line in captured.get().splitlines():
        say(line.rstrip())


def _judged(seen: list[mqctx.Context]) -> Verdict:
    right = sum(context == _SENT_IN for context in seen)
    summary = f"1 order failed and was sent back: {right} of 2 attempts in its request's context"
    problem = f"payments had {len(seen)} attempts at {_ORDER}, {right} in its context"
    return Verdict(summary, [] if right == len(seen) == 2 else [problem])
