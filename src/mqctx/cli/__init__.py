"""The command line: `mqctx demo`."""

import click

from mqctx.cli._demo.command import command as demo_command

__all__ = ["main"]


@click.group()
def main() -> None:
    """Your request context, on the other side of the queue."""


main.add_command(demo_command)
