"""Contexts of every size: refused or trimmed before the client is touched, and all lives on.

Over the frame limit RabbitMQ closes the whole connection, with each of its channels.
"""

import json
import random
from collections.abc import Iterator, Mapping
from typing import Any

import pytest

import mqctx
from mqctx import Context, Propagator, Rejection
from mqctx.adapters.pika import restored
from mqctx.formats import header_size
from tests.drivers.on_pika import pika_channel
from tests.integration.confirming import CONFIRMING, Confirming

SMALLEST = header_size("mqctx", '{"a":""}')
SIZES = [
    *(SMALLEST, SMALLEST + 1, 100, 1000, 3583, 3584, 3585, 5000, 65_535, 65_536),
    *(131_000, 131_071, 131_072, 131_073, 199_999, 200_000),
]
EVERY_SIZE = [
    *(*range(SMALLEST, 300), *range(3500, 3700), *range(65_500, 65_600)),
    *(*range(130_950, 131_100), *range(199_950, 200_001)),
    *random.Random(7).sample(range(SMALLEST, 200_001), 300),
]


@pytest.fixture(params=CONFIRMING)
def confirming(request: pytest.FixtureRequest, amqp_url: str, queue: str) -> Iterator[Confirming]:
    with CONFIRMING[request.param](amqp_url, queue) as confirming:
        yield confirming


def context_of_size(size: int) -> Context:
    """Return a context that takes so many bytes of headers, name and value."""
    return Context(a="x" * (size - SMALLEST))


def arrived(url: str, queue: str) -> list[tuple[Context, dict[str, Any]]]:
    """Return the context and the headers of each message in the queue, canaries left out."""
    got: list[tuple[Context, dict[str, Any]]] = []
    wide = Propagator(max_bytes=130_000)
    with pika_channel(url) as channel:
        for _ in range(channel.queue_declare(queue, passive=True).method.message_count):
            _, properties, body = channel.basic_get(queue, auto_ack=True)
            with restored(properties, propagator=wide) as context:
                if body == b"order":
                    got.append((context, properties.headers))
    return got


def check_refused(client: Confirming, sizes: list[int], propagator: Propagator) -> list[int]:
    """Publish a context of each size; return the sizes that were sent."""
    sent: list[int] = []
    for canaries, size in enumerate(sizes, 1):
        with context_of_size(size).scope():
            if size <= propagator.max_bytes:
                sent.append(size)
                assert client.publish(propagator, {"n": size}) == len(sent)
            else:
                with pytest.raises(mqctx.OversizeError, match=f"takes {size} bytes"):
                    client.publish(propagator, {"n": size})
        assert client.canary() == canaries
    return sent


def check_all_sizes(client: Confirming, url: str, queue: str, sizes: list[int]) -> None:
    """Contexts too large are refused, the others arrive; each publish is confirmed in order."""
    sent = check_refused(client, sizes, Propagator())
    assert [(context, headers["n"]) for context, headers in arrived(url, queue)] == [
        (context_of_size(size), size) for size in sent
    ]


def test_a_context_that_is_too_large_is_refused_and_both_channels_live_on(
    confirming: Confirming, amqp_url: str, queue: str
) -> None:
    check_all_sizes(confirming, amqp_url, queue, SIZES)


@pytest.mark.full
def test_contexts_of_a_thousand_sizes(confirming: Confirming, amqp_url: str, queue: str) -> None:
    check_all_sizes(confirming, amqp_url, queue, EVERY_SIZE)


def basket_of(size: int) -> Context:
    """Return a context of about so many bytes, in values of many sizes."""
    chance = random.Random(size)
    shares = [chance.random() ** 3 for _ in range(9)]
    lengths = [int(size * share / sum(shares)) for share in shares]
    values = {f"k{number}": "x" * length for number, length in enumerate(lengths)}
    return Context(values | {"count": 5, "list": [1, "\u00e9"], "user": "ada"})


def dropping(
    client: Confirming, sizes: list[int], max_bytes: int
) -> Iterator[tuple[Context, list[Rejection]]]:
    """Publish a context of each size, and give it with what was reported."""
    rejected: list[Rejection] = []
    propagator = Propagator(max_bytes=max_bytes, on_oversize="drop", on_rejected=rejected.append)
    for number, size in enumerate(sizes, 1):
        context = basket_of(size)
        with context.scope():
            assert client.publish(propagator, {}) == number
        assert client.canary() == number
        yield context, rejected.copy()
        rejected.clear()


def check_trimmed(
    whole: Context, reported: list[Rejection], rest: Context, headers: dict[str, Any], limit: int
) -> None:
    """Whole values are missing, the largest, each reported, and no more than had to be."""
    dropped = [str(rejection.key) for rejection in reported]
    assert {(r.during, r.reason) for r in reported} <= {("inject", "too-large")}
    assert sorted([*rest, *dropped]) == sorted(whole)
    assert whole.items() >= rest.items()
    assert bytes_written(rest) <= limit
    assert bytes_written(rest) == sum(header_size(key, text) for key, text in headers.items())
    largest_first = sorted(whole, key=lambda name: -bytes_written({name: whole[name]}))
    lengths = [bytes_written({name: whole[name]}) for name in largest_first]
    assert [bytes_written({name: whole[name]}) for name in dropped] == lengths[: len(dropped)]
    if dropped:
        assert bytes_written(dict(rest) | {dropped[-1]: whole[dropped[-1]]}) > limit


def bytes_written(values: Mapping[str, Any]) -> int:
    """Return how many bytes of headers the values take."""
    text = json.dumps(dict(values), separators=(",", ":"))
    return header_size("mqctx", text) if values else 0


def check_all_trimmed(
    client: Confirming, url: str, queue: str, sizes: list[int], limit: int
) -> None:
    """Publish contexts of all sizes where values are dropped, and compare what arrives."""
    sent = list(dropping(client, sizes, limit))
    assert any(reported for _, reported in sent)
    for (whole, reported), (rest, headers) in zip(sent, arrived(url, queue), strict=True):
        check_trimmed(whole, reported, rest, headers or {}, limit)


@pytest.mark.parametrize("limit", [20, 4096, 100_000])
def test_a_context_that_is_too_large_is_trimmed_by_whole_values_the_largest_first(
    confirming: Confirming, amqp_url: str, queue: str, limit: int
) -> None:
    check_all_trimmed(confirming, amqp_url, queue, SIZES, limit)


@pytest.mark.full
def test_contexts_of_a_thousand_sizes_are_trimmed(
    confirming: Confirming, amqp_url: str, queue: str
) -> None:
    check_all_trimmed(confirming, amqp_url, queue, EVERY_SIZE, 4096)


@pytest.mark.parametrize("limit", [16_384, 100_000, 130_000])
def test_a_raised_limit_holds_to_the_byte(
    confirming: Confirming, amqp_url: str, queue: str, limit: int
) -> None:
    sizes = [limit - 1, limit, limit + 1, 200_000, limit]
    sent = check_refused(confirming, sizes, Propagator(max_bytes=limit))
    assert [context for context, _ in arrived(amqp_url, queue)] == [
        context_of_size(n) for n in sent
    ]
    assert sent == [limit - 1, limit, limit]


@pytest.mark.parametrize(("own", "limit"), [(126_000, 4096), (100_000, 30_000), (1000, 129_000)])
def test_a_message_whose_own_headers_are_large_carries_its_context_too(
    confirming: Confirming, amqp_url: str, queue: str, own: int, limit: int
) -> None:
    headers = {"own": "y" * (own - 100), "more": ["z" * 50]}
    with context_of_size(limit).scope():
        assert confirming.publish(Propagator(max_bytes=limit), headers) == 1
    assert confirming.canary() == 1
    ((context, got),) = arrived(amqp_url, queue)
    assert context == context_of_size(limit)
    assert {key: got[key] for key in headers} == headers


def test_each_limit_that_is_accepted_fits_into_a_frame(
    confirming: Confirming, amqp_url: str, queue: str
) -> None:
    limit = largest_limit()
    with context_of_size(limit).scope():
        assert confirming.publish(Propagator(max_bytes=limit), {}) == 1
    assert confirming.canary() == 1


@pytest.mark.parametrize("kind", ["aio-pika", "pika"])
def test_the_largest_context_by_default_fits_into_the_smallest_frame(
    kind: str, amqp_url: str, queue: str
) -> None:
    default = Propagator()
    with CONFIRMING[kind](f"{amqp_url}?frame_max=4096", queue) as client:
        with context_of_size(default.max_bytes).scope():
            assert client.publish(default, {"own": "x" * 256}) == 1
        assert client.canary() == 1


def largest_limit() -> int:
    """Return the largest `max_bytes` that a propagator accepts."""
    accepted, refused = 4096, 200_000
    while refused - accepted > 1:
        middle = (accepted + refused) // 2
        try:
            Propagator(max_bytes=middle)
        except mqctx.ConfigurationError:
            refused = middle
        else:
            accepted = middle
    return accepted
