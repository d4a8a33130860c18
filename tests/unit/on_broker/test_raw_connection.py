"""Messages whose headers stay bytes, on a real broker."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from pika import exceptions

from mqctx._amqp.content_header import ContentHeader
from mqctx.inspection import Broker as Address
from mqctx.inspection import BrokerError
from mqctx.inspection._arrivals import name_of
from mqctx.inspection._connection import Delivery, connected
from mqctx.inspection._publisher import Fate, Publisher
from mqctx.inspection._queue_channel import QueueChannel
from mqctx.inspection._wire import RawProperties
from tests.drivers.field_tables import EVERY_TYPE, entry, table
from tests.integration.broker import Broker

HEADER = ContentHeader(b"\x20\x00" + table(EVERY_TYPE))
PLAIN = ContentHeader()


@pytest.fixture
def connection(amqp_url: str) -> Iterator[Any]:
    with connected(Address.parse(amqp_url), "test") as opened:
        yield opened


def fates(publisher: Publisher) -> dict[int, Fate]:
    found: dict[int, Fate] = {}
    while publisher.outstanding:
        found.update((each.number, each.fate) for each in publisher.outcomes(1))
    found.update((each.number, each.fate) for each in publisher.outcomes())
    return found


def get(connection: Any, queue: str) -> Any:
    arrived: list[Delivery] = []
    channel = QueueChannel(connection, queue)
    channel.consume(1, {}, arrived.append)
    while not arrived:
        channel.wait()
    return arrived[0]


def entries(header: ContentHeader) -> set[bytes]:
    """Return the headers one by one: RabbitMQ sorts them."""
    return {header.raw[start:end] for _, start, end in header._keys()}


@pytest.mark.parametrize("kind", ["classic", "quorum"])
def test_every_type_arrives_bit_for_bit(each_broker: Broker, queue_name: str, kind: str) -> None:
    with connected(Address.parse(each_broker.url), "test") as connection:
        channel = connection.channel()
        channel.queue_declare(queue_name, durable=True, arguments={"x-queue-type": kind})
        outcome = Publisher(connection).publish("", queue_name, HEADER, b"body" * 50_000)
        assert outcome.fate is Fate.ARRIVED
        delivery = get(connection, queue_name)
        assert entries(delivery.header) == {entry(*pair) for pair in EVERY_TYPE}
        assert delivery.body == b"body" * 50_000
        assert (delivery.exchange, delivery.routing_key) == ("", queue_name)
        channel.queue_delete(queue_name)


def test_a_routing_key_that_is_no_text_goes_on_as_it_came(connection: Any, queue: str) -> None:
    connection.channel().queue_bind(queue, "amq.topic", "#")
    outcome = Publisher(connection).publish("amq.topic", "\udcff.\udcfe", PLAIN, b"")
    assert outcome.fate is Fate.ARRIVED
    assert get(connection, queue).routing_key == "\udcff.\udcfe"
    assert name_of(b"\xff") == "\udcff"


@dataclass
class Returned:
    """The method that says that a message came back."""

    exchange: str
    routing_key: str
    reply_text: str = "NO_ROUTE"


class TestPublisher:
    def test_tells_apart_many_messages_that_go_different_ways(
        self, connection: Any, queue: str
    ) -> None:
        publisher = Publisher(connection)
        arrive = {publisher.send("", queue, PLAIN, b"same") for _ in range(50)}
        lost = {publisher.send("", f"{queue}-gone", HEADER, b"same") for _ in range(3)}
        arrive |= {publisher.send("", queue, HEADER, b"same") for _ in range(50)}
        found = fates(publisher)
        assert {number for number, fate in found.items() if fate is Fate.UNROUTED} == lost
        assert {number for number, fate in found.items() if fate is Fate.ARRIVED} == arrive

    def test_says_that_a_full_queue_did_not_take_it(self, connection: Any, queue_name: str) -> None:
        full = {"x-max-length": 1, "x-overflow": "reject-publish"}
        connection.channel().queue_declare(queue_name, arguments=full)
        publisher = Publisher(connection)
        sent = [publisher.publish("", queue_name, PLAIN, b"").fate for _ in range(2)]
        assert sent == [Fate.ARRIVED, Fate.REJECTED]

    def test_says_what_the_broker_refused_and_goes_on(self, connection: Any, queue: str) -> None:
        publisher = Publisher(connection)
        refused = publisher.publish("no-such-exchange", "k", PLAIN, b"")
        assert refused.fate is Fate.REFUSED
        assert "no exchange 'no-such-exchange'" in refused.reason
        assert publisher.publish("", queue, PLAIN, b"").fate is Fate.ARRIVED

    def test_says_of_what_nobody_can_know_that_it_is_unknown(
        self, connection: Any, queue: str
    ) -> None:
        publisher = Publisher(connection)
        publisher.send("no-such-exchange", "k", PLAIN, b"")
        publisher.send("", queue, PLAIN, b"")
        assert set(fates(publisher).values()) == {Fate.UNKNOWN}

    def test_knows_one_that_came_back_without_its_bcc(self, connection: Any, queue: str) -> None:
        publisher = Publisher(connection)
        by_bcc = HEADER.with_header("BCC", [f"{queue}-gone"])
        lost = publisher.send("", f"{queue}-gone", by_bcc, b"same")
        other = publisher.send("", f"{queue}-gone", PLAIN.with_header("BCC", [queue]), b"same")
        assert fates(publisher) == {lost: Fate.UNROUTED, other: Fate.ARRIVED}

    def test_takes_none_for_another_that_came_back_changed(
        self, connection: Any, queue: str
    ) -> None:
        publisher = Publisher(connection)
        numbers = [publisher.send("", "gone", PLAIN, body) for body in (b"a", b"a", b"b")]
        changed = RawProperties(PLAIN.with_header("more", ""))
        publisher._on_return(None, Returned("", "gone"), changed, b"a")
        assert publisher._returned.keys() == set(numbers[:2])
        assert {each.fate for each in publisher._returned.values()} == {Fate.UNKNOWN}
        publisher._on_return(None, Returned("", "gone"), changed, b"b")
        assert publisher._returned[numbers[2]].fate is Fate.UNROUTED
        fates(publisher)


def changed_url(url: str, **changes: Any) -> Address:
    parts = urlsplit(url)
    login = changes.get("login", "guest:guest")
    port = changes.get("port", parts.port)
    scheme = changes.get("scheme", "amqp")
    return Address.parse(f"{scheme}://{login}@{parts.hostname}:{port}/{changes.get('vhost', '')}")


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"login": "guest:s3cret"}, "refused the user 'guest' or the password"),
        ({"vhost": "s3cret-less"}, "there is no vhost 's3cret-less'"),
        ({"port": 1}, "Connection refused"),
        ({"scheme": "amqps"}, "TLS failed"),
    ],
)
def test_what_cannot_be_opened_is_an_error_of_one_line(
    amqp_url: str, changes: dict[str, Any], told: str
) -> None:
    with (
        pytest.raises(BrokerError, match=told) as caught,
        connected(changed_url(amqp_url, **changes), "test"),
    ):
        pytest.fail("it was opened")
    assert "s3cret " not in f"{caught.value} ".replace("s3cret-less", "")


def test_a_certificate_that_is_none_is_an_error_of_one_line(amqp_url: str, tmp_path: Path) -> None:
    (tmp_path / "none.pem").write_text("none")
    where = changed_url(amqp_url, scheme="amqps")
    for ca, cert in (("none.pem", None), (None, "none.pem"), ("missing.pem", None)):
        named = {"ca": ca and str(tmp_path / ca), "cert": cert and str(tmp_path / cert)}
        broker = Address.parse(f"amqps://guest:guest@{where.address}/", **named)
        with pytest.raises(BrokerError), connected(broker, "test"):
            pytest.fail("it was opened")


def test_what_fails_inside_is_an_error_of_one_line(amqp_url: str) -> None:
    with (
        pytest.raises(BrokerError, match="no queue 'mqctx-no-such-queue'") as caught,
        connected(Address.parse(amqp_url), "test") as connection,
    ):
        connection.channel().queue_declare("mqctx-no-such-queue", passive=True)
    assert caught.value.code == 404


def test_a_frame_that_is_cut_off_ends_the_connection_as_with_pika(connection: Any) -> None:
    impl = connection._impl
    impl._frame_buffer = b"\x02\x00\x01\x00\x00\x00\x0e" + b"\0" * 14 + b"!"
    with pytest.raises(exceptions.InvalidFrameError):
        impl._read_frame()
    impl._frame_buffer = b""
