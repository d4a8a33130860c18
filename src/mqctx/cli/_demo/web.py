"""The web service, where requests get their context. Works on any client."""

import asyncio
from collections.abc import Sequence
from typing import Final, Protocol

import mqctx
from mqctx.cli._demo.journal import Service
from mqctx.cli._demo.stage import Stage
from mqctx.cli._demo.story import LEGACY_ORDER, REQUESTS

_QUERY_SECONDS: Final = 0.03


class Outbox(Protocol):
    """The way to the queue of orders, on one client."""

    async def send(self, order: str) -> None:
        """Publish with the context: through mqctx."""

    async def send_without_context(self, order: str) -> None:
        """Publish as the client does by itself."""


async def serve(stage: Stage, client: str, outbox: Outbox) -> None:
    """Serve all requests at the same time; then let the legacy system send its order."""
    web = stage.service("web", client)
    served = [
        mqctx.run(request.begun, handle_request, web, outbox, request.orders)
        for request in REQUESTS
    ]
    await asyncio.gather(*served)
    stage.service("legacy", client).says(f"sends {LEGACY_ORDER}")
    await outbox.send_without_context(LEGACY_ORDER)


async def handle_request(web: Service, outbox: Outbox, orders: Sequence[str]) -> None:
    """Place the orders of one request. Only the context says whose they are."""
    web.says("request arrives")
    for order in orders:
        await asyncio.sleep(_QUERY_SECONDS)  # A database, say; the other request goes on.
        web.says(f"sends {order}")
        await outbox.send(order)
    web.says("request is answered")
