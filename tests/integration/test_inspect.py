"""`mqctx inspect` and `mqctx.inspection` on real brokers: look at queues, lose nothing."""

import re
import shlex
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
import pytest

from mqctx.inspection import BrokerError, Inspector, RefusedError
from tests.drivers.on_pika import pika_channel

from .broker import Broker
from .dead_letters import (
    command_in,
    drained,
    filled,
    mqctx,
    objects,
    policy,
    publish,
    ready,
)


def ids_of(inspector: Inspector, queue: str, **options: Any) -> list[str | None]:
    with inspector.look(queue, **options) as messages:
        return [message.id for message in messages]


class TestLook:
    @pytest.mark.parametrize(
        "kind", ["classic", "quorum-unlimited", "quorum-single", "classic-single"]
    )
    def test_leaves_all_in_place_and_in_order(self, each_broker: Broker, kind: str) -> None:
        with (
            filled(each_broker, kind, 400) as queue,
            Inspector(each_broker.url, management=each_broker.management) as inspector,
        ):
            looks = [ids_of(inspector, queue) for _ in range(3)]
            assert looks == [[str(number) for number in range(400)]] * 3
            assert sorted(drained(each_broker, queue), key=int) == looks[0]

    def test_reads_priorities_in_the_order_of_delivery(self, broker: Broker) -> None:
        with (
            filled(broker, "priorities", 0) as queue,
            pika_channel(broker.url) as channel,
            Inspector(broker.url, management=broker.management) as inspector,
        ):
            publish(channel, queue, range(2), priority=0)
            publish(channel, queue, range(2, 4), priority=2)
            assert [ids_of(inspector, queue) for _ in range(2)] == [["2", "3", "0", "1"]] * 2

    def test_reads_a_stream_again_and_again(self, broker: Broker) -> None:
        with (
            filled(broker, "stream", 300) as queue,
            Inspector(broker.url, management=broker.management) as inspector,
        ):
            deadline = time.monotonic() + 20
            while ready(broker, queue) < 300 and time.monotonic() < deadline:
                time.sleep(0.2)  # a stream tells its length late
            looks = [ids_of(inspector, queue) for _ in range(2)]
            assert looks == [[str(number) for number in range(300)]] * 2
            assert ids_of(inspector, queue, rescue=True) == looks[0]
            assert ready(broker, queue) == 300

    def test_that_is_left_early_puts_back_what_came(self, broker: Broker) -> None:
        with (
            filled(broker, "quorum-unlimited", 30) as queue,
            Inspector(broker.url, management=broker.management) as inspector,
        ):
            for _ in range(3):
                with inspector.look(queue) as messages:
                    assert next(iter(messages)).id == "0"
            with suppress(ZeroDivisionError), inspector.look(queue) as messages:
                assert 1 / len(next(iter(messages)).rejections)
            assert ids_of(inspector, queue) == [str(number) for number in range(30)]

    def test_that_is_stopped_gives_out_no_more(self, broker: Broker) -> None:
        with (
            filled(broker, "classic", 30) as queue,
            Inspector(broker.url, management=broker.management) as inspector,
            inspector.look(queue) as messages,
        ):
            for _ in messages:
                messages.stop()
            assert (messages.looked, messages.there, messages.missed) == (1, 30, 0)

    def test_ends_where_a_consumer_takes_the_rest(self, broker: Broker) -> None:
        with (
            filled(broker, "classic", 6) as queue,
            Inspector(broker.url, management=broker.management) as inspector,
            pika_channel(broker.url) as channel,
            inspector.look(queue) as messages,
        ):
            for _ in range(2):
                channel.basic_get(queue)
            assert len(list(messages)) == 4
            assert messages.missed == 2

    def test_of_a_queue_that_is_deleted_meanwhile_says_so(self, broker: Broker) -> None:
        def deleting(inspector: Inspector, queue: str, channel: Any) -> None:
            with inspector.look(queue) as messages:
                for message in messages:
                    if message.position == 1:
                        channel.queue_delete(queue)

        with (
            filled(broker, "classic", 300) as queue,
            Inspector(broker.url, management=broker.management) as inspector,
            pika_channel(broker.url) as channel,
            pytest.raises(BrokerError, match=r"was deleted|no queue"),
        ):
            deleting(inspector, queue, channel)

    def test_tells_what_a_consumer_holds(self, broker: Broker) -> None:
        with (
            filled(broker, "classic", 8) as queue,
            pika_channel(broker.url) as channel,
        ):
            for _ in range(3):
                channel.basic_get(queue)
            deadline = time.monotonic() + 20
            held = "3 more are held by other consumers"
            while held not in (result := mqctx(broker, "inspect", queue)).stderr:
                assert time.monotonic() < deadline, "the management API is some seconds late"
                time.sleep(0.3)
            assert "5 messages in" in result.stdout


class TestRefused:
    def test_until_the_policy_of_the_refusal_is_set(self, each_broker: Broker) -> None:
        with filled(each_broker, "quorum", 5) as queue:
            refused = mqctx(each_broker, "inspect", queue)
            assert refused.exit_code == 3
            assert "more than 20 times" in refused.stderr
            with policy(each_broker, command_in(refused.stderr)):
                assert mqctx(each_broker, "inspect", queue).exit_code == 0
                with Inspector(each_broker.url, management=each_broker.management) as inspector:
                    looks = [ids_of(inspector, queue) for _ in range(25)]
            assert looks == [["0", "1", "2", "3", "4"]] * 25

    def test_where_an_argument_limits_until_it_is_read_by_copies(self, each_broker: Broker) -> None:
        with filled(each_broker, "quorum-3", 7) as queue:
            refused = mqctx(each_broker, "inspect", queue, "--json")
            assert refused.exit_code == 3
            assert command_in(refused.stderr).startswith(f"mqctx inspect {queue} --rescue ")
            for _ in range(6):
                result = mqctx(each_broker, "inspect", queue, "--json", "--rescue")
                assert [each["id"] for each in objects(result)] == [str(n) for n in range(7)]
                assert result.exit_code == 0
            assert drained(each_broker, queue) == [str(number) for number in range(7)]

    def test_with_a_command_that_has_the_options_of_the_call_and_no_password(
        self, broker: Broker
    ) -> None:
        with filled(broker, "quorum-3", 1) as queue:
            options = ["--where", "tenant=a b*", "--limit", "2", "--json"]
            redriven = ["redrive", queue, *options, "--exchange", "amq.fanout", "--yes"]
            for call in (["inspect", queue, *options], redriven):
                refused = mqctx(broker, *call)
                words = shlex.split(command_in(refused.stderr))
                assert words[:4] == ["mqctx", call[0], queue, "--rescue"]
                given = ["--broker", broker.url, "--management", broker.management, *call[2:]]
                hidden = [each.replace("guest:guest@", "guest:***@") for each in given]
                assert sorted(words[4:]) == sorted(hidden)

    def test_where_nobody_tells_its_kind(self, broker: Broker) -> None:
        with filled(broker, "classic", 3) as queue:
            nobody = ["--management", "http://127.0.0.1:1"]
            refused = mqctx(broker, "inspect", queue, *nobody)
            assert refused.exit_code == 3
            assert command_in(refused.stderr).startswith(f"mqctx inspect {queue} --rescue ")
            assert mqctx(broker, "inspect", queue, "--rescue", *nobody).exit_code == 0
            assert ready(broker, queue) == 3

    def test_where_the_management_api_is_anothers(self, broker: Broker, broker_43: Broker) -> None:
        with filled(broker, "classic", 1) as queue:
            refused = mqctx(broker, "inspect", queue, "--management", broker_43.management)
            assert refused.exit_code == 3
            assert "is that of" in refused.stderr

    def test_with_delayed_retry(self, broker_43: Broker) -> None:
        with filled(broker_43, "classic", 0) as name, pika_channel(broker_43.url) as channel:
            queue = f"{name}-delayed"
            arguments = {
                "x-queue-type": "quorum",
                "x-delivery-limit": -1,
                "x-delayed-retry-type": "all",
                "x-delayed-retry-min": 60_000,
            }
            channel.queue_declare(queue, durable=True, arguments=arguments)
            publish(channel, queue, range(3))
            refused = mqctx(broker_43, "inspect", queue)
            assert refused.exit_code == 3
            assert "delayed retry" in refused.stderr
            assert mqctx(broker_43, "inspect", queue, "--rescue").exit_code == 0
            assert ready(broker_43, queue) == 3
            channel.queue_delete(queue)

    def test_lets_the_other_queues_be_read(self, broker: Broker) -> None:
        with filled(broker, "quorum", 1) as refused, filled(broker, "classic", 2) as queue:
            result = mqctx(broker, "inspect", refused, queue, "--by", "queue", "--json")
            assert result.exit_code == 3
            assert f"{refused}: refused" in result.stderr
            (group,) = objects(result)
            assert (group["group"], group["messages"]) == ({"queue": queue}, 2)


class TestRescue:
    def test_copies_all_that_it_took_and_nothing_twice(self, each_broker: Broker) -> None:
        with filled(each_broker, "quorum", 230) as queue:
            for arguments in (["--limit", "3"], [], ["--limit", "120"]):
                result = mqctx(each_broker, "inspect", queue, "--rescue", *arguments)
                assert result.exit_code == 0
            assert sorted(drained(each_broker, queue), key=int) == [str(n) for n in range(230)]

    def test_puts_back_what_another_user_sent(self, broker: Broker) -> None:
        api = httpx.Client(base_url=f"{broker.management}/api/", auth=("guest", "guest"))
        rights = {"configure": ".*", "write": ".*", "read": ".*"}
        api.put("users/mqctx-looks", json={"password": "p", "tags": "policymaker"})
        api.put("permissions/%2F/mqctx-looks", json=rights).raise_for_status()
        url = broker.url.replace("guest:guest@", "mqctx-looks:p@")
        try:
            with filled(broker, "quorum", 2, user_id="guest") as queue:
                other = Broker(url, broker.way, broker.management)
                result = mqctx(other, "inspect", queue, "--rescue")
                assert "2 could not be copied, and were put back" in result.stderr
                assert "sent by the user 'guest'" in result.stderr
                assert ready(broker, queue) == 2
        finally:
            api.delete("users/mqctx-looks")
            api.close()

    def test_puts_back_what_a_full_queue_does_not_take(self, broker: Broker) -> None:
        with filled(broker, "classic", 0) as name, pika_channel(broker.url) as channel:
            queue = f"{name}-full"
            arguments = {"x-max-length": 2, "x-overflow": "reject-publish"}
            channel.queue_declare(queue, durable=True, arguments=arguments)
            publish(channel, queue, range(1))
            with (
                Inspector(broker.url, management=broker.management) as inspector,
                inspector.look(queue, rescue=True) as messages,
            ):
                for _ in messages:  # whose copy is sent when the block ends
                    publish(channel, queue, range(1, 3))
            assert messages.rescue is not None
            assert [each.reason for each in messages.rescue.kept] == ["rejected"]
            assert sorted(drained(broker, queue)) == ["0", "1", "2"]
            channel.queue_delete(queue)


class TestCommand:
    def test_groups_by_the_name_that_gives_the_fewest_groups(self, broker: Broker) -> None:
        with filled(broker, "classic", 9) as queue:
            result = mqctx(broker, "inspect", queue)
        lines = result.stdout.splitlines()
        assert lines[0] == f"9 messages in {queue}, looked at 9, all left in place"
        assert [line.split()[:3] for line in lines[1:4]] == [
            ["tenant", "messages", "requests"],
            ["acme", "6", "5"],
            ["initech", "3", "3"],
        ]
        assert lines[-1] == "also: --by request_id"
        assert all(line == line.rstrip() for line in lines)

    def test_shows_chosen_messages_one_by_one(self, broker: Broker) -> None:
        with filled(broker, "classic", 9) as queue:
            some = ["--where", "tenant=ac*", "--limit", "2", "--body"]
            result = mqctx(broker, "inspect", queue, *some)
        assert f"{queue}  #2  1" in result.stdout
        assert "  context  tenant=acme  request_id=r-0" in result.stdout
        assert "  body     2" in result.stdout
        assert "2 of them chosen" in result.stdout

    def test_prints_an_object_for_each_message(self, broker: Broker) -> None:
        with filled(broker, "classic", 2) as queue:
            (first, _) = objects(mqctx(broker, "inspect", queue, "--json", "--body"))
        assert list(first) == [
            *("queue", "position", "id", "exchange", "routing_key", "from", "bytes"),
            *("published_at", "redelivered", "deliveries", "context", "verified", "rejections"),
            *("deaths", "failure", "celery", "headers", "body"),
        ]
        assert first["context"] == {"tenant": "initech", "request_id": "r-0"}
        assert (first["position"], first["bytes"], first["body"]) == (1, 1, "0")

    def test_reads_queues_by_a_pattern(self, broker: Broker) -> None:
        with (
            filled(broker, "classic", 1) as first,
            filled(broker, "classic", 2, name=f"{first}-b") as second,
        ):
            result = mqctx(broker, "inspect", f"{first}*", "--by", "queue", "--json")
        told = {each["group"]["queue"]: each["messages"] for each in objects(result)}
        assert told == {first: 1, second: 2}

    def test_of_an_empty_queue_says_that_it_is(self, broker: Broker) -> None:
        with filled(broker, "classic", 0) as queue:
            result = mqctx(broker, "inspect", queue)
        assert result.stdout == f"0 messages in {queue}, looked at 0, all left in place\n"
        assert result.exit_code == 0

    def test_of_a_queue_of_another_connection_is_one_line(self, broker: Broker) -> None:
        with pika_channel(broker.url) as channel:
            queue = channel.queue_declare("", exclusive=True).method.queue
            result = mqctx(broker, "inspect", queue)
        assert result.exit_code == 1
        assert len(result.stderr.splitlines()) == 1
        assert "has it for itself" in result.stderr

    @pytest.mark.parametrize("name", ["mqctx-no-such-queue", "mqctx-no-such-queue*"])
    def test_of_no_queue_is_one_line(self, broker: Broker, name: str) -> None:
        result = mqctx(broker, "inspect", name)
        assert result.exit_code == 1
        assert len(result.stderr.splitlines()) == 1

    def test_with_a_pattern_and_no_management_api_is_one_line(self, broker: Broker) -> None:
        result = mqctx(broker, "inspect", "*.dead", "--management", "http://127.0.0.1:1")
        assert result.exit_code == 1
        assert "--management" in result.stderr

    def test_with_a_wrong_password_is_one_line_without_it(self, broker: Broker) -> None:
        wrong = Broker(broker.url.replace(":guest@", ":not-this@"), "url", broker.management)
        result = mqctx(wrong, "inspect", "orders.dead")
        assert result.exit_code == 1
        assert "refused the user 'guest'" in result.stderr
        assert "not-this" not in result.output

    @pytest.mark.parametrize(
        "arguments",
        [
            ["--where", "tenant"],
            ["--where", "tenant=\udcff"],
            ["--broker", "http://x"],
            ["--limit", "0"],
            [""],
            ["\udcff"],
            ["q" * 256],
        ],
    )
    def test_with_wrong_usage_exits_with_2(self, broker: Broker, arguments: list[str]) -> None:
        assert mqctx(broker, "inspect", *arguments, "orders.dead").exit_code == 2

    def test_with_a_management_url_that_is_none_is_one_line(self, broker: Broker) -> None:
        result = mqctx(broker, "inspect", "orders.dead", "--management", "localhost")
        assert result.exit_code == 1
        assert "http://HOST:15672" in result.stderr


@pytest.mark.full
def test_a_late_answer_of_the_management_api_is_waited_for(broker: Broker) -> None:
    """A user who may not see policies learns of them from the queue itself, some seconds later."""
    api = httpx.Client(base_url=f"{broker.management}/api/", auth=("guest", "guest"))
    rights = {"configure": ".*", "write": ".*", "read": ".*"}
    api.put("users/mqctx-late", json={"password": "p", "tags": "management"})
    api.put("permissions/%2F/mqctx-late", json=rights).raise_for_status()
    url = broker.url.replace("guest:guest@", "mqctx-late:p@")
    try:
        with (
            filled(broker, "quorum", 1) as queue,
            Inspector(url, management=broker.management) as inspector,
        ):
            with pytest.raises(RefusedError) as refused:
                ids_of(inspector, queue)
            with policy(broker, refused.value.refusal.command):
                assert ids_of(inspector, queue) == ["0"]
    finally:
        api.delete("users/mqctx-late")
        api.close()


def test_the_commands_of_the_docs_answer(broker: Broker) -> None:
    page = (Path(__file__).parents[2] / "docs/dead-letters.md").read_text()
    commands = re.findall(r"^\$ mqctx (inspect .*)$", page.partition("\n### ")[0], re.MULTILINE)
    answers: list[str] = []
    with filled(broker, "classic", 6) as queue:
        for command in commands:
            named = command.replace("orders.dead", queue).replace("*.dead", f"{queue}*")
            result = mqctx(broker, *shlex.split(named))
            assert result.exit_code == 0, result.output
            answers.append(result.stdout)
    told = ("acme ", "tenant=acme", "failure.type", queue, '"tenant":"acme"')
    assert [word in answer for word, answer in zip(told, answers, strict=True)] == [True] * 5
