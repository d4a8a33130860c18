"""Stands for a partner's API: an ASGI application without any framework."""

import logging
from typing import Any

from log import log_as

from mqctx.middleware.asgi import ContextMiddleware

log_as("partner")
log = logging.getLogger("orders.partner")


async def parcels(scope: Any, receive: Any, send: Any) -> None:
    """Take a parcel."""
    if scope["type"] != "http":
        raise NotImplementedError(scope["type"])  # of a lifespan: none is needed
    log.info("parcel taken")
    await send({"type": "http.response.start", "status": 201, "headers": []})
    await send({"type": "http.response.body", "body": b"{}"})


app = ContextMiddleware(parcels, headers={"tenant": "X-Tenant-Id", "user": "X-User"})
