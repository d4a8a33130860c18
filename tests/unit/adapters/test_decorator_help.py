"""Show by help() and the docstring of `consume_with_context` what it takes."""

import pydoc
from inspect import signature

import pytest

from mqctx.adapters import aio_pika, kombu, pika
from mqctx.adapters._handler import HandlerDecorator

DECORATORS = [
    pytest.param(aio_pika.consume_with_context, "(message)", id="aio_pika"),
    pytest.param(kombu.consume_with_context, "(body, message)", id="kombu"),
    pytest.param(pika.consume_with_context, "(channel, method, properties, body)", id="pika"),
]


@pytest.mark.parametrize(("decorator", "callback"), DECORATORS)
def test_help_shows_the_options_and_the_callback_of_the_client(
    decorator: HandlerDecorator, callback: str
) -> None:
    shown = pydoc.plain(pydoc.render_doc(decorator))

    assert "consume_with_context(handler=None, /, *, propagator=None, dead_letter=None)" in shown
    assert f"`{callback}`" in shown
    assert "HandlerError: " in shown
    assert "__init__" not in shown


@pytest.mark.parametrize(("decorator", "callback"), DECORATORS)
def test_the_docstring_names_the_parameters_that_the_signature_has(
    decorator: HandlerDecorator, callback: str
) -> None:
    parameters = signature(decorator).parameters.values()
    written = ", ".join(f"{each.name}={each.default}" for each in parameters)

    opening = (decorator.__doc__ or "").splitlines()[0].replace("/, *, ", "")

    assert opening == f"consume_with_context({written})"
