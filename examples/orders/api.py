"""Takes orders over HTTP, and publishes them: FastAPI and aio-pika."""

import json
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated

import aio_pika
from fastapi import Depends, FastAPI, Header, HTTPException
from log import log_as
from settings import BILLING, BROKER

import mqctx
from mqctx.adapters.aio_pika import publish
from mqctx.middleware.asgi import ContextMiddleware

log_as("api")
log = logging.getLogger("orders.api")


@asynccontextmanager
async def connected(app: FastAPI) -> AsyncIterator[None]:
    """Keep a connection to the broker for as long as the application runs."""
    async with await aio_pika.connect_robust(BROKER) as connection:
        app.state.channel = await connection.channel()
        await app.state.channel.declare_queue(BILLING)
        yield


app = FastAPI(lifespan=connected)
app.add_middleware(ContextMiddleware, headers={"tenant": "X-Tenant-Id"})


def authenticated(authorization: Annotated[str, Header()]) -> str:
    """Bind the user for the rest of the request, and for all that comes of it."""
    kind, _, user = authorization.partition(" ")
    if kind != "Bearer" or not user:
        raise HTTPException(401)
    mqctx.bind(user=user)
    return user


@app.post("/orders/{item}", status_code=202, dependencies=[Depends(authenticated)])
async def order(item: str) -> dict[str, str]:
    """Take an order."""
    log.info("order received: %s", item)
    message = aio_pika.Message(json.dumps({"item": item}).encode())
    await publish(app.state.channel.default_exchange, message, routing_key=BILLING)
    return {"item": item, "status": "accepted"}
