"""python-json-logger writes what the filter gave to a record, with no setting of its own."""

import json
import logging
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest
from pythonjsonlogger.json import JsonFormatter

import mqctx
from mqctx import scope
from mqctx.logging.stdlib import ContextFilter

JSON = JsonFormatter()
ORDER = UUID("7c9e6679-7425-40de-944b-e07fc1f90ae7")


def json_line(
    context_filter: ContextFilter, formatter: JsonFormatter = JSON, **extra: object
) -> object:
    """Return the line of a record as JSON."""
    record = logging.getLogger().makeRecord("shop", 20, "", 0, "billing", (), None, extra=extra)
    shown: object = context_filter.filter(record)  # from Python 3.12 on a copy
    shown = shown if isinstance(shown, logging.LogRecord) else record
    return json.loads(formatter.format(shown))


@pytest.mark.parametrize(
    ("context_filter", "expected"),
    [
        (ContextFilter(), {"order.id": 7, "tags": ["a\n"], "user": "eve"}),
        (
            ContextFilter(attribute="context"),
            {"context": {"order.id": 7, "tags": ["a\n"], "user": "ada"}, "user": "eve"},
        ),
    ],
    ids=["one each", "in one"],
)
def test_writes_the_context_beside_the_extra(
    context_filter: ContextFilter, expected: dict[str, object]
) -> None:
    with scope({"order.id": 7, "tags": ["a\n"], "user": "ada"}):
        assert json_line(context_filter, user="eve") == {"message": "billing", **expected}


def test_writes_declared_types_as_text() -> None:
    mqctx.Variable("order", UUID)
    mqctx.Variable("due", datetime)
    with scope(order=ORDER, due=datetime(2030, 1, 2, tzinfo=UTC)):
        assert json_line(ContextFilter(["order", "due"], prefix="ctx.")) == {
            "message": "billing",
            "ctx.order": str(ORDER),
            "ctx.due": "2030-01-02T00:00:00+00:00",
        }


def test_no_message_picks_a_field_of_a_line() -> None:
    formatter = JsonFormatter(
        "%(levelname)s %(name)s %(message)s",
        rename_fields={"levelname": "lvl", "name": "source"},
        static_fields={"service": "billing"},
        defaults={"region": "eu"},
        timestamp="at",
    )
    names = (
        "lvl",
        "source",
        "service",
        "region",
        "at",
        "level",
        "timestamp",
        "logger",
        "request_id",
    )
    headers = {"mqctx": json.dumps(dict.fromkeys(names, "theirs"))}
    with mqctx.Propagator().extract(headers).scope():
        line: Any = json_line(ContextFilter(), formatter)
    assert [name for name, value in line.items() if value == "theirs" and "." not in name] == [
        "request_id"
    ]
    assert (line["lvl"], line["source"], line["service"]) == ("INFO", "shop", "billing")
