"""Events that came through several channels: each keeps its own order, and no other."""

import random
from collections.abc import Iterable
from operator import attrgetter
from typing import Any

import pytest
from msgspec.structs import replace

from mqctx.inspection._journeys._joiner import Joiner
from mqctx.inspection._journeys._told import Event, RunReport
from tests.unit.journeys import Json, Story, death

CHANNELS = 8
LATE = 0.1
"""The most seconds by which a channel is behind: 20 to 80 ms were seen."""
REQUESTS = 30
TRACE = "0af7651916cd43dd8448eb211c803"


def traffic(*, with_spans: bool) -> Story:
    """Tell of requests that publish, ask, fail and try again, each some 5 ms behind the last."""
    story = Story()
    for number in range(REQUESTS):
        began = story.now

        def of(step: int, parent: int | None = None, number: int = number) -> dict[str, Any]:
            headers = {"mqctx": f'{{"request_id":"r-{number}"}}'}
            if with_spans:
                span = f"{number:08x}{step:08x}"
                headers["traceparent"] = f"00-{TRACE}{number:03x}-{span}-01"
                if parent is not None:
                    headers["tracestate"] = f"mqctx={number:08x}{parent:08x}-{span}"
            return {"headers": headers, "body": b"%d %d" % (number, step)}

        story.publish("shop", "orders", "ledger", **of(1))
        story.deliver("orders", exchange="shop", at="orders", user="orders", **of(1))
        story.deliver("ledger", exchange="shop", at="ledger", user="ledger", **of(1))
        story.publish("", "mail", key="mail", at="orders", user="orders", **of(2, 1))
        story.deliver("mail", key="mail", at="mail", user="mail", **of(2, 1))
        story.deliver("mail", key="mail", at="mail", user="mail", redelivered=True, **of(2, 1))
        died = [death("mail")]
        story.deliver("dead", key="mail", at="dead", user="dead", deaths=died, **of(2, 1))
        story.now = began + 0.005
    story.told.sort(key=attrgetter("at"))
    return story


def by_several_channels(events: Iterable[Any], seed: int) -> list[Event | RunReport]:
    """Return events as they come if each channel is late by a time of its own."""
    chance = random.Random(seed)
    behind = {str(each): chance.uniform(0, LATE) for each in range(CHANNELS)}
    late: list[Event | RunReport] = []
    for event in events:
        lane = chance.choice([*behind])
        late.append(replace(event, lane=lane, at=event.at + behind[lane]))
    return sorted(late, key=attrgetter("at"))


def joined(events: Iterable[Event | RunReport]) -> list[Json]:
    joiner = Joiner()
    for event in events:
        joiner.take(event)
        joiner.advance(event.at)
    return [record for journey in joiner.finish() for record in journey]


PARENTS: dict[tuple[str, str], set[tuple[str, str] | None]] = {
    ("publish", "shop"): {None},
    ("delivery", "orders"): {("publish", "shop")},
    ("delivery", "ledger"): {("publish", "shop")},
    ("publish", "mail"): {("delivery", "orders")},
    ("delivery", "mail"): {("publish", "mail")},
    ("dead_letter", "mail"): {("delivery", "mail")},
    ("delivery", "dead"): {("dead_letter", "mail")},
}
"""The causes of each event, in each of the requests."""


def place_of(record: Json) -> tuple[str, str]:
    return record["kind"], record.get("queue") or record["exchange"] or record["routing_keys"][0]


def is_right(record: Json, records: dict[str, Json]) -> bool:
    parent = records.get(record["parent"] or "")
    if parent is not None and parent["journey"] != record["journey"]:
        return False
    place = None if parent is None else place_of(parent)
    return place in PARENTS[place_of(record)]


@pytest.mark.parametrize("with_spans", [False, True])
def test_are_joined_right_or_marked_as_inferred(*, with_spans: bool) -> None:
    told = traffic(with_spans=with_spans).told
    right = whole = 0
    for seed in range(10):
        records = {each["id"]: each for each in joined(by_several_channels(told, seed))}
        wrong = [each for each in records.values() if not is_right(each, records)]
        assert [each for each in wrong if not each["inferred"]] == []
        whole += len(records)
        right += len(records) - len(wrong)
    assert right / whole >= (0.99 if with_spans else 0.95)
