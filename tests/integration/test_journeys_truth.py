"""What `mqctx trace` joins, compared to a truth that the services wrote down themselves."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest

import mqctx
from mqctx.formats import TraceContextFormat

from .broker import Broker
from .journeys_traffic import Shop, Verdict, compare
from .traced import Traced, Vhost, host_of, vhost_of

SERVICES = ("web", "orders", "quotes", "dead", "mail", "shipping", "ledger", "stats")


@pytest.fixture(autouse=True)
def _defaults() -> Iterator[None]:
    yield
    mqctx.configure()


def traced(broker: Broker, requests: int, **settings: Any) -> Verdict:
    """Let the shop work, and return how well its journeys are known."""
    own_users = settings.pop("own_users", False)
    with vhost_of(broker) as vhost:
        users = _add_users(vhost) if own_users else None
        shop = Shop(vhost.url, requests, url_of=users, **settings)
        shop.declare()
        with Traced(vhost) as trace:
            shop.run()
        for name in SERVICES if own_users else ():
            vhost.api.delete(f"users/{vhost.name}-{name}")
        assert not vhost.is_traced
    verdict = compare(shop.truth, trace.watch.records)
    assert verdict.edges == 20.9 * requests if requests % 10 == 0 else verdict.edges > 0
    assert sum(shop.truth.deaths.values()) * 1.5 == _count(trace.watch.records, "dead_letter")
    return verdict


def _add_users(vhost: Vhost) -> Callable[[str], str]:
    for name in SERVICES:
        user = f"{vhost.name}-{name}"
        vhost.api.put(f"users/{user}", json={"password": "p", "tags": ""}).raise_for_status()
        vhost.allow(user, configure=".*", write=".*", read=".*")
    return lambda name: f"amqp://{vhost.name}-{name}:p@{host_of(vhost.url)}/{vhost.name}"


def _count(records: list[dict[str, Any]], kind: str) -> int:
    return sum(record["kind"] == kind for record in records)


def with_spans(**more: Any) -> None:
    """Let messages name their spans."""
    formats: list[mqctx.Format] = [mqctx.JsonFormat(), TraceContextFormat()]
    mqctx.configure(formats=formats, **more)


def show(verdict: Verdict) -> None:
    """Tell the figures, for who asks with -s."""
    share, inferred = verdict.right / verdict.edges, verdict.inferred / verdict.edges
    print(f"{verdict.edges} edges, {share:.2%} right, {inferred:.1%} inferred")  # noqa: T201


def test_with_reports_no_edge_is_wrong_and_unmarked(broker: Broker) -> None:
    with_spans(report="mqctx.journeys")
    verdict = traced(broker, 10, with_spans=True)
    show(verdict)
    assert verdict.wrong_and_unmarked == []
    assert verdict.right / verdict.edges > 0.9


@pytest.mark.full
class TestAHundredConcurrentRequests:
    def test_with_spans_and_a_user_for_each_service(self, each_broker: Broker) -> None:
        with_spans()
        verdict = traced(each_broker, 100, with_spans=True, own_users=True)
        show(verdict)
        assert verdict.wrong_and_unmarked == []
        assert verdict.right / verdict.edges >= 0.99
        assert verdict.inferred / verdict.edges <= 0.2

    def test_with_reports(self, each_broker: Broker) -> None:
        with_spans(report="mqctx.journeys")
        verdict = traced(each_broker, 100, with_spans=True)
        show(verdict)
        assert verdict.wrong_and_unmarked == []
        assert verdict.right / verdict.edges >= 0.998
        assert verdict.inferred / verdict.edges <= 0.2

    def test_by_the_request_id_alone_with_one_user_for_all(self, each_broker: Broker) -> None:
        verdict = traced(each_broker, 100, with_spans=False)
        show(verdict)
        assert verdict.wrong_and_unmarked == []
        assert verdict.right / verdict.edges >= 0.95
