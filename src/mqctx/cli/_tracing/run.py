"""Run `mqctx trace`: trace, show, and leave the broker as it was."""

import logging
import signal
import sys
from collections.abc import Callable, Generator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import Any, Protocol

import click
from rich.console import Console

from mqctx.cli._looking.exits import COULD_NOT, exits, leave, say
from mqctx.cli._looking.options import Options
from mqctx.cli._tracing.view import Json, Screen, View
from mqctx.inspection._broker import Broker
from mqctx.inspection._journeys._chosen import Chosen
from mqctx.inspection._journeys._feeds import Feed, Firehose, Tap
from mqctx.inspection._journeys._records import Record
from mqctx.inspection._journeys._tracer import Settings, Status, Tracer
from mqctx.inspection._journeys._tracing_state import TracingState
from mqctx.inspection._management import Management

__all__ = ["Sink", "repair", "trace"]


class _Watcher:
    """Give what is found out to all that show it."""

    def __init__(
        self, views: Sequence[View], chosen: Chosen, when_full: Callable[[], None]
    ) -> None:
        self._views = views
        self._chosen = chosen
        self._when_full = when_full

    def journey(self, records: list[Record]) -> None:
        """Show a journey, if it is one that was asked for."""
        if self._chosen.take(records):
            for view in self._views:
                view.journey(records)
        if self._chosen.is_full:
            self._when_full()

    def status(self, status: Status) -> None:
        """Show its progress."""
        for view in self._views:
            view.status(status)

    def warn(self, text: str) -> None:
        """Print a line on stderr."""
        say(f"mqctx: {text}")


class Sink(Protocol):
    """A file that takes each JSON object."""

    def add(self, item: Record, /) -> object:
        """Write one."""
        ...


class _File:
    """A view that is a file."""

    def __init__(self, sink: Sink) -> None:
        self._add = sink.add

    def journey(self, records: Sequence[Record]) -> None:
        """Write its events."""
        for record in records:
            self._add(record)

    def status(self, status: Status) -> None:
        """Write nothing."""

    def finish(self, summary: Record) -> None:
        """Write the summary."""
        self._add(summary)


def trace(
    options: Options,
    settings: Settings,
    tap: Tap | None = None,
    files: Sequence[AbstractContextManager[Sink]] = (),
) -> None:
    """Trace until the time is up, or a signal comes; then show what is left.

    Without a `tap`, all that happens in the vhost is traced. The files get each JSON object, too.
    To enter one opens it, or raises OSError.
    """
    # We report a lost connection ourselves.
    logging.getLogger("pika").setLevel(logging.CRITICAL)
    with exits(), ExitStack() as stack:
        broker = _broker(options)
        # Refuse a file that cannot be written before anything is changed.
        views: list[View] = [_File(stack.enter_context(each)) for each in files]
        views.append(_view(options))
        chosen = Chosen(options.where, options.limit)
        feed: Feed = tap or Firehose(
            stack.enter_context(Management(broker, options.management)), broker.vhost
        )
        watcher = _Watcher(views, chosen, when_full=lambda: tracer.stop())  # noqa: PLW0108 - made below
        tracer = Tracer(broker, feed, settings, watcher)
        with _stopped_by_signals(tracer.stop):
            is_whole = tracer.run()
            status = tracer.status
            summary = chosen.summary(
                status.seconds, status.events, tracer.dropped(), tracer.untraced_nodes
            )
            for view in views:
                view.finish(summary)
    # The files are in place, whichever way it ends.
    if not is_whole:
        leave(COULD_NOT)


def repair(options: Options) -> None:
    """Turn tracing off if a trace that was killed has left it on."""
    with exits(), Management(_broker(options), options.management) as management:
        say(f"mqctx: {TracingState(management, _broker(options).vhost).end('')}")


def _broker(options: Options) -> Broker:
    try:
        return Broker.parse(options.broker, ca=options.ca, cert=options.cert, key=options.key)
    except ValueError as error:
        raise click.UsageError(str(error)) from None


def _view(options: Options) -> View:
    if options.json:
        return Json(sys.stdout.write)
    return Screen(
        Console(
            no_color=options.is_plain,
            color_system=None if options.is_plain else "auto",
            markup=False,
            emoji=False,
            highlight=False,
        )
    )


@contextmanager
def _stopped_by_signals(stop: Callable[[], None]) -> Generator[None]:
    """Let signals end the trace, and none cut off the way back."""
    numbers = [signal.SIGINT, signal.SIGTERM, *_where_there_is("SIGHUP")]

    def on_signal(*_: object) -> None:
        stop()

    # Also while the broker is left as it was: a second Ctrl-C must not leave tracing on.
    before = {number: signal.signal(number, on_signal) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _where_there_is(name: str) -> list[Any]:
    found = getattr(signal, name, None)
    return [] if found is None else [found]
