"""Signed headers: what counts, what does not, and that no secret shows."""

import base64
import copy
import hashlib
import hmac
import itertools
import pickle
import random
import string
import threading
from collections.abc import Callable
from typing import Any

import pytest

from mqctx import (
    ConfigurationError,
    Context,
    JsonFormat,
    MqctxError,
    OversizeError,
    Propagator,
    Rejection,
    run,
    scope,
)
from mqctx.formats import Format, header_size
from mqctx.formats.baggage import BaggageFormat
from mqctx.formats.flat import CORRELATION_ID, FlatFormat
from mqctx.formats.signed import SignedFormat
from mqctx.formats.trace_context import TraceContextFormat

NOW = 1_763_800_000
DAY = 24 * 60 * 60
SECRET = "correct horse battery staple"  # noqa: S105 - of the tests only
A_SECRET, B_SECRET = "0123456789abcdef", "fedcba9876543210"
OLD_SECRET = b"\x00an old secret of some bytes\xff"
KEYS: dict[str, str | bytes] = {"2026-11": SECRET, "2026-10": OLD_SECRET}


class Clock:
    now = float(NOW)

    def __call__(self) -> float:
        return self.now


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr("mqctx.formats.signed.time.time", clock)
    return clock


@pytest.fixture
def signing(rejected: list[Rejection]) -> Callable[..., Propagator]:
    """Give a function that makes a propagator of one signed format."""

    def make(inner: Format | None = None, **settings: Any) -> Propagator:
        layout = SignedFormat(inner or JsonFormat(), **{"keys": KEYS, **settings})
        return Propagator(formats=[layout], on_rejected=rejected.append)

    return make


Signing = Callable[..., Propagator]


def signature(secret: bytes, header: str, message: str) -> str:
    """Sign as docs/wire-format.md says, without the library that signs."""
    key = hmac.digest(secret, f"mqctx {header}".encode(), hashlib.sha256)
    signed = hmac.digest(key, message.encode(), hashlib.sha256)
    return base64.urlsafe_b64encode(signed).rstrip(b"=").decode()


class TestCounts:
    def test_what_was_signed_arrives(self, signing: Signing, rejected: list[Rejection]) -> None:
        for inner in (JsonFormat(), JsonFormat("app"), BaggageFormat()):
            propagator = signing(inner)
            with scope(user="Zo\u00eb", attempt=2):
                written = propagator.inject({inner.headers[0]: "stale", "kept": 1})
            assert set(written) == {*inner.headers, "kept"}
            assert propagator.extract(written) == {"user": "Zo\u00eb", "attempt": 2}
        assert rejected == []

    def test_the_header_is_key_time_signature_and_text(self, signing: Signing) -> None:
        with scope(user="ada"):
            written = signing().inject()
        signed = signature(SECRET.encode(), "mqctx", f'2026-11.{NOW}:{{"user":"ada"}}')
        assert written == {"mqctx": f'2026-11.{NOW}.{signed}:{{"user":"ada"}}'}

    def test_bytes_from_a_stream_count(self, signing: Signing) -> None:
        with scope(user="ada"):
            written = signing().inject()["mqctx"]
        assert signing().extract({"mqctx": written.encode()}) == {"user": "ada"}

    def test_the_empty_context_writes_nothing(self, signing: Signing) -> None:
        with Context().scope():
            assert signing().inject({"mqctx": "stale"}) == {}

    def test_members_of_others_travel_on_signed(self, signing: Signing) -> None:
        propagator = signing(BaggageFormat())
        with scope({"baggage.others": "1a!=b"}):
            assert propagator.extract(propagator.inject()) == {"baggage.others": "1a!=b"}

    def test_max_bytes_counts_the_signature_too(self) -> None:
        layout = SignedFormat(JsonFormat(), KEYS)
        with scope(user="ada"):
            size = sum(header_size(*each) for each in Propagator(formats=[layout]).inject().items())
            assert Propagator(formats=[layout], max_bytes=size).inject()
            with pytest.raises(OversizeError):
                Propagator(formats=[layout], max_bytes=size - 1).inject()

    def test_beside_an_unsigned_header_the_signed_value_counts(self) -> None:
        signed = SignedFormat(JsonFormat("mqctx-signed"), KEYS)
        propagator = Propagator(formats=[signed, JsonFormat()])
        with scope(user="ada"):
            headers = propagator.inject()
        assert set(headers) == {"mqctx-signed", "mqctx"}
        headers["mqctx"] = '{"user":"eve","tenant":"acme"}'
        assert propagator.extract(headers) == {"user": "ada", "tenant": "acme"}


class TestDoesNotCount:
    @pytest.mark.parametrize(
        "text",
        [
            *('{"user":"eve"}', '{"v":"1.2.3:4"}', "", "a.1:{}", "a.b.c:{}", "a.1.:", "..:{}"),
            *("a b.1.x:{}", "a.1x.x:{}", "a.1\u0661.x:{}", "a.1.x", "a" * 65 + ".1.x:{}"),
        ],
    )
    def test_what_is_not_signed_does_not_count(
        self, text: str, signing: Signing, rejected: list[Rejection]
    ) -> None:
        assert signing().extract({"mqctx": text}) == {}
        expected = "unknown-key" if text == "a.1.:" else "unsigned"
        assert [(r.header, r.key, r.reason) for r in rejected] == [("mqctx", None, expected)]
        assert expected != "unsigned" or "it does not begin with a signature" in str(rejected[0])

    def test_what_was_signed_with_a_key_that_is_not_known_here_does_not_count(
        self, signing: Signing, rejected: list[Rejection]
    ) -> None:
        with scope(user="eve"):
            written = signing(keys={"other": A_SECRET}).inject()
        assert signing().extract(written) == {}
        assert [r.reason for r in rejected] == ["unknown-key"]
        assert "'other'" in rejected[0].detail

    def test_what_was_signed_with_another_secret_of_the_same_name_does_not_count(
        self, signing: Signing, rejected: list[Rejection]
    ) -> None:
        with scope(user="eve"):
            written = signing(keys={"2026-11": A_SECRET}).inject()
        assert signing().extract(written) == {}
        assert [r.reason for r in rejected] == ["forged"]

    def test_what_was_signed_for_another_header_does_not_count(
        self, signing: Signing, rejected: list[Rejection]
    ) -> None:
        with scope(user="ada"):
            written = signing(JsonFormat("other")).inject()
        assert signing().extract({"mqctx": written["other"]}) == {}
        assert [r.reason for r in rejected] == ["forged"]

    @pytest.mark.parametrize(
        ("part", "by"),
        [
            ("ada", "eve"),
            (f".{NOW}.", f".{NOW + 1}."),
            (f".{NOW}.", f".0{NOW}."),
            ("2026-11", "2026-10"),
        ],
    )
    def test_what_was_changed_does_not_count(
        self, part: str, by: str, signing: Signing, rejected: list[Rejection]
    ) -> None:
        with scope(user="ada"):
            written = signing().inject()["mqctx"]
        assert signing().extract({"mqctx": written.replace(part, by)}) == {}
        assert [r.reason for r in rejected] == ["forged"]
        assert rejected[0].detail.endswith(" is not that of this header")

    def test_another_spelling_of_the_same_signature_does_not_count(
        self, signing: Signing, rejected: list[Rejection]
    ) -> None:
        """In base64 the last character of 32 bytes has two bits that say nothing."""
        with scope(user="ada"):
            written = signing().inject()["mqctx"]
        start, end = written.split(":", 1)
        for last in string.ascii_letters + string.digits + "-_=+/ \n":
            changed = f"{start[:-1]}{last}:{end}"
            assert (signing().extract({"mqctx": changed}) != {}) == (changed == written)
        for padded in (f"{start}=", f"{start}A", f"{start[:-1]}", f" {start}", f"{start}\n"):
            assert signing().extract({"mqctx": f"{padded}:{end}"}) == {}

    def test_a_lone_surrogate_in_place_of_what_it_would_be_encoded_to_does_not_count(
        self, signing: Signing, rejected: list[Rejection]
    ) -> None:
        with scope(user="?"):
            written = signing().inject()["mqctx"]
        for other in ("\ud800", "\udcff", "\ufffd", "\u00e9"):
            assert signing().extract({"mqctx": written.replace("?", other)}) == {}
        assert {r.reason for r in rejected} == {"forged"}

    def test_a_header_over_max_bytes_is_not_even_verified(
        self, signing: Signing, rejected: list[Rejection]
    ) -> None:
        assert signing().extract({"mqctx": f"2026-11.{NOW}.{'A' * 43}:" + "x" * 5000}) == {}
        assert [r.reason for r in rejected] == ["too-large"]

    def test_a_signed_text_that_is_malformed_is_rejected_as_malformed(
        self, signing: Signing, rejected: list[Rejection]
    ) -> None:
        signed = signature(SECRET.encode(), "mqctx", f"2026-11.{NOW}:nonsense")
        assert signing().extract({"mqctx": f"2026-11.{NOW}.{signed}:nonsense"}) == {}
        assert [r.reason for r in rejected] == ["malformed"]


class TestAge:
    @pytest.mark.parametrize(
        ("max_age", "age", "counts"),
        [
            *((60, 60, True), (60, 61, False), (0.5, 0, True), (0.5, 1, False)),
            *((None, 10_000 * DAY, True), (60, -300, True), (60, -301, False)),
            (None, -301, False),
        ],
    )
    def test_a_signature_counts_for_max_age_and_not_from_the_future(
        self,
        max_age: float | None,
        age: int,
        counts: bool,
        clock: Clock,
        signing: Signing,
        rejected: list[Rejection],
    ) -> None:
        with scope(user="ada"):
            written = signing().inject()
        clock.now = NOW + age
        assert (signing(max_age=max_age).extract(written) != {}) == counts
        assert [r.reason for r in rejected] == ([] if counts else ["expired"])
        if rejected:
            assert f"signed {abs(age)} s a" in rejected[0].detail

    def test_max_age_is_30_days_by_default(self, clock: Clock, signing: Signing) -> None:
        with scope(user="ada"):
            written = signing().inject()
        clock.now += 30 * DAY
        assert signing().extract(written) == {"user": "ada"}
        clock.now += 1
        assert signing().extract(written) == {}

    def test_a_context_that_lives_long_is_signed_anew(self, clock: Clock, signing: Signing) -> None:
        propagator = signing(max_age=60)
        with scope(user="ada"):
            first = propagator.inject()
            clock.now += 0.9
            assert propagator.inject() == first
            clock.now += 1000
            last = propagator.inject()
        assert propagator.extract(first) == {}
        assert propagator.extract(last) == {"user": "ada"}

    def test_threads_may_publish_from_one_context(self, clock: Clock, signing: Signing) -> None:
        propagator, context = signing(), Context(user="ada")
        written: list[dict[str, Any]] = []

        def publish() -> None:
            for _ in range(200):
                clock.now += 0.3
                written.append(context.run(propagator.inject))

        threads = [threading.Thread(target=publish) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(written) == 800
        assert all(propagator.extract(headers) == {"user": "ada"} for headers in written)


class TestKeys:
    def test_the_first_key_signs_and_all_verify(self, signing: Signing) -> None:
        with scope(user="ada"):
            new, old = signing().inject(), signing(sign_with="2026-10").inject()
        assert new["mqctx"].startswith("2026-11.")
        assert old["mqctx"].startswith("2026-10.")
        for written in (new, old):
            assert signing().extract(written) == {"user": "ada"}

    def test_keys_can_be_changed_with_no_message_lost(self, signing: Signing) -> None:
        old: dict[str, str] = {"a": A_SECRET}
        both = old | {"b": B_SECRET}
        steps: list[dict[str, Any]] = [
            {"keys": old},
            {"keys": both, "sign_with": "a"},
            {"keys": both, "sign_with": "b"},
            {"keys": {"b": B_SECRET}},
        ]
        for before, after in itertools.pairwise(steps):
            for sender, receiver in ((before, after), (after, before)):
                with scope(user="ada"):
                    written = signing(**sender).inject()
                assert signing(**receiver).extract(written) == {"user": "ada"}

    @pytest.mark.parametrize("edge", [b" ", b"\0\n", b"\t"])
    def test_random_bytes_may_look_like_padding_at_their_ends(self, edge: bytes) -> None:
        secret = (edge + bytes(range(65, 95)))[:15] + b"\r"
        assert repr(SignedFormat(JsonFormat(), {"k": secret}))

    @pytest.mark.parametrize(
        ("keys", "said"),
        [
            ({}, "keys: give a mapping"),
            (SECRET, "keys: give a mapping"),
            ([SECRET], "keys: give a mapping"),
            ({"a": ""}, "keys: the secret of 'a' has less than 16 bytes.*token_hex"),
            ({"a": b"x" * 15}, "keys: the secret of 'a' has less than 16 bytes"),
            ({"a": " " * 16}, "keys: the secret of 'a' has less than 12 bytes between white"),
            ({"a": b"\0" * 32}, "keys: the secret of 'a' has less than 12 bytes between white"),
            ({"a": "x" * 15 + "y"}, "keys: the secret of 'a' has less than 6 different bytes"),
            ({"a": "changeme" * 3}, "keys: the secret of 'a' repeats less than 16 bytes"),
            ({"a": "changeme" * 3 + "chan"}, "keys: the secret of 'a' repeats less than 16 bytes"),
            ({"a": 10**20}, "keys: the secret of 'a' is a int"),
            ({"a": [SECRET]}, "keys: the secret of 'a' is a list"),
            ({"a": SECRET, SECRET: "a"}, "keys: the name of key 2"),
            ({"a.b": SECRET}, "keys: the name of key 1"),
            ({5: SECRET}, "keys: the name of key 1"),
            ({"": SECRET}, "keys: the name of key 1"),
            ({"k" * 65: SECRET}, "keys: the name of key 1"),
        ],
    )
    def test_keys_that_cannot_work_are_refused(self, keys: Any, said: str) -> None:
        with pytest.raises(ConfigurationError, match=said) as refused:
            SignedFormat(JsonFormat(), keys)
        assert not shows_secret(refused.value)

    def test_a_secret_may_be_any_text(self, signing: Signing) -> None:
        propagator = signing(keys={"a": "\udcff any \u00e9 text at all"})
        with scope(user="ada"):
            assert propagator.extract(propagator.inject()) == {"user": "ada"}

    @pytest.mark.parametrize(
        ("settings", "said"),
        [
            ({"sign_with": SECRET}, "sign_with: not one of the keys, 2026-11, 2026-10"),
            ({"sign_with": ""}, "sign_with: not one of the keys"),
            ({"max_age": 0}, "max_age: 0 is not a number"),
            ({"max_age": float("nan")}, "max_age: nan"),
        ],
    )
    def test_other_settings_that_cannot_work_are_refused(
        self, settings: dict[str, Any], said: str
    ) -> None:
        with pytest.raises(ConfigurationError, match=said) as refused:
            SignedFormat(JsonFormat(), KEYS, **settings)
        assert not shows_secret(refused.value)

    @pytest.mark.parametrize(
        "inner",
        [
            *(FlatFormat(), FlatFormat({"a": "a"}), FlatFormat({"name": CORRELATION_ID})),
            *(TraceContextFormat(), SignedFormat(JsonFormat(), KEYS)),
        ],
        ids=repr,
    )
    def test_a_format_of_several_headers_is_refused(self, inner: Format) -> None:
        said = "one header for all values, as JsonFormat and BaggageFormat do; .* with others$"
        with pytest.raises(ConfigurationError, match=said):
            SignedFormat(inner, KEYS)


def shows_secret(shown: object) -> bool:
    """Whether text shows a secret, in any way that it may be written."""
    text = f"{shown} {shown!r} {getattr(shown, '__dict__', '')}"
    raw = OLD_SECRET.decode("latin-1")
    written = (SECRET, "staple", raw, repr(OLD_SECRET), OLD_SECRET.hex(), "an old secret")
    return any(secret in text for secret in written)


class TestSecrets:
    def test_secrets_show_nowhere(
        self, signing: Signing, rejected: list[Rejection], caplog: pytest.LogCaptureFixture
    ) -> None:
        propagator = signing()
        with scope(user="ada") as active:
            written = propagator.inject()
            shown: list[object] = [propagator, propagator.formats[0], active, written]
            shown += [active.encoded, vars(type(propagator.formats[0]))]
        for text in ("x", written["mqctx"] + "x", "a.1.x:{}", f"2026-10.{NOW}.{'A' * 43}:"):
            propagator.extract({"mqctx": text})
        loud = Propagator(formats=propagator.formats)
        loud.extract({"mqctx": written["mqctx"] + "x"})
        shown += [*rejected, caplog.text, propagator.rejections]
        assert len(rejected) == 4
        assert not any(shows_secret(each) for each in shown)
        assert shows_secret(SECRET), "the test itself works"

    @pytest.mark.parametrize("leak", [pickle.dumps, copy.copy, copy.deepcopy])
    def test_secrets_are_not_pickled_nor_copied(self, leak: Callable[[object], object]) -> None:
        with pytest.raises(
            MqctxError, match="^a SignedFormat holds .* in each process$"
        ) as refused:
            leak(SignedFormat(JsonFormat(), KEYS))
        assert not shows_secret(refused.value)

    def test_secrets_do_not_leave_with_a_context_for_another_process(
        self, signing: Signing
    ) -> None:
        with scope(user="ada") as active:
            signing().inject()
            pickled = pickle.dumps(active.wrap(print))
        assert not shows_secret(pickled.decode("latin-1"))

    def test_the_repr_shows_the_names_of_the_keys(self) -> None:
        assert repr(SignedFormat(JsonFormat(), KEYS, max_age=60)) == (
            "SignedFormat(JsonFormat(header='mqctx'), keys=['2026-11', '2026-10'], max_age=60)"
        )


ALPHABET = string.ascii_letters + string.digits + '-_.:{}"=' + "\u00e9\x00"


class Forger:
    """Changes a signed header, in one of the ways that a forger would try; never to itself."""

    def __init__(self, written: str, seed: int) -> None:
        self._random = random.Random(seed)
        self._written = written
        self._ways = [self._truncated, self._replaced, self._inserted, self._removed]
        self._ways += [self._guessed, self._swapped, self._of_other_text]

    def forge(self) -> str:
        forged = self._written
        while forged == self._written:
            forged = self._random.choice(self._ways)()
        return forged

    def _at(self) -> int:
        return self._random.randrange(len(self._written))

    def _truncated(self) -> str:
        at = self._at()
        return self._random.choice([self._written[:at], self._written[at:]])

    def _replaced(self) -> str:
        at = self._at()
        return self._written[:at] + self._random.choice(ALPHABET) + self._written[at + 1 :]

    def _inserted(self) -> str:
        at = self._at()
        return self._written[:at] + self._random.choice(ALPHABET) + self._written[at:]

    def _removed(self) -> str:
        at = self._at()
        return self._written[:at] + self._written[at + self._random.randint(1, 9) :]

    def _guessed(self) -> str:
        signature = "".join(self._random.choices(ALPHABET[:64], k=self._random.randint(0, 44)))
        start, _, text = self._written.partition(":")
        return f"{start.rpartition('.')[0]}.{signature}:{text}"

    def _swapped(self) -> str:
        at, to = sorted((self._at(), self._at()))
        changed = list(self._written)
        changed[at], changed[to] = changed[to], changed[at]
        return "".join(changed)

    def _of_other_text(self) -> str:
        start, _, _ = self._written.partition(":")
        return f'{start}:{{"user":"eve{self._at()}"}}'


def check_forged(count: int, signing: Signing, rejected: list[Rejection]) -> None:
    propagator = signing()
    forger = Forger(run({"user": "ada", "roles": ["a", "b"]}, propagator.inject)["mqctx"], 2026)
    for _ in range(count):
        forged = forger.forge()
        assert propagator.extract({"mqctx": forged}) == {}, forged
    assert len(rejected) == count
    assert set(propagator.rejections) == {"unsigned", "forged", "unknown-key"}
    assert min(propagator.rejections.values()) > count // 100


def test_of_a_sample_of_forged_headers_none_is_accepted(
    signing: Signing, rejected: list[Rejection]
) -> None:
    check_forged(20_000, signing, rejected)


@pytest.mark.full
def test_of_100_000_forged_headers_none_is_accepted(
    signing: Signing, rejected: list[Rejection]
) -> None:
    check_forged(100_000, signing, rejected)
