"""See which messages of a run were dead-lettered again."""

import time
from collections import Counter
from collections.abc import Callable
from typing import Final

from mqctx.inspection._look import Inspector
from mqctx.inspection._redrive_result import Result
from mqctx.inspection._sent_back import redrive_of
from mqctx.inspection._why import why

__all__ = ["came_back"]

_TICK: Final = 0.5


def came_back(
    inspector: Inspector,
    result: Result,
    seconds: float,
    *,
    rescue: bool,
    is_stopped: Callable[[], bool],
) -> None:
    """Wait so long, or until told to stop, and note why messages of a run are in its queue again.

    Raises:
        BrokerError: the connection is lost.
        RefusedError: a look could lose messages meanwhile.
    """
    _pause(inspector, seconds, is_stopped)
    reasons: Counter[str] = Counter()
    with inspector.look(result.queue, rescue=rescue) as look:
        for message in look:
            if redrive_of(message.header).get("run") == result.run:
                reasons[why(message)[1]] += 1
    result.came_back = reasons


def _pause(inspector: Inspector, seconds: float, is_stopped: Callable[[], bool]) -> None:
    end = time.monotonic() + seconds
    while not is_stopped() and (left := end - time.monotonic()) > 0:
        inspector.connection.process_data_events(min(left, _TICK))
