"""The rules that hold for every client, each shown on all three."""

import functools
import inspect
import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import mqctx
from mqctx import Context, Propagator, configure, current, scope
from tests.adapters.clients import CLIENTS, AdapterClient, Headers
from tests.adapters.conftest import other

CARRIED: Headers = {"mqctx": '{"user":"ada"}'}


def malformed() -> st.SearchStrategy[object]:
    """Generate headers that are not a JSON object: other types, other text, objects cut short."""
    values = st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    )
    objects = st.dictionaries(st.text(), values, min_size=1).map(json.dumps)
    cut = st.tuples(objects, st.integers(1)).map(lambda pair: pair[0][: pair[1] % len(pair[0])])
    other_json = values.filter(lambda value: not isinstance(value, dict)).map(json.dumps)
    noise = st.text() | st.binary() | st.binary().map(bytearray)
    return values.filter(lambda value: not isinstance(value, str)) | other_json | cut | noise


@pytest.fixture(scope="module", params=CLIENTS)
def client(request: pytest.FixtureRequest) -> AdapterClient:
    return CLIENTS[request.param]


def seen_by_handler(client: AdapterClient, headers: Headers | None, **options: Any) -> Context:
    """Return the context in which a handler runs."""
    seen: list[Context] = []
    client.adapter.consume_with_context(**options)(lambda *_: seen.append(current()))(
        *client.delivery(headers)
    )
    return seen[0]


def test_all_adapters_have_the_same_names() -> None:
    names = {"publish", "consume_with_context", "restored", "instrument", "uninstrument"}
    names |= {"DeadLetter", "settled"}
    assert [set(client.adapter.__all__) for client in CLIENTS.values()] == [names] * 3


class TestPublish:
    def test_publish_writes_the_active_context_into_the_headers(
        self, client: AdapterClient
    ) -> None:
        with scope(user="Zo\u00eb"):
            assert client.publish() == {"mqctx": '{"user":"Zo\\u00eb"}'}

    def test_publish_keeps_the_callers_headers_and_never_writes_into_them(
        self, client: AdapterClient
    ) -> None:
        given = {"kind": "order"}
        with scope(user="ada"):
            assert client.publish(given) == {"kind": "order", **CARRIED}
        assert given == {"kind": "order"}

    def test_publish_replaces_the_stale_context_of_a_message_published_on(
        self, client: AdapterClient
    ) -> None:
        stale = {"mqctx": '{"user":"eve","old":1}', "kind": "order"}
        with scope(user="ada"):
            assert client.publish(stale) == {"kind": "order", **CARRIED}
        assert stale["mqctx"] == '{"user":"eve","old":1}'

    def test_publish_removes_a_stale_context_in_an_empty_run(self, client: AdapterClient) -> None:
        with Context().scope():
            assert client.publish({"mqctx": '{"user":"eve"}', "kind": "order"}) == {"kind": "order"}

    def test_publish_outside_every_run_leaves_a_context_as_it_is(
        self, client: AdapterClient
    ) -> None:
        given = {"mqctx": '{"user":"eve"}', "kind": "order"}
        assert client.publish(given) == given

    def test_publish_writes_nothing_when_none_is_active(self, client: AdapterClient) -> None:
        assert not client.publish()

    def test_publish_does_not_grow_however_often_a_message_is_published_on(
        self, client: AdapterClient
    ) -> None:
        headers: Headers | None = {"kind": "order"}
        with scope(user="ada"):
            for _ in range(5):
                headers = client.publish(headers)
        assert headers == {"kind": "order", **CARRIED}

    def test_publish_with_a_propagator_of_its_own_uses_that_one(
        self, client: AdapterClient
    ) -> None:
        with scope(user="ada", secret="s"):
            assert client.publish(propagator=Propagator(send=["user"])) == CARRIED

    def test_publish_uses_the_default_propagator_of_the_moment(self, client: AdapterClient) -> None:
        configure(send=["user"])
        with scope(user="ada", secret="s"):
            assert client.publish() == CARRIED

    def test_publish_refuses_an_oversized_context_before_the_client_is_touched(
        self, client: AdapterClient
    ) -> None:
        with scope(basket="x" * 5000), pytest.raises(mqctx.OversizeError, match="basket"):
            client.publish()


class TestHandler:
    def test_a_handler_runs_in_the_context_that_its_message_brought(
        self, client: AdapterClient
    ) -> None:
        assert seen_by_handler(client, CARRIED) == {"user": "ada"}
        assert current() == {}

    @pytest.mark.parametrize("headers", [None, {}, {"kind": "order"}])
    def test_a_handler_runs_in_the_empty_context_when_it_brought_none(
        self, client: AdapterClient, headers: Headers | None
    ) -> None:
        with scope(user="ambient"):
            assert seen_by_handler(client, headers) == {}
            assert current() == {"user": "ambient"}

    @pytest.mark.parametrize("raw", [5, ["a"], {"a": 1}, b"\xff", None, "nonsense", True])
    def test_a_handler_runs_when_the_header_cannot_be_read(
        self, client: AdapterClient, raw: object
    ) -> None:
        propagator = Propagator(on_rejected=lambda _: None)
        assert seen_by_handler(client, {"mqctx": raw}, propagator=propagator) == {}
        assert propagator.rejections.total() == 1

    @settings(max_examples=30)
    @given(raw=malformed())
    def test_a_handler_runs_with_the_empty_context_and_one_rejection_for_every_malformed_header(
        self, client: AdapterClient, raw: object
    ) -> None:
        propagator = Propagator(on_rejected=lambda _: None)
        assert seen_by_handler(client, {"mqctx": raw}, propagator=propagator) == {}
        assert propagator.rejections.total() == 1

    def test_a_handler_asks_the_default_propagator_when_it_runs_not_when_it_is_decorated(
        self, client: AdapterClient
    ) -> None:
        handler = client.adapter.consume_with_context(lambda *_: current())
        configure(accept=["tenant"], on_rejected=lambda _: None)
        assert handler(*client.delivery({"mqctx": '{"user":"eve","tenant":"a"}'})) == {
            "tenant": "a"
        }

    def test_a_handler_obeys_a_propagator_of_its_own(self, client: AdapterClient) -> None:
        configure(accept=[], on_rejected=lambda _: None)
        assert seen_by_handler(client, CARRIED, propagator=Propagator()) == {"user": "ada"}

    def test_a_handler_gets_its_arguments_and_gives_its_result_unchanged(
        self, client: AdapterClient
    ) -> None:
        delivery = client.delivery(CARRIED)
        returned = client.adapter.consume_with_context(lambda *got: got)(*delivery)
        assert all(a is b for a, b in zip(returned, delivery, strict=True))

    def test_a_handler_lets_exceptions_pass_and_leaves_nothing_active(
        self, client: AdapterClient
    ) -> None:
        def fail(*_: object) -> None:
            raise LookupError(current()["user"])

        with scope(user="ambient"):
            with pytest.raises(LookupError, match="ada"):
                client.adapter.consume_with_context(fail)(*client.delivery(CARRIED))
            assert current() == {"user": "ambient"}

    def test_a_handler_leaks_no_context_variable_to_the_next_message(
        self, client: AdapterClient
    ) -> None:
        def leak(*_: object) -> None:
            other.set("inside")
            mqctx.bind(step="pay")
            scope(leaked=True).__enter__()

        client.adapter.consume_with_context(leak)(*client.delivery(CARRIED))
        assert other.get() == "outside"
        assert current() == {}

    def test_a_handler_binds_for_its_own_message_only(self, client: AdapterClient) -> None:
        @client.adapter.consume_with_context
        def bind_step(*_: object) -> Context:
            before = current()
            mqctx.bind(step="pay")
            return before

        for _ in range(2):
            assert bind_step(*client.delivery(CARRIED)) == {"user": "ada"}

    def test_a_handler_stays_sync_with_name_docstring_and_signature(
        self, client: AdapterClient
    ) -> None:
        def on_order(first: int, message: str, properties: None = None) -> None:
            """Bill the order."""

        decorated = client.adapter.consume_with_context(on_order)
        assert decorated.__name__ == "on_order"
        assert decorated.__doc__ == "Bill the order."
        assert inspect.signature(decorated) == inspect.signature(on_order)
        assert not inspect.iscoroutinefunction(decorated)

    def test_a_handler_decorated_twice_is_decorated_once(self, client: AdapterClient) -> None:
        consume = client.adapter.consume_with_context
        once = consume(lambda *_: None)
        assert consume(once) is once
        assert consume(propagator=Propagator())(once) is once

    def test_a_handler_inside_another_decorator_is_decorated_again(
        self, client: AdapterClient
    ) -> None:
        consume = client.adapter.consume_with_context
        inner = consume(lambda *_: current())

        @functools.wraps(inner)
        def outer(*arguments: Any) -> tuple[Context, Context]:
            return current(), inner(*arguments)

        assert consume(outer)(*client.delivery(CARRIED)) == ({"user": "ada"}, {"user": "ada"})

    def test_a_handler_may_be_a_method_a_partial_or_an_object(self, client: AdapterClient) -> None:
        consume = client.adapter.consume_with_context

        class Worker:
            @consume
            def decorated(self, *_: object) -> Context:
                return current()

            def plain(self, *_: object) -> Context:
                return current()

            def __call__(self, *_: object) -> Context:
                return current()

        handlers: list[Callable[..., Context]] = [
            Worker().decorated,
            consume(Worker().plain),
            consume(Worker()),
            consume(functools.partial(lambda extra, *_, db: current(), "extra", db="db")),
        ]
        for handler in handlers:
            assert handler(*client.delivery(CARRIED)) == {"user": "ada"}

    def test_a_handler_that_is_a_generator_function_is_refused_when_decorated(
        self, client: AdapterClient
    ) -> None:
        def generate(*_: object) -> Any:
            yield

        with pytest.raises(mqctx.HandlerError, match="generator function"):
            client.adapter.consume_with_context(generate)

    def test_a_handler_publishes_on_in_its_own_context(self, client: AdapterClient) -> None:
        handler = client.adapter.consume_with_context(lambda *_: client.publish({"kind": "bill"}))
        assert handler(*client.delivery(CARRIED)) == {"kind": "bill", **CARRIED}


class TestRestored:
    def test_restored_is_exactly_the_messages_context(self, client: AdapterClient) -> None:
        with scope(user="ambient", tenant="acme"):
            with client.adapter.restored(client.restored_from(CARRIED)) as context:
                assert context == current() == {"user": "ada"}
            assert current() == {"user": "ambient", "tenant": "acme"}

    @pytest.mark.parametrize("headers", [None, {}, {"mqctx": 5}])
    def test_restored_is_empty_for_a_message_without(
        self, client: AdapterClient, headers: Headers | None
    ) -> None:
        configure(on_rejected=lambda _: None)
        with (
            scope(user="ambient"),
            client.adapter.restored(client.restored_from(headers)),
        ):
            assert current() == {}

    def test_restored_ends_when_the_loop_is_left(self, client: AdapterClient) -> None:
        for _ in range(3):
            with client.adapter.restored(client.restored_from(CARRIED)):
                break
        assert current() == {}

    def test_restored_takes_a_propagator_of_its_own(self, client: AdapterClient) -> None:
        propagator = Propagator(accept=["user"], on_rejected=lambda _: None)
        carried = {"mqctx": json.dumps({"user": "ada", "role": "admin"})}
        message = client.restored_from(carried)
        with client.adapter.restored(message, propagator=propagator):
            assert current() == {"user": "ada"}
