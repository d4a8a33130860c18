"""Single messages, each as a block of lines."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

from rich.table import Table
from rich.text import Text

from mqctx.cli._looking.text import escaped, shown
from mqctx.inspection import Death, Message

__all__ = ["body_of", "message_block"]

_MOST_OF_BODY: Final = 2_000
_REASON: Final = ("type", "message")
_DETAILS: Final = ("service", "handler", "attempt", "failures", "at", "system")
_VERIFIED: Final = {True: "  (verified)", False: "  (not verified)", None: ""}


def message_block(message: Message, *, with_body: bool) -> Table:
    """Return whose a message is, where it came from, and why it died."""
    title = Text(f"{escaped(message.queue)}  #{message.position:,}", style="bold")
    title.append(f"  {shown(message.id)}  {message.at or ''}".rstrip(), style="not bold")
    block = Table.grid()
    block.add_row(title)
    grid = Table.grid(padding=(0, 2, 0, 0))
    grid.add_column(no_wrap=True, style="dim")
    grid.add_column(overflow="fold")
    for label, text in (*_whose(message), *_why(message)):
        grid.add_row(f"  {label}", text)
    if with_body:
        grid.add_row("  body", escaped(str(body_of(message)["body"])[:_MOST_OF_BODY]))
    block.add_row(grid)
    return block


def _whose(message: Message) -> Iterator[tuple[str, str]]:
    origin = shown(message.came_from)
    exchange = shown(message.exchange) or "(default)"
    yield "from", f"{origin}  exchange {exchange}  key {shown(message.routing_key)}"
    values = "  ".join(map(_assigned, message.plain_context.items()))
    yield "context", (values or "none") + _VERIFIED[message.verified]
    for rejection in message.rejections:
        yield "refused", escaped(str(rejection))


def _why(message: Message) -> Iterator[tuple[str, str]]:
    if message.failure:
        yield from _failure(message.failure)
    for death in message.deaths:
        yield "died", _death(death)
    if message.task is not None:
        yield "task", _task(message.task)


def _assigned(named: tuple[str, Any]) -> str:
    name, value = named
    return f"{escaped(name)}={shown(value)}"


def _task(told: Mapping[str, Any]) -> str:
    retries = f"  retries {shown(told['retries'])}" if "retries" in told else ""
    return f"{shown(told['task'])}  id {shown(told['id'])}{retries}"


def _failure(failure: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield the lines of a failure. Any of its keys may be missing."""
    yield "failed", ": ".join(_shown_of(failure, _REASON).values()) or "-"
    details = "  ".join(map(" ".join, _shown_of(failure, _DETAILS).items()))
    for line in filter(None, (*_shown_of(failure, ("where",)).values(), details)):
        yield "", line
    for bound in failure.get("bound", {}).items():
        yield "bound", _assigned(bound)


def _shown_of(told: Mapping[str, Any], keys: Iterable[str]) -> dict[str, str]:
    """Return the values under some keys, in their order."""
    return {key: shown(told[key]) for key in keys if key in told}


def _death(death: Death) -> str:
    times = "" if death.count == 1 else f", {death.count:,} times"
    return f"{escaped(death.reason)} from {escaped(death.queue)}{times}  {death.at or ''}".rstrip()


def body_of(message: Message) -> dict[str, Any]:
    """Return the body for JSON: as text, or in base64 if it is not text."""
    try:
        return {"body": message.body.decode()}
    except UnicodeDecodeError:
        return {"body": message.body, "body_encoding": "base64"}  # as msgspec writes bytes
