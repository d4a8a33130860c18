"""How a dead letter goes back: its way changes as little as it can, and what it changes is told."""

import json
from typing import Any

import pytest

from mqctx.inspection._deaths import Death
from mqctx.inspection._management import ManagementError
from mqctx.inspection._message import Message
from mqctx.inspection._routes import Route
from mqctx.inspection._safety import QueueFacts
from mqctx.inspection._ways import NoWayError, Origin, Ways, origin_of

from .messages import message as queued


def message(*deaths: Death, failure: Any = None, key: str = "here") -> Message:
    history = [
        {
            "queue": each.queue,
            "reason": each.reason,
            "count": each.count,
            "exchange": each.exchange,
            "routing-keys": list(each.routing_keys),
        }
        for each in deaths
    ]
    headers = {"x-death": history, "mqctx-failure": json.dumps(failure)}
    return queued(headers, queue="dead", exchange="dlx", key=key, message_id="m")


def death(queue: str = "in", exchange: str = "orders", *keys: str) -> Death:
    return Death(queue, "rejected", 1, exchange, keys or ("order.new",))


class Broker:
    """Queues `in`, `other` and `dead`; `in` dead-letters to `dlx`, by a key of its own if given."""

    def __init__(
        self,
        routes: dict[tuple[str, str], set[str]] | None,
        *,
        dlx: str | None = "dlx",
        dead_letter_key: str | None = None,
        queues: tuple[str, ...] = ("in", "other", "dead"),
        kind: str | None = "classic",
    ) -> None:
        self.table = routes
        self.routes: Any = self
        self.queues = queues
        self.needs_headers = False
        arguments: dict[str, Any] = {} if dlx is None else {"x-dead-letter-exchange": dlx}
        if dead_letter_key:
            arguments["x-dead-letter-routing-key"] = dead_letter_key
        self.arguments = arguments
        self.kind = kind
        self.asked = 0

    def is_there(self, queue: str) -> bool:
        return queue in self.queues

    def has_exchange(self, exchange: str) -> bool:
        return exchange != "missing"

    def facts(self, queue: str) -> QueueFacts:
        return QueueFacts(name=queue, type=self.kind, arguments=self.arguments)

    def published(self, exchange: str, keys: Any, headers: Any) -> Route:
        return Route() if exchange == "internal" else self.of(exchange, keys, headers)

    def of(self, exchange: str, keys: Any, _: Any) -> Route:
        self.asked += 1
        if exchange == "":
            return Route(frozenset(filter(self.is_there, keys)))
        if exchange == "forbidden":
            raise ManagementError("no right")
        if exchange == "random" or self.table is None:
            return Route(is_sure=False)
        found = [self.table.get((exchange, key), set()) for key in keys]
        return Route(frozenset[str]().union(*found))


def way_of(broker: Broker, sent: Message, target: Origin | None = None) -> Any:
    queues: Any = broker
    return Ways(queues, "dead").of(sent, target)


ALONE = {("orders", "order.new"): {"in"}, ("dlx", "order.new"): {"dead"}}
SHARED = {
    ("internal", "order.new"): {"in"},
    ("orders", "order.new"): {"in", "other"},
    ("dlx", "order.new"): {"dead"},
}


def test_through_the_exchange_that_it_came_by_if_no_other_queue_is_bound() -> None:
    way = way_of(Broker(ALONE), message(death()))
    assert (way.queue, way.exchange, way.routing_key) == ("in", "orders", "order.new")
    assert (way.also, way.second, way.dead_letter_exchange) == ((), ("dead",), "dlx")
    assert (way.by, way.is_by_bcc) == ("x-death", False)


@pytest.mark.parametrize("exchange", ["orders", "random", "forbidden", "gone", "internal"])
def test_straight_to_the_queue_with_its_old_key_if_others_would_get_a_copy_or_nobody_knows(
    exchange: str,
) -> None:
    way = way_of(Broker(SHARED), message(death("in", exchange)))
    assert (way.queue, way.exchange, way.routing_key) == ("in", "", "order.new")
    assert (way.is_by_bcc, way.also, way.second) == (True, (), ("dead",))


def test_straight_to_the_queue_by_its_name_if_another_queue_is_called_like_the_old_key() -> None:
    table = {**SHARED, ("orders", "other"): {"in", "other"}, ("dlx", "in"): {"dead"}}
    way = way_of(Broker(table), message(death("in", "orders", "other")))
    assert (way.exchange, way.routing_key, way.is_by_bcc) == ("", "in", False)
    assert (way.also, way.second) == ((), ("dead",))


def test_no_other_queue_gets_a_copy_even_if_a_second_failure_is_lost() -> None:
    table = {("orders", "other"): {"in", "other"}, ("dlx", "other"): {"dead"}}
    way = way_of(Broker(table), message(death("in", "orders", "other")))
    assert (way.exchange, way.routing_key) == ("", "in")
    assert way.also == ()
    assert way.loses_second


def test_a_dead_letter_key_of_the_queue_is_where_a_second_failure_goes() -> None:
    table = {**SHARED, ("dlx", "dead"): {"dead"}}
    broker = Broker(table, dead_letter_key="dead")
    assert way_of(broker, message(death())).second == ("dead",)


def test_a_queue_without_dead_letter_exchange_drops_a_second_failure() -> None:
    way = way_of(Broker(ALONE, dlx=None), message(death()))
    assert (way.second, way.dead_letter_exchange) == ((), None)
    assert not way.loses_second


def test_without_management_api_it_goes_straight_and_a_second_failure_is_unknown() -> None:
    way = way_of(Broker(None, kind=None), message(death()))
    assert (way.exchange, way.routing_key, way.is_by_bcc) == ("", "order.new", True)
    assert (way.also, way.second) == ((), None)


def test_one_that_was_published_to_its_queue_goes_there_again() -> None:
    way = way_of(Broker(ALONE), message(death("in", "", "in")))
    assert (way.exchange, way.routing_key, way.is_by_bcc) == ("", "in", False)


def test_one_whose_key_nobody_tells_goes_straight_to_its_queue() -> None:
    way = way_of(Broker(ALONE), message(failure={"queue": "in"}))
    assert (way.exchange, way.routing_key, way.is_by_bcc) == ("", "in", False)


def test_a_queue_that_is_gone_is_no_way() -> None:
    with pytest.raises(NoWayError, match="there is no queue 'gone'"):
        way_of(Broker(ALONE), message(death("gone")))


@pytest.mark.parametrize(
    ("exchange", "reason"),
    [("missing", "there is no exchange 'missing'"), ("unbound", "no queue gets it")],
)
def test_an_exchange_that_leads_nowhere_is_no_way(exchange: str, reason: str) -> None:
    failure = {"exchange": exchange, "routing_key": "order.new"}
    with pytest.raises(NoWayError, match=reason):
        way_of(Broker(ALONE), message(failure=failure))


def test_what_a_failure_tells_without_a_queue_goes_through_the_exchange_and_says_who_gets_it() -> (
    None
):
    failure = {"exchange": "orders", "routing_key": "order.new"}
    way = way_of(Broker(SHARED), message(failure=failure))
    assert (way.queue, way.exchange, way.routing_key) == (None, "orders", "order.new")
    assert (way.also, way.second, way.by) == (("in", "other"), None, "mqctx-failure")


def test_nobody_can_tell_where_an_exchange_leads_without_management_api() -> None:
    failure = {"exchange": "orders", "routing_key": "order.new"}
    assert way_of(Broker(None, kind=None), message(failure=failure)).also is None


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        (Origin("other", None, None, "option"), ("", "order.new", True)),
        (Origin(None, "orders", None, "option"), ("orders", "order.new", False)),
        (Origin(None, "orders", "k", "option"), ("orders", "k", False)),
        (Origin(None, "", "in", "option"), ("", "in", False)),
    ],
)
def test_a_target_counts_and_the_old_key_stays_unless_it_names_one(
    target: Origin, expected: tuple[str, str, bool]
) -> None:
    table = {**ALONE, ("orders", "k"): {"in"}}
    way = way_of(Broker(table), message(death()), target)
    assert (way.exchange, way.routing_key, way.is_by_bcc) == expected
    assert way.by == "option"


def test_a_message_that_tells_nothing_goes_to_a_target_with_the_key_that_it_has() -> None:
    way = way_of(Broker(ALONE), message(key="here"), Origin("in", None, None, "option"))
    assert (way.queue, way.routing_key) == ("in", "here")


def test_what_is_known_is_not_asked_again_unless_headers_decide() -> None:
    broker: Any = Broker(ALONE)
    ways = Ways(broker, "dead")
    first = ways.of(message(death()))
    asked = broker.asked
    assert ways.of(message(death())) is first
    assert broker.asked == asked
    broker.needs_headers = True
    ways.of(message(death("in", "orders", "another")))
    asked = broker.asked
    ways.of(message(death("in", "orders", "another")))
    assert broker.asked > asked


def test_what_is_remembered_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mqctx.inspection._ways._MOST_KNOWN", 2)
    ways: Any = Ways(Broker(ALONE), "dead")  # type: ignore[arg-type] # a stand-in
    for number in range(5):
        ways.of(message(death("in", "orders", f"k{number}")))
    assert len(ways._known) <= 2


FAILURE = {"queue": "in", "exchange": "orders", "routing_key": "k"}


@pytest.mark.parametrize(
    ("sent", "origin"),
    [
        (
            message(death("a"), death("b"), failure=FAILURE),
            Origin("a", "orders", "order.new", "x-death"),
        ),
        (message(death("dead"), death("b")), Origin("b", "orders", "order.new", "x-death")),
        (message(Death("in", "expired")), Origin("in", None, None, "x-death")),
        (message(failure=FAILURE), Origin("in", "orders", "k", "mqctx-failure")),
        (message(failure={"queue": "in"}), Origin("in", None, None, "mqctx-failure")),
        (
            message(failure={**FAILURE, "queue": "dead"}),
            Origin(None, "orders", "k", "mqctx-failure"),
        ),
        (
            queued({"NServiceBus.FailedQ": "in", "NServiceBus.ExceptionInfo.Message": "no"}),
            Origin("in", None, None, "NServiceBus"),
        ),
    ],
)
def test_the_newest_death_in_another_queue_tells_the_origin_else_the_failure(
    sent: Message, origin: Origin
) -> None:
    assert origin_of(sent, "dead") == origin


@pytest.mark.parametrize(
    "failure", [None, {}, {"type": "E"}, {"queue": "dead"}, {"exchange": "e"}, {"routing_key": "k"}]
)
def test_a_message_that_tells_nothing_has_no_origin(failure: Any) -> None:
    with pytest.raises(NoWayError, match="--to"):
        origin_of(message(failure=failure), "dead")
