"""What of a consume could not be left out: each step alone, as short as Python says it.

The steps add up: each variant does what the one before it does, and one thing more; only the last
does the same, for a handler of known arguments. All is written out: to call what they could share
would be timed too. None of them takes a format or a propagator by choice, or tells of what it
cannot read.
"""

import types
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextvars import ContextVar, copy_context
from typing import Any, TypeAlias

import msgspec

from benchmarks import on_aio_pika, ways
from benchmarks.own_work import CLIENTS, consuming, handling
from benchmarks.pace import scale_to_there
from benchmarks.results import Measured, Results
from benchmarks.rounds import added, time_in_turn
from benchmarks.tables import Table

PARTS = ("sync", "async")
UNIT = "second"
_CLIENTS = {"sync": "pika", "async": "aio-pika"}

_Decorate: TypeAlias = Callable[[Callable[..., Any]], Callable[..., Any]]

_decode = msgspec.json.Decoder(dict[str, str | int | float | bool | None]).decode
_known = set(ways.values(5))
_new = object.__new__
_active: ContextVar[object] = ContextVar("active")
_memory: list[tuple[str, object]] = [("", None)]
_MOST = 4096


class _Values:
    __slots__ = ("derived", "encoded", "values")

    values: object
    derived: object
    encoded: object


class _Cell(msgspec.Struct):
    values: object
    headers: object
    restored: object


_OUTSIDE = _Cell(None, None, None)
_active_cell: ContextVar[_Cell] = ContextVar("active_cell", default=_OUTSIDE)


def _nothing(headers: Mapping[str, Any]) -> object:
    return headers


def _decoded(headers: Mapping[str, Any]) -> object:
    return _decode(headers["mqctx"])


def _looked_up(headers: Mapping[str, Any]) -> object:
    values = _decode(headers["mqctx"])
    return values if _known.issuperset(values) else None


def _held(headers: Mapping[str, Any]) -> object:
    values = _decode(headers["mqctx"])
    if not _known.issuperset(values):
        return None
    return _object(values)


def _object(values: object) -> object:
    held = _new(_Values)
    held.values = values
    held.derived = None
    held.encoded = None
    return held


def _remembered(headers: Mapping[str, Any]) -> object:
    try:
        text = headers["mqctx"]
        if type(text) is not str:
            return None
        last, held = _memory[0]
        if text == last:
            return held
        if len(text) > _MOST:
            return None
        values = _decode(text)
    except (KeyError, ValueError):
        return None
    if not _known.issuperset(values):
        return None
    held = _object(values)
    _memory[0] = text, held
    return held


def _wrapped(handler: Callable[..., Any]) -> Callable[..., Any]:
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        return handler(*args, **kwargs)

    return wrapped


def _isolated(handler: Callable[..., Any]) -> Callable[..., Any]:
    def isolated(*args: Any, **kwargs: Any) -> Any:
        return copy_context().run(handler, *args, **kwargs)

    return isolated


_MadeOf: TypeAlias = Callable[[Mapping[str, Any]], object]


def _inside(position: int, made_of: _MadeOf) -> Callable[..., Any]:
    # Called in the copy, it sets the variable there: to enter the copy twice takes longer.
    def inside(handler: Callable[..., Any], args: Any, kwargs: Any) -> Any:
        _active.set(made_of(args[position].headers))
        return handler(*args, **kwargs) if kwargs else handler(*args)

    return inside


def _inside_found(position: int, made_of: _MadeOf) -> Callable[..., Any]:
    name = "message"

    def inside(handler: Callable[..., Any], args: Any, kwargs: Any) -> Any:
        message = kwargs[name] if kwargs and name in kwargs else args[position]
        _active.set(made_of(message.headers))
        return handler(*args, **kwargs) if kwargs else handler(*args)

    return inside


def _inside_cell(position: int, made_of: _MadeOf) -> Callable[..., Any]:
    name = "message"

    def inside(handler: Callable[..., Any], args: Any, kwargs: Any) -> Any:
        message = kwargs[name] if kwargs and name in kwargs else args[position]
        headers = message.headers
        around = _active_cell.get()
        values = around.restored if around.headers is headers else made_of(headers)
        _active_cell.set(_Cell(values, headers, values))
        return handler(*args, **kwargs) if kwargs else handler(*args)

    return inside


def _with(inside: Callable[..., Any]) -> _Decorate:
    def decorate(handler: Callable[..., Any]) -> Callable[..., Any]:
        def active(*args: Any, **kwargs: Any) -> Any:
            return copy_context().run(inside, handler, args, kwargs)

        return active

    return decorate


def _wrapped_async(handler: Callable[..., Any]) -> Callable[..., Any]:
    async def wrapped(*args: Any, **kwargs: Any) -> Any:
        return await handler(*args, **kwargs)

    return wrapped


def _isolated_async(handler: Callable[..., Any]) -> Callable[..., Any]:
    async def isolated(*args: Any, **kwargs: Any) -> Any:
        space, coroutine = copy_context(), handler(*args, **kwargs)
        try:
            awaited = space.run(coroutine.send, None)
        except StopIteration as finished:
            return finished.value
        return await _further_steps(space, coroutine, awaited)

    return isolated


def _with_async(inside: Callable[..., Any]) -> _Decorate:
    def decorate(handler: Callable[..., Any]) -> Callable[..., Any]:
        async def active(*args: Any, **kwargs: Any) -> Any:
            space = copy_context()
            coroutine = space.run(inside, handler, args, kwargs)
            try:
                awaited = space.run(coroutine.send, None)
            except StopIteration as finished:
                return finished.value
            return await _further_steps(space, coroutine, awaited)

        return active

    return decorate


def _of_own_arguments(handler: Callable[..., Any]) -> Callable[..., Any]:
    def inside(channel: Any, method: Any, properties: Any, body: Any) -> Any:
        headers = properties.headers
        around = _active_cell.get()
        values = around.restored if around.headers is headers else _remembered(headers)
        _active_cell.set(_Cell(values, headers, values))
        return handler(channel, method, properties, body)

    def active(channel: Any, method: Any, properties: Any, body: Any) -> Any:
        return copy_context().run(inside, channel, method, properties, body)

    return active


def _of_own_arguments_async(handler: Callable[..., Any]) -> Callable[..., Any]:
    def inside(message: Any) -> Any:
        headers = message.headers
        around = _active_cell.get()
        values = around.restored if around.headers is headers else _remembered(headers)
        _active_cell.set(_Cell(values, headers, values))
        return handler(message)

    async def active(message: Any) -> Any:
        space = copy_context()
        coroutine = space.run(inside, message)
        try:
            awaited = space.run(coroutine.send, None)
        except StopIteration as finished:
            return finished.value
        return await _further_steps(space, coroutine, awaited)

    return active


@types.coroutine
def _further_steps(space: Any, coroutine: Any, awaited: Any) -> Iterator[Any]:
    while True:
        yield awaited
        try:
            awaited = space.run(coroutine.send, None)
        except StopIteration as finished:
            return finished.value


_PLAIN, _ISOLATED, _ACTIVE = (
    "a wrapper that passes any arguments on",
    "which calls the handler in a copy of the context variables",
    "in which one variable is set",
)
_STEPS = {
    _ACTIVE: (_inside, _nothing),
    "to what the header's JSON says": (_inside, _decoded),
    "whose names are all known": (_inside, _looked_up),
    "held by an object, with room for what it is encoded to": (_inside, _held),
    "of a bounded text, remembered in case it comes again": (_inside, _remembered),
    "in a message given by position or name": (_inside_found, _remembered),
    "in a cell, for what is bound later, and to restore each message once": (
        _inside_cell,
        _remembered,
    ),
}
_OWN_ARGUMENTS = "the same for this handler's own arguments alone"


def measure(part: str, seconds: float) -> Measured:
    """Time each step together with those before it, and mqctx, on the same kind of messages."""
    client = CLIENTS[_CLIENTS[part]]
    handler = ways.quiet if part == "sync" else on_aio_pika.quiet
    plain, isolated, using, own, position = (
        (_wrapped, _isolated, _with, _of_own_arguments, -2)
        if part == "sync"
        else (_wrapped_async, _isolated_async, _with_async, _of_own_arguments_async, -1)
    )
    decorators: dict[str, _Decorate] = {_PLAIN: plain, _ISOLATED: isolated}
    decorators |= {name: using(inside(position, of)) for name, (inside, of) in _STEPS.items()}
    decorators[_OWN_ARGUMENTS] = own
    variants = {ways.OTEL: consuming(client, ways.OTEL)}
    for name, decorate in {ways.RAW: lambda handler: handler, **decorators}.items():
        variants[name] = handling(client, decorate(handler), _headers)
    return time_in_turn({**variants, ways.MQCTX: consuming(client, ways.MQCTX)}, seconds)


def _headers() -> dict[str, str] | None:
    return ways.headers(ways.MQCTX, ways.values(5))


def tables(results: Results) -> list[Table]:
    """Return what the steps add to the handler's bare call, together with those before them."""
    names = (_PLAIN, _ISOLATED, *_STEPS, _OWN_ARGUMENTS, ways.MQCTX)
    found = {part: results.of("floor", part) for part in results.parts("floor")}
    if len(found) < len(PARTS):
        return []
    return [
        Table(
            "Consuming: what could not be left out",
            "Microseconds added to a handler's call, five values, on the machine of the targets "
            "(see there), by the least code for each step together with those before it: median "
            "(quartiles). The copy of the context variables keeps what a handler sets from the "
            "next message, the check of names keeps out what could not have been set. The last "
            "line but one would need a wrapper for each signature, code that is generated. The "
            "last line is mqctx, which does all that in functions of their own for any arguments, "
            "takes a propagator and formats by choice, joins variables of others, and tells of "
            "what it cannot restore.",
            ("step", "sync handler", "async handler"),
            [(name, *_cells(found, name)) for name in names],
        )
    ]


def _cells(found: Mapping[str, Measured], name: str) -> Iterable[str]:
    for part in PARTS:
        times = found[part]
        scale = scale_to_there(times, "consume", _CLIENTS[part], ways.OTEL, ways.RAW)
        yield added(times, name, ways.RAW).text(scale)
