"""A context that OpenTelemetry has extracted and attached is active: OTEL_PYTHON_CONTEXT=mqctx."""

import asyncio
import contextvars
import os
import subprocess
import sys
import threading
from contextvars import ContextVar
from typing import Any

import pytest
from opentelemetry import propagate
from opentelemetry.context import Context as OtelContext
from opentelemetry.context import attach, detach
from opentelemetry.trace import Tracer

from mqctx import InactiveError, Variable, bind, current, scope

pytestmark = pytest.mark.usefixtures("activated")
CARRIER = {"mqctx": '{"user":"ada"}'}
ADA = {"user": "ada"}


def extracted() -> OtelContext:
    return propagate.extract(CARRIER)


def test_extracting_alone_activates_nothing() -> None:
    extracted()
    assert current() == {}


def test_what_is_attached_is_active_until_it_is_detached() -> None:
    token = attach(extracted())
    assert current() == ADA
    detach(token)
    assert current() == {}


def test_it_is_exactly_what_was_brought_and_what_was_active_is_back_afterwards() -> None:
    with scope(user="eve", tenant="acme"):
        token = attach(extracted())
        assert current() == ADA
        detach(token)
        assert current() == {"user": "eve", "tenant": "acme"}


def test_what_a_request_binds_is_gone_with_it() -> None:
    token = attach(extracted())
    bind(tenant="acme")
    assert current() == {"user": "ada", "tenant": "acme"}
    detach(token)
    assert current() == {}


def test_spans_in_between_change_nothing(tracer: Tracer) -> None:
    token = attach(extracted())
    with scope(tenant="acme"), tracer.start_as_current_span("span"):
        assert current() == {"user": "ada", "tenant": "acme"}
    detach(token)


def test_what_brought_nothing_leaves_what_is_active() -> None:
    with scope(user="eve"):
        token = attach(propagate.extract({}))
        assert current() == {"user": "eve"}
        detach(token)


def test_what_brought_nothing_begins_an_empty_run_where_none_is_active(tracer: Tracer) -> None:
    token = attach(propagate.extract({}))
    with tracer.start_as_current_span("span"):
        bind(user="ada")
    assert current() == ADA
    detach(token)
    assert current() == {}
    with pytest.raises(InactiveError):
        bind(user="ada")


def test_a_span_alone_begins_no_run(tracer: Tracer) -> None:
    with tracer.start_as_current_span("span"), pytest.raises(InactiveError):
        bind(user="ada")


def test_what_brought_nothing_is_as_empty_as_ever_inside_a_span(tracer: Tracer) -> None:
    with tracer.start_as_current_span("span"):
        assert not propagate.extract({})


def test_whose_word_a_value_is_goes_through(tracer: Tracer) -> None:
    token = attach(extracted())
    with tracer.start_as_current_span("span"):
        assert current().origin("user") == "unsigned"
    detach(token)


def test_a_message_without_context_does_not_get_the_one_of_the_request_around_it() -> None:
    request = attach(extracted())
    message = attach(propagate.extract({}))
    assert current() == {}
    detach(message)
    assert current() == ADA
    detach(request)


def test_a_message_gets_its_own_and_the_request_around_it_keeps_its_own() -> None:
    request = attach(extracted())
    bind(tenant="acme")
    message = attach(propagate.extract({"mqctx": '{"user":"eve"}'}))
    assert current() == {"user": "eve"}
    detach(message)
    assert current() == {"user": "ada", "tenant": "acme"}
    detach(request)


def test_another_librarys_context_variable_is_set_and_reset() -> None:
    var: ContextVar[str | None] = ContextVar("var", default=None)
    Variable("user", str, contextvar=var)
    token = attach(extracted())
    assert var.get() == "ada"
    detach(token)
    assert var.get() is None


def test_a_task_that_outlives_the_request_keeps_its_context() -> None:
    async def main() -> Any:
        gone = asyncio.Event()

        async def later() -> Any:
            await gone.wait()
            return dict(current())

        token = attach(extracted())
        task = asyncio.create_task(later())
        detach(token)
        gone.set()
        return await task

    assert asyncio.run(main()) == ADA


def test_a_thread_that_attaches_the_requests_context_has_it() -> None:
    seen: list[Any] = []
    context = extracted()

    def work() -> None:
        token = attach(context)
        seen.append(dict(current()))
        detach(token)
        seen.append(dict(current()))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [ADA, {}]


def test_detaching_in_another_snapshot_or_twice_leaves_nothing_active(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """OpenTelemetry's instrumentations do both; OpenTelemetry logs it."""
    token = contextvars.copy_context().run(attach, extracted())
    detach(token)
    assert current() == {}
    token = attach(extracted())
    detach(token)
    detach(token)
    assert current() == {}
    assert caplog.messages == ["Failed to detach context"] * 2


def in_a_process_of_its_own(code: str, **environment: str) -> str:
    """Run a script, and return what it says."""
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    ).stdout


CARRIED_AND_ACTIVE = """
from opentelemetry import context, propagate
import mqctx

carrier = {}
with mqctx.scope(user="ada"):
    propagate.inject(carrier)
print(carrier)
token = context.attach(propagate.extract(carrier))
print(mqctx.current())
context.detach(token)
print(mqctx.current())
"""


def test_two_environment_variables_are_all_it_takes() -> None:
    said = in_a_process_of_its_own(
        CARRIED_AND_ACTIVE,
        OTEL_PROPAGATORS="tracecontext,baggage,mqctx",
        OTEL_PYTHON_CONTEXT="mqctx",
    )
    assert said.splitlines() == [str(CARRIER), "<Context user='ada'>", "<Context empty>"]


def test_the_propagator_alone_carries_but_activates_nothing() -> None:
    said = in_a_process_of_its_own(CARRIED_AND_ACTIVE, OTEL_PROPAGATORS="mqctx")
    assert said.splitlines() == [str(CARRIER), "<Context empty>", "<Context empty>"]


def test_installing_mqctx_changes_nothing_by_itself() -> None:
    said = in_a_process_of_its_own(
        "import mqctx.opentelemetry\nfrom opentelemetry import context, propagate\n"
        "print(type(context._RUNTIME_CONTEXT).__name__)\n"
        "print(*sorted(propagate.get_global_textmap().fields))"
    )
    assert said.split() == ["ContextVarsRuntimeContext", "baggage", "traceparent", "tracestate"]
