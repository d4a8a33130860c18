"""The files that `mqctx trace` writes."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Final

import click

from mqctx.cli._tracing.run import Sink
from mqctx.inspection._journeys._chrome import chrome_file
from mqctx.inspection._journeys._otlp import otlp_file
from mqctx.inspection._pages import journeys_page

__all__ = ["files_of"]

_WRITERS: Final[tuple[Callable[[Path], AbstractContextManager[Sink]], ...]] = (
    journeys_page, otlp_file, chrome_file
)  # fmt: skip


def files_of(
    html: Path | None, otlp: Path | None, chrome: Path | None
) -> list[AbstractContextManager[Sink]]:
    """Return the files that were asked for. They are opened when they are entered.

    Raises:
        UsageError: two of them are the same.
    """
    paths = (html, otlp, chrome)
    files = {
        path.resolve(): write(path)
        for write, path in zip(_WRITERS, paths, strict=True)
        if path is not None
    }
    if len(files) + paths.count(None) < len(paths):
        raise click.UsageError("--html, --otlp and --chrome need a file each")
    return [*files.values()]
