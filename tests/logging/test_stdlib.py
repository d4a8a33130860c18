"""ContextFilter: the context in the records of the standard library's logging."""

import json
import logging
import logging.handlers
import pickle
import queue
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from io import StringIO
from typing import Any, TypeAlias, cast
from uuid import UUID, uuid4

import pytest

import mqctx
from mqctx import scope
from mqctx.formats import FlatFormat, SignedFormat
from mqctx.logging import stdlib
from mqctx.logging.stdlib import ContextFilter, context_of

# Attributes of a record: its own, those of formatting, and those of structlog and the filter.
RECORD_NAMES = {
    *vars(logging.makeLogRecord({})),
    *("asctime", "message", "taskName", "_logger", "_name", "_mqctx"),
}

Behind: TypeAlias = Callable[..., Callable[[], None]]
SECONDS = 10.0
IN_ONE = ContextFilter(attribute="context")


@pytest.fixture
def shop_logger() -> Iterator[logging.Logger]:
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
    before = {*vars(record), "_mqctx"} - set(extra)
    shown = vars(filtered(record, context_filter))
    return {name: value for name, value in shown.items() if name not in before}


def filtered(record: logging.LogRecord, context_filter: ContextFilter) -> logging.LogRecord:
    """Return the record as its handler has it: from Python 3.12 on a copy."""
    shown: object = context_filter.filter(record)
    return shown if isinstance(shown, logging.LogRecord) else record


def test_gives_each_value_an_attribute() -> None:
    with scope({"order.id": 7}, request_id="r-1"):
        assert added(ContextFilter()) == {"order.id": 7, "request_id": "r-1"}


def test_an_attribute_of_the_callers_stays_as_it_is_for_a_second_handler() -> None:
    record = logging.getLogger().makeRecord(
        "shop", 20, "", 0, "billing", (), None, extra={"user": "mine"}
    )
    with scope(user="ada", request_id="r-1"):
        filtered(record, ContextFilter())
        shown = vars(filtered(record, ContextFilter(["user"])))
    assert (shown["user"], "request_id" in shown) == ("mine", False)


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


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ({"names": ["order*"]}, r"names: 'order\*': .*'order\.\*'"),
        ({"redact": ["pass*"]}, r"redact: 'pass\*': .*'pass\.\*'"),
        ({"redact": None}, "redact: expected names"),
        ({"prefix": None}, "prefix: expected text"),
        ({"attribute": 5}, "attribute: expected text"),
        ({"attribute": ""}, "attribute: "),
    ],
)
def test_refuses_a_setting_that_cannot_be_meant(setting: dict[str, Any], said: str) -> None:
    with pytest.raises(mqctx.ConfigurationError, match=f"^{said}"):
        ContextFilter(**setting)


def test_puts_a_prefix_before_names() -> None:
    with scope(request_id="r-1"):
        assert added(ContextFilter(prefix="ctx_")) == {"ctx_request_id": "r-1"}


def test_shows_stars_for_what_is_redacted() -> None:
    with scope({"user": "ada", "card.number": "4111", "card.name": "Ada"}):
        redacted = ContextFilter(redact=["card.*"])
        assert added(redacted) == {"user": "ada", "card.number": "***", "card.name": "***"}


def test_redacts_what_the_filter_of_an_earlier_handler_has_shown(
    shop_logger: logging.Logger,
) -> None:
    (private, private_handler), (public, public_handler) = (
        text(logging.Formatter("%(card)s"), ContextFilter()),
        text(logging.Formatter("%(card)s"), ContextFilter(redact=["card"])),
    )
    for handler in (private_handler, public_handler):
        shop_logger.addHandler(handler)
    with scope(card="4111 1111"):
        shop_logger.info("paid")
    assert (private.getvalue(), public.getvalue()) == ("4111 1111\n", "***\n")


VIEWS: list[tuple[dict[str, Any], dict[str, Any]]] = [
    ({}, {"card.number": "4111", "user": "ada"}),
    ({"redact": ["card.*"]}, {"card.number": "***", "user": "ada"}),
    ({"names": ["user"]}, {"user": "ada"}),
    ({"names": ["card.*"], "redact": ["*"]}, {"card.number": "***"}),
    ({"prefix": "ctx_"}, {"ctx_card.number": "4111", "ctx_user": "ada"}),
    (
        {"prefix": "ctx_", "redact": ["card.*"], "attribute": "context"},
        {"context": {"ctx_card.number": "***", "ctx_user": "ada"}},
    ),
    ({"attribute": "context"}, {"context": {"card.number": "4111", "user": "ada"}}),
    ({"attribute": "other", "names": ["user"]}, {"other": {"user": "ada"}}),
]
"""Settings of a filter, and what its handler has of the context then."""


COPIES = sys.version_info >= (3, 12)
"""Whether handlers take a copy from a filter."""


@pytest.fixture(params=[False, True] if COPIES else [False])
def _either_way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let filters copy records, or not, as on an older Python."""
    monkeypatch.setattr(stdlib, "_may_copy", request.param)


class Fields(logging.Handler):
    """A handler that notes what it has of the context, at once."""

    def __init__(self, **settings: Any) -> None:
        super().__init__()
        self.addFilter(ContextFilter(**settings))
        self.noted: list[dict[str, Any]] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.noted.append({n: v for n, v in vars(record).items() if n not in RECORD_NAMES})


@pytest.mark.usefixtures("_either_way")
@pytest.mark.parametrize("first", VIEWS, ids=lambda view: str(view[0]))
@pytest.mark.parametrize("second", VIEWS, ids=lambda view: str(view[0]))
def test_each_handler_has_its_own_view_of_a_record_that_it_shares(
    shop_logger: logging.Logger,
    first: tuple[dict[str, Any], dict[str, Any]],
    second: tuple[dict[str, Any], dict[str, Any]],
) -> None:
    handlers = [Fields(**first[0]), Fields(**second[0])]
    for handler in handlers:
        shop_logger.addHandler(handler)
    with scope({"card.number": "4111", "user": "ada"}):
        shop_logger.info("paid", extra={"order": "ada"})
    assert [handler.noted for handler in handlers] == [
        [{**expected, "order": "ada"}] for _, expected in (first, second)
    ]


class TestLater:
    """A record that is written after the run in which it was made, by a handler behind another."""

    pytestmark = pytest.mark.usefixtures("_either_way")

    @pytest.fixture(params=["memory", "queue"])
    def behind(self, request: pytest.FixtureRequest, shop_logger: logging.Logger) -> Behind:
        """Return what puts a handler behind one that keeps records, and has a filter of its own."""

        def put(target: logging.Handler, *filters: logging.Filter) -> Callable[[], None]:
            records: queue.SimpleQueue[Any] = queue.SimpleQueue()
            memory = logging.handlers.MemoryHandler(100, target=target)
            listener = logging.handlers.QueueListener(records, target)
            keeps = memory if request.param == "memory" else logging.handlers.QueueHandler(records)
            for each in filters:
                keeps.addFilter(each)
            shop_logger.addHandler(keeps)

            def write() -> None:
                if keeps is memory:
                    memory.flush()
                else:
                    listener.start()
                    listener.stop()

            return write

        return put

    @pytest.mark.parametrize("view", VIEWS, ids=lambda view: str(view[0]))
    def test_a_late_record_shows_the_context_in_which_it_was_made_as_the_last_handler_has_it(
        self,
        shop_logger: logging.Logger,
        behind: Behind,
        view: tuple[dict[str, Any], dict[str, Any]],
    ) -> None:
        settings, expected = view
        target = Fields(**settings)
        write = behind(target, ContextFilter())
        with scope({"card.number": "4111", "user": "ada"}):
            shop_logger.info("paid")
        with scope(user="eve", tenant="evil"):
            write()
        assert target.noted == [expected]

    def test_a_late_record_shows_nothing_of_who_writes_where_it_was_made_in_no_run(
        self, shop_logger: logging.Logger, behind: Behind
    ) -> None:
        target = Fields()
        write = behind(target, ContextFilter())
        shop_logger.info("starting")
        with scope(user="eve"):
            write()
        assert target.noted == [{}]

    def test_a_late_record_belongs_to_a_context_from_the_filter_of_any_handler_on(
        self, shop_logger: logging.Logger, behind: Behind
    ) -> None:
        shop_logger.addHandler(Fields(names=[]))
        target = Fields()
        write = behind(target)
        with scope(user="ada"):
            shop_logger.info("paid")
        with scope(user="eve"):
            write()
        assert target.noted == [{"user": "ada"}]

    def test_a_late_record_can_be_asked_for_its_context(self, shop_logger: logging.Logger) -> None:
        handler = Records(ContextFilter(names=[]))
        shop_logger.addHandler(handler)
        with scope(user="ada"):
            shop_logger.info("paid")
        with scope(user="eve"):
            assert context_of(handler.records[0]) == {"user": "ada"}
            assert context_of(logging.makeLogRecord({})) == {"user": "eve"}


def test_a_handler_that_keeps_records_keeps_its_own_view_where_it_can(
    shop_logger: logging.Logger,
) -> None:
    keeps = Records(ContextFilter(redact=["card"]))
    shop_logger.addHandler(keeps)
    shop_logger.addHandler(Records(ContextFilter()))
    shop_logger.addHandler(Records())
    with scope(card="4111"):
        shop_logger.info("paid")
    assert vars(keeps.records[0])["card"] == ("***" if COPIES else "4111")


class OwnRecord(logging.LogRecord):
    """A record of one's own."""

    __slots__ = ("order",)


@pytest.mark.parametrize("kind", [logging.LogRecord, OwnRecord])
def test_a_copy_of_a_record_is_as_it_but_for_the_context(
    monkeypatch: pytest.MonkeyPatch, kind: type[logging.LogRecord]
) -> None:
    monkeypatch.setattr(stdlib, "_may_copy", True)
    record: Any = kind("shop", 20, "", 0, "billing", (), None)
    record.order = 7
    with scope(user="ada"):
        shown: Any = filtered(record, ContextFilter())
    assert (type(shown), shown.order, shown.user) == (kind, 7, "ada")
    assert not hasattr(record, "user")


def test_nothing_that_is_not_shown_is_pickled_with_a_record(shop_logger: logging.Logger) -> None:
    handler = Records(ContextFilter(redact=["card"]))
    shop_logger.addHandler(handler)
    with scope(card="4111-1111"):
        shop_logger.info("paid")
    assert b"4111" not in pickle.dumps(handler.records[0])


def test_a_record_of_another_process_keeps_the_fields_that_it_brings(
    shop_logger: logging.Logger,
) -> None:
    handler = Records(ContextFilter())
    shop_logger.addHandler(handler)
    with scope(user="ada"):
        shop_logger.info("paid")
    came = pickle.loads(pickle.dumps(handler.records[0]))  # noqa: S301 - our own bytes
    with scope(user="eve", tenant="evil"):
        shown = filtered(came, ContextFilter())
    assert vars(shown)["user"] == "ada"
    assert not hasattr(shown, "tenant")


def brought(**values: object) -> mqctx.Context:
    """Return the context of a message that has these values, which nobody signed."""
    return mqctx.Propagator().extract({"mqctx": json.dumps(values)})


class TestNamesThatStrangersChose:
    def test_names_that_strangers_chose_are_shown_in_a_place_of_their_own(self) -> None:
        with brought(request_id="r-1", service="theirs", level="DEBUG").scope():
            assert added(ContextFilter()) == {
                "request_id": "r-1",
                "context.service": "theirs",
                "context.level": "DEBUG",
            }

    def test_names_that_strangers_chose_are_fields_where_this_process_declares_or_sets_them(
        self,
    ) -> None:
        mqctx.Variable("tenant", str)
        with brought(tenant="acme", user="eve", unchosen=7).scope(), scope(user="ada"):
            assert added(ContextFilter()) == {
                "tenant": "acme",
                "user": "ada",
                "context.unchosen": 7,
            }

    def test_names_that_strangers_chose_are_fields_where_a_setting_has_them(self) -> None:
        FlatFormat({"tenant": "Tenant"})
        with brought(tenant="acme").scope():
            assert added(ContextFilter()) == {"tenant": "acme"}

    def test_names_that_strangers_chose_are_fields_where_the_signature_counts(self) -> None:
        signed = mqctx.Propagator(
            formats=[SignedFormat(mqctx.JsonFormat(), {"k1": "0123456789abcdefghijklmnopqrstuv"})]
        )
        with scope(tenant="acme"):
            headers = signed.inject()
        with signed.extract(headers).scope():
            assert added(ContextFilter()) == {"tenant": "acme"}

    @pytest.mark.parametrize(
        ("settings", "expected"),
        [
            ({"names": ["service"]}, {"service": "theirs"}),
            ({"prefix": "ctx_"}, {"ctx_service": "theirs"}),
            ({"attribute": "context"}, {"context": {"service": "theirs"}}),
        ],
    )
    def test_names_that_strangers_chose_are_shown_as_the_filter_is_told(
        self, settings: dict[str, Any], expected: dict[str, Any]
    ) -> None:
        with brought(service="theirs").scope():
            assert added(ContextFilter(**settings)) == expected

    def test_names_that_strangers_chose_never_take_the_place_of_a_value_that_was_set_here(
        self,
    ) -> None:
        with brought(service="theirs").scope(), scope({"context.service": "ours"}):
            assert added(ContextFilter()) == {"context.service": "ours"}


def test_what_is_declared_local_later_is_shown_no_more() -> None:
    context, context_filter = mqctx.Context(user="ada", card="4111"), ContextFilter()
    with context.scope():
        assert added(context_filter) == {"user": "ada", "card": "4111"}
        mqctx.Variable("card", str, local=True)
        assert added(context_filter) == {"user": "ada"}


def test_filters_without_number_do_not_make_a_context_grow() -> None:
    with scope(user="ada"):
        for _ in range(100):
            assert added(ContextFilter()) == {"user": "ada"}
        assert len(mqctx.current().shown) < 10


def test_leaves_what_the_caller_gave_with_extra() -> None:
    with scope(user="ada", tenant="acme"):
        given = added(ContextFilter(redact=["user"]), user="eve")
    assert given == {"user": "eve", "tenant": "acme"}


@pytest.mark.parametrize("name", sorted(RECORD_NAMES))
@pytest.mark.parametrize("redact", [[], ["*"]])
@pytest.mark.parametrize("value", [None, "theirs"])
def test_leaves_what_a_record_has_of_its_own(
    shop_logger: logging.Logger, name: str, redact: list[str], value: str | None
) -> None:
    written, handler = text(
        logging.Formatter("%(asctime)s %(name)s %(message)s", datefmt="NOW"),
        ContextFilter(redact=redact),
    )
    shop_logger.addHandler(handler)
    with scope({name: value}):
        shop_logger.info("%d books", 3)
    assert written.getvalue() == "NOW shop 3 books\n"


def test_shows_a_name_that_records_have_of_their_own_apart_or_with_a_prefix() -> None:
    with scope(name="ada"):
        assert added(ContextFilter()) == {"context.name": "ada"}
        assert added(ContextFilter(prefix="ctx_")) == {"ctx_name": "ada"}


def test_shows_local_values_only_where_they_are_named() -> None:
    mqctx.Variable("password", str, local=True)
    with scope(password="s3cret", user="ada"):
        assert added(ContextFilter()) == {"user": "ada"}
        assert added(ContextFilter(["password"])) == {"password": "s3cret"}


def test_formats_names_with_dots_and_dashes(shop_logger: logging.Logger) -> None:
    written, handler = text(logging.Formatter("%(order.id)s %(x-y)s %(message)s"), ContextFilter())
    shop_logger.addHandler(handler)
    with scope({"order.id": 7, "x-y": "z"}):
        shop_logger.info("billing")
    assert written.getvalue() == "7 z billing\n"


def test_a_format_with_defaults_stands_records_outside_a_run(shop_logger: logging.Logger) -> None:
    formatter = logging.Formatter("[%(request_id)s] %(message)s", defaults={"request_id": "-"})
    written, handler = text(formatter, ContextFilter())
    shop_logger.addHandler(handler)
    shop_logger.info("starting")
    with scope(request_id="r-1"):
        shop_logger.info("billing")
    assert written.getvalue() == "[-] starting\n[r-1] billing\n"


def test_a_logger_does_not_ask_its_filters_for_records_of_its_children(
    shop_logger: logging.Logger,
) -> None:
    handler = Records()
    shop_logger.addHandler(handler)
    shop_logger.addFilter(ContextFilter())
    with scope(request_id="r-1"):
        shop_logger.info("mine")
        shop_logger.getChild("child").info("not mine")
    assert [hasattr(record, "request_id") for record in handler.records] == [True, False]


def test_with_a_queue_handler_shows_the_context_of_the_thread_that_logs(
    shop_logger: logging.Logger,
) -> None:
    records: queue.SimpleQueue[Any] = queue.SimpleQueue()
    in_thread = logging.handlers.QueueHandler(records)
    in_thread.addFilter(ContextFilter())
    written, handler = text(logging.Formatter("%(request_id)s %(message)s"))
    shop_logger.addHandler(in_thread)
    listener = logging.handlers.QueueListener(records, handler)
    listener.start()

    def work(number: int) -> None:
        with scope(request_id=f"r-{number}"):
            shop_logger.info("from %d", number)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(SECONDS)
    listener.stop()
    assert sorted(written.getvalue().splitlines()) == ["r-0 from 0", "r-1 from 1", "r-2 from 2"]


@pytest.mark.parametrize("attribute", [None, "context"])
def test_records_can_be_pickled_for_another_process(
    shop_logger: logging.Logger, attribute: str | None
) -> None:
    handler = Records(ContextFilter(attribute=attribute))
    shop_logger.addHandler(handler)
    mqctx.Variable("order", UUID)
    mqctx.Variable("socket", object, local=True)
    with scope(order=uuid4(), socket=threading.Lock()):
        shop_logger.info("billing")
    record = handler.records[0]
    assert vars(pickle.loads(pickle.dumps(record))) == vars(record)  # noqa: S301 - our own bytes


class Handle:
    """A value that says this of itself; None: it fails to."""

    def __init__(self, shown: str | None) -> None:
        self._shown = shown

    def __repr__(self) -> str:
        return cast("str", self._shown)  # what is no text raises


class TestInOneAttribute:
    def test_the_one_attribute_is_a_mapping(self) -> None:
        with scope(request_id="r-1", user="ada", password="s3cret"):
            one = ContextFilter(
                ["user", "password"], prefix="c.", redact=["password"], attribute="context"
            )
            assert added(one) == {"context": {"c.user": "ada", "c.password": "***"}}

    def test_the_one_attribute_is_text_that_never_lacks_in_a_format(
        self, shop_logger: logging.Logger
    ) -> None:
        written, handler = text(
            logging.Formatter("%(message)s [%(context)s]"), ContextFilter(attribute="context")
        )
        shop_logger.addHandler(handler)
        shop_logger.info("starting")
        with scope(request_id="r-1", tenant="acme"):
            shop_logger.info("billing")
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
            ("x" * 5000, "x" * 4096 + "..."),
        ],
    )
    def test_the_one_attribute_is_one_line_whatever_the_values(
        self, value: object, shown: str
    ) -> None:
        with scope(a=value, b=1):
            assert str(added(IN_ONE)["context"]) == f"a={shown} b=1"

    def test_the_one_attribute_shows_a_declared_type_as_its_text(self) -> None:
        mqctx.Variable("order", UUID)
        with scope(order=(order := uuid4())):
            assert str(added(IN_ONE)["context"]) == f"order={order}"

    @pytest.mark.parametrize(
        ("shown", "expected"),
        [("raw\n\x1b[2J", r"'raw\n\x1b[2J'"), (None, "<tests.logging.test_stdlib.Handle>")],
    )
    def test_the_one_attribute_is_one_line_whatever_a_local_value_says_of_itself(
        self, shown: str | None, expected: str
    ) -> None:
        mqctx.Variable("handle", Handle, local=True)
        with scope(handle=Handle(shown)):
            in_one = added(ContextFilter(["handle"], attribute="context"))["context"]
        assert str(in_one) == f"handle={expected}"

    def test_the_one_attribute_holds_names_that_a_record_has_of_its_own(self) -> None:
        with scope(name="ada"):
            assert added(ContextFilter(attribute="context")) == {"context": {"name": "ada"}}

    def test_the_one_attribute_leaves_what_the_caller_gave_with_extra(self) -> None:
        with scope(name="ada"):
            given = added(ContextFilter(attribute="context"), context=None)
        assert given == {"context": None}

    def test_the_one_attribute_is_chosen_by_each_handler_anew(
        self, shop_logger: logging.Logger
    ) -> None:
        first, handler = text(logging.Formatter("%(context)s"), ContextFilter(attribute="context"))
        second, other = text(
            logging.Formatter("%(context)s"), ContextFilter(redact=["user"], attribute="context")
        )
        shop_logger.addHandler(handler)
        shop_logger.addHandler(other)
        with scope(user="ada"):
            shop_logger.info("billing")
        assert (first.getvalue(), second.getvalue()) == ("user=ada\n", "user=***\n")

    @pytest.mark.parametrize("name", ["name", "message", "asctime"])
    def test_the_one_attribute_refuses_a_name_that_records_have_of_their_own(
        self, name: str
    ) -> None:
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
            "fmt": "%(ctx_request_id)s %(ctx_order.card)s %(message)s",
            "defaults": {"ctx_request_id": "-", "ctx_order.card": "-"},
        },
        "in_one": {"format": "%(message)s [%(context)s]"},
    },
    "handlers": {
        "out": {
            "class": "logging.StreamHandler",
            "stream": "ext://sys.stdout",
            "formatter": "text",
            "filters": ["context"],
        },
        "other": {
            "class": "logging.StreamHandler",
            "stream": "ext://sys.stdout",
            "formatter": "in_one",
            "filters": ["in_one"],
        },
    },
    "root": {"level": "INFO", "handlers": ["out", "other"]},
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
        "- - starting\nstarting []\nr-1 *** billing\nbilling [request_id=r-1]\n",
        "",
    )
