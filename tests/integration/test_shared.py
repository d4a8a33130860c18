"""Tests of the broker that the processes of a run share."""

from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path

import pytest

from .broker import Broker, NoBrokerError
from .shared import shared_broker


class Brokers:
    """Finds brokers, and tells which of them run."""

    def __init__(self) -> None:
        self.running: list[str] = []
        self.found = 0

    @contextmanager
    def find(self) -> Generator[Broker]:
        self.found += 1
        url = f"amqp://{self.found}"
        self.running.append(url)
        yield Broker(url, "url", "")
        self.running.remove(url)


def test_who_comes_later_gets_the_broker_that_runs_and_who_started_it_waits_for_them(
    tmp_path: Path,
) -> None:
    brokers = Brokers()
    first, second = ExitStack(), ExitStack()
    found = first.enter_context(shared_broker(tmp_path, brokers.find))
    assert second.enter_context(shared_broker(tmp_path, brokers.find)) == found
    assert brokers.found == 1
    with ThreadPoolExecutor() as pool:
        ended = pool.submit(first.close)
        assert not wait([ended], timeout=0.2).done
        assert brokers.running == [found.url]
        second.close()
        ended.result(timeout=10)
    assert brokers.running == []


def test_who_comes_after_it_was_stopped_finds_another(tmp_path: Path) -> None:
    brokers = Brokers()
    with shared_broker(tmp_path, brokers.find) as earlier:
        pass
    with shared_broker(tmp_path, brokers.find) as later:
        assert brokers.running == [later.url] != [earlier.url]
    assert brokers.running == []


def test_where_one_finds_none_the_next_looks_for_itself(tmp_path: Path) -> None:
    def find_none() -> AbstractContextManager[Broker]:
        raise NoBrokerError

    brokers = Brokers()
    with pytest.raises(NoBrokerError), shared_broker(tmp_path, find_none):
        pass
    with shared_broker(tmp_path, brokers.find) as found:
        assert brokers.running == [found.url]


def test_many_at_once_never_see_one_that_does_not_run(tmp_path: Path) -> None:
    brokers = Brokers()

    def use(_: int) -> bool:
        with shared_broker(tmp_path, brokers.find) as found:
            return found.url in brokers.running

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(use, range(400), timeout=60))
    assert brokers.running == []
