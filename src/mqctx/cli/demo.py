"""The command `mqctx demo`."""

from pathlib import Path

import click

from mqctx.cli._demo.broker import Broker


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
@click.option(
    "--html",
    metavar="FILE",
    type=click.Path(dir_okay=False, path_type=Path),
    default="mqctx-demo.html",
    show_default=True,
    help="The page of the journeys, which any browser opens.",
)
@click.pass_context
def demo(context: click.Context, broker: Broker | None, html: Path) -> None:
    """Watch two requests keep their contexts apart across two queues, and their journeys.

    The exit code is 1 if a handler saw any other context than the one its order was sent in,
    or an order was lost, and 2 if RabbitMQ cannot be used.
    """
    from mqctx.cli._demo.performance import (  # noqa: PLC0415 - it loads three clients
        BrokerFailedError,
        perform,
    )

    try:
        verdict = perform(broker, html)
    except BrokerFailedError as error:
        raise _BrokerFailedError(str(error)) from error
    context.exit(1 if verdict.problems else 0)
