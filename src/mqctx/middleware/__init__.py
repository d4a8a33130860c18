"""HTTP in: each request gets a context, in ASGI and WSGI applications."""

from mqctx.middleware._settings import Settings

__all__ = ["Settings"]
