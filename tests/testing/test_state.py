"""Settings, declarations and links of a test are undone after it; those that outlive it stay."""

import mqctx

from .conftest import Run


def test_a_test_leaves_nothing_configured_declared_or_linked(run: Run) -> None:
    run(
        """
        import contextvars, mqctx, pytest

        other = contextvars.ContextVar("other", default="none")
        kept = mqctx.Variable("kept", str, contextvar=other)

        def test_changes_all():
            mqctx.configure(send=["user"])
            mqctx.Variable("number", int)
            mqctx.Variable("secret", str, local=True)
            mqctx.Variable("linked", str, contextvar=contextvars.ContextVar("linked", default=""))
            other.set("changed")

        def test_sees_nothing_of_it():
            with mqctx.scope(number="text", secret="s", linked=5, tenant="acme"):
                assert mqctx.inject() == {
                    "mqctx": '{"number":"text","secret":"s","linked":5,"tenant":"acme"}'
                }
            assert other.get() == "none"
            with pytest.raises(mqctx.InvalidValueError):
                mqctx.scope(kept=5)
            with mqctx.scope(kept="k"):
                assert other.get() == "k"
        """
    ).assert_outcomes(passed=2)


def test_what_a_module_says_when_it_is_first_imported_stays(run: Run) -> None:
    run(
        """
        import sys, types, mqctx, pytest

        def test_imports():
            mqctx.configure(send=["user"])
            mqctx.Variable("number", int)
            from shop import tenant
            from gone import gone
            del sys.modules["gone"]
            exec("import mqctx; mqctx.Variable('executed', int)", {"__name__": "shop"})

        def test_has_what_it_declared():
            import shop
            with pytest.raises(mqctx.InvalidValueError):
                mqctx.scope(tenant=5)
            with mqctx.scope(tenant="acme", region="eu"):
                assert shop.other.get() == "acme"
                assert mqctx.inject() == {"shop": '{"tenant":"acme"}'}
            assert mqctx.scope(gone="text", executed="text", number="text")
        """,
        shop="""
        import contextvars, mqctx

        other = contextvars.ContextVar("other", default=None)

        def declared():
            return mqctx.Variable("tenant", str, contextvar=other)

        class Names:
            tenant = declared()
            region = mqctx.Variable("region", str, local=True)

        tenant = Names.tenant
        mqctx.configure(formats=[mqctx.JsonFormat("shop")])
        """,
        gone="""
        import mqctx
        gone = mqctx.Variable("gone", int)
        """,
    ).assert_outcomes(passed=2)


def test_what_a_fixture_of_several_tests_says_lasts_as_long_as_it(run: Run) -> None:
    run(
        """
        import mqctx, pytest

        def configured():
            return mqctx.inject()

        @pytest.fixture(scope="module")
        def of_the_module():
            mqctx.configure(formats=[mqctx.JsonFormat("module")])
            mqctx.Variable("number", int)

        @pytest.fixture(scope="session")
        def of_the_session():
            mqctx.Variable("step", int)

        def test_first(of_the_module):
            mqctx.configure(send=[])

        @pytest.mark.mqctx(user="ada")
        def test_second(of_the_session):
            assert mqctx.inject() == {"module": '{"user":"ada"}'}
            with pytest.raises(mqctx.InvalidValueError):
                mqctx.scope(number="text")
        """,
        test_later="""
        import mqctx, pytest

        @pytest.mark.mqctx(user="ada", number="text")
        def test_of_another_module():
            assert mqctx.inject() == {"mqctx": '{"user":"ada","number":"text"}'}
            with pytest.raises(mqctx.InvalidValueError):
                mqctx.scope(step="text")
        """,
    ).assert_outcomes(passed=3)


def test_a_suite_in_a_test_leaves_the_process_as_it_was(run: Run) -> None:
    run(
        """
        import mqctx

        def test_configures():
            mqctx.configure(formats=[mqctx.JsonFormat("inner")])
            mqctx.scope(left="open").__enter__()
        """
    ).assert_outcomes(passed=1, errors=1)
    assert mqctx.current() == {}
    with mqctx.scope(user="ada"):
        assert mqctx.inject() == {"mqctx": '{"user":"ada"}'}


def test_rejections_are_listed_whatever_is_configured(run: Run) -> None:
    run(
        """
        import mqctx
        from wsgiref.util import setup_testing_defaults
        from mqctx.middleware.wsgi import ContextMiddleware

        def answer(environ, start_response):
            start_response("200 OK", [])
            return [b""]

        def test_of_an_http_middleware(rejections):
            mqctx.Variable("limit", int)
            site = ContextMiddleware(answer, headers={"limit": "X-Limit"}, access_log=False)
            environ = {"HTTP_X_LIMIT": "many"}
            setup_testing_defaults(environ)
            list(site(environ, lambda *_: None))
            assert [(each.header, each.reason) for each in rejections] == [
                ("X-Limit", "illegal-value")
            ]

        def test_of_the_default_propagator(rejections):
            assert rejections == []
            mqctx.extract({"mqctx": "nonsense"})
            assert [each.reason for each in rejections] == ["malformed"]

        def test_after_configure(rejections):
            own = []
            propagator = mqctx.configure(accept=["user"], on_rejected=own.append)
            mqctx.extract({"mqctx": '{"tenant":"acme"}'})
            assert rejections == own
            assert str(rejections[0]).startswith("tenant in mqctx: not restored")

        def test_without():
            mqctx.extract({"mqctx": "nonsense"})

        def test_starts_with_none(rejections):
            assert rejections == []
        """,
    ).assert_outcomes(passed=5)
