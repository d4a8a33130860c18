"""The commands, each in a module of its own that loads what it needs when it runs."""

import click

from mqctx.cli.demo import demo
from mqctx.cli.inspect import inspect
from mqctx.cli.redrive import redrive
from mqctx.cli.trace import trace


@click.group()
@click.version_option(package_name="mqctx", message="%(prog)s %(version)s")
def commands() -> None:
    """Your request context, on the other side of the queue."""


commands.add_command(demo)
commands.add_command(inspect)
commands.add_command(trace)
commands.add_command(redrive)
