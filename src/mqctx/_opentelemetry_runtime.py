"""The runtime context of OpenTelemetry: attaching a context makes active the one that it brought.

A module of its own because `opentelemetry.context` loads it during its own import. So import this
one only after it.
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
    """Return the context that an OpenTelemetry context brought; None if none was read."""
    return cast("Context | None", otel.get(_KEY))


def set_in_context(context: Context, otel: OtelContext) -> OtelContext:
    """Return an OpenTelemetry context that brings `context`, with the entries of `otel`."""
    return OtelContext({**otel, _KEY: context})


class RuntimeContext(ContextVarsRuntimeContext):
    """OpenTelemetry's own, with a scope for as long as a context that brought one is attached.

    Chosen as `mqctx` in OTEL_PYTHON_CONTEXT. The scope has exactly the context that was brought;
    it is empty if an OpenTelemetry context that brought none replaces one that did. If neither
    did, the active context stays; if there is none, and a message or request without context was
    read, an empty run begins.
    """

    def attach(self, context: OtelContext) -> Token[OtelContext]:
        """Make `context` OpenTelemetry's current one, and the context that it brought active."""
        # Before it is attached: afterwards, this is the current one itself.
        brought, before = get_from_context(context), get_from_context(self.get_current())
        token = super().attach(context)
        if brought is before or (not brought and not before and active_store().active):
            return token
        scope = (brought or EMPTY).scope()
        scope.__enter__()
        return cast("Token[OtelContext]", _Attached(token, scope))  # only `detach` looks inside

    def detach(self, token: "Token[OtelContext] | _Attached") -> None:
        """Undo the `attach` that gave `token`."""
        # The scope ends first, as it began last.
        if isinstance(token, _Attached):
            token.scope.__exit__(None, None, None)
            token = token.token
        super().detach(token)


class _Attached(NamedTuple):
    """The token of an `attach` that entered a scope."""

    token: Token[OtelContext]
    scope: Scope
