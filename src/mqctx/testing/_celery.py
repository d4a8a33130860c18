"""Celery: what a worker would receive."""

# Celery comes without types.
# pyright: reportMissingTypeStubs=false, reportUnknownVariableType=false

from collections.abc import Sequence
from typing import Any, cast
from uuid import uuid4

from celery.worker.request import Request
from kombu.serialization import dumps

from mqctx.testing._kombu import delivered
from mqctx.testing._wire import written


def celery_request(task: Any, args: Sequence[Any] = (), /, **values: object) -> Any:
    """Return the `celery.worker.request.Request` with which a worker would run `task(*args)`.

    It brings a context of exactly `values`. `request.execute()` runs the task as a worker does: in
    that context if the app is instrumented. Arguments and headers went through the serializer of
    the task and py-amqp's encoder and decoder; `settled(request)` tells what was acknowledged.

    Args:
        task: The task, which may be a proxy of one (`shared_task`).
        args: Its positional arguments.
        values: The values of the context.

    Raises:
        InvalidNameError: a name is not an identifier (`.` and `-` allowed), or over 64 characters.
        InvalidValueError: a value cannot travel, or does not fit its declared variable.
        OversizeError: the values take more bytes than the default propagator allows.
        ConfigurationError: a value is local, or the default propagator's formats have no place
            for it.
    """
    app = task.app
    sent = app.amqp.as_task_v2(
        str(uuid4()), task.name, tuple(args), ignore_result=task.ignore_result
    )
    serializer = task.serializer or app.conf.task_serializer
    content_type, content_encoding, payload = cast("Any", dumps)(sent.body, serializer)
    properties = {"content_type": content_type, "content_encoding": content_encoding}
    headers = written(values, sent.headers)
    message: Any = delivered(payload, headers, {**properties, **sent.properties})
    return Request(
        message,
        on_ack=message.ack_log_error,
        on_reject=message.reject_log_error,
        app=app,
        task=app.tasks[task.name],
    )
