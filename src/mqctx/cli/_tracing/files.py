"""The files that `mqctx trace` writes."""

from contextlib import AbstractContextManager
from pathlib import Path

from mqctx.cli._tracing.run import Sink
from mqctx.inspection._journeys._chrome import chrome_file
from mqctx.inspection._journeys._otlp import otlp_file
from mqctx.inspection._pages import journeys_page

__all__ = ["files_of"]


def files_of(
    html: Path | None, otlp: Path | None, chrome: Path | None
) -> list[AbstractContextManager[Sink]]:
    """Return the files that were asked for. They are opened when they are entered."""
    files: list[AbstractContextManager[Sink]] = []
    if html is not None:
        files.append(journeys_page(html))
    if otlp is not None:
        files.append(otlp_file(otlp))
    if chrome is not None:
        files.append(chrome_file(chrome))
    return files
