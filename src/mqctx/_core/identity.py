"""The names of this service and its functions, in records that leave the process."""

import functools
import os
import sys
from pathlib import PurePath
from typing import Any

from mqctx._core.registry import registry
from mqctx._core.values import type_name


def service_name() -> str:
    """Return the name from `configure`, else OpenTelemetry's, else that of the program."""
    return registry.service or os.environ.get("OTEL_SERVICE_NAME") or _program_name()


def _program_name() -> str:
    # Under `python -m package` the first argument is the path of a module in it.
    spec = getattr(sys.modules.get("__main__"), "__spec__", None)
    if spec is not None and spec.name:
        return str(spec.name).removesuffix(".__main__")
    arguments: list[str] = getattr(sys, "argv", [])  # an embedded interpreter may have none
    name = PurePath(arguments[0]).name if arguments else ""
    return "python" if name in ("", "-", "-c") else name  # read from a pipe, or given as `-c`


def function_name(function: Any) -> str:
    """Return the qualified name of a function, or of the class of an object that is called."""
    while isinstance(function, functools.partial):
        function = function.func
    name = getattr(function, "__qualname__", None)
    if not isinstance(name, str):
        return type_name(type(function))
    module = getattr(function, "__module__", None)
    return f"{module}.{name}" if module else name
