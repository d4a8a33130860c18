"""Suites of tests, run with the plugin in this process."""

from collections.abc import Callable
from importlib.metadata import entry_points

import pytest

INI = """
[pytest]
asyncio_mode = auto
asyncio_default_fixture_loop_scope = function
filterwarnings = error
"""
Run = Callable[..., pytest.RunResult]


@pytest.fixture
def run(pytester: pytest.Pytester) -> Run:
    """Run a module of tests, and return what pytest tells; other files come by name."""
    pytester.makeini(INI)

    def run(code: str, *arguments: str, **others: str) -> pytest.RunResult:
        pytester.makepyfile(test_it=code, **others)
        plugin = [] if entry_points(group="pytest11", name="mqctx") else ["-pmqctx.testing._plugin"]
        return pytester.runpytest_inprocess("-q", "-rA", *plugin, *arguments)

    return run
