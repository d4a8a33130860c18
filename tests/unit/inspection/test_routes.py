"""Routes of messages, by the exchanges and bindings that the management API tells."""

from typing import Any

import pytest

from mqctx.inspection._management import ManagementError
from mqctx.inspection._routes import UNKNOWN, NoRoutes, Route, Routes


class Api:
    """The management API of a broker with the given exchanges and bindings."""

    def __init__(self, exchanges: dict[str, Any], bindings: dict[str, list[Any]]) -> None:
        self.exchanges = exchanges
        self.bindings = bindings

    def get(self, *path: str) -> Any:
        kind, vhost, name, *rest = path
        assert (kind, vhost) == ("exchanges", "/")
        if name == "forbidden":
            raise ManagementError("no right", 403)
        if name not in self.exchanges:
            raise ManagementError("no such thing", 404)
        return self.bindings.get(name, []) if rest else self.exchanges[name]


def binding(queue: str, key: str = "", to: str = "queue", **arguments: Any) -> dict[str, Any]:
    named = {name.replace("_", "-"): value for name, value in arguments.items()}
    return {
        "destination": queue,
        "destination_type": to,
        "routing_key": key,
        "arguments": named,
    }


def routes(kind: str, *bindings: dict[str, Any], **more: Any) -> Routes:
    exchanges = {"e": {"type": kind, **more}, "alternate": {"type": "fanout"}}
    api: Any = Api(exchanges, {"e": list(bindings), "alternate": [binding("unrouted")]})
    return Routes(api, "/", {"in", "other"}.__contains__)


def reached(found: Routes, *keys: str, **headers: Any) -> set[str]:
    route = found.of("e", keys, headers)
    assert route.is_sure
    return set(route.queues)


def test_the_default_exchange_leads_to_the_queues_of_that_name() -> None:
    assert routes("direct").of("", ("in", "gone"), {}) == Route(frozenset({"in"}))


def test_where_nobody_tells_of_exchanges_only_the_default_one_is_known() -> None:
    unknown = NoRoutes({"in"}.__contains__)
    assert unknown.of("", ("in", "gone"), {}) == Route(frozenset({"in"}))
    assert unknown.of("e", ("in",), {}) == UNKNOWN
    assert UNKNOWN.names() is None


def test_a_direct_exchange_compares_keys() -> None:
    found = routes("direct", binding("a", "k"), binding("b", "l"), binding("c", "m"))
    assert reached(found, "k", "l") == {"a", "b"}


def test_a_fanout_exchange_asks_for_nothing() -> None:
    assert reached(routes("fanout", binding("a", "x"), binding("b", "y")), "k") == {"a", "b"}


@pytest.mark.parametrize(
    ("pattern", "fitting", "others"),
    [
        ("order.*", ["order.new", "order."], ["order", "order.new.eu", "orders.new"]),
        ("order.#", ["order", "order.new", "order.new.eu"], ["orders"]),
        ("#", ["", "a", "a.b.c"], []),
        ("#.eu", ["eu", "a.eu", "a.b.eu"], ["a.eu.b"]),
        ("*.#.b.#", ["a.b", "a.x.b.y.z", "b.b"], ["b", "a.x"]),
        ("", [""], ["a"]),
        ("a.b", ["a.b"], ["a.b.c", "a"]),
    ],
)
def test_a_topic_exchange_matches_words(
    pattern: str, fitting: list[str], others: list[str]
) -> None:
    found = routes("topic", binding("a", pattern))
    assert [key for key in fitting + others if reached(found, key)] == fitting


def test_many_wildcards_take_no_time() -> None:
    found = routes("topic", binding("a", "#." * 200 + "end"))
    assert reached(found, ".".join(["word"] * 500)) == set()


@pytest.mark.parametrize(
    ("arguments", "headers", "fits"),
    [
        ({"x_match": "all", "kind": "a"}, {"kind": "a", "more": 1}, True),
        ({"x_match": "all", "kind": "a", "n": 1}, {"kind": "a"}, False),
        ({"kind": "a"}, {"kind": "b"}, False),
        ({"kind": None}, {"kind": "whatever"}, True),
        ({}, {}, True),
        ({"x_match": "any", "kind": "a", "n": 1}, {"n": 1}, True),
        ({"x_match": "any"}, {"n": 1}, False),
        ({"x_match": "all", "x_kind": "a"}, {}, True),
        ({"x_match": "all-with-x", "x_kind": "a"}, {}, False),
        ({"x_match": "any-with-x", "x_kind": "a"}, {"x-kind": "a"}, True),
    ],
)
def test_a_headers_exchange_compares_headers(
    arguments: dict[str, Any], headers: dict[str, Any], fits: bool
) -> None:
    found = routes("headers", binding("a", **arguments))
    assert bool(reached(found, "k", **headers)) is fits
    assert found.needs_headers


def test_an_exchange_that_is_bound_to_leads_on_and_a_circle_ends() -> None:
    api: Any = Api(
        {"e": {"type": "fanout"}, "f": {"type": "direct"}},
        {
            "e": [binding("f", to="exchange"), binding("a")],
            "f": [binding("e", "k", to="exchange"), binding("b", "k")],
        },
    )
    found = Routes(api, "/", bool)
    assert reached(found, "k") == {"a", "b"}
    assert not found.needs_headers


@pytest.mark.parametrize(
    "more",
    [
        {"arguments": {"alternate-exchange": "alternate"}},
        {"arguments": {}, "policy_definition": {"alternate-exchange": "alternate"}},
    ],
)
def test_what_no_binding_fits_goes_to_the_alternate_exchange(more: dict[str, Any]) -> None:
    found = routes("direct", binding("a", "k"), **more)
    assert reached(found, "k") == {"a"}
    assert reached(found, "other") == {"unrouted"}


def test_an_exchange_that_is_gone_leads_nowhere() -> None:
    assert routes("direct").of("gone", ("k",), {}) == Route()


def test_an_exchange_of_a_kind_that_nobody_knows_leaves_it_open() -> None:
    assert not routes("x-random", binding("a")).of("e", ("k",), {}).is_sure


def test_what_may_not_be_asked_is_an_error() -> None:
    with pytest.raises(ManagementError):
        routes("direct").of("forbidden", ("k",), {})


def test_an_internal_exchange_leads_on_what_it_gets_and_takes_nothing_from_clients() -> None:
    found = routes("fanout", binding("a"), internal=True)
    assert reached(found, "k") == {"a"}
    assert found.published("e", ("k",), {}) == Route()
    assert found.published("", ("in",), {}) == Route(frozenset({"in"}))
    assert routes("fanout", binding("a")).published("e", ("k",), {}) == Route(frozenset({"a"}))
