"""The command `mqctx redrive`."""

from math import inf

import click

from mqctx.cli._looking.names import NAME, QUEUE
from mqctx.cli._looking.numbers import MORE_THAN_0
from mqctx.cli._looking.options import Options, common_options


@click.command("redrive", short_help="Send messages back to where they came from.")
@click.argument("queue", type=QUEUE)
@click.option(
    "--to", metavar="QUEUE", type=QUEUE, help="To this queue, and not to where each came from."
)
@click.option("--exchange", metavar="E", type=NAME, help="To this exchange.")
@click.option(
    "--routing-key",
    metavar="K",
    type=NAME,
    help="With --exchange: by this key, and not by each one's own.",
)
@click.option(
    "--yes", is_flag=True, help="Do it. Without, the plan is printed and nothing changed."
)
@click.option(
    "--rate",
    metavar="N",
    type=MORE_THAN_0,
    default=inf,
    help="At most so many messages a second.",
)
@click.option(
    "--watch",
    metavar="SECONDS",
    type=MORE_THAN_0,
    help="Then wait so long, and say what came back.",
)
@click.option(
    "--rescue",
    is_flag=True,
    help="Read by copies to the queue's end: for queues that a look would lose messages of.",
)
@common_options
def redrive(
    options: Options,
    queue: str,
    to: str | None,
    exchange: str | None,
    routing_key: str | None,
    *,
    yes: bool,
    rate: float,
    watch: float | None,
    rescue: bool,
) -> None:
    """Send the messages of QUEUE back to where they came from.

    Without --yes: show which go where, through which exchange, who else would get a copy, and where
    a second failure would end. Each message is taken off QUEUE once its copy is where it belongs.
    Try one first: --limit 1 --yes.
    """
    _check_target(queue, to, exchange, routing_key)
    _check_watch(watch, yes=yes)
    from mqctx.cli._looking import redriving  # noqa: PLC0415 - it loads pika and urllib3

    wishes = redriving.Wishes(
        to=to,
        exchange=exchange,
        routing_key=routing_key,
        rate=rate,
        watch=watch,
        rescue=rescue,
        yes=yes,
    )
    redriving.redrive(options, queue, wishes)


def _check_target(
    queue: str, to: str | None, exchange: str | None, routing_key: str | None
) -> None:
    """Raise `click.UsageError` unless the options name one place to go to, or none."""
    if to is not None and {exchange, routing_key} != {None}:
        raise click.UsageError("--to names a queue: --exchange and --routing-key cannot go with it")
    if exchange is None and routing_key is not None:
        raise click.UsageError("--routing-key goes with --exchange")
    if to == queue:
        # They would be behind the others again, and nothing gained.
        raise click.UsageError("--to is the queue itself")


def _check_watch(watch: float | None, *, yes: bool) -> None:
    if watch is not None and not yes:
        raise click.UsageError("--watch goes with --yes")
