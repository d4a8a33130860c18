"""From request to context, in both middlewares, and on to the response and the log."""

import contextvars
import logging
import re
from collections.abc import Callable
from contextvars import ContextVar
from datetime import UTC, datetime
from enum import Enum
from typing import Any, Literal
from uuid import UUID

import pytest

import mqctx
from mqctx import Context, Propagator, bind, current, scope
from mqctx.formats import JsonFormat, SignedFormat
from mqctx.logging.stdlib import ContextFilter
from mqctx.middleware import asgi, wsgi
from tests.middleware.conftest import Lines
from tests.middleware.protocols import Ask

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
SPAN = "00f067aa0ba902b7"
PARENT = f"00-{TRACE}-{SPAN}-01"

other: contextvars.ContextVar[str] = contextvars.ContextVar("other", default="outside")


class CallInside(list[Context]):
    """The contexts that the application saw, one for each request."""

    def __call__(self) -> None:
        self.append(current())


@pytest.fixture
def inside() -> CallInside:
    return CallInside()


class TestRequestId:
    @pytest.mark.parametrize(
        "given", ["r-1", "a" * 128, "Root=1-67891233-abcdef012345678912345678", "JKJa+m/Lv=:~.@_"]
    )
    def test_the_request_id_of_the_client_is_taken_and_shown_on_the_response(
        self, ask: Ask, inside: CallInside, given: str
    ) -> None:
        answer = ask(inside, [("X-Request-Id", given)])
        assert inside[0]["request_id"] == answer["x-request-id"] == given
        assert (answer.status, answer.body) == (200, b"ok")

    def test_the_request_id_is_new_for_each_request_that_brings_none(
        self, ask: Ask, inside: CallInside
    ) -> None:
        shown = [ask(inside)["x-request-id"], ask(inside, [("X-Request-Id", "")])["x-request-id"]]
        assert [context["request_id"] for context in inside] == shown
        assert len({str(UUID(text)) for text in shown}) == 2

    @pytest.mark.parametrize(
        "given", ["a" * 129, "two words", "a,b", "r\n", "\r\nSet-Cookie: a=b", "ü", "<b>", "${x}"]
    )
    def test_the_request_id_is_new_where_the_clients_could_be_taken_for_more_than_an_id(
        self, ask: Ask, inside: CallInside, caplog: pytest.LogCaptureFixture, given: str
    ) -> None:
        answer = ask(inside, [("X-Request-Id", given)])
        assert inside[0]["request_id"] == answer["x-request-id"]
        assert UUID(answer["x-request-id"])
        assert "request_id in X-Request-Id" in caplog.text
        assert "(malformed)" in caplog.text

    def test_the_request_id_is_new_where_the_client_sends_two(
        self, ask: Ask, inside: CallInside
    ) -> None:
        ask(inside, [("X-Request-Id", "r-1"), ("X-Request-Id", "r-2")])
        assert UUID(inside[0]["request_id"])

    def test_the_request_id_is_new_where_the_client_is_not_trusted(
        self, ask: Ask, inside: CallInside
    ) -> None:
        headers = [("X-Request-Id", "r-1"), ("traceparent", PARENT)]
        named_too = {"id": "X-Request-Id", "parent": "traceparent"}
        answer = ask(inside, headers, trust_client=False, headers=named_too)
        assert UUID(answer["x-request-id"])
        assert inside[0]["trace_id"] != TRACE
        assert (inside[0]["id"], inside[0]["parent"]) == ("r-1", PARENT)

    def test_the_request_id_may_have_a_header_of_another_name(
        self, ask: Ask, inside: CallInside
    ) -> None:
        headers = [("X-Correlation-Id", "c-1"), ("X-Request-Id", "r-1")]
        answer = ask(inside, headers, request_id_header="X-Correlation-Id")
        assert inside[0]["request_id"] == answer["x-correlation-id"] == "c-1"
        assert len(answer.headers) == 1

    def test_the_request_id_that_the_application_shows_by_itself_stays(
        self, ask: Ask, inside: CallInside
    ) -> None:
        assert ask(inside, answered=[("X-REQUEST-ID", "own")])["x-request-id"] == "own"

    def test_the_request_id_joins_what_the_application_answers(
        self, ask: Ask, inside: CallInside
    ) -> None:
        answer = ask(inside, answered=[("Content-Type", "text/plain")])
        assert [name.lower() for name, _ in answer.headers] == ["content-type", "x-request-id"]

    def test_the_request_id_is_of_the_declared_type(self, ask: Ask, inside: CallInside) -> None:
        mqctx.Variable("request_id", UUID)
        given = "12345678-1234-5678-1234-567812345678"
        shown = [
            ask(inside, [("X-Request-Id", given)])["x-request-id"],
            ask(inside, [("X-Request-Id", "no-uuid")])["x-request-id"],
        ]
        assert [context["request_id"] for context in inside] == [UUID(text) for text in shown]
        assert shown[0] == given

    @pytest.mark.parametrize(("given", "taken"), [("42", 42), ("r-1", None), ("", None)])
    def test_the_request_id_of_a_declared_number_never_fails_a_request(
        self, ask: Ask, inside: CallInside, given: str, taken: int | None
    ) -> None:
        mqctx.Variable("request_id", int)
        answer = ask(inside, [("X-Request-Id", given)])
        assert inside[0]["request_id"] == int(answer["x-request-id"])
        assert taken is None or inside[0]["request_id"] == taken
        assert 0 <= inside[0]["request_id"] < 2**63

    def test_the_request_id_of_a_type_that_no_new_id_fits_is_left_out(
        self, ask: Ask, inside: CallInside, caplog: pytest.LogCaptureFixture
    ) -> None:
        mqctx.Variable("request_id", Literal["a", "b"])
        answers = [ask(inside, [("X-Request-Id", given)]) for given in ("a", "")]
        assert [context.get("request_id") for context in inside] == ["a", None]
        assert [len(answer.headers) for answer in answers] == [1, 0]
        assert "no id that is made here fits" in caplog.text

    @pytest.mark.parametrize(
        "given",
        [
            "Root=1-67891233-abcdef012345678912345678;Parent=53995c3f42cd8ad8;Sampled=1",
            "105445aa7843bc8bf206b12000100000/1;o=1",
            "|a1b2.c3d4_1.",
        ],
    )
    def test_the_request_id_of_another_shape_is_taken_by_a_validator(
        self, ask: Ask, inside: CallInside, given: str
    ) -> None:
        validator = re.compile(r"[A-Za-z0-9=/;|._-]+").fullmatch
        answer = ask(inside, [("X-Request-Id", given)], request_id_validator=validator)
        assert inside[0]["request_id"] == answer["x-request-id"] == given

    @pytest.mark.parametrize("given", ["a\r\nSet-Cookie: a=b", "ü", " a", "a" * 513, "a\x7fb"])
    def test_the_request_id_that_no_response_can_show_is_taken_by_no_validator(
        self, ask: Ask, inside: CallInside, given: str
    ) -> None:
        answer = ask(
            inside, [("X-Request-Id", given)], request_id_validator=lambda _: True, trace=False
        )
        assert UUID(answer["x-request-id"])

    def test_the_request_id_is_new_where_the_validator_refuses_or_fails(
        self, ask: Ask, inside: CallInside
    ) -> None:
        for validator in (lambda _: False, lambda _: 1 / 0):
            ask(inside, [("X-Request-Id", "r-1")], request_id_validator=validator)
        assert all(UUID(context["request_id"]) for context in inside)

    @pytest.mark.parametrize(
        "brought", [[], [("X-Request-Id", "<b>")], [("X-Request-Id", "a"), ("X-Request-Id", "b")]]
    )
    def test_the_request_id_that_is_new_is_in_the_headers_that_the_application_sees(
        self, ask: Ask, brought: list[tuple[str, str]]
    ) -> None:
        def inside(headers: list[tuple[str, str]]) -> None:
            seen.extend(value for name, value in headers if name == "x-request-id")
            assert ("x-other", "kept") in headers

        seen: list[str] = []
        answer = ask(lambda: None, [*brought, ("X-Other", "kept")], with_headers=inside)
        assert seen == [answer["x-request-id"]]

    def test_the_request_id_that_the_client_brought_stays_in_the_headers(self, ask: Ask) -> None:
        seen: list[tuple[str, str]] = []
        ask(lambda: None, [("X-Request-Id", "r-1")], with_headers=seen.extend)
        assert seen.count(("x-request-id", "r-1")) == 1


class TestTrace:
    def test_the_trace_of_the_client_is_taken(self, ask: Ask, inside: CallInside) -> None:
        headers = [("traceparent", PARENT), ("tracestate", "a=1"), ("tracestate", "b=2")]
        ask(inside, headers)
        trace = {name: inside[0][name] for name in ("trace_id", "span_id", "trace_flags")}
        assert trace == {"trace_id": TRACE, "span_id": SPAN, "trace_flags": "01"}
        assert inside[0]["tracestate"] == "a=1,b=2"

    @pytest.mark.parametrize(
        "headers",
        [[], [("traceparent", "00-1-2-3")], [("traceparent", PARENT), ("traceparent", PARENT)]],
        ids=["none", "malformed", "two"],
    )
    def test_the_trace_starts_where_the_client_has_none(
        self, ask: Ask, inside: CallInside, headers: list[tuple[str, str]]
    ) -> None:
        ask(inside, headers)
        assert int(inside[0]["trace_id"], 16) not in (0, int(TRACE, 16))
        assert int(inside[0]["span_id"], 16)
        assert "tracestate" not in inside[0]

    def test_the_trace_state_that_is_huge_is_left_out(self, ask: Ask, inside: CallInside) -> None:
        state = ",".join(f"k{n}={'v' * 200}" for n in range(25))
        ask(inside, [("traceparent", PARENT), ("tracestate", state)])
        assert inside[0]["trace_id"] == TRACE
        assert "tracestate" not in inside[0]

    def test_the_trace_is_of_the_declared_types(self, ask: Ask, inside: CallInside) -> None:
        mqctx.Variable("trace_id", UUID)
        mqctx.Variable("span_id", datetime)
        ask(inside, [("traceparent", PARENT)])
        assert inside[0]["trace_id"] == UUID(TRACE)
        assert "span_id" not in inside[0]

    def test_the_trace_can_be_left_out(self, ask: Ask, inside: CallInside) -> None:
        ask(inside, [("traceparent", PARENT)], trace=False)
        assert inside[0].keys().isdisjoint(("trace_id", "span_id", "trace_flags", "tracestate"))


class TestHeaders:
    def test_headers_that_are_not_chosen_are_not_taken(self, ask: Ask, inside: CallInside) -> None:
        ask(inside, [("X-Tenant-Id", "acme"), ("mqctx", '{"user":"eve"}')])
        assert not {"tenant", "user"} & set(inside[0])

    def test_headers_that_are_chosen_are_text(self, ask: Ask, inside: CallInside) -> None:
        chosen = {"tenant": "X-Tenant-Id", "again": "x-tenant-id", "kind": "Content-Type"}
        headers = [("x-tenant-ID", "acme"), ("Content-Type", "text/plain")]
        ask(inside, headers, headers={**chosen, "absent": "X-Absent"})
        assert {name: inside[0].get(name) for name in (*chosen, "absent")} == {
            "tenant": "acme",
            "again": "acme",
            "kind": "text/plain",
            "absent": None,
        }

    def test_headers_that_come_twice_are_joined(self, ask: Ask, inside: CallInside) -> None:
        ask(inside, [("X-Tag", "a"), ("X-Tag", "b")], headers={"tags": "X-Tag"})
        assert inside[0]["tags"] == "a,b"

    def test_headers_are_utf_8(self, ask: Ask, inside: CallInside) -> None:
        ask(inside, [("X-Tenant", "Müller".encode().decode("latin-1"))], headers={"t": "X-Tenant"})
        assert inside[0]["t"] == "Müller"

    @pytest.mark.parametrize(
        ("kind", "text", "value"),
        [
            (int, "42", 42),
            (bool, "true", True),
            (UUID, "12345678123456781234567812345678", UUID("12345678" * 4)),
            (datetime, "2026-01-02T03:04:05Z", datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)),
            (str, "42", "42"),
        ],
    )
    def test_headers_are_of_the_declared_type(
        self, ask: Ask, inside: CallInside, kind: Any, text: str, value: object
    ) -> None:
        mqctx.Variable("order", kind)
        ask(inside, [("X-Order", text)], headers={"order": "X-Order"})
        assert inside[0]["order"] == value
        assert type(inside[0]["order"]) is kind

    @pytest.mark.parametrize(
        ("text", "reason"),
        [("many", "illegal-value"), ("\xff", "illegal-value"), ("1" * 513, "too-large")],
    )
    def test_headers_that_do_not_fit_are_left_out_with_a_warning(
        self, ask: Ask, inside: CallInside, caplog: pytest.LogCaptureFixture, text: str, reason: str
    ) -> None:
        mqctx.Variable("order", int)
        answer = ask(
            inside, [("X-Order", text), ("X-Request-Id", "r-1")], headers={"order": "X-Order"}
        )
        assert answer.status == 200
        assert "order" not in inside[0]
        assert inside[0]["request_id"] == "r-1"
        assert [(r.levelname, r.name) for r in caplog.records] == [("WARNING", "mqctx")]
        assert f"order in X-Order: not restored from the headers ({reason})" in caplog.text

    def test_headers_that_are_no_text_are_left_out(self, ask: Ask, inside: CallInside) -> None:
        ask(inside, [("X-Tenant", "\xff")], headers={"tenant": "X-Tenant"})
        assert "tenant" not in inside[0]

    def test_headers_whose_types_code_raises_are_left_out(
        self, ask: Ask, inside: CallInside
    ) -> None:
        class SilentError(Exception):
            def __str__(self) -> str:
                raise ZeroDivisionError

        class Picky(Enum):
            A = "a"

            @classmethod
            def _missing_(cls, value: object) -> "Picky":
                raise SilentError

        mqctx.Variable("picky", Picky)
        ask(inside, [("X-Picky", "x")], headers={"picky": "X-Picky"})
        assert "picky" not in inside[0]


class TestLinkedContextVar:
    def test_a_linked_contextvar_that_a_middleware_further_out_has_set_is_in_the_context(
        self, ask: Ask, inside: CallInside
    ) -> None:
        correlation_id: ContextVar[str | None] = ContextVar("correlation_id", default=None)
        mqctx.Variable("correlation_id", str, contextvar=correlation_id)
        token = correlation_id.set("c-1")
        try:
            ask(inside)
        finally:
            correlation_id.reset(token)
        assert inside[0]["correlation_id"] == "c-1"

    def test_a_linked_contextvar_with_the_request_id_is_the_request_id(
        self, ask: Ask, inside: CallInside
    ) -> None:
        request_id: ContextVar[str | None] = ContextVar("request_id", default=None)
        mqctx.Variable("request_id", str, contextvar=request_id)
        token = request_id.set("r-1")
        try:
            answer = ask(inside)
        finally:
            request_id.reset(token)
        assert inside[0]["request_id"] == "r-1"
        assert answer


class TestOrigin:
    def test_the_origin_of_what_a_header_brought_is_unsigned_unless_it_is_trusted(
        self, ask: Ask, inside: CallInside
    ) -> None:
        headers = [("X-Tenant", "acme"), ("X-User", "ada"), ("X-Request-Id", "r-1")]
        headers += [("traceparent", PARENT), ("tracestate", "a=1")]
        chosen = {"tenant": "X-Tenant", "user": "X-User", "absent": "X-Absent"}
        ask(inside, headers, headers=chosen, trusted=["user"], values={"service": "shop"})
        assert {name: inside[0].origin(name) for name in inside[0]} == {
            **dict.fromkeys(inside[0], "here"),
            **dict.fromkeys(("tenant", "tracestate"), "unsigned"),
        }

    def test_the_origin_of_a_tracestate_that_is_trusted_is_here(
        self, ask: Ask, inside: CallInside
    ) -> None:
        brought = [("traceparent", PARENT), ("tracestate", "a=1")]
        ask(inside, brought, trusted=["tracestate"])
        assert inside[0].origin("tracestate") == "here"

    def test_the_origin_of_what_is_unsigned_is_never_signed_onward(self, ask: Ask) -> None:
        def inside() -> None:
            sent.append(propagator.extract(propagator.inject()))

        signed = SignedFormat(JsonFormat(), {"k": "correct horse battery staple"})
        propagator = Propagator(formats=[signed])
        sent: list[Context] = []
        ask(
            inside,
            [("X-Request-Id", "r-1"), ("X-Tenant", "eve")],
            headers={"tenant": "X-Tenant"},
            trace=False,
        )
        assert sent == [{"request_id": "r-1"}]

    def test_the_origin_of_a_linked_context_variable_is_that_of_what_is_active_further_out(
        self, ask: Ask, inside: CallInside
    ) -> None:
        linked: ContextVar[str | None] = ContextVar("linked", default=None)
        mqctx.Variable("user", str, contextvar=linked)
        mqctx.Variable("region", str, contextvar=ContextVar("other", default=None))
        strange = mqctx.extract({"mqctx": '{"user":"eve","region":"eu"}'})
        with strange.scope():
            linked.set("ada")
            ask(inside)
        assert inside[0].origin("user") == "here"
        assert inside[0].origin("region") == "unsigned"


class TestValues:
    def test_values_are_in_each_request(self, ask: Ask, inside: CallInside) -> None:
        ask(inside, values={"service": "shop", "region": "eu"}, times=2)
        assert [(each["service"], each["region"]) for each in inside] == [("shop", "eu")] * 2

    def test_values_are_of_the_declared_type(self, ask: Ask, inside: CallInside) -> None:
        mqctx.Variable("cell", UUID)
        ask(inside, values={"cell": UUID(int=7)})
        assert inside[0]["cell"] == UUID(int=7)


class TestLocalValues:
    def test_local_values_say_what_the_request_is(self, ask: Ask) -> None:
        def inside() -> None:
            assert current()["http.request.method"] == "GET"
            assert current()["url.path"] == "/orders/7"
            assert current()["client.address"] == "192.0.2.1"

        ask(inside, path="/orders/7")

    def test_local_values_say_when_the_request_came_whenever_they_are_read(self, ask: Ask) -> None:
        def inside() -> None:
            in_application = datetime.now(UTC)
            assert before <= current()["http.request.start_time"] <= in_application

        before = datetime.now(UTC)
        ask(inside)

    @pytest.mark.parametrize(
        ("path", "shown"),
        [
            ("/b\u00fccher", "/b%C3%BCcher"),
            ("/a\nb c", "/a%0Ab%20c"),
            ("/50%/a:b,c", "/50%25/a:b,c"),
        ],
    )
    def test_local_values_have_the_path_as_in_the_url(
        self, ask: Ask, inside: CallInside, path: str, shown: str
    ) -> None:
        ask(inside, path=path)
        assert inside[0]["url.path"] == shown

    def test_local_values_are_bounded_and_printable_whatever_is_sent(
        self, ask: Ask, inside: CallInside, lines: Lines
    ) -> None:
        path = "/" + "\n" * 100_000
        ask(inside, path=path, client="eve\n" * 1000, method="GET\n\x1b[31m" * 1000)
        for name, limit in {
            "http.request.method": 150,
            "url.path": 3100,
            "client.address": 300,
        }.items():
            assert inside[0][name].isascii()
            assert inside[0][name].isprintable()
            assert len(inside[0][name]) < limit
        assert lines.records[0].getMessage().isprintable()
        assert len(lines.records[0].getMessage()) < 4000

    def test_local_values_have_no_client_where_the_server_knows_none(
        self, ask: Ask, inside: CallInside
    ) -> None:
        ask(inside, client=None)
        assert "client.address" not in inside[0]

    def test_local_values_never_leave_the_process(self, ask: Ask) -> None:
        def inside() -> None:
            sent.append(mqctx.extract(mqctx.inject()))

        sent: list[Context] = []
        ask(inside, [("X-Request-Id", "r-1")], trace=False)
        assert sent == [{"request_id": "r-1"}]


class TestRun:
    def test_the_run_is_exactly_the_requests_context(self, ask: Ask, inside: CallInside) -> None:
        with scope(user="ada"):
            ask(inside)
            assert current() == {"user": "ada"}
        assert "user" not in inside[0]

    def test_the_run_ends_with_an_exception_too(self, ask: Ask) -> None:
        def inside() -> None:
            bind(user="ada")
            raise LookupError("no such order")

        with scope(request_id="before"):
            with pytest.raises(LookupError, match="no such order"):
                ask(inside)
            assert current() == {"request_id": "before"}

    def test_the_run_keeps_all_context_variables_to_itself(self, ask: Ask) -> None:
        ask(lambda: other.set("inside"))
        assert other.get() == "outside"

    def test_the_run_sees_what_bind_adds_and_the_next_one_does_not(self, ask: Ask) -> None:
        def inside() -> None:
            assert "user" not in current()
            bind(user="ada")
            assert current()["user"] == "ada"

        for _ in range(2):
            ask(inside)


class TestMountedTwice:
    def test_a_middleware_mounted_twice_makes_one_context_one_id_and_one_line(
        self, ask: Ask, inside: CallInside, lines: Lines
    ) -> None:
        answer = ask(inside, layers=3)
        assert inside[0]["request_id"] == answer["x-request-id"]
        assert len(lines.records) == 1

    def test_a_middleware_mounted_twice_serves_a_request_anew_that_is_sent_again(
        self, ask: Ask, inside: CallInside, lines: Lines
    ) -> None:
        ask(inside, layers=2, times=2)
        first, second = inside
        assert first["request_id"] != second["request_id"]
        assert len(lines.records) == 2


class TestAccessLog:
    def test_the_access_log_has_one_line_with_method_path_status_and_duration(
        self, ask: Ask, inside: CallInside, lines: Lines
    ) -> None:
        ask(inside)
        (record,) = lines.records
        start, _, duration = record.getMessage().partition(" in ")
        assert start == "request completed: GET /orders 200"
        number, unit = duration.split()
        assert float(number) >= 0
        assert unit == "ms"
        assert (record.levelname, record.name) == ("INFO", "mqctx.access")

    def test_the_access_log_has_fields_beside_the_text(
        self, ask: Ask, inside: CallInside, lines: Lines
    ) -> None:
        ask(inside)
        (fields,) = lines.fields
        assert float(str(fields.pop("http.request.duration_ms"))) > 0
        assert fields == {
            "http.request.method": "GET",
            "url.path": "/orders",
            "client.address": "192.0.2.1",
            "http.response.status_code": 200,
        }

    def test_the_access_log_is_written_inside_the_context_with_what_bind_added(
        self, ask: Ask, lines: Lines
    ) -> None:
        ask(lambda: bind(user="ada", status="gold"), [("X-Request-Id", "r-1")])
        (context,) = lines.contexts
        values = [context[name] for name in ("request_id", "user", "status", "url.path")]
        assert values == ["r-1", "ada", "gold", "/orders"]

    def test_the_access_log_shows_the_context_through_the_filter_and_keeps_its_own_fields(
        self, ask: Ask, lines: Lines
    ) -> None:
        lines.addFilter(ContextFilter())
        ask(
            lambda: bind({"user": "ada", "http.response.status_code": "gold"}),
            [("X-Request-Id", "r-1")],
        )
        shown = {
            name: lines.fields[0][name]
            for name in ("request_id", "user", "http.response.status_code")
        }
        assert shown == {"request_id": "r-1", "user": "ada", "http.response.status_code": 200}

    def test_the_access_log_names_an_exception_which_goes_on(self, ask: Ask, lines: Lines) -> None:
        def inside() -> None:
            bind(user="ada")
            raise LookupError("no such order")

        with pytest.raises(LookupError):
            ask(inside)
        assert lines.texts == ["request completed: GET /orders 500 (LookupError)"]
        assert lines.records[0].getMessage().endswith(" ms (LookupError)")
        assert lines.contexts[0]["user"] == "ada"

    @pytest.mark.parametrize(
        ("path", "expected"), [("/health", 0), ("/healthy", 1), ("/static/app.css", 0), ("/", 1)]
    )
    def test_the_access_log_leaves_out_quiet_paths(
        self, ask: Ask, inside: CallInside, lines: Lines, path: str, expected: int
    ) -> None:
        ask(inside, path=path, quiet_paths=["/health", "/static/*"])
        assert len(lines.records) == expected
        assert len(inside) == 1

    def test_the_access_log_can_be_off(self, ask: Ask, inside: CallInside, lines: Lines) -> None:
        ask(inside, access_log=False)
        assert lines.records == []

    def test_the_access_log_obeys_the_level_of_its_logger(
        self, ask: Ask, inside: CallInside, lines: Lines
    ) -> None:
        logging.getLogger("mqctx.access").setLevel(logging.WARNING)
        ask(inside)
        assert lines.records == []


@pytest.mark.parametrize("middleware", [asgi.ContextMiddleware, wsgi.ContextMiddleware])
@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"headers": ["X-Tenant"]}, "headers: expected"),
        ({"headers": {"X-Tenant-Id": "tenant"}}, "headers: 'X-Tenant-Id' looks like a header"),
        ({"headers": {"tenant-id": "tenant"}}, "headers: 'tenant-id' looks like a header"),
        ({"headers": {"tenant": "HTTP_X_TENANT"}}, "headers: 'HTTP_X_TENANT' is a key of WSGI"),
        ({"trusted": "tenant"}, "trusted: expected names such as"),
        ({"trusted": ["tenant"]}, "trusted: 'tenant' is not taken from a header"),
        ({"trusted": ["request_id"]}, "trusted: 'request_id' is not taken from a header"),
        ({"values": ["service"]}, "values: expected {'service': 'shop'}"),
        ({"values": {"a b": "x"}}, "values: a b: a name starts with"),
        ({"values": {"service": object()}}, "values: service: a value of type object cannot"),
        ({"values": {"request_id": "r-1"}}, "values: request_id has its own source"),
        (
            {"values": {"tenant": "a"}, "headers": {"tenant": "X-Tenant"}},
            "values: tenant has its own source",
        ),
        ({"request_id_header": "Traceparent"}, "request_id_header: 'Traceparent' is the trace's"),
        ({"request_id_header": "Set-Cookie"}, "request_id_header: 'Set-Cookie' has a meaning in"),
        ({"request_id_header": "HTTP_X_ID"}, "request_id_header: 'HTTP_X_ID' is a key of WSGI"),
        ({"request_id_validator": "[a-z]+"}, "request_id_validator: expected a function such as"),
        ({"trust_client": "false"}, "trust_client: expected True or False, got 'false'"),
        ({"trace": None}, "trace: expected True or False, got None"),
        ({"access_log": 1}, "access_log: expected True or False, got 1"),
        ({"quiet_paths": ["health"]}, "quiet_paths: no path is 'health'"),
        ({"quiet_paths": [""]}, "quiet_paths: no path is ''"),
        ({"quiet_paths": ["/a/*/b"]}, "quiet_paths: no path is '/a/*/b'"),
        ({"quiet_paths": ["/health?full"]}, "quiet_paths: no path is '/health?full'"),
        ({"quiet_paths": ["/bücher"]}, "quiet_paths: no path is '/bücher'"),
        ({"quiet_paths": [5]}, "quiet_paths: expected paths"),
        ({"headers": {"ten ant": "X-Tenant"}}, "headers: ten ant: a name starts with"),
        ({"headers": {1: "X-Tenant"}}, "headers: 1: a name starts with"),
        ({"headers": {"request_id": "X-Id"}}, "headers: request_id has its own source"),
        ({"headers": {"trace_id": "X-Id"}}, "headers: trace_id has its own source"),
        ({"headers": {"url.path": "X-Id"}}, "headers: url.path has its own source"),
        ({"headers": {"tenant": "X Tenant"}}, "headers: 'X Tenant' cannot be the name"),
        ({"headers": {"tenant": None}}, "headers: None cannot be the name"),
        ({"request_id_header": "X-Id:"}, "request_id_header: 'X-Id:' cannot be the name"),
        ({"quiet_paths": "/health"}, "quiet_paths: expected paths"),
    ],
)
def test_a_setting_that_cannot_work_is_refused(
    middleware: Callable[..., object], settings: dict[str, Any], said: str
) -> None:
    with pytest.raises(mqctx.ConfigurationError) as error:
        middleware(None, **settings)
    assert str(error.value).startswith(said)


@pytest.mark.parametrize("middleware", [asgi.ContextMiddleware, wsgi.ContextMiddleware])
def test_what_is_no_application_is_refused(middleware: Callable[[Any], object]) -> None:
    with pytest.raises(mqctx.ConfigurationError, match="^app: expected the .*GI application"):
        middleware(None)
