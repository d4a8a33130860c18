"""Messages that are sent back, on real brokers."""

import json
import re
import signal
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pika
import pytest
from click.testing import CliRunner, Result

from mqctx.cli import commands
from mqctx.inspection import Inspector, Look, Redrive
from tests.drivers.dead_letters import BINDINGS, Place, place
from tests.drivers.field_tables import EVERY_TYPE, table, typed
from tests.drivers.on_pika import pika_channel
from tests.drivers.raw_properties import AsBytes, Raw, parts, properties_kept, take_raw

from .broker import Broker

Run = Callable[..., Result]
ABC = [b"a", b"b", b"c"]
FRAME = 131_072 - 8 - 12
"""The room for properties in a frame, without what is before and behind them."""


@pytest.fixture(autouse=True)
def _state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))


@pytest.fixture
def redrive(each_broker: Broker) -> Run:
    return command(each_broker)


def command(broker: Broker) -> Run:
    """Return what runs `mqctx redrive` on a broker."""

    def run(*arguments: str, code: int = 0) -> Result:
        urls = ("--broker", broker.url, "--management", broker.management)
        result = CliRunner().invoke(commands, ["redrive", *arguments, *urls])
        assert result.exit_code == code, result.output
        return result

    return run


@contextmanager
def user(broker: Broker, name: str, rights: dict[str, str]) -> Generator[Broker]:
    """Give the broker as a user with these rights sees it."""
    with httpx.Client(base_url=f"{broker.management}/api/", auth=("guest", "guest")) as api:
        api.put(f"users/{name}", json={"password": "s3cret", "tags": "monitoring"})
        api.put(f"permissions/%2F/{name}", json=rights).raise_for_status()
        url = broker.url.replace("guest:guest", f"{name}:s3cret")
        yield Broker(url, broker.way, broker.management)
        api.delete(f"users/{name}")


def objects(result: Result, kind: str) -> list[dict[str, Any]]:
    found = [json.loads(line) for line in result.stdout.splitlines()]
    return [each for each in found if each["kind"] == kind]


@pytest.mark.parametrize("exchange", list(BINDINGS))
def test_a_second_failure_of_what_was_sent_back_is_dead_again(
    each_broker: Broker, redrive: Run, exchange: str
) -> None:
    for dlx, key in ((exchange, None), ("direct", "dead")):
        with place(
            each_broker.url, exchange=exchange, dlx=dlx, dead_letter_key=key, other=True
        ) as made:
            made.kill([b"a"], headers={"kind": "order"})
            made.drain(made.other)
            result = redrive(made.dead, "--yes", "--json")
            assert objects(result, "plan")[0]["second_failure"] == [made.dead]
            made.reject_all(1)
            made.await_count(made.dead, 1)
            assert made.count(made.other) == 0


@pytest.mark.full
@pytest.mark.parametrize("exchange", list(BINDINGS))
@pytest.mark.parametrize("dlx", list(BINDINGS))
@pytest.mark.parametrize("key", [None, "order.dead"])
@pytest.mark.parametrize("other", [False, True])
def test_a_second_failure_is_dead_again_whatever_the_exchanges(
    each_broker: Broker, redrive: Run, exchange: str, dlx: str, key: str | None, *, other: bool
) -> None:
    with place(
        each_broker.url, exchange=exchange, dlx=dlx, dead_letter_key=key, other=other
    ) as made:
        for _ in range(3):
            if made.count(made.dead) == 0:
                made.kill([b"a"], headers={"kind": "order"})
            redrive(made.dead, "--yes")
            made.reject_all(1)
            made.await_count(made.dead, 1)
            assert not other or made.count(made.other) == 1


def test_a_plan_changes_nothing(redrive: Run, each_broker: Broker) -> None:
    with place(each_broker.url) as made:
        made.kill(ABC, expiration="60000")
        shown = redrive(made.dead).stdout
        assert "3 messages in" in shown
        assert "Nothing was changed" in shown
        plan = redrive(made.dead, "--json")
        assert objects(plan, "plan") == [
            {
                "kind": "plan",
                "queue": made.dead,
                "to": made.inbox,
                "exchange": made.exchange,
                "routing_keys": ["order.new"],
                "by": "x-death",
                "messages": 3,
                "also": [],
                "dead_letter_exchange": made.dlx,
                "second_failure": [made.dead],
            }
        ]
        assert objects(plan, "result") == []
        assert made.bodies(made.dead) == ABC
        assert made.bodies(made.inbox) == []


def test_what_is_not_chosen_stays_in_its_order(redrive: Run, each_broker: Broker) -> None:
    with place(each_broker.url, inbox={"x-queue-type": "quorum"}) as made:
        for tenant in ("acme", "initech", "acme", "initech", "acme"):
            number = made.count(made.dead)
            headers = {"mqctx": json.dumps({"tenant": tenant})}
            made.kill([f"{tenant}{number}".encode()], headers=headers)
        redrive(made.dead, "--where", "tenant=acme", "--limit", "2", "--yes")
        assert made.bodies(made.inbox) == [b"acme0", b"acme2"]
        assert made.bodies(made.dead) == [b"initech1", b"initech3", b"acme4"]


def test_it_sends_as_slowly_as_it_is_told(redrive: Run, each_broker: Broker) -> None:
    with place(each_broker.url) as made:
        made.kill([b"%d" % number for number in range(8)])
        began = time.monotonic()
        result = redrive(made.dead, "--yes", "--rate", "20", "--json")
        assert objects(result, "result")[0]["sent"] == 8
        assert time.monotonic() - began >= 0.4


@pytest.mark.parametrize("rescue", [False, True])
def test_every_type_stays_bit_for_bit(redrive: Run, each_broker: Broker, *, rescue: bool) -> None:
    with place(each_broker.url) as made:
        everything = AsBytes(b"\x20\x00" + table(EVERY_TYPE))
        for body in (b"goes", b"stays"):
            made.channel.basic_publish(made.exchange, "order.new", body, everything)
        with properties_kept():
            made.reject_all(2)
        made.await_count(made.dead, 2)
        redrive(made.dead, "--limit", "1", "--yes", *["--rescue"] * rescue)
        returned, body = take_raw(made.channel, made.inbox)
        left, left_body = take_raw(made.channel, made.dead)
        assert (body, left_body) == (b"goes", b"stays")
        every = {name: typed(value) for name, value in EVERY_TYPE}
        assert parts(returned).without("mqctx-redrive") == Raw({}, every)
        assert every.items() <= parts(left).headers.items()


class TestStays:
    """A message that cannot be sent stays where it is, with the reason; the others go."""

    @pytest.fixture
    def made(self, broker: Broker) -> Any:
        with place(broker.url) as made:
            yield made

    @pytest.fixture
    def redrive(self, broker: Broker) -> Run:
        return command(broker)

    def test_that_tells_nothing(self, made: Place, redrive: Run) -> None:
        made.channel.basic_publish("", made.dead, b"x")
        made.await_count(made.dead, 1)
        made.kill([b"a"])
        (stays,) = objects(redrive(made.dead, "--yes", "--json", code=4), "stays")
        assert stays["reason"] == "nothing tells where it came from; name a queue with --to"
        assert stays["names"] == ["#1"]
        assert (made.bodies(made.inbox), made.bodies(made.dead)) == ([b"a"], [b"x"])

    def test_whose_queue_is_gone(self, made: Place, redrive: Run) -> None:
        made.kill([b"a"])
        made.channel.queue_delete(made.inbox)
        result = redrive(made.dead, "--yes", code=4)
        assert f"there is no queue '{made.inbox}'" in result.stdout
        assert made.bodies(made.dead) == [b"a"]

    def test_that_another_user_has_sent(self, made: Place, redrive: Run, broker: Broker) -> None:
        rights = {"configure": "", "write": ".*", "read": ""}
        with user(broker, made.name, rights) as other, pika_channel(other.url) as channel:
            properties = pika.BasicProperties(user_id=made.name, message_id="foreign")
            channel.basic_publish(made.exchange, "order.new", b"f", properties)
            made.reject_all(1)
        made.kill([b"a"], user_id="guest")
        result = redrive(made.dead, "--yes", "--json", code=4)
        (stays,) = objects(result, "stays")
        assert stays["names"] == ["foreign"]
        assert made.bodies(made.inbox) == [b"a"]

    @pytest.mark.parametrize("overflow", ["drop-head", "reject-publish"])
    def test_for_which_there_is_no_room(self, broker: Broker, redrive: Run, overflow: str) -> None:
        full = {"x-max-length": 2, "x-overflow": overflow}
        with place(broker.url) as made, place(broker.url, inbox=full) as target:
            made.kill(ABC)
            target.publish([b"before"])
            target.await_count(target.inbox, 1)
            result = redrive(made.dead, "--to", target.inbox, "--yes", code=4)
            assert "full" in result.stdout
            assert "()" not in result.stdout
            assert target.bodies(target.inbox) == [b"before", b"a"]
            assert made.bodies(made.dead) == [b"b", b"c"]

    def test_for_which_there_are_no_bytes_left(self, broker: Broker, redrive: Run) -> None:
        with (
            place(broker.url) as made,
            place(broker.url, inbox={"x-max-length-bytes": 2}) as target,
        ):
            made.kill(ABC)
            result = redrive(made.dead, "--to", target.inbox, "--yes", code=4)
            assert "full" in result.stdout
            assert target.bodies(target.inbox) == [b"a", b"b"]
            assert made.bodies(made.dead) == [b"c"]

    def test_that_no_queue_gets(self, made: Place, redrive: Run) -> None:
        made.kill(ABC[:2])
        nowhere = (made.dead, "--exchange", "amq.direct", "--routing-key", made.name)
        assert "0 would go, 2 would stay" in redrive(*nowhere).stdout
        result = redrive(*nowhere, "--yes", code=4)
        assert "no queue gets it" in result.stdout
        assert made.bodies(made.dead) == ABC[:2]

    def test_over_which_the_broker_closed_the_channel_and_the_others_go(
        self, made: Place, redrive: Run, broker: Broker
    ) -> None:
        made.kill(ABC)
        made.channel.exchange_declare(f"{made.name}.inner", "fanout", internal=True)
        made.channel.queue_bind(made.inbox, f"{made.name}.inner")
        result = redrive(made.dead, "--exchange", f"{made.name}.inner", "--yes", "--json", code=4)
        made.channel.exchange_delete(f"{made.name}.inner")
        assert "internal" in objects(result, "stays")[0]["reason"]
        assert made.bodies(made.dead) == ABC

    def test_that_the_user_may_not_send_by_its_key(self, made: Place, broker: Broker) -> None:
        made.kill([b"bad"], key="order.bad")
        made.kill(ABC)
        with user(broker, made.name, {"configure": "", "write": ".*", "read": ".*"}) as limited:
            with httpx.Client(base_url=f"{broker.management}/api/", auth=("guest", "guest")) as api:
                keys = {"exchange": made.exchange, "write": "order.new", "read": ".*"}
                api.put(f"topic-permissions/%2F/{made.name}", json=keys).raise_for_status()
            result = command(limited)(made.dead, "--yes", "--json", code=4)
        (stays,) = objects(result, "stays")
        assert stays["names"] == ["bad"]
        assert "access to topic 'order.bad'" in stays["reason"]
        # The broker closed the channel before it said what became of the others.
        assert objects(result, "result")[0]["may_be_twice"] == ["a", "b", "c"]
        assert set(made.bodies(made.inbox)) == set(ABC)
        assert made.bodies(made.dead) == [b"bad"]

    def test_whose_header_leaves_no_room_for_a_note(
        self, made: Place, redrive: Run, broker: Broker
    ) -> None:
        def publish(length: int) -> None:
            properties = pika.BasicProperties(headers={"large": "x" * length})
            made.channel.basic_publish("", made.dead, str(length).encode(), properties)

        publish(0)
        made.await_count(made.dead, 1)
        redrive(made.dead, "--to", made.inbox, "--yes")
        ((_, noted, _),) = made.drain(made.inbox)
        most = FRAME - len(b"".join(noted.encode()))
        publish(most)
        publish(most + 1)
        made.await_count(made.dead, 2)
        result = redrive(made.dead, "--to", made.inbox, "--yes", code=4)
        assert "stays: 1, its headers would not fit into a frame: #2\n" in result.stdout
        assert made.bodies(made.inbox) == [str(most).encode()]
        assert made.bodies(made.dead) == [str(most + 1).encode()]


def test_to_another_queue_it_keeps_its_key(broker: Broker) -> None:
    with place(broker.url) as made, place(broker.url) as target:
        made.kill([b"a"])
        command(broker)(made.dead, "--to", target.inbox, "--yes")
        ((method, properties, body),) = target.drain(target.inbox)
        assert (method.routing_key, body) == ("order.new", b"a")
        noted = json.loads(properties.headers.pop("mqctx-redrive"))
        assert (noted["count"], noted["from"]) == (1, made.dead)
        assert properties.headers == {}


def test_another_connections_own_queue_can_be_sent_to(broker: Broker) -> None:
    with place(broker.url) as made:
        made.kill([b"a"])
        own = made.channel.queue_declare("", exclusive=True).method.queue
        command(broker)(made.dead, "--to", own, "--yes")
        assert made.bodies(own) == [b"a"]


def test_without_management_api_it_is_read_by_rescue_and_goes_straight(broker: Broker) -> None:
    with place(broker.url, other=True) as made:
        made.kill(ABC)
        nowhere = Broker(broker.url, broker.way, "http://127.0.0.1:1")
        assert "its kind cannot be asked" in command(nowhere)(made.dead, "--yes", code=3).stderr
        result = command(nowhere)(made.dead, "--yes", "--rescue", "--json")
        assert objects(result, "plan")[0]["second_failure"] is None
        assert made.bodies(made.inbox) == ABC
        assert made.count(made.other) == 3  # those of the first time


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--to", "mqctx-no-such-queue"], "no queue 'mqctx-no-such-queue' to send to"),
        (["--exchange", "no-such-exchange"], "no exchange 'no-such-exchange' to send to"),
    ],
)
def test_a_target_that_is_not_there_is_one_line(
    broker: Broker, queue: str, arguments: list[str], told: str
) -> None:
    result = command(broker)(queue, *arguments, "--yes", code=1)
    assert told in result.stderr
    assert len(result.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    "arguments",
    [
        ["--to", "x", "--exchange", "e"],
        ["--to", "x", "--routing-key", "k"],
        ["--routing-key", "k"],
        ["--to", "dead"],
        ["--to", ""],
        ["--exchange", "e" * 256],
        ["--watch", "1"],
        ["--rate", "0"],
    ],
)
def test_options_that_cannot_be_meant_are_a_usage_error(arguments: list[str]) -> None:
    nowhere = Broker("amqp://127.0.0.1:1", "", "http://127.0.0.1:1")
    assert "Error:" in command(nowhere)("dead", *arguments, code=2).stderr


def test_a_stream_cannot_be_redriven(broker: Broker) -> None:
    stream = {"x-queue-type": "stream"}
    with place(broker.url, dead=stream) as made:
        assert "is a stream" in command(broker)(made.dead, code=1).stderr


def test_a_queue_that_counts_its_returns_is_refused_and_read_by_rescue(
    redrive: Run, each_broker: Broker
) -> None:
    with place(each_broker.url, dead={"x-queue-type": "quorum"}) as made:
        made.kill(ABC)
        assert "delivery-limit" in redrive(made.dead, "--yes", code=3).stderr
        assert "Nothing was sent. Add --yes" in redrive(made.dead, "--rescue").stdout
        result = redrive(made.dead, "--limit", "2", "--where", "message.id=b", "--rescue", "--yes")
        assert "copied to the queue's end" in result.stdout
        assert made.bodies(made.inbox) == [b"b"]
        assert sorted(made.bodies(made.dead)) == [b"a", b"c"]
        assert "0 messages" in redrive(made.dead, "--rescue").stdout


def test_what_comes_back_is_told_and_not_sent_again(broker: Broker) -> None:
    with place(broker.url) as made:
        made.kill(ABC)

        def reject(channel: Any, method: Any, *_: Any) -> None:
            channel.basic_reject(method.delivery_tag, requeue=False)

        with Inspector(broker.url, management=broker.management) as inspector:
            # On the same connection: whatever the redrive waits for, this goes on.
            channel = inspector.connection.channel()
            channel.basic_consume(made.inbox, reject)
            call = Redrive(inspector, made.dead)
            assert call.run(lambda: None).sent == 3
            while made.count(made.dead) < 3:
                inspector.connection.process_data_events(0.05)
        result = command(broker)(made.dead, "--yes", "--watch", "0.1", "--json")
        assert objects(result, "result")[0]["came_back"] == {}


def test_a_user_without_the_right_to_send_is_told_in_a_line(broker: Broker) -> None:
    rights = {"configure": "", "write": "", "read": ".*"}
    with place(broker.url) as made:
        made.kill(ABC)
        with user(broker, made.name, rights) as reader:
            result = command(reader)(made.dead, "--yes", code=1)
        told, reason = result.stderr.splitlines()
        assert told.startswith("0 were sent")
        assert "write access to exchange" in reason
        assert "s3cret" not in result.output
        assert made.bodies(made.dead) == ABC


class TestInterrupted:
    """A run that is cut off, in whichever way, loses nothing, and what it left is told."""

    @pytest.fixture
    def made(self, broker: Broker) -> Any:
        with place(broker.url) as made:
            made.kill(ABC)
            yield made

    def test_by_a_signal_finishes_what_it_began(self, broker: Broker, made: Place) -> None:
        with Inspector(broker.url, management=broker.management) as inspector:
            call = Redrive(inspector, made.dead, rate=5)
            result = call.run(call.stop)  # after the first message
            assert (result.sent, result.kept) == (1, 0)
        assert made.bodies(made.inbox) == [b"a"]
        assert made.bodies(made.dead) == [b"b", b"c"]

    def test_by_ctrl_c_says_what_was_sent(
        self, broker: Broker, made: Place, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        settle = Look.settle

        def settle_and_press(look: Look) -> None:
            settle(look)
            signal.raise_signal(signal.SIGINT)

        monkeypatch.setattr(Look, "settle", settle_and_press)
        result = command(broker)(made.dead, "--yes", "--rate", "5", "--watch", "60", code=130)
        assert "interrupted; 1 was sent" in result.stderr
        assert made.bodies(made.inbox) == [b"a"]
        assert made.bodies(made.dead) == [b"b", b"c"]

    def test_by_the_brokers_patience_says_so(self, broker: Broker, tmp_path: Path) -> None:
        with place(broker.url, dead={"x-consumer-timeout": 1}) as impatient:  # milliseconds
            impatient.kill(ABC)
            (tmp_path / "mqctx").write_text("no folder")
            result = command(broker)(impatient.dead, "--yes", code=4)
        assert "run it again" in result.stderr
        assert "would not have been noticed by the next run" in result.stderr

    def test_before_it_began_sends_nothing(self, broker: Broker, made: Place) -> None:
        with Inspector(broker.url, management=broker.management) as inspector:
            call = Redrive(inspector, made.dead)
            call.stop()
            assert call.run(lambda: None).sent == 0
        assert made.bodies(made.dead) == ABC

    def test_by_a_kill_is_noticed_by_the_next_which_names_what_may_be_sent_twice(
        self, broker: Broker, made: Place, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        class KilledError(BaseException):
            pass

        def kill(*_: Any) -> None:
            raise KilledError

        with Inspector(broker.url, management=broker.management) as inspector:
            call = Redrive(inspector, made.dead, limit=2)
            with monkeypatch.context() as patched:
                # Confirmed, and not yet acknowledged.
                patched.setattr(Look, "acknowledge", kill)
                with pytest.raises(KilledError):
                    call.run(lambda: None)
        made.await_count(made.dead, 3)
        shown = command(broker)(made.dead)
        assert "2 messages may have been sent by it" in shown.stdout
        assert "2 are chosen again: a, b" in shown.stdout
        (told,) = objects(command(broker)(made.dead, "--yes", "--json"), "interrupted")
        assert told["still_here"] == ["a", "b"]
        assert sorted(made.bodies(made.inbox)) == [b"a", b"a", b"b", b"b", b"c"]
        assert objects(command(broker)(made.dead, "--json"), "interrupted") == []


@pytest.fixture
def orders(broker: Broker) -> Iterator[str]:
    """Give a vhost of its own with the queue `orders.dead` of the page, and 12 messages in it."""
    name = f"mqctx-test-{uuid4().hex[:12]}"
    with httpx.Client(base_url=f"{broker.management}/api/", auth=("guest", "guest")) as api:
        api.put(f"vhosts/{name}")
        url = f"{broker.url}{name}"
        with pika_channel(url) as channel:
            channel.exchange_declare("orders", "topic")
            channel.queue_declare("orders.dead")
            channel.queue_bind("orders.dead", "amq.direct", "dead")
            dead = {
                "x-dead-letter-exchange": "amq.direct",
                "x-dead-letter-routing-key": "dead",
            }
            channel.queue_declare("orders.in", arguments=dead)
            channel.queue_bind("orders.in", "orders", "order.*")
            for number in range(1, 13):
                context = {"tenant": "acme" if number % 2 or number == 12 else "initech"}
                properties = pika.BasicProperties(
                    message_id=f"o-{number}", headers={"mqctx": json.dumps(context)}
                )
                if number == 12:
                    Place(channel, "orders").await_count("orders.dead", 11)
                    channel.basic_publish("", "orders.dead", b"{}", properties)
                else:
                    channel.basic_publish("orders", "order.placed", b"{}", properties)
                    rejected = channel.basic_get("orders.in")[0]
                    channel.basic_reject(rejected.delivery_tag, requeue=False)
            Place(channel, "orders").await_count("orders.dead", 12)
        yield url
        api.delete(f"vhosts/{name}")


def test_the_page_shows_what_the_commands_print(
    broker: Broker, orders: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "110")
    page = (Path(__file__).parents[2] / "docs/dead-letters.md").read_text()
    (block,) = re.findall(r"```console\n(\$ mqctx redrive.*?)```", page, re.DOTALL)
    printed = ""
    for line in block.splitlines():
        if line.startswith("$ mqctx redrive"):
            arguments = [*line.split()[3:], "--broker", orders, "--management", broker.management]
            result = CliRunner().invoke(commands, ["redrive", *arguments])
            assert result.exit_code == 0, result.output
            printed += f"{line}\n" + ("" if "--yes" in line else result.stdout)
    assert printed == block
