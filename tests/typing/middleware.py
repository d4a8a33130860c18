"""The middlewares as type checkers see them. Never executed."""

from typing import Any

from fastapi import FastAPI
from litestar import Litestar
from litestar.middleware import DefineMiddleware
from starlette.applications import Starlette
from starlette.middleware import Middleware

from mqctx.middleware import asgi, wsgi


def frameworks_take_it_with_its_settings(app: FastAPI) -> None:
    app.add_middleware(asgi.ContextMiddleware, headers={"tenant": "X-Tenant-Id"}, trace=False)
    Starlette(middleware=[Middleware(asgi.ContextMiddleware, quiet_paths=["/health"])])
    Litestar(middleware=[asgi.ContextMiddleware])
    Litestar(middleware=[DefineMiddleware(asgi.ContextMiddleware, trust_client=False)])


def it_goes_around_applications(app: FastAPI, other: Litestar, any_app: Any) -> None:
    asgi.ContextMiddleware(asgi.ContextMiddleware(app), access_log=False)
    asgi.ContextMiddleware(other, request_id_header="X-Correlation-Id")
    wsgi.ContextMiddleware(wsgi.ContextMiddleware(any_app, headers={"tenant": "X-Tenant-Id"}))


def settings_are_checked(app: FastAPI) -> None:
    asgi.ContextMiddleware(app, header={})  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    wsgi.ContextMiddleware(app, trace="yes")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
