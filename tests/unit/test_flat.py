"""One header for each value: behind a prefix, or with names of their own."""

from decimal import Decimal
from typing import Any, ClassVar
from uuid import UUID

import pytest

from mqctx import (
    ConfigurationError,
    Context,
    JsonFormat,
    OversizeError,
    Propagator,
    Rejection,
    Variable,
    run,
    scope,
)
from mqctx._core.rejection import log_rejection
from mqctx._core.values import UntypedText
from mqctx.formats.baggage import BaggageFormat
from mqctx.formats.flat import CORRELATION_ID, MESSAGE_ID, FlatFormat

IDS = {"request_id": CORRELATION_ID, "tenant": "Tenant-Id", "user": "user"}


@pytest.fixture
def prefixed(rejected: list[Rejection]) -> Propagator:
    return Propagator(formats=[FlatFormat()], on_rejected=rejected.append)


@pytest.fixture
def named(rejected: list[Rejection]) -> Propagator:
    return Propagator(formats=[FlatFormat(IDS)], on_rejected=rejected.append)


class TestText:
    @pytest.mark.parametrize(
        ("value", "text"),
        [
            *(("r-1", "r-1"), ("", ""), (" a  b ", " a  b "), ('"a",b;c\\=+', '"a",b;c\\=+')),
            *(("100%", "100%25"), ("Zo\u00eb", "Zo%C3%AB"), ("\x00\r\n\x7f", "%00%0D%0A%7F")),
            *(("json:5", "%6Ason:5"), ("json:", "%6Ason:"), ("Json:5", "Json:5")),
            *((5, "json:5"), (0.5, "json:0.5"), (False, "json:false"), (None, "json:null")),
            *((["a", {}], 'json:["a",{}]'), ({"\u00e9": "%"}, 'json:{"\\u00e9":"%"}')),
        ],
    )
    def test_text_is_as_it_is_and_other_types_are_json(
        self, value: Any, text: str, prefixed: Propagator
    ) -> None:
        written = run({"a": value}, prefixed.inject)
        assert written == {"mqctx-a": text}
        arrived = prefixed.extract(written)["a"]
        assert arrived == value
        assert type(arrived) is type(value)

    @pytest.mark.parametrize(
        ("raw", "value"),
        [
            *(("%zz", "%zz"), ("%C3%A9%ff", "\u00e9\ufffd"), ("Zo\u00eb", "Zo\u00eb")),
            *((b"a\xff", "a\ufffd"), (bytearray(b"a"), "a"), ("5", "5"), ("json", "json")),
        ],
    )
    def test_text_of_others_is_read_as_text(
        self, raw: object, value: str, prefixed: Propagator, rejected: list[Rejection]
    ) -> None:
        assert prefixed.extract({"mqctx-a": raw}) == {"a": value}
        assert rejected == []

    def test_text_of_others_may_be_meant_as_a_number(self) -> None:
        values = FlatFormat().decode({"mqctx-a": "5", "mqctx-b": "json:5"}, 4096, print)
        assert [type(value) for value in values.values()] == [UntypedText, int]

    @pytest.mark.parametrize(
        ("raw", "reason"),
        [
            *((5, "wrong-type"), (None, "wrong-type"), ("x" * 5000, "too-large")),
            *(("json:", "malformed"), ("json:{", "malformed"), ("json:NaN", "malformed")),
            ("json:" + "[" * 60_000, "malformed"),
            ("json:" + "[" * 40 + "]" * 40, "illegal-value"),
        ],
    )
    def test_text_that_cannot_be_read_is_rejected_by_key_and_the_rest_restored(
        self, raw: object, reason: str, rejected: list[Rejection]
    ) -> None:
        max_bytes = 100_000 if reason == "malformed" else 4096
        propagator = Propagator(
            formats=[FlatFormat()], max_bytes=max_bytes, on_rejected=rejected.append
        )
        assert propagator.extract({"mqctx-a": raw, "mqctx-b": "1"}) == {"b": "1"}
        assert [(r.header, r.key, r.reason) for r in rejected] == [("mqctx-*", "a", reason)]


class TestPrefix:
    def test_with_a_prefix_each_value_has_a_header(self, prefixed: Propagator) -> None:
        with scope({"user": "ada", "order.id": 5}):
            assert prefixed.inject({"kept": 1}) == {
                "kept": 1,
                "mqctx-user": "ada",
                "mqctx-order.id": "json:5",
            }

    def test_the_prefix_can_be_another(self) -> None:
        propagator = Propagator(formats=[FlatFormat(prefix="app.")])
        with scope(user="ada"):
            assert propagator.inject({"mqctx-user": "eve"}) == {
                "mqctx-user": "eve",
                "app.user": "ada",
            }

    def test_with_a_prefix_what_is_stale_is_removed(self, prefixed: Propagator) -> None:
        headers = {"mqctx-user": "eve", "mqctx-": "x", "mqctx": "kept", "Mqctx-a": "kept"}
        with scope(tenant="acme"):
            assert prefixed.inject(headers) == {
                "mqctx": "kept",
                "Mqctx-a": "kept",
                "mqctx-tenant": "acme",
            }

    @pytest.mark.parametrize("name", ["", "a b", "9", "\u00e9", "a" * 65, "-"])
    def test_a_header_that_is_no_name_behind_the_prefix_is_rejected(
        self, name: str, prefixed: Propagator, rejected: list[Rejection]
    ) -> None:
        assert prefixed.extract({f"mqctx-{name}": "x", "mqctx-user": "ada"}) == {"user": "ada"}
        assert [(r.header, r.reason) for r in rejected] == [("mqctx-*", "illegal-name")]

    def test_headers_that_are_no_text_have_no_prefix(self, prefixed: Propagator) -> None:
        headers: dict[Any, Any] = {5: "x", None: "y", b"mqctx-a": "z", "mqctx-b": "1"}
        assert prefixed.extract(headers) == {"b": "1"}

    def test_max_bytes_holds_for_all_together(
        self, prefixed: Propagator, rejected: list[Rejection]
    ) -> None:
        headers = {f"mqctx-{name}": "x" * 1700 for name in "abc"} | {"mqctx-d": "1"}
        assert set(prefixed.extract(headers)) == {"a", "b", "d"}
        assert [(r.key, r.reason) for r in rejected] == [("c", "too-large")]
        with scope(a="x" * 1700, b="x" * 1700, c="x" * 200), pytest.raises(OversizeError):
            prefixed.inject()

    def test_hostile_names_are_one_kind_of_log_line_and_fit_for_it(
        self, caplog: pytest.LogCaptureFixture
    ) -> None:
        propagator = Propagator(formats=[FlatFormat()], on_rejected=log_rejection)
        for number in range(100):
            propagator.extract({f"mqctx-{number}\n\x1b[31m": 5})
        assert len(caplog.records) == 1
        assert caplog.records[0].getMessage().isprintable()
        assert propagator.rejections == {"wrong-type": 100}

    def test_every_header_is_short_enough_for_every_client(self) -> None:
        """aio-pika cuts a key after 128 bytes."""
        with pytest.raises(ConfigurationError):
            FlatFormat(prefix="p" * 65)
        with scope({"n" * 64: 1}):
            written = Propagator(formats=[FlatFormat(prefix="p" * 64)]).inject()
        assert max(map(len, written)) == 128


class TestNames:
    def test_only_names_with_a_header_are_written_each_in_its_own(self, named: Propagator) -> None:
        with scope(request_id="r-1", tenant="acme", attempt=2):
            assert named.inject() == {"property:correlation_id": "r-1", "Tenant-Id": "acme"}

    def test_only_the_headers_of_names_are_read(self, named: Propagator) -> None:
        headers = {"Tenant-Id": "acme", "tenant": "eve", CORRELATION_ID: "r-1", "x": "y"}
        assert named.extract(headers) == {"tenant": "acme", "request_id": "r-1"}

    def test_only_the_headers_of_names_are_removed(self, named: Propagator) -> None:
        headers = {"Tenant-Id": "eve", "tenant": "kept", "user": "eve"}
        with Context().scope():
            assert named.inject(headers) == {"tenant": "kept"}

    def test_a_header_that_cannot_be_read_is_rejected_by_name(
        self, named: Propagator, rejected: list[Rejection]
    ) -> None:
        assert named.extract({"Tenant-Id": 5, "user": "ada"}) == {"user": "ada"}
        assert [(r.header, r.key, r.reason) for r in rejected] == [
            ("Tenant-Id", "tenant", "wrong-type")
        ]


class TestProperties:
    def test_properties_are_said_to_the_adapters(
        self, named: Propagator, prefixed: Propagator
    ) -> None:
        assert named.properties == {"property:correlation_id"}
        assert FlatFormat({"a": MESSAGE_ID}).properties == ("property:message_id",)
        assert prefixed.properties == frozenset()

    def test_properties_of_the_caller_are_not_touched_where_there_is_no_value(
        self, named: Propagator
    ) -> None:
        with scope(tenant="acme"):
            assert CORRELATION_ID not in named.inject({"kept": 1})

    def test_properties_hold_the_value_of_a_name_that_looks_like_a_header(self) -> None:
        propagator = Propagator(formats=[FlatFormat({"x-request-id": CORRELATION_ID})])
        with scope({"x-request-id": "r-1"}):
            assert propagator.inject() == {CORRELATION_ID: "r-1"}

    def test_properties_hold_255_bytes(self, named: Propagator) -> None:
        assert run({"request_id": "x" * 255}, named.inject)
        with (
            scope(request_id="\u00e9" * 43),
            pytest.raises(OversizeError, match=r"^request_id: an AMQP property .* 255 bytes"),
        ):
            named.inject()

    def test_a_value_that_is_too_long_can_be_dropped(self, rejected: list[Rejection]) -> None:
        propagator = Propagator(
            formats=[FlatFormat(IDS)], on_oversize="drop", on_rejected=rejected.append
        )
        with scope(request_id="x" * 256, tenant="acme"):
            assert propagator.inject() == {"Tenant-Id": "acme"}
        assert [(r.key, r.reason, r.during) for r in rejected] == [
            ("request_id", "too-large", "inject")
        ]


class TestDeclaredTypes:
    @pytest.mark.parametrize(
        ("declared", "text", "value"),
        [
            (int, "2", 2),
            (float, "2", 2.0),
            (bool, "true", True),
            (Decimal, "19.90", Decimal("19.90")),
            (UUID, "00000000-0000-0000-0000-000000000005", UUID(int=5)),
            (str, "5", "5"),
            (int | str, "5", "5"),
            (int | None, "json:null", None),
        ],
    )
    def test_declared_types_take_the_text_of_others(
        self, declared: Any, text: str, value: object, prefixed: Propagator
    ) -> None:
        Variable("a", declared)
        arrived = prefixed.extract({"mqctx-a": text})["a"]
        assert arrived == value
        assert type(arrived) is type(value)

    @pytest.mark.parametrize("text", ["x", "", "2.5", 'json:"2"', "json:true"])
    def test_declared_types_that_do_not_fit_are_rejected(
        self, text: str, prefixed: Propagator, rejected: list[Rejection]
    ) -> None:
        Variable("a", int)
        assert prefixed.extract({"mqctx-a": text, "mqctx-b": "1"}) == {"b": "1"}
        assert [(r.key, r.reason) for r in rejected] == [("a", "illegal-value")]


class TestBesideBaggage:
    def test_the_first_format_that_has_a_name_counts(self) -> None:
        headers = {"mqctx-user": "eve", "mqctx-tenant": "acme", "baggage": "user=ada"}
        propagator = Propagator(formats=[BaggageFormat(), FlatFormat()])
        assert propagator.extract(headers) == {"user": "ada", "tenant": "acme"}

    def test_the_limits_of_flat_and_baggage_both_hold(self, rejected: list[Rejection]) -> None:
        propagator = Propagator(
            formats=[BaggageFormat(), FlatFormat(IDS)],
            on_oversize="drop",
            on_rejected=rejected.append,
        )
        values = {f"key{number}": "x" * 30 for number in range(63)}
        with scope(values | {"request_id": "x" * 256, "user": "a" * 400, "tenant": "b" * 300}):
            sent = propagator.inject()
        assert [r.key for r in rejected] == ["user", "tenant", "request_id"]
        assert set(sent) == {"baggage"}


@pytest.mark.parametrize(
    "prefix",
    [
        *("", "x-", "X-App-", "x", "-", "a b", "\u00e9", "c", "C", "reply_", "root_i", "9"),
        *("fro", "compression", "group", "p" * 65),
    ],
)
def test_a_prefix_that_others_would_misread_is_refused(prefix: str) -> None:
    with pytest.raises(ConfigurationError, match="header|prefix"):
        FlatFormat(prefix=prefix)


@pytest.mark.parametrize(
    ("headers", "said"),
    [
        ({}, "headers: give each name"),
        ({"a": "h", "b": "h"}, "headers: give each name a header of its own"),
        ({"a b": "h"}, "headers: a b: a name starts with"),
        ({"a": "correlation_id"}, "header 'correlation_id'"),
        ({"a": "x-a"}, "header 'x-a'"),
        ({"a": "property:reply_to"}, "header 'property:reply_to'"),
        ("mqctx-", "headers: expected a mapping.*prefix="),
    ],
)
def test_headers_that_cannot_work_are_refused(headers: Any, said: str) -> None:
    with pytest.raises(ConfigurationError, match=said):
        FlatFormat(headers)


def test_headers_and_a_prefix_together_are_refused() -> None:
    with pytest.raises(ConfigurationError, match="headers and prefix: give one"):
        FlatFormat({"a": "h"}, prefix="mqctx-")


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (FlatFormat(), FlatFormat()),
        (FlatFormat({"a": "mqctx-a", "b": "b"}), FlatFormat()),
        (FlatFormat({"a": "a", "b": "b"}), FlatFormat({"a": "c", "c": "b"})),
        (FlatFormat(prefix="app-"), FlatFormat(prefix="app-a-")),
    ],
)
def test_formats_that_share_a_header_are_refused(one: FlatFormat, other: FlatFormat) -> None:
    for formats in ([one, other], [other, one]):
        with pytest.raises(ConfigurationError, match="two of them write the same header"):
            Propagator(formats=formats)


def test_shows_its_setting() -> None:
    assert repr(FlatFormat()) == "FlatFormat(prefix='mqctx-')"
    assert repr(FlatFormat({"a": "h"})) == "FlatFormat({'a': 'h'})"


class TestOwnHeaders:
    """Those that tell the history of a dead letter lie under the default prefix, and are none."""

    OWN: ClassVar = {"mqctx-failure": '{"type":"ValueError"}', "mqctx-redrive": '{"count":1}'}

    def test_are_not_read(self, prefixed: Propagator) -> None:
        assert prefixed.extract({**self.OWN, "mqctx-user": "ada"}) == {"user": "ada"}

    def test_take_no_room_of_the_context(self) -> None:
        both = Propagator(formats=[FlatFormat(), JsonFormat()], max_bytes=40)
        own = {"mqctx-failure": "x" * 2000}
        assert both.extract({**own, "mqctx-a": "1", "mqctx": '{"b":2}'}) == {"a": "1", "b": 2}

    def test_stay_as_they_are_when_a_message_is_published_on(self, prefixed: Propagator) -> None:
        with scope(failure="ours", user="ada"):
            assert prefixed.inject(self.OWN) == {**self.OWN, "mqctx-user": "ada"}
        assert prefixed.inject(self.OWN) == self.OWN

    def test_can_be_no_formats(self) -> None:
        for header in self.OWN:
            with pytest.raises(ConfigurationError, match="history of dead letters"):
                FlatFormat({"a": header})
            with pytest.raises(ConfigurationError, match="history of dead letters"):
                JsonFormat(header.upper())
