"""The cells: which there are, which there are not and why, and which of them run every time."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TypeAlias

from tests.conformance import paths_aio_pika, paths_kombu, paths_pika
from tests.conformance.deliveries import DELIVERIES, Delivery
from tests.conformance.model import CLASSIC, KINDS, Kind, Path
from tests.conformance.publications import PUBLICATIONS, Publication
from tests.conformance.publishers import PUBLISHERS, Publisher

PATHS: list[Path] = [*paths_aio_pika.PATHS, *paths_kombu.PATHS, *paths_pika.PATHS]
READERS: list[Path] = [
    paths_aio_pika.PATHS[0],
    paths_kombu.PATHS[0],
    paths_pika.PATHS[0],
]
"""The paths that read what came of a publication: each client's first one."""

LEFT_ALONE: list[Path] = [
    *paths_aio_pika.LEFT_ALONE,
    *paths_kombu.LEFT_ALONE,
    *paths_pika.LEFT_ALONE,
]

PLAIN = DELIVERIES[0]


@dataclass(frozen=True, slots=True)
class DeliveryCell:
    """A path, and what happened to the messages that take it."""

    delivery: Delivery
    kind: Kind
    path: Path
    publisher: Publisher

    def __str__(self) -> str:
        return f"{self.delivery.name} | {self.kind.name} | {self.path.id} | {self.publisher.id}"


@dataclass(frozen=True, slots=True)
class PublicationCell:
    """A publisher, and what it does with a message that a reader gets, if anyone does."""

    publication: Publication
    publisher: Publisher
    reader: Path

    def __str__(self) -> str:
        return f"{self.publication.name} | {self.publisher.id} | {self.reader.id}"


Cell: TypeAlias = DeliveryCell | PublicationCell


def why_not(delivery: Delivery, kind: Kind, path: Path) -> str | None:
    """Return why there is no such cell, None if there is."""
    return (
        path.cannot.get(kind.name)
        or path.cannot.get(delivery.name)
        or delivery.cannot.get(kind.name)
    )


def _delivery_cells() -> Iterator[DeliveryCell]:
    """Give each publisher for the plain delivery; for each other delivery, one in turn."""
    for number, path in enumerate(PATHS):
        for delivery in DELIVERIES:
            for kind in KINDS:
                if why_not(delivery, kind, path) is not None:
                    continue
                turn = number + DELIVERIES.index(delivery) + KINDS.index(kind)
                one = [PUBLISHERS[turn % len(PUBLISHERS)]]
                for publisher in PUBLISHERS if delivery is PLAIN else one:
                    yield DeliveryCell(delivery, kind, path, publisher)


def _publication_cells() -> Iterator[PublicationCell]:
    for publication in PUBLICATIONS:
        for publisher in PUBLISHERS:
            if publication.why_not(publisher) is None:
                for reader in READERS if publication.arrives else READERS[:1]:
                    yield PublicationCell(publication, publisher, reader)


DELIVERY_CELLS = list(_delivery_cells())
PUBLICATION_CELLS = list(_publication_cells())
CELLS: list[Cell] = [*DELIVERY_CELLS, *PUBLICATION_CELLS]


def _sample() -> Iterator[Cell]:
    """Give each path once, then each other queue type, delivery and publication once."""
    for number, path in enumerate(PATHS):
        publisher = PUBLISHERS[number % len(PUBLISHERS)]
        yield DeliveryCell(PLAIN, CLASSIC, path, publisher)
    for number, kind in enumerate(KINDS[1:]):
        cells = [cell for cell in DELIVERY_CELLS if cell.delivery is PLAIN and cell.kind is kind]
        yield cells[number * len(cells) // 2]
    for number, delivery in enumerate(DELIVERIES[1:]):
        cells = [cell for cell in DELIVERY_CELLS if cell.delivery is delivery]
        yield cells[number * len(cells) // len(DELIVERIES)]
    for publication in PUBLICATIONS:
        yield next(cell for cell in PUBLICATION_CELLS if cell.publication is publication)


SAMPLE = frozenset(_sample())
