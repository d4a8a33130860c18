"""The marker, the fixture `mqctx_scope`, and whatever they surround."""

from .conftest import Run


def test_the_marker_opens_a_scope_around_the_test_and_its_fixtures(run: Run) -> None:
    run(
        """
        import mqctx, pytest, unittest

        @pytest.fixture
        def bound():
            mqctx.bind(user="ada")
            yield mqctx.current()
            assert mqctx.current() == {"tenant": "acme", "user": "ada", "step": "pick"}

        @pytest.mark.mqctx(tenant="acme")
        def test_sync(bound):
            assert bound == {"tenant": "acme", "user": "ada"}
            mqctx.bind(step="pick")

        @pytest.mark.mqctx(tenant="acme")
        async def test_async(bound):
            assert bound == {"tenant": "acme", "user": "ada"}
            mqctx.bind(step="pick")

        class TestMethods:
            @pytest.fixture
            async def of_the_class(self):
                mqctx.bind(user="ada")
                return self

            @pytest.mark.mqctx
            async def test_method(self, of_the_class):
                assert of_the_class is self
                assert mqctx.current() == {"user": "ada"}

        @pytest.mark.mqctx
        def test_bare():
            mqctx.bind(user="ada")
            assert mqctx.current() == {"user": "ada"}

        @pytest.mark.mqctx({"order.id": 1})
        def test_names_that_are_no_keywords():
            assert mqctx.current() == {"order.id": 1}

        def test_without():
            assert mqctx.current() == {}
            with pytest.raises(mqctx.InactiveError):
                mqctx.bind(user="ada")

        @pytest.mark.mqctx(tenant="acme")
        class Sync(unittest.TestCase):
            def setUp(self):
                mqctx.bind(user="ada")

            def test_case(self):
                assert mqctx.current() == {"tenant": "acme", "user": "ada"}

        @pytest.mark.mqctx(tenant="acme")
        class Async(unittest.IsolatedAsyncioTestCase):
            async def asyncSetUp(self):
                mqctx.bind(user="ada")

            async def test_case(self):
                assert mqctx.current() == {"tenant": "acme", "user": "ada"}

            def tearDown(self):
                assert mqctx.current() == {"tenant": "acme", "user": "ada"}
        """
    ).assert_outcomes(passed=8)


def test_markers_merge_and_the_nearest_counts(run: Run) -> None:
    run(
        """
        import mqctx, pytest

        pytestmark = pytest.mark.mqctx(tenant="module", user="module", step="module")

        @pytest.mark.mqctx(tenant="class", user="class")
        class TestIt:
            @pytest.mark.mqctx(tenant="function")
            def test_it(self):
                assert mqctx.current() == {"tenant": "function", "user": "class", "step": "module"}

            @pytest.mark.parametrize(
                "tenant", [pytest.param("a", marks=pytest.mark.mqctx(tenant="a")), "class"]
            )
            def test_each(self, tenant):
                assert mqctx.current() == {"tenant": tenant, "user": "class", "step": "module"}

            @pytest.mark.mqctx(tenant="function")
            @pytest.mark.parametrize(
                "tenant", [pytest.param("a", marks=pytest.mark.mqctx(tenant="a")), "function"]
            )
            def test_each_of_its_own(self, tenant):
                assert mqctx.current()["tenant"] == tenant

        @pytest.mark.mqctx(tenant="derived")
        class TestDerived(TestIt):
            test_it = test_each = test_each_of_its_own = None

            def test_it_in_a_derived_class(self):
                assert mqctx.current() == {"tenant": "derived", "user": "class", "step": "module"}
        """
    ).assert_outcomes(passed=6)


def test_a_value_that_does_not_fit_is_an_error_of_the_test_alone(run: Run) -> None:
    result = run(
        """
        import mqctx, pytest

        tenant = mqctx.Variable("tenant", str)

        @pytest.mark.mqctx(tenant=5)
        def test_it(): ...

        def test_next():
            assert mqctx.current() == {}
        """
    )
    result.assert_outcomes(errors=1, passed=1)
    result.stdout.fnmatch_lines(["*InvalidValueError: tenant: expected str, got int*"])


def test_the_fixture_opens_a_scope_and_gives_its_context(run: Run) -> None:
    run(
        """
        import mqctx, pytest

        def test_sync(mqctx_scope):
            assert mqctx_scope == {}
            mqctx.bind(user="ada")

        async def test_async(mqctx_scope):
            mqctx.bind(user="ada")

        @pytest.fixture
        def bound():
            mqctx.bind(user="ada")

        def test_with_a_fixture_before_it(bound, mqctx_scope):
            assert mqctx.current() == {"user": "ada"}

        @pytest.mark.usefixtures("mqctx_scope")
        @pytest.mark.mqctx(tenant="acme")
        def test_both():
            assert mqctx.current() == {"tenant": "acme"}

        def test_by_its_name(request):
            assert request.getfixturevalue("mqctx_scope") == {}
            mqctx.bind(user="ada")

        def test_without():
            assert mqctx.current() == {}
        """
    ).assert_outcomes(passed=6)


def test_the_marker_reaches_tests_and_fixtures_on_a_loop_that_was_there_before(run: Run) -> None:
    run(
        """
        import mqctx, pytest

        pytestmark = pytest.mark.anyio

        @pytest.fixture(scope="module")
        def anyio_backend():
            return "asyncio"

        @pytest.fixture(scope="module")
        async def loop_of_the_module(anyio_backend):
            assert mqctx.current() == {}
            yield
            assert mqctx.current() == {}

        @pytest.fixture
        async def bound(loop_of_the_module):
            mqctx.bind(user="ada")
            yield
            assert mqctx.current() == {"tenant": "acme", "user": "ada", "step": "pick"}

        @pytest.fixture
        async def returned(bound):
            return mqctx.current()

        @pytest.fixture
        async def within(loop_of_the_module):
            with mqctx.scope(user="grace"):
                yield

        @pytest.fixture
        def sync_scope():
            with mqctx.scope(tenant="acme"):
                yield

        @pytest.mark.mqctx(tenant="acme")
        async def test_it(bound, returned):
            assert returned == mqctx.current() == {"tenant": "acme", "user": "ada"}
            mqctx.bind(step="pick")

        async def test_without(loop_of_the_module):
            assert mqctx.current() == {}
            with pytest.raises(mqctx.InactiveError):
                mqctx.bind(user="ada")

        @pytest.mark.mqctx(tenant="acme")
        async def test_in_the_scope_of_an_async_fixture(within):
            assert mqctx.current() == {"tenant": "acme", "user": "grace"}

        async def test_in_the_scope_of_a_sync_fixture(loop_of_the_module, sync_scope):
            assert mqctx.current() == {"tenant": "acme"}
        """,
        "-oasyncio_mode=strict",
    ).assert_outcomes(passed=4)


def test_a_loop_that_the_tests_of_a_module_share_has_no_scope_of_an_earlier_test(run: Run) -> None:
    run(
        """
        import mqctx, pytest

        pytestmark = pytest.mark.asyncio(loop_scope="module")

        @pytest.mark.mqctx(tenant="acme")
        async def test_first():
            assert mqctx.current() == {"tenant": "acme"}

        async def test_second():
            assert mqctx.current() == {}

        @pytest.mark.mqctx(user="ada")
        async def test_third():
            assert mqctx.current() == {"user": "ada"}
        """
    ).assert_outcomes(passed=3)


def test_each_example_of_hypothesis_is_in_the_scope(run: Run) -> None:
    run(
        """
        import mqctx, pytest
        from hypothesis import given, settings, strategies as st

        @pytest.mark.mqctx(tenant="acme")
        @settings(max_examples=3, database=None)
        @given(st.integers())
        async def test_async(number):
            assert mqctx.current()["tenant"] == "acme"

        @pytest.mark.mqctx(tenant="acme")
        @settings(max_examples=3, database=None)
        @given(st.integers())
        def test_sync(number):
            assert mqctx.current()["tenant"] == "acme"
        """
    ).assert_outcomes(passed=2)


def test_a_fixture_of_several_tests_is_in_the_scope_that_all_of_them_have(run: Run) -> None:
    run(
        """
        import mqctx, pytest

        pytestmark = pytest.mark.mqctx(tenant="acme")
        seen = []

        @pytest.fixture(scope="module")
        def of_the_module():
            seen.append(mqctx.current())
            with mqctx.scope(user="ada"):
                yield

        @pytest.fixture(scope="session")
        def of_the_session():
            seen.append(mqctx.current())

        @pytest.mark.mqctx(step="pick")
        def test_first(of_the_session, of_the_module):
            assert seen == [{}, {"tenant": "acme"}]
            assert mqctx.current() == {"tenant": "acme", "user": "ada", "step": "pick"}
            mqctx.bind(bound="here")

        def test_second(of_the_module):
            assert mqctx.current() == {"tenant": "acme", "user": "ada"}
        """,
        test_later="""
        import mqctx

        def test_of_another_module():
            assert mqctx.current() == {}
        """,
    ).assert_outcomes(passed=3)


def test_bind_works_under_test_clients(run: Run) -> None:
    run(
        """
        import django, mqctx, pytest, warnings
        from django.conf import settings
        from django.http import JsonResponse
        from django.test import Client
        from django.urls import path
        from starlette.applications import Starlette
        from starlette.responses import JSONResponse
        from starlette.routing import Route
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # TestClient would rather have another HTTP client
            from starlette.testclient import TestClient

        def view(request):
            mqctx.bind(user="ada")
            return JsonResponse(dict(mqctx.current()))

        def sync_endpoint(request):
            mqctx.bind(user="ada")
            return JSONResponse(dict(mqctx.current()))

        async def endpoint(request):
            mqctx.bind(user="ada")
            return JSONResponse(dict(mqctx.current()))

        urlpatterns = [path("", view)]
        if not settings.configured:
            settings.configure(ROOT_URLCONF=__name__, ALLOWED_HOSTS=["testserver"])
            django.setup()

        @pytest.mark.mqctx(tenant="acme")
        def test_django():
            with django.test.override_settings(
                ROOT_URLCONF=__name__, MIDDLEWARE=[], ALLOWED_HOSTS=["testserver"]
            ):
                assert Client().get("/").json() == {"tenant": "acme", "user": "ada"}

        @pytest.mark.mqctx(tenant="acme")
        @pytest.mark.parametrize("endpoint", [endpoint, sync_endpoint])
        def test_starlette(endpoint):
            client = TestClient(Starlette(routes=[Route("/", endpoint)]))
            assert client.get("/").json() == {"tenant": "acme", "user": "ada"}
        """
    ).assert_outcomes(passed=3)
