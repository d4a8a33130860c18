"""The commands, each in a module of its own that loads what it needs when it runs."""

from typing import Any

import click

from mqctx.cli import INTERRUPTED
from mqctx.cli.demo import demo
from mqctx.cli.inspect import inspect
from mqctx.cli.redrive import redrive
from mqctx.cli.trace import trace


class _Commands(click.Group):
    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            # click's own code is 1.
            ctx.exit(INTERRUPTED)


@click.group(cls=_Commands)
@click.version_option(package_name="mqctx", message="%(prog)s %(version)s")
def commands() -> None:
    """Your request context, on the other side of the queue."""


commands.add_command(demo)
commands.add_command(inspect)
commands.add_command(trace)
commands.add_command(redrive)
