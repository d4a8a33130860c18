"""Each format on a real broker, from each client to another: equal in value and type."""

import pytest

from mqctx import Context, JsonFormat, Rejection, Variable, configure, current
from mqctx.formats import Format
from mqctx.formats.baggage import BaggageFormat
from mqctx.formats.flat import FlatFormat
from mqctx.formats.signed import SignedFormat
from tests.drivers.clients import CLIENTS
from tests.integration.test_nine_pairs import DECLARED, VALUES, shape

KEYS = {"k": "sixteen bytes or more"}
NAMED = {name: f"App-{name}" for name in VALUES | DECLARED}
FORMATS: list[Format] = [
    *(BaggageFormat(), FlatFormat(), FlatFormat(NAMED)),
    *(SignedFormat(JsonFormat(), KEYS), SignedFormat(BaggageFormat(), KEYS)),
]


@pytest.mark.parametrize(
    ("publisher", "consumer"), [("aio-pika", "kombu"), ("kombu", "pika"), ("pika", "aio-pika")]
)
@pytest.mark.parametrize("layout", FORMATS, ids=lambda each: repr(each)[:40])
def test_a_context_arrives(
    layout: Format, publisher: str, consumer: str, amqp_url: str, queue: str
) -> None:
    rejected: list[Rejection] = []
    configure(formats=[layout], on_rejected=rejected.append)
    for name, value in DECLARED.items():
        Variable(name, type(value))
    sent = Context(VALUES | DECLARED)
    arrived: list[tuple[bytes, Context]] = []
    CLIENTS[publisher].publish(amqp_url, queue, (sent, b"1"), ({}, b"2"))
    CLIENTS[consumer].consume(amqp_url, queue, 2, lambda body: arrived.append((body, current())))
    assert arrived == [(b"1", sent), (b"2", Context())]
    assert shape(dict(arrived[0][1])) == shape(dict(sent))
    assert rejected == []
