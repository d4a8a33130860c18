"""The command `mqctx demo`."""

from typing import Final

import click
from aio_pika.exceptions import AMQPError as AioPikaError
from aio_pika.exceptions import ChannelInvalidStateError
from pika.exceptions import AMQPError as PikaError

from mqctx.cli._demo import on_aio_pika, on_kombu, on_pika
from mqctx.cli._demo.broker import Broker
from mqctx.cli._demo.check import judge
from mqctx.cli._demo.journal import Journal
from mqctx.cli._demo.play import Cast, play
from mqctx.cli._demo.queues import KOMBU_ERRORS, queues
from mqctx.cli._demo.screen import echo, show, story_lines
from mqctx.cli._demo.stage import Stage

_IN_MEMORY: Final = Cast(on_kombu.web, on_kombu.billing, on_kombu.shipping)
_ON_RABBITMQ: Final = Cast(on_aio_pika.web, on_pika.billing, on_kombu.shipping)
_TITLE: Final = (
    "Two requests at once. Messages name an order; request_id, user and tenant come from mqctx."
)
_BROKER_ERRORS: Final[tuple[type[Exception], ...]] = (
    OSError,
    AioPikaError,
    ChannelInvalidStateError,  # Not one of aio-pika's AMQPErrors.
    PikaError,
    *KOMBU_ERRORS,
)


class _BrokerFailedError(click.ClickException):
    exit_code = 2


def _parse(_: click.Context, __: click.Parameter, url: str | None) -> Broker | None:
    try:
        return Broker.parse(url) if url else None
    except ValueError as error:
        raise click.BadParameter(str(error)) from None


@click.command("demo")
@click.option(
    "--broker",
    metavar="URL",
    envvar="MQCTX_BROKER_URL",
    show_envvar=True,
    callback=_parse,
    help="The RabbitMQ to run on, amqp://USER:PASSWORD@HOST:PORT/VHOST. Without it: in memory.",
)
@click.pass_context
def command(context: click.Context, broker: Broker | None) -> None:
    """Watch two requests keep their contexts apart across two queues.

    The exit code is 1 if a handler saw any other context than the one its order was sent in,
    or an order was lost, and 2 if RabbitMQ cannot be used.
    """
    verdict = judge(_on_rabbitmq(broker) if broker else _in_memory())
    echo()
    show(verdict)
    if broker is None:
        echo("On RabbitMQ, with three clients: make demo BROKER=docker, or mqctx demo --broker URL")
    echo("In your own code: see README.md.")
    context.exit(1 if verdict.problems else 0)


def _in_memory() -> Journal:
    where = "In memory, no broker needed: web, billing and shipping are all on kombu."
    return _played("memory://", _IN_MEMORY, where)


def _on_rabbitmq(broker: Broker) -> Journal:
    where = f"On RabbitMQ at {broker.address}: web on aio-pika, billing on pika, shipping on kombu."
    try:
        return _played(broker.url, _ON_RABBITMQ, where)
    except _BROKER_ERRORS as error:
        raise _BrokerFailedError(broker.explain(error)) from error


def _played(url: str, cast: Cast, where: str) -> Journal:
    stage = Stage.at(url)
    with queues(stage), story_lines(f"{_TITLE}\n{where}\n"):
        play(stage, cast)
    return stage.journal
