"""The line of a request, whatever came in it."""

import logging

import pytest

from mqctx._core.name_filter import any_of
from mqctx.middleware._access_log import AccessLine
from tests.middleware.conftest import Lines

HOSTILE = "GET\n2030-01-01 INFO root logged in\x1b[2J\u202e" + "x" * 9999
NAMES = ("http.request.method", "url.path", "client.address")


@pytest.fixture
def line() -> AccessLine:
    return AccessLine(dict.fromkeys(NAMES, HOSTILE), any_of(()))


def test_is_one_printable_bounded_line(line: AccessLine, lines: Lines) -> None:
    line.completed(200, HOSTILE)
    text = lines.records[0].getMessage()
    assert text.startswith(r"request completed: GET\n2030-01-01")
    assert text.isprintable()
    assert len(text) < 5000


def test_has_no_field_that_is_not(line: AccessLine, lines: Lines) -> None:
    line.closed(1000)
    fields = lines.fields[0]
    assert all(str(fields[name]).isprintable() and len(str(fields[name])) < 2000 for name in fields)


def test_of_a_request_that_a_log_handler_makes_is_not_written(
    line: AccessLine, lines: Lines
) -> None:
    class Ship(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            AccessLine(dict.fromkeys(NAMES, "inner"), any_of(())).completed(200)

    ship, logger = Ship(), logging.getLogger("mqctx.access")
    logger.addHandler(ship)
    line.completed(200)
    logger.removeHandler(ship)
    assert len(lines.records) == 1
