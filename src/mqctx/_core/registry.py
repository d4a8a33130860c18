"""The state of the process, in one object that can be saved and put back."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, Generic, TypeAlias, TypeVar

import msgspec

if TYPE_CHECKING:
    from mqctx._core.declaration import Declaration
    from mqctx._core.linked_vars import LinkedVar

_NAMED: Final = ("request_id", "trace_id", "span_id", "trace_flags", "tracestate")
PropagatorT = TypeVar("PropagatorT")
Change: TypeAlias = "Callable[[Registry[Any]], object]"
"""Changes the registry that it is given."""


class Registry(msgspec.Struct, Generic[PropagatorT], eq=False):
    """The state of the process. Any thread may change it, and none waits for another.

    So each change is one step of the interpreter, and iteration is over a copy: a lock could be
    held for ever in a forked child, or by code that a signal handler interrupted.
    """

    propagator: PropagatorT
    """The default one, which `configure` set last."""
    declarations: "dict[str, Declaration]" = {}
    """The declarations of variables, by name."""
    local: set[str] = set()
    """Names that are declared local."""
    undeclared: set[str] = set()
    """Names that were checked, and are not declared: a cache of bounded size.

    Each declaration begins another set. So a result that was computed with this set, and is kept,
    is valid for as long as this set is in place.
    """
    texts: set[str] = set()
    """Names that are declared as `str`."""
    linked: "dict[str, LinkedVar]" = {}
    """ContextVars of other libraries, by the name whose value they hold."""
    links: "tuple[LinkedVar, ...]" = ()
    """The values of `linked`: what is iterated for each message, without a copy."""
    named: set[str] = msgspec.field(default_factory=lambda: {*_NAMED})
    """Names that this process chose without a declaration, so that a log line may have them."""
    quiet_until: dict[tuple[str, ...], float] = {}
    """When a kind of rejection is logged again."""
    service: str | None = None
    """The name of this service, if `configure` was given one."""
    report: str | None = None
    """The exchange to which the runs of handlers are reported, if `configure` was given one."""
    witnesses: tuple[Callable[[Any], object], ...] = ()
    """Called with each rejection, whatever else happens to it."""
    watch: Callable[[Change], object] | None = None
    """Called with each change that an application makes, so that it can be repeated."""

    def change(self, change: Change) -> None:
        """Make a change on behalf of the application."""
        change(self)
        if self.watch is not None:
            self.watch(change)

    def snapshot(self) -> "Registry[PropagatorT]":
        """Return a copy, for `restore`."""
        return Registry(
            self.propagator,
            self.declarations.copy(),
            self.local.copy(),
            self.undeclared.copy(),
            self.texts.copy(),
            self.linked.copy(),
            self.links,
            self.named.copy(),
            self.quiet_until.copy(),
            self.service,
            self.report,
            self.witnesses,
            self.watch,
        )

    def restore(self, saved: "Registry[PropagatorT]") -> None:
        """Put back the state that was `saved`, which can be restored again."""
        # A copy once more: what is declared from now on must not get into what was saved.
        copy = saved.snapshot()
        for field in self.__struct_fields__:
            setattr(self, field, getattr(copy, field))


registry: Registry[Any] = Registry(None)
"""The registry of this process. `mqctx` sets its propagator on import."""
