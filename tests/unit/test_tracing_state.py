"""A trace's requests to the management API, and its reading of the answers."""

from types import SimpleNamespace
from typing import Any, cast

import pytest

from mqctx.inspection._arrivals import Arrival
from mqctx.inspection._broker import Broker
from mqctx.inspection._journeys._backlog import Backlog
from mqctx.inspection._journeys._drops import Drops, Tally
from mqctx.inspection._journeys._feeds import Tap
from mqctx.inspection._journeys._queues import Queues
from mqctx.inspection._journeys._tracer import Settings, Tracer
from mqctx.inspection._journeys._tracing_state import TracingState, new_queue
from mqctx.inspection._management import Management, ManagementError
from tests.unit.journeys import Story

Json = dict[str, Any]
RECEIVERS = "exchanges/shop/amq.rabbitmq.trace/bindings/source"


class Api:
    """A management API that is made up."""

    def __init__(self, **answers: Any) -> None:
        self.answers: Json = {
            "vhosts/shop": {"tracing": False, "description": "d", "tags": ["t"]},
            "overview": {"node": "rabbit@a"},
            "nodes": [{"name": "rabbit@a", "running": True}],
            **answers,
        }
        self.asked: list[str] = []
        self.queues = ["mqctx.trace.mine"]
        self.changes: list[tuple[str, Json]] = []

    def get(self, *parts: str, **_: Any) -> Any:
        path = "/".join(parts)
        self.asked.append(path)
        answer = self.answers.get(path, ManagementError("no such thing", 404))
        if isinstance(answer, Exception):
            raise answer
        return answer

    def put(self, *parts: str, **body: Any) -> None:
        self.changes.append(("/".join(parts), body))
        if isinstance(failure := self.answers.get(f"PUT {parts[0]}"), Exception):
            raise failure

    def delete(self, *parts: str) -> None:
        self.changes.append(("/".join(parts), {}))

    def queue_names(self, _pattern: str) -> list[str]:
        return self.queues


def _nothing(**_: object) -> None:
    """Do nothing."""


def _silent() -> Any:
    return SimpleNamespace(journey=lambda _: None)


def state(api: Api) -> TracingState:
    return TracingState(cast("Management", api), "shop")


def queues(api: Api) -> Queues:
    return Queues(cast("Management", api), "shop")


class TestState:
    def test_names_the_nodes_that_run_and_were_not_told(self) -> None:
        others = [("rabbit@a", True), ("rabbit@b", True), ("rabbit@c", False)]
        api = Api(nodes=[{"name": name, "running": running} for name, running in others])
        assert state(api).begin("mqctx.trace.mine").untraced_nodes == ("rabbit@b",)

    def test_sends_everything_back_but_a_type_that_is_none(self) -> None:
        found = {"tracing": False, "default_queue_type": "undefined"}
        for vhost, sent in (
            (found, {}),
            ({**found, "default_queue_type": "stream"}, {"default_queue_type": "stream"}),
            ({**found, "description": "d", "tags": []}, {"description": "d", "tags": []}),
        ):
            api = Api(**{"vhosts/shop": {**vhost, "metadata": {"a": 1}}})
            state(api).begin("mqctx.trace.mine")
            assert api.changes[-1] == ("vhosts/shop", {**sent, "tracing": True})

    def test_takes_the_mark_away_if_tracing_cannot_be_turned_on(self) -> None:
        for status, advice in ((401, "--tap EXCHANGE"), (500, "answered")):
            api = Api(**{"PUT vhosts": ManagementError("it answered", status)})
            with pytest.raises(ManagementError, match=advice):
                state(api).begin("mqctx.trace.mine")
            assert api.changes[-1] == ("exchanges/shop/mqctx.trace", {})

    def test_says_so_if_there_is_nothing_to_restore(self) -> None:
        assert state(Api()).end("") == "tracing is off"

    def test_turns_off_its_node_and_leaves_the_mark_to_traces_of_others(self) -> None:
        api = Api(**{"exchanges/shop/mqctx.trace": {}})
        api.queues = [new_queue("rabbit@a"), new_queue("rabbit@b"), new_queue("rabbit@ab")]
        mine, *_ = api.queues
        assert state(api).end(mine) == "tracing is off again"
        assert [path for path, _ in api.changes] == ["vhosts/shop"]
        api.queues.append(new_queue("rabbit@a"))
        assert "another trace is at work" in state(api).end(mine)

    def test_restores_nothing_if_it_cannot_tell_whether_it_may(self) -> None:
        api = Api(**{"exchanges/shop/mqctx.trace": ManagementError("busy", 503)})
        with pytest.raises(ManagementError, match="busy"):
            state(api).end("")
        assert api.changes == []


class TestQueues:
    def test_exist_if_the_api_says_so_which_is_asked_once(self) -> None:
        api = Api(**{"queues/shop/orders": {"name": "orders"}})
        asked = queues(api)
        for _ in range(3):
            assert asked.exist("orders")
            assert not asked.exist("nowhere")
            assert not asked.exist("amq.rabbitmq.reply-to.g1h2AA")
        assert api.asked == ["queues/shop/orders", "queues/shop/nowhere"]

    def test_exist_if_it_cannot_be_told(self) -> None:
        api = Api(**{"queues/shop/orders": ManagementError("busy", 503)})
        assert queues(api).exist("orders")

    def test_are_not_asked_for_too_often(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("mqctx.inspection._journeys._queues.monotonic", lambda: 7.0)
        monkeypatch.setattr("mqctx.inspection._journeys._queues._MOST_REMEMBERED", 5)
        api = Api()
        asked = queues(api)
        assert [asked.exist(str(number)) for number in range(30)] == [False] * 20 + [True] * 10
        assert len(api.asked) == 20

    def test_count_publishes_and_deliveries(self) -> None:
        stats = {"message_stats": {"publish": 3, "deliver_get": 4, "ack": 9}}
        assert queues(Api(**{"vhosts/shop": stats, RECEIVERS: [{}]})).tally() == (7, True)
        assert queues(Api(**{RECEIVERS: []})).tally() == (0, True)
        assert queues(Api(**{RECEIVERS: ManagementError("busy", 503)})).tally() is None

    @pytest.mark.parametrize(("samples", "rests"), [((7, 7), True), ((7, 6), False)])
    def test_know_that_the_vhost_rests_by_statistics_that_stay_as_they_were(
        self, samples: tuple[int, ...], rests: bool
    ) -> None:
        details = {"samples": [{"sample": each} for each in samples]}
        stats = {"message_stats": {"publish": 7, "publish_details": details}}
        tally = queues(Api(**{"vhosts/shop": stats, RECEIVERS: [{}]})).tally()
        assert tally == (7, rests)

    def test_cannot_count_events_once_others_have_received_them(self) -> None:
        api = Api(**{"vhosts/shop": {}, RECEIVERS: [{}, {}]})
        asked = queues(api)
        assert asked.tally() is None
        api.answers[RECEIVERS] = [{}]
        assert asked.tally() is None

    def test_have_consumers_on_connections_that_are_known_by_their_tags(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        now = [0.5]
        monkeypatch.setattr("mqctx.inspection._journeys._queues.monotonic", lambda: now[0])
        listed = [
            {"consumer_tag": "a", "channel_details": {"connection_name": "1"}},
            {"consumer_tag": "b", "channel_details": {"connection_name": "1"}},
            {"consumer_tag": "b", "channel_details": {"connection_name": "2"}},
            {"consumer_tag": "gone", "channel_details": []},
        ]
        api = Api(**{"consumers/shop": listed})
        asked = queues(api)
        assert [asked.consumers(tag) for tag in ("a", "b", "gone")] == [["1"], ["1", "2"], []]
        assert api.asked == ["consumers/shop"]
        api.answers["consumers/shop"] = ManagementError("busy", 503)
        now[0] = 9.0
        assert asked.consumers("new") == []
        assert asked.consumers("a") == ["1"]


class Counted:
    """A count of drops, with what it is told of."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("mqctx.inspection._journeys._drops._PAUSE", 0.0)
        monkeypatch.setattr("mqctx.inspection._journeys._drops._LATE", 0.0)
        self.backlog = Backlog(1_000, lambda *_: None)
        self.tallies: list[Tally | None] = []
        self.drops = Drops(100, self.backlog, lambda: self.tallies.pop(0))

    def begin(self, tally: Tally | None) -> None:
        self.tallies = [tally]
        self.drops.begin()

    def look(self, waiting: int, received: int, *tallies: Tally | None) -> int | None:
        self.tallies, self.backlog.received = [*tallies], received
        self.drops.look(waiting)
        return self.drops.so_far()

    def at_end(self, received: int, *tallies: Tally | None) -> int | None:
        self.tallies, self.backlog.received = [*tallies], received
        return self.drops.at_end()


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> Counted:
    return Counted(monkeypatch)


class TestDrops:
    """`look` takes what waits, what was received, and what the statistics tell if asked."""

    def test_are_ours_alone_while_the_queue_cannot_have_been_full(self, counted: Counted) -> None:
        counted.begin(None)
        counted.backlog.dropped, counted.drops.unread = 7, 2
        assert counted.look(40, 50, None) == 9
        assert counted.look(40, 109, None) == 9
        assert counted.at_end(200) == 9

    def test_may_be_rabbitmqs_where_as_many_waited_and_came_as_the_queue_holds(
        self, counted: Counted
    ) -> None:
        counted.begin(Tally(50, rests=True))
        counted.look(0, 0, None)
        assert counted.look(40, 60, Tally(50 + 300 + 60, rests=False)) == 240

    def test_are_what_was_counted_and_neither_received_nor_there_before(
        self, counted: Counted
    ) -> None:
        # 50 events are from before; of 1,000 since then, 300 were received, and as often delivered.
        counted.begin(Tally(50, rests=True))
        counted.backlog.dropped = 7
        late, whole = Tally(50 + 500 + 200, rests=False), Tally(50 + 1_000 + 300, rests=True)
        assert counted.look(100, 300, late) == 7 + 100
        assert counted.at_end(300, late, late, late, whole) == 7 + 700

    def test_are_never_told_as_fewer_than_none_while_statistics_are_late(
        self, counted: Counted
    ) -> None:
        counted.begin(Tally(50, rests=True))
        assert counted.look(100, 300, Tally(50, rests=True)) == 0

    @pytest.mark.parametrize("before", [None, Tally(50, rests=False)])
    def test_cannot_be_told_where_it_is_unknown_what_was_there_before(
        self, counted: Counted, before: Tally | None
    ) -> None:
        counted.begin(before)
        assert counted.look(100, 100, Tally(900, rests=True)) is None
        assert counted.at_end(100, Tally(900, rests=True)) is None

    def test_cannot_be_told_without_statistics_in_the_end(self, counted: Counted) -> None:
        counted.begin(Tally(50, rests=True))
        assert counted.look(100, 100, None) is None
        assert counted.at_end(100, None) is None
        assert counted.at_end(100, Tally(900, rests=False), None) is None

    def test_cannot_be_told_of_a_vhost_that_never_rests(
        self, counted: Counted, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("mqctx.inspection._journeys._drops._MOST_LATE", -1.0)
        counted.begin(Tally(50, rests=True))
        counted.drops.may_have_dropped = True
        assert counted.at_end(100, *[Tally(900, rests=False)] * 2) is None

    def test_cannot_be_told_of_statistics_that_began_anew(self, counted: Counted) -> None:
        counted.begin(Tally(50, rests=True))
        counted.drops.may_have_dropped = True
        assert counted.at_end(300, *[Tally(40, rests=True)] * 2) is None

    def test_cannot_be_told_of_a_queue_that_was_lost(self, counted: Counted) -> None:
        counted.begin(Tally(50, rests=True))
        counted.drops.lose()
        assert counted.look(0, 10, Tally(60, rests=True)) is None
        assert counted.at_end(10, Tally(60, rests=True)) is None


def test_a_trace_receives_what_was_left_in_its_queue_when_it_ended() -> None:
    tracer = Tracer(Broker.parse("amqp://h/"), Tap("orders"), Settings(), _silent())
    left = iter([3, 7])  # those 7 are of the time after the end
    source: Any = SimpleNamespace(
        catch_up=_nothing, pause=left.__next__, resume=_nothing, close=_nothing
    )
    source.receive = lambda _: tracer._backlog.add(Arrival(b"", b"", b""))
    tracer._backlog._read = lambda *_: None
    tracer._drain(source)
    assert tracer._backlog.received == 3
    assert tracer.dropped() == 0


def test_a_trace_ends_though_more_events_wait_than_can_be_received(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("mqctx.inspection._journeys._tracer._MOST_DRAIN", -1.0)
    tracer = Tracer(Broker.parse("amqp://h/"), Tap("orders"), Settings(), _silent())
    source: Any = SimpleNamespace(
        catch_up=_nothing, pause=lambda: 9, resume=_nothing, close=_nothing
    )
    tracer._drain(source)
    assert tracer.dropped() == 9


def test_a_node_that_tells_of_an_event_is_traced(monkeypatch: pytest.MonkeyPatch) -> None:
    tracer = Tracer(Broker.parse("amqp://h/"), Tap("orders"), Settings(), _silent())
    tracer.untraced_nodes = {"rabbit@a", "rabbit@b"}
    story = Story()
    event = story.reader.decoded("publish.orders", {"node": "rabbit@a", "properties": {}}, b"", 1.0)
    assert event is not None
    monkeypatch.setattr(tracer._backlog, "take", lambda _: [event])
    tracer._join()
    assert tracer.untraced_nodes == {"rabbit@b"}
