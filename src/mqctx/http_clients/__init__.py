"""HTTP out: calls carry the context to the services that may have it."""

from mqctx.http_clients._policy import Settings

__all__ = ["Settings"]
