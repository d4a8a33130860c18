"""A connection of its own on which kombu sends copies, and learns whether they were confirmed."""

from contextlib import suppress
from typing import Any

from mqctx.adapters._copy import CONFIRM_SECONDS, Copy
from mqctx.adapters._kombu_raw import ACK, NACK, message_as_bytes
from mqctx.adapters._settling import NotSentError


class Outbox:
    """A clone of a connection, for copies: to wait on the one that consumes runs its handlers."""

    def __init__(self, client: Any) -> None:
        # kombu's own `confirm_publish` waits in the publish, and tells nothing of a return. Without
        # heartbeats, which nobody would answer between two copies.
        options: dict[str, Any] = {**(client.transport_options or {}), "confirm_publish": False}
        self._client = client.clone(transport_options=options, heartbeat=0)
        self._channel: Any = None
        self._returned = False
        self._answer: Any = None

    @property
    def user(self) -> str:
        """The user of the connection."""
        return str(
            self._client.userid or self._client.transport.default_connection_params["userid"]
        )

    def frame_max(self) -> int:
        """Return the size of a frame, as it was negotiated."""
        return int(self._open().connection.frame_max)

    def send(self, what: Copy) -> None:
        """Publish a copy.

        Raises:
            NotSentError: it was not routed, or refused. Any other exception: it was not confirmed.
        """
        # One that is open may have been closed long ago, with nobody to notice.
        tries = 1 if self._channel is None else 2
        while tries:
            tries = self._try(what, tries - 1)
        if self._returned:
            raise NotSentError("it was not routed to any queue")
        if self._answer == NACK:
            raise NotSentError("the broker refused it")

    def _try(self, what: Copy, more: int) -> int:
        """Publish a copy; return 0 if it was, else how many tries are left."""
        try:
            self._publish(what)
        except BaseException as error:
            # py-amqp opens a channel again that the broker closed, but without confirms.
            self.close()
            lost = isinstance(error, self._client.connection_errors)
            if more and lost and not isinstance(error, TimeoutError):
                return more
            raise
        return 0

    def _publish(self, what: Copy) -> None:
        channel = self._open()
        self._returned, self._answer = False, None
        message = message_as_bytes(what.body, what.properties)
        channel.basic_publish(
            message, exchange=what.exchange, routing_key=what.routing_key, mandatory=True
        )
        channel.wait([ACK, NACK], callback=self._on_answer, timeout=CONFIRM_SECONDS)

    def _open(self) -> Any:
        if self._channel is None:
            channel = self._client.channel()
            channel.events["basic_return"].add(self._on_return)
            channel.confirm_select()
            self._channel = channel
        return self._channel

    def _on_return(self, *_: object) -> None:
        self._returned = True

    def _on_answer(self, method: Any, *_: object) -> None:
        self._answer = method

    def close(self) -> None:
        """Close the connection. The next copy opens it again."""
        self._channel = None
        with suppress(Exception):
            self._client.collect(CONFIRM_SECONDS)


class Outboxes:
    """The outboxes of one connection that consumes: they are for its thread alone."""

    def __init__(self) -> None:
        self._by_client: dict[int, tuple[Any, Outbox]] = {}

    def of(self, client: Any, connection: Any) -> Outbox:
        """Return the outbox that sends as this client, until the `connection` is closed."""
        if not self._by_client:
            self._end_with(connection)
        found = self._by_client.get(id(client))
        if found is None:
            # With the client, whose id may be another object's once it is gone.
            found = self._by_client[id(client)] = client, Outbox(client)
        return found[1]

    def _end_with(self, connection: Any) -> None:
        collect = connection.collect

        def collect_all() -> None:
            for _, outbox in self._by_client.values():
                outbox.close()
            collect()

        connection.collect = collect_all
