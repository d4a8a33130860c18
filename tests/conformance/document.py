"""Write docs/conformance.md: what the matrix is, what ran, and what there is not, with reasons."""

from collections.abc import Iterable, Mapping, Set
from importlib.metadata import version
from pathlib import Path as FilePath
from typing import TypeAlias

from tests.conformance.deliveries import DELIVERIES, Delivery
from tests.conformance.matrix import (
    CELLS,
    DELIVERY_CELLS,
    PATHS,
    PLAIN,
    PUBLICATION_CELLS,
    Cell,
    why_not,
)
from tests.conformance.model import KINDS, Kind, Path
from tests.conformance.publications import PUBLICATIONS, Publication
from tests.conformance.publishers import PUBLISHERS, Publisher
from tests.drivers.clients import CLIENTS, Name

DOCUMENT = FilePath(__file__).parents[2] / "docs" / "conformance.md"
LIBRARIES = ("aio-pika", "aiormq", "amqp", "kombu", "pamqp", "pika")

Versions: TypeAlias = Mapping[str, str]

_HEAD = """\
# Conformance

Where does the context arrive? For each client, this page lists the ways of consuming a message
that restore its context, by queue type and by the message's delivery. "yes" means that it passed
on a real broker; a dash has its reason below the table.

The tests write this page from the results, {count} cells in all. To write it again:
`MQCTX_WRITE_CONFORMANCE=1 pytest -m 'full or not full' tests/conformance`.

Each cell publishes a message in a context (text, non-ASCII text, a number, nested lists and dicts,
None) and one in none. The handlers must see exactly that context and exactly nothing, whatever is
active around them, and whatever the previous handler added. After the last one, the context around
them must be active again.

Ran with:

"""

_WAYS = """\

The ways:

- `publish`, `consume_with_context`, `restored`: the application calls the adapter's functions.
- `instrument`: the application makes the client's own calls, after `instrument()`. This does not
  cover calls that hand out a message and never learn when the work on it ends: `get`, and pika's
  generator. Use `restored` there. (In aio-pika, `message.process()` marks the end.)

The publishers are the three clients, each with `publish` and with `instrument`. For each path and
queue type, the plain delivery is run with all six; every other delivery with one of the six, in
turn, so that each publisher meets each path and each delivery.
"""

_DELIVERIES = """\

## Deliveries

The broker or a handler does this to a message before it is finished. "yes": it was run on this
queue type, with every path that can. A dead letter is consumed from a queue of the same type; for
a stream, it died in a classic queue.

"""

_PUBLICATIONS = """\

## Publishers

A publisher does this with a message, other than publishing it once. Each of the three clients
consumes the messages.

"""


def current_versions(broker: str) -> Versions:
    """Return the versions of what runs here."""
    return {"RabbitMQ": broker} | {name: version(name) for name in LIBRARIES}


def read_versions(text: str) -> Versions:
    """Return the versions that a page tells."""
    lines = text.partition("Ran with:")[2].partition("The ways:")[0].splitlines()
    items = [line.removeprefix("- ").partition(" ") for line in lines if line]
    return {name: version for name, _, version in items}


def render(passed: Set[Cell], versions: Versions) -> str:
    """Return the page for what passed, all else being "**no**"."""
    ran_with = "".join(f"- {name} {version}\n" for name, version in versions.items())
    page = Page(passed)
    return "".join(
        [
            *(_HEAD.format(count=len(CELLS)), ran_with, _WAYS),
            *(_DELIVERIES, *page.deliveries()),
            *(part for each in CLIENTS.values() for part in page.client(each.name)),
            *(_PUBLICATIONS, *page.publications()),
        ]
    )


class Page:
    """The tables, and the notes below them."""

    def __init__(self, passed: Set[Cell]) -> None:
        self._passed = passed
        self._notes: list[str] = []

    def deliveries(self) -> Iterable[str]:
        """Say which queue type has which delivery."""
        yield from _head("delivery", *(kind.name for kind in KINDS))
        for each in DELIVERIES:
            marks = (self._mark(each.cannot.get(kind.name), _cells(each, kind)) for kind in KINDS)
            yield _row(f"**{each.name}**: {each.means}", *marks)
        yield from self._take_notes()

    def client(self, client: Name) -> Iterable[str]:
        """Say which paths the client has, for which queue types and deliveries."""
        paths = [path for path in PATHS if path.client == client]
        later = [delivery for delivery in DELIVERIES if delivery is not PLAIN]
        yield f"\n## {client}\n\n"
        yield from _head("path", "way", *(kind.name for kind in KINDS))
        for path in paths:
            kinds = (
                self._mark(why_not(PLAIN, each, path), _cells(PLAIN, each, path)) for each in KINDS
            )
            yield _row(path.name, f"`{path.way}`", *kinds)
        yield "\nAnd after what has happened to the message, on each queue type that has both:\n\n"
        yield from _head("path", "way", *(delivery.name for delivery in later))
        for path in paths:
            marks = (
                self._mark(path.cannot.get(each.name), _cells(each, None, path)) for each in later
            )
            yield _row(path.name, f"`{path.way}`", *marks)
        yield from self._take_notes()

    def publications(self) -> Iterable[str]:
        """Say which publisher has which publication."""
        yield from _head("publication", *(publisher.id for publisher in PUBLISHERS))
        for each in PUBLICATIONS:
            marks = (self._mark(each.why_not(who), _published(each, who)) for who in PUBLISHERS)
            yield _row(f"**{each.name}**: {each.means}", *marks)
        yield from self._take_notes()

    def _mark(self, reason: str | None, cells: Set[Cell]) -> str:
        if reason is None:
            return "yes" if cells <= self._passed else "**no**"
        if reason not in self._notes:
            self._notes.append(reason)
        return f"- ({self._notes.index(reason) + 1})"

    def _take_notes(self) -> Iterable[str]:
        yield "\n"
        for number, note in enumerate(self._notes, 1):
            yield f"{number}. {note}\n"
        self._notes.clear()


def _cells(delivery: Delivery, kind: Kind | None, path: Path | None = None) -> Set[Cell]:
    return {
        cell
        for cell in DELIVERY_CELLS
        if cell.delivery is delivery and kind in (None, cell.kind) and path in (None, cell.path)
    }


def _published(publication: Publication, publisher: Publisher) -> Set[Cell]:
    return {
        cell
        for cell in PUBLICATION_CELLS
        if cell.publication is publication and cell.publisher is publisher
    }


def _head(*titles: str) -> Iterable[str]:
    yield _row(*titles)
    yield _row(*("---" for _ in titles))


def _row(*cells: str) -> str:
    return f"| {' | '.join(cells)} |\n"
