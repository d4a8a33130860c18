"""The story: two requests, and a system that has never heard of mqctx."""

from collections.abc import Mapping, Sequence
from typing import Final

import msgspec

from mqctx.formats.trace_context import start_trace


class Request(msgspec.Struct, frozen=True):
    """A request to the web service: its context, and the orders to place."""

    context: Mapping[str, str]
    orders: Sequence[str]
    trace: Mapping[str, str] = msgspec.field(default_factory=start_trace)
    """The span that the web service begins with."""

    @property
    def begun(self) -> Mapping[str, str]:
        """The context in which the request begins."""
        return {**self.context, **self.trace}


REQUESTS: Final = (
    Request(
        {"request_id": "r-1", "user": "ada", "tenant": "acme"},
        ("order 1001, 3 books", "order 1002, 1 lamp"),
    ),
    Request(
        {"request_id": "r-2", "user": "grace", "tenant": "initech"},
        ("order 2001, 2 bowls", "order 2002, 5 cups"),
    ),
)
LEGACY_ORDER: Final = "order 9001, 1 pen"
WORKERS: Final = ("billing", "shipping")

SENT_IN: Final[Mapping[str, Mapping[str, str]]] = {
    **{order: request.context for request in REQUESTS for order in request.orders},
    LEGACY_ORDER: {},
}
"""The context that each order is sent in, which every handler must see."""
