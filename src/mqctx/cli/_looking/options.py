"""The options that the commands share, and what they come to."""

import os
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import click
import msgspec

from mqctx.cli._looking.names import TEXT
from mqctx.errors import ConfigurationError
from mqctx.inspection._broker import DEFAULT_URL
from mqctx.inspection._where import Where

if TYPE_CHECKING:
    from mqctx.inspection import Message

R = TypeVar("R")


class Options(msgspec.Struct, frozen=True):
    """The options that all of them have."""

    broker: str = DEFAULT_URL
    ca: str | None = None
    cert: str | None = None
    key: str | None = None
    management: str | None = None
    where: Sequence[Where] = ()
    json: bool = False
    limit: int | None = None
    no_color: bool = False

    def choose(self, message: "Message") -> bool:
        """Tell whether all conditions hold for a message."""
        return all(where.matches(message) for where in self.where)

    @property
    def is_plain(self) -> bool:
        """Whether the output is to have no colours, wherever it goes (see no-color.org)."""
        return self.no_color or bool(os.environ.get("NO_COLOR"))


def _conditions(_: click.Context, __: click.Parameter, texts: Sequence[str]) -> list[Where]:
    try:
        return [Where.parse(text) for text in texts]
    except ConfigurationError as error:
        raise click.BadParameter(str(error)) from None


_OPTIONS = (
    click.option(
        "--broker",
        metavar="URL",
        envvar="MQCTX_BROKER_URL",
        show_envvar=True,
        default=DEFAULT_URL,
        help="The RabbitMQ, amqp://USER:PASSWORD@HOST:PORT/VHOST, or amqps://.",
    ),
    click.option("--ca", type=click.Path(exists=True), help="The authority's certificate, PEM."),
    click.option("--cert", type=click.Path(exists=True), help="Our certificate, PEM."),
    click.option("--key", type=click.Path(exists=True), help="Our certificate's key, PEM."),
    click.option(
        "--management",
        metavar="URL",
        envvar="MQCTX_MANAGEMENT_URL",
        show_envvar=True,
        help="The management API, http://HOST:15672. Without it: the same host, port + 10000.",
    ),
    click.option(
        "--where",
        metavar="NAME=VALUE",
        type=TEXT,
        multiple=True,
        callback=_conditions,
        help="Only messages with this value, in which * is anything. May be repeated.",
    ),
    click.option("--json", is_flag=True, help="JSON, one object a line."),
    click.option(
        "--limit", metavar="N", type=click.IntRange(min=1), help="At most so many messages."
    ),
    click.option("--no-color", is_flag=True, help="No colours, as with NO_COLOR set."),
)


def common_options(command: Callable[..., R]) -> Callable[..., R]:
    """Give a command the options, which it gets as one argument `options`."""

    def with_options(**given: Any) -> R:
        # click gives each option as an argument of its own.
        own = {name: given.pop(name) for name in list(given) if name not in names}
        return command(options=Options(**given), **own)

    names = Options.__struct_fields__
    # click reads the help from the docstring, and parameters from this list, which is in the
    # reverse order of what it shows.
    with_options.__doc__ = command.__doc__
    decorated: Any = with_options
    decorated.__click_params__ = list(getattr(command, "__click_params__", ()))
    for option in reversed(_OPTIONS):
        decorated = option(decorated)
    return decorated  # type: ignore[no-any-return]  # click's own annotation
