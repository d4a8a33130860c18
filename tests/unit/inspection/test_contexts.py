"""The context of any message, and whether it can be relied on."""

import pytest

import mqctx
from mqctx.errors import ConfigurationError
from mqctx.formats import BaggageFormat, Format, JsonFormat, SignedFormat
from mqctx.inspection._contexts import parse_keys

from .messages import message

KEYS: dict[str, str | bytes] = {"k1": "3f9c2a7be1d04856a7c4e5f60b1d2c39"}
OTHERS: dict[str, str | bytes] = {"k1": "b7e4d19c60f2538ad41c7e9f02b6a385"}


def signed(format: Format) -> dict[str, str]:
    propagator = mqctx.Propagator(formats=[SignedFormat(format, KEYS)])
    with mqctx.scope(tenant="acme"):
        return propagator.inject()


@pytest.mark.parametrize("format", [JsonFormat(), BaggageFormat()], ids=["json", "baggage"])
def test_a_signature_counts_by_its_key(format: Format) -> None:
    headers = signed(format)
    assert message(headers, keys=KEYS).verified is True
    forged = message(headers, keys=OTHERS)
    assert forged.verified is False
    assert [rejection.reason for rejection in forged.rejections] == ["forged"]
    assert message(headers).verified is None
    assert message(headers).context == forged.context == {"tenant": "acme"}


def test_an_unsigned_context_is_not_verified_where_keys_are_known() -> None:
    assert message({"mqctx": '{"tenant":"acme"}'}, keys=KEYS).verified is False
    assert message(keys=KEYS).verified is None


def test_values_that_a_service_would_reject_are_shown_as_such() -> None:
    broken = message({"mqctx": "{"})
    (rejection,) = broken.as_json()["rejections"]
    assert (rejection["header"], rejection["reason"]) == ("mqctx", "malformed")
    assert broken.context == {}


def test_every_format_is_read() -> None:
    trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    read = message({"traceparent": trace, "baggage": "user=ada", "mqctx-tenant": "acme"})
    assert read.context["trace_id"] == "0af7651916cd43dd8448eb211c80319c"
    assert (read.context["user"], read.context["tenant"]) == ("ada", "acme")


def test_keys_are_read_by_name() -> None:
    assert parse_keys("a=x,b=y=z,") == {"a": "x", "b": "y=z"}
    with pytest.raises(ConfigurationError, match="entry 2") as error:
        parse_keys("a=x,hunter2hunter2")
    assert "hunter2" not in str(error.value)
