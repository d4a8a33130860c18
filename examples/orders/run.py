"""Start the five processes, send three orders at the same time, and print what became of each.

First by their logs, then by what RabbitMQ tells `mqctx trace`, if it may be asked.
"""

import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from itertools import takewhile
from pathlib import Path
from typing import Any

import httpx
import pika
import pika.exceptions
from settings import BROKER

HERE = Path(__file__).parent
ORDERS = [
    ("r-ada-1", "acme", "ada", "books"),
    ("r-bob-2", "umbrella", "bob", "boots"),
    ("r-cyd-3", "acme", "cyd", "tea"),
]
STORY = {
    ("api", "order received"),
    ("api", "request completed"),
    ("billing", "billed"),
    ("mail", "mail sent"),
    ("partner", "parcel taken"),
    ("partner", "request completed"),
    ("shipping", "POST 127.0.0.1"),
    ("shipping", "shipped"),
}
PAGE = Path("mqctx-orders.html")
PATIENCE = 60.0
"""How many seconds the processes have to start, and the orders to be shipped."""

Line = dict[str, Any]


class Logs:
    """The lines that the processes have logged so far."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __iter__(self) -> Iterator[Line]:
        for path in sorted(self.folder.glob("*.log")):
            for text in path.read_text().splitlines():
                try:
                    line: Line = json.loads(text)
                except ValueError:  # not of ours, or not complete yet
                    continue
                yield line

    def by_request(self) -> dict[str, list[Line]]:
        """Return the lines of each request, in the order of time."""
        stories: dict[str, list[Line]] = defaultdict(list)
        for line in sorted(self, key=lambda line: float(line["created"])):
            if "request_id" in line:
                stories[line["request_id"]].append(line)
        return stories

    def ready(self) -> set[str]:
        """Return the workers that say they are."""
        return {line["service"] for line in self if line["message"] == "ready"}

    def tail(self) -> str:
        """Return the end of each process's output, for who looks for what went wrong."""
        return "\n".join(f"{p.name}: {p.read_text()[-2000:]}" for p in self.folder.glob("*.log"))


def main() -> int:
    """Run the example; return 0 if each order's story is complete and nothing is mixed up."""
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        logs = Logs(Path(folder))
        api, partner = free_port(), free_port()
        environment = {
            **os.environ,
            "PYTHONUNBUFFERED": "1",
            "PARTNER_URL": f"http://127.0.0.1:{partner}",
            "ORDERS_RUN": f"orders-{secrets.token_hex(4)}",
        }
        for name, command in {
            "api": ["uvicorn", "api:app", "--port", str(api), "--no-access-log"],
            "billing": ["billing"],
            "mail": ["celery", "-A", "mail", "worker", "--pool", "threads", "--concurrency", "2"],
            "partner": ["uvicorn", "partner:app", "--port", str(partner), "--no-access-log"],
            "shipping": ["shipping"],
        }.items():
            stack.enter_context(running(name, command, environment, logs.folder))
        try:
            await_that(lambda: logs.ready() == {"billing", "mail", "shipping"})
            await_that(lambda: answers(api) and answers(partner))
            trace = stack.enter_context(Trace(Path(folder)))
            with ThreadPoolExecutor() as pool:
                list(pool.map(lambda order: send(api, *order), ORDERS))
            await_that(lambda: all(complete(logs.by_request()[r]) for r, *_ in ORDERS))
            time.sleep(1)  # the last reports are under way
            journey = trace.end(environment["ORDERS_RUN"])
        except TimeoutError as error:
            print(f"{error}\n{logs.tail()}", file=sys.stderr)
            return 1
        finally:
            stories = logs.by_request()
            delete_queues(environment["ORDERS_RUN"])
    mixed = tell(stories)
    print(f"\n{journey}")
    return mixed


class Trace:
    """`mqctx trace`, from before the first order to after the last."""

    def __init__(self, folder: Path) -> None:
        self.output = folder / "trace.txt"
        command = ["trace", "--broker", BROKER, "--where", "request_id=r-*", "--html", PAGE]
        with self.output.open("w") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "mqctx", *command], stdout=output, stderr=output
            )

    def __enter__(self) -> "Trace":
        with suppress(TimeoutError):
            await_that(lambda: is_traced() or self.process.poll() is not None)
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.wait()

    def end(self, run: str) -> str:
        """Return the journey of the first order, or why there is none."""
        self.process.send_signal(signal.SIGINT)
        if self.process.wait(PATIENCE):
            return f"Without the journeys: {self.output.read_text().strip()}"
        lines = self.output.read_text().replace(f"{run}.", "").splitlines()
        first = lines.index(next(line for line in lines if line.startswith(ORDERS[0][0])))
        tree = [lines[first], *takewhile(lambda line: line[0] in "├│└ ", lines[first + 1 :])]
        return "\n".join([*tree, "", lines[-1], f"All of them on a page, for a browser: {PAGE}"])


def is_traced() -> bool:
    """Whether the trace has begun: it marks that with an exchange."""
    with pika.BlockingConnection(pika.URLParameters(BROKER)) as connection:
        try:
            connection.channel().exchange_declare("mqctx.trace", passive=True)
        except pika.exceptions.ChannelClosedByBroker:
            return False
        return True


def tell(stories: dict[str, list[Line]]) -> int:
    """Print the story of each request; return 1 if one has a line of another."""
    mixed = 0
    for request_id, tenant, user, _ in ORDERS:
        print(f"\n{request_id}")
        began = float(stories[request_id][0]["created"])
        for line in stories[request_id]:
            after = (float(line["created"]) - began) * 1000
            is_own = (line["tenant"], line["user"]) == (tenant, user)
            mixed += not is_own
            mark = "" if is_own else "   <- mixed up"
            whose = f"{line['tenant']}/{line['user']}"
            print(f"  {after:6.0f} ms  {line['service']:9} {whose:13} {line['message']}{mark}")
    lines = sum(len(stories[request_id]) for request_id, *_ in ORDERS)
    print(f"\n{len(ORDERS)} requests, {lines} lines of 5 processes, {mixed} mixed up.")
    return 1 if mixed else 0


def complete(story: list[Line]) -> bool:
    """Whether all that belongs to an order has been logged."""
    told = {(line["service"], line["message"]) for line in story}
    return all(any(s == service and m.startswith(text) for s, m in told) for service, text in STORY)


def send(port: int, request_id: str, tenant: str, user: str, item: str) -> None:
    """Order something."""
    headers = {
        "X-Request-Id": request_id,
        "X-Tenant-Id": tenant,
        "Authorization": f"Bearer {user}",
    }
    response = httpx.post(f"http://127.0.0.1:{port}/orders/{item}", headers=headers)
    response.raise_for_status()


@contextmanager
def running(
    name: str, command: list[str], environment: dict[str, str], folder: Path
) -> Iterator[None]:
    """Run a Python module as a process, for as long as the block."""
    with (folder / f"{name}.log").open("w") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", *command],
            cwd=HERE,
            env=environment,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
        try:
            yield
        finally:
            process.terminate()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def await_that(condition: Any) -> None:
    """Wait until `condition()` holds; raise TimeoutError if it never does."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"not everything came about within {PATIENCE:.0f} s")
        time.sleep(0.1)


def delete_queues(run: str) -> None:
    """Leave nothing of this run on the broker."""
    with pika.BlockingConnection(pika.URLParameters(BROKER)) as connection:
        channel = connection.channel()
        for queue in ("billing", "shipping", "mail"):
            channel.queue_delete(f"{run}.{queue}")
        channel.exchange_delete(f"{run}.journeys")


def free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def answers(port: int) -> bool:
    """Whether somebody listens on that port."""
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) == 0


if __name__ == "__main__":
    sys.exit(main())
