"""The check for contexts that a test leaves active."""

import pytest

from .conftest import Run

LEAKS = {
    "sync": """
        def test_leaks():
            mqctx.scope(tenant="acme", n=1).__enter__()
        """,
    "pytest-asyncio": """
        async def test_leaks():
            mqctx.scope(tenant="acme", n=1).__enter__()
        """,
    "anyio": """
        @pytest.mark.anyio
        @pytest.mark.parametrize("anyio_backend", ["asyncio"])
        async def test_leaks(anyio_backend):
            mqctx.scope(tenant="acme", n=1).__enter__()
        """,
    "unittest": """
        class Test(unittest.TestCase):
            def test_leaks(self):
                mqctx.scope(tenant="acme", n=1).__enter__()
        """,
    "setUp": """
        class Test(unittest.TestCase):
            def setUp(self):
                mqctx.scope(tenant="acme", n=1).__enter__()

            def test_leaks(self): ...
        """,
    "IsolatedAsyncioTestCase": """
        class Test(unittest.IsolatedAsyncioTestCase):
            async def test_leaks(self):
                mqctx.scope(tenant="acme", n=1).__enter__()
        """,
    "asyncSetUp": """
        class Test(unittest.IsolatedAsyncioTestCase):
            async def asyncSetUp(self):
                mqctx.scope(tenant="acme", n=1).__enter__()

            def test_leaks(self): ...
        """,
    "a fixture": """
        @pytest.fixture
        def leaking():
            mqctx.scope(tenant="acme", n=1).__enter__()

        def test_leaks(leaking): ...
        """,
    "a fixture of the module": """
        @pytest.fixture(scope="module")
        def leaking():
            mqctx.scope(tenant="acme", n=1).__enter__()

        def test_leaks(leaking): ...
        """,
    "a test in a fixture's scope": """
        @pytest.fixture
        def held():
            with mqctx.scope(user="ada"):
                yield

        def test_leaks(held):
            mqctx.scope(tenant="acme", n=1).__enter__()
        """,
    "a scope that is left where its variables are copied": """
        def test_leaks():
            scope = mqctx.scope(tenant="acme", n=1)
            scope.__enter__()
            contextvars.copy_context().run(scope.__exit__, None, None, None)
        """,
    "a marked test": """
        @pytest.mark.mqctx(user="ada")
        def test_leaks():
            mqctx.scope(tenant="acme", n=1).__enter__()
        """,
    "hypothesis": """
        @settings(max_examples=1, database=None)
        @given(st.none())
        async def test_leaks(none):
            mqctx.scope(tenant="acme", n=1).__enter__()
        """,
}
IMPORTS = """
        import contextvars, mqctx, pytest, unittest
        from hypothesis import given, settings, strategies as st
"""
NEXT = """
        import mqctx, pytest

        def test_next():
            assert mqctx.current() == {}
            with pytest.raises(mqctx.InactiveError):
                mqctx.bind(user="ada")
        """


@pytest.mark.parametrize("code", LEAKS.values(), ids=LEAKS)
def test_a_scope_that_is_left_open_fails_the_test_and_is_named(run: Run, code: str) -> None:
    mode = "strict" if "anyio" in code else "auto"
    result = run(IMPORTS + code, f"-oasyncio_mode={mode}", test_next=NEXT)
    result.assert_outcomes(passed=2, errors=1)
    result.stdout.fnmatch_lines(["*ERROR at teardown of *test_leaks*", "*tenant='acme', n=1.*"])


def test_on_a_loop_that_tests_share_the_next_one_starts_clean(run: Run) -> None:
    run(
        """
        import mqctx, pytest

        pytestmark = pytest.mark.anyio

        @pytest.fixture(scope="module")
        def anyio_backend():
            return "asyncio"

        @pytest.fixture(scope="module", autouse=True)
        async def loop_of_the_module(anyio_backend):
            yield

        async def test_leaks():
            mqctx.scope(tenant="acme").__enter__()

        async def test_next():
            assert mqctx.current() == {}
        """,
        "-oasyncio_mode=strict",
    ).assert_outcomes(passed=2, errors=1)


def test_no_failure_is_hidden(run: Run) -> None:
    result = run(
        """
        import mqctx, pytest, unittest

        def test_fails():
            mqctx.scope(tenant="a").__enter__()
            assert 1 == 2

        class Test(unittest.IsolatedAsyncioTestCase):
            async def test_case_fails(self):
                mqctx.scope(tenant="b").__enter__()
                assert 3 == 4

        @pytest.fixture
        def failing():
            yield
            raise ValueError("boom at the end")

        def test_fixture_fails(failing):
            mqctx.scope(tenant="c").__enter__()

        def test_only_the_fixture_fails(failing): ...

        def test_is_skipped():
            mqctx.scope(tenant="d").__enter__()
            pytest.skip("because")
        """
    )
    result.assert_outcomes(passed=2, failed=2, skipped=1, errors=5)
    said = result.stdout.str()
    for text in ("assert 1 == 2", "assert 3 == 4", "because"):
        assert text in said
    assert said.count("E       ValueError: boom at the end") == 2
    for tenant in "abcd":
        assert f"still active after the test: tenant='{tenant}'." in said


def test_what_somebody_leaves_in_the_end_is_no_leak(run: Run) -> None:
    run(
        """
        import contextlib, mqctx, pytest, unittest

        @pytest.fixture
        def sync_scope():
            with mqctx.scope(tenant="acme"):
                yield

        @pytest.fixture
        async def async_scope():
            with mqctx.scope(tenant="acme"):
                yield

        @pytest.fixture(scope="session")
        def session_scope():
            with mqctx.scope(user="ada"):
                yield

        @pytest.fixture(scope="session")
        def late_scope():
            with mqctx.scope(late="late"):
                yield

        @pytest.fixture(scope="module", params=[1, 2])
        def module_scope(request):
            with mqctx.scope(number=request.param):
                yield request.param

        @pytest.fixture
        def stack():
            with contextlib.ExitStack() as stack:
                yield stack

        def test_of_a_fixture(sync_scope):
            assert mqctx.current() == {"tenant": "acme"}

        async def test_of_an_async_fixture(async_scope):
            assert mqctx.current() == {"tenant": "acme"}

        async def test_of_a_sync_fixture(sync_scope):
            assert mqctx.current() == {"tenant": "acme"}

        @pytest.mark.parametrize("n", [1, 2])
        def test_of_several_fixtures(session_scope, module_scope, sync_scope, n):
            assert mqctx.current() == {"user": "ada", "number": module_scope, "tenant": "acme"}
            mqctx.bind(seen=n)

        def test_entered_in_a_stack(stack):
            stack.enter_context(mqctx.scope(tenant="acme"))

        async def test_entered_in_a_stack_from_a_task(stack):
            stack.enter_context(mqctx.scope(tenant="acme"))

        def test_with_a_finalizer(request):
            scope = mqctx.scope(tenant="acme")
            scope.__enter__()
            request.addfinalizer(lambda: scope.__exit__(None, None, None))

        def test_with_a_fixture_by_its_name(request):
            request.getfixturevalue("sync_scope")

        def test_with_a_fixture_of_the_session_by_its_name(sync_scope, request):
            request.getfixturevalue("late_scope")

        class Sync(unittest.TestCase):
            @classmethod
            def setUpClass(cls):
                cls.enterClassContext(mqctx.scope(kind="sync"))

            def setUp(self):
                self.enterContext(mqctx.scope(tenant="acme"))

            def test_case(self):
                self.enterContext(mqctx.scope(user="eve"))
                assert mqctx.current().items() >= {"kind": "sync", "tenant": "acme"}.items()

        class Async(unittest.IsolatedAsyncioTestCase):
            async def asyncSetUp(self):
                self.enterContext(mqctx.scope(tenant="acme"))

            async def test_case(self):
                assert mqctx.current()["tenant"] == "acme"
        """
    ).assert_outcomes(passed=14)


def test_values_that_cannot_be_shown_are_named(run: Run) -> None:
    result = run(
        """
        import mqctx

        class Odd:
            def __repr__(self):
                raise ValueError("no")

        def test_leaks():
            mqctx.Variable("odd", Odd, local=True)
            mqctx.scope(odd=Odd(), long="x" * 1000).__enter__()

        def test_leaks_nothing_but_a_scope():
            mqctx.scope().__enter__()
        """
    )
    result.assert_outcomes(passed=2, errors=2)
    result.stdout.fnmatch_lines(
        [
            "*after the test: odd=<Odd: ValueError in its repr>, long='xxx*xxx....*",
            "*after the test: a scope without values.*",
        ]
    )


def test_whatever_else_pytest_runs_is_left_alone(run: Run) -> None:
    run(
        '''
        def documented():
            """
            >>> 1 + 1
            2
            """
        ''',
        "--doctest-modules",
    ).assert_outcomes(passed=1)
