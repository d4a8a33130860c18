"""Which hosts may see the context, and how its values are written; the clients share that."""

import enum
import uuid
from contextvars import ContextVar
from typing import Any

import httpx
import pytest

from mqctx import ConfigurationError, Variable, current, run, scope
from mqctx.http_clients.httpx import ContextTransport

MANY = {"value": "X-Value", "other": "X-Other"}


def headers_sent(url: str = "https://api.internal/", **settings: Any) -> httpx.Headers:
    """Return the headers of a call to `url`."""
    transport = ContextTransport(httpx.MockTransport(echo_headers), **settings)
    with httpx.Client(transport=transport) as client:
        return httpx.Headers(client.get(url).json())


def echo_headers(request: httpx.Request) -> httpx.Response:
    return httpx.Response(200, json=dict(request.headers))


class TestHosts:
    @pytest.mark.parametrize(
        ("host", "url"),
        [
            ("api.internal", "https://api.internal/orders"),
            ("api.internal", "http://api.internal:8080"),
            ("API.internal", "https://api.INTERNAL/"),
            ("api.internal:443", "https://api.internal/"),
            ("api.internal:80", "http://api.internal/"),
            ("api.internal:8443", "https://api.internal:8443/"),
            ("*.example.com", "https://api.example.com/"),
            ("*.example.com", "https://eu.api.example.com/"),
            ("*.example.com:8443", "https://api.example.com:8443/"),
            ("xn--bcher-kva.de", "https://bücher.de/"),
            ("127.0.0.1", "http://127.0.0.1:5000/"),
            ("[::1]", "http://[::1]:5000/"),
            ("[2001:DB8::1]:5000", "http://[2001:db8::1]:5000/"),
            ("my_service", "http://my_service/"),
            ("*", "https://anyone.org/"),
            ("*:8443", "https://anyone.org:8443/"),
        ],
    )
    def test_hosts_that_are_allowed_get_the_headers(self, host: str, url: str) -> None:
        with scope(request_id="r-1"):
            assert headers_sent(url, hosts=["other.org", host])["X-Request-Id"] == "r-1"

    @pytest.mark.parametrize(
        ("host", "url"),
        [
            ("api.internal", "https://api.internal.evil.org/"),
            ("api.internal", "https://evil-api.internal/"),
            ("api.internal", "https://sub.api.internal/"),
            ("api.internal", "https://api.internal@evil.org/"),
            ("api.internal", "https://evil.org/?api.internal"),
            ("api.internal", "https://evil.org#@api.internal/"),
            ("api.internal", "https://apixinternal/"),
            ("api.internal", "https://api.internal./"),
            ("api.internal:443", "https://api.internal:8443/"),
            ("api.internal:443", "http://api.internal/"),
            ("*.example.com", "https://example.com/"),
            ("*.example.com", "https://example.com.evil.org/"),
            ("*.example.com", "https://api.example.com.evil.org/"),
            ("*.example.com", "https://evilexample.com/"),
            ("[::1]", "http://[::2]/"),
            ("*:8443", "https://anyone.org/"),
        ],
    )
    def test_hosts_that_are_not_allowed_get_no_header(self, host: str, url: str) -> None:
        with scope(request_id="r-1"):
            assert "X-Request-Id" not in headers_sent(url, hosts=[host])

    def test_hosts_may_be_none_at_all(self) -> None:
        with scope(request_id="r-1"):
            assert "X-Request-Id" not in headers_sent(hosts=[])

    def test_hosts_have_to_be_named(self) -> None:
        with pytest.raises(TypeError, match="hosts"):
            ContextTransport(httpx.MockTransport(echo_headers))  # type: ignore[call-arg]

    @pytest.mark.parametrize(
        "host",
        [
            *("", "https://api.internal", "api.internal/orders", "ada@api.internal", "api.*"),
            *("*example.com", "a.*.com", "**", "*.", ".example.com", "bücher.de", "::1", "a:b"),
            *("api.internal\n", "api internal", "a:0", "a:65536", "a:123456"),
        ],
    )
    def test_hosts_that_are_none_are_refused(self, host: str) -> None:
        with pytest.raises(ConfigurationError, match="hosts: .* is no host; give its name"):
            headers_sent(hosts=[host])

    @pytest.mark.parametrize("hosts", ["api.internal", b"api.internal", None, [5], 5])
    def test_hosts_that_are_no_list_of_texts_are_refused(self, hosts: Any) -> None:
        with pytest.raises(ConfigurationError, match=r"hosts: .*\['api.internal'"):
            headers_sent(hosts=hosts)


class TestHeaders:
    @pytest.mark.parametrize("header", ["", "X Tenant", "X-Tenant:", "X-Ténant", "X\r\nY"])
    def test_headers_that_are_none_are_refused(self, header: str) -> None:
        with pytest.raises(
            ConfigurationError, match="headers: .* cannot be the name of an HTTP header"
        ):
            headers_sent(hosts=[], headers={"tenant": header})

    @pytest.mark.parametrize(
        "headers", [{"a": "X-Id", "b": "x-id"}, {"a": "Traceparent"}, {"a": "tracestate"}]
    )
    def test_headers_that_are_written_already_are_refused(self, headers: dict[str, str]) -> None:
        with pytest.raises(ConfigurationError, match="headers: .* is written already"):
            headers_sent(hosts=[], headers=headers)

    @pytest.mark.parametrize(
        ("headers", "said"),
        [
            ({"no name": "X-Id"}, "headers: no name: a name starts with"),
            ({"X-Tenant-Id": "tenant"}, r"names come first, {'tenant': 'X-Tenant-Id'}"),
            ({"x-tenant": "tenant-id"}, r"names come first, {'tenant-id': 'x-tenant'}"),
            ({"Tenant-Id": "tenant"}, "names come first"),
            ({"Authorization": "user"}, "names come first"),
            ({"tenant": "HTTP_X_TENANT_ID"}, "give the header as it is sent, 'X-Tenant-Id'"),
            ({"size": "Content-Length"}, "has a meaning in HTTP itself"),
            ({"peer": "host"}, "has a meaning in HTTP itself"),
            ({"tenant": None}, "headers: None cannot be the name"),
            (["X-Tenant-Id"], "headers: expected a mapping of names to headers"),
        ],
    )
    def test_headers_that_cannot_be_meant_are_refused(self, headers: Any, said: str) -> None:
        with pytest.raises(ConfigurationError, match=said):
            headers_sent(hosts=[], headers=headers)

    @pytest.mark.parametrize("header", ["X-Tenant", "x-tenant", "Tenant", "X-Id"])
    def test_headers_of_a_name_that_begins_as_headers_do_are_sent(self, header: str) -> None:
        with scope({"x-tenant": "acme"}):
            assert headers_sent(hosts=["*"], headers={"x-tenant": header})[header] == "acme"

    @pytest.mark.parametrize(
        "headers", [{"tenant": "Tenant"}, {"tenant-id": "X-Tenant"}, {"userId": "user"}]
    )
    def test_headers_of_unusual_names_are_taken(self, headers: dict[str, str]) -> None:
        headers_sent(hosts=[], headers=headers)

    def test_headers_given_are_copied(self) -> None:
        headers = {"value": "X-Value"}
        transport = ContextTransport(
            httpx.MockTransport(echo_headers), hosts=["*"], headers=headers
        )
        headers.clear()
        with httpx.Client(transport=transport) as client, scope(value="v"):
            assert client.get("https://api.internal/").json()["x-value"] == "v"


@pytest.mark.parametrize("log", ["false", 1, None])
def test_a_flag_that_is_neither_true_nor_false_is_refused(log: Any) -> None:
    with pytest.raises(ConfigurationError, match="log: expected True or False"):
        headers_sent(hosts=[], log=log)


class Colour(enum.Enum):
    RED = "red"


class TestValues:
    @pytest.mark.parametrize(
        ("value", "text"),
        [
            *(("acme & co; 50%", "acme & co; 50%"), ("", "")),
            *((7, "7"), (1.5, "1.5"), (True, "true"), (["é", 1], '["\\u00e9",1]'), ({}, "{}")),
        ],
    )
    def test_values_go_as_text_or_as_json(self, value: object, text: str) -> None:
        with scope(value=value):
            assert headers_sent(hosts=["*"], headers=MANY)["X-Value"] == text

    def test_none_and_absent_ones_are_no_header(self) -> None:
        with scope(value=None):
            assert not {"X-Value", "X-Other"} & headers_sent(hosts=["*"], headers=MANY).keys()

    def test_values_of_a_declared_type_go_as_what_they_are_in_json(self) -> None:
        value, other = Variable("value", uuid.UUID), Variable("other", Colour)
        number = uuid.UUID(int=7)
        with value.scope(number), other.scope(Colour.RED):
            headers = headers_sent(hosts=["*"], headers=MANY)
        assert (headers["X-Value"], headers["X-Other"]) == (str(number), "red")

    def test_values_that_are_local_stay(self) -> None:
        secret = Variable("value", str, local=True)
        with secret.scope("secret"), scope(other="1"):
            headers = headers_sent(hosts=["*"], headers=MANY)
        assert "X-Value" not in headers
        assert headers["X-Other"] == "1"

    def test_values_of_a_linked_contextvar_are_the_current_ones(self) -> None:
        other = ContextVar("other", default="")
        Variable("value", str, contextvar=other)
        with scope(value="before"):
            other.set("now")
            assert headers_sent(hosts=["*"], headers=MANY)["X-Value"] == "now"

    def test_values_are_kept_with_their_context_until_one_is_declared_local(self) -> None:
        transport = ContextTransport(httpx.MockTransport(echo_headers), hosts=["*"], headers=MANY)
        seen: list[bool] = []
        with httpx.Client(transport=transport) as client, scope(value="1"):
            seen.append("x-value" in client.get("https://api.internal/").json())
            seen.append("x-value" in client.get("https://api.internal/").json())
            Variable("value", str, local=True)
            seen.append("x-value" in client.get("https://api.internal/").json())
        assert seen == [True, True, False]

    def test_values_that_cannot_travel_are_left_out_with_a_warning(
        self, caplog: pytest.LogCaptureFixture
    ) -> None:
        linked: ContextVar[object] = ContextVar("linked", default=None)
        Variable("value", str, contextvar=linked)

        def call() -> httpx.Headers:
            linked.set(object())
            return headers_sent(hosts=["*"], headers=MANY)

        headers = run({"other": "1"}, call)
        assert "X-Value" not in headers
        assert headers["X-Other"] == "1"
        assert "value in X-Value: not sent" in caplog.text

    def test_values_are_those_of_the_moment_of_the_call(self) -> None:
        with scope(request_id="r-1"):
            assert current() == {"request_id": "r-1"}
            transport = ContextTransport(httpx.MockTransport(echo_headers), hosts=["*"])
        with httpx.Client(transport=transport) as client, scope(request_id="r-2"):
            assert client.get("https://api.internal/").json()["x-request-id"] == "r-2"
