"""How the broker's events are joined: each rule, and what may not mislead it."""

import json
from typing import Any

import pytest

from mqctx._amqp.content_header import ContentHeader
from mqctx.inspection._journeys._chosen import Chosen
from mqctx.inspection._journeys._model import MOST_ENDS
from mqctx.inspection._journeys._told import Event
from mqctx.inspection._where import Where
from tests.unit.journeys import Story, death, edges, header_of

TRACE = "0af7651916cd43dd8448eb211c80319c"
A, B, C = "a" * 16, "b" * 16, "c" * 16


def of_request(name: str = "r-1") -> dict[str, Any]:
    return {"mqctx": f'{{"request_id":"{name}"}}'}


def of_span(span: str, parent: str | None = None) -> dict[str, Any]:
    headers = {"traceparent": f"00-{TRACE}-{span}-01"}
    return headers | ({"tracestate": f"mqctx={parent}-{span}"} if parent else {})


def edge_of(story: Story, id: str) -> tuple[str | None, str | None, bool]:
    found = {each[0]: each[1:] for each in edges(story.end())}
    return found[id]


class TestDelivery:
    def test_is_joined_to_its_publish(self) -> None:
        story = Story()
        story.publish("", "orders", message_id="1")
        story.publish("", "orders", message_id="2")
        story.deliver("orders", message_id="2")
        assert edge_of(story, "delivery-1") == ("publish-2", "message", False)

    def test_whose_event_comes_before_that_of_its_publish_is_joined_all_the_same(self) -> None:
        story = Story()
        story.deliver("orders", message_id="1")
        story.publish("", "orders", message_id="1")
        assert edge_of(story, "delivery-1") == ("publish-1", "message", False)

    def test_waits_for_its_own_publish_where_that_of_a_twin_comes_first(self) -> None:
        story = Story()
        story.deliver("orders", at="one")
        story.deliver("orders", at="other")
        story.publish("", "orders")
        story.publish("", "orders")
        found = {each[0]: each[1] for each in edges(story.end())}
        assert {found["delivery-1"], found["delivery-2"]} == {"publish-1", "publish-2"}

    def test_of_a_publish_before_the_trace_is_a_root(self) -> None:
        story = Story()
        story.deliver("orders", headers=of_request())
        story.deliver("orders", headers=of_request(), redelivered=True)
        first, again = story.end()
        assert (first["parent"], first["inferred"], first["wait"]) == (None, False, None)
        assert (first["journey"], first["by"]) == ("r-1", "request_id")
        assert (again["parent"], again["attempt"]) == (None, 2)

    def test_again_counts_its_attempts_from_this_queue(self) -> None:
        story = Story()
        story.publish("events", "mail", "bill", message_id="1")
        story.deliver("mail", message_id="1")
        story.deliver("bill", message_id="1")
        story.deliver("mail", message_id="1", redelivered=True)
        deliveries = [r for r in story.end() if r["kind"] == "delivery"]
        attempts = [(r["queue"], r["attempt"], r["parent"]) for r in deliveries]
        assert attempts == [
            ("mail", 1, "publish-1"),
            ("bill", 1, "publish-1"),
            ("mail", 2, "publish-1"),
        ]

    def test_of_a_dead_letter_is_the_first_though_it_comes_as_redelivered(self) -> None:
        story = Story()  # of RabbitMQ 4.3
        story.publish("", "orders", message_id="1")
        story.deliver("orders", message_id="1")
        story.deliver("orders", message_id="1", redelivered=True)
        story.deliver("dead", message_id="1", deaths=[death("orders")], redelivered=True)
        attempts = [r["attempt"] for r in story.end() if r["kind"] == "delivery"]
        assert attempts == [1, 2, 1]

    def test_has_its_wait_in_seconds_since_its_parent(self) -> None:
        story = Story()
        story.publish("", "orders", message_id="1")
        story.now += 5
        story.deliver("orders", message_id="1")
        assert story.end()[-1]["wait"] == pytest.approx(5.01)

    def test_with_what_the_broker_adds_and_takes_away_is_the_same_message(self) -> None:
        story = Story()
        story.publish("", "log", message_id="1", expiration="1000", headers={"CC": ["other"]})
        for reader in ("one", "another"):
            offset = {"x-stream-offset": 3}
            story.deliver("log", message_id="1", delivery_mode=2, headers=offset, at=reader)
        assert [each[1:] for each in edges(story.end())[1:]] == [
            ("publish-1", "message", False),
            ("publish-1", "message", False),
        ]

    def test_of_text_that_a_stream_hands_out_as_bytes_is_the_same_message(self) -> None:
        story = Story()
        story.publish("", "log", headers=of_request())
        story.deliver("log", headers={"mqctx": b'{"request_id":"r-1"}'})
        assert edge_of(story, "delivery-1") == ("publish-1", "message", False)


class TestIdenticalMessages:
    def test_are_joined_first_in_first_out_and_marked(self) -> None:
        story = Story()
        for _ in range(2):
            story.publish("", "orders", headers=of_request())
        for _ in range(2):
            story.deliver("orders", headers=of_request())
        story.deliver("orders", headers=of_request(), redelivered=True)
        assert [each for each in edges(story.end()) if each[0].startswith("delivery")] == [
            ("delivery-1", "publish-1", "order", True),
            ("delivery-2", "publish-2", "order", True),
            ("delivery-3", "publish-1", "order", True),
        ]

    def test_that_do_not_wait_at_the_same_time_are_told_apart(self) -> None:
        story = Story()
        for _ in range(2):
            story.publish("", "orders", headers=of_request())
            story.deliver("orders", headers=of_request())
        joined = {each[0]: each[1:] for each in edges(story.end())}
        assert joined["delivery-1"] == ("publish-1", "message", False)
        assert joined["delivery-2"] == ("publish-2", "message", False)

    def test_of_which_one_returns_while_another_waits_are_told_apart(self) -> None:
        story = Story()
        story.publish("", "orders", headers=of_request())
        story.deliver("orders", headers=of_request())
        story.publish("", "orders", headers=of_request())
        story.deliver("orders", headers=of_request(), redelivered=True)
        assert edge_of(story, "delivery-2") == ("publish-1", "message", False)

    def test_that_their_publisher_sends_twice_are_no_chain(self) -> None:
        story = Story()
        for _ in range(2):
            story.publish("", "orders", headers=of_request())
            story.deliver("orders", headers=of_request())
        assert edge_of(story, "publish-2") == (None, None, True)

    def test_of_strangers_without_any_id_are_not_joined(self) -> None:
        story = Story()
        for publisher in ("one", "another"):
            story.publish("", "pings", at=publisher)
            story.deliver("pings")
        records = story.end()
        assert {r["journey"] for r in records if r["kind"] == "publish"} == {
            "publish-1",
            "publish-2",
        }

    def test_are_told_apart_by_a_header_that_is_no_part_of_a_context(self) -> None:
        story = Story()
        for number in range(2):
            story.publish("", "tasks", headers={"retries": number}, correlation_id="t")
        for number in (1, 0):
            story.deliver("tasks", headers={"retries": number}, correlation_id="t")
        joined = {each[0]: each[1:] for each in edges(story.end())}
        assert joined["delivery-1"] == ("publish-2", "message", False)
        assert joined["delivery-2"] == ("publish-1", "message", False)

    def test_with_dead_letters_are_marked(self) -> None:
        story = Story()
        for _ in range(2):
            story.publish("", "orders")
        for _ in range(2):
            story.deliver("orders")
        story.deliver("dead", deaths=[death("orders")])
        joined = {each[0]: each[1:] for each in edges(story.end())}
        assert joined["dead_letter-1"] == ("delivery-1", "order", True)
        assert joined["delivery-3"] == ("dead_letter-1", "order", True)

    def test_of_which_one_returns_as_a_dead_letter_are_marked(self) -> None:
        story = Story()
        dead: dict[str, Any] = {"deaths": [death("orders")], "redelivered": True}
        story.publish("", "orders")
        story.publish("", "orders")
        for _ in range(2):
            story.deliver("dead", **dead)
        last = edges(story.end())[-1]
        assert last[2:] == ("order", True)

    def test_from_before_the_trace_are_messages_of_their_own(self) -> None:
        story = Story()
        for _ in range(3):
            story.deliver("orders", headers=of_request())
            story.wait(2)
        story.deliver("dead", headers=of_request(), deaths=[death("orders")])
        story.deliver("dead", headers=of_request(), deaths=[death("orders")])
        records = story.end()
        attempts = [r["attempt"] for r in records if r["kind"] == "delivery"]
        assert attempts == [1] * len(attempts)

    def test_of_a_large_number_are_joined_in_order(self) -> None:
        story = Story()
        for _ in range(200):
            story.publish("", "orders")
        for _ in range(200):
            story.deliver("orders", redelivered=False)
        story.deliver("orders", redelivered=True)
        joined = [each for each in edges(story.end()) if each[0].startswith("delivery")]
        assert {each[1] for each in joined} == {f"publish-{n}" for n in range(1, 201)}
        assert all(inferred for *_, inferred in joined)


class TestDeadLetter:
    def test_with_deaths_of_a_copy_that_died_otherwise_is_another_message(self) -> None:
        story = Story()
        story.publish("", "orders", message_id="1")
        story.deliver("dead", message_id="1", deaths=[death("orders", count=2)])
        story.deliver("dead", message_id="1", deaths=[death("orders", count=1)])
        assert edge_of(story, "delivery-2") == ("dead_letter-2", "death", False)

    def test_is_what_is_new_in_x_death(self) -> None:
        story = Story()
        story.publish("", "orders", message_id="1")
        story.deliver("orders", message_id="1")
        story.deliver("dead", message_id="1", deaths=[death("orders", at=1_000_001)])
        records = {record["id"]: record for record in story.end()}
        died = records["dead_letter-1"]
        assert (died["queue"], died["reason"], died["count"]) == ("orders", "rejected", 1)
        assert (died["exchange"], died["routing_keys"]) == ("", ["orders"])
        assert died["at"].startswith("1970-01-12T13:46:41")
        assert (died["parent"], died["joined"], died["inferred"]) == ("delivery-1", "death", False)
        assert records["delivery-2"]["parent"] == "dead_letter-1"
        assert records["delivery-2"]["joined"] == "death"

    def test_of_a_message_that_expired_comes_from_its_publish(self) -> None:
        story = Story()
        story.publish("", "waiting", message_id="1")
        story.deliver("work", message_id="1", deaths=[death("waiting", "expired")])
        assert edge_of(story, "dead_letter-1") == ("publish-1", "death", False)

    def test_by_way_of_two_queues_is_a_chain_the_oldest_first(self) -> None:
        story = Story()
        story.publish("", "orders", message_id="1")
        for count in (1, 2):
            story.deliver("orders", message_id="1", deaths=_rounds(count - 1))
        assert edges(story.end()) == [
            ("publish-1", None, None, False),
            ("delivery-1", "publish-1", "message", False),
            ("dead_letter-1", "delivery-1", "death", False),
            ("dead_letter-2", "dead_letter-1", "death", False),
            ("delivery-2", "dead_letter-2", "death", False),
        ]

    def test_and_back_again_counts_attempts_and_adds_only_what_is_new(self) -> None:
        story = Story()
        story.publish("", "orders", message_id="1")
        for count in range(3):
            story.deliver("orders", message_id="1", deaths=_rounds(count))
        records = story.end()
        deliveries = [r for r in records if r["kind"] == "delivery"]
        assert [r["attempt"] for r in deliveries] == [1, 2, 3]
        counts = [(r["queue"], r["count"]) for r in records if r["kind"] == "dead_letter"]
        assert counts == [("orders", 1), ("retry", 1), ("orders", 2), ("retry", 2)]

    def test_that_went_to_two_queues_is_one(self) -> None:
        story = Story()
        story.publish("", "orders", message_id="1")
        story.deliver("orders", message_id="1")
        for queue in ("dead", "audit"):
            story.deliver(queue, message_id="1", deaths=[death("orders")])
        joined = edges(story.end())
        assert [each[1] for each in joined[-2:]] == ["dead_letter-1", "dead_letter-1"]

    def test_of_one_of_three_copies_leaves_the_others_alone(self) -> None:
        story = Story()
        story.publish("events", "one", "two", "three", message_id="1")
        story.deliver("one", message_id="1")
        story.deliver("two", message_id="1")
        story.deliver("dead", message_id="1", deaths=[death("two")])
        story.deliver("dead", message_id="1", deaths=[death("one")])
        joined = {each[0]: each[1] for each in edges(story.end())}
        assert joined["dead_letter-1"] == "delivery-2"
        assert joined["dead_letter-2"] == "delivery-1"

    def test_from_before_the_trace_shows_why_it_died(self) -> None:
        story = Story()
        story.deliver("dead", message_id="1", deaths=[death("orders")])
        assert edges(story.end()) == [
            ("dead_letter-1", None, None, False),
            ("delivery-1", "dead_letter-1", "death", False),
        ]


class TestDeadLetterByHandler:
    """Of a copy that mqctx sends for a handler which failed."""

    def settled(self, story: Story, **failure: Any) -> None:
        why = {"mqctx-failure": json.dumps(failure)}
        story.publish("dead", "dead", body=b"o", headers=of_request() | why, at="its-other-one")

    def received(self, story: Story) -> None:
        story.publish("", "orders", body=b"o", headers=of_request())
        story.deliver("orders", body=b"o", headers=of_request())

    def test_is_a_dead_letter_with_its_reason_between_delivery_and_copy(self) -> None:
        story = Story()
        self.received(story)
        self.settled(
            story, type="CardExpired", message="of 7", failures=2, exchange="e", routing_key="k"
        )
        *_, died, copy = story.end()
        assert (died["kind"], died["parent"], died["joined"], died["inferred"]) == (
            *("dead_letter", "delivery-1", "message", False),
        )
        assert {
            name: died[name] for name in ("queue", "reason", "count", "exchange", "routing_keys")
        } == {
            "queue": "orders",
            "reason": "CardExpired: of 7",
            "count": 2,
            "exchange": "e",
            "routing_keys": ["k"],
        }
        assert (copy["parent"], copy["joined"], copy["inferred"]) == (died["id"], "death", False)

    def test_names_the_queue_that_the_handler_named(self) -> None:
        story = Story()
        self.settled(story, queue="orders.eu")
        died, _ = story.end()
        assert (died["parent"], died["queue"], died["reason"]) == (None, "orders.eu", "failed")
        assert died["routing_keys"] == []

    def test_of_who_knows_no_queue_has_none(self) -> None:
        story = Story()
        self.settled(story, type="E")
        assert [each["queue"] for each in story.end() if each["kind"] == "dead_letter"] == [None]

    def test_is_none_of_a_copy_that_is_sent_on_or_back_as_it_came(self) -> None:
        story = Story()
        self.received(story)
        self.settled(story, type="E")
        why = of_request() | {"mqctx-failure": '{"type": "E"}'}
        story.deliver("dead", exchange="dead", body=b"o", headers=why, at="redrive")
        back = {"mqctx-redrive": '{"count":1}'}
        story.publish("", "orders", body=b"o", headers=why | back, at="redrive")
        records = {each["id"]: each for each in story.end()}
        assert list(records).count("dead_letter-1") == 1
        assert "dead_letter-2" not in records
        assert records["publish-3"]["parent"] == "delivery-2"

    def test_is_none_of_a_redrive_of_what_was_not_seen(self) -> None:
        story = Story()
        back = {"mqctx-failure": '{"type": "E"}', "mqctx-redrive": '{"count":1}'}
        story.publish("", "orders", body=b"o", headers=back)
        assert [each["kind"] for each in story.end()] == ["publish"]

    def test_is_none_of_a_reason_that_says_nothing(self) -> None:
        story = Story()
        self.received(story)
        story.publish("", "d", body=b"o", headers=of_request() | {"mqctx-failure": "no JSON"})
        assert [each["kind"] for each in story.end()] == ["publish", "delivery", "publish"]

    def test_names_the_queue_of_the_delivery_whose_run_sent_the_copy(self) -> None:
        story = Story()
        asked = of_request() | of_span(A)
        story.publish("", "orders", body=b"o", headers=asked)
        story.deliver("orders", body=b"o", headers=asked)
        why = {"mqctx-failure": '{"type":"E"}'}
        story.publish("", "dead", body=b"copy", headers=of_request() | of_span(B, A) | why)
        story.run(B, headers=asked)
        died = next(each for each in story.end() if each["kind"] == "dead_letter")
        assert (died["parent"], died["joined"], died["queue"]) == ("run-1", "run", "orders")

    def test_stays_above_its_copy_when_the_run_is_known_late(self) -> None:
        story = Story()
        headers = of_request() | of_span(A)
        story.publish("", "orders", body=b"o", headers=headers)
        story.deliver("orders", body=b"o", headers=headers)
        story.wait(0.1)
        why = {"mqctx-failure": '{"type":"E"}'}
        story.publish("", "dead", body=b"o", headers=headers | why, at="another")
        story.wait(1.5)
        story.run(A, headers=headers)
        parents = {each["id"]: each["parent"] for each in story.end()}
        assert parents["publish-2"] == "dead_letter-1"
        assert parents["dead_letter-1"] == "run-1"


def _rounds(count: int) -> list[dict[str, Any]]:
    """Return the deaths of a message that was rejected, and came back when it expired."""
    return [death("retry", "expired", count), death("orders", "rejected", count)] if count else []


class TestSentOnUnchanged:
    def test_is_joined_to_its_delivery(self) -> None:
        story = Story()
        story.publish("", "here", message_id="1")
        story.deliver("here", message_id="1", at="shovel")
        story.publish("", "there", message_id="1", at="shovel")
        story.deliver("there", message_id="1", at="reader")
        assert [each[1:] for each in edges(story.end())[2:]] == [
            ("delivery-1", "message", False),
            ("publish-2", "message", False),
        ]

    def test_after_it_was_requeued_is_joined_to_its_last_delivery(self) -> None:
        story = Story()
        story.publish("", "here", message_id="1")
        story.deliver("here", message_id="1", at="shovel")
        story.deliver("here", message_id="1", at="shovel", redelivered=True)
        story.publish("", "there", message_id="1", at="shovel")
        assert edge_of(story, "publish-2") == ("delivery-2", "message", False)

    def test_while_it_is_requeued_is_marked(self) -> None:
        story = Story()
        story.publish("", "here", message_id="1")
        story.deliver("here", message_id="1", at="shovel")
        story.publish("", "there", message_id="1", at="shovel")
        story.deliver("here", message_id="1", at="shovel", redelivered=True)
        assert edge_of(story, "publish-2") == ("delivery-1", "channel", True)

    def test_by_who_received_it_from_two_queues_is_marked(self) -> None:
        story = Story()
        story.publish("fan", "here", "there", message_id="1")
        story.deliver("here", message_id="1", at="shovel")
        story.deliver("there", message_id="1", at="shovel")
        story.publish("", "far", message_id="1", at="shovel")
        assert edge_of(story, "publish-2") == ("delivery-2", "channel", True)

    def test_with_the_deaths_that_it_came_with_has_died_no_more_than_before(self) -> None:
        story = Story()
        story.publish("", "here", message_id="1")
        story.deliver("here", message_id="1")
        story.deliver("dead", message_id="1", deaths=[death("here")], at="shovel")
        again = {"x-death": [death("here")]}
        story.publish("", "there", message_id="1", headers=again, at="shovel")
        story.deliver("there", message_id="1", deaths=[death("here")])
        story.deliver("there", message_id="1", deaths=[death("here")], redelivered=True)
        assert [each[1:] for each in edges(story.end())[3:]] == [
            ("dead_letter-1", "death", False),
            ("delivery-2", "message", False),
            ("publish-2", "message", False),
            ("publish-2", "message", False),
        ]

    def test_with_deaths_is_the_same_message_though_a_stream_takes_them_away(self) -> None:
        story = Story()
        story.publish("", "log", message_id="1", headers={"x-death": [death("here")]})
        story.deliver("log", message_id="1", headers={"x-stream-offset": 0})
        assert edge_of(story, "delivery-1") == ("publish-1", "message", False)

    @pytest.mark.parametrize(
        "deaths",
        [
            [death("here")],  # from 4.0 on, RabbitMQ begins anew
            [death("here", count=2)],  # before, it counts on
            [death("there"), death("here")],
            [death("there")],
        ],
    )
    def test_with_the_deaths_that_it_came_with_may_die_again(self, deaths: list[Any]) -> None:
        queue = deaths[0]["queue"]
        story = Story()
        again = {"x-death": [death("here")]}
        story.publish("", queue, message_id="1", headers=again)
        story.deliver(queue, message_id="1", deaths=[death("here")])
        story.deliver("dead", message_id="1", deaths=deaths)
        story.deliver("dead", message_id="1", deaths=deaths, redelivered=True)
        records = story.end()
        assert [each[1:] for each in edges(records)[1:]] == [
            ("publish-1", "message", False),
            ("delivery-1", "death", False),
            ("dead_letter-1", "death", False),
            ("dead_letter-1", "death", False),
        ]
        assert [each.get("attempt") for each in records] == [None, 1, None, 1, 2]

    def test_by_another_connection_is_marked(self) -> None:
        story = Story()
        story.publish("", "here", message_id="1")
        story.deliver("here", message_id="1", at="shovel")
        story.publish("", "there", message_id="1", at="its-other-one")
        assert edge_of(story, "publish-2") == ("delivery-1", "client", True)

    def test_with_the_reason_why_it_was_dead_lettered_is_sure(self) -> None:
        story = Story()
        story.publish("", "orders", message_id="1")
        story.deliver("orders", message_id="1")
        why = {"mqctx-failure": '{"type":"ValueError"}'}
        story.publish("", "dead", message_id="1", headers=why, at="its-other-one")
        assert edge_of(story, "dead_letter-1") == ("delivery-1", "message", False)

    def test_without_any_id_is_marked(self) -> None:
        story = Story()
        story.publish("", "pings", body=b"ping")
        story.deliver("pings", body=b"ping", at="peer")
        story.publish("", "pings", body=b"ping", at="peer")
        assert edge_of(story, "publish-2") == ("delivery-1", "message", True)


class TestReply:
    def test_is_joined_to_the_request_without_any_context(self) -> None:
        story = Story()
        story.publish("", "rpc", reply_to="answers", correlation_id="1", body=b"?")
        story.deliver("rpc", reply_to="answers", correlation_id="1", body=b"?")
        story.publish("", "answers", key="answers", correlation_id="1", body=b"!", at="elsewhere")
        assert edge_of(story, "publish-2") == ("delivery-1", "reply", False)

    def test_of_another_correlation_id_is_not(self) -> None:
        story = Story()
        story.publish("", "rpc", reply_to="answers", correlation_id="1", body=b"?")
        story.deliver("rpc", reply_to="answers", correlation_id="1", body=b"?")
        story.publish("", "answers", key="answers", correlation_id="2", body=b"!")
        assert edge_of(story, "publish-2") == (None, None, False)

    def test_to_a_request_that_several_received_is_marked(self) -> None:
        story = Story()
        asked: dict[str, Any] = {"reply_to": "answers", "correlation_id": "1", "body": b"?"}
        story.publish("all", "one", "two", **asked)
        story.deliver("one", at="1", **asked)
        story.deliver("two", at="2", **asked)
        story.publish("", "answers", key="answers", correlation_id="1", body=b"!", at="1")
        assert edge_of(story, "publish-2") == ("delivery-1", "channel", True)

    def test_that_comes_before_the_event_of_the_delivery_is_joined_to_it(self) -> None:
        story = Story()
        asked: dict[str, Any] = {"reply_to": "answers", "correlation_id": "1", "body": b"?"}
        story.publish("", "rpc", **asked)
        story.publish("", "answers", key="answers", correlation_id="1", body=b"!", at="worker")
        story.deliver("rpc", **asked)
        assert edge_of(story, "publish-2") == ("delivery-1", "reply", False)

    def test_to_a_request_whose_delivery_cannot_be_seen_is_marked(self) -> None:
        story = Story()
        story.publish("", "rpc", reply_to="answers", correlation_id="1", body=b"?")
        story.publish("", "answers", key="answers", correlation_id="1", body=b"!", at="worker")
        assert edge_of(story, "publish-2") == ("publish-1", "reply", True)


class TestSpan:
    def test_in_our_member_of_tracestate_is_the_one_it_was_published_in(self) -> None:
        story = Story()
        story.publish("", "orders", headers=of_span(A))
        story.deliver("orders", headers=of_span(A))
        story.publish("", "mail", headers=of_span(B, A), at="elsewhere", body=b"b")
        assert edge_of(story, "publish-2") == ("delivery-1", "span", False)

    def test_that_three_queues_got_is_told_apart_by_the_connection_and_marked(self) -> None:
        story = Story()
        story.publish("events", "one", "two", "three", headers=of_span(A))
        for number, queue in enumerate(("one", "two", "three")):
            story.deliver(queue, headers=of_span(A), at=str(number))
        story.publish("", "mail", headers=of_span(B, A), at="1", channel=2, body=b"b")
        assert edge_of(story, "publish-2") == ("delivery-2", "connection", True)

    def test_of_which_one_queue_has_delivered_nothing_yet_is_marked(self) -> None:
        story = Story()
        story.publish("events", "one", "two", headers=of_span(A))
        story.deliver("one", headers=of_span(A), user="one")
        story.publish("", "mail", headers=of_span(B, A), at="elsewhere", user="two", body=b"b")
        assert edge_of(story, "publish-2") == ("delivery-1", "time", True)

    def test_of_a_redelivery_is_the_latest_before_and_marked(self) -> None:
        story = Story()
        story.publish("", "orders", headers=of_span(A))
        story.deliver("orders", headers=of_span(A))
        story.deliver("orders", headers=of_span(A), redelivered=True)
        story.publish("", "mail", headers=of_span(B, A), body=b"b", at="worker")
        story.deliver("orders", headers=of_span(A), redelivered=True)
        assert edge_of(story, "publish-2") == ("delivery-2", "channel", True)

    def test_that_no_message_has_is_a_root(self) -> None:
        story = Story()
        story.publish("", "orders", headers=of_span(B, A))
        story.deliver("orders", headers=of_span(B, A))
        story.publish("", "orders", headers=of_span(C, A), body=b"c", at="its-other-one")
        assert edge_of(story, "publish-2") == (None, None, False)

    def test_sent_on_as_it_came_by_whom_knows_no_spans_leads_to_the_delivery(self) -> None:
        story = Story()
        story.publish("", "orders", headers=of_span(A))
        story.deliver("orders", headers=of_span(A))
        story.publish("", "mail", headers=of_span(A), at="worker", body=b"b")
        assert edge_of(story, "publish-2") == ("delivery-1", "span", False)

    def test_sent_on_with_the_one_it_was_published_in_leads_to_the_delivery_too(self) -> None:
        story = Story()
        story.publish("", "orders", headers=of_span(A))
        story.deliver("orders", headers=of_span(A))
        story.publish("", "mail", headers=of_span(B, A), at="worker", body=b"b")
        story.deliver("mail", headers=of_span(B, A), at="mailer", body=b"b")
        story.publish("", "mail", headers=of_span(B, A), at="mailer", body=b"c")
        assert edge_of(story, "publish-3") == ("delivery-2", "span", False)

    def test_sent_on_by_another_connection_is_marked(self) -> None:
        story = Story()
        story.publish("", "orders", headers=of_span(A))
        story.deliver("orders", headers=of_span(A))
        story.publish("", "mail", headers=of_span(A), at="elsewhere", body=b"b")
        assert edge_of(story, "publish-2") == ("delivery-1", "client", True)

    def test_given_to_all_that_a_request_sends_is_no_chain(self) -> None:
        story = Story()
        story.publish("", "orders", headers=of_span(A))
        story.deliver("orders", headers=of_span(A))
        story.publish("", "mail", headers=of_span(A), body=b"b")
        assert edge_of(story, "publish-2") == (None, None, True)

    def test_that_each_of_two_names_of_the_other_makes_no_circle(self) -> None:
        story = Story()
        story.publish("", "one", headers=of_span(A, B), body=b"a")
        story.publish("", "two", headers=of_span(B, A), body=b"b")
        story.deliver("one", headers=of_span(A, B), body=b"a")
        story.deliver("two", headers=of_span(B, A), body=b"b")
        joined = {each[0]: each[1:] for each in edges(story.end())}
        assert joined["publish-1"] == (None, None, True)
        assert joined["publish-2"] == ("delivery-1", "span", False)

    def test_of_its_own_is_a_root(self) -> None:
        story = Story()
        story.publish("", "orders", headers=of_span(A, A))
        story.deliver("orders", headers=of_span(A, A))
        assert edge_of(story, "publish-1")[0] is None

    def test_of_which_only_the_publish_was_seen_is_marked(self) -> None:
        story = Story()
        story.publish("", "orders", headers=of_span(A))
        story.publish("", "mail", headers=of_span(B, A), at="elsewhere", body=b"b")
        assert edge_of(story, "publish-2") == ("publish-1", "span", True)


class TestRun:
    def test_of_another_correlation_id_is_not_joined_to_a_delivery(self) -> None:
        story = Story()
        story.publish("", "orders", headers=of_span(A), correlation_id="1")
        story.deliver("orders", headers=of_span(A), correlation_id="1")
        story.run(headers=of_span(A), correlation_id="2")
        runs = [record for record in story.end() if record["kind"] == "run"]
        assert [(run["parent"], run["joined"]) for run in runs] == [(None, None)]

    def test_is_joined_to_its_delivery_and_what_it_published_to_it(self) -> None:
        story = Story()
        story.publish("", "orders", headers=of_span(A))
        story.deliver("orders", headers=of_span(A))
        story.publish("", "mail", headers=of_span(B, A), at="its-other-one", body=b"b")
        story.run(B, headers=of_span(A))
        records = {record["id"]: record for record in story.end()}
        run = records["run-1"]
        assert (run["parent"], run["joined"], run["inferred"]) == ("delivery-1", "message", False)
        assert (run["service"], run["handler"], run["outcome"]) == (
            "billing",
            "on_order",
            "returned",
        )
        assert (run["at"], run["duration"]) == ("1970-01-12T13:46:40.015000Z", 0.25)
        assert run["context"]["span_id"] == A
        publish = records["publish-2"]
        assert (publish["parent"], publish["joined"], publish["inferred"]) == (
            "run-1",
            "run",
            False,
        )

    def test_that_published_what_was_seen_at_its_delivery_alone_changes_nothing(self) -> None:
        story = Story()
        story.deliver("mail", headers=of_span(B))
        story.run(B, headers=of_span(A))
        assert edge_of(story, "delivery-1") == (None, None, False)

    def test_that_is_known_late_takes_what_it_published_if_that_is_still_held(self) -> None:
        story = Story()
        story.publish("events", "one", "two", headers=of_span(A))
        story.deliver("one", exchange="events", headers=of_span(A), at="1")
        story.deliver("two", exchange="events", headers=of_span(A), at="2")
        story.publish("", "mail", headers=of_span(B, A), at="2", body=b"b")
        story.wait(1.5)
        story.run(B, exchange="events", headers=of_span(A))
        joined = {each[0]: each[1:] for each in edges(story.end())}
        assert joined["run-1"] == ("delivery-2", "message", False)
        assert joined["publish-2"] == ("run-1", "run", False)

    def test_of_one_of_three_queues_is_told_by_its_connection(self) -> None:
        story = _fan_out()
        story.run(exchange="events", headers=of_span(A), connection="10.0.0.1:2")
        assert edge_of(story, "run-1") == ("delivery-2", "message", False)

    def test_of_one_of_three_queues_is_told_by_its_consumer(self) -> None:
        name = "10.0.0.1:3 -> 10.0.0.9:5672"
        story = _fan_out(consumers={"ctag-3": [name], "1": [name, "another"]}.__getitem__)
        story.run(exchange="events", headers=of_span(A), consumer_tag="ctag-3")
        assert edge_of(story, "run-1") == ("delivery-3", "message", False)

    def test_waits_until_its_consumer_is_known(self) -> None:
        known: list[str] = []
        story = _fan_out(consumers=lambda _: known)
        story.publish("", "mail", headers=of_span(B, A), at="elsewhere", body=b"b")
        story.run(B, exchange="events", headers=of_span(A), consumer_tag="t")
        assert story.wait(6) == []
        known.append("10.0.0.1:3 -> 10.0.0.9:5672")
        joined = {each[0]: each[1:] for each in edges(story.wait(1) + story.wait(10))}
        assert joined["run-1"] == ("delivery-3", "message", False)
        assert joined["publish-2"] == ("run-1", "run", False)

    def test_of_a_consumer_that_stays_unknown_is_marked_and_below_its_journey(self) -> None:
        story = _fan_out()
        story.publish("", "mail", headers=of_span(B, A), at="elsewhere", body=b"b")
        story.run(B, exchange="events", headers=of_span(A), consumer_tag="t")
        records = [each for seconds in (1.2, 0.1, 0.6, 8, 5) for each in story.wait(seconds)]
        ids = [each["id"] for each in records]
        assert ids.index("run-1") < ids.index("publish-2")
        joined = {each[0]: each[1:] for each in edges(records)}
        assert joined["publish-2"] == ("run-1", "run", True)

    def test_of_a_journey_that_is_printed_already_waits_for_its_consumer_all_the_same(self) -> None:
        story = _fan_out()
        assert len(story.wait(10)) == 4
        story.run(exchange="events", headers=of_span(A), consumer_tag="t")
        assert story.wait(2) == []
        (run,) = story.end()
        assert (run["joined"], run["inferred"]) == ("time", True)

    def test_that_is_left_when_others_were_guessed_is_marked_too(self) -> None:
        story = _fan_out()
        for handler in ("one", "two", "three"):
            story.run(exchange="events", headers=of_span(A), handler=handler)
        joined = {each[0]: each[1:] for each in edges(story.end())}
        assert [joined[f"run-{number}"] for number in (1, 2, 3)] == [
            ("delivery-1", "time", True),
            ("delivery-2", "time", True),
            ("delivery-3", "time", True),
        ]

    def test_that_cannot_be_told_apart_is_marked_and_what_it_published_too(self) -> None:
        story = _fan_out()
        story.publish("", "mail", headers=of_span(B, A), at="elsewhere", body=b"b")
        story.run(B, exchange="events", headers=of_span(A))
        joined = {each[0]: each[1:] for each in edges(story.end())}
        assert joined["run-1"] == ("delivery-1", "time", True)
        assert joined["publish-2"] == ("run-1", "run", True)

    def test_is_likely_of_a_queue_that_no_other_handler_reads(self) -> None:
        story = _fan_out()
        story.run(exchange="events", headers=of_span(A), connection="10.0.0.1:1", handler="first")
        story.run(exchange="events", headers=of_span(A), handler="second")
        assert edge_of(story, "run-2") == ("delivery-2", "time", True)

    def test_is_found_by_the_id_of_its_message_or_else_by_its_request(self) -> None:
        for more in ({"message_id": "1"}, {}):
            story = Story()
            sent: dict[str, Any] = {"headers": of_request(), **more}
            story.publish("", "orders", **sent)
            story.deliver("orders", **sent)
            story.run(**sent)
            assert edge_of(story, "run-1") == ("delivery-1", "message", False)

    def test_without_its_delivery_belongs_to_its_request(self) -> None:
        story = Story()
        story.publish("", "orders", headers=of_request())
        story.run(headers=of_request(), key="another")
        story.run(key="another")
        runs = [each for each in story.end() if each["kind"] == "run"]
        assert [(r["parent"], r["journey"]) for r in runs] == [(None, "r-1"), (None, "run-2")]

    def test_with_a_tag_that_nobody_knows_is_marked(self) -> None:
        story = _fan_out()
        story.run(exchange="events", headers=of_span(A), consumer_tag="1")
        assert edge_of(story, "run-1") == ("delivery-1", "time", True)

    def test_that_names_what_led_to_it_makes_no_circle(self) -> None:
        for pause in (0.0, 1.5):
            story = Story()
            story.publish("", "orders", headers=of_span(A))
            story.deliver("orders", headers=of_span(A))
            story.wait(pause)
            story.run(A, headers=of_span(A))
            assert edge_of(story, "publish-1")[0] is None

    def test_of_no_form_that_is_ours_is_a_message_like_any_other(self) -> None:
        deep: Any = "x"
        for _ in range(40):
            deep = [deep]
        strange: list[dict[str, Any]] = [
            {"began_at": "yesterday"},
            {"began_at": "1970-01-12T13:46:40"},  # in no time zone
            {"began_at": "0001-01-01T00:00:00+14:00"},  # in the year 0, by UTC
            {"began_at": "9999-12-31T23:59:59-14:00"},
            {"duration": -1.0},
            {"duration": 1e308},
            {"context": {"deep": deep}},
        ]
        story = Story()
        for more in strange:
            story.run(**more)
        assert [each["kind"] for each in story.end()] == ["publish"] * len(strange)

    def test_that_a_queue_of_ones_own_delivers_is_no_message(self) -> None:
        story = Story()
        record = {"began_at": "1970-01-12T13:46:40Z", "duration": 1.0}
        told = header_of(headers={"properties": {"type": "mqctx.run"}})
        event = story.reader.firehose("deliver.mine", told, json.dumps(record).encode(), 0.0)
        assert event is None

    def test_remembers_a_limited_number_of_spans(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("mqctx.inspection._journeys._runs._MOST_SPANS", 1)
        story = Story()
        story.run(A, B)
        story.publish("", "orders", headers=of_span(A), body=b"a")
        story.publish("", "orders", headers=of_span(B), body=b"b")
        joined = {each[0]: each[1:] for each in edges(story.end())}
        assert joined["publish-1"][1] is None
        assert joined["publish-2"] == ("run-1", "run", False)


def _fan_out(**settings: Any) -> Story:
    """Tell that a message went to three queues, and was delivered to the connections 1 to 3."""
    story = Story(**settings)
    story.publish("events", "one", "two", "three", headers=of_span(A))
    for number, queue in enumerate(("one", "two", "three"), 1):
        story.deliver(queue, exchange="events", headers=of_span(A), at=str(number))
    return story


class TestNearest:
    def test_is_the_channel_then_the_connection_then_the_client_then_the_time(self) -> None:
        joined = []
        for sender in (("1", 1, "u"), ("1", 9, "u"), ("4", 1, "u"), ("4", 1, "stranger")):
            story = Story()
            story.publish("events", "one", "two", headers=of_request())
            at, channel, user = sender
            story.deliver("one", headers=of_request(), at="1", channel=1, user="u")
            story.deliver("two", headers=of_request(), at="2", channel=1, user="v")
            who: dict[str, Any] = {"at": at, "channel": channel, "user": user}
            story.publish("", "mail", headers=of_request(), body=b"b", **who)
            joined.append(edge_of(story, "publish-2"))
        assert joined == [
            ("delivery-1", "channel", True),
            ("delivery-1", "connection", True),
            ("delivery-1", "client", True),
            ("delivery-2", "time", True),
        ]

    def test_is_never_of_another_request(self) -> None:
        story = Story()
        story.publish("", "orders", headers=of_request("r-1"))
        story.deliver("orders", headers=of_request("r-1"))
        story.publish("", "mail", headers=of_request("r-2"), at="worker")
        assert edge_of(story, "publish-2") == (None, None, False)

    def test_is_nothing_for_what_has_no_context(self) -> None:
        story = Story()
        story.publish("", "orders", body=b"a")
        story.deliver("orders", body=b"a")
        story.publish("", "mail", body=b"b", at="worker")
        assert edge_of(story, "publish-2") == (None, None, False)

    def test_is_a_root_on_the_connection_that_made_the_first(self) -> None:
        story = Story()
        story.publish("", "orders", headers=of_request())
        story.deliver("orders", headers=of_request())
        story.publish("", "orders", headers=of_request(), body=b"b")
        assert edge_of(story, "publish-2") == (None, None, True)

    def test_in_the_same_trace_does_for_what_has_no_request_id(self) -> None:
        story = Story()
        story.publish("", "orders", headers=of_span(A))
        story.deliver("orders", headers=of_span(A))
        story.publish("", "mail", headers=of_span(B), at="worker", body=b"b")
        records = story.end()
        assert edges(records)[-1] == ("publish-2", "delivery-1", "channel", True)
        assert {(r["journey"], r["by"]) for r in records} == {(TRACE, "trace_id")}

    def test_is_not_the_answer_that_a_handler_waited_for(self) -> None:
        story = Story()
        story.publish("", "orders", headers=of_request())
        story.deliver("orders", headers=of_request())
        asked: dict[str, Any] = {"reply_to": "answers", "correlation_id": "1", "body": b"?"}
        story.publish("", "rpc", headers=of_request(), at="worker", **asked)
        story.deliver("rpc", headers=of_request(), at="server", **asked)
        answer: dict[str, Any] = {"correlation_id": "1", "body": b"!", "headers": of_request()}
        story.publish("", "answers", key="answers", at="server", **answer)
        story.deliver("answers", at="worker", **answer)
        story.publish("", "mail", headers=of_request(), at="worker", body=b"b")
        assert edge_of(story, "publish-4") == ("delivery-1", "channel", True)


class TestJourney:
    def test_is_that_of_the_parent_whatever_the_message_says(self) -> None:
        story = Story()
        story.publish("", "orders", headers=of_request("r-1") | of_span(A))
        story.deliver("orders", headers=of_request("r-1") | of_span(A))
        story.publish("", "mail", headers=of_request("r-2") | of_span(B, A), body=b"b")
        assert {r["journey"] for r in story.end()} == {"r-1"}

    def test_is_told_by_another_name(self) -> None:
        story = Story(by="order")
        story.publish("", "orders", headers={"mqctx": '{"order":7,"request_id":"r-1"}'})
        (record,) = story.end()
        assert (record["journey"], record["by"]) == ("7", "order")

    def test_without_a_context_is_its_own(self) -> None:
        story = Story()
        story.publish("", "orders", message_id="1")
        story.deliver("orders", message_id="1")
        assert {(r["journey"], r["by"]) for r in story.end()} == {("publish-1", None)}

    def test_is_handed_out_when_it_was_quiet_for_three_seconds(self) -> None:
        story = Story()
        story.publish("", "orders", headers=of_request())
        assert story.wait(2.9) == []
        story.deliver("orders", headers=of_request())
        assert story.wait(3.9) == []
        assert [r["id"] for r in story.wait(0.2)] == ["publish-1", "delivery-1"]

    def test_goes_on_after_it_was_handed_out(self) -> None:
        story = Story()
        story.publish("", "orders", headers=of_request())
        story.wait(60)
        story.deliver("orders", headers=of_request())
        (record,) = story.wait(60)
        assert (record["parent"], record["journey"]) == ("publish-1", "r-1")
        assert record["wait"] == pytest.approx(60, abs=1)

    def test_that_never_rests_is_handed_out_in_parts(self) -> None:
        story = Story()
        story.publish("", "poison", headers=of_request())
        for _ in range(6_000):
            story.deliver("poison", headers=of_request(), redelivered=True)
            story.now -= 0.009
        part = story.wait(1.1)
        assert 5_000 <= len(part) <= 6_001
        assert len(part) + len(story.end()) == 6_001

    def test_has_each_event_once_and_parents_before_children(self) -> None:
        story = Story()
        for number in range(30):
            asked = of_request(str(number % 7))
            story.deliver("two", headers=asked, body=b"%d" % number)
            story.publish("", "two", headers=asked, body=b"%d" % number)
        ids: list[str] = []
        for each in story.end():
            assert each["parent"] is None or each["parent"] in ids
            ids.append(each["id"])
        assert len(ids) == len(set(ids)) == 60


class TestMemory:
    def test_forgets_the_oldest_messages_and_nothing_of_them_is_left(self) -> None:
        story = Story(kept=10)
        for number in range(100):
            headers = of_request(str(number)) | of_span(f"{number + 1:016x}")
            message: dict[str, Any] = {
                "headers": headers,
                "reply_to": "r",
                "correlation_id": str(number),
            }
            story.publish("", "orders", body=b"%d" % number, **message)
            story.deliver("orders", body=b"%d" % number, **message)
            story.wait(10)
        assert story.joiner.sizes() == {
            "messages": 10,
            "copies": 10,
            "contents": 10,
            "spans": 10,
            "answers": 10,
            "groups": 11,
            "journeys": 0,
        }

    def test_remembers_a_limited_number_of_deliveries_and_roots_of_a_request(self) -> None:
        story = Story()
        for number in range(600):
            body = b"%d" % number
            story.publish("", "poison", body=body, headers=of_request(), at=f"api-{number}")
            story.deliver("poison", body=b"0", headers=of_request(), redelivered=True)
        records = story.end()
        assert sum(each["kind"] == "delivery" for each in records) == 600
        assert max(each["attempt"] for each in records if each["kind"] == "delivery") == 601
        (group,) = story.joiner._messages._groups.values()
        assert len(group.ends) < 2 * MOST_ENDS
        assert len(group.roots) <= MOST_ENDS

    def test_forgets_identical_messages_one_by_one(self) -> None:
        story = Story(kept=2)
        for _ in range(5):
            story.publish("", "orders", headers=of_request())
        story.end()
        assert story.joiner.sizes()["copies"] == 2
        assert story.joiner.sizes()["contents"] == 1

    def test_a_delivery_of_a_forgotten_message_is_a_root(self) -> None:
        story = Story(kept=1)
        for number in range(2):
            story.publish("", "orders", body=b"%d" % number)
        story.deliver("orders", body=b"0")
        assert edge_of(story, "delivery-1") == (None, None, False)


class TestQueues:
    def test_are_those_that_exist(self) -> None:
        story = Story(exists=lambda queue: queue != "gone")
        story.publish("", "orders", "gone", message_id="1")
        story.publish("events", "gone", message_id="2")
        first, second = story.end()
        assert (first["queues"], second["queues"]) == (["orders"], ["gone"])


class TestChosen:
    def test_are_whole_journeys_of_which_one_event_fits_all_conditions(self) -> None:
        story = Story()
        why = {"mqctx-failure": '{"type":"ValueError","bound":{"card":"x"}}'}
        for number in range(2):
            headers = of_request(str(number))
            story.publish("", "orders", headers=headers, message_id=f"m-{number}")
            story.deliver("orders", headers=headers, message_id=f"m-{number}")
            story.publish("", "dead", headers=headers | (why if number else {}), body=b"b")
        story.deliver("audit", headers=of_request("1"), body=b"c", deaths=[death("orders")])
        journeys = list(story.joiner.finish())
        for condition, fitting in {
            "request_id=0": ["0"],
            "message.id=m-*": ["0", "1"],
            "failure.type=ValueError": ["1"],
            "card=x": ["1"],
            "death.reason=rejected": ["1"],
            "kind=run": [],
            "queue=audit": ["1"],
        }.items():
            chosen = Chosen([Where.parse(condition)])
            assert [each[0]["journey"] for each in journeys if chosen.take(each)] == fitting

    def test_stay_chosen_when_they_go_on(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("mqctx.inspection._journeys._chosen._MOST_REMEMBERED", 1)
        story = Story()
        for name in ("r-1", "r-2"):
            story.publish("", "orders", headers=of_request(name), message_id=name)
        chosen = Chosen([Where.parse("kind=publish")])
        assert all(map(chosen.take, story.joiner.advance(story.now + 60)))
        for name in ("r-1", "r-2"):
            story.deliver("orders", headers=of_request(name), message_id=name)
        assert [chosen.take(each) for each in story.joiner.finish()] == [False, True]
        summary = chosen.summary(1.5, 4, 0, {"rabbit@b", "rabbit@a"})
        assert summary == {
            "kind": "summary",
            "seconds": 1.5,
            "events": 4,
            "journeys": 2,
            "publishes": 2,
            "deliveries": 1,
            "dead_letters": 0,
            "runs": 0,
            "inferred": 0,
            "dropped": 0,
            "without_context": 0,
            "untraced_nodes": ["rabbit@a", "rabbit@b"],
        }

    def test_take_a_failure_that_is_none_for_none(self) -> None:
        story = Story()
        story.publish("", "dead", headers={"mqctx-failure": "no JSON"})
        (journey,) = story.joiner.finish()
        assert not Chosen([Where.parse("failure.type=*")]).take(journey)
        assert Chosen().take(journey)

    def test_are_whole_but_no_more_than_have_so_many_messages(self) -> None:
        publish: Any = {"kind": "publish", "by": None, "context": {}, "inferred": False}
        one, two = ([{**publish, "journey": name}] * 2 for name in "ab")
        chosen = Chosen(limit=1)
        taken = [(chosen.is_full, chosen.take(each)) for each in (one, two, one)]
        assert taken == [(False, True), (True, False), (True, False)]
        assert chosen.summary(1.0, 6, 0, [])["publishes"] == 2


class TestReader:
    def test_takes_what_is_no_event_for_none(self) -> None:
        assert Story().reader.firehose("else.where", ContentHeader(), b"", 0.0) is None

    def test_takes_what_is_missing_or_of_another_type_for_absent(self) -> None:
        broken = {"properties": 7, "routing_keys": 7, "exchange_name": 7, "channel": "7"}
        event = Story().reader.firehose("publish.x", header_of(headers=broken), b"", 0.0)
        assert isinstance(event, Event)
        place = event.place
        assert (place.exchange, place.routing_keys, place.channel) == ("", [], None)

    def test_takes_headers_that_nobody_can_read_for_absent(self) -> None:
        for raw in (b"", b"\x20\x00", b"\x20\x00\x00\x00\x00\x02\x04a"):
            event = Story().reader.firehose("deliver.q", ContentHeader(raw), b"", 0.0)
            assert isinstance(event, Event)
            assert (event.place.queue, event.written.headers) == ("q", {})

    def test_takes_headers_that_are_no_bytes(self) -> None:
        reader = Story().reader
        told = {"exchange_name": "e", "properties": {"message_id": "1", "headers": of_request()}}
        assert reader.decoded("publish.e", told, b"", 0.0) == reader.firehose(
            "publish.e", header_of(headers=told), b"", 0.0
        )

    def test_takes_no_name_for_what_the_broker_says(self) -> None:
        forged = "\nproperties" + "F\0\0\0\0"
        told = {"exchange_name": forged, "properties": {"message_id": "1"}}
        event = Story().reader.firehose("publish.e", header_of(headers=told), b"", 0.0)
        assert isinstance(event, Event)
        assert (event.place.exchange, event.written.message_id) == (forged, "1")

    def test_reads_the_same_bytes_once_unless_they_are_long(self) -> None:
        reader = Story().reader
        for size, is_shared in ((10, True), (5_000, False)):
            header = header_of(headers={"properties": {"headers": {"text": "x" * size}}})
            one, two = (reader.firehose("publish.", header, b"", 0.0) for _ in range(2))
            assert isinstance(one, Event)
            assert isinstance(two, Event)
            assert one.written == two.written
            assert (one.written is two.written) is is_shared

    def test_takes_the_trace_from_the_header_that_owns_it(self) -> None:
        headers = {"mqctx": '{"request_id":"r","span_id":"mine","a":1}'} | of_span(A, B)
        event = Story().reader.tap("e", "k", header_of(headers=headers), b"", 0.0)
        assert event.written.context == {
            "request_id": "r",
            "a": 1,
            "trace_id": TRACE,
            "span_id": A,
            "parent_span_id": B,
            "trace_flags": "01",
        }


class TestTap:
    def test_joins_publishes_to_publishes(self) -> None:
        story = Story(tapped=True)
        story.tap("orders", headers=of_request() | of_span(A))
        story.tap("mail", headers=of_request() | of_span(B, A), body=b"b")
        first, second = story.end()
        assert (second["parent"], second["joined"], second["inferred"]) == (
            "publish-1",
            "span",
            False,
        )
        assert (first["queues"], first["connection"], first["exchange"]) == (None, None, "tapped")

    def test_infers_by_time_what_names_no_span(self) -> None:
        story = Story(tapped=True)
        story.tap("orders", headers=of_request())
        story.tap("mail", headers=of_request(), body=b"b")
        assert edge_of(story, "publish-2") == ("publish-1", "time", True)
