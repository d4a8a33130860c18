"""Messages as a worker gets them, without a broker: real objects, of which every part works."""

import asyncio
from collections.abc import Callable, Iterator
from typing import Any, Protocol, cast
from uuid import UUID, uuid4

import aio_pika
import amqp
import celery
import kombu
import pika
import pytest
from celery.exceptions import Reject
from celery.worker.request import Request
from kombu.exceptions import ContentDisallowed
from pamqp.header import ContentHeader
from pika.adapters.blocking_connection import BlockingChannel
from pika.spec import Basic

import mqctx
from mqctx import ConfigurationError, Context, InvalidValueError, OversizeError, Variable, configure
from mqctx.adapters import aio_pika as aio_pika_adapter
from mqctx.adapters import celery as celery_adapter
from mqctx.adapters import kombu as kombu_adapter
from mqctx.adapters import pika as pika_adapter
from mqctx.formats import (
    CORRELATION_ID,
    FlatFormat,
    JsonFormat,
    SignedFormat,
    TraceContextFormat,
)
from mqctx.testing import (
    Settlement,
    aio_pika_message,
    celery_request,
    kombu_message,
    pika_delivery,
    settled,
)

KEYS = {"k": "0123456789abcdefghij"}


class Build(Protocol):
    """Builds a message, and returns the context that its client's adapter restores from it."""

    def __call__(self, **values: object) -> Context: ...


@pytest.fixture
def app() -> Iterator[Any]:
    app = celery.Celery("shop", broker="memory://", set_as_current=False)
    celery_adapter.instrument(app)
    yield app
    celery_adapter.uninstrument(app)


@pytest.fixture(params=["aio-pika", "kombu", "pika", "celery"])
def build(request: pytest.FixtureRequest, app: Any) -> Build:
    @app.task(shared=False)
    def charge() -> None: ...

    def by_aio_pika(**values: object) -> Context:
        with aio_pika_adapter.restored(aio_pika_message(b"42", **values)) as context:
            return context

    def by_kombu(**values: object) -> Context:
        with kombu_adapter.restored(kombu_message("42", **values)) as context:
            return context

    def by_pika(**values: object) -> Context:
        with pika_adapter.restored(pika_delivery(b"42", **values)[2]) as context:
            return context

    def by_celery(**values: object) -> Context:
        with celery_adapter.restored(celery_request(charge, (), **values)) as context:
            return context

    builds: dict[str, Build] = {
        "aio-pika": by_aio_pika,
        "kombu": by_kombu,
        "pika": by_pika,
        "celery": by_celery,
    }
    return builds[request.param]


class TestContext:
    def test_is_exactly_the_values(self, build: Build) -> None:
        with mqctx.scope(user="ambient"):
            assert build() == {}
            values = {"tenant": "acme", "n": 5, "tags": ["é"], "body": "b", "task": "t"}
            assert build(**values) == values

    def test_has_the_declared_types(self, build: Build) -> None:
        Variable("order", UUID)
        order = uuid4()
        assert build(order=order) == {"order": order}

    @pytest.mark.parametrize(
        "formats",
        [
            [SignedFormat(JsonFormat(), KEYS)],
            [FlatFormat({"tenant": "tenant-name"})],
            [JsonFormat("one"), FlatFormat({"tenant": "tenant-name"})],
        ],
        ids=["signed", "flat", "two"],
    )
    def test_travels_in_the_formats_that_are_configured(
        self, build: Build, formats: Any, rejections: list[mqctx.Rejection]
    ) -> None:
        configure(formats=formats)
        assert build(tenant="acme") == {"tenant": "acme"}
        assert rejections == []

    def test_has_the_names_that_others_send_and_this_process_does_not(self, build: Build) -> None:
        configure(send=[])
        assert build(tenant="acme") == {"tenant": "acme"}

    def test_is_received_by_what_is_accepted_here(
        self, build: Build, rejections: list[mqctx.Rejection]
    ) -> None:
        configure(accept=["user"])
        assert build(tenant="acme", user="ada") == {"user": "ada"}
        assert [each.key for each in rejections] == ["tenant"]

    def test_goes_through_the_codec_of_its_client(
        self, build: Build, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def decode(*_: object) -> None:
            raise NotImplementedError

        for owner, name in (
            (ContentHeader, "unmarshal"),
            (amqp.Message, "_load_properties"),
            (pika.BasicProperties, "decode"),
        ):
            monkeypatch.setattr(owner, name, decode)
        with pytest.raises(NotImplementedError):
            build(tenant="acme")

    def test_that_no_message_could_bring_is_refused(self, build: Build) -> None:
        Variable("session", object, local=True)
        with pytest.raises(ConfigurationError, match="^session: no message brings this value"):
            build(session=object())
        with pytest.raises(InvalidValueError, match="^when: a value of type object cannot travel"):
            build(when=object())
        with pytest.raises(OversizeError):
            build(text="x" * 5000)
        configure(formats=[FlatFormat({"tenant": "tenant-name"})])
        with pytest.raises(ConfigurationError, match="^user: no message brings this value"):
            build(user="ada", tenant="acme")

    def test_may_be_in_properties(self) -> None:
        configure(formats=[FlatFormat({"request_id": CORRELATION_ID})])
        message = aio_pika_message(b"42", request_id="r-1")
        assert message.correlation_id == "r-1"
        assert message.headers == {}
        properties = pika_delivery(b"42", request_id="r-1")[2]
        assert properties.correlation_id == "r-1"
        assert kombu_message(b"42", request_id="r-1").properties["correlation_id"] == "r-1"

    def test_begins_the_trace_that_its_format_begins(self) -> None:
        configure(formats=[JsonFormat(), TraceContextFormat()])
        with aio_pika_adapter.restored(aio_pika_message(b"", trace_id="a" * 32)) as context:
            assert context["trace_id"] == "a" * 32

    @pytest.mark.parametrize("builder", [aio_pika_message, pika_delivery])
    @pytest.mark.parametrize("body", ["42", {"id": 42}, None], ids=repr)
    def test_has_no_body_that_no_broker_delivers(
        self, builder: Callable[..., object], body: object
    ) -> None:
        with pytest.raises(TypeError, match=r"^body: expected bytes, .*; encode it"):
            builder(body, tenant="acme")


class TestAioPika:
    def test_gives_the_clients_own_message(self) -> None:
        message = aio_pika_message(b"42", tenant="acme")
        assert type(message) is aio_pika.IncomingMessage
        assert message.body == b"42"
        assert message.headers == {"mqctx": '{"tenant":"acme"}'}
        assert not message.redelivered

    @pytest.mark.parametrize(
        ("settle", "expected"),
        [
            (lambda m: m.ack(multiple=True), Settlement("ack", multiple=True)),
            (lambda m: m.nack(requeue=False), Settlement("nack")),
            (lambda m: m.nack(), Settlement("nack", requeue=True)),
            (lambda m: m.reject(requeue=True), Settlement("reject", requeue=True)),
        ],
    )
    def test_records_what_settles_it(
        self, settle: Callable[[Any], Any], expected: Settlement
    ) -> None:
        message = aio_pika_message(b"42")
        assert settled(message) == []
        asyncio.run(settle(message))
        assert settled(message) == [expected]
        assert message.processed

    async def processed(self, message: aio_pika.IncomingMessage) -> None:
        async with message.process():
            raise ValueError

    def test_records_what_a_process_block_does(self) -> None:
        message = aio_pika_message(b"42")
        with pytest.raises(ValueError):  # noqa: PT011 - the very one
            asyncio.run(self.processed(message))
        assert settled(message) == [Settlement("reject")]


class TestPika:
    def test_gives_the_arguments_of_a_callback(self) -> None:
        channel, method, properties, body = pika_delivery(b"42", tenant="acme")
        assert isinstance(channel, BlockingChannel)
        assert isinstance(method, Basic.Deliver)
        assert isinstance(properties, pika.BasicProperties)
        assert properties.headers == {"mqctx": '{"tenant":"acme"}'}
        assert body == b"42"
        assert channel.is_open

    def test_records_what_settles_it(self) -> None:
        channel, method, *_ = pika_delivery(b"42")
        tag: Any = method.delivery_tag
        assert settled(channel) == []
        channel.basic_ack(tag)
        channel.basic_nack(tag, requeue=False)
        channel.basic_reject(tag)
        channel.basic_publish("", "elsewhere", b"")
        assert settled(channel) == [
            Settlement("ack"),
            Settlement("nack"),
            Settlement("reject", requeue=True),
        ]


class TestKombu:
    @pytest.mark.parametrize("body", [{"id": 42}, "42", b"42", [1]], ids=repr)
    def test_gives_a_message_whose_payload_is_the_body(self, body: Any) -> None:
        message = kombu_message(body, tenant="acme")
        assert isinstance(message, kombu.Message)
        assert message.payload == body
        assert message.headers == {"mqctx": '{"tenant":"acme"}'}
        assert isinstance(message.body, bytes)

    @pytest.mark.parametrize(
        ("settle", "expected"),
        [
            (lambda m: m.ack(multiple=True), Settlement("ack", multiple=True)),
            (lambda m: m.reject(), Settlement("reject")),
            (lambda m: m.requeue(), Settlement("reject", requeue=True)),
        ],
    )
    def test_records_what_settles_it(
        self, settle: Callable[[Any], Any], expected: Settlement
    ) -> None:
        message = kombu_message(b"42")
        assert settled(message) == []
        settle(message)
        cast("Any", message.channel).basic_qos(0, 1, False)
        assert settled(message) == [expected]
        assert message.acknowledged


class TestCelery:
    def test_gives_what_a_worker_receives(self, app: Any) -> None:
        seen = []

        @app.task(bind=True, shared=False)
        def charge(self: Any, order: int, *, rate: int = 1) -> int:
            seen.append(mqctx.current())
            return order * rate

        request = celery_request(charge, (42,), tenant="acme")
        assert isinstance(request, Request)
        assert request.execute() == 42
        assert seen == [{"tenant": "acme"}]
        assert request.acknowledged
        assert settled(request) == [Settlement("ack")]

    def test_records_what_a_late_acknowledgement_rejects(self, app: Any) -> None:
        @app.task(shared=False, acks_late=True, reject_on_worker_lost=True)
        def charge() -> None:
            raise Reject("no", requeue=True)

        request = celery_request(charge)
        request.execute()
        assert settled(request) == [Settlement("reject")]

    def test_takes_the_serializer_of_the_task(self, app: Any) -> None:
        app.conf.accept_content = ["pickle"]

        @app.task(shared=False, serializer="pickle")
        def charge(order: object) -> object:
            return order

        with pytest.raises(ContentDisallowed):
            celery_request(charge, ({1, 2},))
