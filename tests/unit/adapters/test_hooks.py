"""Hooks are read, set and deleted as what they stand for, and known as what they stand for."""

import inspect
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from unittest import mock

import pytest

from mqctx._core.isolation import is_async
from mqctx.adapters import aio_pika as aio_pika_adapter
from mqctx.adapters import kombu as kombu_adapter
from mqctx.adapters import pika as pika_adapter
from mqctx.adapters._instrumentation import Hook, Instrumentation

ADAPTERS: tuple[Any, ...] = (aio_pika_adapter, kombu_adapter, pika_adapter)
HOOKS = [(adapter, hook) for adapter in ADAPTERS for hook in adapter._instrumentation._own]


@pytest.fixture(params=HOOKS, ids=lambda pair: f"{pair[1].owner.__name__}.{pair[1].name}")
def hook(request: pytest.FixtureRequest) -> Iterator[Hook]:
    """Give each hook of each adapter, while it is in place."""
    adapter, hook = request.param
    original = vars(hook.owner)[hook.name]
    adapter.instrument()
    assert vars(hook.owner)[hook.name] is not original
    yield hook
    adapter.uninstrument()
    assert vars(hook.owner)[hook.name] is original


@pytest.fixture
def original(hook: Hook) -> Any:
    """Give what the hook stands for."""
    return inspect.unwrap(getattr(hook.owner, hook.name))


def test_is_async_as_what_it_stands_for(hook: Hook, original: Any) -> None:
    assert is_async(getattr(hook.owner, hook.name)) == is_async(original)


def test_has_the_signature_of_what_it_stands_for(hook: Hook, original: Any) -> None:
    assert inspect.signature(getattr(hook.owner, hook.name)) == inspect.signature(original)


@pytest.mark.parametrize("autospec", [None, True])
def test_is_patched_on_its_class_as_what_it_stands_for(
    hook: Hook, original: Any, autospec: bool | None
) -> None:
    hooked = vars(hook.owner)[hook.name]
    with mock.patch.object(hook.owner, hook.name, autospec=autospec) as patched:
        assert getattr(hook.owner, hook.name) is patched
        assert is_async(patched) == is_async(original)
    assert vars(hook.owner)[hook.name] is hooked


@pytest.mark.parametrize("autospec", [None, True])
def test_is_patched_on_an_object_as_what_it_stands_for(
    hook: Hook, original: Any, autospec: bool | None
) -> None:
    target: Any = object.__new__(type("WithDict", (hook.owner,), {}))
    with mock.patch.object(target, hook.name, autospec=autospec) as patched:
        assert getattr(target, hook.name) is patched
        assert is_async(patched) == is_async(original)
    assert getattr(target, hook.name).__func__ is vars(hook.owner)[hook.name]


def test_deleted_from_its_class_it_stays_deleted() -> None:
    class Client:
        def publish(self) -> None: ...

    instrumentation = Instrumentation(Client)
    instrumentation.use(Hook(Client, "publish", lambda original: lambda self: original(self)))
    instrumentation.instrument()
    del Client.publish
    instrumentation.uninstrument()
    assert not hasattr(Client, "publish")


@pytest.fixture
def _threads_take_turns_often() -> Iterator[None]:
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(interval)


class Target:
    """Anything that can be instrumented."""


@pytest.mark.usefixtures("_threads_take_turns_often")
def test_targets_may_be_read_while_another_thread_adds_and_removes_some() -> None:
    instrumentation, stop = Instrumentation(Target), threading.Event()
    targets = [Target() for _ in range(200)]
    instrumentation.instrument(targets[0])

    def connect_and_leave() -> None:
        while not stop.is_set():
            for change in (instrumentation.instrument, instrumentation.uninstrument):
                for target in targets[1:]:
                    change(target)

    with ThreadPoolExecutor(1) as pool:
        worker = pool.submit(connect_and_leave)
        try:
            for _ in range(3_000):
                assert targets[0] in instrumentation.targets
        finally:
            stop.set()
    worker.result()
