"""The log line of an outgoing call, whatever is in its URL."""

import logging

import pytest

from mqctx.http_clients._policy import OutgoingCallPolicy


@pytest.fixture(autouse=True)
def _info(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "mqctx.calls")


def test_a_line_is_one_printable_bounded_line(caplog: pytest.LogCaptureFixture) -> None:
    policy = OutgoingCallPolicy(hosts=[], log=True)
    with policy.logged("GET\n\x1b[2J", f"https://api\u202e/\n{'x' * 9999}") as answer:
        answer.status = 200
    (record,) = caplog.records
    assert record.getMessage().startswith(r"GET\n\x1b[2J api")
    assert record.getMessage().isprintable()
    assert len(record.getMessage()) < 3000


def test_a_line_of_a_call_that_a_log_handler_makes_is_not_written(
    caplog: pytest.LogCaptureFixture,
) -> None:
    policy = OutgoingCallPolicy(hosts=[], log=True)

    class Ship(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            call("https://logs.internal/")

    def call(url: str) -> None:
        with policy.logged("GET", url) as answer:
            answer.status = 200

    logger, ship = logging.getLogger("mqctx.calls"), Ship()
    logger.addHandler(ship)
    call("https://api.internal/")
    logger.removeHandler(ship)
    assert [vars(record)["server.address"] for record in caplog.records] == ["api.internal"]
