"""The two middlewares, and what they log."""

import logging
from collections.abc import Iterator

import pytest

import mqctx
from tests.middleware.protocols import Ask, ask_asgi, ask_wsgi


@pytest.fixture(params=[ask_asgi, ask_wsgi], ids=["asgi", "wsgi"])
def ask(request: pytest.FixtureRequest) -> Ask:
    return request.param


class Lines(logging.Handler):
    """The lines of the access log, each with the context in which it was written."""

    def __init__(self) -> None:
        super().__init__()
        self.records: list[logging.LogRecord] = []
        self.contexts: list[mqctx.Context] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)
        self.contexts.append(mqctx.current())

    @property
    def fields(self) -> list[dict[str, object]]:
        """The attributes of the records that not every record has."""
        plain = {*vars(logging.makeLogRecord({})), "message"}
        return [{k: v for k, v in vars(r).items() if k not in plain} for r in self.records]

    @property
    def texts(self) -> list[str]:
        """The lines, without the time that each took."""
        return [r.getMessage().partition(" in ")[0] + _note(r) for r in self.records]


def _note(record: logging.LogRecord) -> str:
    error = vars(record).get("error.type")
    return f" ({error})" if error else ""


@pytest.fixture
def lines() -> Iterator[Lines]:
    handler = Lines()
    logger = logging.getLogger("mqctx.access")
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    yield handler
    logger.setLevel(logging.NOTSET)
    logger.removeHandler(handler)
