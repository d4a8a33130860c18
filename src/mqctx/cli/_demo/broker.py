"""The RabbitMQ that the demo is given, read from its URL once for three clients."""

from typing import Final
from urllib.parse import SplitResult, quote, unquote, urlsplit

import msgspec

_EXPECTED: Final = "give it as amqp://USER:PASSWORD@HOST:PORT/VHOST"


class Broker(msgspec.Struct, frozen=True):
    """A RabbitMQ: its address, which may be shown, and its URL, which holds the password."""

    address: str
    url: str
    password: str

    def __repr__(self) -> str:
        return f"Broker({self.address!r})"

    @classmethod
    def parse(cls, url: str) -> "Broker":
        """Read an `amqp:` URL.

        Raises:
            ValueError: the demo cannot use it. The message repeats nothing of it but the host.
        """
        try:
            parts = urlsplit(url)
            port = parts.port or 5672
        except ValueError:
            raise ValueError(f"not a URL that can be read; {_EXPECTED}") from None
        if parts.scheme != "amqp":
            raise ValueError(f"not an amqp: URL (the demo does not speak TLS); {_EXPECTED}")
        if not parts.hostname:
            raise ValueError(f"no host; {_EXPECTED}")
        # kombu and pika read options from it, each its own.
        if parts.query or parts.fragment:
            raise ValueError(f"options mean something else to each client; {_EXPECTED}")
        return cls._spelled_out(parts, parts.hostname, port)

    @classmethod
    def _spelled_out(cls, parts: SplitResult, host: str, port: int) -> "Broker":
        """Fill in what each client would default, or read, in its own way."""
        user = unquote(parts.username or "guest")
        password = unquote(parts.password or "guest")
        vhost = unquote(parts.path[1:]) or "/"
        address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        user_, password_, vhost_ = (quote(text, safe="") for text in (user, password, vhost))
        return cls(address, f"amqp://{user_}:{password_}@{address}/{vhost_}", password)

    def explain(self, error: Exception) -> str:
        """Say in one line, without the password, that this broker failed, and what to do."""
        reason = " ".join(str(error).split()) or type(error).__name__
        return (
            f"RabbitMQ at {self.address}: {reason.replace(self.password, '***').rstrip('.')}. "
            "Is it running, and are user, password and vhost right? "
            "Without --broker the demo runs in memory."
        )
