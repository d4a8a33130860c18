"""The clients, each with the same three functions, so that one test is for all of them."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import Any

import aiohttp
import httpx
import pytest
import requests
from requests.adapters import HTTPAdapter

import mqctx
from mqctx.http_clients.aiohttp import ContextMiddleware
from mqctx.http_clients.httpx import AsyncContextTransport, ContextTransport
from mqctx.http_clients.requests import ContextAdapter

OURS = ["127.0.0.1"]
Own = Mapping[str, str] | None


@dataclass(frozen=True)
class HttpClient:
    """One HTTP client, as its tests need it."""

    get: Callable[..., int]
    """`get(url, own_headers=None, **settings)`: the status, after redirects."""
    stream: Callable[..., bytes]
    """`stream(url, release, **settings)`: a body, read to its end; `release` after its start."""
    together: Callable[..., None]
    """`together(url, request_ids, **settings)`: as many calls at once, one in each context."""
    refused: type[Exception]
    """The error that it raises if nobody listens."""


@contextmanager
def httpx_client(**settings: Any) -> Iterator[httpx.Client]:
    transport = ContextTransport(httpx.HTTPTransport(verify=False), **settings)
    with httpx.Client(transport=transport, follow_redirects=True) as client:
        yield client


@asynccontextmanager
async def httpx_async_client(**settings: Any) -> AsyncIterator[httpx.AsyncClient]:
    transport = AsyncContextTransport(httpx.AsyncHTTPTransport(verify=False), **settings)
    async with httpx.AsyncClient(transport=transport, follow_redirects=True) as client:
        yield client


@contextmanager
def requests_session(**settings: Any) -> Iterator[requests.Session]:
    with requests.Session() as session:
        session.trust_env = False
        session.mount("http://", ContextAdapter(HTTPAdapter(pool_maxsize=50), **settings))
        yield session


@asynccontextmanager
async def aiohttp_session(**settings: Any) -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(middlewares=[ContextMiddleware(**settings)]) as session:
        yield session


def httpx_get(url: str, own: Own = None, **settings: Any) -> int:
    with httpx_client(**settings) as client:
        return client.get(url, headers=own).status_code


def httpx_stream(url: str, release: Callable[[], None], **settings: Any) -> bytes:
    with httpx_client(**settings) as client, client.stream("GET", url) as response:
        chunks = response.iter_raw()
        start = next(chunks)
        release()
        return start + b"".join(chunks)


def httpx_together(url: str, request_ids: Sequence[str], **settings: Any) -> None:
    with httpx_client(**settings) as client:
        each_in_a_thread(lambda request_id: client.get(f"{url}?{request_id}"), request_ids)


def httpx_async_get(url: str, own: Own = None, **settings: Any) -> int:
    async def get() -> int:
        async with httpx_async_client(**settings) as client:
            return (await client.get(url, headers=own)).status_code

    return asyncio.run(get())


def httpx_async_stream(url: str, release: Callable[[], None], **settings: Any) -> bytes:
    async def stream() -> bytes:
        async with httpx_async_client(**settings) as client, client.stream("GET", url) as response:
            chunks = response.aiter_raw()
            start = await anext(chunks)
            release()
            return start + b"".join([chunk async for chunk in chunks])

    return asyncio.run(stream())


def httpx_async_together(url: str, request_ids: Sequence[str], **settings: Any) -> None:
    async def together() -> None:
        async with httpx_async_client(**settings) as client:
            await each_in_a_task(lambda request_id: client.get(f"{url}?{request_id}"), request_ids)

    asyncio.run(together())


def requests_get(url: str, own: Own = None, **settings: Any) -> int:
    with requests_session(**settings) as session:
        return session.get(url, headers=own).status_code


def requests_stream(url: str, release: Callable[[], None], **settings: Any) -> bytes:
    with requests_session(**settings) as session, session.get(url, stream=True) as response:
        chunks: Iterator[bytes] = response.iter_content(chunk_size=None)
        start = next(chunks)
        release()
        return start + b"".join(chunks)


def requests_together(url: str, request_ids: Sequence[str], **settings: Any) -> None:
    with requests_session(**settings) as session:
        each_in_a_thread(lambda request_id: session.get(f"{url}?{request_id}"), request_ids)


def aiohttp_get(url: str, own: Own = None, **settings: Any) -> int:
    async def get() -> int:
        async with aiohttp_session(**settings) as session, session.get(url, headers=own) as answer:
            return answer.status

    return asyncio.run(get())


def aiohttp_stream(url: str, release: Callable[[], None], **settings: Any) -> bytes:
    async def stream() -> bytes:
        async with aiohttp_session(**settings) as session, session.get(url) as response:
            start = await response.content.readany()
            release()
            return start + await response.read()

    return asyncio.run(stream())


def aiohttp_together(url: str, request_ids: Sequence[str], **settings: Any) -> None:
    async def together() -> None:
        async with aiohttp_session(**settings) as session:

            async def get(request_id: str) -> None:
                async with session.get(f"{url}?{request_id}") as response:
                    await response.read()

            await each_in_a_task(get, request_ids)

    asyncio.run(together())


def each_in_a_thread(call: Callable[[str], object], request_ids: Sequence[str]) -> None:
    def one(request_id: str) -> None:
        mqctx.run({"request_id": request_id}, call, request_id)

    with ThreadPoolExecutor(len(request_ids)) as pool:
        list(pool.map(one, request_ids))


async def each_in_a_task(call: Callable[[str], Any], request_ids: Sequence[str]) -> None:
    async def one(request_id: str) -> None:
        with mqctx.scope(request_id=request_id):
            await call(request_id)

    await asyncio.gather(*map(one, request_ids))


CLIENTS = {
    "httpx": HttpClient(httpx_get, httpx_stream, httpx_together, httpx.ConnectError),
    "httpx async": HttpClient(
        httpx_async_get, httpx_async_stream, httpx_async_together, httpx.ConnectError
    ),
    "requests": HttpClient(
        requests_get, requests_stream, requests_together, requests.exceptions.ConnectionError
    ),
    "aiohttp": HttpClient(
        aiohttp_get, aiohttp_stream, aiohttp_together, aiohttp.ClientConnectorError
    ),
}
every_client = pytest.mark.parametrize("client", CLIENTS.values(), ids=CLIENTS)
