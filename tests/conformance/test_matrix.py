"""Each cell of the matrix on a real broker, and the page that tells of it."""

import os
from collections.abc import Iterable, Mapping
from itertools import product
from typing import Any

import pytest

from mqctx import Context, current
from mqctx.formats.json import JsonFormat
from tests.conformance import document
from tests.conformance.bench import MakeBench
from tests.conformance.deliveries import DELIVERIES, Delivery
from tests.conformance.matrix import (
    CELLS,
    DELIVERY_CELLS,
    LEFT_ALONE,
    PATHS,
    PUBLICATION_CELLS,
    READERS,
    SAMPLE,
    Cell,
    DeliveryCell,
    PublicationCell,
)
from tests.conformance.model import AMBIENT, CLASSIC, QUORUM, Path
from tests.conformance.publishers import PUBLISHERS
from tests.drivers.clients import CLIENTS
from tests.drivers.handling import Settle, Verdict

WRITE = "MQCTX_WRITE_CONFORMANCE"

# aio-pika takes a sync callback, and tells asyncio's users to write another.
pytestmark = [
    pytest.mark.filterwarnings("ignore:.*non-coroutine function:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:Function .* returned a non awaitable:DeprecationWarning"),
]


def params(cells: Iterable[Cell]) -> list[Any]:
    return [
        pytest.param(cell, id=str(cell), marks=[] if cell in SAMPLE else [pytest.mark.full])
        for cell in cells
    ]


@pytest.mark.usefixtures("_ambient")
@pytest.mark.parametrize("cell", params(DELIVERY_CELLS))
def test_a_handler_sees_what_its_message_was_published_in(
    cell: DeliveryCell, make_bench: MakeBench, passed: set[Cell]
) -> None:
    cell.delivery.run(make_bench(cell.kind, cell.path, cell.publisher))
    passed.add(cell)


@pytest.mark.usefixtures("_ambient")
@pytest.mark.parametrize("cell", params(PUBLICATION_CELLS))
def test_a_publisher_sends_what_is_active(
    cell: PublicationCell, make_bench: MakeBench, passed: set[Cell]
) -> None:
    publication, publisher = cell.publication, cell.publisher
    bench = make_bench(CLASSIC, cell.reader, publisher)
    queue = bench.queue()
    with CLIENTS[publisher.client].instrumented(publisher.way):
        publication.runs[publisher.client](publisher.send, bench.url, queue.name)
    assert current() == AMBIENT
    arrivals = bench.consume(queue, len(publication.arrives)) if publication.arrives else []
    assert [arrival.context for arrival in arrivals] == list(publication.arrives)
    passed.add(cell)


@pytest.mark.usefixtures("_ambient")
@pytest.mark.parametrize("path", LEFT_ALONE, ids=lambda path: path.id)
def test_instrument_leaves_alone_what_it_cannot_see_the_end_of(
    path: Path, make_bench: MakeBench
) -> None:
    seen: list[Context] = []

    def handle(body: bytes, headers: Mapping[str, Any]) -> Verdict:
        seen.append(current())
        return Settle.ACK

    bench = make_bench(CLASSIC, path, PUBLISHERS[0])
    queue = bench.queue()
    bench.publish(queue)
    with CLIENTS[path.client].instrumented(path.way):
        path.consume(bench.url, queue, 2, handle)
    assert seen == [AMBIENT, AMBIENT]


@pytest.mark.usefixtures("_ambient")
@pytest.mark.parametrize("delivery", DELIVERIES, ids=lambda delivery: delivery.name)
@pytest.mark.parametrize("reader", READERS, ids=lambda path: path.id)
def test_a_cell_fails_where_nothing_is_restored(
    delivery: Delivery, reader: Path, make_bench: MakeBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(JsonFormat, "decode", lambda *_: {})
    bench = make_bench(QUORUM, reader, PUBLISHERS[0])
    with pytest.raises(AssertionError):
        delivery.run(bench)


def test_each_publisher_meets_each_path_and_each_delivery() -> None:
    met = {(cell.publisher, each) for cell in DELIVERY_CELLS for each in (cell.path, cell.delivery)}
    assert met == set(product(PUBLISHERS, [*PATHS, *DELIVERIES]))


def test_no_cell_has_the_name_of_another() -> None:
    assert len({str(cell) for cell in CELLS}) == len(CELLS)


def test_the_page_tells_what_the_matrix_defines_and_that_all_of_it_passed(
    broker_version: str, collected: set[Cell], passed: set[Cell]
) -> None:
    """Written anew if MQCTX_WRITE_CONFORMANCE is set. Last here, because it looks at the others."""
    if os.environ.get(WRITE):
        assert collected == set(CELLS), "the page needs all cells: add -m 'full or not full'"
        page = document.render(passed, document.current_versions(broker_version))
        document.DOCUMENT.write_text(page, encoding="utf-8")
    page = document.DOCUMENT.read_text(encoding="utf-8")
    assert page == document.render(set(CELLS), document.read_versions(page))
