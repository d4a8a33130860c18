"""The journeys of the demo's own messages, found by the code of `mqctx trace`."""

import os
import threading
import time
from collections.abc import Generator
from contextlib import contextmanager, suppress
from typing import Final

import msgspec
from pika import BlockingConnection, URLParameters
from pika.exceptions import AMQPError

import mqctx
from mqctx.adapters._reporter import reporter
from mqctx.cli._demo import memory
from mqctx.cli._demo.stage import Stage
from mqctx.formats import TraceContextFormat
from mqctx.inspection import Broker, BrokerError, Management, ManagementError
from mqctx.inspection._journeys._feeds import Firehose
from mqctx.inspection._journeys._joiner import Joiner
from mqctx.inspection._journeys._records import Record
from mqctx.inspection._journeys._tracer import Settings, Status, Tracer

__all__ = ["Journey", "Watch", "watched"]

PATIENCE_SECONDS: Final = 10.0
_LAST_EVENTS_SECONDS: Final = 0.3
"""How long RabbitMQ may take to tell of what was sent to it."""
Journey = list[Record]


class Watch:
    """Keep the journeys of a stage."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self._journeys: list[Journey] = []
        self.has_begun = threading.Event()
        self.error: Exception | None = None
        """Why there are no journeys, if so."""

    def journey(self, records: Journey) -> None:
        """Take a journey."""
        self._journeys.append(records)

    def status(self, status: Status) -> None:  # noqa: ARG002 - that it comes is all
        """Note that the trace has begun."""
        self.has_begun.set()

    def warn(self, text: str) -> None:
        """Say nothing: the demo has its own words."""

    def journeys(self) -> list[Journey]:
        """Return those of the stage, in which queues have short names, and services their own."""
        prefix = self._stage.prefix.encode()
        own = filter(None, (self._own(journey) for journey in self._journeys))
        texts = (msgspec.json.encode(journey) for journey in own)
        decode = msgspec.json.Decoder(Journey).decode
        found = [decode(text.replace(prefix, b"")) for text in texts]
        for journey in found:
            for run in journey:
                if run["kind"] == "run":  # all of them are in one process
                    run["service"], _, run["handler"] = run["handler"].partition(".")
        return found

    def _own(self, journey: Journey) -> Journey:
        """Return what is of this stage: another request in the vhost may well be an r-1, too."""
        prefix, own = self._stage.prefix.encode(), dict[str, Record]()
        for record in journey:  # parents come before children
            if record["parent"] in own or prefix in msgspec.json.encode(record):
                own[record["id"]] = record
        return [*own.values()]


@contextmanager
def watched(stage: Stage) -> Generator[Watch]:
    """Watch while the block lasts; in it, handlers report their runs."""
    watch = Watch(stage)
    mqctx.configure(
        formats=[mqctx.JsonFormat(), TraceContextFormat()], service="demo", report=stage.reports
    )
    way = _in_memory if stage.url == memory.URL else _on_rabbitmq
    try:
        with way(watch, stage):
            try:
                yield watch
            finally:
                reporter.close(PATIENCE_SECONDS)
    finally:
        mqctx.configure()


@contextmanager
def _in_memory(watch: Watch, _: Stage) -> Generator[None]:
    memory.events.clear()
    yield
    joiner = Joiner()
    for event in memory.events:
        joiner.take(event)
    for journey in joiner.finish():
        watch.journey(journey)


@contextmanager
def _on_rabbitmq(watch: Watch, stage: Stage) -> Generator[None]:
    """Trace the vhost, if the user may; it is left as it was."""
    tracer, management = _tracer(watch, stage)
    thread = threading.Thread(target=_trace, args=(tracer, watch), daemon=True)
    with management:
        thread.start()
        watch.has_begun.wait(PATIENCE_SECONDS)
        try:
            yield
            time.sleep(_LAST_EVENTS_SECONDS if watch.error is None else 0)
        finally:
            tracer.stop()
            thread.join(PATIENCE_SECONDS)
            _delete_exchange(stage)


def _tracer(watch: Watch, stage: Stage) -> tuple[Tracer, Management]:
    broker = Broker.parse(stage.url)
    management = Management(broker, os.environ.get("MQCTX_MANAGEMENT_URL"))
    return Tracer(broker, Firehose(management, broker.vhost), Settings(), watch), management


def _trace(tracer: Tracer, watch: Watch) -> None:
    try:
        tracer.run()
    except (BrokerError, ManagementError) as error:
        watch.error = error
    finally:
        watch.has_begun.set()


def _delete_exchange(stage: Stage) -> None:
    with suppress(AMQPError), BlockingConnection(URLParameters(stage.url)) as connection:
        connection.channel().exchange_delete(stage.reports)
