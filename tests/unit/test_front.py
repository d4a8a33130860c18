"""The package from outside: what it exports and what an import loads."""

import inspect
import pydoc
import re
import subprocess
import sys
from importlib.metadata import version

import pytest

import mqctx
from mqctx import JsonFormat, errors, formats

LOADED = """
import sys
before = set(sys.modules)
import msgspec
known = set(sys.modules)
import mqctx
new = {name.partition(".")[0] for name in set(sys.modules) - known}
print(*sorted(new - set(sys.stdlib_module_names)))
"""


def test_all_is_what_is_there() -> None:
    there = {name for name, value in vars(mqctx).items() if not inspect.ismodule(value)}
    assert sorted(mqctx.__all__) == sorted(name for name in there if not name.startswith("_"))


def test_the_version_is_that_of_the_package() -> None:
    assert mqctx.__version__ == version("mqctx")
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = mqctx.nothing


def test_inject_and_extract_are_those_of_the_default_propagator() -> None:
    mqctx.configure(formats=[JsonFormat("app-context")])
    with mqctx.scope(user="ada"):
        headers = mqctx.inject({"kept": 1})
    assert headers == {"kept": 1, "app-context": '{"user":"ada"}'}
    assert mqctx.extract(headers) == {"user": "ada"}


def test_import_loads_nothing_from_outside_but_msgspec() -> None:
    loaded = subprocess.run(
        [sys.executable, "-c", LOADED], capture_output=True, text=True, check=True
    )
    assert loaded.stdout.split() == ["mqctx"]


def test_import_loads_nothing_large_that_a_message_seldom_needs() -> None:
    large = {"asyncio", "json", "logging"}
    code = "import sys; before = set(sys.modules); import mqctx; print(*set(sys.modules) - before)"
    loaded = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert large.isdisjoint(loaded.stdout.split())


def test_every_error_is_an_mqctx_error_and_drawn_in_the_tree() -> None:
    names = [name for name in mqctx.__all__ if name.endswith("Error")]
    assert len(names) > 5
    for name in names:
        assert issubclass(getattr(mqctx, name), mqctx.MqctxError)
        assert name in str(errors.__doc__)


def test_the_formats_offer_what_all_says() -> None:
    assert dir(formats) == sorted(formats.__all__)
    assert all(getattr(formats, name) is not None for name in formats.__all__)
    with pytest.raises(AttributeError, match="no attribute 'XmlFormat'"):
        _ = formats.XmlFormat


def test_help_shows_the_front_with_every_signature() -> None:
    shown = pydoc.plain(pydoc.render_doc(mqctx))
    assert all(name in shown for name in mqctx.__all__)
    # On more than one line from Python 3.13 on, with a margin.
    shown = "".join(re.split(r"[\s|]+", shown))
    assert "Scope(context:mqctx._core.context.Context,exact:bool=False" in shown
