"""A Celery application whose one task logs in each way there is: `python -m tests.logging.shop`."""

import logging
import logging.config
import sys
from typing import Any

from celery import Celery
from celery.app.log import TaskFormatter
from celery.signals import after_setup_logger, after_setup_task_logger, setup_logging
from celery.utils.log import get_task_logger

import mqctx
from mqctx.logging.stdlib import ContextFilter
from tests.logging.site import LOGGING

app = Celery("shop", broker="memory://")
app.conf.broker_transport_options = {"polling_interval": 0.02}  # it asks once a second else

FORMATTER = logging.Formatter("%(name)s: %(message)s [%(context)s]")
TASK_FORMATTER = TaskFormatter("task %(task_name)s: %(message)s [%(context)s]", use_color=False)


@app.task(name="bill")
def bill(request_id: str) -> None:
    with mqctx.scope(request_id=request_id):
        get_task_logger("orders").info("by a task's logger")
        logging.getLogger("library").warning("by a library")
        print("printed")  # noqa: T201 - the worker makes a record of it
    get_task_logger("orders").info("done")


def show_context(logger: logging.Logger, **_: object) -> None:
    """Show the context in the lines of Celery's own handlers."""
    for handler in logger.handlers:
        # Not in `worker_log_format`: Celery gives that to a logger that no signal tells of, too.
        handler.setFormatter(TASK_FORMATTER if logger.name == "celery.task" else FORMATTER)
        handler.addFilter(ContextFilter(attribute="context"))


def configure(**_: object) -> None:
    """Log as the site does, in place of Celery's own way."""
    logging.config.dictConfig(LOGGING)


def main(way: str, *arguments: str) -> None:
    """Send the task, and be the worker that runs it."""
    if way == "signals":
        after_setup_logger.connect(show_context)
        after_setup_task_logger.connect(show_context)
    else:
        setup_logging.connect(configure)
    task: Any = bill
    task.delay("r-1")
    alone = ("--without-mingle", "--without-gossip", "--without-heartbeat")
    app.worker_main(["worker", "--loglevel=INFO", "--concurrency=1", *alone, *arguments])


if __name__ == "__main__":
    main(*sys.argv[1:])
