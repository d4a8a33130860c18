"""Behaviour particular to requests."""

import pickle
from typing import Any

import pytest
import requests
from requests.adapters import BaseAdapter, HTTPAdapter
from requests.auth import HTTPDigestAuth

from mqctx import scope
from mqctx.http_clients.requests import ContextAdapter
from tests.http_clients.clients import OURS, requests_session
from tests.http_clients.server import Server


def test_a_request_that_is_sent_twice_carries_each_time_the_context_of_then(
    server: Server,
) -> None:
    with requests_session(hosts=OURS) as session:
        request = session.prepare_request(requests.Request("POST", server.url(), data=b"42"))
        before = request.headers.copy()
        for request_id in ("r-1", "r-2"):
            with scope(request_id=request_id):
                assert session.send(request).request is request
    assert request.headers == before
    assert [seen.headers["X-Request-Id"] for seen in server.seen] == ["r-1", "r-2"]
    assert [seen.body for seen in server.seen] == [b"42", b"42"]


def test_a_streamed_body_arrives(server: Server) -> None:
    with requests_session(hosts=OURS) as session, scope(request_id="r-1"):
        session.post(server.url(), data=iter([b"4", b"2"]))
    assert (server.seen[0].method, server.seen[0].body) == ("POST", b"42")
    assert server.seen[0].headers["X-Request-Id"] == "r-1"


def test_a_digest_authentication_sends_the_context_both_times(server: Server) -> None:
    with requests_session(hosts=OURS) as session, scope(request_id="r-1", trace_id="1" * 32):
        auth = HTTPDigestAuth("ada", "secret")
        assert session.get(server.url("/digest"), auth=auth).status_code == 200
    assert [seen.headers["X-Request-Id"] for seen in server.seen] == ["r-1", "r-1"]
    assert len({seen.headers["traceparent"] for seen in server.seen}) == 2


def test_a_redirect_that_is_followed_by_hand_is_decided_on_its_own(server: Server) -> None:
    with requests_session(hosts=OURS) as session, scope(request_id="r-1"):
        url = server.redirecting(server.url(host="localhost"))
        response = session.get(url, allow_redirects=False)
        assert response.next is not None
        session.send(response.next)
    assert [seen.headers["X-Request-Id"] for seen in server.seen] == ["r-1", None]


def test_the_request_of_an_error_is_the_callers(nobody: str) -> None:
    with requests_session(hosts=OURS) as session, scope(request_id="r-1"):
        request = session.prepare_request(requests.Request("GET", nobody))
        with pytest.raises(requests.exceptions.ConnectionError) as raised:
            session.send(request)
    assert raised.value.request is request


@pytest.mark.parametrize("url", ["http://127.0.0.1:99999/", "http://[oops/"])
def test_a_url_that_is_none_is_for_requests_to_refuse(url: str) -> None:
    def refusal(adapter: BaseAdapter) -> BaseException:
        request = requests.PreparedRequest()
        request.prepare(method="GET", url="http://127.0.0.1/")
        request.url = url
        with pytest.raises(ValueError, match=".") as raised:
            adapter.send(request)
        adapter.close()
        return raised.value

    with scope(request_id="r-1"):
        ours, plain = refusal(ContextAdapter(HTTPAdapter(), hosts=["*"])), refusal(HTTPAdapter())
    assert (type(ours), str(ours)) == (type(plain), str(plain))


def test_a_session_with_the_adapter_can_be_pickled(server: Server) -> None:
    with requests_session(hosts=OURS, headers={"tenant": "X-Tenant-Id"}) as session:
        copy: requests.Session = pickle.loads(pickle.dumps(session))  # noqa: S301 - our own
    with copy, scope(tenant="acme"):
        copy.get(server.url())
    assert server.seen[0].headers["X-Tenant-Id"] == "acme"


def test_the_options_of_a_call_and_the_end_reach_the_inner_adapter() -> None:
    told: list[object] = []

    class Inner(BaseAdapter):
        def send(self, request: requests.PreparedRequest, *_: Any, **options: Any) -> Any:
            told.append(options)
            return requests.Response()

        def close(self) -> None:
            told.append("closed")

    adapter = ContextAdapter(Inner(), hosts=[])
    request = requests.Request("GET", "http://api.internal/").prepare()
    adapter.send(request, timeout=7, verify="ca.pem")
    adapter.close()
    assert told == [{"timeout": 7, "verify": "ca.pem"}, "closed"]
