"""Answers of the management API, made here, and the errors if it cannot answer."""

import json
import re
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from urllib3 import HTTPResponse
from urllib3.connection import HTTPConnection
from urllib3.exceptions import NewConnectionError, SSLError

from mqctx.inspection._broker import Broker
from mqctx.inspection._management import Management, ManagementError

Answer = Callable[..., HTTPResponse]
"""Returns what there is at a URL, given the fields of its query."""


def management(answer: Answer) -> Management:
    made = Management(Broker.parse("amqp://h/"))
    client: Any = SimpleNamespace(request=lambda _, url, **options: answer(url, **options))
    made._client = client
    return made


def response(status: int = 200, told: object = None, text: str | None = None) -> HTTPResponse:
    body = json.dumps(told) if text is None else text
    return HTTPResponse(body.encode(), status=status)


def always(status: int, **answer: Any) -> Answer:
    return lambda *_, **__: response(status, **answer)


def breaks(*_: str, **__: object) -> HTTPResponse:
    refused = ConnectionRefusedError(111, "refused")
    raise NewConnectionError(HTTPConnection("h"), "refused") from refused


def distrusts(*_: str, **__: object) -> HTTPResponse:
    raise SSLError("[SSL: CERTIFICATE_VERIFY_FAILED] self-signed certificate")


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (breaks, r"h:15672: \[Errno 111\] refused. Name another one"),
        (distrusts, "Give the authority's certificate with --ca"),
        (always(200, text="<html>"), "answers with something else"),
        (always(401), "refused the user 'guest'"),
        (always(404), "has no queues/a b"),
        (always(500), "answered 500 for queues/a b"),
    ],
)
def test_what_cannot_be_had_is_said_in_a_line(answer: Answer, said: str) -> None:
    with pytest.raises(ManagementError, match=said):
        management(answer).get("queues", "a b")


@pytest.mark.parametrize(("answer", "said"), [(breaks, "refused"), (always(500), "500")])
def test_what_cannot_be_changed_is_said_in_a_line(answer: Answer, said: str) -> None:
    with pytest.raises(ManagementError, match=said):
        management(answer).put("vhosts", "v", tracing=True)


@pytest.mark.parametrize("name", [".", ".."])
def test_a_name_that_no_path_can_hold_is_said_in_a_line(name: str) -> None:
    with pytest.raises(ManagementError, match=f"asked for the name '{re.escape(name)}'"):
        management(always(200, told=[])).facts(name, (4, 0))


def test_to_delete_what_is_gone_is_fine() -> None:
    management(always(404)).delete("policies", "p")


def test_another_brokers_api_is_refused() -> None:
    api = management(always(200, told={"cluster_name": "other"}))
    with pytest.raises(ManagementError, match=r"is that of other, but .* is mine"):
        api.check({"cluster_name": b"mine"})
    api.check({"cluster_name": "other"})


def test_queues_are_named_page_by_page_or_all_at_once() -> None:
    def pages(_: str, *, fields: dict[str, int], **__: object) -> HTTPResponse:
        return response(told={"items": [{"name": f"q{fields['page']}"}], "page_count": 2})

    assert management(pages).queue_names("q*") == ["q1", "q2"]
    assert management(always(200, told=[{"name": "q"}, {"name": "x"}])).queue_names("q*") == ["q"]


def test_without_the_right_to_see_policies_the_queues_own_answer_counts() -> None:
    def answer(url: str, **_: object) -> HTTPResponse:
        if "policies" in url:
            return response(403)
        return response(
            told={"type": "quorum", "effective_policy_definition": {"delivery-limit": 3}}
        )

    facts = management(answer).facts("q", (4, 0))
    assert (facts.type, facts.policy, facts.are_late) == ("quorum", {"delivery-limit": 3}, True)


def test_policies_that_cannot_be_had_for_another_reason_are_an_error() -> None:
    def answer(url: str, **_: object) -> HTTPResponse:
        return response(500 if "policies" in url else 200, {})

    with pytest.raises(ManagementError, match="500"):
        management(answer).facts("q", (4, 0))


def test_a_pattern_that_only_erlang_can_read_counts_as_one_that_fits() -> None:
    policy = {"pattern": "(?|a)", "apply-to": "all", "priority": 1, "definition": {"max-length": 1}}

    def answer(url: str, **_: object) -> HTTPResponse:
        return response(told={} if "queues" in url else [policy] if "/policies" in url else [])

    assert management(answer).facts("q", (4, 0)).policy == {"max-length": 1}


@pytest.mark.parametrize(
    ("broker", "url"),
    [
        ("amqp://h:5672/", "http://h:15672"),
        ("amqp://[::1]:5673/", "http://[::1]:15673"),
        ("amqp://h:60000/", "http://h:15672"),
    ],
)
def test_its_address_is_derived_from_the_brokers(broker: str, url: str) -> None:
    assert Management(Broker.parse(broker)).url == url


def test_its_address_may_have_a_user_a_path_and_a_port() -> None:
    made = Management(Broker.parse("amqp://h/"), "http://ada:p%40ss@[::1]:99/rabbit/api/")
    assert made.url == "http://[::1]:99/rabbit"


@pytest.mark.parametrize("url", ["ftp://h", "http://h:port", "h:15672"])
def test_an_address_that_is_none_is_refused(url: str) -> None:
    with pytest.raises(ManagementError, match="give it as http://HOST:15672"):
        Management(Broker.parse("amqp://h/"), url)


def test_tls_takes_the_certificate_of_the_broker(tmp_path: Any) -> None:
    missing = str(tmp_path / "missing.pem")
    with pytest.raises(OSError, match=r"No such file"):
        Management(Broker.parse("amqps://h/", cert=missing, key=missing))
    assert Management(Broker.parse("amqps://h/")).url == "https://h:15671"


def test_what_cannot_be_deleted_is_said_in_a_line() -> None:
    with pytest.raises(ManagementError, match="500"):
        management(always(500)).delete("policies", "p")


def test_an_empty_name_is_that_of_nothing() -> None:
    with pytest.raises(ManagementError) as raised:
        management(always(200)).get("queues", "/", "")
    assert raised.value.status == 404
