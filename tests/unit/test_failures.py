"""The record of a failure, and its header."""

import json
import sys
import time
from datetime import UTC, datetime, timedelta
from functools import partial
from importlib.machinery import ModuleSpec
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

import mqctx
from mqctx import ConfigurationError
from mqctx._core.identity import function_name, service_name
from mqctx._failures.cutting import cut, json_bytes
from mqctx._failures.record import Failure
from mqctx._failures.recording import Origin, record

HERE = Path(__file__)
HUGE = 10_000_000


class CardExpiredError(Exception):
    pass


def failed(text: object = "card of order 17", **options: Any) -> Failure:
    """Return the record of an exception that was raised here."""
    origin = options.pop("origin", Origin())
    try:
        raise CardExpiredError(text)
    except CardExpiredError as error:
        return record(error, origin, options.pop("bound", {}), **options)


def failing(call: Any, **options: Any) -> Failure:
    """Return the record of what a call raises."""
    try:
        call()
    except BaseException as error:
        return record(error, options.pop("origin", Origin()), {}, **options)
    raise AssertionError("it raised nothing")


def raised_inside(call: Any) -> BaseException:
    """Return what a call raises, without this function's own frame."""
    with pytest.raises(ValueError, match=".") as caught:
        call()
    return caught.value.with_traceback(caught.tb.tb_next)


def dig(depth: int) -> None:
    if depth:
        dig(depth - 1)
    raise CardExpiredError(str(depth))


class TestRecord:
    def test_says_type_text_and_place(self) -> None:
        failure = failed()
        line = failed.__code__.co_firstlineno + 4
        assert failure.type == f"{__name__}.CardExpiredError"
        assert failure.message == "card of order 17"
        assert failure.where == f"{HERE}:{line} in failed"

    def test_names_a_builtin_without_its_module(self) -> None:
        assert failing(lambda: 1 / 0).type == "ZeroDivisionError"

    def test_takes_the_last_place_that_is_no_librarys(self) -> None:
        failure = failing(lambda: json.loads("{"))
        assert failure.where is not None
        assert str(HERE) in failure.where

    def test_knows_an_installed_application_by_its_handler(self) -> None:
        """Its frames lie where those of libraries do."""
        called = {"__name__": "shop.api.billing"}
        bill = compile("def bill():\n    raise KeyError(1)", "/x/site-packages/s.py", "exec")
        exec(bill, called)  # noqa: S102 - a function in a file of that name
        there = failing(called["bill"], origin=Origin(handler="shop.handlers.on_order"))
        assert there.where == "/x/site-packages/s.py:2 in bill"
        elsewhere = failing(called["bill"], origin=Origin(handler="other.on_order"))
        assert elsewhere.where is not None
        assert elsewhere.where.startswith(str(HERE))

    def test_takes_the_last_place_of_all_where_all_are_libraries(self) -> None:
        error = raised_inside(partial(json.loads, "{"))
        where = record(error, Origin(handler="x.y"), {}).where
        assert where is not None
        assert where.endswith("in raw_decode")

    def test_of_an_exception_without_traceback_has_no_place(self) -> None:
        failure = record(ValueError("made"), Origin(), {}, with_traceback=True)
        assert (failure.where, failure.handler) == (None, None)
        assert failure.traceback == "ValueError: made\n"

    def test_names_the_code_around_where_there_is_no_handler(self) -> None:
        assert failed().handler == f"{__name__}.failed"
        assert failed(origin=Origin(handler="m.on_order")).handler == "m.on_order"

    def test_has_the_fingerprint_of_its_way_not_of_its_text_or_depth(self) -> None:
        assert failed("one").fingerprint == failed("two").fingerprint
        deep = [failing(partial(dig, depth)).fingerprint for depth in (2, 3, 50)]
        assert len(set(deep)) == 1
        assert deep[0] != failed().fingerprint
        assert deep[0] is not None
        assert len(bytes.fromhex(deep[0])) == 8

    def test_reads_an_exception_whose_text_cannot_be_had(self) -> None:
        class HostileError(Exception):
            def __str__(self) -> str:
                raise RuntimeError

        def fail() -> None:
            raise HostileError

        assert failing(fail).message == "(its text cannot be had)"

    def test_is_made_of_an_exception_with_a_text_of_ten_megabytes(self) -> None:
        failure = failed("amqp://u:hunter2@h " + "x" * HUGE, with_traceback=True)
        assert failure.message is not None
        assert failure.message.startswith("amqp://u:***@h xxx")
        assert failure.message.endswith("x...")
        assert failure.traceback is not None
        assert str(HERE) in failure.traceback
        assert "hunter2" not in failure.traceback

    def test_has_a_traceback_if_asked_with_the_causes_and_without_mqctxs_own_frames(self) -> None:
        def fail() -> None:
            try:
                dig(0)
            except CardExpiredError as error:
                raise ValueError("token=hunter2") from error

        error = raised_inside(partial(mqctx.run, {}, fail))  # as mqctx itself catches it
        failure = record(error, Origin(), {}, with_traceback=True)
        assert failing(fail).traceback is None
        assert failure.traceback is not None
        assert "CardExpiredError: 0" in failure.traceback
        assert failure.traceback.endswith("ValueError: token=***\n")
        assert str(Path(mqctx.__file__).parent) not in failure.traceback

    def test_begins_below_the_frames_that_are_mqctxs_own(self) -> None:
        def fail() -> None:
            raise ValueError("no")

        names: dict[str, Any] = {}
        own = str(Path(mqctx.__file__).with_name("decorator.py"))
        code = compile("def decorated(handler): handler()", own, "exec")
        exec(code, names)  # noqa: S102 - a function in a file of that name
        error = raised_inside(partial(names["decorated"], fail))
        assert record(error, Origin(), {}).handler == f"{__name__}.{fail.__qualname__}"

    def test_keeps_the_end_of_a_long_traceback(self) -> None:
        def fail() -> None:
            error = ValueError("the last line")
            error.__notes__ = [f"note {number} " + "n" * 200 for number in range(100)]
            raise error

        failure = failing(fail, with_traceback=True)
        assert failure.traceback is not None
        assert json_bytes(failure.traceback) <= 8192
        assert failure.traceback.startswith("...")
        assert "note 99" in failure.traceback

    def test_counts_on_from_the_record_that_stood_there(self) -> None:
        earlier = failed().to_header()
        second = failed(origin=Origin(earlier=earlier))
        third = failed(origin=Origin(earlier=(second.to_header() or "").encode()))
        assert earlier is not None
        assert (second.failures, third.failures) == (2, 3)
        assert third.first_at == json.loads(earlier)["at"]

    @pytest.mark.parametrize(
        "earlier",
        [
            *(None, 5, "", "x", "[]", b"\xff", "[" * 100_000, '"\\ud800"'),
            *('{"failures":0}', '{"failures":-1}', '{"failures":true}', '{"failures":1.5}'),
            *('{"failures":"9"}', '{"first_at":"yesterday"}', '{"first_at":"2020-01-01"}'),
            *('{"first_at":"2020-01-01T00:00:00"}', '{"first_at":"9999-12-31T23:59:59-23:00"}'),
            '{"first_at":"2999-01-01T00:00:00Z"}',
        ],
    )
    def test_takes_nothing_unsound_from_a_stranger(self, earlier: object) -> None:
        failure = failed(origin=Origin(earlier=earlier))
        assert failure.failures == 1
        assert failure.first_at == failure.at

    def test_takes_a_sound_time_of_any_zone(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("TZ", "UTC-5")
        time.tzset()
        failure = failed(origin=Origin(earlier='{"first_at":"2020-01-01T01:00:00+01:00"}'))
        monkeypatch.undo()
        time.tzset()
        assert failure.first_at == "2020-01-01T00:00:00.000Z"

    def test_starts_again_where_a_count_would_grow_without_end(self) -> None:
        assert failed(origin=Origin(earlier=f'{{"failures":{2**31}}}')).failures == 1

    def test_says_when_in_utc(self) -> None:
        at = failed().at
        assert at is not None
        assert at.endswith("Z")
        assert datetime.now(UTC) - datetime.fromisoformat(at) < timedelta(minutes=1)

    def test_knows_where_the_message_came_from(self) -> None:
        origin = Origin(exchange="", routing_key="orders", queue="in", attempt=3)
        failure = failed(origin=origin)
        assert (failure.exchange, failure.routing_key) == ("", "orders")
        assert (failure.queue, failure.attempt) == ("in", 3)


class TestRedact:
    def test_is_for_message_traceback_and_bound(self) -> None:
        failure = failed(
            "hide me",
            bound={"note": "hide me", "more": [{"deep": "hide me"}, 5], "kept": 7},
            redact=lambda text: text.replace("hide me", "-"),
            with_traceback=True,
        )
        assert failure.message == "-"
        assert failure.bound == {"note": "-", "more": [{"deep": "-"}, 5], "kept": 7}
        assert failure.traceback is not None
        assert "hide me" not in failure.traceback

    def test_sees_the_name_of_a_bound_value(self) -> None:
        bound: dict[str, Any] = {
            "password": "hunter2",
            "card": 4111111111111111,
            "deep": {"api_key": "x"},
        }
        hidden: dict[str, Any] = {"password": "***", "card": "***", "deep": {"api_key": "***"}}
        bound["secret"], hidden["secret"] = ["one", "two"], ["***", "***"]
        assert failed(bound=bound).bound == hidden

    @pytest.mark.parametrize(
        ("redact", "shown"),
        [
            (lambda _: 1 / 0, "(redact raised ZeroDivisionError)"),
            (lambda _: None, "(redact returned NoneType)"),
        ],
    )
    def test_that_fails_shows_nothing_and_loses_nothing(self, redact: Any, shown: str) -> None:
        failure = failed(bound={"a": "b"}, redact=redact)
        assert failure.message == shown
        assert failure.bound == {"a": shown}


class TestBound:
    def test_that_its_redaction_makes_too_large_is_left_out(self) -> None:
        def redact(text: str) -> str:
            return text.replace("short", "l" * 510)

        assert failed(bound={"a": "short", "b": 1}, redact=redact).bound == {"b": 1}

    def test_keeps_whole_values_as_long_as_they_fit(self) -> None:
        bound: dict[str, Any] = {"a": 1, "large": "x" * HUGE, "list": ["x" * 600], "b": "y"}
        bound |= {"n" * 600: 1}
        assert failed(bound=bound).bound == {"a": 1, "b": "y"}
        # 512 bytes hold {"a":"..."}, and a comma that the last does not need.
        assert failed(bound={"a": "x" * 503}).bound == {"a": "x" * 503}
        assert failed(bound={"a": "x" * 504}).bound is None

    def test_is_absent_if_there_is_none(self) -> None:
        assert failed().bound is None

    @given(st.dictionaries(st.text(), st.text() | st.lists(st.text()), max_size=9))
    def test_is_within_its_bytes(self, bound: dict[str, Any]) -> None:
        shown = failed(bound=bound, redact=lambda text: text).bound
        assert len(json.dumps(shown or {}, separators=(",", ":"))) <= 512


class TestHeader:
    def test_is_ascii_json_that_reads_back_the_same(self) -> None:
        failure = failed("Zoë \x7f \ud800 \U0001f600\n", with_traceback=True)
        text = failure.to_header()
        assert text is not None
        assert text.isascii()
        assert "\x7f" not in text
        assert Failure.from_header(text) == failure
        assert Failure.from_header(bytearray(text.encode())) == failure

    def test_is_within_its_limit_whatever_stands_in_it(self) -> None:
        origin = Origin(
            handler="é" * 500, exchange="\x01" * 255, routing_key="ü" * 127, queue="q" * 255
        )
        for with_traceback, most in ((False, 2048), (True, 10_240)):
            failure = failed(
                "\U0001f600" * HUGE,
                origin=origin,
                bound={"x": "ü" * 80},
                with_traceback=with_traceback,
            )
            text = failure.to_header()
            assert text is not None
            assert len("mqctx-failure") + len(text) + 6 <= most

    def test_sheds_in_order_until_it_fits(self) -> None:
        failure = failed(bound={"a": 1}, origin=Origin(queue="in"), with_traceback=True)
        kept: list[frozenset[str]] = []
        for room in range(10_240, -1, -10):
            text = failure.to_header(room)
            names = frozenset(json.loads(text)) if text else frozenset()
            if not kept or kept[-1] != names:
                kept.append(names)
        gone = [before - after for before, after in pairwise(kept)]
        assert gone[:4] == [{"traceback"}, {"bound"}, {"message"}, {"where"}]
        assert kept[5:] == [{"type", "at", "queue"}, frozenset()]

    @pytest.mark.parametrize(
        ("key", "most"),
        {"type": 128, "message": 512, "where": 160, "service": 64, "handler": 128}.items(),
    )
    def test_cuts_each_key_to_its_most_bytes(self, key: str, most: int) -> None:
        long = "é" * 1000
        kind = type("K" * 1000, (Exception,), {})
        mqctx.configure(service=long)

        def fail() -> None:
            code = compile(f"def f():\n  raise kind({long!r})", long, "exec")
            names: dict[str, Any] = {"kind": kind, "__name__": "shop"}
            exec(code, names)  # noqa: S102 - a function in a file of that name
            names["f"]()

        failure = failing(fail, origin=Origin(handler="shop." + long))
        text = getattr(failure, key)
        assert most - 12 < len(json.dumps(text)) - 2 <= most
        assert text.startswith("...") == (key in ("where", "handler"))  # their ends tell more

    def test_keeps_what_can_be_read_of_a_strangers(self) -> None:
        text = '{"type":5,"message":"m","at":null,"attempt":2,"failures":[],"bound":[],"new":1}'
        assert Failure.from_header(text) == Failure(message="m", attempt=2)

    @pytest.mark.parametrize("value", ["", "[]", "5", "{}", '{"x":1}', None, 5, b"\xff", ["a"], {}])
    def test_without_anything_of_a_failure_is_none(self, value: object) -> None:
        assert Failure.from_header(value) is None

    @given(st.binary() | st.text() | st.from_regex(r'\{"(type|bound|at|failures)":.*\}'))
    @example("[" * 100_000)
    def test_never_raises(self, value: object) -> None:
        Failure.from_header(value)


class TestCut:
    @given(st.text(), st.integers(3, 40), st.booleans())
    @example("\ud800" * 20, 10, False)
    def test_fits_and_is_a_part(self, text: str, most: int, keep_end: bool) -> None:
        shown = cut(text, most, keep_end=keep_end)
        assert json_bytes(shown) == len(json.dumps(shown).replace("\x7f", "\\u007f")) - 2 <= most
        whole = text.encode(errors="backslashreplace").decode()
        if shown == whole:
            return
        part = shown.removeprefix("...") if keep_end else shown.removesuffix("...")
        assert whole.endswith(part) if keep_end else whole.startswith(part)


class TestService:
    def test_is_the_one_configured_for_the_process(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("OTEL_SERVICE_NAME", "otel")
        assert service_name() == "otel"
        mqctx.configure(service="billing")
        assert service_name() == failed().service == "billing"
        mqctx.configure()
        assert service_name() == "otel"

    @pytest.mark.parametrize(
        ("argv", "name"),
        [
            (["/usr/bin/celery", "worker"], "celery"),
            (["-c"], "python"),
            ([""], "python"),
            ([], "python"),
        ],
    )
    def test_is_else_the_programs(
        self, monkeypatch: pytest.MonkeyPatch, argv: list[str], name: str
    ) -> None:
        monkeypatch.delenv("OTEL_SERVICE_NAME", raising=False)
        monkeypatch.setitem(sys.modules, "__main__", type(sys)("__main__"))
        monkeypatch.setattr(sys, "argv", argv)
        assert service_name() == name

    @pytest.mark.parametrize(
        ("started", "name"), [("shop.worker", "shop.worker"), ("shop.__main__", "shop")]
    )
    def test_is_the_modules_or_packages_under_python_m(
        self, monkeypatch: pytest.MonkeyPatch, started: str, name: str
    ) -> None:
        monkeypatch.delenv("OTEL_SERVICE_NAME", raising=False)
        main: Any = type(sys)("__main__")
        main.__spec__ = ModuleSpec(started, None)
        monkeypatch.setitem(sys.modules, "__main__", main)
        assert service_name() == name

    def test_is_the_programs_where_no_module_is_the_main_one(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.delenv("OTEL_SERVICE_NAME", raising=False)
        monkeypatch.delitem(sys.modules, "__main__")
        monkeypatch.setattr(sys, "argv", ["worker.py"])
        assert service_name() == "worker.py"

    def test_must_be_text(self) -> None:
        with pytest.raises(ConfigurationError, match="service: expected text, got 5"):
            mqctx.configure(service=5)  # type: ignore[arg-type]


class TestFunctionName:
    def test_is_qualified(self) -> None:
        assert function_name(dig) == f"{__name__}.dig"
        assert function_name(partial(partial(dig, 1))) == f"{__name__}.dig"
        assert function_name(TestFunctionName.test_is_qualified).endswith("test_is_qualified")

    def test_of_an_object_is_its_classs(self) -> None:
        class Handler:
            def __call__(self) -> None: ...

        assert function_name(Handler()).endswith("Handler")

    def test_of_what_has_no_module_is_bare(self) -> None:
        assert function_name([].append) == "list.append"
