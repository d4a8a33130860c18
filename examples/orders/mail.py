"""Confirms orders by mail: a Celery task."""

import json
import logging

from celery import Celery, signals
from log import log_as
from settings import BROKER, MAIL

from mqctx.adapters.celery import instrument

log = logging.getLogger("orders.mail")
app = Celery("mail", broker=BROKER)
app.conf.update(
    task_default_queue=MAIL,
    task_ignore_result=True,
    worker_enable_remote_control=False,
    broker_connection_retry_on_startup=True,
)
instrument(app)


@signals.setup_logging.connect
def log_to_standard_output(**_: object) -> None:
    """Keep Celery from setting up the logs of its worker in its own way."""
    log_as("mail")


@signals.worker_ready.connect
def say_ready(**_: object) -> None:
    """Say that tasks are taken."""
    log.info("ready")


@app.task(name="mail.confirm")
def confirm(order: str) -> None:
    """Send a mail."""
    log.info("mail sent: your %s is on its way", json.loads(order)["item"])
