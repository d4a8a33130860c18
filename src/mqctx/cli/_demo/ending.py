"""The end of the demo: the journey of one request as a tree, and all of them on a page."""

from collections.abc import Sequence
from itertools import chain
from pathlib import Path
from typing import Final

from click import FileError
from rich.console import Console

from mqctx.cli._demo.journeys import Journey, Watch
from mqctx.cli._demo.screen import echo
from mqctx.cli._demo.story import REQUESTS
from mqctx.cli._tracing.tree import tree
from mqctx.inspection._journeys._chosen import Chosen
from mqctx.inspection._journeys._records import Record
from mqctx.inspection._pages import journeys_page

__all__ = ["show_journeys"]

_WIDTH: Final = 79
_LEFT_OUT: Final = "Left out, the journey of each request: {}"
_COUNTED: Final = (
    "{journeys} journeys, {publishes} publishes, {runs} runs of handlers; inferred: {inferred}."
)
_NO_RIGHT: Final = (401, 403)
_SHOWN: Final = REQUESTS[0].context["request_id"]


def show_journeys(watch: Watch, page: Path) -> None:
    """Print the first request's journey, and write the page of all.

    Raises:
        FileError: the page cannot be written.
    """
    if watch.error is not None:
        echo(_LEFT_OUT.format(_why(watch.error)))
        return
    journeys = watch.journeys()
    echo("\nThe journey of a request, by the code of mqctx trace:")
    echo()
    _print_tree([record for each in journeys for record in each if record["journey"] == _SHOWN])
    summary = _write(journeys, page)
    echo()
    echo(_COUNTED.format_map(summary), bold=True)
    echo(f"All of them on a page, to be opened in a browser: {page}")


def _why(error: Exception) -> str:
    if getattr(error, "status", None) in _NO_RIGHT:
        return "RabbitMQ tells it to administrators alone"
    return "no management API"


def _print_tree(records: Journey) -> None:
    console = Console(width=500, color_system="standard", force_terminal=True, highlight=False)
    with console.capture() as captured:
        for line in tree(records, width=_WIDTH):
            console.print(line)
    echo(captured.get().rstrip())


def _write(journeys: Sequence[Journey], page: Path) -> Record:
    chosen = Chosen()
    for journey in journeys:
        chosen.take(journey)
    summary = chosen.summary(0.0, 0, 0, ())
    try:
        with journeys_page(page) as written:
            for record in chain(*journeys, [summary]):
                written.add(record)
    except OSError as error:
        raise FileError(str(page), error.strerror) from error
    return summary
