"""A typed accessor for one name of the context."""

from collections.abc import Callable
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Final, Generic, ParamSpec, TypeVar, cast, overload

from mqctx._core.active import bind, scope
from mqctx._core.declaration import Declaration, declare
from mqctx._core.declared_type import refuse_type
from mqctx._core.linked_vars import link
from mqctx._core.registry import registry
from mqctx._core.scope import Scope
from mqctx._core.settings import check_flag
from mqctx._core.store import active_store, current, last_version
from mqctx._core.values import check_name
from mqctx.errors import ConfigurationError, InvalidValueError, MissingValueError

if TYPE_CHECKING:
    from typing_extensions import TypeForm  # PEP 747; not needed when the code runs

P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T")

_NO_DEFAULT: Final = object()


class Variable(Generic[T]):
    """A typed accessor for one name of the context. Declare it once, at module level.

    Values of the type travel as JSON and have that type again on arrival: the types of JSON, and
    UUID, date and time types, Decimal, Enum, Literal, a dataclass, a msgspec Struct, a pydantic
    model.

    Args:
        name: An identifier (`.` and `-` allowed inside) of at most 64 characters.
        type: The type of the values. Checked when a value is set, and on arrival.
        default: The result of `get` without a value: of the type, or None. Without a default,
            `get` raises.
        local: The values never leave the process, and may be of any type.
        contextvar: Another library's ContextVar that holds the value: read when the context
            is captured, set and reset when one is restored. Without a value it holds its own
            default, or None.

    Raises:
        InvalidNameError: `name` cannot be a name.
        ConfigurationError: `name` is already declared with another type or locality; no value of
            that type can travel; `default` is none of its values; or `contextvar` is none.
    """

    __slots__ = ("_declaration", "_default", "_name")

    @overload
    def __init__(
        self,
        name: str,
        type: type[T],
        *,
        default: T = ...,
        local: bool = ...,
        contextvar: ContextVar[Any] | None = ...,
    ) -> None: ...

    # Unions, Literal and other forms that are no classes.
    @overload
    def __init__(
        self,
        name: str,
        type: "TypeForm[T]",
        *,
        default: T = ...,
        local: bool = ...,
        contextvar: ContextVar[Any] | None = ...,
    ) -> None: ...

    def __init__(
        self,
        name: str,
        type: Any,
        *,
        default: Any = _NO_DEFAULT,
        local: bool = False,
        contextvar: ContextVar[Any] | None = None,
    ) -> None:
        check_flag("local", local)
        _check_contextvar(contextvar)
        self._declaration = Declaration(name, type, local)
        self._default = default
        self._name = name
        check_name(name)
        if not local:
            refuse_type(name, type)
        if default is not _NO_DEFAULT and default is not None:
            _check_default(self._declaration, default)
        declare(self._declaration)
        if contextvar is not None:
            link(name, contextvar)

    @property
    def name(self) -> str:
        """The name of the value in the context."""
        return self._name

    def get(self) -> T:
        """Return the value in the active context, or the default.

        Raises:
            MissingValueError: there is neither.
        """
        # Read directly: a call of `current` takes longer than all else.
        store, name = active_store(), self._name
        version = store.later
        if version is None:
            context = store.context
        elif version.later is None:
            context = version.context
        else:
            context = last_version(version).context
        if name in registry.linked:
            context = store.now()
        try:
            return context.by_name[name]  # type: ignore[no-any-return]  # checked when it was set
        except KeyError:
            return self._default_value()

    def _default_value(self) -> T:
        if self._default is _NO_DEFAULT:
            raise MissingValueError(
                f"{self.name}: the active context has no such value; set it first with "
                f"scope({self.name}=...), or give Variable({self.name!r}, ...) a default"
            )
        return cast("T", self._default)

    def run(self, value: T, function: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> R:
        """Call `function` inside the active context plus this value, and return what it returns."""
        return (current() | {self.name: value}).run(function, *args, **kwargs)

    def bind(self, value: T) -> None:
        """Add the value to the innermost run or scope that is under way, as `mqctx.bind` does.

        Raises:
            InactiveError: no run and no scope is active.
        """
        bind({self.name: value})

    def scope(self, value: T) -> Scope:
        """Return a `with` block, or decorator, in which the value is added to the context."""
        return scope({self.name: value})

    def __repr__(self) -> str:
        declared = self._declaration
        local = ", local=True" if declared.local else ""
        return f"Variable({declared.name!r}, {declared.type!r}{local})"


def _check_contextvar(given: object) -> None:
    if not isinstance(given, ContextVar | None):
        raise ConfigurationError(f"contextvar: expected a ContextVar, got {given!r}")


def _check_default(declaration: Declaration, default: object) -> None:
    try:
        declaration.check(default)
    except InvalidValueError as error:
        raise ConfigurationError(f"default: {error}; None is a default for every type") from None
