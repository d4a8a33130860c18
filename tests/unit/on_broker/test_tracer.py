"""A trace of real brokers from inside: what it finds, and the broker as it was found."""

import threading
from typing import Any

import pika
import pytest
from click.testing import CliRunner

from mqctx.cli import commands
from mqctx.inspection import Broker as Address
from mqctx.inspection import BrokerError, ManagementError
from mqctx.inspection._connection import connected
from mqctx.inspection._journeys._feeds import Tap
from mqctx.inspection._journeys._lock import locked
from mqctx.inspection._journeys._source import Source
from mqctx.inspection._journeys._tracing_state import TracingState
from mqctx.inspection._journeys._valve import Valve
from tests.drivers.on_pika import pika_channel
from tests.integration.broker import Broker
from tests.integration.traced import (
    OF_REQUEST,
    Command,
    OnNewerBroker,
    Vhost,
    host_of,
    lines,
    send,
    until,
    vhost_of,
)

from .traced import Traced


class TestBroker:
    def test_is_as_it_was_after_a_trace(self, each_broker: Broker) -> None:
        with vhost_of(each_broker) as vhost:
            before = vhost.state()
            with Traced(vhost) as traced:
                assert vhost.state() == {**before, "tracing": True}
                with pika_channel(vhost.url) as channel:
                    send(channel, "orders")
            assert vhost.state() == before
            assert vhost.leftovers() == []
            assert [each["kind"] for each in traced.watch.records] == ["publish", "delivery"]

    def test_is_repaired_by_a_later_trace_which_warns(self, vhost: Vhost) -> None:
        before = vhost.state()
        vhost.api.put(f"exchanges/{vhost.name}/mqctx.trace", json={"type": "fanout"})
        vhost.change(**{k: before[k] for k in ("description", "tags")}, tracing=True)
        with Traced(vhost) as traced:
            assert "has left tracing on" in traced.watch.warnings[0]
        assert not vhost.is_traced
        assert vhost.leftovers() == []

    def test_is_restored_by_the_last_of_two_traces(self, vhost: Vhost) -> None:
        before = vhost.state()
        with Traced(vhost) as first, Traced(vhost) as second:
            first.end()
            assert vhost.is_traced
            assert "another trace is at work" in first.watch.warnings[-1]
            assert second.watch.warnings == []
        assert vhost.state() == before
        assert vhost.leftovers() == []

    def test_stays_traced_if_it_was_before(self, vhost: Vhost) -> None:
        vhost.change(
            description="orders, of all", tags=["a", "b"], default_queue_type="quorum", tracing=True
        )
        before = vhost.state()
        with Traced(vhost):
            assert vhost.leftovers()[0].startswith("mqctx.trace.")
        assert vhost.state() == before
        code, _, err = Command(vhost, "--off").wait()
        assert (code, vhost.is_traced) == (0, True)
        assert "it was before" in err

    def test_is_left_alone_by_who_is_no_administrator(self, vhost: Vhost) -> None:
        before = vhost.state()
        with _user(vhost, "management", configure=".*", write=".*", read=".*") as url:
            traced = Traced(vhost, url)
            with pytest.raises(ManagementError, match="administrator"):
                traced.tracer.run()
            traced.close()
        assert vhost.state() == before
        assert vhost.leftovers() == []


@pytest.mark.full
class TestNewerBroker(OnNewerBroker, TestBroker):
    """The same on RabbitMQ 4.3."""


class TestTrace:
    def test_goes_on_after_its_connection_was_lost(self, vhost: Vhost, channel: Any) -> None:
        with Traced(vhost) as traced:
            send(channel, "orders", b"1")
            until(lambda: traced.tracer.status.events == 2)
            (lost,) = vhost.bound_queues()
            # Its routing key in the firehose is longer than AMQP allows: RabbitMQ gives up.
            channel.exchange_declare("e" * 250, "fanout")
            channel.basic_publish("e" * 250, "", b"")
            until(lambda: vhost.bound_queues() not in ([], [lost]))
            send(channel, "orders", b"2")
        assert traced.is_whole
        assert len([each for each in traced.watch.records if each["kind"] == "delivery"]) == 2
        assert not vhost.is_traced
        assert vhost.leftovers() == []

    def test_of_a_broker_that_stays_away_ends_and_restores(
        self, vhost: Vhost, channel: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("mqctx.inspection._journeys._tracer._PATIENCE", 0.3)
        before = vhost.state()
        with Traced(vhost) as traced:
            send(channel, "orders")
            until(lambda: traced.tracer.status.events == 2)
            monkeypatch.setattr("mqctx.inspection._journeys._tracer.connected", _refuse)
            channel.exchange_declare("e" * 250, "fanout")
            channel.basic_publish("e" * 250, "", b"")
            until(lambda: traced.is_whole is not None)
        assert traced.is_whole is False
        assert [each["kind"] for each in traced.watch.records] == ["publish", "delivery"]
        assert (vhost.state(), vhost.leftovers()) == (before, [])

    def test_says_what_to_do_if_the_management_api_is_gone_in_the_end(
        self, vhost: Vhost, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        with Traced(vhost) as traced:
            monkeypatch.setattr(TracingState, "end", _fail)
            traced.tracer.stop()
            until(lambda: traced.is_whole is not None)
        assert "mqctx trace --off" in traced.watch.warnings[-1]

    def test_says_which_nodes_it_does_not_see(
        self, vhost: Vhost, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(TracingState, "_untraced_nodes", lambda _: ("rabbit@b",))
        with Traced(vhost, seconds=0.1) as traced:
            until(lambda: traced.is_whole is not None)
        assert "not traced: rabbit@b" in traced.watch.warnings[0]
        assert traced.tracer.untraced_nodes == {"rabbit@b"}

    def test_begins_and_ends_one_after_another_with_others(self, vhost: Vhost) -> None:
        with (
            connected(Address.parse(vhost.url), "one") as one,
            connected(Address.parse(vhost.url), "two") as two,
        ):
            with locked(one), locked(two, seconds=0.2):
                pass  # whoever holds it too long is not waited for
            with locked(two):
                assert vhost.leftovers() == ["mqctx.trace-lock"]
            assert vhost.leftovers() == []

    def test_counts_what_rabbitmq_dropped(
        self, vhost: Vhost, channel: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        stopped, resume = threading.Event(), Source.resume
        monkeypatch.setattr(Source, "resume", lambda s: resume(s) if stopped.is_set() else None)
        monkeypatch.setattr(Valve, "open", lambda _: None)
        with Traced(vhost, buffer=10) as traced:
            for number in range(2_000):
                channel.basic_publish("amq.fanout", "", b"%d" % number)
            # Answered once all are published: what is counted is exact when the vhost rests.
            channel.exchange_declare("amq.fanout", passive=True)
            stopped.set()
            traced.tracer.stop()
            until(lambda: not vhost.is_traced)
            dropped = traced.tracer.dropped()
        assert (len(traced.watch.records), dropped) == (10, 1_990)

    def test_cannot_tell_what_rabbitmq_dropped_if_others_receive_the_events(
        self, vhost: Vhost, channel: Any
    ) -> None:
        channel.queue_declare("others", arguments={"x-queue-type": "classic"})
        channel.queue_bind("others", "amq.rabbitmq.trace", "#")
        with Traced(vhost, buffer=10) as traced:
            send(channel, "orders")
            until(lambda: traced.tracer.status.events == 2)
            assert traced.tracer.dropped() == 0
            traced.tracer._drops.may_have_dropped = True
            assert traced.tracer.dropped() is None

    def test_names_the_queues_that_exist(
        self, vhost: Vhost, channel: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("mqctx.inspection._journeys._joiner.QUIET", 0.0)
        monkeypatch.setattr("mqctx.inspection._journeys._joiner.SETTLE", 0.2)
        with Traced(vhost) as traced:
            send(channel, "orders")
            until(lambda: len(traced.watch.records) == 2)  # long before the end
            channel.basic_publish("", "nowhere", b"")
            channel.basic_publish("amq.fanout", "", b"")
        queues = [r["queues"] for r in traced.watch.records if r["kind"] == "publish"]
        assert sorted(queues) == [[], [], ["orders"]]

    def test_that_lost_its_broker_is_exit_code_1(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("mqctx.inspection._journeys._tracer.Tracer.run", lambda _: False)
        result = CliRunner().invoke(commands, ["trace", "--json"])
        assert result.exit_code == 1
        assert lines(result.stdout)[-1]["kind"] == "summary"


def _refuse(*_: object) -> None:
    raise BrokerError("cannot reach RabbitMQ")


def _fail(*_: object) -> str:
    raise ManagementError("the management API does not answer")


class TestTap:
    def test_needs_no_administrator(self, vhost: Vhost, channel: Any) -> None:
        channel.exchange_declare("events", "topic")
        rights = {"configure": r"^mqctx\.", "write": r"^mqctx\.", "read": r"^(events$|mqctx\.)"}
        with _user(vhost, "", **rights) as url, Traced(vhost, url, tap=Tap("events")) as traced:
            sent = pika.BasicProperties(headers=OF_REQUEST)
            channel.basic_publish("events", "order.new", b"1", sent)
            until(lambda: traced.tracer.status.events == 1)
        (record,) = traced.watch.records
        assert (record["exchange"], record["routing_keys"]) == ("events", ["order.new"])
        assert (record["journey"], record["queues"], record["user"]) == ("r-1", None, None)
        assert not vhost.is_traced

    def test_says_that_nothing_comes(
        self, vhost: Vhost, channel: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(Tap, "silence", 0.1)
        with Traced(vhost, tap=Tap("amq.direct")) as silent:
            channel.basic_publish("amq.direct", "key", b"1")
            until(lambda: bool(silent.watch.warnings))
        assert "--routing-key" in silent.watch.warnings[0]
        with Traced(vhost, tap=Tap("amq.direct", "key")) as traced:
            channel.basic_publish("amq.direct", "key", b"1")
            until(lambda: traced.tracer.status.events == 1)


class _User:
    def __init__(self, vhost: Vhost, tags: str, rights: dict[str, str]) -> None:
        self.name = f"{vhost.name}-user"
        self.vhost = vhost
        vhost.api.put(f"users/{self.name}", json={"password": "p", "tags": tags}).raise_for_status()
        vhost.allow(self.name, **rights)

    def __enter__(self) -> str:
        return f"amqp://{self.name}:p@{host_of(self.vhost.url)}/{self.vhost.name}"

    def __exit__(self, *_: object) -> None:
        self.vhost.api.delete(f"users/{self.name}")


def _user(vhost: Vhost, tags: str, **rights: str) -> _User:
    """Give the URL of a user of this test."""
    return _User(vhost, tags, rights)
