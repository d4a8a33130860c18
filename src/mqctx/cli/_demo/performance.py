"""Play the story on the clients, and show it."""

from pathlib import Path
from typing import Any, Final

from aio_pika.exceptions import AMQPError as AioPikaError
from aio_pika.exceptions import ChannelInvalidStateError
from pika.exceptions import AMQPError as PikaError

from mqctx.cli._demo import memory, on_aio_pika, on_kombu, on_pika
from mqctx.cli._demo.broker import Broker
from mqctx.cli._demo.check import Verdict, judge
from mqctx.cli._demo.dead_letter import fail_and_send_back
from mqctx.cli._demo.ending import show_journeys
from mqctx.cli._demo.journeys import Watch, watched
from mqctx.cli._demo.play import Cast, play
from mqctx.cli._demo.queues import KOMBU_ERRORS, queue, queues
from mqctx.cli._demo.screen import echo, show, story_lines
from mqctx.cli._demo.stage import Stage
from mqctx.inspection import BrokerError

_IN_MEMORY: Final = Cast(on_kombu.web, on_kombu.billing, on_kombu.shipping)
_ON_RABBITMQ: Final = Cast(on_aio_pika.web, on_pika.billing, on_kombu.shipping)
_TITLE: Final = "Two requests at once. Messages name an order; mqctx brings the last 3 columns."
_BROKER_ERRORS: Final[tuple[type[Exception], ...]] = (
    OSError,
    AioPikaError,
    ChannelInvalidStateError,  # Not one of aio-pika's AMQPErrors.
    PikaError,
    BrokerError,
    *KOMBU_ERRORS,
)


class BrokerFailedError(Exception):
    """RabbitMQ could not be used. The message says what to do, without the password."""


def perform(broker: Broker | None, page: Path) -> Verdict:
    """Play the story, print it, and return how it went.

    Raises:
        BrokerFailedError: the broker that was given cannot be used.
        FileError: the page cannot be written.
    """
    if broker is None:
        verdict, watch = _in_memory()
    else:
        try:
            verdict, watch = _on_rabbitmq(broker)
        except _BROKER_ERRORS as error:
            raise BrokerFailedError(broker.explain(error)) from error
    show_journeys(watch, page)
    if broker is None:
        echo("On RabbitMQ, three clients: make demo BROKER=docker, or mqctx demo --broker URL")
        echo("With its management API, an order fails there, is inspected and sent back.")
    echo("In your own code: see README.md.")
    return verdict


def _in_memory() -> tuple[Verdict, Watch]:
    where = "In memory, no broker needed: web, billing and shipping are all on kombu."
    stage = Stage.at(memory.URL)
    with queues(stage.url, *_of_orders(stage)), watched(stage) as watch:
        return _played(stage, _IN_MEMORY, where), watch


def _on_rabbitmq(broker: Broker) -> tuple[Verdict, Watch]:
    where = f"On RabbitMQ at {broker.address}\nweb on aio-pika, billing on pika, shipping on kombu."
    stage = Stage.at(broker.url)
    # Classic, whatever the vhost's default: no look at such a queue counts as a delivery.
    dead = (queue(name, **{"x-queue-type": "classic"}) for name in (stage.payments, stage.dead))
    with queues(stage.url, *_of_orders(stage), *dead), watched(stage) as watch:
        first = _played(stage, _ON_RABBITMQ, where)
        second = fail_and_send_back(stage)
        if second is not None:
            echo()
            show(second)
    problems = [problem for each in (first, second) if each for problem in each.problems]
    return Verdict(first.summary, problems), watch


def _of_orders(stage: Stage) -> tuple[Any, Any]:
    return queue(stage.orders), queue(stage.shipping)


def _played(stage: Stage, cast: Cast, where: str) -> Verdict:
    with story_lines(f"{_TITLE}\n{where}\n"):
        play(stage, cast)
    verdict = judge(stage.journal)
    echo()
    show(verdict)
    return verdict
