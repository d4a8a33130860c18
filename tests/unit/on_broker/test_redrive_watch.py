"""Messages that come back while a redrive is watched, without a wait for them."""

import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mqctx.inspection import BrokerError, _redrive_watch
from tests.drivers.dead_letters import Place, place
from tests.integration.broker import Broker
from tests.integration.test_redrive import ABC, command, objects


@pytest.fixture(autouse=True)
def _state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))


def test_watching_says_why_it_came_back(broker: Broker, monkeypatch: pytest.MonkeyPatch) -> None:
    with place(broker.url) as made:
        made.kill(ABC)
        monkeypatch.setattr(_redrive_watch, "_pause", lambda *_: rejected(made, len(ABC)))
        result = command(broker)(made.dead, "--yes", "--watch", "60", "--json")
        assert objects(result, "result")[0]["came_back"] == {"rejected, no reason given": 3}


def test_watching_ends_with_ctrl_c_and_tells_what_was_sent(
    broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(_: object, __: object, is_stopped: Callable[[], bool]) -> None:
        assert not is_stopped()
        signal.raise_signal(signal.SIGINT)
        pause(_, 60, is_stopped)

    pause: Any = _redrive_watch._pause
    monkeypatch.setattr(_redrive_watch, "_pause", interrupt)
    with place(broker.url) as made:
        made.kill(ABC)
        result = command(broker)(made.dead, "--yes", "--watch", "60", "--json", code=130)
        assert objects(result, "result")[0]["sent"] == 3
        assert "3 were sent" in result.stderr


def test_watching_that_fails_tells_what_was_sent(
    broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise BrokerError("gone")

    monkeypatch.setattr(_redrive_watch, "_pause", fail)
    with place(broker.url) as made:
        made.kill(ABC)
        assert "3 were sent" in command(broker)(made.dead, "--yes", "--watch", "60", code=1).stderr


def rejected(made: Place, count: int) -> None:
    made.reject_all(count)
    made.await_count(made.dead, count)
    made.kill([b"another"])
