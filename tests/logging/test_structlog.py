"""ContextProcessor: the context in the event dicts of structlog."""

import asyncio
import json
import logging
import logging.handlers
from collections.abc import Iterator
from io import StringIO
from typing import Any
from uuid import UUID

import pytest
import structlog
from structlog.testing import LogCapture
from structlog.typing import Processor

import mqctx
from mqctx import scope
from mqctx.logging.stdlib import ContextFilter
from mqctx.logging.structlog import ContextProcessor

# Names that describe the line itself to `logging` or to structlog's processors.
RESERVED = {
    *vars(logging.makeLogRecord({})),
    *("asctime", "message", "taskName", "_logger", "_name", "_mqctx"),
    *("_from_structlog", "_record", "event", "exception", "positional_args", "stack", "stacklevel"),
    *("level", "logger", "severity", "timestamp"),
}
ORDER = UUID("7c9e6679-7425-40de-944b-e07fc1f90ae7")


@pytest.fixture(autouse=True)
def _defaults() -> Iterator[None]:
    structlog.reset_defaults()
    yield
    structlog.reset_defaults()


def event_logged(*processors: Processor, **event: object) -> dict[str, Any]:
    """Return the event dict that comes out of `processors`."""
    captured = LogCapture()
    structlog.wrap_logger(None, [*processors, captured]).info("billing", **event)
    (entry,) = captured.entries
    del entry["event"], entry["log_level"]
    return dict(entry)


def test_gives_each_value_a_key() -> None:
    with scope({"order.id": 7}, request_id="r-1"):
        assert event_logged(ContextProcessor()) == {"order.id": 7, "request_id": "r-1"}


def test_adds_nothing_outside_a_run() -> None:
    assert event_logged(ContextProcessor(), user="ada") == {"user": "ada"}


def test_leaves_the_keys_that_are_there() -> None:
    with scope(user="ada", tenant="acme"):
        given = event_logged(ContextProcessor(redact=["user"]), user="eve")
    assert given == {"user": "eve", "tenant": "acme"}


def test_leaves_what_the_logger_and_structlogs_own_context_bind() -> None:
    captured = LogCapture()
    merge = structlog.contextvars.merge_contextvars
    processors: list[Processor] = [merge, ContextProcessor(), captured]
    logger = structlog.wrap_logger(None, processors).bind(user="eve")
    with scope(user="ada", tenant="acme"), structlog.contextvars.bound_contextvars(tenant="evil"):
        logger.info("billing")
    assert (captured.entries[0]["user"], captured.entries[0]["tenant"]) == ("eve", "evil")


def test_chooses_prefixes_and_redacts() -> None:
    processor = ContextProcessor(["card.*", "user"], prefix="ctx.", redact=["card.*"])
    with scope({"card.number": "4111", "user": "ada", "tenant": "acme"}):
        assert event_logged(processor) == {"ctx.card.number": "***", "ctx.user": "ada"}


def test_shows_local_values_only_where_they_are_named() -> None:
    mqctx.Variable("password", str, local=True)
    with scope(password="s3cret", user="ada"):
        assert event_logged(ContextProcessor()) == {"user": "ada"}
        assert event_logged(ContextProcessor(["password"])) == {"password": "s3cret"}


def test_shows_names_that_strangers_chose_in_a_place_of_their_own() -> None:
    headers = {
        "mqctx": '{"request_id":"r-1","level":"debug","logger":"x","timestamp":1,"service":"y"}'
    }
    with mqctx.Propagator().extract(headers).scope():
        assert event_logged(ContextProcessor()) == {
            "request_id": "r-1",
            "context.level": "debug",
            "context.logger": "x",
            "context.timestamp": 1,
            "context.service": "y",
        }


def test_refuses_text_for_a_list_of_names() -> None:
    with pytest.raises(mqctx.ConfigurationError, match="^redact: expected names"):
        ContextProcessor(redact="password")


def test_passes_values_as_they_are() -> None:
    mqctx.Variable("order", UUID)
    with scope(order=ORDER, tags=["a"]):
        assert event_logged(ContextProcessor()) == {"order": ORDER, "tags": ["a"]}


@pytest.mark.parametrize(
    ("settings", "shown"), [({}, f"UUID('{ORDER}')"), ({"default": str}, str(ORDER))]
)
def test_the_json_renderer_shows_what_json_cannot_say_as_it_is_told(
    settings: dict[str, Any], shown: str
) -> None:
    mqctx.Variable("order", UUID)
    renderer = structlog.processors.JSONRenderer(**settings)
    logger = structlog.wrap_logger(structlog.ReturnLogger(), [ContextProcessor(), renderer])
    with scope(order=ORDER, n=7):
        assert json.loads(logger.info("billing")) == {"event": "billing", "order": shown, "n": 7}


@pytest.mark.asyncio
async def test_shows_the_context_of_who_logs_in_the_thread_of_an_async_logger() -> None:
    captured = LogCapture()
    logger = structlog.wrap_logger(
        None,
        [ContextProcessor(), captured],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
    )

    async def request(number: int) -> None:
        with scope(request_id=f"r-{number}"):
            await logger.ainfo("billing", number=number)

    await asyncio.gather(*(request(number) for number in range(5)))
    seen = {entry["number"]: entry["request_id"] for entry in captured.entries}
    assert seen == {number: f"r-{number}" for number in range(5)}


class TestBesideLogging:
    """With structlog in front of the standard library's logging."""

    @pytest.fixture
    def written(self) -> StringIO:
        return StringIO()

    @pytest.fixture
    def shop(self, written: StringIO) -> Iterator[logging.Logger]:
        """Yield a logger whose every record goes through structlog's formatter."""
        formatter = structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[ContextProcessor()],
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.JSONRenderer(),
            ],
        )
        handler = logging.StreamHandler(written)
        handler.addFilter(ContextFilter())
        handler.setFormatter(formatter)
        logger = logging.getLogger("shop")
        logger.propagate = False
        logger.setLevel(logging.DEBUG)
        logger.addHandler(handler)
        yield logger
        logger.handlers.clear()

    def test_structlog_beside_logging_shows_the_context_in_records_of_either(
        self, shop: logging.Logger, written: StringIO
    ) -> None:
        wrap = structlog.stdlib.ProcessorFormatter.wrap_for_formatter
        logger = structlog.wrap_logger(shop, [ContextProcessor(), wrap])
        with scope(request_id="r-1"):
            logger.info("billing")
            shop.info("%s books", 3)
        assert [json.loads(line) for line in written.getvalue().splitlines()] == [
            {"event": "billing", "request_id": "r-1"},
            {"event": "3 books", "request_id": "r-1"},
        ]

    def test_structlog_shows_a_record_that_is_written_later_as_it_was_logged(
        self, shop: logging.Logger, written: StringIO
    ) -> None:
        buffer = logging.handlers.MemoryHandler(100, target=shop.handlers[0])
        buffer.addFilter(ContextFilter())
        shop.handlers[0] = buffer
        wrap = structlog.stdlib.ProcessorFormatter.wrap_for_formatter
        with scope(request_id="r-1"):
            shop.info("%s books", 3)
            structlog.wrap_logger(shop, [ContextProcessor(), wrap]).info("billing")
        with scope(request_id="r-2", tenant="evil"):
            buffer.flush()
        assert [json.loads(line) for line in written.getvalue().splitlines()] == [
            {"event": "3 books", "request_id": "r-1"},
            {"event": "billing", "request_id": "r-1"},
        ]

    def test_structlog_shows_nothing_of_who_writes_a_record_that_no_filter_has_seen(
        self, shop: logging.Logger, written: StringIO
    ) -> None:
        shop.handlers[0].filters.clear()
        with scope(request_id="r-2"):
            shop.info("3 books")
        assert json.loads(written.getvalue()) == {"event": "3 books"}

    @pytest.mark.parametrize("position", [0, 1])
    def test_structlog_has_its_own_view_beside_what_the_filter_gave_to_the_record(
        self, shop: logging.Logger, written: StringIO, position: int
    ) -> None:
        formatter: Any = shop.handlers[0].formatter
        chain: list[Processor] = [structlog.stdlib.ExtraAdder()]
        chain.insert(position, ContextProcessor(redact=["card"], prefix="ctx."))
        formatter.foreign_pre_chain = chain
        with scope(card="4111", user="ada"):
            shop.info("paid", extra={"order": 7})
        line = json.loads(written.getvalue())
        assert line == {"event": "paid", "order": 7, "ctx.card": "***", "ctx.user": "ada"}

    def test_structlog_leaves_the_record_and_its_context_to_the_processors_that_follow(
        self, shop: logging.Logger, written: StringIO
    ) -> None:
        formatter: Any = shop.handlers[0].formatter
        callsite = structlog.processors.CallsiteParameterAdder(
            [structlog.processors.CallsiteParameter.MODULE]
        )
        formatter.foreign_pre_chain = [
            ContextProcessor(["user"]),
            ContextProcessor(["card"], redact=["card"]),
            callsite,
        ]
        with scope(card="4111", user="ada"):
            shop.info("paid")
        line = {"event": "paid", "user": "ada", "card": "***", "module": "test_structlog"}
        assert json.loads(written.getvalue()) == line

    @pytest.mark.parametrize("value", ["text", 7, ["%s"], {"a": 1}, True, None])
    @pytest.mark.parametrize("name", sorted(RESERVED))
    def test_no_name_in_a_context_confuses_either(
        self, shop: logging.Logger, written: StringIO, name: str, value: object
    ) -> None:
        context = {name: value, "request_id": "r-1"}
        if name == "_logger":
            context["_name"] = value
        with scope(context):
            shop.info("%s books", 3)
            for chain in CHAINS:
                structlog.wrap_logger(shop, [ContextProcessor(), *chain]).info("billing")
        lines = written.getvalue().splitlines()
        assert ["3 books", *["billing"] * len(CHAINS)] == [
            next(text for text in ("3 books", "billing") if text in line) for line in lines
        ]


CHAINS: tuple[tuple[Processor, ...], ...] = (
    (
        structlog.stdlib.add_logger_name,
        structlog.stdlib.PositionalArgumentsFormatter(),
        structlog.processors.StackInfoRenderer(),
        structlog.processors.format_exc_info,
        structlog.processors.UnicodeDecoder(),
        structlog.processors.JSONRenderer(),
    ),
    (structlog.dev.ConsoleRenderer(colors=True, level_styles={"info": "!"}),),
    (structlog.stdlib.render_to_log_kwargs,),
    (structlog.stdlib.ProcessorFormatter.wrap_for_formatter,),
)
"""Ways in which structlog's own processors end a chain."""
