"""Journeys of `mqctx trace`, compared to a truth that the services wrote down themselves."""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import pytest

import mqctx
from mqctx.formats import TraceContextFormat

from . import journeys_traffic, journeys_warehouse
from .broker import Broker
from .journeys_traffic import Services, Shop, Verdict, compare
from .journeys_warehouse import Warehouse
from .traced import Vhost, host_of, traced, vhost_of


@pytest.fixture(autouse=True)
def _defaults() -> Iterator[None]:
    yield
    mqctx.configure()


class Layout(NamedTuple):
    """Services, and what comes of each request of theirs."""

    services: Callable[..., Services]
    names: tuple[str, ...]
    edges: float
    dead_letters: float


SHOP = Layout(Shop, journeys_traffic.SERVICES, 20.9, 3.3)
WAREHOUSE = Layout(Warehouse, journeys_warehouse.SERVICES, 21.2, 2.2)


def verdict_of(
    broker: Broker, layout: Layout, requests: int, *, with_spans: bool, own_users: bool = False
) -> Verdict:
    """Let services work, and return how well their journeys are known."""
    with vhost_of(broker) as vhost:
        users = _add_users(vhost, layout.names) if own_users else None
        services = layout.services(vhost.url, requests, with_spans=with_spans, url_of=users)
        services.declare()
        with traced(vhost) as trace:
            services.run()
            records = trace.end()
        for name in layout.names if own_users else ():
            vhost.api.delete(f"users/{vhost.name}-{name}")
        assert not vhost.is_traced
    verdict = compare(services.truth, records)
    assert verdict.edges == pytest.approx(layout.edges * requests)
    died = sum(record["kind"] == "dead_letter" for record in records)
    assert died == pytest.approx(layout.dead_letters * requests)
    return verdict


def _add_users(vhost: Vhost, names: tuple[str, ...]) -> Callable[[str], str]:
    for name in names:
        user = f"{vhost.name}-{name}"
        vhost.api.put(f"users/{user}", json={"password": "p", "tags": ""}).raise_for_status()
        vhost.allow(user, configure=".*", write=".*", read=".*")
    return lambda name: f"amqp://{vhost.name}-{name}:p@{host_of(vhost.url)}/{vhost.name}"


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
    verdict = verdict_of(broker, SHOP, 10, with_spans=True)
    show(verdict)
    assert verdict.wrong_and_unmarked == []
    assert verdict.right / verdict.edges > 0.9


def test_of_celery_and_nested_exchanges_no_edge_is_wrong_and_unmarked(broker: Broker) -> None:
    with_spans()
    verdict = verdict_of(broker, WAREHOUSE, 5, with_spans=True, own_users=True)
    show(verdict)
    assert verdict.wrong_and_unmarked == []
    assert verdict.right / verdict.edges > 0.95


@pytest.mark.full
@pytest.mark.parametrize("layout", [SHOP, WAREHOUSE], ids=["shop", "warehouse"])
class TestAHundredConcurrentRequests:
    def test_with_spans_and_a_user_for_each_service(
        self, each_broker: Broker, layout: Layout
    ) -> None:
        with_spans()
        verdict = verdict_of(each_broker, layout, 100, with_spans=True, own_users=True)
        show(verdict)
        assert verdict.wrong_and_unmarked == []
        assert verdict.right / verdict.edges >= 0.99
        assert verdict.inferred / verdict.edges <= 0.2

    def test_with_reports(self, each_broker: Broker, layout: Layout) -> None:
        with_spans(report="mqctx.journeys")
        verdict = verdict_of(each_broker, layout, 100, with_spans=True)
        show(verdict)
        assert verdict.wrong_and_unmarked == []
        assert verdict.right / verdict.edges >= 0.998
        assert verdict.inferred / verdict.edges <= 0.2

    def test_by_the_request_id_alone_with_one_user_for_all(
        self, each_broker: Broker, layout: Layout
    ) -> None:
        verdict = verdict_of(each_broker, layout, 100, with_spans=False)
        show(verdict)
        assert verdict.wrong_and_unmarked == []
        assert verdict.right / verdict.edges >= 0.95
