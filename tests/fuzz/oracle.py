"""Checks of `extract` that hold for any header. Raises AssertionError if one does not."""

import json
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from enum import Enum
from typing import Any, cast
from uuid import UUID

from mqctx import Context, Propagator, Variable

Load = Callable[[str | bytes | bytearray], object]

_LEGAL_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]{0,63}")
_wide = Propagator(max_bytes=130_000, on_rejected=print)


def loads(raw: str | bytes | bytearray) -> object:
    """Parse JSON as RFC 8259 has it: UTF-8 only, where `json.loads` guesses at others."""
    return json.loads(raw if isinstance(raw, str) else raw.decode())


class Plan(Enum):
    PRO = "pro"
    FREE = "free"


@dataclass
class Order:
    id: int
    lines: list[str]


DECLARED: dict[str, Any] = {
    "uuid": UUID,
    "at": datetime,
    "total": Decimal,
    "plan": Plan,
    "ratio": float,
    "count": int,
    "order": Order,
}


def declare() -> None:
    """Declare what the types in `DECLARED` say, and a name that is local."""
    for name, kind in DECLARED.items():
        Variable(name, kind)
    Variable("secret", str, local=True)


@dataclass
class Oracle:
    """Checks one header value after another, and counts what became of them."""

    propagator: Propagator = field(
        default_factory=lambda: Propagator(on_rejected=lambda _: None, max_bytes=4096)
    )
    load: Load = loads
    """An independent parser of JSON, with which the result is compared."""
    whole: int = 0
    partial: int = 0
    empty: int = 0

    def check(self, raw: object) -> None:
        """Extract a header's value, and compare."""
        before = self.propagator.rejections.total()
        context = self.propagator.extract({"mqctx": raw})
        rejected = self.propagator.rejections.total() - before
        assert type(context) is Context
        if context:
            check_names(context)
            check_travels_on(context)
        said = self._said(raw)
        if rejected:
            check_part_of(said, context)
        else:
            check_equal(said, context)
        self._count(context, rejected)

    def _count(self, context: Context, rejected: int) -> None:
        if not rejected:
            self.whole += 1
        elif context:
            self.partial += 1
        else:
            self.empty += 1

    def _said(self, raw: object) -> dict[str, object] | None:
        """Return the JSON object that a header holds, or None where it holds none."""
        if not isinstance(raw, str | bytes | bytearray):
            return None
        try:
            said = self.load(raw)
        except (ValueError, RecursionError):
            return None
        return cast("dict[str, object]", said) if isinstance(said, dict) else None


def check_names(context: Context) -> None:
    """Every name is legal, none is local."""
    for name in context:
        assert _LEGAL_NAME.fullmatch(name), name
        assert name != "secret"


def check_travels_on(context: Context) -> None:
    """A restored context can be published on, and arrives there equal in value and type."""
    headers = context.run(_wide.inject)
    assert set(headers) == {"mqctx"}
    assert headers["mqctx"].isascii()
    again = _wide.extract(headers)
    assert repr(dict(again)) == repr(dict(context))
    assert again == context


def check_part_of(said: dict[str, object] | None, context: Context) -> None:
    """If something was rejected, the rest is what the header says."""
    if said is None:
        assert context == {}
        return
    for name, value in context.items():
        check_value(name, said[name], value)
    assert len(context) < len(said)


def check_equal(said: dict[str, object] | None, context: Context) -> None:
    """If nothing was rejected, all that the header says is there."""
    assert said is not None
    assert list(context) == list(said)
    for name, value in context.items():
        check_value(name, said[name], value)


def check_value(name: str, said: object, value: object) -> None:
    """The value is what the header says, in value and type, or of the type declared for it."""
    if name in DECLARED:
        assert isinstance(value, DECLARED[name])
    else:
        # repr tells 1 from 1.0 and from True, and -0.0 from 0.0.
        assert repr(value) == repr(said), name
