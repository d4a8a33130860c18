"""The call of a command as its user would write it again."""

import re
from collections.abc import Iterator
from typing import Any, Final

import click
from click.core import ParameterSource

from mqctx.inspection._safety import command_for
from mqctx.inspection._where import Where

__all__ = ["repeated"]

_PASSWORD: Final = re.compile("(?<=://)([^:/@]*):[^/]*@")
"""A user, and a password with all but a `/` in it, which no URL that could be read has."""


def repeated(queue: str, more: str) -> str:
    """Return the command under way, for one of its queues, with one option more than it has."""
    context = click.get_current_context()
    return command_for(queue, str(context.info_name), more, *_options(context))


def _options(context: click.Context) -> Iterator[str]:
    """Yield the options that were given, but for those of the environment, which last."""
    for parameter in context.command.params:
        name = str(parameter.name)
        if context.get_parameter_source(name) is not ParameterSource.COMMANDLINE:
            continue
        if isinstance(parameter, click.Option):
            yield from _words(parameter, context.params[name])


def _words(option: click.Option, value: Any) -> Iterator[str]:
    for each in value if option.multiple else [value]:
        yield option.opts[0]
        if not option.is_flag:
            yield _as_given(each)


def _as_given(value: Any) -> str:
    """Return what stands behind an option, with no password in it."""
    if isinstance(value, Where):
        return f"{value.name}={value.pattern}"
    return _PASSWORD.sub(r"\1:***@", str(value))
