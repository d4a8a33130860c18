"""ContextPatcher: the context in the `extra` of loguru's records."""

import json
import logging
import logging.handlers
import threading
from collections.abc import Callable, Iterator
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast
from uuid import UUID

import loguru
import pytest
from loguru import logger

import mqctx
from mqctx import scope
from mqctx.logging.loguru import ContextPatcher
from mqctx.logging.stdlib import ContextFilter, context_of

if TYPE_CHECKING:
    from loguru import Message

ORDER = UUID("7c9e6679-7425-40de-944b-e07fc1f90ae7")


@pytest.fixture(autouse=True)
def _handlers() -> Iterator[None]:
    logger.remove()
    yield
    logger.remove()
    logger.configure(patcher=lambda _: None, extra={})


def extra_logged(log: "loguru.Logger", **event: object) -> dict[str, Any]:
    """Return the `extra` of a record."""
    seen: list[dict[str, Any]] = []

    def sink(message: "Message") -> None:
        seen.append(message.record["extra"])

    number = logger.add(sink, catch=False)
    log.info("billing", **event)
    logger.remove(number)
    return seen[0]


def test_gives_each_value_a_key() -> None:
    with scope({"order.id": 7}, request_id="r-1"):
        assert extra_logged(logger.patch(ContextPatcher())) == {"order.id": 7, "request_id": "r-1"}


def test_adds_nothing_outside_a_run() -> None:
    assert extra_logged(logger.patch(ContextPatcher()), user="ada") == {"user": "ada"}


def test_patches_every_logger_once_it_is_configured() -> None:
    logger.configure(patcher=ContextPatcher())
    with scope(request_id="r-1"):
        assert extra_logged(logger.bind(user="ada")) == {"request_id": "r-1", "user": "ada"}


def test_leaves_what_the_caller_gave() -> None:
    log = logger.patch(ContextPatcher(redact=["*"])).bind(a="bound")
    with scope(a=1, b=1, c=1, d=1), logger.contextualize(b="contextualized"):
        assert extra_logged(log, c="given") == {
            "a": "bound",
            "b": "contextualized",
            "c": "given",
            "d": "***",
        }


def test_chooses_prefixes_and_redacts() -> None:
    patcher = ContextPatcher(["card.*", "user"], prefix="ctx.", redact=["card.*"])
    with scope({"card.number": "4111", "user": "ada", "tenant": "acme"}):
        assert extra_logged(logger.patch(patcher)) == {"ctx.card.number": "***", "ctx.user": "ada"}


def test_shows_local_values_only_where_they_are_named() -> None:
    mqctx.Variable("password", str, local=True)
    with scope(password="s3cret", user="ada"):
        assert extra_logged(logger.patch(ContextPatcher())) == {"user": "ada"}
        assert extra_logged(logger.patch(ContextPatcher(["password"]))) == {"password": "s3cret"}


def test_shows_names_that_strangers_chose_in_a_place_of_their_own() -> None:
    with mqctx.Propagator().extract({"mqctx": '{"request_id":"r-1","level":"DEBUG"}'}).scope():
        assert extra_logged(logger.patch(ContextPatcher())) == {
            "request_id": "r-1",
            "context.level": "DEBUG",
        }


def test_refuses_text_for_a_list_of_names() -> None:
    with pytest.raises(mqctx.ConfigurationError, match="^names: expected names"):
        ContextPatcher("password")


def test_shows_a_name_that_records_have_too() -> None:
    with scope(message="theirs", name="ada"):
        assert extra_logged(logger.patch(ContextPatcher())) == {"message": "theirs", "name": "ada"}


def test_serialized_shows_what_json_cannot_say_as_its_text() -> None:
    mqctx.Variable("order", UUID)
    lines: list[str] = []
    logger.add(lines.append, serialize=True, catch=False)
    with scope(order=ORDER, tags=["a"]):
        logger.patch(ContextPatcher()).info("billing")
    assert json.loads(lines[0])["record"]["extra"] == {"order": str(ORDER), "tags": ["a"]}


def test_with_enqueue_shows_the_context_of_who_logs_and_loses_no_line(tmp_path: Path) -> None:
    # An enqueued record is pickled: a local value, such as a lock, would lose the line.
    mqctx.Variable("order", UUID)
    mqctx.Variable("handle", object, local=True)
    file = tmp_path / "log"
    logger.configure(patcher=ContextPatcher())
    logger.add(file, format="{extra[order]} {message}", enqueue=True, catch=False)
    with scope(order=ORDER, handle=threading.Lock()):
        logger.info("billing")
    logger.complete()
    assert file.read_text() == f"{ORDER} billing\n"


@pytest.mark.parametrize("method", ["spawn", "fork"])
def test_goes_with_a_logger_to_another_process(tmp_path: Path, method: str) -> None:
    file, processes = tmp_path / "log", cast("Any", get_context(method))
    logger.configure(patcher=ContextPatcher())
    logger.add(file, format="{extra} {message}", enqueue=True, catch=False, context=processes)
    with scope(request_id="r-1"):
        process = processes.Process(target=mqctx.wrap(logger.info), args=("billing",))
        process.start()
    process.join(30)
    logger.complete()
    assert file.read_text() == "{'request_id': 'r-1'} billing\n"


def test_shows_the_context_in_records_that_logging_hands_on_later() -> None:
    """Loguru's documented handler, through which the lines of libraries come."""

    class Intercept(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            with context_of(record).scope():
                logger.opt(exception=record.exc_info).log(record.levelname, record.getMessage())

    lines: list[str] = []
    logger.configure(patcher=ContextPatcher())
    logger.add(lines.append, format="{extra[request_id]} {message}", catch=False)
    library = logging.getLogger("library")
    handler = logging.handlers.MemoryHandler(100, target=Intercept())
    handler.addFilter(ContextFilter())
    library.addHandler(handler)
    library.setLevel(logging.WARNING)
    with scope(request_id="r-1"):
        library.warning("%s books", 3)
    with scope(request_id="r-2"):
        handler.flush()
    library.removeHandler(handler)
    assert lines == ["r-1 3 books\n"]


def test_with_a_second_patcher_a_format_stands_records_outside_a_run() -> None:
    def patch(record: "loguru.Record") -> None:
        add_context(record)
        record["extra"].setdefault("request_id", "-")

    add_context: Callable[[loguru.Record], None] = ContextPatcher()
    lines: list[str] = []
    logger.configure(patcher=patch)
    logger.add(lines.append, format="{extra[request_id]} {message}", catch=False)
    logger.info("starting")
    with scope(request_id="r-1"):
        logger.info("billing")
    assert lines == ["- starting\n", "r-1 billing\n"]
