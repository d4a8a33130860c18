"""Behaviour of every HTTP client, on a real connection."""

import logging
import threading
from urllib.parse import urlsplit

import pytest

from mqctx import Propagator, scope
from mqctx.formats.trace_context import TraceContextFormat
from tests.http_clients.clients import OURS, HttpClient, every_client
from tests.http_clients.server import Seen, Server

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
SPAN = "00f067aa0ba902b7"
IN_TRACE = {"request_id": "r-1", "trace_id": TRACE, "span_id": SPAN, "trace_flags": "01"}
THEIRS = "localhost"
ALL = {"x-request-id", "traceparent", "tracestate"}

pytestmark = every_client


def our_headers(seen: Seen) -> set[str]:
    """Return which of our headers reached the server."""
    return ALL & {name.lower() for name in seen.headers}


class TestSent:
    def test_the_request_id_of_the_context_is_sent(
        self, client: HttpClient, server: Server
    ) -> None:
        with scope(request_id="r-1"):
            assert client.get(server.url(), hosts=OURS) == 200
        assert server.seen[0].headers.get_all("X-Request-Id") == ["r-1"]

    def test_the_names_that_were_given_headers_are_sent_and_no_others(
        self, client: HttpClient, server: Server
    ) -> None:
        with scope(request_id="r-1", tenant="acme", user="ada"):
            client.get(server.url(), hosts=OURS, headers={"tenant": "X-Tenant-Id"})
        sent = server.seen[0].headers
        assert sent["X-Tenant-Id"] == "acme"
        assert sent["X-Request-Id"] is None
        assert "ada" not in str(sent)

    def test_each_call_is_a_span_below_the_active_one(
        self, client: HttpClient, server: Server
    ) -> None:
        with scope(IN_TRACE, tracestate="vendor=7"):
            client.get(server.url(), hosts=OURS)
            client.get(server.url(), hosts=OURS)
        there = Propagator(formats=[TraceContextFormat()])
        first, second = (there.extract(dict(seen.headers.items())) for seen in server.seen)
        assert first["span_id"] != second["span_id"]
        for received in (first, second):
            assert (received["trace_id"], received["parent_span_id"]) == (TRACE, SPAN)
            assert received["tracestate"] == "vendor=7"

    def test_no_trace_is_sent_where_none_is_active(
        self, client: HttpClient, server: Server
    ) -> None:
        with scope(request_id="r-1"):
            client.get(server.url(), hosts=OURS)
        assert our_headers(server.seen[0]) == {"x-request-id"}

    def test_nothing_is_sent_outside_of_a_run(self, client: HttpClient, server: Server) -> None:
        client.get(server.url(), hosts=["*"])
        assert our_headers(server.seen[0]) == set()

    def test_nothing_is_sent_to_a_host_that_is_not_allowed(
        self, client: HttpClient, server: Server
    ) -> None:
        with scope(IN_TRACE):
            client.get(server.url(host=THEIRS), hosts=OURS)
        assert our_headers(server.seen[0]) == set()

    @pytest.mark.parametrize(
        "value", ["a\r\nX-Admin: yes", "a\nX-Admin: yes", "a\rb", "Zoë", "a\0b", " a", "a\t"]
    )
    def test_no_value_is_sent_that_a_header_cannot_hold(
        self, client: HttpClient, server: Server, value: str, caplog: pytest.LogCaptureFixture
    ) -> None:
        with scope(request_id=value, tenant="acme"):
            headers = {"request_id": "X-Request-Id", "tenant": "X-Tenant-Id"}
            assert client.get(server.url(), hosts=OURS, headers=headers) == 200
        sent = server.seen[0].headers
        assert (sent["X-Request-Id"], sent["X-Admin"], sent["X-Tenant-Id"]) == (None, None, "acme")
        assert [(record.name, record.levelname) for record in caplog.records] == [
            ("mqctx", "WARNING")
        ]
        assert "request_id in X-Request-Id: not sent" in caplog.text

    def test_no_trace_id_is_sent_that_breaks_the_line(
        self, client: HttpClient, server: Server
    ) -> None:
        with scope(trace_id=f"{TRACE}\r\nX-Admin: yes", span_id=f"{SPAN}\n", tracestate="a=1\r\nb"):
            assert client.get(server.url(), hosts=OURS) == 200
        assert server.seen[0].headers["X-Admin"] is None
        assert TRACE not in str(server.seen[0].headers)


class TestTheCallersOwn:
    def test_the_callers_own_header_stays_whatever_its_case(
        self, client: HttpClient, server: Server
    ) -> None:
        with scope(IN_TRACE):
            client.get(server.url(), {"x-request-ID": "mine"}, hosts=OURS)
        assert server.seen[0].headers.get_all("X-Request-Id") == ["mine"]

    @pytest.mark.parametrize("own", ["traceparent", "tracestate"])
    def test_the_callers_own_trace_stays_and_nothing_of_ours_joins_it(
        self, client: HttpClient, server: Server, own: str
    ) -> None:
        with scope(IN_TRACE):
            client.get(server.url(), {own: "mine"}, hosts=OURS)
        assert our_headers(server.seen[0]) == {"x-request-id", own}
        assert server.seen[0].headers[own] == "mine"

    def test_the_callers_own_headers_are_not_written_into(
        self, client: HttpClient, server: Server
    ) -> None:
        headers = {"X-Own": "1"}
        for request_id in ("r-1", "r-2"):
            with scope(request_id=request_id):
                client.get(server.url(), headers, hosts=OURS)
        assert headers == {"X-Own": "1"}
        assert [seen.headers["X-Request-Id"] for seen in server.seen] == ["r-1", "r-2"]


class TestRedirect:
    def test_a_redirect_to_a_host_that_is_not_allowed_carries_nothing(
        self, client: HttpClient, server: Server
    ) -> None:
        with scope(IN_TRACE):
            client.get(server.redirecting(server.url(host=THEIRS)), hosts=OURS)
        assert [(seen.host, our_headers(seen)) for seen in server.seen] == [
            (OURS[0], ALL),
            (THEIRS, set()),
        ]

    def test_a_redirect_to_an_allowed_host_carries_the_context(
        self, client: HttpClient, server: Server
    ) -> None:
        with scope(IN_TRACE):
            client.get(server.redirecting(server.url(), host=THEIRS), hosts=OURS)
        assert [(seen.host, our_headers(seen)) for seen in server.seen] == [
            (THEIRS, set()),
            (OURS[0], ALL),
        ]

    def test_a_redirect_there_and_back_is_decided_at_each_hop(
        self, client: HttpClient, server: Server
    ) -> None:
        back = server.redirecting(server.url(), host=THEIRS, status=307)
        with scope(IN_TRACE):
            assert client.get(server.redirecting(back, status=307), hosts=OURS) == 200
        assert [our_headers(seen) for seen in server.seen] == [ALL, set(), ALL]

    def test_a_redirect_between_allowed_hosts_is_a_span_for_each_hop(
        self, client: HttpClient, server: Server
    ) -> None:
        with scope(IN_TRACE):
            client.get(server.redirecting(server.url(host=THEIRS)), hosts=["*"])
        parents = [seen.headers.get_all("traceparent", []) for seen in server.seen]
        assert [len(parent) for parent in parents] == [1, 1]
        assert parents[0] != parents[1]
        assert [seen.headers.get_all("X-Request-Id") for seen in server.seen] == [["r-1"], ["r-1"]]

    def test_a_redirect_to_another_port_that_is_not_allowed_carries_nothing(
        self, client: HttpClient, server: Server, other: Server
    ) -> None:
        with scope(IN_TRACE):
            hosts = [f"127.0.0.1:{server.server_port}"]
            client.get(server.redirecting(other.url()), hosts=hosts)
        assert our_headers(server.seen[0]) == ALL
        assert our_headers(other.seen[0]) == set()


class TestLogged:
    @pytest.fixture(autouse=True)
    def _info(self, caplog: pytest.LogCaptureFixture) -> None:
        caplog.set_level(logging.INFO, "mqctx.calls")

    def test_a_line_has_method_host_path_status_and_milliseconds_and_no_secret(
        self, client: HttpClient, server: Server, caplog: pytest.LogCaptureFixture
    ) -> None:
        url = server.url("/orders/7?token=secret").replace("//", "//ada:secret@")
        client.get(url, hosts=[], log=True)
        (record,) = calls(caplog)
        duration = vars(record)["http.request.duration_ms"]
        assert record.getMessage() == f"GET 127.0.0.1/orders/7: 200 in {duration:.1f} ms"
        assert 0 < duration == round(duration, 3) < 60_000
        fields = {
            "http.request.method": "GET",
            "server.address": "127.0.0.1",
            "server.port": urlsplit(server.url()).port,
            "url.path": "/orders/7",
            "http.response.status_code": 200,
        }
        assert fields.items() <= vars(record).items()
        assert "error.type" not in vars(record)
        assert "secret" not in str(vars(record))

    def test_each_hop_of_a_redirect_is_logged(
        self, client: HttpClient, server: Server, caplog: pytest.LogCaptureFixture
    ) -> None:
        client.get(server.redirecting(server.url(host=THEIRS)), hosts=[], log=True)
        hops = [
            (vars(record)["server.address"], vars(record)["http.response.status_code"])
            for record in calls(caplog)
        ]
        assert hops == [("127.0.0.1", 302), (THEIRS, 200)]

    def test_an_error_is_logged_by_its_type(
        self, client: HttpClient, nobody: str, caplog: pytest.LogCaptureFixture
    ) -> None:
        with pytest.raises(client.refused):
            client.get(nobody, hosts=[], log=True)
        (record,) = calls(caplog)
        assert vars(record)["error.type"] == client.refused.__name__
        assert "http.response.status_code" not in vars(record)
        assert record.getMessage().startswith(f"GET 127.0.0.1/: {client.refused.__name__} in ")

    def test_nothing_is_logged_unless_asked_for(
        self, client: HttpClient, server: Server, caplog: pytest.LogCaptureFixture
    ) -> None:
        client.get(server.url(), hosts=OURS)
        assert calls(caplog) == []


def test_an_error_of_the_client_passes_untouched(client: HttpClient, nobody: str) -> None:
    with scope(IN_TRACE), pytest.raises(client.refused) as raised:
        client.get(nobody, hosts=OURS)
    assert type(raised.value) is client.refused


def test_a_response_streams(client: HttpClient, server: Server) -> None:
    with scope(request_id="r-1"):
        body = client.stream(server.url("/stream"), server.go_on.set, hosts=OURS)
    assert body == b"firstsecond"
    assert server.seen[0].headers["X-Request-Id"] == "r-1"


def test_fifty_calls_at_once_have_each_its_own_request_id(
    client: HttpClient, server: Server
) -> None:
    request_ids = [f"r-{number}" for number in range(50)]
    server.all_are_here = threading.Barrier(50)
    client.together(server.url("/together"), request_ids, hosts=OURS)
    pairs = {(seen.path.partition("?")[2], seen.headers["X-Request-Id"]) for seen in server.seen}
    assert pairs == {(request_id, request_id) for request_id in request_ids}


def calls(caplog: pytest.LogCaptureFixture) -> list[logging.LogRecord]:
    return [record for record in caplog.records if record.name == "mqctx.calls"]
