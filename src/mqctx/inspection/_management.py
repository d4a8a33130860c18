"""RabbitMQ's management API: the kind of a queue, its policies, and which queues there are."""

import re
import ssl
from base64 import b64encode
from collections.abc import Iterable, Iterator, Mapping
from functools import partial
from http import HTTPStatus
from typing import Any, Final, cast
from urllib.parse import quote, unquote, urlsplit

import msgspec
from urllib3 import BaseHTTPResponse, PoolManager
from urllib3.exceptions import HTTPError

from mqctx.inspection._broker import Broker, bracketed
from mqctx.inspection._safety import QueueFacts
from mqctx.inspection._where import fits

__all__ = ["Management", "ManagementError"]

_SECONDS: Final = 10.0
_AT_ONCE: Final = 10
"""How many connections are kept: urllib3 warns of each more that threads need at a time."""
_PAGE: Final = 500
# The usual ports, 15672 and 15671, are those of AMQP, 5672 and 5671, and this.
_PORT_OFFSET: Final = 10_000


class ManagementError(Exception):
    """The management API cannot answer. The text is one line, without any password.

    `status` is that of the HTTP response, if there was one.
    """

    def __init__(self, text: str, status: int | None = None) -> None:
        super().__init__(text)
        self.status = status


class Management:
    """The management API of a broker. Close it, or use it in a `with` block.

    Args:
        broker: The broker, whose user and password are taken, too, unless `url` has others.
        url: `http://HOST:15672` or the like. None: the broker's host, and its port plus 10,000.

    Raises:
        ManagementError: `url` is malformed.
    """

    def __init__(self, broker: Broker, url: str | None = None) -> None:
        base, self._user, password = _parse(url or _derived(broker), broker)
        self.url: Final = base
        """The URL, without user and password."""
        self._broker = broker
        # No proxy of the environment stands between us and a broker.
        self._client = PoolManager(
            headers={"Authorization": _basic(self._user, password)},
            timeout=_SECONDS,
            maxsize=_AT_ONCE,
            retries=False,
            ssl_context=_tls(broker) if base.startswith("https") else None,
        )

    def __enter__(self) -> "Management":
        return self

    def __exit__(self, *_: object) -> None:
        self._client.clear()

    def get(self, *parts: str, **params: str | int) -> Any:
        """Return what the API has at a path, such as `get("queues", "/", "orders")`.

        Raises:
            ManagementError: it cannot be had. `status` is 404 if there is no such thing.
        """
        if "" in parts:  # which would name all of its kind
            raise self._refused(HTTPStatus.NOT_FOUND, parts)
        response = self._request("GET", parts, fields=params)
        if response.status != HTTPStatus.OK:
            raise self._refused(response.status, parts)
        try:
            return response.json()
        except ValueError:
            raise ManagementError(f"{self._at} answers with something else. {_ELSEWHERE}") from None

    def put(self, *parts: str, **body: Any) -> None:
        """Make or change what is at a path.

        Raises:
            ManagementError: it cannot be changed.
        """
        response = self._request("PUT", parts, json=body)
        if not _is_success(response):
            raise self._refused(response.status, parts)

    def delete(self, *parts: str) -> None:
        """Delete what is at a path, if it is there.

        Raises:
            ManagementError: it cannot be deleted.
        """
        response = self._request("DELETE", parts)
        # Somebody else may have deleted it meanwhile.
        if not _is_success(response) and response.status != HTTPStatus.NOT_FOUND:
            raise self._refused(response.status, parts)

    def _request(self, method: str, parts: Iterable[str], **options: Any) -> BaseHTTPResponse:
        path = "/".join(map(_quoted, parts))
        try:
            return self._client.request(method, f"{self.url}/api/{path}", redirect=False, **options)
        except HTTPError as error:
            reason = _reason(error)
            advice = _ABOUT_CA if "CERTIFICATE_VERIFY_FAILED" in reason else _ELSEWHERE
            raise ManagementError(f"{self._at}: {reason}. {advice}") from error

    @property
    def _at(self) -> str:
        return f"the management API at {self.url}"

    def _refused(self, status: int, parts: Iterable[str]) -> ManagementError:
        what = "/".join(parts)
        if status == HTTPStatus.UNAUTHORIZED:
            told = (
                f"{self._at} refused the user {self._user!r}: the password is wrong, "
                "or the user lacks the tag 'management'"
            )
        elif status == HTTPStatus.NOT_FOUND:
            told = f"{self._at} has no {what}"
        else:
            told = f"{self._at} answered {status} for {what}"
        return ManagementError(told, status)

    def check(self, server: Mapping[str, Any]) -> None:
        """Make sure that it speaks of the broker that sent these properties when we connected.

        Raises:
            ManagementError: it speaks of another one.
        """
        overview = self.get("overview")
        # By name: node and version may be those of another node of the same cluster.
        cluster = _as_text(server.get("cluster_name"))
        if cluster is not None and overview.get("cluster_name") not in (None, cluster):
            raise ManagementError(
                f"{self._at} is that of {overview['cluster_name']}, but {self._broker.address} "
                f"is {cluster}. {_ELSEWHERE}"
            )

    def queue_names(self, pattern: str) -> list[str]:
        """Return the names of the queues that fit `pattern`, in which `*` is special.

        Raises:
            ManagementError: it cannot answer.
        """
        names = (str(each["name"]) for each in self._all("queues", self._broker.vhost))
        return sorted(filter(partial(fits, pattern), names))

    def _all(self, *parts: str) -> Iterator[Mapping[str, Any]]:
        """Yield the items of a list, which the API gives in pages."""
        page = 1
        while True:
            answer = self.get(*parts, page=page, page_size=_PAGE, columns="name")
            if isinstance(answer, list):  # a server that gives no pages
                yield from cast("list[Mapping[str, Any]]", answer)
                return
            yield from answer["items"]
            if page >= answer["page_count"]:
                return
            page += 1

    def facts(self, queue: str, version: tuple[int, ...]) -> QueueFacts:
        """Return what is known of a queue.

        Raises:
            ManagementError: it cannot answer. `status` is 404 if there is no such queue.
        """
        told = self.get("queues", self._broker.vhost, queue)
        facts = QueueFacts(
            name=queue,
            vhost=self._broker.vhost,
            version=version,
            type=told.get("type", "classic"),  # before 3.8, RabbitMQ had no other and told none
            arguments=told.get("arguments") or {},
            policy=told.get("effective_policy_definition") or {},
            messages=told.get("messages"),
            are_late=True,
        )
        return self._with_policies(facts)

    def _with_policies(self, facts: QueueFacts) -> QueueFacts:
        """Return the facts with the policies as they are now: the queue's own answer is late."""
        try:
            policies = self.get("policies", facts.vhost)
            operators = self.get("operator-policies", facts.vhost)
        except ManagementError as error:
            if error.status not in _NO_RIGHT:
                raise
            return facts  # to see policies takes the tag 'policymaker'
        policy = _applied(policies, facts)
        operator = _applied(operators, facts)
        return msgspec.structs.replace(
            facts,
            policy=policy.get("definition", {}),
            priority=int(policy.get("priority", -1)),
            operator_policy=operator.get("definition", {}),
            are_late=False,
        )


_ABOUT_CA: Final = (
    "Give the authority's certificate with --ca, and the host as the certificate names it"
)
_ELSEWHERE: Final = "Name another one with --management URL"
_NO_RIGHT: Final = (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN)
_APPLY_TO: Final = ("all", "queues")


def _applied(policies: Iterable[Mapping[str, Any]], queue: QueueFacts) -> Mapping[str, Any]:
    """Return the policy that applies to a queue: of those that fit, the one that ranks highest."""
    kinds = (*_APPLY_TO, f"{queue.type}_queues", f"{queue.type}s")
    fitting = [
        each for each in policies if each["apply-to"] in kinds and _fits(each["pattern"], queue)
    ]
    none: dict[str, Any] = {}
    return max(fitting, key=lambda each: int(each["priority"]), default=none)


def _fits(pattern: str, queue: QueueFacts) -> bool:
    try:
        return re.search(pattern, queue.name) is not None
    except re.error:  # Erlang's syntax has a little more: then the policy counts as one that fits
        return True


def _derived(broker: Broker) -> str:
    scheme, usual = ("https", 15_671) if broker.tls else ("http", 15_672)
    port = broker.port + _PORT_OFFSET
    return f"{scheme}://{bracketed(broker.host)}:{port if port < 65_536 else usual}"


def _parse(url: str, broker: Broker) -> tuple[str, str, str]:
    """Return the URL, and the user and password in it, else the broker's."""
    try:
        parts = urlsplit(url)
        port = parts.port  # only now is it read as a number
    except ValueError:
        port, parts = None, urlsplit("")
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ManagementError("the management URL is none: give it as http://HOST:15672")
    host = bracketed(parts.hostname)
    path = parts.path.rstrip("/").removesuffix("/api")
    user = _either(parts.username, broker.user)
    password = _either(parts.password, broker.password)
    return f"{parts.scheme}://{host}{f':{port}' if port else ''}{path}", user, password


def _either(quoted: str | None, default: str) -> str:
    return default if quoted is None else unquote(quoted)


def _tls(broker: Broker) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=broker.ca)
    if broker.cert:
        context.load_cert_chain(broker.cert, broker.key)
    return context


def _basic(user: str, password: str) -> str:
    # Not by urllib3, which knows Latin-1 alone.
    return f"Basic {b64encode(f'{user}:{password}'.encode()).decode()}"


def _quoted(name: str) -> str:
    """Return a name as a part of a path; that of a vhost or a queue may hold a slash."""
    if name in (".", ".."):  # quoted or not, RabbitMQ takes them for steps
        raise ManagementError(f"the management API cannot be asked for the name {name!r}")
    return quote(name, safe="")


def _is_success(response: BaseHTTPResponse) -> bool:
    return 200 <= response.status < 300


def _reason(error: HTTPError) -> str:
    """Return what urllib3 wraps: its own text names objects by their addresses."""
    cause = error.__cause__ or error.args[-1]
    # Only the system's own errors say what they are: `BadStatusLine` shows what came instead.
    text = str(cause) if isinstance(cause, OSError) else f"{type(cause).__name__} {cause}"
    return " ".join(text.split()).rstrip(".")


def _as_text(value: Any) -> str | None:
    return value.decode(errors="replace") if isinstance(value, bytes) else value
