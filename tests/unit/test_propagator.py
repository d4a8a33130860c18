"""Inject and extract: what leaves, what is accepted, within which limits."""

import json
import logging
from collections.abc import Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from decimal import Decimal
from types import MappingProxyType
from typing import Any, cast
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import mqctx
from mqctx import Context, JsonFormat, Propagator, Rejection, Variable, configure, current, scope
from mqctx._core.rejection import Report, log_rejection
from mqctx._core.values import JSONValue
from mqctx._propagation.propagator import registry
from mqctx.formats import CORRELATION_ID, FlatFormat, Format, TraceContextFormat, header_size
from mqctx.formats._format import FRAMING
from tests.unit.conftest import Rejections


def wire(**values: object) -> dict[str, str]:
    return {"mqctx": json.dumps(values)}


class TestInject:
    def test_inject_writes_one_compact_ascii_header(self) -> None:
        with scope(request_id="r-1", user="Zo\u00eb", n=1):
            injected = Propagator().inject()
        assert injected == {"mqctx": '{"request_id":"r-1","user":"Zo\\u00eb","n":1}'}

    def test_inject_keeps_the_callers_headers_in_a_new_dict(self) -> None:
        given = {"x-retry": 1, "tags": ["a"]}
        with scope(user="ada"):
            injected = Propagator().inject(given)
        assert injected == {**given, "mqctx": '{"user":"ada"}'}
        assert given == {"x-retry": 1, "tags": ["a"]}

    def test_inject_takes_any_mapping(self) -> None:
        with scope(user="ada"):
            assert Propagator().inject(MappingProxyType({"a": 1})) == {"a": 1, **wire_of("ada")}

    def test_inject_replaces_a_stale_context(self) -> None:
        with scope(user="ada"):
            assert Propagator().inject({"mqctx": '{"user":"eve","old":1}'}) == wire_of("ada")

    def test_inject_removes_a_stale_context_in_an_empty_run(self) -> None:
        with Context().scope():
            assert Propagator().inject({"mqctx": '{"user":"eve"}', "a": 1}) == {"a": 1}

    def test_inject_outside_every_run_leaves_a_context_as_it_is(self) -> None:
        trace_too = Propagator(formats=[JsonFormat(), TraceContextFormat()])
        headers = MappingProxyType({"mqctx": '{"user":"eve"}', "a": 1})
        for propagator in (Propagator(), trace_too):
            injected = propagator.inject(headers)
            assert injected == headers
            assert isinstance(injected, dict)  # of its own

    def test_inject_outside_every_run_writes_linked_variables_and_a_trace_where_there_is_no_context(
        self,
    ) -> None:
        linked: ContextVar[str] = ContextVar("linked")
        Variable("linked", str, contextvar=linked)
        propagator = Propagator(formats=[JsonFormat(), TraceContextFormat()])
        token = linked.set("x")
        try:
            injected = propagator.inject({"a": 1})
            kept = propagator.inject({"mqctx": "{}"})
        finally:
            linked.reset(token)
        assert injected.keys() == {"a", "mqctx", "traceparent"}
        assert injected["mqctx"] == '{"linked":"x"}'
        assert kept == {"mqctx": "{}"}

    def test_inject_gives_each_publish_a_dict_of_its_own(self) -> None:
        propagator = Propagator()
        with scope(user="ada"):
            propagator.inject()["mqctx"] = "changed"
            assert propagator.inject() == wire_of("ada")

    def test_inject_encodes_a_context_once(self) -> None:
        layout = WriteCountingFormat()
        propagator = Propagator(formats=[layout])
        with scope(user="ada"):
            for _ in range(1000):
                propagator.inject()
            assert layout.encoded == 1
            mqctx.bind(tenant="acme")
            propagator.inject()
            assert layout.encoded == 2

    def test_inject_is_not_misled_by_what_another_propagator_encoded(self) -> None:
        with scope(user="ada", tenant="acme"):
            Propagator().inject()
            assert Propagator(send=["user"]).inject() == wire_of("ada")

    def test_inject_refuses_headers_that_are_no_mapping(self) -> None:
        with pytest.raises(mqctx.HeadersError, match="expected a mapping, got list"):
            Propagator().inject(cast("Any", ["a"]))

    @pytest.mark.parametrize(
        ("send", "sent"),
        [
            (None, {"user", "order.id", "order.total"}),
            ((), set[str]()),
            (["user"], {"user"}),
            (iter(["order.*", "nothing"]), {"order.id", "order.total"}),
            (["*"], {"user", "order.id", "order.total"}),
        ],
    )
    def test_inject_sends_only_what_may_leave(self, send: Any, sent: set[str]) -> None:
        propagator = Propagator(send=send)
        with scope({"user": "ada", "order.id": 1, "order.total": 2}):
            assert set(propagator.extract(propagator.inject())) == sent


class TestOversize:
    def test_the_limit_raises_before_anything_is_sent_naming_limit_key_and_remedy(self) -> None:
        with (
            scope(user="ada", basket="x" * 5000),
            pytest.raises(
                mqctx.OversizeError,
                match=r"takes 50\d\d bytes of.*max_bytes is 3584.*'basket'.*local=True",
            ),
        ):
            Propagator().inject()

    def test_the_limit_counts_names_and_values_of_all_headers(self) -> None:
        with scope(a="x"):
            size = len('mqctx{"a":"x"}') + FRAMING
            assert Propagator(max_bytes=size).inject()
            with pytest.raises(mqctx.OversizeError):
                Propagator(max_bytes=size - 1).inject()

    def test_the_limit_drops_whole_values_the_largest_first_each_reported(
        self, rejected: Rejections
    ) -> None:
        propagator = rejected.propagator(max_bytes=60, on_oversize="drop")
        with scope(user="ada", big="x" * 100, bigger="y" * 200, tenant="acme"):
            injected = propagator.inject()
        assert json.loads(injected["mqctx"]) == {"user": "ada", "tenant": "acme"}
        assert [(r.key, r.reason, r.during) for r in rejected] == [
            ("bigger", "too-large", "inject"),
            ("big", "too-large", "inject"),
        ]
        assert "bigger in mqctx: not sent in the headers (too-large)" in str(rejected[0])

    def test_the_limit_drops_everything_when_nothing_fits(self, rejected: Rejections) -> None:
        propagator = rejected.propagator(max_bytes=3, on_oversize="drop")
        with scope(a=1, b=2):
            assert propagator.inject({"kept": 1}) == {"kept": 1}
        assert len(rejected) == 2

    def test_a_framework_that_publishes_by_itself_trims_instead_of_raising(
        self, rejected: Rejections
    ) -> None:
        propagator = rejected.propagator(max_bytes=60)
        with scope(user="ada", big="x" * 100):
            assert json.loads(propagator.inject(trim=True)["mqctx"]) == {"user": "ada"}
            assert [(r.key, r.reason) for r in rejected] == [("big", "too-large")]
            with pytest.raises(mqctx.OversizeError):  # what was trimmed is not remembered
                propagator.inject()

    def test_trimming_is_for_the_default_propagator_too(self) -> None:
        configure(max_bytes=64, on_rejected=lambda _: None)
        with scope(user="ada", big="x" * 100):
            assert json.loads(mqctx.inject(trim=True)["mqctx"]) == {"user": "ada"}

    def test_trimming_leaves_out_what_cannot_travel_in_a_linked_variable(
        self, rejected: Rejections
    ) -> None:
        foreign: ContextVar[object] = ContextVar("foreign")
        Variable("foreign", str, contextvar=foreign)
        with scope(user="ada"):
            foreign.set(object())
            injected = rejected.propagator().inject({"kept": 1}, trim=True)
            noted = rejected.propagator().plain(current())  # as the record of a failure has it
        assert injected == {"kept": 1, "mqctx": '{"user":"ada"}'}
        assert noted == {"user": "ada"}
        found = [(r.during, r.header, r.key, r.reason) for r in rejected]
        assert found == [("inject", "mqctx", "foreign", "illegal-value")] * 2
        assert all("foreign: a value of type object" in r.detail for r in rejected)

    @given(
        values=st.dictionaries(st.from_regex("[a-z]{1,8}", fullmatch=True), st.text(max_size=60)),
        max_bytes=st.integers(1, 300),
    )
    def test_what_is_sent_always_fits(self, values: dict[str, str], max_bytes: int) -> None:
        propagator = Propagator(max_bytes=max_bytes, on_oversize="drop", on_rejected=lambda _: None)
        injected = Context(values).run(propagator.inject)
        assert sum(header_size(k, v) for k, v in injected.items()) <= max_bytes
        assert values.items() >= propagator.extract(injected).items()


class TestExtract:
    def test_extract_restores_what_inject_wrote(self) -> None:
        values = {"a": "\u00e9", "b": "", "c": 2**70, "d": 0.1, "e": [None, {"f": True}]}
        assert Propagator().extract(Context(values).run(Propagator().inject)) == values

    def test_extract_shares_nothing_that_can_change_with_the_next_message_of_the_same_text(
        self,
    ) -> None:
        headers = {"mqctx": '{"tags":["a"],"user":"ada"}'}
        first, second = Propagator().extract(headers), Propagator().extract(headers)
        first["tags"].append("b")
        assert second == {"tags": ["a"], "user": "ada"}

    def test_extract_encodes_once_what_is_sent_on_from_many_messages_of_the_same_text(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        encoded: list[Mapping[str, JSONValue]] = []

        def encode(_: JsonFormat, values: Mapping[str, JSONValue]) -> Mapping[str, str]:
            encoded.append(values)
            return {"mqctx": json.dumps(values)}

        monkeypatch.setattr(JsonFormat, "encode", encode)
        propagator = Propagator()
        assert propagator.extract(wire(user="grace"))  # the first time, a name is looked into
        for user in ("ada", "ada", "eve", "eve"):
            sent_on = propagator.extract(wire(user=user)).run(propagator.inject)
            assert json.loads(sent_on["mqctx"]) == {"user": user}
        assert encoded == [{"user": "ada"}, {"user": "eve"}]

    def test_extract_asks_no_declared_type_whether_two_of_its_values_are_equal(self) -> None:
        Variable("user", Incomparable)
        propagator = Propagator()
        for _ in range(2):
            assert propagator.extract(wire(user="ada"))["user"].text == "ada"

    def test_extract_reads_a_bytearray_anew_that_has_changed(self) -> None:
        raw = bytearray(b'{"user":"ada"}')
        assert Propagator().extract({"mqctx": raw}) == {"user": "ada"}
        raw[9:12] = b"eve"
        assert Propagator().extract({"mqctx": raw}) == {"user": "eve"}

    def test_extract_heeds_a_variable_that_was_declared_since_the_same_text_came(
        self, rejected: Rejections
    ) -> None:
        headers, propagator = wire(user="ada"), rejected.propagator()
        assert propagator.extract(headers) == {"user": "ada"}
        Variable("user", int)
        assert propagator.extract(headers) == {}
        assert [each.reason for each in rejected] == ["illegal-value"]

    @pytest.mark.parametrize("headers", [None, {}, {"other": 1}])
    def test_extract_gives_the_empty_context_where_there_is_none(self, headers: Any) -> None:
        with scope(user="ambient"):
            assert Propagator().extract(headers) == {}

    @pytest.mark.parametrize("kind", [str, str.encode, lambda text: bytearray(text.encode())])
    def test_extract_reads_text_bytes_and_bytearray(self, kind: Any) -> None:
        assert Propagator().extract({"mqctx": kind('{"user":"Zo\u00eb"}')}) == {"user": "Zo\u00eb"}

    @pytest.mark.parametrize(
        ("raw", "reason"),
        [
            *((5, "wrong-type"), (None, "wrong-type"), (["{}"], "wrong-type"), ({}, "wrong-type")),
            (memoryview(b"{}"), "wrong-type"),
            *(("", "malformed"), ("nonsense", "malformed"), ("[1]", "malformed")),
            *(('{"a":1', "malformed"), ('{"a":NaN}', "malformed"), ('{"a":1e999}', "malformed")),
            *((b"\xff\xfe", "malformed"), ('{"a":"\ud800"}', "malformed"), ("5", "malformed")),
            ('{"a":"\\ud800"}', "malformed"),
            ('{"a":"' + "x" * 5000 + '"}', "too-large"),
        ],
    )
    def test_extract_rejects_a_header_that_cannot_be_read(
        self, raw: object, reason: str, rejected: Rejections
    ) -> None:
        propagator = rejected.propagator()
        assert propagator.extract({"mqctx": raw}) == {}
        found = [(r.during, r.header, r.key, r.reason) for r in rejected]
        assert found == [("extract", "mqctx", None, reason)]
        assert propagator.rejections == {reason: 1}

    @pytest.mark.parametrize("depth", [33, 1000, 60_000])
    def test_extract_rejects_what_is_nested_too_deep(
        self, depth: int, rejected: Rejections
    ) -> None:
        """How deep msgspec goes before it gives up depends on the interpreter's version."""
        raw = '{"a":' + "[" * depth + "]" * depth + "}"
        assert rejected.propagator(max_bytes=130_000).extract({"mqctx": raw}) == {}
        assert len(rejected) == 1
        assert rejected[0].reason in {"malformed", "illegal-value"}

    @pytest.mark.parametrize(
        ("name", "value", "reason"),
        [
            *(("a b", 1, "illegal-name"), ("", 1, "illegal-name"), ("a" * 65, 1, "illegal-name")),
            ("deep", json.loads("[" * 40 + "]" * 40), "illegal-value"),
            *(("order", "no uuid", "illegal-value"), ("order", 5, "illegal-value")),
        ],
    )
    def test_extract_rejects_one_key_and_restores_the_rest(
        self, name: str, value: object, reason: str, rejected: Rejections
    ) -> None:
        Variable("order", UUID)
        extracted = rejected.propagator().extract(wire(user="ada", **{name: value}))
        assert extracted == {"user": "ada"}
        found = [(r.during, r.header, r.key, r.reason) for r in rejected]
        assert found == [("extract", "mqctx", name, reason)]
        assert ("uuid" if name == "order" else f"{name}: ") in rejected[0].detail.lower()

    def test_extract_rejects_what_a_declared_types_own_code_refuses_however(
        self, rejected: Rejections
    ) -> None:
        Variable("fraction", Fraction)
        assert rejected.propagator().extract(wire(fraction={"below": 0})) == {}
        assert [r.reason for r in rejected] == ["illegal-value"]

    @pytest.mark.parametrize("total", ["NaN", "sNaN"])
    def test_extract_restores_nothing_that_could_not_have_been_set(
        self, total: str, rejected: Rejections
    ) -> None:
        Variable("totals", list[Decimal])
        extracted = rejected.propagator().extract(wire(totals=[total], user="ada"))
        assert extracted == {"user": "ada"}
        assert [r.reason for r in rejected] == ["illegal-value"]

    def test_extract_restores_only_what_is_accepted(self, rejected: Rejections) -> None:
        propagator = rejected.propagator(accept=["order.*"])
        assert propagator.extract(wire(**{"order.id": "o-1"}, user="eve")) == {"order.id": "o-1"}
        assert [(r.during, r.key, r.reason) for r in rejected] == [
            ("extract", "user", "not-accepted")
        ]

    def test_extract_rejects_headers_that_are_no_mapping(self, rejected: Rejections) -> None:
        assert rejected.propagator().extract(cast("Any", ["mqctx"])) == {}
        detail = "expected headers in a mapping, got list"
        assert rejected == [Rejection("extract", "headers", None, "wrong-type", detail)]

    def test_extract_reads_any_mapping(self) -> None:
        assert Propagator().extract(MappingProxyType(wire(user="ada"))) == {"user": "ada"}

    def test_extract_shows_of_a_hostile_header_only_what_is_fit_for_a_log(
        self, rejected: Rejections
    ) -> None:
        rejected.propagator().extract({"mqctx": json.dumps({"a\r\nX\x1b[31m" + "b" * 999: 1})})
        shown = str(rejected[0])
        assert shown.isprintable()
        assert len(shown) < 700

    @settings(max_examples=150)
    @given(
        st.one_of(
            st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary(),
            st.lists(st.text()),
            st.recursive(
                st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
                lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
            ).map(json.dumps),
        )
    )
    def test_extract_never_raises_and_counts_what_it_leaves_out(self, raw: object) -> None:
        Variable("a", int)
        propagator = Propagator(on_rejected=lambda _: None)
        extracted = propagator.extract({"mqctx": raw})
        whole = extracted == _object_in(raw)
        assert whole or propagator.rejections.total() > 0


class TestRejected:
    def test_a_hook_that_fails_is_logged_and_the_rest_restored(
        self, caplog: pytest.LogCaptureFixture
    ) -> None:
        def broken(_: Rejection) -> None:
            raise ZeroDivisionError

        propagator = Propagator(on_rejected=broken)
        assert propagator.extract({"mqctx": '{"a b":1,"user":"ada"}'}) == {"user": "ada"}
        assert "on_rejected failed for: a b in mqctx" in caplog.text

    def test_without_hook_one_line_per_kind_and_minute_is_logged(
        self, caplog: pytest.LogCaptureFixture
    ) -> None:
        propagator = Propagator()
        for _ in range(3):
            propagator.extract({"mqctx": "nonsense"})
            propagator.extract({"mqctx": 5})
        assert propagator.rejections == {"malformed": 3, "wrong-type": 3}
        assert [(r.levelno, r.name) for r in caplog.records] == [(logging.WARNING, "mqctx")] * 2
        assert caplog.messages[1].startswith("mqctx: not restored from the headers (wrong-type)")

    def test_a_rejection_is_logged_again_after_a_minute(
        self, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        now = 1000.0
        monkeypatch.setattr("mqctx._core.rejection.time.monotonic", lambda: now)
        rejection = Rejection("extract", "mqctx", None, "malformed", "")
        for seconds, lines in ((0, 1), (59.9, 1), (60.1, 2)):
            now = 1000.0 + seconds
            log_rejection(rejection)
            assert len(caplog.records) == lines


class WriteCountingFormat(JsonFormat):
    """Counts how often it encodes."""

    encoded = 0

    def encode(self, values: Mapping[str, JSONValue]) -> Mapping[str, str]:
        self.encoded += 1
        return super().encode(values)


class StrangeFormat(JsonFormat):
    """Gives what no format should."""

    def __init__(self, decoded: object) -> None:
        super().__init__("strange")
        self.decoded = decoded

    def decode(self, headers: Mapping[str, Any], max_bytes: int, report: Report) -> Any:
        return self.decoded


class BrokenFormat(JsonFormat):
    """Fails on whatever it reads."""

    def decode(
        self, headers: Mapping[str, Any], max_bytes: int, report: Report
    ) -> Mapping[str, JSONValue]:
        raise ZeroDivisionError("a\nb")


@dataclass
class Fraction:
    """A type whose own code raises what is no ValueError."""

    below: int

    def __post_init__(self) -> None:
        _ = 1 / self.below


class Incomparable:
    """A type, with pydantic's methods, that compares with nothing but its own kind."""

    def __init__(self, text: str) -> None:
        self.text = text

    @classmethod
    def model_validate_json(cls, raw: bytes) -> "Incomparable":
        return cls(json.loads(raw))

    def model_dump(self, **_: object) -> str:
        return self.text

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Incomparable):
            raise TypeError(other)
        return self.text == other.text

    def __hash__(self) -> int:
        return hash(self.text)


class TestFormats:
    two: tuple[Format, Format] = (JsonFormat(), JsonFormat("app-context"))

    def test_all_formats_are_written(self) -> None:
        with scope(user="ada"):
            injected = Propagator(formats=self.two).inject()
        assert injected == {"mqctx": '{"user":"ada"}', "app-context": '{"user":"ada"}'}

    def test_all_formats_are_read_and_the_first_that_has_a_name_counts(self) -> None:
        headers = {"app-context": '{"user":"eve","tenant":"acme"}', "mqctx": '{"user":"ada"}'}
        extracted = Propagator(formats=self.two).extract(headers)
        assert extracted == {"user": "ada", "tenant": "acme"}

    def test_a_format_that_fails_is_a_rejection_and_the_others_are_read(
        self, rejected: Rejections
    ) -> None:
        propagator = rejected.propagator(formats=[BrokenFormat(), JsonFormat("app-context")])
        assert propagator.extract({"app-context": '{"user":"ada"}'}) == {"user": "ada"}
        found = [(r.during, r.header, r.key, r.reason) for r in rejected]
        assert found == [("extract", "mqctx", None, "error")]
        assert "ZeroDivisionError: a\\nb" in rejected[0].detail

    @pytest.mark.parametrize(
        ("decoded", "reason"), [(None, "error"), (5, "error"), ({5: 1}, "illegal-name")]
    )
    def test_a_format_that_gives_what_it_should_not_is_a_rejection(
        self, decoded: object, reason: str, rejected: Rejections
    ) -> None:
        propagator = rejected.propagator(formats=[StrangeFormat(decoded), JsonFormat()])
        assert propagator.extract({"mqctx": '{"user":"ada"}'}) == {"user": "ada"}
        assert [r.reason for r in rejected] == [reason]

    @pytest.mark.parametrize(
        "header",
        ["x-mqctx", "X-Ctx", "CC", "bcc", "compression", "From", "retries", "\u00e9", "", 5],
    )
    def test_a_header_that_others_would_misread_is_refused(self, header: Any) -> None:
        with pytest.raises(mqctx.ConfigurationError, match=f"^header {header!r}"):
            JsonFormat(header)

    def test_a_format_shows_its_header(self) -> None:
        assert repr(JsonFormat()) == "JsonFormat(header='mqctx')"
        assert repr(Propagator()).startswith("Propagator(")


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ({"formats": ()}, "formats: give at least one"),
        ({"formats": (JsonFormat(), JsonFormat())}, "formats: two of them"),
        ({"formats": (JsonFormat("Tracestate"), TraceContextFormat())}, "formats: two of them"),
        ({"formats": (FlatFormat(prefix="MQ"), JsonFormat())}, "formats: two of them"),
        (
            {"formats": (FlatFormat({"a": CORRELATION_ID}), FlatFormat({"b": CORRELATION_ID}))},
            "two",
        ),
        ({"max_bytes": 0}, "max_bytes: 0 is not between 1 and 130000"),
        ({"max_bytes": 200_000}, "max_bytes: 200000"),
        ({"on_oversize": "ignore"}, "on_oversize: 'ignore' is not 'raise' or 'drop'"),
        ({"send": "tenant"}, "send: expected names or prefixes.*got 'tenant'"),
        ({"send": 5}, "send: expected names or prefixes.*got 5"),
        ({"send": [1]}, r"send: expected names or prefixes.*got \[1\]"),
        ({"send": ["order*"]}, r"send: 'order\*': a `\*` follows a dot.*'order\.\*'"),
        ({"send": ["*.id"]}, "send: .*follows a dot"),
        ({"send": ["tenant*"]}, r"send: .*'tenant\.\*'"),
        ({"send": [".*."]}, r"send: .*'order\.\*'"),
        ({"send": ["a b"]}, "send: a b: a name starts with a letter"),
        ({"accept": "tenant"}, "accept: "),
        ({"accept": ["*order"]}, r"accept: .*'order\.\*'"),
        ({"formats": JsonFormat()}, "formats: expected a list"),
        ({"formats": [JsonFormat]}, "formats: expected a list"),
        ({"formats": "json"}, "formats: expected a list.*got 'json'"),
        ({"max_bytes": "4096"}, "max_bytes: '4096' is not between"),
        ({"max_bytes": True}, "max_bytes: True is not between"),
        ({"on_rejected": None}, "on_rejected: expected a function"),
    ],
)
def test_a_setting_that_cannot_work_is_refused(setting: Any, said: str) -> None:
    for make in (Propagator, configure):
        with pytest.raises(mqctx.ConfigurationError, match=said):
            make(**setting)


@pytest.mark.parametrize("name", ["max_bytes", "accept", "extract_from", "max_byte"])
def test_a_propagator_does_not_change(name: str) -> None:
    propagator = Propagator(max_bytes=100)
    with pytest.raises(AttributeError, match=name):
        setattr(propagator, name, 1)
    assert (propagator.max_bytes, propagator.settings.accept) == (100, None)
    assert propagator.extract(wire_of("ada")) == {"user": "ada"}


def test_configure_sets_the_default_and_without_settings_resets_it() -> None:
    configured = configure(max_bytes=100)
    assert registry.propagator is configured
    assert configured.max_bytes == 100
    assert configure().max_bytes == 3584


def wire_of(user: str) -> dict[str, str]:
    return {"mqctx": f'{{"user":"{user}"}}'}


def _object_in(raw: object) -> object:
    """Return the object that a header holds, or None where it holds none."""
    if not isinstance(raw, str | bytes):
        return None
    try:
        return json.loads(raw)
    except (ValueError, UnicodeDecodeError):
        return None
