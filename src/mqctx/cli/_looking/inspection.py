"""Run `mqctx inspect`: look at one queue after another, and give one answer."""

import contextlib
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from mqctx.cli import INTERRUPTED
from mqctx.cli._looking.connect import connected
from mqctx.cli._looking.exits import (
    COULD_NOT,
    REFUSED,
    Interruption,
    exits,
    leave,
    refuse,
    say,
)
from mqctx.cli._looking.messages import body_of, message_block
from mqctx.cli._looking.options import Options
from mqctx.cli._looking.page import Paged
from mqctx.cli._looking.screen import Results, progress
from mqctx.cli._looking.summary import Summary
from mqctx.cli._looking.tables import groups_table
from mqctx.cli._looking.text import counted
from mqctx.inspection import (
    BrokerError,
    Grouping,
    Groups,
    Inspector,
    Look,
    Message,
    RefusedError,
)
from mqctx.inspection._pages import dead_letters_page


class _Answer(Protocol):
    """The answer that is made of the chosen messages."""

    def add(self, message: Message) -> None:
        """Take a message."""
        ...

    def finish(self, summary: Summary) -> None:
        """Complete the results, when all queues were read."""
        ...


class _Messages:
    """The messages, one by one."""

    def __init__(self, results: Results, *, as_json: bool, with_body: bool) -> None:
        self._results = results
        self._as_json = as_json
        self._with_body = with_body

    def add(self, message: Message) -> None:
        """Print it."""
        if not self._as_json:
            self._results.print(message_block(message, with_body=self._with_body))
            return
        body = body_of(message) if self._with_body else {}
        self._results.json({**message.as_json(), **body})

    def finish(self, summary: Summary) -> None:
        """Print the summary below the messages."""
        if not self._as_json:
            self._results.line(summary.line(), "bold")


class _Grouped:
    """The messages in groups."""

    def __init__(self, results: Results, by: Sequence[str], *, as_json: bool) -> None:
        self._results = results
        self._groups = Grouping(by) if by else Groups()
        self._as_json = as_json

    def add(self, message: Message) -> None:
        """Count it."""
        self._groups.add(message)

    def finish(self, summary: Summary) -> None:
        """Print the groups below the summary."""
        grouping, others = self._found()
        if self._as_json:
            for group in grouping:
                self._results.json(group.as_json(grouping.names))
        else:
            self._show(grouping, others, summary)

    def _found(self) -> tuple[Grouping, Sequence[str]]:
        """Return the groups, and the names that could have been grouped by as well."""
        groups = self._groups
        return (groups, ()) if isinstance(groups, Grouping) else (groups.chosen, groups.others)

    def _show(self, grouping: Grouping, others: Sequence[str], summary: Summary) -> None:
        results = self._results
        results.line(summary.line(), "bold")
        if len(grouping):
            results.print(groups_table(results.width, grouping.names, list(grouping)))
        if others:
            results.line(summary.hint(others), "dim")


def inspect(
    options: Options,
    queues: Sequence[str],
    by: Sequence[str],
    *,
    rescue: bool,
    with_body: bool,
    html: Path | None = None,
) -> None:
    """Look at queues, print what was found, and end the program where that is no success.

    With `html`, the messages are written to this page, too, unless none could be read.
    """
    results = Results(plain=options.is_plain)
    with (
        contextlib.closing(results),
        exits(),
        Interruption().watched() as interruption,
        contextlib.ExitStack() as pages,
    ):
        answers = [_answer(results, options, by, with_body=with_body)]
        if html is not None:
            page = pages.enter_context(dead_letters_page(html))
            answers.append(Paged(page, pages.close, options, by, with_body=with_body))
        with connected(options) as inspector:
            run = _Run(inspector, options, answers, interruption, rescue=rescue)
            names = inspector.queues(*queues)
            for name in names:
                run.look_at(name)
        if not names:
            say(f"mqctx: no queue is called {' or '.join(queues)}")
            leave(COULD_NOT)
        run.finish(results)


def _answer(results: Results, options: Options, by: Sequence[str], *, with_body: bool) -> _Answer:
    """Return groups where they were asked for, or nothing was; else single messages."""
    # A condition, a number or JSON asks for the messages themselves.
    if by or not any((options.json, options.where, options.limit)):
        return _Grouped(results, by, as_json=options.json)
    return _Messages(results, as_json=options.json, with_body=with_body)


class _Run:
    """One call of the command."""

    def __init__(
        self,
        inspector: Inspector,
        options: Options,
        answers: Sequence[_Answer],
        interruption: Interruption,
        *,
        rescue: bool,
    ) -> None:
        self._inspector = inspector
        self._options = options
        # Each message goes to all of them as it comes: none waits for the queue to be read.
        self._answers = answers
        self._interruption = interruption
        self._rescue = rescue
        self._summary = Summary()
        self._code = 0

    @property
    def _is_enough(self) -> bool:
        return self._summary.chosen == self._options.limit or self._interruption.happened

    def look_at(self, queue: str) -> None:
        """Look at a queue. One that is refused, or not there, is named, and left out."""
        if self._is_enough:
            return
        try:
            self._look_at(queue)
        except RefusedError as error:
            refuse(error)
            self._code = REFUSED
        except BrokerError as error:
            if self._inspector.is_lost:
                raise
            say(f"mqctx: {queue}: {error}")
            self._code = max(self._code, COULD_NOT)  # REFUSED tells more

    def _look_at(self, queue: str) -> None:
        try:
            with self._inspector.look(queue, rescue=self._rescue) as look:
                self._interruption.stop = look.stop
                self._read(look)
        finally:
            self._interruption.stop = None
        self._summary.add(look)

    def _read(self, look: Look) -> None:
        with progress(look.queue, look.there, plain=self._options.is_plain) as advance:
            for message in look:
                advance()
                if self._options.choose(message):
                    self._take(message)
                    # Asked behind a chosen one, so that `--limit 1` does not read all to the end.
                    if self._is_enough:
                        break

    def _take(self, message: Message) -> None:
        self._summary.choose(message)
        for answer in self._answers:
            answer.add(message)

    def finish(self, results: Results) -> None:
        """Show what was found, and end the program if anything was not as it should be."""
        # Before the results: a pager may take the screen.
        for note in self._summary.notes:
            say(note)
        self._leave_if_interrupted()
        if self._summary.queues:  # else there is nothing to tell
            self._complete()
        results.show()
        if self._code:
            leave(self._code)

    def _complete(self) -> None:
        for answer in self._answers:
            answer.finish(self._summary)

    def _leave_if_interrupted(self) -> None:
        if self._interruption.happened:
            looked = counted(self._summary.looked, "message")
            say(f"interrupted after {looked}; everything is in place")
            leave(INTERRUPTED)
