"""Each row of the page about troubleshooting is shown by a test, or by an example that runs."""

import re
import sys
from collections.abc import Iterator
from importlib import import_module

import pytest

import mqctx
from mqctx.adapters.kombu import consume_with_context
from mqctx.adapters.pika import publish
from mqctx.testing import pika_delivery, sent

from .rows import Rows

rows = Rows("troubleshooting.md")


def test_each_row_has_an_example_below_it_or_a_test() -> None:
    with_example = {
        re.sub(r"[^a-z-]", "", title.lower().replace(" ", "-"))
        for title, body in re.findall(r"^### (.*)\n((?:(?!^##).*\n)*)", rows.text, re.MULTILINE)
        if "```python" in body
    }
    anchors = {row: re.findall(r"\]\(#(.*?)\)", row) for row in rows.all}
    shown = {row for row, (*each,) in anchors.items() if with_example.intersection(each)}
    assert len(shown) > 5
    assert {*rows.all} == shown | rows.shown.keys()


@rows.shows("`InactiveError` by `bind`")
def test_bind_needs_a_scope_which_a_script_opens() -> None:
    with pytest.raises(mqctx.InactiveError):
        mqctx.bind(user="ada")
    with mqctx.scope():
        mqctx.bind(user="ada")


@rows.shows("`OversizeError` by a publish")
def test_a_context_that_is_too_large_is_refused_unless_it_may_be_dropped() -> None:
    channel, *_ = pika_delivery(b"")
    with sent(channel) as records, mqctx.scope(text="x" * 5000, user="ada"):
        with pytest.raises(mqctx.OversizeError):
            publish(channel, "", "orders", b"")
        mqctx.configure(on_oversize="drop")
        publish(channel, "", "orders", b"")
    assert [each.context for each in records] == [{"user": "ada"}]


@rows.shows("`InvalidValueError` by `scope` or `bind`")
def test_a_value_that_cannot_travel_may_be_local() -> None:
    with pytest.raises(mqctx.InvalidValueError):
        mqctx.scope(session=object())
    mqctx.Variable("session", object, local=True)
    with mqctx.scope(session=object()):
        assert mqctx.inject() == {}


@rows.shows("`HandlerError` by a decorator")
def test_a_decorator_refuses_what_is_no_handler() -> None:
    def on_order(body: object, message: object) -> Iterator[None]:
        yield

    with pytest.raises(mqctx.HandlerError):
        consume_with_context(on_order)


@rows.shows("`ModuleNotFoundError` by an import")
def test_an_import_names_the_client_that_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "taskiq", None)  # an import of it fails
    monkeypatch.delitem(sys.modules, "mqctx.adapters.taskiq", raising=False)
    with pytest.raises(ModuleNotFoundError, match="taskiq"):
        import_module("mqctx.adapters.taskiq")
