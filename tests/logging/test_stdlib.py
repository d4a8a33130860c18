"""ContextFilter: the context in the records of the standard library's logging."""

import logging
import logging.handlers
import pickle
import queue
import subprocess
import sys
import threading
from collections.abc import Iterator
from io import StringIO
from typing import Any
from uuid import UUID, uuid4

import pytest

import mqctx
from mqctx import scope
from mqctx.logging._fields import RECORD_NAMES
from mqctx.logging.stdlib import ContextFilter

SECONDS = 10.0


@pytest.fixture
def shop() -> Iterator[logging.Logger]:
    """Yield a logger that only the test listens to."""
    logger = logging.getLogger("shop")
    logger.propagate = False
    logger.setLevel(logging.DEBUG)
    yield logger
    logger.handlers.clear()
    logger.filters.clear()


class Records(logging.Handler):
    """A handler that keeps the records."""

    def __init__(self, *filters: logging.Filter) -> None:
        super().__init__()
        self.records: list[logging.LogRecord] = []
        for each in filters:
            self.addFilter(each)

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)


def text(formatter: logging.Formatter, *filters: logging.Filter) -> tuple[StringIO, Any]:
    written = StringIO()
    handler = logging.StreamHandler(written)
    handler.setFormatter(formatter)
    for each in filters:
        handler.addFilter(each)
    return written, handler


def added(context_filter: ContextFilter, **extra: object) -> dict[str, Any]:
    """Return the attributes that a filter gives to a record, and the caller's."""
    record = logging.getLogger().makeRecord("shop", 20, "", 0, "billing", (), None, extra=extra)
    before = set(vars(record)) - set(extra)
    assert context_filter.filter(record)
    return {name: value for name, value in vars(record).items() if name not in before}


def test_gives_each_value_an_attribute() -> None:
    with scope({"order.id": 7}, request_id="r-1"):
        assert added(ContextFilter()) == {"order.id": 7, "request_id": "r-1"}


def test_adds_nothing_outside_a_run() -> None:
    assert added(ContextFilter()) == {}


def test_shows_what_was_bound_meanwhile() -> None:
    with scope(request_id="r-1"):
        mqctx.bind(user="ada")
        assert added(ContextFilter()) == {"request_id": "r-1", "user": "ada"}


@pytest.mark.parametrize(
    ("names", "shown"),
    [
        (["request_id"], {"request_id"}),
        (["order.*"], {"order.id", "order.state"}),
        (["order.*", "request_id"], {"order.id", "order.state", "request_id"}),
        (["*"], {"order.id", "order.state", "request_id"}),
        ([], set()),
        (None, {"order.id", "order.state", "request_id"}),
    ],
)
def test_shows_the_names_that_were_chosen(names: list[str] | None, shown: set[str]) -> None:
    with scope({"order.id": 7, "order.state": "new", "request_id": "r-1"}):
        assert set(added(ContextFilter(names))) == shown


def test_takes_names_from_any_iterable_once_and_for_all() -> None:
    context_filter = ContextFilter(name for name in ["tenant"])
    with scope(tenant="acme"):
        for _ in range(2):
            assert added(context_filter) == {"tenant": "acme"}


@pytest.mark.parametrize("setting", ["names", "redact"])
def test_refuses_text_for_a_list_of_names(setting: str) -> None:
    wrong: dict[str, Any] = {setting: "tenant"}
    with pytest.raises(mqctx.ConfigurationError, match=f"^{setting}: expected names"):
        ContextFilter(**wrong)


def test_puts_a_prefix_before_names() -> None:
    with scope(request_id="r-1"):
        assert added(ContextFilter(prefix="ctx_")) == {"ctx_request_id": "r-1"}


def test_shows_stars_for_what_is_redacted() -> None:
    with scope({"user": "ada", "card.number": "4111", "card.name": "Ada"}):
        redacted = ContextFilter(redact=["card.*"])
        assert added(redacted) == {"user": "ada", "card.number": "***", "card.name": "***"}


def test_redacts_what_the_filter_of_an_earlier_handler_has_shown(shop: logging.Logger) -> None:
    (private, private_handler), (public, public_handler) = (
        text(logging.Formatter("%(card)s"), ContextFilter()),
        text(logging.Formatter("%(card)s"), ContextFilter(redact=["card"])),
    )
    for handler in (private_handler, public_handler):
        shop.addHandler(handler)
    with scope(card="4111 1111"):
        shop.info("paid")
    assert (private.getvalue(), public.getvalue()) == ("4111 1111\n", "***\n")


def test_leaves_what_the_caller_gave_with_extra() -> None:
    with scope(user="ada", tenant="acme"):
        given = added(ContextFilter(redact=["user"]), user="eve")
    assert given == {"user": "eve", "tenant": "acme"}


@pytest.mark.parametrize("name", sorted(RECORD_NAMES))
@pytest.mark.parametrize("redact", [[], ["*"]])
@pytest.mark.parametrize("value", [None, "theirs"])
def test_leaves_what_a_record_has_of_its_own(
    shop: logging.Logger, name: str, redact: list[str], value: str | None
) -> None:
    written, handler = text(
        logging.Formatter("%(asctime)s %(name)s %(message)s", datefmt="NOW"),
        ContextFilter(redact=redact),
    )
    shop.addHandler(handler)
    with scope({name: value}):
        shop.info("%d books", 3)
    assert written.getvalue() == "NOW shop 3 books\n"


def test_shows_a_name_that_records_have_of_their_own_with_a_prefix() -> None:
    with scope(name="ada"):
        assert added(ContextFilter(prefix="ctx_")) == {"ctx_name": "ada"}


def test_shows_local_values_only_where_they_are_named() -> None:
    mqctx.Variable("password", str, local=True)
    with scope(password="s3cret", user="ada"):
        assert added(ContextFilter()) == {"user": "ada"}
        assert added(ContextFilter(["password"])) == {"password": "s3cret"}


def test_formats_names_with_dots_and_dashes(shop: logging.Logger) -> None:
    written, handler = text(logging.Formatter("%(order.id)s %(x-y)s %(message)s"), ContextFilter())
    shop.addHandler(handler)
    with scope({"order.id": 7, "x-y": "z"}):
        shop.info("billing")
    assert written.getvalue() == "7 z billing\n"


def test_a_format_with_defaults_stands_records_outside_a_run(shop: logging.Logger) -> None:
    formatter = logging.Formatter("[%(request_id)s] %(message)s", defaults={"request_id": "-"})
    written, handler = text(formatter, ContextFilter())
    shop.addHandler(handler)
    shop.info("starting")
    with scope(request_id="r-1"):
        shop.info("billing")
    assert written.getvalue() == "[-] starting\n[r-1] billing\n"


def test_a_logger_does_not_ask_its_filters_for_records_of_its_children(
    shop: logging.Logger,
) -> None:
    handler = Records()
    shop.addHandler(handler)
    shop.addFilter(ContextFilter())
    with scope(request_id="r-1"):
        shop.info("mine")
        shop.getChild("child").info("not mine")
    assert [hasattr(record, "request_id") for record in handler.records] == [True, False]


def test_with_a_queue_handler_shows_the_context_of_the_thread_that_logs(
    shop: logging.Logger,
) -> None:
    records: queue.SimpleQueue[Any] = queue.SimpleQueue()
    in_thread = logging.handlers.QueueHandler(records)
    in_thread.addFilter(ContextFilter())
    written, handler = text(logging.Formatter("%(request_id)s %(message)s"))
    shop.addHandler(in_thread)
    listener = logging.handlers.QueueListener(records, handler)
    listener.start()

    def work(number: int) -> None:
        with scope(request_id=f"r-{number}"):
            shop.info("from %d", number)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(SECONDS)
    listener.stop()
    assert sorted(written.getvalue().splitlines()) == ["r-0 from 0", "r-1 from 1", "r-2 from 2"]


@pytest.mark.parametrize("attribute", [None, "context"])
def test_records_can_be_pickled_for_another_process(
    shop: logging.Logger, attribute: str | None
) -> None:
    handler = Records(ContextFilter(attribute=attribute))
    shop.addHandler(handler)
    mqctx.Variable("order", UUID)
    mqctx.Variable("socket", object, local=True)
    with scope(order=uuid4(), socket=threading.Lock()):
        shop.info("billing")
    record = handler.records[0]
    assert vars(pickle.loads(pickle.dumps(record))) == vars(record)  # noqa: S301 - our own bytes


class TestInOneAttribute:
    def test_is_a_mapping(self) -> None:
        with scope(request_id="r-1", user="ada", password="s3cret"):
            one = ContextFilter(
                ["user", "password"], prefix="c.", redact=["password"], attribute="context"
            )
            assert added(one) == {"context": {"c.user": "ada", "c.password": "***"}}

    def test_is_text_that_never_lacks_in_a_format(self, shop: logging.Logger) -> None:
        written, handler = text(
            logging.Formatter("%(message)s [%(context)s]"), ContextFilter(attribute="context")
        )
        shop.addHandler(handler)
        shop.info("starting")
        with scope(request_id="r-1", tenant="acme"):
            shop.info("billing")
        assert written.getvalue() == "starting []\nbilling [request_id=r-1 tenant=acme]\n"

    @pytest.mark.parametrize(
        ("value", "shown"),
        [
            ("r-1", "r-1"),
            ("Zo\u00eb", "Zo\u00eb"),
            ("", ""),
            ("two words", "'two words'"),
            ("r-1\nERROR forged", r"'r-1\nERROR forged'"),
            ("\x1b[31m", r"'\x1b[31m'"),
            ("\u2028\u202e", r"'\u2028\u202e'"),
            (7, "7"),
            (None, "None"),
            ([1, "a\nb"], r"[1, 'a\nb']"),
            ({"a\n": 1}, r"{'a\n': 1}"),
        ],
    )
    def test_is_one_line_whatever_the_values(self, value: object, shown: str) -> None:
        record = logging.LogRecord("", 0, "", 0, "", None, None)
        with scope(a=value, b=1):
            ContextFilter(attribute="context").filter(record)
        assert f"{record.context}" == f"a={shown} b=1"  # type: ignore[attr-defined]  # the filter's

    def test_shows_a_declared_type_as_its_text(self) -> None:
        mqctx.Variable("order", UUID)
        record = logging.LogRecord("", 0, "", 0, "", None, None)
        with scope(order=(order := uuid4())):
            ContextFilter(attribute="context").filter(record)
        assert str(vars(record)["context"]) == f"order={order}"

    def test_holds_names_that_a_record_has_of_its_own(self) -> None:
        with scope(name="ada"):
            assert added(ContextFilter(attribute="context")) == {"context": {"name": "ada"}}

    def test_leaves_what_the_caller_gave_with_extra(self) -> None:
        with scope(name="ada"):
            given = added(ContextFilter(attribute="context"), context=None)
        assert given == {"context": None}

    def test_is_chosen_by_each_handler_anew(self, shop: logging.Logger) -> None:
        first, handler = text(logging.Formatter("%(context)s"), ContextFilter(attribute="context"))
        second, other = text(
            logging.Formatter("%(context)s"), ContextFilter(redact=["user"], attribute="context")
        )
        shop.addHandler(handler)
        shop.addHandler(other)
        with scope(user="ada"):
            shop.info("billing")
        assert (first.getvalue(), second.getvalue()) == ("user=ada\n", "user=***\n")

    @pytest.mark.parametrize("name", ["name", "message", "asctime"])
    def test_refuses_a_name_that_records_have_of_their_own(self, name: str) -> None:
        with pytest.raises(mqctx.ConfigurationError, match=f"^attribute: a record has a '{name}'"):
            ContextFilter(attribute=name)


CONFIGURED = """
import logging.config
import mqctx

logging.config.dictConfig({
    "version": 1,
    "filters": {
        "context": {
            "()": "mqctx.logging.stdlib.ContextFilter",
            "names": ["request_id", "order.*"],
            "prefix": "ctx_",
            "redact": ["order.card"],
        },
        "in_one": {
            "()": "mqctx.logging.stdlib.ContextFilter",
            "names": ["request_id"],
            "attribute": "context",
        },
    },
    "formatters": {
        "text": {
            "()": "logging.Formatter",
            "fmt": "%(ctx_request_id)s %(ctx_order.card)s %(message)s [%(context)s]",
            "defaults": {"ctx_request_id": "-", "ctx_order.card": "-"},
        },
    },
    "handlers": {
        "out": {
            "class": "logging.StreamHandler",
            "stream": "ext://sys.stdout",
            "formatter": "text",
            "filters": ["context", "in_one"],
        },
    },
    "root": {"level": "INFO", "handlers": ["out"]},
})
logging.getLogger("shop.orders").info("starting")
with mqctx.scope({"order.card": 4111, "request_id": "r-1"}):
    logging.getLogger("shop.orders").info("billing")
"""


def test_can_be_configured_by_a_dict() -> None:
    script = subprocess.run(
        [sys.executable, "-c", CONFIGURED], capture_output=True, text=True, timeout=60, check=False
    )
    assert (script.stdout, script.stderr) == (
        "- - starting []\nr-1 *** billing [request_id=r-1]\n",
        "",
    )
