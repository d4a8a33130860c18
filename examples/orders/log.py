"""Every process logs JSON to its standard output, with the active context in each line."""

import logging
import sys

from pythonjsonlogger.json import JsonFormatter

import mqctx
from mqctx.logging.stdlib import ContextFilter

# Declared names are fields of a line, whoever sent their values; others go below "context.".
TENANT = mqctx.Variable("tenant", str)
USER = mqctx.Variable("user", str)


def log_as(service: str, level: int = logging.INFO) -> None:
    """Log as `service` from now on."""
    handler = logging.StreamHandler(sys.stdout)
    handler.addFilter(ContextFilter())
    handler.setFormatter(
        JsonFormatter("%(created)f %(name)s %(message)s", static_fields={"service": service})
    )
    logging.basicConfig(level=level, handlers=[handler], force=True)
    for noisy in ("pika", "httpx", "httpcore", "celery", "amqp", "aiormq", "uvicorn"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
