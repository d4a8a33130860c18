"""Tests of the broker that the processes of a run share."""

from collections.abc import Callable, Generator
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


class Process:
    """Does what a process of the run does with the brokers that it shares."""

    def __init__(self) -> None:
        self.keeper, self.fixtures = ExitStack(), ExitStack()

    def use(self, folder: Path, find: Callable[[], AbstractContextManager[Broker]]) -> Broker:
        return self.fixtures.enter_context(shared_broker(folder, find, self.keeper))

    def end(self) -> None:
        self.fixtures.close()
        self.keeper.close()


def test_who_comes_later_gets_the_broker_that_runs_and_who_started_it_waits_for_them(
    tmp_path: Path,
) -> None:
    brokers = Brokers()
    first, second = Process(), Process()
    found = first.use(tmp_path, brokers.find)
    assert second.use(tmp_path, brokers.find) == found
    assert brokers.found == 1
    with ThreadPoolExecutor() as pool:
        ended = pool.submit(first.end)
        assert not wait([ended], timeout=0.2).done
        assert brokers.running == [found.url]
        second.end()
        ended.result(timeout=10)
    assert brokers.running == []


def test_two_that_keep_one_each_and_use_the_others_do_not_wait_for_each_other(
    tmp_path: Path,
) -> None:
    brokers = Brokers()
    one, other = Process(), Process()
    (tmp_path / "another").mkdir()
    for process, folder in (
        *((one, tmp_path), (other, tmp_path / "another")),
        *((other, tmp_path), (one, tmp_path / "another")),
    ):
        process.use(folder, brokers.find)
    with ThreadPoolExecutor() as pool:
        assert len(wait([pool.submit(each.end) for each in (one, other)], timeout=10).done) == 2
    assert brokers.running == []


def test_who_comes_after_it_was_stopped_finds_another(tmp_path: Path) -> None:
    brokers = Brokers()
    first, second = Process(), Process()
    earlier = first.use(tmp_path, brokers.find)
    first.end()
    later = second.use(tmp_path, brokers.find)
    assert brokers.running == [later.url] != [earlier.url]
    second.end()
    assert brokers.running == []


def test_where_one_finds_none_the_next_looks_for_itself(tmp_path: Path) -> None:
    def find_none() -> AbstractContextManager[Broker]:
        raise NoBrokerError

    brokers, process = Brokers(), Process()
    with pytest.raises(NoBrokerError):
        process.use(tmp_path, find_none)
    found = process.use(tmp_path, brokers.find)
    assert brokers.running == [found.url]
    process.end()


def test_many_at_once_never_see_one_that_does_not_run(tmp_path: Path) -> None:
    brokers = Brokers()

    def use(_: int) -> bool:
        process = Process()
        found = process.use(tmp_path, brokers.find)
        runs = found.url in brokers.running
        process.end()
        return runs

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(use, range(400), timeout=60))
    assert brokers.running == []
