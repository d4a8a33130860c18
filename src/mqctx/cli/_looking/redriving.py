"""Run `mqctx redrive`: show a plan, or carry it out, and end the program accordingly."""

import contextlib
from collections.abc import Generator
from math import inf

import msgspec

from mqctx.cli import INTERRUPTED
from mqctx.cli._looking.connect import connected
from mqctx.cli._looking.exits import SOME_STAYED, Interruption, exits, leave, say
from mqctx.cli._looking.options import Options
from mqctx.cli._looking.redrive_text import notes_of, outcome_of, plan_table, title_of
from mqctx.cli._looking.screen import Results, progress
from mqctx.inspection import Inspector
from mqctx.inspection._redrive import Redrive
from mqctx.inspection._redrive_result import Result
from mqctx.inspection._redrive_watch import came_back
from mqctx.inspection._ways import Origin

__all__ = ["Wishes", "redrive"]

_ADD_YES = "Add --yes to send them, and --limit 1 to try one first"


class Wishes(msgspec.Struct, frozen=True):
    """The options that only this command has."""

    to: str | None = None
    exchange: str | None = None
    routing_key: str | None = None
    rate: float = inf
    watch: float | None = None
    rescue: bool = False
    yes: bool = False

    @property
    def origin(self) -> Origin | None:
        """The target of all messages; None to send each back where it came from."""
        if self.to is None and self.exchange is None:
            return None
        return Origin(self.to, self.exchange, self.routing_key, "option")


def redrive(options: Options, queue: str, wishes: Wishes) -> None:
    """Print which messages would go where, or send them and print the outcome."""
    results = Results(plain=options.is_plain)
    with contextlib.closing(results), exits(), Interruption().watched() as interruption:
        with connected(options) as inspector:
            call = Redrive(
                inspector,
                queue,
                origin=wishes.origin,
                choose=options.choose,
                limit=options.limit,
                rate=wishes.rate,
                rescue=wishes.rescue,
            )
            interruption.stop = call.stop
            with _told(call.result, yes=wishes.yes):
                _carry_out(call, inspector, options, yes=wishes.yes)
                _watch(call, inspector, wishes)
        # The connection is closed by now: while a pager is read, nothing is held.
        _show(results, call.result, options, yes=wishes.yes)
        _warn(call.result)
        _leave(call.result, interruption, yes=wishes.yes)


def _carry_out(call: Redrive, inspector: Inspector, options: Options, *, yes: bool) -> None:
    total = inspector.facts(call.result.queue).messages or 0  # for the bar alone: it is late
    with progress(call.result.queue, total, plain=options.is_plain) as advance:
        (call.run if yes else call.plan)(advance)


def _watch(call: Redrive, inspector: Inspector, wishes: Wishes) -> None:
    """See what comes back, if that was asked. Ctrl-C ends the wait for it."""
    if wishes.watch is not None and not call.is_stopped:
        came_back(
            inspector,
            call.result,
            wishes.watch,
            rescue=wishes.rescue,
            is_stopped=lambda: call.is_stopped,
        )


@contextlib.contextmanager
def _told(result: Result, *, yes: bool) -> Generator[None]:
    """Say what was sent if an error ends the block: that is done, and must be known."""
    try:
        yield
    except BaseException:
        if yes and result.looked:
            say(outcome_of(result))
        raise


def _show(results: Results, result: Result, options: Options, *, yes: bool) -> None:
    if options.json:
        _show_as_json(results, result, yes=yes)
    else:
        _show_as_text(results, result, yes=yes)
    results.show()


def _show_as_json(results: Results, result: Result, *, yes: bool) -> None:
    for each in result.plan_as_json():
        results.json(each)
    if yes:
        results.json(result.as_json())


def _show_as_text(results: Results, result: Result, *, yes: bool) -> None:
    results.line(title_of(result, is_done=yes), "bold")
    if result.legs:
        results.print(plan_table(result, results.width))
    for note in notes_of(result):
        results.line(note, "none")
    if not yes:
        results.line(_what_is_next(result), "bold")


def _what_is_next(result: Result) -> str:
    """Return the line below a plan."""
    # To copy to the queue's end, as --rescue reads, is a change, though nothing is sent.
    happened = "Nothing was sent" if result.copied else "Nothing was changed"
    return f"{happened}. {_ADD_YES}" if result.sent else happened


def _warn(result: Result) -> None:
    if result.unnoted:
        say(f"a kill would not have been noticed by the next run: {result.unnoted}")
    if result.is_late:
        say("stopped before RabbitMQ would take it for a consumer that is stuck: run it again")


def _leave(result: Result, interruption: Interruption, *, yes: bool) -> None:
    if interruption.happened:
        say(f"interrupted; {outcome_of(result)}")
        leave(INTERRUPTED)
    if yes and not result.is_complete:
        leave(SOME_STAYED)
