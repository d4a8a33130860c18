"""Groups of messages, counted in bounded memory."""

from typing import Any

import pytest

from mqctx.inspection import Grouping, Groups
from mqctx.inspection._distinct import Room
from mqctx.inspection._why import why

from .messages import message, of_tenant


def counts(groups: Grouping) -> list[tuple[tuple[Any, ...], int, int]]:
    return [(each.values, each.messages, each.requests.count()) for each in groups]


class TestGrouping:
    def test_counts_messages_and_requests_the_largest_group_first(self) -> None:
        groups = Grouping(["tenant"])
        for tenant, request in (("a", "r-1"), ("b", "r-2"), ("b", "r-2"), (None, "r-3")):
            groups.add(of_tenant(tenant, request))
        assert counts(groups) == [(("b",), 2, 1), (("a",), 1, 1), ((None,), 1, 1)]

    def test_by_several_names_has_a_value_for_each(self) -> None:
        groups = Grouping(["tenant", "queue", "death.reason"])
        deaths = [{"queue": "in", "reason": "rejected", "count": 1}]
        groups.add(message({"mqctx": '{"tenant":"a"}', "x-death": deaths}))
        (group,) = groups
        assert group.as_json(groups.names)["group"] == {
            "tenant": "a",
            "queue": "orders.dead",
            "death.reason": "rejected",
        }

    def test_tells_reasons_failures_origins_bytes_and_times(self) -> None:
        groups = Grouping(["tenant"])
        deaths = [{"queue": "in", "reason": "expired", "count": 1, "time": 1_769_841_828}]
        failure = '{"type":"Late","message":"order 7","queue":"shop","at":"2026-01-31T07:00:00.5Z"}'
        groups.add(message({"x-death": deaths}, body=b"123"))
        groups.add(message({"mqctx-failure": failure}, body=b"45"))
        (group,) = groups
        assert group.as_json(groups.names) == {
            "group": {"tenant": None},
            "messages": 2,
            "requests": 0,
            "bytes": 5,
            "first": "2026-01-31T06:43:48Z",
            "last": "2026-01-31T07:00:00.500Z",
            "reasons": {"expired": 1},
            "failures": {"Late": 1},
        }
        assert dict(group.origins) == {"in": 1, "shop": 1}
        assert dict(group.whys) == {"expired": 1, "Late: order ...": 1}

    def test_counts_reasons_of_which_strangers_sent_too_many_together(self) -> None:
        groups = Grouping(["tenant"])
        for number in range(150):
            kind = chr(ord("A") + number % 26) * (1 + number // 26)
            groups.add(message({"mqctx-failure": f'{{"type":"{kind}"}}'}))
        (group,) = groups
        assert len(group.failures) == 101
        assert group.failures["others"] == 50


class TestGroups:
    def test_are_by_the_name_that_gives_the_fewest_above_one(self) -> None:
        groups = Groups()
        for number in range(12):
            context = (
                f'{{"app":"shop","tenant":"t{number % 3}","region":"r{number % 2}",'
                f'"request_id":"{number}","trace_flags":"{number % 2}"}}'
            )
            groups.add(message({"mqctx": context}))
        assert groups.chosen.names == ("region",)
        assert groups.others == ["app", "tenant", "request_id"]

    def test_leave_out_a_name_that_few_messages_have(self) -> None:
        groups = Groups()
        for number in range(10):
            rare = '"beta":true,' if number == 0 else ""
            groups.add(message({"mqctx": f'{{{rare}"tenant":"t{number % 3}"}}'}))
        assert groups.chosen.names == ("tenant",)

    def test_count_earlier_messages_under_a_name_that_comes_later(self) -> None:
        groups = Groups()
        for request, second in (("r-1", 9), ("r-2", 8)):
            headers = {"mqctx": f'{{"request_id":"{request}"}}'}
            groups.add(message(headers, body=b"1", timestamp=1_769_841_800 + second))
        for tenant in ("a", "a", "a"):
            groups.add(of_tenant(tenant, "r-1", body=b"1"))
        assert groups.chosen.names == ("tenant",)
        assert counts(groups.chosen) == [(("a",), 3, 1), ((None,), 2, 2)]
        earlier = list(groups.chosen)[1]
        assert (earlier.first, earlier.last) == ("2026-01-31T06:43:28Z", "2026-01-31T06:43:29Z")
        assert (earlier.bytes, dict(earlier.whys)) == (2, {"not known": 2})

    def test_without_a_context_are_by_the_queue_that_messages_came_from(self) -> None:
        groups = Groups()
        groups.add(message({"x-death": [{"queue": "in", "reason": "expired"}]}))
        groups.add(message())
        assert groups.chosen.names == ("from",)
        assert counts(groups.chosen) == [(("in",), 1, 0), ((None,), 1, 0)]

    def test_are_one_where_all_messages_share_the_only_name(self) -> None:
        groups = Groups()
        for _ in range(2):
            groups.add(message({"mqctx": '{"tenant":"a"}'}))
        assert counts(groups.chosen) == [(("a",), 2, 0)]

    def test_give_up_a_name_with_very_many_values(self) -> None:
        groups = Groups()
        for number in range(600):
            groups.add(of_tenant(None, f"r-{number}"))
        assert groups.chosen.names == ("from",)
        assert counts(groups.chosen) == [((None,), 600, 600)]

    def test_look_at_some_names_only_of_those_that_strangers_make_up(self) -> None:
        groups = Groups()
        for number in range(40):
            groups.add(message({"mqctx": f'{{"made_up_{number}":1}}'}))
        assert len(groups.others) == 20


class TestDistinct:
    def test_is_exact_while_there_is_room(self) -> None:
        room = Room(1_000)
        counter = room.counter()
        for number in range(2_000):
            room.add(counter, hash(str(number % 1_000)))
        assert counter.count() == 1_000
        assert counter.is_exact

    def test_is_an_estimate_beyond_and_small_counters_stay_exact(self) -> None:
        room = Room(2_000)
        small, large = room.counter(), room.counter()
        for number in range(100_000):
            room.add(large, hash(str(number)))
            room.add(small, hash(str(number % 10)))
        assert (small.count(), small.is_exact) == (10, True)
        assert len(large) <= 2_000
        assert not large.is_exact
        assert large.count() == pytest.approx(100_000, rel=0.2)

    def test_of_what_is_dropped_makes_room(self) -> None:
        room = Room(10)
        first = room.counter()
        for number in range(10):
            room.add(first, hash(str(number)))
        room.drop(first)
        second = room.counter()
        for number in range(10):
            room.add(second, hash(str(number)))
        assert second.is_exact


@pytest.mark.parametrize(
    ("headers", "line"),
    [
        ({}, "not known"),
        ({"x-death": [{"queue": "q", "reason": "rejected"}]}, "rejected, no reason given"),
        ({"x-death": [{"queue": "q", "reason": "maxlen"}]}, "maxlen"),
        ({"mqctx-failure": '{"type":"E"}'}, "E"),
        ({"mqctx-failure": '{"message":"no"}'}, "failed: no"),
        (
            {"mqctx-failure": '{"type":"E","message":"card \'a b\' of 7-4 4711 is bad\\nmore"}'},
            "E: card ... of ... is bad",
        ),
    ],
)
def test_why_is_one_line_without_what_is_particular(headers: dict[str, Any], line: str) -> None:
    assert why(message(headers))[1] == line
