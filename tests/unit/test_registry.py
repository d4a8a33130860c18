"""The state of the process, which threads, forks and signal handlers may change at any moment."""

import itertools
import os
import pickle
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextvars import ContextVar, copy_context
from pathlib import Path
from typing import Any, Protocol

import msgspec
import pytest

from mqctx import (
    ConfigurationError,
    Context,
    InvalidValueError,
    Propagator,
    Rejection,
    Variable,
    bind,
    configure,
    current,
    run,
    scope,
)
from mqctx._core import declaration, values
from mqctx._core.linked_vars import LinkedVar
from mqctx._core.registry import registry
from mqctx._core.rejection import Tally, log_rejection
from mqctx._core.store import Store, active_store
from mqctx.adapters._instrumentation import Hook, Instrumentation, Method

WRONG = {"mqctx": "nonsense"}


def at_line(function: Callable[..., Any], text: str, act: Callable[[], object]) -> Any:
    """Return a tracer that acts once, right before the first line of `function` with `text`."""
    lines = Path(function.__code__.co_filename).read_text().splitlines()
    done: list[bool] = []

    def local(frame: Any, event: str, _arg: object) -> Any:
        if event == "line" and text in lines[frame.f_lineno - 1] and not done:
            done.append(True)
            sys.settrace(None)
            act()
        return local

    return lambda frame, *_: local if frame.f_code is function.__code__ else None


def traced(tracer: Any, function: Callable[[], Any]) -> Any:
    before = sys.gettrace()
    sys.settrace(tracer)
    try:
        return function()
    finally:
        sys.settrace(before)


class TestSnapshot:
    def test_a_snapshot_is_what_restore_brings_back_any_number_of_times(self) -> None:
        linked: ContextVar[str | None] = ContextVar("linked", default=None)
        saved = registry.snapshot()
        for _ in range(2):
            Variable("secret", object, local=True)
            Variable("linked", str, contextvar=linked)
            configured = configure(max_bytes=100)
            Propagator().extract(WRONG)
            assert registry.propagator is configured
            registry.restore(saved)
            assert registry.propagator is saved.propagator
            assert "secret" not in registry.declarations
            assert "secret" not in registry.local
            assert "linked" not in registry.linked
            assert not registry.quiet_until


class TestDeclaredWhileMessagesFlow:
    def test_a_declaration_between_look_and_note_holds(self) -> None:
        propagator = Propagator(on_rejected=lambda _: None)
        tracer = at_line(
            values.check_undeclared,
            "undeclared.add",
            lambda: Variable("is_admin", bool, local=True),
        )
        traced(tracer, lambda: propagator.extract({"mqctx": '{"is_admin":"yes"}'}))
        assert "is_admin" in registry.declarations
        assert propagator.extract({"mqctx": '{"is_admin":"later"}'}) == {}

    def test_of_two_declarations_that_contradict_one_is_refused(self) -> None:
        class Raced(dict[str, declaration.Declaration]):
            """Another thread declares at the worst moment that there is."""

            def other(self) -> None:
                super().setdefault("count", declaration.Declaration("count", str))

            def get(self, *arguments: Any) -> Any:
                found = super().get(*arguments)
                self.other()
                return found

            def setdefault(self, *arguments: Any) -> Any:
                self.other()
                return super().setdefault(*arguments)

        registry.declarations = Raced()
        with pytest.raises(ConfigurationError, match="count: already declared as str"):
            Variable("count", int)
        assert registry.declarations["count"].type is str

    def test_of_two_variables_that_are_linked_at_once_neither_is_lost(self) -> None:
        class Raced(dict[str, LinkedVar]):
            """Another thread links one at the worst moment that there is."""

            def copy(self) -> dict[str, LinkedVar]:
                before = super().copy()
                if len(before) == 1:
                    Variable("other", str, contextvar=others)
                return before

        linked: ContextVar[str | None] = ContextVar("linked", default=None)
        others: ContextVar[str | None] = ContextVar("others", default=None)
        registry.linked = Raced()
        Variable("linked", str, contextvar=linked)
        with scope(linked="1", other="2"):
            assert (linked.get(), others.get()) == ("1", "2")


class TestLocalFromTheDeclarationOn:
    def test_what_was_encoded_or_pickled_before_counts_no_more(self) -> None:
        propagator = Propagator()
        with scope(token="t", request_id="r-1"):
            assert "token" in propagator.inject()["mqctx"]
            pickled = pickle.dumps(current())
            Variable("token", str, local=True)
            assert propagator.inject() == {"mqctx": '{"request_id":"r-1"}'}
            assert pickle.loads(pickle.dumps(current())) == {"request_id": "r-1"}  # noqa: S301 - ours
        assert pickle.loads(pickled) == {"request_id": "r-1"}  # noqa: S301 - ours

    def test_what_was_read_before_is_not_given_again(self) -> None:
        propagator = Propagator(on_rejected=lambda _: None)
        headers = {"mqctx": '{"tenant":"acme","user":"1"}'}
        assert propagator.extract(headers) == {"tenant": "acme", "user": "1"}
        Variable("tenant", str, local=True)
        assert propagator.extract(headers) == {"user": "1"}


class TestBind:
    def test_bind_of_many_threads_loses_nothing(self) -> None:
        def add(number: int) -> None:
            for step in range(50):
                bind({f"n{number}_{step}": step})

        interval = sys.getswitchinterval()
        sys.setswitchinterval(1e-6)
        try:
            with scope():
                threads = [
                    threading.Thread(target=copy_context().run, args=(add, n)) for n in range(4)
                ]
                for thread in threads:
                    thread.start()
                for thread in threads:
                    thread.join(300)
                assert len(current()) == 200
        finally:
            sys.setswitchinterval(interval)

    def test_bind_in_what_interrupts_it_loses_neither(self) -> None:
        def nested() -> Context:
            bind(outer=1)
            return current()

        with scope(a=0):
            tracer = at_line(Store._follow, "setdefault", lambda: bind(inner=2))
            assert traced(tracer, nested) == {"a": 0, "outer": 1, "inner": 2}

    def test_bind_in_what_interrupts_it_at_its_end_loses_neither(self) -> None:
        with scope(a=0):
            tracer = at_line(Store._follow, 'vars(self)["later"]', lambda: bind(inner=2))
            traced(tracer, lambda: bind(outer=1))
            assert current() == {"a": 0, "outer": 1, "inner": 2}

    def test_a_variable_is_read_from_the_last_version_where_the_store_knows_an_earlier_one(
        self,
    ) -> None:
        inner = Variable("inner", int)
        with scope(a=0):
            bind(outer=1)
            earlier = active_store().later
            bind(inner=2)
            active_store().later = earlier
            assert inner.get() == 2

    def test_bind_in_the_values_that_are_bound_loses_neither(self) -> None:
        class Interrupting(Mapping[str, object]):
            @property
            def by_name(self) -> Mapping[str, object]:
                return self

            def __getitem__(self, name: str) -> object:
                return 1

            def __len__(self) -> int:
                return 1

            def __iter__(self) -> Iterator[str]:
                if next(iterations) == 1:  # the second time, to take the values
                    bind(inner=2)
                yield "outer"

        iterations = itertools.count()
        values: Any = Interrupting()
        with scope(a=0):
            active_store().bind(values)
            assert current() == {"a": 0, "outer": 1, "inner": 2}

    def test_bind_often_keeps_no_more_than_the_last_version(self) -> None:
        with scope():
            before = sys.getallocatedblocks()
            for number in range(2_000):
                bind(number=number)
            assert sys.getallocatedblocks() - before < 1_000

    @pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
    def test_bind_in_a_forked_child_never_waits_for_a_thread_that_is_not_there(self) -> None:
        inside, go = threading.Event(), threading.Event()

        def hold() -> None:
            inside.set()
            go.wait(10)

        def work() -> None:
            tracer = at_line(Store._follow, "setdefault", hold)
            with scope(a=1):
                traced(tracer, lambda: bind(b=2))

        thread = threading.Thread(target=work)
        thread.start()
        assert inside.wait(10)
        child = os.fork()
        if child == 0:
            signal.alarm(5)  # kills one that hangs
            with scope(c=3):
                bind(d=4)
                os._exit(0 if current() == {"c": 3, "d": 4} else 1)
        _, status = os.waitpid(child, 0)
        go.set()
        thread.join(10)
        assert status == 0


class TestInstrument:
    def test_instrument_in_a_forked_child_never_waits_for_a_thread_that_is_not_there(self) -> None:
        instrumentation = Instrumentation()
        inside, go = threading.Event(), threading.Event()

        def hold() -> None:
            with instrumentation._placing:
                inside.set()
                go.wait(10)

        thread = threading.Thread(target=hold)
        thread.start()
        assert inside.wait(10)
        child = os.fork()
        if child == 0:
            signal.alarm(5)  # kills one that hangs
            instrumentation.instrument()
            os._exit(0 if instrumentation.propagator_for(()) is registry.propagator else 1)
        _, status = os.waitpid(child, 0)
        go.set()
        thread.join(10)
        assert status == 0

    def test_instrument_in_what_interrupts_it_never_waits(self) -> None:
        instrumentation = Instrumentation()
        with instrumentation._placing:
            instrumentation.instrument()
        assert instrumentation.propagator_for(()) is registry.propagator

    @pytest.mark.parametrize("ends_in_use", [False, True])
    def test_instrument_in_what_interrupts_the_removal_of_hooks_decides(
        self, ends_in_use: bool
    ) -> None:
        class Interrupted(type):
            def __setattr__(cls, name: str, value: object) -> None:
                super().__setattr__(name, value)
                if interruptions:
                    interruptions.pop()()

        class Client(metaclass=Interrupted):
            def publish(self) -> list[str]:
                return []

        def around(original: Method) -> Method:
            return lambda self: ["hooked", *original(self)]

        def interrupt() -> None:
            instrumentation.instrument()
            if not ends_in_use:
                instrumentation.uninstrument()

        interruptions: list[Callable[[], None]] = []
        original = vars(Client)["publish"]
        instrumentation = Instrumentation()
        instrumentation.use(Hook(Client, "publish", around))
        instrumentation.instrument()
        interruptions.append(interrupt)
        instrumentation.uninstrument()
        assert Client().publish() == ["hooked"] * ends_in_use
        instrumentation.uninstrument()
        assert vars(Client)["publish"] is original


class TestScope:
    def test_a_scope_shows_what_it_is_of(self) -> None:
        assert repr(scope(a=1)) == "<Scope of <Context a=1>>"
        assert repr(Context(a=1).scope()) == "<Scope of exactly <Context a=1>>"


class TestCountsAndLines:
    def test_counts_of_many_threads_lose_nothing(self) -> None:
        tally = Tally()

        def count(_: int) -> None:
            for _ in range(500):
                tally.add("malformed")

        with ThreadPoolExecutor(4) as pool:
            list(pool.map(count, range(4)))
        assert tally == {"malformed": 2_000}
        assert tally["error"] == 0
        assert tally.total() == 2_000
        assert len(tally) == 1
        assert repr(tally) == "Tally({'malformed': 2000})"

    def test_a_kind_is_logged_once_a_minute(
        self, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        now = 100.0
        monkeypatch.setattr(time, "monotonic", lambda: now)
        told = Rejection("extract", "mqctx", None, "malformed", "x")
        for now in (100.0, 159.0, 160.0, 219.0, 220.0):  # noqa: B007 - the clock reads it
            log_rejection(told)
        assert len(caplog.records) == 3

    @pytest.mark.parametrize("others", [1, 2])
    def test_of_threads_that_see_that_the_minute_is_over_one_logs(
        self,
        others: int,
        monkeypatch: pytest.MonkeyPatch,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        now = 100.0
        monkeypatch.setattr(time, "monotonic", lambda: now)
        told = Rejection("extract", "mqctx", None, "malformed", "x")
        log_rejection(told)
        now = 200.0
        kind = ("extract", "mqctx", "malformed")

        def overtake() -> None:
            if others == 1:
                log_rejection(told)
            else:
                registry.quiet_until.pop(kind)  # another one is at this very point

        class Overtaken(dict[tuple[str, ...], float]):
            def pop(self, *arguments: Any) -> Any:
                registry.quiet_until = dict(self)
                overtake()
                return registry.quiet_until.pop(*arguments)

        registry.quiet_until = Overtaken(registry.quiet_until)
        log_rejection(told)
        assert len(caplog.records) == (2 if others == 1 else 1)
        log_rejection(told)
        assert len(caplog.records) == 2


class TestLinkedVariable:
    @staticmethod
    def link() -> ContextVar[Any]:
        contextvar: ContextVar[Any] = ContextVar("user", default=None)
        Variable("user", str, contextvar=contextvar)
        return contextvar

    def test_a_linked_var_counts_as_bound_where_its_own_snapshot_did_not_see_it(self) -> None:
        self.link()
        with scope(user="ada"):
            copy_context().run(bind, user="eve")
            assert current() == {"user": "eve"}
            assert Propagator().inject() == {"mqctx": '{"user":"eve"}'}

    def test_a_linked_var_bound_here_and_later_elsewhere_is_as_bound_last(self) -> None:
        self.link()
        with scope():
            bind(user="ada")
            copy_context().run(bind, user="eve")
            assert current() == {"user": "eve"}

    @pytest.mark.parametrize("given", ["ada", None])
    def test_a_linked_var_counts_as_bound_elsewhere_in_place_of_what_its_library_set_here(
        self, given: str | None
    ) -> None:
        """As where a middleware sets it, and a sync dependency or a task binds."""
        contextvar = self.link()

        def request() -> list[Context]:
            contextvar.set(given)
            copy_context().run(bind, user="eve", step="pay")
            seen = [current()]
            bind(step="paid")
            return [*seen, current()]

        assert run({"user": "bob"}, request) == [
            {"user": "eve", "step": "pay"},
            {"user": "eve", "step": "paid"},
        ]

    def test_a_linked_var_set_here_by_its_library_counts_over_other_names_that_are_bound_elsewhere(
        self,
    ) -> None:
        contextvar = self.link()

        def request() -> Context:
            contextvar.set("ada")
            copy_context().run(bind, step="pay")
            return current()

        assert run({"user": "bob"}, request) == {"user": "ada", "step": "pay"}

    def test_a_linked_var_set_here_by_its_library_counts_over_what_was_bound_before(self) -> None:
        contextvar = self.link()

        def request() -> list[Context]:
            token = contextvar.set("ada")
            copy_context().run(bind, user="eve")
            contextvar.set("liz")
            seen = [current()]
            contextvar.reset(token)
            bind(user="eve")
            contextvar.set("ada")
            return [*seen, current()]

        assert run({"user": "bob"}, request) == [{"user": "liz"}, {"user": "ada"}]

    def test_a_linked_var_removed_here_by_its_library_is_no_value(self) -> None:
        contextvar = self.link()

        def request() -> Context:
            contextvar.set(None)
            return current()

        assert run({"user": "bob", "a": 1}, request) == {"a": 1}

    def test_a_linked_var_is_this_processs_word_once_it_is_set_here(self) -> None:
        contextvar = self.link()

        def request() -> list[str]:
            seen = [current().origin("user")]
            contextvar.set("ada")
            return [*seen, current().origin("user")]

        assert Propagator().extract({"mqctx": '{"user":"eve"}'}).run(request) == [
            "unsigned",
            "here",
        ]


class Proto(Protocol):
    def quack(self) -> None: ...


class TestVariableThatCannotBeMeant:
    class Odd:
        pass

    @pytest.mark.parametrize(
        ("kind", "said"),
        [
            (complex, "a value of type complex cannot travel"),
            (list[Odd], "a value of type .*Odd cannot travel"),
            (dict[str, Odd | None], "a value of type .*Odd cannot travel"),
            (Callable[[], None], ".*not supported|.*cannot travel"),
            (Proto, "a value of type Proto cannot travel"),
            ("int", r"Type '(ForwardRef\()?'int'\)?' is not supported"),
        ],
    )
    def test_a_variable_of_a_type_that_cannot_travel_is_refused(self, kind: Any, said: str) -> None:
        with pytest.raises(ConfigurationError, match=f"^odd: {said}.*local=True"):
            Variable("odd", kind)
        Variable("odd", kind, local=True)

    @pytest.mark.parametrize("setting", [{"local": "no"}, {"contextvar": "user_id"}])
    def test_a_variable_with_a_setting_that_cannot_be_meant_is_refused(self, setting: Any) -> None:
        with pytest.raises(ConfigurationError, match=f"^{next(iter(setting))}: expected"):
            Variable("odd", int, **setting)
        assert "odd" not in registry.declarations

    def test_a_variable_of_a_type_that_is_not_yet_complete_is_taken(self) -> None:
        later = type("Later", (msgspec.Struct,), {"__annotations__": {"next": "NotYetDefined"}})
        assert Variable("later", later).name == "later"

    def test_a_variable_with_a_default_of_another_type_is_refused(self) -> None:
        with pytest.raises(ConfigurationError, match="default: count: expected int"):
            Variable("count", int, default="a")
        assert "count" not in registry.declarations
        assert Variable("count", int, default=None).get() is None

    def test_a_value_of_the_type_of_a_refused_variable_sets_as_ever(self) -> None:
        count = Variable("count", int, default=1)
        with pytest.raises(InvalidValueError), count.scope("a"):  # type: ignore[arg-type]  # refused
            pass
