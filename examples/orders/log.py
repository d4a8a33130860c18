"""Every process logs JSON to its standard output, with the active context in each line.

It also reports its handlers' runs to `mqctx trace`.
"""

import logging
import sys

from pythonjsonlogger.json import JsonFormatter
from settings import JOURNEYS

import mqctx
from mqctx.formats import TraceContextFormat
from mqctx.logging.stdlib import ContextFilter

# Declared names are fields of a line, whoever sent their values; others go below "context.".
TENANT = mqctx.Variable("tenant", str)
USER = mqctx.Variable("user", str)


def log_as(service: str, level: int = logging.INFO) -> None:
    """Log and report as `service` from now on."""
    mqctx.configure(
        formats=[mqctx.JsonFormat(), TraceContextFormat()], service=service, report=JOURNEYS
    )
    handler = logging.StreamHandler(sys.stdout)
    handler.addFilter(ContextFilter())
    handler.setFormatter(
        JsonFormatter("%(created)f %(name)s %(message)s", static_fields={"service": service})
    )
    logging.basicConfig(level=level, handlers=[handler], force=True)
    for noisy in ("pika", "httpx", "httpcore", "celery", "amqp", "aiormq", "uvicorn"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
