"""Send messages back to where they came from, and lose none of them."""

import time
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from itertools import chain
from math import inf
from secrets import token_hex
from typing import Final, NamedTuple

from mqctx._amqp.content_header import ContentHeader
from mqctx.inspection._errors import BrokerError
from mqctx.inspection._look import Inspector, Look
from mqctx.inspection._message import Message
from mqctx.inspection._publisher import Fate, Outcome, Publisher
from mqctx.inspection._queues import Queues
from mqctx.inspection._redrive_note import Note
from mqctx.inspection._redrive_result import Result, name_of
from mqctx.inspection._sent_back import digest, now, sent_back, what_goes
from mqctx.inspection._ways import NoWayError, Origin, Way, Ways
from mqctx.inspection._window import WINDOW, Window

__all__ = ["Redrive"]

_REASONS: Final = {
    Fate.UNROUTED: "no queue gets it",
    Fate.REJECTED: "the queue did not take it: it is full, or has failed",
    Fate.REFUSED: "the broker refused it",
}
_NOT_FOUND: Final = 404
_NO_RIGHT: Final = "access to exchange"
_TICK: Final = 0.2
"""The seconds within which `stop` is noticed."""
_Advance = Callable[[], None]


def _nothing() -> None:
    """Do nothing."""


def _any_message(_: Message) -> bool:
    return True


class _Sending(NamedTuple):
    """A message that is under way, and what is published for it."""

    message: Message
    way: Way
    header: ContentHeader

    @property
    def arguments(self) -> tuple[str, str, ContentHeader, bytes]:
        """Those of `Publisher.send`."""
        return self.way.exchange, self.way.routing_key, self.header, self.message.body


class Redrive:
    """Messages of a queue on their way back. Call `plan` or `run`, once.

    Args:
        inspector: An open connection.
        queue: The queue that they are in.
        origin: The target of all of them. None: each goes back where it came from.
        choose: Decides which of them are sent.
        limit: The most that are chosen.
        rate: The most that are sent in a second.
        rescue: Read by copies to the queue's end: see `Inspector.look`.

    Raises:
        BrokerError: there is no such queue or exchange, or the queue is a stream.
    """

    def __init__(
        self,
        inspector: Inspector,
        queue: str,
        *,
        origin: Origin | None = None,
        choose: Callable[[Message], bool] = _any_message,
        limit: int | None = None,
        rate: float = inf,
        rescue: bool = False,
    ) -> None:
        if inspector.facts(queue).type == "stream":
            raise BrokerError(
                f"{queue} is a stream, which keeps its messages: it cannot be redriven"
            )
        self.result: Result = Result(queue, token_hex(4), now())
        """The work done so far, also after an error."""
        self.is_stopped: bool = False
        self._inspector = inspector
        self._origin = origin
        self._choose = choose
        self._limit = limit
        self._rate = rate
        self._rescue = rescue
        self._queues = Queues(inspector)
        if origin is not None:
            self._check(origin)
        self._ways = Ways(self._queues, queue)
        self._publisher = Publisher(inspector.connection)
        self._note = Note(inspector.broker, queue, self.result.run, self.result.at)
        self._look: Look | None = None
        self.result.interrupted = self._note.earlier()
        self._cut_off = set(chain.from_iterable(run.messages for run in self.result.interrupted))

    def _check(self, target: Origin) -> None:
        if target.queue is not None and not self._queues.is_there(target.queue):
            raise BrokerError(f"no queue {target.queue!r} to send to", _NOT_FOUND)
        if not self._queues.has_exchange(target.through):
            raise BrokerError(f"no exchange {target.exchange!r} to send to", _NOT_FOUND)

    def stop(self) -> None:
        """Finish what was begun, and begin no more. May be called from a signal handler."""
        self.is_stopped = True
        if self._look is not None:
            self._look.stop()

    def plan(self, advance: _Advance = _nothing) -> Result:
        """Return what `run` would do, and leave all in place. `advance` is called for each message.

        Raises:
            RefusedError: a look could lose messages.
            BrokerError: the broker refuses, or is gone.
        """
        with self._looking() as look:
            for message, way in self._chosen(look, advance):
                self.result.goes(way, what_goes(message.header))
                self._leave(look, message)
        return self.result

    def run(self, advance: _Advance = _nothing) -> Result:
        """Send, and take each message off its queue once its copy was confirmed and routed.

        Raises:
            RefusedError: a look could lose messages.
            BrokerError: the broker refuses, or is gone.
        """
        self.result.unnoted = self._note.open()
        with self._looking(settling=True) as look:
            for batch in self._batches(look, advance):
                self._send(look, batch)
        self._note.close()
        return self.result

    def _batches(self, look: Look, advance: _Advance) -> Iterator[list[_Sending]]:
        """Yield what goes, in as many messages and bytes as may be under way at once."""
        batch: list[_Sending] = []
        window = Window(int(min(WINDOW, max(1, self._rate * _TICK))))
        for message, way in self._chosen(look, advance):
            batch.append(_Sending(message, way, sent_back(message, way, self.result.run)))
            window.add(message.body)
            if window.is_full:
                yield batch
                batch = []
                window.clear()
        if batch:
            yield batch

    @contextmanager
    def _looking(self, *, settling: bool = False) -> Generator[Look]:
        queue, rescue = self.result.queue, self._rescue
        with self._inspector.look(queue, rescue=rescue, settling=settling) as look:
            self._look = look
            self.result.there = look.there
            if self.is_stopped:  # before there was a look to stop
                look.stop()
            yield look
            self._look = None
            self.result.is_late = look.is_late
        if look.rescue is not None:
            self.result.copied = look.rescue.copied

    def _chosen(self, look: Look, advance: _Advance) -> Iterator[tuple[Message, Way]]:
        """Yield the messages that go; all others are left."""
        for message in look.messages():
            advance()
            self.result.looked += 1
            way = self._way_if_chosen(message) if self._choose(message) else None
            if way is None:
                self._leave(look, message)
            else:
                yield message, way
            if self.result.chosen == self._limit:
                return

    def _way_if_chosen(self, message: Message) -> Way | None:
        """Return how a message goes that was chosen; if it stays, note why."""
        self.result.chosen += 1
        if self._cut_off and digest(message) in self._cut_off:
            self.result.again.append(name_of(message))
        try:
            return self._way_of(message)
        except NoWayError as error:
            self.result.stays(message, str(error))
            return None

    def _way_of(self, message: Message) -> Way:
        self._check_owner(message)
        way = self._ways.of(message, self._origin)
        if len(sent_back(message, way, self.result.run).raw) > self._publisher.most_header:
            raise NoWayError("its headers would not fit into a frame")
        for queue in way.queues:
            if not self._queues.take_room(queue, len(message.body)):
                raise NoWayError(f"{queue} is full")
        return way

    def _check_owner(self, message: Message) -> None:
        owner = message.header.get("user_id")
        if owner not in (None, self._inspector.broker.user):
            raise NoWayError(f"its user_id is {owner!r}, and no other user may send it")

    def _leave(self, look: Look, message: Message) -> None:
        if look.rescue is not None:
            look.rescue.take(message)

    def _send(self, look: Look, batch: list[_Sending]) -> None:
        """Send some messages, and wait until the broker has settled them all."""
        began = time.monotonic()
        # Before they are sent: a kill in between leaves a note of too many, never of too few.
        messages = [sending.message for sending in batch]
        self._note.write([*map(digest, messages)])
        self.result.under_way = [*map(name_of, messages)]
        for sending, outcome in self._outcomes(batch):
            self._settle(look, sending, outcome)
        look.settle()
        # Only when the broker has them off the queue is none of them in both places.
        self._note.write(())
        self.result.under_way = []
        self._queues.forget_room()
        self._pause(began + len(batch) / self._rate)

    def _outcomes(self, batch: list[_Sending]) -> Iterator[tuple[_Sending, Outcome]]:
        """Publish, and yield what became of each message."""
        send = self._publisher.send
        under_way = {send(*sending.arguments): sending for sending in batch}
        # All of them first: a message can only be sent alone if no other is outstanding.
        for outcome in [*self._publisher.rest()]:
            sending = under_way[outcome.number]
            is_clear = outcome.fate is not Fate.UNKNOWN
            yield sending, outcome if is_clear else self._outcome_alone(sending)

    def _outcome_alone(self, sending: _Sending) -> Outcome:
        """Publish again a message that the broker may have closed the channel over, alone."""
        outcome = self._publisher.publish(*sending.arguments)
        if outcome.fate is Fate.ARRIVED:
            # It was another one; and this one may have arrived the first time, too.
            self.result.twice.append(name_of(sending.message))
        return outcome

    def _settle(self, look: Look, sending: _Sending, outcome: Outcome) -> None:
        message = sending.message
        if outcome.fate is Fate.ARRIVED:
            look.acknowledge(message)
            self.result.goes(sending.way, what_goes(message.header))
            return
        if _NO_RIGHT in outcome.reason and not self.result.sent:
            raise BrokerError(outcome.reason)  # as it would be for all others
        told = f" ({outcome.reason})" if outcome.reason else ""
        self.result.stays(message, f"{_REASONS[outcome.fate]}{told}")
        self._leave(look, message)

    def _pause(self, until: float) -> None:
        while not self.is_stopped and (left := until - time.monotonic()) > 0:
            self._inspector.connection.process_data_events(min(left, _TICK))
