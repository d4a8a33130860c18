"""Messages that come back while a redrive is watched, without a wait for them."""

from pathlib import Path

import pytest

from mqctx.inspection import _redrive_watch
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


def rejected(made: Place, count: int) -> None:
    made.reject_all(count)
    made.await_count(made.dead, count)
    made.kill([b"another"])
