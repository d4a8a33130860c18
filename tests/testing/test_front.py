"""The kit from outside: what it offers, and what pytest loads with it."""

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import mqctx.testing
from mqctx import ConfigurationError

ROOT = Path(__file__).parents[2]
PLUGIN = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["entry-points"]["pytest11"]
LOADED = """
import sys
import msgspec, pytest
known = set(sys.modules)
import {plugin}
new = {{name.partition(".")[0] for name in set(sys.modules) - known}}
print(*sorted(new - set(sys.stdlib_module_names)))
"""
WITHOUT = """
import sys
sys.modules[{module!r}] = None  # an import of it fails, as where it is not installed
from mqctx.testing import {name}
"""


def python(code: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-c", code]
    return subprocess.run(command, check=False, capture_output=True, text=True, timeout=60)


def test_the_front_offers_what_all_says() -> None:
    assert dir(mqctx.testing) == sorted(mqctx.testing.__all__)
    assert all(getattr(mqctx.testing, name).__doc__ for name in mqctx.testing.__all__)
    with pytest.raises(AttributeError, match="no attribute 'celery_message'"):
        _ = mqctx.testing.celery_message


def test_pytest_loads_no_client_with_the_plugin() -> None:
    (plugin,) = PLUGIN.values()
    loaded = python(LOADED.format(plugin=plugin))
    assert loaded.stderr == ""
    assert loaded.stdout.split() == ["mqctx"]


@pytest.mark.parametrize(
    ("name", "module"),
    [
        ("aio_pika_message", "aio_pika"),
        ("kombu_message", "kombu"),
        ("pika_delivery", "pika"),
        ("celery_request", "celery"),
        ("rabbitmq_container", "testcontainers"),
    ],
)
def test_a_missing_client_is_an_import_error_that_names_it(name: str, module: str) -> None:
    error = python(WITHOUT.format(name=name, module=module)).stderr.splitlines()[-1]
    assert error.startswith("ModuleNotFoundError: ")
    assert module in error


def test_what_no_builder_made_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="was not made here"):
        mqctx.testing.settled("a message")
    with (
        pytest.raises(ConfigurationError, match="'a producer' publishes nothing"),
        mqctx.testing.sent("a producer"),
    ):
        pass
