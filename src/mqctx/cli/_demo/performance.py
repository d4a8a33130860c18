"""Play the story on the clients, and show it."""

from typing import Final

from aio_pika.exceptions import AMQPError as AioPikaError
from aio_pika.exceptions import ChannelInvalidStateError
from pika.exceptions import AMQPError as PikaError

from mqctx.cli._demo import on_aio_pika, on_kombu, on_pika
from mqctx.cli._demo.broker import Broker
from mqctx.cli._demo.check import Verdict, judge
from mqctx.cli._demo.dead_letter import fail_and_send_back
from mqctx.cli._demo.journal import Journal
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


def perform(broker: Broker | None) -> Verdict:
    """Play the story, print it, and return how it went.

    Raises:
        BrokerFailedError: the broker that was given cannot be used.
    """
    # The dead letter comes second: it takes the management API, without which this is still shown.
    verdict = judge(_on_rabbitmq(broker) if broker else _in_memory())
    echo()
    show(verdict)
    if broker is None:
        echo("On RabbitMQ, three clients: make demo BROKER=docker, or mqctx demo --broker URL")
        echo("With its management API, an order fails there, is inspected and sent back.")
    elif (second := _failure(broker)) is not None:
        echo()
        show(second)
        verdict = Verdict(verdict.summary, [*verdict.problems, *second.problems])
    echo("In your own code: see README.md.")
    return verdict


def _failure(broker: Broker) -> Verdict | None:
    try:
        return fail_and_send_back(broker.url)
    except _BROKER_ERRORS as error:
        raise BrokerFailedError(broker.explain(error)) from error


def _in_memory() -> Journal:
    where = "In memory, no broker needed: web, billing and shipping are all on kombu."
    return _played("memory://", _IN_MEMORY, where)


def _on_rabbitmq(broker: Broker) -> Journal:
    where = f"On RabbitMQ at {broker.address}\nweb on aio-pika, billing on pika, shipping on kombu."
    try:
        return _played(broker.url, _ON_RABBITMQ, where)
    except _BROKER_ERRORS as error:
        raise BrokerFailedError(broker.explain(error)) from error


def _played(url: str, cast: Cast, where: str) -> Journal:
    stage = Stage.at(url)
    with (
        queues(url, queue(stage.orders), queue(stage.shipping)),
        story_lines(f"{_TITLE}\n{where}\n"),
    ):
        play(stage, cast)
    return stage.journal
