"""The RabbitMQ to look at: its address, which may be shown, and what opens it, which may not."""

from dataclasses import dataclass, field
from typing import Final
from urllib.parse import SplitResult, unquote, urlsplit

DEFAULT_URL: Final = "amqp://guest:guest@127.0.0.1/"
_PORTS: Final = {"amqp": 5672, "amqps": 5671}
_EXPECTED: Final = "give it as amqp://USER:PASSWORD@HOST:PORT/VHOST, or amqps:// for TLS"


@dataclass(frozen=True, slots=True)
class Broker:
    """A RabbitMQ. `ca`, `cert` and `key` are paths of PEM files, and count for TLS only."""

    host: str
    port: int
    vhost: str
    user: str
    password: str = field(repr=False)
    tls: bool = False
    ca: str | None = None
    cert: str | None = None
    key: str | None = None

    @classmethod
    def parse(
        cls, url: str, *, ca: str | None = None, cert: str | None = None, key: str | None = None
    ) -> "Broker":
        """Read an `amqp:` or `amqps:` URL, but for options behind a `?`, which each client has.

        Raises:
            ValueError: it is malformed, in one line that repeats nothing of the URL.
        """
        parts, host, port = _split(url)
        return cls(
            host=host,
            port=port,
            # By RabbitMQ's rules for URLs a `/` alone names the vhost "", which nobody means by it.
            vhost=unquote(parts.path[1:]) or "/",
            **_credentials(parts),
            tls=parts.scheme == "amqps",
            ca=ca,
            cert=cert,
            key=key,
        )

    @property
    def address(self) -> str:
        """Host and port."""
        return f"{bracketed(self.host)}:{self.port}"


def bracketed(host: str) -> str:
    """Return a host as it stands in a URL, where IPv6 addresses have brackets (RFC 3986 3.2.2)."""
    return f"[{host}]" if ":" in host else host


def _split(url: str) -> tuple[SplitResult, str, int]:
    """Return the parts of a URL, its host and its port; raise `ValueError` if it is malformed."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:  # whose text may repeat the end of a password that has a colon in it
        raise ValueError(f"not a URL that can be read; {_EXPECTED}") from None
    if parts.scheme not in _PORTS:
        raise ValueError(f"not an amqp: or amqps: URL; {_EXPECTED}")
    if not parts.hostname:
        raise ValueError(f"no host; {_EXPECTED}")
    return parts, parts.hostname, port or _PORTS[parts.scheme]


def _credentials(parts: SplitResult) -> dict[str, str]:
    user, password = (unquote(text or "guest") for text in (parts.username, parts.password))
    return {"user": user, "password": password}
