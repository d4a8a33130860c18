"""How the commands end: their exit codes, and a line on stderr for each reason."""

import signal
import sys
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Any, Final, NoReturn

import click

from mqctx.cli import INTERRUPTED
from mqctx.cli._looking.call import repeated
from mqctx.cli._looking.text import escaped
from mqctx.inspection._errors import BrokerError
from mqctx.inspection._look import RefusedError
from mqctx.inspection._management import ManagementError

COULD_NOT: Final = 1
REFUSED: Final = 3
SOME_STAYED: Final = 4


def say(text: str) -> None:
    """Print a line on stderr."""
    click.echo("\n".join(map(escaped, text.split("\n"))), err=True)


def refuse(error: RefusedError) -> None:
    """Say why a queue is not looked at, and the command after which it can be."""
    refusal = error.refusal
    say(f"{refusal.reason}\n  {refusal.policy or repeated(refusal.queue, '--rescue')}")


def leave(code: int) -> NoReturn:
    """End the program."""
    click.get_current_context().exit(code)


@contextmanager
def exits() -> Generator[None]:
    """Turn what went wrong into a line and an exit code."""
    try:
        yield
    except RefusedError as error:
        refuse(error)
        leave(REFUSED)
    except (BrokerError, ManagementError, OSError) as error:
        say(f"mqctx: {error}")
        leave(COULD_NOT)
    except KeyboardInterrupt:
        # Raised where nothing is held, or by a second Ctrl-C: RabbitMQ returns what was held then.
        say("interrupted; all that was held is in place")
        leave(INTERRUPTED)


class Interruption:
    """Ctrl-C and SIGTERM, which let what is held go back in its order before the program ends."""

    def __init__(self) -> None:
        self.stop: Callable[[], None] | None = None
        """Ends the work under way, if that may not be cut off."""
        self.happened = False

    @contextmanager
    def watched(self) -> Generator["Interruption"]:
        """Take the signals while the block lasts."""
        # SIGTERM too: it is what a pod or a CI job is ended by.
        numbers = (signal.SIGINT, signal.SIGTERM)
        before = {number: signal.signal(number, self._on_signal) for number in numbers}
        try:
            yield self
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _on_signal(self, *_: Any) -> None:
        if self.stop is None or self.happened:
            raise KeyboardInterrupt
        self.happened = True
        self.stop()
        print("\nputting everything back ...", file=sys.stderr, flush=True)  # noqa: T201 - click may not be entered twice
