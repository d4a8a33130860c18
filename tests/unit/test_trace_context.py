"""W3C Trace Context: what is read, what is written, what is passed on."""

import os
import random
import re
from typing import Any

import pytest

from mqctx import Context, JsonFormat, Propagator, Rejection, current, run, scope
from mqctx.formats.signed import SignedFormat
from mqctx.formats.trace_context import TraceContextFormat, start_trace

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
SPAN = "00f067aa0ba902b7"
PARENT = f"00-{TRACE}-{SPAN}-01"
BOTH = (JsonFormat(), TraceContextFormat())


@pytest.fixture
def both(rejected: list[Rejection]) -> Propagator:
    return Propagator(formats=BOTH, on_rejected=rejected.append)


def fields(headers: dict[str, Any]) -> list[str]:
    return str(headers["traceparent"]).split("-")


class TestWrite:
    def test_each_message_is_a_span_whose_parent_is_the_active_one(self, both: Propagator) -> None:
        with scope(trace_id=TRACE, span_id=SPAN, trace_flags="00"):
            first, second = both.inject(), both.inject()
        assert fields(first)[:2] == fields(second)[:2] == ["00", TRACE]
        assert len({SPAN, fields(first)[2], fields(second)[2]}) == 3
        assert fields(first)[3] == "00"
        received = both.extract(first)
        assert received == {
            "trace_id": TRACE,
            "span_id": fields(first)[2],
            "parent_span_id": SPAN,
            "trace_flags": "00",
        }

    def test_no_other_format_writes_the_trace(self, both: Propagator) -> None:
        with scope(start_trace(), user="ada"):
            assert both.inject()["mqctx"] == '{"user":"ada"}'

    def test_messages_of_one_context_start_one_trace(self, both: Propagator) -> None:
        with scope(user="ada"):
            traces = {fields(both.inject())[1] for _ in range(3)}
        assert len(traces) == 1
        with scope(user="eve"):
            assert fields(both.inject())[1] not in traces

    def test_messages_without_context_start_a_trace_each(self, both: Propagator) -> None:
        assert len({fields(both.inject())[1] for _ in range(3)}) == 3

    def test_a_started_trace_has_no_parent(self, both: Propagator) -> None:
        with scope(user="ada"):
            headers = both.inject()
        assert re.fullmatch("00-[0-9a-f]{32}-[0-9a-f]{16}-01", headers["traceparent"])
        assert "tracestate" not in headers
        assert "parent_span_id" not in both.extract(headers)

    @pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
    def test_spans_differ_however_processes_fork_or_seed_random(self, both: Propagator) -> None:
        def next_span() -> str:
            random.seed(1)
            with scope(trace_id=TRACE):
                return fields(both.inject())[2]

        reading, writing = os.pipe()
        spans = [next_span()]
        child = os.fork()
        if child == 0:
            os.write(writing, next_span().encode())
            os._exit(0)
        os.waitpid(child, 0)
        spans += [next_span(), os.read(reading, 16).decode()]
        os.close(reading)
        os.close(writing)
        assert len(set(spans)) == 3
        assert all(re.fullmatch("[0-9a-f]{16}", span) for span in spans)

    @pytest.mark.parametrize(("sampled", "flags"), [(True, "01"), (False, "00")])
    def test_a_started_trace_says_whether_it_is_sampled(self, sampled: bool, flags: str) -> None:
        headers = Propagator(formats=[TraceContextFormat(sampled=sampled)]).inject()
        assert fields(headers)[3] == flags
        assert start_trace(sampled=sampled)["trace_flags"] == flags

    @pytest.mark.parametrize(
        "values",
        [
            {"trace_id": "0" * 32},
            {"trace_id": TRACE.upper()},
            {"trace_id": 5, "span_id": SPAN},
            {"trace_id": SPAN},
        ],
    )
    def test_what_is_no_trace_is_not_written(
        self, values: dict[str, object], both: Propagator
    ) -> None:
        headers = run(values, both.inject)
        assert both.extract(headers)["trace_id"] not in values.values()

    @pytest.mark.parametrize("span_id", [None, "0" * 16, TRACE, "x"])
    def test_a_trace_without_span_has_no_parent(self, span_id: object, both: Propagator) -> None:
        with scope(trace_id=TRACE, span_id=span_id, trace_flags="zz"):
            headers = both.inject()
        assert fields(headers)[1::2] == [TRACE, "01"]
        assert "tracestate" not in headers

    def test_a_stale_trace_is_replaced(self, both: Propagator) -> None:
        stale = {"traceparent": PARENT, "tracestate": "a=1", "kept": 1}
        with Context().scope():
            headers = both.inject(stale)
        assert fields(headers)[1] != TRACE
        assert "tracestate" not in headers
        assert headers["kept"] == 1

    def test_a_started_trace_can_be_the_scope_of_a_request(self, both: Propagator) -> None:
        with scope(start_trace()) as active:
            assert fields(both.inject())[1] == active["trace_id"]

    def test_what_cannot_fit_is_left_out(self, rejected: list[Rejection]) -> None:
        propagator = Propagator(
            formats=BOTH, max_bytes=50, on_oversize="drop", on_rejected=rejected.append
        )
        with scope(user="ada", trace_id=TRACE):
            assert propagator.inject({"kept": 1}) == {"kept": 1}
        assert [(each.key, each.reason) for each in rejected] == [
            ("user", "too-large"),
            ("trace_id", "too-large"),
            (None, "too-large"),
        ]

    def test_a_large_value_is_dropped_before_the_trace(self, rejected: list[Rejection]) -> None:
        propagator = Propagator(
            formats=BOTH, max_bytes=200, on_oversize="drop", on_rejected=rejected.append
        )
        with scope(start_trace(), basket="x" * 500, user="ada") as active:
            received = propagator.extract(propagator.inject())
        assert received["trace_id"] == active["trace_id"]
        assert received["user"] == "ada"
        assert [each.key for each in rejected] == ["basket"]

    def test_a_long_tracestate_leaves_values_that_are_signed_their_room(
        self, rejected: list[Rejection]
    ) -> None:
        signed = SignedFormat(JsonFormat(), {"k": "correct horse battery staple"})
        propagator = Propagator(
            formats=[TraceContextFormat(), signed], max_bytes=600, on_rejected=rejected.append
        )
        with scope(start_trace(), tracestate=f"a={'1' * 90},b={'2' * 240}", user="u" * 200):
            received = propagator.extract(propagator.inject())
        assert received["user"] == "u" * 200
        assert received["tracestate"] == f"a={'1' * 90}"
        assert not rejected


class TestRead:
    @pytest.mark.parametrize(
        "text",
        [
            PARENT,
            PARENT.encode(),
            bytearray(PARENT.encode()),
            PARENT.replace("00-", "cc-", 1),
            PARENT.replace("00-", "cc-", 1) + "-what-the-future-will-be-like",
        ],
    )
    def test_the_format_restores_the_trace(self, text: object, both: Propagator) -> None:
        expected = {"trace_id": TRACE, "span_id": SPAN, "trace_flags": "01"}
        assert both.extract({"traceparent": text}) == expected

    @pytest.mark.parametrize(
        "text",
        [
            *("", "00", PARENT + "-00", PARENT + "-", " " + PARENT, PARENT + " ", PARENT.upper()),
            PARENT.replace("00-", "ff-", 1),
            PARENT.replace("00-", "0-", 1),
            PARENT.replace("00-", "cc-", 1) + ".what",
            *(f"00-{'0' * 32}-{SPAN}-01", f"00-{TRACE}-{'0' * 16}-01", f"00-{TRACE}-{SPAN}-0"),
            *(f"00-{TRACE}-{SPAN}-0g", f"00-{TRACE}{SPAN}-01", f"00-{TRACE[1:]}-{SPAN}-01"),
            PARENT.replace("4", "\u0664"),
        ],
    )
    def test_the_format_rejects_what_is_malformed_and_ignores_its_state(
        self, text: str, both: Propagator, rejected: list[Rejection]
    ) -> None:
        headers = {"traceparent": text, "tracestate": "a=1", "mqctx": '{"user":"ada"}'}
        assert both.extract(headers) == {"user": "ada"}
        assert [(each.header, each.reason) for each in rejected] == [("traceparent", "malformed")]

    @pytest.mark.parametrize("raw", [5, None, ["a"], {"a": 1}, "x" * 5000])
    def test_the_format_rejects_what_is_no_text_or_too_long(
        self, raw: object, both: Propagator, rejected: list[Rejection]
    ) -> None:
        assert both.extract({"traceparent": raw}) == {}
        assert len(rejected) == 1

    @pytest.mark.parametrize(
        ("flags", "kept"), [("00", "00"), ("01", "01"), ("03", "03"), ("fe", "02"), ("ff", "03")]
    )
    def test_the_format_keeps_the_flags_that_are_defined(
        self, flags: str, kept: str, both: Propagator
    ) -> None:
        received = both.extract({"traceparent": f"00-{TRACE}-{SPAN}-{flags}"})
        assert received["trace_flags"] == kept

    def test_the_header_counts_before_what_another_format_brings(self, both: Propagator) -> None:
        headers = {"mqctx": '{"trace_id":"other","user":"ada"}', "traceparent": PARENT}
        assert both.extract(headers)["trace_id"] == TRACE

    def test_the_trace_can_be_all_that_is_accepted(self) -> None:
        propagator = Propagator(
            formats=BOTH, accept=["traceparent"], send=["traceparent"], on_rejected=lambda _: None
        )
        headers = {"mqctx": '{"user":"eve"}', "traceparent": PARENT, "tracestate": "a=1"}
        received = propagator.extract(headers)
        assert set(received) == {"trace_id", "span_id", "trace_flags", "tracestate"}
        assert set((received | {"user": "ada"}).run(propagator.inject)) == {
            "traceparent",
            "tracestate",
        }


class TestState:
    def test_a_tracestate_of_others_travels_on_behind_ours(self, both: Propagator) -> None:
        received = both.extract({"traceparent": PARENT, "tracestate": "a=1,b@c= x y"})
        assert received["tracestate"] == "a=1,b@c= x y"
        sent = received.run(both.inject)
        assert sent["tracestate"] == f"mqctx={SPAN}-{fields(sent)[2]},a=1,b@c= x y"
        assert both.extract(sent)["parent_span_id"] == SPAN
        assert both.extract(sent)["tracestate"] == "a=1,b@c= x y"

    def test_a_tracestate_of_ours_does_not_grow(self, both: Propagator) -> None:
        headers: dict[str, Any] = {"traceparent": PARENT, "tracestate": "a=1"}
        for _ in range(3):
            headers = both.extract(headers).run(both.inject)
        assert headers["tracestate"].count("mqctx=") == 1

    @pytest.mark.parametrize("ours", ["x", "", f"{SPAN}-{'1' * 16}", f"{'0' * 16}-{SPAN}"])
    def test_a_tracestate_of_ours_counts_only_for_its_own_span(
        self, ours: str, both: Propagator
    ) -> None:
        headers = {"traceparent": PARENT, "tracestate": f"mqctx={ours},a=1"}
        assert set(both.extract(headers)) >= {"trace_id"}
        assert "parent_span_id" not in both.extract(headers)

    @pytest.mark.parametrize(
        "text",
        [
            *("foo", "foo=", "foo =1", "FOO=1", "foo=bar=baz", "@foo=1,bar=2"),
            *("foo=b\u00e4r", "=1", "x" * 257 + "=1", "a=" + "x" * 257, "a=\x7f"),
            ",".join(f"k{n}=1" for n in range(33)),
        ],
    )
    def test_a_tracestate_that_is_malformed_does_not_affect_the_trace(
        self, text: str, both: Propagator, rejected: list[Rejection]
    ) -> None:
        received = both.extract({"traceparent": PARENT, "tracestate": text})
        assert received == {"trace_id": TRACE, "span_id": SPAN, "trace_flags": "01"}
        assert [(each.header, each.reason) for each in rejected] == [("tracestate", "malformed")]

    @pytest.mark.parametrize("text", ["foo@=1,bar=2", "foo@@bar=1", "0@a/b*-_=1"])
    def test_a_tracestate_may_have_an_at_sign_anywhere_in_a_key(
        self, text: str, both: Propagator
    ) -> None:
        received = both.extract({"traceparent": PARENT, "tracestate": text})
        assert received["tracestate"] == text

    def test_a_tracestate_of_a_key_that_comes_twice_keeps_the_newest_and_the_rest(
        self, both: Propagator
    ) -> None:
        headers = {"traceparent": PARENT, "tracestate": "foo=1,bar=3,foo=2"}
        assert both.extract(headers)["tracestate"] == "foo=1,bar=3"

    def test_a_tracestate_that_is_no_text_does_not_affect_the_trace(
        self, both: Propagator, rejected: list[Rejection]
    ) -> None:
        received = both.extract({"traceparent": PARENT, "tracestate": 5})
        assert received["trace_id"] == TRACE
        assert [(each.header, each.reason) for each in rejected] == [("tracestate", "wrong-type")]

    def test_a_tracestate_may_have_white_space_and_empty_members(self, both: Propagator) -> None:
        headers = {"traceparent": PARENT, "tracestate": "a=1 \t, ,\tb=2,"}
        assert both.extract(headers)["tracestate"] == "a=1,b=2"

    def test_a_tracestate_keeps_at_most_32_members(self, both: Propagator) -> None:
        state = ",".join(f"k{n}=1" for n in range(32))
        received = both.extract({"traceparent": PARENT, "tracestate": state})
        assert received["tracestate"] == state
        members = received.run(both.inject)["tracestate"].split(",")
        assert len(members) == 32
        assert members[0].startswith("mqctx=")
        assert members[-1] == "k30=1"

    def test_a_tracestate_over_512_characters_drops_long_members_first_then_the_last(
        self, both: Propagator
    ) -> None:
        state = f"a=1,long={'x' * 200},b={'y' * 120},c={'z' * 120},d={'w' * 120},e={'v' * 120}"
        received = both.extract({"traceparent": PARENT, "tracestate": state})
        written = received.run(both.inject)["tracestate"]
        assert [member.split("=")[0] for member in written.split(",")] == ["mqctx", *"abcd"]
        assert len(written) <= 512


def test_a_trace_in_the_context_is_there_for_logs() -> None:
    propagator = Propagator(formats=BOTH)
    received = propagator.extract(Context(user="ada").run(propagator.inject))
    assert received.run(lambda: set(current())) == {"user", "trace_id", "span_id", "trace_flags"}


def test_shows_its_setting() -> None:
    assert repr(TraceContextFormat(sampled=False)) == "TraceContextFormat(sampled=False)"
