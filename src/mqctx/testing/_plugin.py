"""The pytest plugin: marker, fixtures, and the checks that are always on."""

import os
from collections.abc import Generator, Iterator, Mapping
from itertools import filterfalse
from typing import Any

import pytest

from mqctx._core.active import scope
from mqctx._core.context import Context
from mqctx._core.registry import registry
from mqctx._core.rejection import Rejection
from mqctx._core.store import active_store, current
from mqctx.testing._isolation import Isolation

_ISOLATION = pytest.StashKey[Isolation]()
_BEGUN = pytest.StashKey[bool]()


def pytest_configure(config: pytest.Config) -> None:
    """Register the marker, and begin to watch over the tests."""
    config.addinivalue_line(
        "markers",
        "mqctx(**values): run the test, and the fixtures for it, in a scope with these values, so "
        "that bind() works. Of several markers the nearest counts for a name.",
    )
    config.stash[_ISOLATION] = Isolation()


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Begin the test's scope before any fixture is set up."""
    values: Mapping[str, object] | None = _marked(item)
    if values is None and "mqctx_scope" in getattr(item, "fixturenames", ()):
        values = dict[str, object]()
    item.config.stash[_ISOLATION].begin(values)
    item.stash[_BEGUN] = True


def _marked(node: Any) -> Mapping[str, object] | None:
    """Return the values of a node's markers, None if it has no marker."""
    markers = [
        marker
        for each in node.listchain()
        for marker in _nearest_last(each)
        if marker.name == "mqctx"
    ]
    values: dict[str, object] = {}
    for marker in markers:
        values |= Context(*marker.args, **marker.kwargs)
    return values if markers else None


def _nearest_last(node: Any) -> list[pytest.Mark]:
    """Return the markers of a node itself, in the order in which they count."""
    markers: list[pytest.Mark] = node.own_markers
    if isinstance(node, pytest.Class):
        return markers  # where pytest has a base class's first
    # It has those of a parameter last, beside the function's own, of which the nearest is first.
    of_parameters: Any = getattr(getattr(node, "callspec", None), "marks", ())
    return [*filterfalse(of_parameters.__contains__, reversed(markers)), *of_parameters]


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_fixture_setup(
    fixturedef: pytest.FixtureDef[Any], request: pytest.FixtureRequest
) -> Generator[None, Any, Any]:
    """Let a fixture be in the scope of its test, or of all tests that it serves."""
    isolation = request.config.stash[_ISOLATION]
    if fixturedef.scope == "function":
        definition: Any = fixturedef
        function = definition.func
        definition.func = isolation.reaching(function)
        try:
            return (yield)
        finally:
            definition.func = function
    with isolation.around_shared_fixture(_marked(request.node), fixturedef.addfinalizer):
        return (yield)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, Any, Any]:
    """Watch over the test itself, whoever runs it."""
    isolation = item.config.stash[_ISOLATION]
    case: Any = getattr(item, "instance", None)
    if hasattr(case, "_asyncioTestContext"):
        with isolation.around_async_case(case):
            return (yield)
    # All that unittest calls is looked at when it is over: a cleanup may leave a scope.
    if not isinstance(item, pytest.Function) or hasattr(case, "addCleanup"):
        return (yield)
    owner: Any = item
    name = "obj"
    if hasattr(item.obj, "hypothesis"):
        owner, name = item.obj.hypothesis, "inner_test"
    function = getattr(owner, name)
    setattr(owner, name, isolation.watched(function))
    try:
        return (yield)
    finally:
        setattr(owner, name, function)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_teardown(item: pytest.Item) -> Generator[None, Any, Any]:
    """End the test's scope after all fixtures; fail if the test has left another one active."""
    try:
        result = yield
    except BaseException as error:
        if text := _end(item):
            error.add_note(text)
        raise
    if text := _end(item):
        pytest.fail(text, pytrace=False)
    return result


def _end(item: pytest.Item) -> str:
    """End the test, and return what to say of the scopes that it did not leave."""
    if not item.stash.get(_BEGUN, False):
        return ""
    del item.stash[_BEGUN]
    leaks = item.config.stash[_ISOLATION].end()
    said = [
        ", ".join(f"{name}={_shown(value)}" for name, value in leak.items())
        or "a scope without values"
        for leak in leaks
    ]
    return (
        f"mqctx: still active after the test: {'; '.join(said)}. A scope was entered and not left: "
        "write `with scope(...):`, or let a fixture hold it around its `yield`."
        if said
        else ""
    )


def _shown(value: object) -> str:
    try:
        text = repr(value)
    except Exception as error:  # noqa: BLE001 - anybody's code
        text = f"<{type(value).__name__}: {type(error).__name__} in its repr>"
    return text if len(text) <= 200 else f"{text[:200]}..."


@pytest.fixture
def mqctx_scope() -> Iterator[Context]:
    """Run the test in a scope, as a bare marker does, and give the context that it begins with."""
    if active_store().active:
        yield current()
        return
    with scope() as context:  # it was asked for by `getfixturevalue`
        yield context


@pytest.fixture
def rejections() -> list[Rejection]:
    """Give a list of all that was not restored or not sent in this test, and why."""
    found: list[Rejection] = []
    registry.witnesses = (*registry.witnesses, found.append)  # until the end of the test
    return found


@pytest.fixture(scope="session")
def rabbitmq_url() -> Iterator[str]:
    """Give the URL of a RabbitMQ: of `MQCTX_TEST_AMQP_URL`, else of a container of its own.

    testcontainers starts it, from the image `MQCTX_TEST_IMAGE`.
    """
    if url := os.environ.get("MQCTX_TEST_AMQP_URL"):
        yield url
        return
    from mqctx.testing import rabbitmq_container  # noqa: PLC0415 - large, and seldom needed

    with rabbitmq_container() as found:
        yield found.url
