"""A trace in this process."""

import threading
from typing import Any, Self

from mqctx.inspection import Broker as Address
from mqctx.inspection import Management
from mqctx.inspection._journeys._feeds import Firehose, Tap
from mqctx.inspection._journeys._tracer import Settings, Status, Tracer
from tests.integration.traced import SECONDS, Vhost, until


class Watch:
    """Keep what a trace finds out."""

    def __init__(self) -> None:
        self.records: list[dict[str, Any]] = []
        self.warnings: list[str] = []
        self.statuses: list[Status] = []

    def journey(self, records: list[dict[str, Any]]) -> None:
        self.records += records

    def status(self, status: Status) -> None:
        self.statuses.append(status)

    def warn(self, text: str) -> None:
        self.warnings.append(text)


class Traced:
    """A trace in a thread of this process."""

    def __init__(
        self, vhost: Vhost, url: str | None = None, tap: Tap | None = None, **settings: Any
    ) -> None:
        self.watch = Watch()
        self.is_whole: bool | None = None
        broker = Address.parse(url or vhost.url)
        self._management = Management(broker, vhost.management)
        feed = tap or Firehose(self._management, broker.vhost)
        self.tracer = Tracer(broker, feed, Settings(**settings), self.watch)
        self._thread = threading.Thread(target=self._run, daemon=True)

    def _run(self) -> None:
        self.is_whole = self.tracer.run()

    def __enter__(self) -> Self:
        self._thread.start()
        until(lambda: bool(self.watch.statuses) or not self._thread.is_alive())
        return self

    def __exit__(self, *_: object) -> None:
        self.end()

    def close(self) -> None:
        """Close its connection to the management API."""
        self._management.__exit__()

    def end(self) -> list[dict[str, Any]]:
        """End it, and return what it found."""
        self.tracer.stop()
        self._thread.join(SECONDS)
        assert not self._thread.is_alive(), "the trace does not end"
        self.close()
        return self.watch.records
