"""Where OpenTelemetry keeps its current context, so that what that brought is active here too.

A module of its own, for OpenTelemetry to load: `opentelemetry.context` does it while that is being
imported itself, so import this one only after it.
"""

from contextvars import Token
from typing import Final, NamedTuple, cast

from opentelemetry.context.context import Context as OtelContext
from opentelemetry.context.contextvars_context import ContextVarsRuntimeContext

from mqctx._core.context import EMPTY, Context
from mqctx._core.scope import Scope
from mqctx._core.store import active_store

__all__ = ["RuntimeContext", "get_from_context", "set_in_context"]

_KEY: Final = "mqctx.context"


def get_from_context(otel: OtelContext) -> Context | None:
    """Return the context that an OpenTelemetry context brought; None if none was looked for."""
    return cast("Context | None", otel.get(_KEY))


def set_in_context(context: Context, otel: OtelContext) -> OtelContext:
    """Return an OpenTelemetry context that brings `context`, and all else that is in `otel`."""
    return OtelContext({**otel, _KEY: context})


class RuntimeContext(ContextVarsRuntimeContext):
    """OpenTelemetry's own, with a scope for as long as what brought a context is attached.

    Chosen as `mqctx` in OTEL_PYTHON_CONTEXT. In the scope is exactly what was brought: nothing,
    where an OpenTelemetry context that brought nothing takes the place of one that did. Where
    neither did, what is active stays so; if nothing is, and a message or request was read that
    brought nothing, an empty run begins.
    """

    def attach(self, context: OtelContext) -> Token[OtelContext]:
        """Make `context` OpenTelemetry's current one, and active what it brought."""
        brought, before = get_from_context(context), get_from_context(self.get_current())
        token = super().attach(context)
        if brought is before or not (brought or before or not active_store().active):
            return token
        scope = (brought or EMPTY).scope()
        scope.__enter__()
        return cast("Token[OtelContext]", _Attached(token, scope))  # only `detach` looks inside

    def detach(self, token: "Token[OtelContext] | _Attached") -> None:
        """Undo the `attach` that gave `token`."""
        if isinstance(token, _Attached):
            token.scope.__exit__(None, None, None)
            token = token.token
        super().detach(token)


class _Attached(NamedTuple):
    """What `attach` did, where a scope is part of it."""

    token: Token[OtelContext]
    scope: Scope
