"""The command `mqctx inspect`."""

from pathlib import Path

import click

from mqctx.cli._looking.names import QUEUE, TEXT
from mqctx.cli._looking.options import Options, common_options


@click.command("inspect", short_help="See whose messages are in a queue, and why they died.")
@click.argument("queues", metavar="QUEUE...", nargs=-1, required=True, type=QUEUE)
@click.option("--by", metavar="NAME[,NAME]", default="", type=TEXT, help="Group by these names.")
@click.option(
    "--rescue",
    is_flag=True,
    help="Read by copies to the queue's end: for queues that a look would lose messages of.",
)
@click.option(
    "--html",
    metavar="FILE",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Write the messages to a page, too, which any browser opens.",
)
@click.option("--body", is_flag=True, help="Show the bodies of messages, too.")
@common_options
def inspect(
    options: Options,
    queues: tuple[str, ...],
    by: str,
    *,
    rescue: bool,
    html: Path | None,
    body: bool,
) -> None:
    """Show whose messages are in QUEUE, and why they died, and leave all in place.

    QUEUE may have a * for anything ('*.dead'), and there may be several. Without --where, --limit
    or --json: a table of groups.
    """
    from mqctx.cli._looking import inspection  # noqa: PLC0415 - it loads pika and urllib3

    names = [*filter(None, map(str.strip, by.split(",")))]
    inspection.inspect(options, queues, names, rescue=rescue, with_body=body, html=html)
