"""A program that an old neighbour runs: `python -m ... publish|consume CLIENT URL QUEUE`.

It publishes one message in a context of all that may travel, or consumes it and compares.
"""

import sys

from mqctx import Context, Variable, current
from tests.drivers.clients import CLIENTS
from tests.integration.test_nine_pairs import DECLARED, VALUES, shape


def everything() -> Context:
    """Return a context with a value of each kind; declare the variables that it needs."""
    for name, value in DECLARED.items():
        Variable(name, type(value))
    return Context(VALUES | DECLARED)


def publish_both(client: str, url: str, queue: str) -> None:
    """Publish one message with everything, and one without context."""
    CLIENTS[client].publish(url, queue, (everything(), b"full"), ({}, b"empty"))


def consume_both(client: str, url: str, queue: str) -> None:
    """Consume both; raise AssertionError where anything is not as it was sent."""
    sent, arrived = everything(), list[tuple[bytes, Context]]()
    CLIENTS[client].consume(url, queue, 2, lambda body: arrived.append((body, current())))
    assert arrived == [(b"full", sent), (b"empty", Context())]
    assert shape(dict(arrived[0][1])) == shape(dict(sent))


if __name__ == "__main__":
    {"publish": publish_both, "consume": consume_both}[sys.argv[1]](*sys.argv[2:])
