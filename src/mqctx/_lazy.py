"""Names whose modules are loaded when somebody asks for them."""

from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any

__all__ = ["names_of", "when_called"]


def names_of(module: str, package: str | None, modules: Mapping[str, str]) -> Callable[[str], Any]:
    """Return the `__getattr__` of `module`: each name is taken from its module of `package`.

    Raises:
        AttributeError: when called with another name.
    """

    def load(name: str) -> Any:
        if name not in modules:
            raise AttributeError(f"module {module!r} has no attribute {name!r}")
        # Not kept in the module's own dict: what a test patches there is asked for each time.
        return getattr(import_module(f"{package}.{modules[name]}"), name)

    return load


def when_called(module: str, name: str) -> Callable[..., Any]:
    """Return a function that loads `module`, and calls the function of that name there."""

    def call(*args: Any, **kwargs: Any) -> Any:
        return getattr(import_module(module), name)(*args, **kwargs)

    return call
