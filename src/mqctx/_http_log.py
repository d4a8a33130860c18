"""The log line of an HTTP request that came in or went out: one schema, one precision."""

import logging
from collections.abc import Mapping

from mqctx._core.reports import report_once
from mqctx._core.values import printable


def log_request(
    logger: logging.Logger,
    text: str,
    attributes: Mapping[str, str | int | None],
    seconds: float,
    error: str | None,
) -> None:
    """Log an INFO line for a finished request; the record has its fields as attributes.

    They are named as in OpenTelemetry's semantic conventions for HTTP; one without a value is left
    out. The duration is `http.request.duration_ms`, to the microsecond. A stranger may have
    written any of the texts: each is escaped, and cut at 1,000 characters. `text` refers to fields
    by name, as `%(url.path)s`.
    """
    milliseconds = round(seconds * 1000, 3)
    known = {**attributes, "error.type": error, "http.request.duration_ms": milliseconds}
    shown = {
        name: printable(value) if isinstance(value, str) else value
        for name, value in known.items()
        if value is not None
    }
    report_once("request", logger.info, text, shown, extra=shown)
