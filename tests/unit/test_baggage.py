"""W3C Baggage: what is read, what is written, what travels on."""

import datetime as dt
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import pytest

from mqctx import (
    Context,
    JsonFormat,
    OversizeError,
    Propagator,
    Rejection,
    Scope,
    Variable,
    current,
    run,
    scope,
)
from mqctx._core.values import UntypedText
from mqctx.formats.baggage import BaggageFormat


@pytest.fixture
def propagator(rejected: list[Rejection]) -> Propagator:
    return Propagator(formats=[BaggageFormat()], on_rejected=rejected.append)


def passed_on(propagator: Propagator, header: str, **changed: object) -> str | None:
    """Return what is published in a context that a message with this header brought."""
    context = propagator.extract({"baggage": header}) | changed
    return context.run(propagator.inject).get("baggage")


class TestW3C:
    """The examples of https://www.w3.org/TR/baggage/ and of its test suite."""

    @pytest.mark.parametrize(
        ("header", "values"),
        [
            (
                "key1=value1;property1;property2, key2 = value2, key3=value3; property=propValue",
                {"key1": "value1", "key2": "value2", "key3": "value3"},
            ),
            (
                "userId=alice,serverNode=DF%2028,isProduction=false",
                {"userId": "alice", "serverNode": "DF 28", "isProduction": "false"},
            ),
            (
                "userId=Am%C3%A9lie,serverNode=DF%2028,isProduction=false",
                {"userId": "Am\u00e9lie", "serverNode": "DF 28", "isProduction": "false"},
            ),
            ("userId =   alice", {"userId": "alice"}),
            (
                "serverNode = DF%2028, isProduction = false",
                {"serverNode": "DF 28", "isProduction": "false"},
            ),
            ("SomeKey=SomeValue=equals", {"SomeKey": "SomeValue=equals"}),
            (
                "K \t = \t SomeValue \t ; \t P \t , \t K2 \t = \t Value2 \t ; \t P \t = \t PropVal",
                {"K": "SomeValue", "K2": "Value2"},
            ),
            (
                "SomeKey=%09%20%22%27%3B%3Dasdf%21%40%23%24%25%5E%26%2A%28%29",
                {"SomeKey": "\t \"';=asdf!@#$%^&*()"},
            ),
        ],
    )
    def test_w3c_baggage_is_read(
        self, header: str, values: dict[str, str], propagator: Propagator, rejected: list[Any]
    ) -> None:
        received = dict(propagator.extract({"baggage": header}))
        received.pop("baggage.others", None)
        assert received == values
        assert rejected == []

    def test_properties_travel_on(self, propagator: Propagator) -> None:
        header = "key1=value1;property1;property2, key2 = value2, key3=value3; a=b"
        assert passed_on(propagator, header) == (
            "key1=value1;property1;property2,key2=value2,key3=value3; a=b"
        )

    def test_64_members_are_sent(self, propagator: Propagator) -> None:
        values = {f"key{number}": "value" for number in range(64)}
        assert len(run(values, propagator.inject)["baggage"].split(",")) == 64

    def test_8192_bytes_are_sent(self) -> None:
        propagator = Propagator(formats=[BaggageFormat()], max_bytes=10_000)
        sent = run({"a": "0123456789" * 819}, propagator.inject)["baggage"]
        assert len(sent) == 8192
        with scope(a="0123456789" * 819, b=""), pytest.raises(OversizeError, match="8192"):
            propagator.inject()


class TestWrite:
    @pytest.mark.parametrize(
        ("value", "member"),
        [
            ("r-1", "a=r-1"),
            ("", "a="),
            ("Zo\u00eb", "a=Zo%C3%AB"),
            ('a b\t"c",d;e\\f%', "a=a%20b%09%22c%22%2Cd%3Be%5Cf%25"),
            ("!#$&'()*-./:<=>?@[]^_`{|}~", "a=!#$&'()*-./:<=>?@[]^_`{|}~"),
            ("1+1", "a=1%2B1"),
            ("\x00\x7f\r\n", "a=%00%7F%0D%0A"),
            (2, "a=2;mqctx=json"),
            (0.5, "a=0.5;mqctx=json"),
            (True, "a=true;mqctx=json"),
            (None, "a=null;mqctx=json"),
            (["x", 1], "a=[%22x%22%2C1];mqctx=json"),
            ({"\u00e9": {}}, "a={%22%C3%A9%22:{}};mqctx=json"),
            ("2;mqctx=json", "a=%222%3Bmqctx=json%22;mqctx=json"),
        ],
    )
    def test_text_is_plain_and_other_types_are_json_with_a_property(
        self, value: Any, member: str, propagator: Propagator
    ) -> None:
        written = run({"a": value}, propagator.inject)
        assert written == {"baggage": member}
        arrived = propagator.extract(written)["a"]
        assert arrived == value
        assert type(arrived) is type(value)

    def test_members_are_in_the_order_of_the_context(self, propagator: Propagator) -> None:
        with scope(user="ada", attempt=2):
            assert propagator.inject() == {"baggage": "user=ada,attempt=2;mqctx=json"}

    def test_the_empty_context_writes_nothing_and_removes_what_is_stale(
        self, propagator: Propagator
    ) -> None:
        headers = {"baggage": "user=eve", "kept": 1}
        assert propagator.inject() == {}
        with Scope(Context(), exact=True, headers=headers):
            assert propagator.inject(headers) == {"kept": 1}

    def test_a_declared_type_is_text_for_others(self, propagator: Propagator) -> None:
        order = Variable("order", UUID)
        with order.scope(UUID(int=5)):
            written = propagator.inject()
        assert written == {"baggage": "order=00000000-0000-0000-0000-000000000005"}
        assert propagator.extract(written) == {"order": UUID(int=5)}


class TestRead:
    @pytest.mark.parametrize(
        ("header", "value"),
        [
            ("a=%FF%C3%A9%C3", "\ufffd\u00e9\ufffd"),
            ("a=%ED%A0%80", "\ufffd\ufffd\ufffd"),
            ("a=100%", "100%"),
            ("a=%zz", "%zz"),
            ("a=1+1", "1+1"),
            ("a==", "="),
            ("a=1,a=2", "2"),
            (",, a=1 ,\t,", "1"),
            (b"a=1", "1"),
            (bytearray(b"a=1"), "1"),
            ("a=5", "5"),
            ("a=5;mqctx=json", 5),
            ("a=5 ; mqctx = json", 5),
            ("a=%225%22;mqctx=json", "5"),
        ],
    )
    def test_a_member_gives_its_value(
        self, header: Any, value: object, propagator: Propagator, rejected: list[Any]
    ) -> None:
        assert propagator.extract({"baggage": header}) == {"a": value}
        assert type(propagator.extract({"baggage": header})["a"]) is type(value)
        assert rejected == []

    @pytest.mark.parametrize("header", ["", " ", ",", ", ,\t"])
    def test_a_header_without_members_is_the_empty_context(
        self, header: str, propagator: Propagator, rejected: list[Any]
    ) -> None:
        assert propagator.extract({"baggage": header}) == {}
        assert rejected == []

    def test_values_are_text_whose_type_nobody_wrote(self) -> None:
        values = BaggageFormat().decode({"baggage": "a=5,b=5;mqctx=json"}, 4096, print)
        assert [type(value) for value in values.values()] == [UntypedText, int]

    @pytest.mark.parametrize(
        ("member", "key"),
        [
            *(("a", "a"), ("=1", ""), ("a b=1", "a b"), ("a=1 2", "a"), ('a="1"', "a")),
            *(("a=1;", "a"), ("a=1;;b", "a"), ("a=1;b c", "a"), ("a=1;b=c d", "a"), ("a=\\", "a")),
            *(("a(=1", "a("), ("\u00e9=1", "\\xe9"), ("a=\u00e9", "a"), ("a\x00=1", "a\\x00")),
            *(("a=b;mqctx=json", "a"), ("a=%22;mqctx=json", "a"), ("a=;mqctx=json", "a")),
            *(("a=NaN;mqctx=json", "a"), ("a=%FF;mqctx=json", "a")),
            ("a=" + "[" * 2000 + ";mqctx=json", "a"),
        ],
    )
    def test_what_is_no_member_is_rejected_and_the_rest_restored(
        self, member: str, key: str, propagator: Propagator, rejected: list[Rejection]
    ) -> None:
        assert propagator.extract({"baggage": f"x=1,{member},y=2"}) == {"x": "1", "y": "2"}
        assert [(r.header, r.key, r.reason) for r in rejected] == [("baggage", key, "malformed")]
        assert str(rejected[0]).isprintable()

    def test_bytes_that_are_not_utf_8_spoil_only_their_member(
        self, propagator: Propagator, rejected: list[Rejection]
    ) -> None:
        assert propagator.extract({"baggage": b"x=1,a=\xff,y=2"}) == {"x": "1", "y": "2"}
        assert [r.key for r in rejected] == ["a"]

    def test_what_does_not_fit_its_variable_is_rejected_by_key(
        self, propagator: Propagator, rejected: list[Rejection]
    ) -> None:
        Variable("order", UUID)
        assert propagator.extract({"baggage": "order=5,user=ada"}) == {"user": "ada"}
        assert [(r.key, r.reason) for r in rejected] == [("order", "illegal-value")]

    @pytest.mark.parametrize("raw", [5, None, ["a=1"], {"a": "1"}, "a=" + "x" * 5000])
    def test_a_header_that_is_no_text_or_too_large_is_rejected(
        self, raw: object, propagator: Propagator, rejected: list[Rejection]
    ) -> None:
        assert propagator.extract({"baggage": raw}) == {}
        assert len(rejected) == 1

    def test_of_more_than_64_members_the_first_64_are_read(
        self, propagator: Propagator, rejected: list[Rejection]
    ) -> None:
        header = ",".join(f"key{number}=value" for number in range(70))
        received = propagator.extract({"baggage": header})
        assert list(received) == [f"key{number}" for number in range(64)]
        assert [(r.key, r.reason, r.detail) for r in rejected] == [
            (None, "too-large", "70 members, of which 64 are read")
        ]
        assert len(received.run(propagator.inject)["baggage"].split(",")) == 64


@dataclass
class Half:
    """A type whose own code raises what is no ValueError."""

    of: int

    def __post_init__(self) -> None:
        _ = 1 / self.of


class TestOthers:
    """Members of other vendors that a context cannot hold."""

    def test_keys_that_are_no_names_travel_on_as_they_came(self, propagator: Propagator) -> None:
        long = "k" * 65
        header = f"1a! = b;p , user=ada,{long}=1, 1a!=c,x%20y=%FF"
        assert passed_on(propagator, header) == f"user=ada,1a! = b;p,{long}=1,1a!=c,x%20y=%FF"

    def test_members_of_others_are_one_value_in_the_context_only_where_there_are_any(
        self, propagator: Propagator
    ) -> None:
        assert propagator.extract({"baggage": "user=ada;p=1,1=2"}) == {
            "user": "ada",
            "baggage.others": "user=ada;p=1,1=2",
        }
        assert "baggage.others" not in propagator.extract({"baggage": "user=ada"})

    @pytest.mark.parametrize(
        ("changed", "written"),
        [
            ({}, "user=Am%c3%a9lie ;p= 1"),
            ({"user": "eve"}, "user=eve"),
            ({"user": 5}, "user=5;mqctx=json"),
        ],
    )
    def test_properties_travel_on_while_the_value_is_what_it_was(
        self, changed: dict[str, object], written: str, propagator: Propagator
    ) -> None:
        assert passed_on(propagator, "user=Am%c3%a9lie ;p= 1", **changed) == written

    def test_a_value_that_changed_its_type_has_changed(self, propagator: Propagator) -> None:
        header = "a=1;p;mqctx=json,b=1;p"
        assert passed_on(propagator, header) == header
        assert passed_on(propagator, header, a=True, b=1) == "a=true;mqctx=json,b=1;mqctx=json"

    def test_a_value_that_was_removed_is_not_written(self, propagator: Propagator) -> None:
        received = propagator.extract({"baggage": "user=ada;p,1=2"})
        without = Context({name: v for name, v in received.items() if name != "user"})
        assert without.run(propagator.inject) == {"baggage": "1=2"}

    def test_of_repeated_keys_the_one_that_counts_keeps_its_properties(
        self, propagator: Propagator
    ) -> None:
        assert passed_on(propagator, "a=1;p,a=2;q") == "a=2;q"

    @pytest.mark.parametrize(
        ("declared", "member"),
        [
            (UUID, "v=0000000A-0000-0000-0000-00000000000B;p"),
            (dt.datetime, "v=2026-11-22T09:30:00.000Z;p"),
            (float, "v=2.50;p"),
            (int, "v=2;p"),
            (bool, "v=1;p"),
        ],
    )
    def test_a_declared_type_may_be_spelled_otherwise(
        self, declared: Any, member: str, propagator: Propagator
    ) -> None:
        Variable("v", declared)
        assert passed_on(propagator, member) == member

    def test_a_declared_type_whose_code_refuses_what_was_brought_is_written_anew(
        self, propagator: Propagator
    ) -> None:
        Variable("half", Half)
        values = {"half": Half(2), "baggage.others": "half={%22of%22:0};p;mqctx=json"}
        assert run(values, propagator.inject) == {"baggage": "half={%22of%22:2};mqctx=json"}

    @pytest.mark.parametrize("others", [5, "", "a b=1", "user=eve;p", ["1=2"], "\r\nx=1"])
    def test_what_is_no_member_is_not_written(self, others: Any, propagator: Propagator) -> None:
        values = {"user": "ada", "baggage.others": others}
        assert run(values, propagator.inject) == {"baggage": "user=ada"}

    def test_no_other_format_writes_members_of_others(self) -> None:
        propagator = Propagator(formats=[JsonFormat(), BaggageFormat()])
        sent = propagator.extract({"baggage": "user=ada,1=2"}).run(propagator.inject)
        assert sent == {"mqctx": '{"user":"ada"}', "baggage": "user=ada,1=2"}

    def test_a_member_that_bears_the_name_of_others_is_one_of_them(
        self, propagator: Propagator
    ) -> None:
        header = "baggage.others=user%3Deve%3Bp,user=ada"
        received = propagator.extract({"baggage": header})
        assert received["baggage.others"] == "baggage.others=user%3Deve%3Bp"
        assert passed_on(propagator, header) == "user=ada,baggage.others=user%3Deve%3Bp"

    def test_members_of_others_are_accepted_and_sent_only_where_the_lists_say_so(self) -> None:
        for setting in ("accept", "send"):
            for allowed, written in ((["user"], "user=ada"), (["user", "baggage"], "user=ada,1=2")):
                rules: dict[str, Any] = {setting: allowed}
                propagator = Propagator(
                    formats=[BaggageFormat()], on_rejected=lambda _: None, **rules
                )
                assert passed_on(propagator, "user=ada,1=2") == written


class TestLimits:
    def test_more_than_64_members_are_an_error_that_says_what_to_do(
        self, propagator: Propagator
    ) -> None:
        with (
            scope({f"key{number}": "x" for number in range(65)}),
            pytest.raises(OversizeError, match=r"65 members of W3C Baggage.* 64 .*local=True"),
        ):
            propagator.inject()

    def test_over_64_members_the_largest_values_can_be_dropped_each_reported(
        self, rejected: list[Rejection]
    ) -> None:
        propagator = Propagator(
            formats=[BaggageFormat()], on_oversize="drop", on_rejected=rejected.append
        )
        values = {f"key{number}": "x" * (1 + number % 2) for number in range(10, 76)}
        received = propagator.extract(run(values, propagator.inject))
        assert len(received) == 64
        assert received.items() <= values.items()
        assert [(r.key, r.reason, r.during) for r in rejected] == [
            ("key11", "too-large", "inject"),
            ("key13", "too-large", "inject"),
        ]

    def test_a_value_outlives_properties_of_others_that_are_too_long(
        self, rejected: list[Rejection]
    ) -> None:
        propagator = Propagator(
            formats=[BaggageFormat()], max_bytes=130_000, on_rejected=rejected.append
        )
        brought = propagator.extract({"baggage": "user=ada" + ";p" * 5_000})
        assert brought.run(propagator.inject) == {"baggage": "user=ada"}
        assert [(r.key, r.reason) for r in rejected] == [("baggage.others", "too-large")]

    def test_members_of_others_count_and_are_dropped_whole(self, rejected: list[Rejection]) -> None:
        propagator = Propagator(
            formats=[BaggageFormat()], on_oversize="drop", on_rejected=rejected.append
        )
        others = ",".join(f"{number}=x" for number in range(60))
        values = {"baggage.others": others} | {f"key{number}": "x" for number in range(5)}
        sent = run(values, propagator.inject)
        assert sent == {"baggage": "key0=x,key1=x,key2=x,key3=x,key4=x"}
        assert [r.key for r in rejected] == ["baggage.others"]

    def test_over_8192_bytes_the_largest_value_is_dropped(self, rejected: list[Rejection]) -> None:
        propagator = Propagator(
            formats=[BaggageFormat()],
            max_bytes=20_000,
            on_oversize="drop",
            on_rejected=rejected.append,
        )
        with scope(a="x" * 5000, b="x" * 5001, c="x"):
            assert set(propagator.extract(propagator.inject())) == {"a", "c"}
        assert [r.key for r in rejected] == ["b"]

    def test_max_bytes_of_the_propagator_holds_too(self, propagator: Propagator) -> None:
        with scope(a="x" * 4096), pytest.raises(OversizeError, match="max_bytes is 3584"):
            propagator.inject()

    def test_a_format_whose_limit_names_no_value_is_an_error_in_any_case(self) -> None:
        class Full(BaggageFormat):
            def encode(self, values: object) -> Any:
                raise OversizeError("full", ["unknown"])

        propagator = Propagator(formats=[Full()], on_oversize="drop")
        with scope(a="x"), pytest.raises(OversizeError, match="full"):
            propagator.inject()


class TestThroughOpenTelemetry:
    """OpenTelemetry for Python takes properties for a part of the value, and sends that on."""

    @pytest.mark.parametrize("value", [2, None, ["a"], "x;mqctx=json"])
    def test_types_survive_opentelemetry(self, value: object, propagator: Propagator) -> None:
        member = run({"a": value}, propagator.inject)["baggage"]
        text = member.removeprefix("a=").replace(";", "%3B")
        assert propagator.extract({"baggage": f"a={text}"}) == {"a": value}


def test_what_was_restored_is_there_for_logs(propagator: Propagator) -> None:
    received = propagator.extract({"baggage": "user=ada"})
    assert received.run(lambda: dict(current())) == {"user": "ada"}


def test_shows_what_it_is() -> None:
    assert repr(BaggageFormat()) == "BaggageFormat()"


SENTRY = "sentry-environment=production"


def restored_from(propagator: Propagator, headers: dict[str, str]) -> Scope:
    return Scope(propagator.extract(headers), exact=True, headers=headers)


class TestBesideOthers:
    def test_members_that_a_message_is_given_stay_beside_ours(self) -> None:
        propagator = Propagator(formats=[JsonFormat(), BaggageFormat()])
        given = {"baggage": f"{SENTRY}, user = eve;p ,{SENTRY}x", "kept": 1}
        with scope(user="ada"):
            sent = propagator.inject(given)
        assert sent["baggage"] == f"user=ada,{SENTRY},{SENTRY}x"
        assert str(given["baggage"]).startswith(SENTRY)

    def test_members_of_others_stay_where_there_are_none_of_ours(
        self, propagator: Propagator
    ) -> None:
        with Context().scope():
            assert propagator.inject({"baggage": SENTRY}) == {"baggage": SENTRY}
            assert propagator.inject({"baggage": SENTRY.encode()}) == {"baggage": SENTRY}

    @pytest.mark.parametrize("raw", [5, None, ["a=1"], " , "])
    def test_a_header_without_members_is_replaced(
        self, raw: object, propagator: Propagator
    ) -> None:
        with scope(user="ada"):
            assert propagator.inject({"baggage": raw}) == {"baggage": "user=ada"}
        with Context().scope():
            assert not propagator.inject({"baggage": raw})

    @pytest.mark.parametrize("copied", [False, True], ids=["the very headers", "equal text"])
    def test_members_of_the_message_that_is_handled_are_old(
        self, copied: bool, propagator: Propagator
    ) -> None:
        headers = {"baggage": "tenant=acme,user=eve"}
        with Scope(Context(user="ada"), exact=True, headers=headers), scope(attempt="2"):
            sent = propagator.inject({**headers, "kept": 1} if copied else headers)
        assert sent["baggage"] == "user=ada,attempt=2"

    @pytest.mark.parametrize(
        "call",
        [
            lambda context, function: context.run(function),
            lambda context, function: context.wrap(function)(),
            lambda context, function: context.scope()(function)(),
        ],
        ids=["run", "wrap", "scope"],
    )
    def test_members_of_the_message_are_old_in_a_run_of_another_context_too(
        self, call: Callable[..., dict[str, Any]], propagator: Propagator
    ) -> None:
        headers = {"baggage": "tenant=acme,user=eve"}
        with Scope(Context(user="eve"), exact=True, headers=headers):
            sent = call(Context(user="ada"), lambda: propagator.inject(headers))
            with Context(user="ada").scope():
                assert propagator.inject(headers) == sent
        assert sent["baggage"] == "user=ada"

    def test_any_other_header_stays_while_a_message_is_handled(
        self, propagator: Propagator
    ) -> None:
        with Scope(Context(user="ada"), exact=True, headers={"baggage": "tenant=acme"}):
            assert propagator.inject({"baggage": SENTRY})["baggage"] == f"user=ada,{SENTRY}"

    def test_a_newer_member_replaces_what_the_message_brought_unless_this_process_has_the_name(
        self, propagator: Propagator
    ) -> None:
        """As Sentry's do, which begins a trace of its own in the handler."""
        Variable("user", str)
        brought = {"baggage": "vendor-trace=1,vendor-env=test,n~1=1,x=1;p=1,user=ada,tenant=acme"}
        given = {"baggage": "vendor-trace=2,n~1=2,x=2;p=2,user=eve,tenant=evil"}
        with restored_from(propagator, brought), scope(tenant="abc"):
            sent = propagator.inject(given)["baggage"].split(",")
        assert sorted(sent) == [
            *("n~1=2", "tenant=abc", "user=ada", "vendor-env=test", "vendor-trace=2", "x=2;p=2")
        ]

    @pytest.mark.parametrize("ours", [{"user": "ada"}, {}])
    def test_members_of_others_may_fill_the_header_to_its_last_byte(
        self, ours: dict[str, str], propagator: Propagator, rejected: list[Rejection]
    ) -> None:
        room = 8192 - len("user=ada,") * len(ours) - len("m=")
        with scope(ours):
            sent = propagator.inject({"baggage": "m=" + "x" * room})["baggage"]
            assert len(sent) == 8192
            assert rejected == []
            propagator.inject({"baggage": "m=" + "x" * (room + 1)})
        assert [each.reason for each in rejected] == ["too-large"]

    @pytest.mark.parametrize("others", [[f"m{n}=1" for n in range(70)], ["m=" + "x" * 8180, "n=1"]])
    def test_as_many_members_of_others_stay_as_there_is_room_for(
        self, others: list[str], propagator: Propagator, rejected: list[Rejection]
    ) -> None:
        with scope(user="ada"):
            sent = propagator.inject({"baggage": ",".join(others)})["baggage"]
        assert sent.startswith("user=ada")
        assert len(sent) <= 8192
        assert sent.count(",") <= 63
        assert [(each.during, each.reason) for each in rejected] == [("inject", "too-large")]
