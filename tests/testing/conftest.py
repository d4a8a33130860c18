"""Suites of tests, run with the plugin in this process."""

from collections.abc import Callable

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
        return pytester.runpytest_inprocess("-q", "-rA", *arguments)

    return run
