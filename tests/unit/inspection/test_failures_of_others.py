"""Failures that other libraries write into dead letters."""

from typing import Any

import pytest

from mqctx.inspection._other_failures import failure_of_others

from .messages import message

STACK = (
    "java.lang.IllegalStateException: outer\n\tat A.b(A.java:3)\nCaused by: x.y.Full: disk\n\tat C"
)
CASES: list[tuple[str, dict[str, Any], dict[str, Any]]] = [
    (
        "Spring AMQP",
        {
            "x-exception-message": "cannot",
            "x-exception-stacktrace": STACK,
            "x-original-exchange": "orders",
            "x-original-routingKey": "orders.created",
        },
        {
            "type": "x.y.Full",
            "message": "cannot",
            "traceback": STACK,
            "exchange": "orders",
            "routing_key": "orders.created",
        },
    ),
    (
        "MassTransit",
        {
            "MT-Fault-ExceptionType": "System.TimeoutException",
            "MT-Fault-Message": "too late",
            "MT-Fault-StackTrace": "at X()",
            "MT-Fault-InputAddress": "rabbitmq://host/vhost/orders?durable=true",
            "MT-Fault-ConsumerType": "Shop.OnOrder",
            "MT-Fault-RetryCount": 3,
            "MT-Fault-Timestamp": "2026-01-31T06:43:48.1234567Z",
            "MT-Host-ProcessName": "shop",
        },
        {
            "type": "System.TimeoutException",
            "message": "too late",
            "traceback": "at X()",
            "queue": "orders",
            "handler": "Shop.OnOrder",
            "attempt": 3,
            "at": "2026-01-31T06:43:48.123Z",
            "service": "shop",
        },
    ),
    (
        "NServiceBus",
        {
            "NServiceBus.ExceptionInfo.ExceptionType": "System.Exception",
            "NServiceBus.ExceptionInfo.Message": "no",
            "NServiceBus.FailedQ": "sales@machine",
            "NServiceBus.Retries": "2",
            "NServiceBus.TimeOfFailure": "2026-01-31 06:43:48:000000 Z",
        },
        {
            "type": "System.Exception",
            "message": "no",
            "queue": "sales",
            "attempt": 2,
            "at": "2026-01-31T06:43:48Z",
        },
    ),
    (
        "Wolverine",
        {
            "exception-type": "System.Exception",
            "exception-message": "no",
            "original-destination": "rabbitmq://queue/incoming",
            "attempts": "4",
            "failed-at": "1769841828000",
        },
        {
            "type": "System.Exception",
            "message": "no",
            "queue": "incoming",
            "attempt": 4,
            "at": "2026-01-31T06:43:48Z",
        },
    ),
    (
        "Rebus",
        {
            "rbs2-error-details": "1 unhandled ---> System.InvalidOperation: not now\n at",
            "rbs2-source-queue": "backend",
            "rbs2-delivery-count": "5",
        },
        {
            "type": "System.InvalidOperation",
            "message": "not now",
            "traceback": "1 unhandled ---> System.InvalidOperation: not now\n at",
            "queue": "backend",
            "attempt": 5,
        },
    ),
    (
        "Kafka Connect",
        {
            "__connect.errors.exception.class.name": "org.apache.Bad",
            "__connect.errors.exception.message": "bad",
            "__connect.errors.topic": "orders",
        },
        {"type": "org.apache.Bad", "message": "bad", "queue": "orders"},
    ),
    (
        "Azure Service Bus",
        {"DeadLetterReason": "Expired", "DeadLetterErrorDescription": "too old"},
        {"type": "Expired", "message": "too old"},
    ),
]


@pytest.mark.parametrize(("system", "headers", "told"), CASES, ids=[case[0] for case in CASES])
def test_a_failure_has_the_keys_of_our_own_record(
    system: str, headers: dict[str, Any], told: dict[str, Any]
) -> None:
    failure = message(headers).failure
    assert failure is not None
    assert failure == {"system": system, **told}


def test_the_first_line_of_a_stack_tells_the_type_where_no_cause_follows() -> None:
    failure = failure_of_others(
        {"x-exception-stacktrace": "java.io.IOException: disk full\n\tat A"}
    )
    assert failure is not None
    assert (failure["type"], failure["message"]) == ("java.io.IOException", "disk full")


@pytest.mark.parametrize("stack", ["", "at A.b(A.java:3)", None, b"\xff", 5])
def test_a_stack_that_tells_no_type_is_shown_as_it_is(stack: Any) -> None:
    failure = failure_of_others({"x-exception-message": "no", "x-exception-stacktrace": stack})
    assert failure is not None
    assert "type" not in failure


@pytest.mark.parametrize("address", ["rabbitmq://[broken", "", None, 7, "rabbitmq://host/"])
def test_an_address_that_names_no_queue_is_left_out(address: Any) -> None:
    failure = failure_of_others({"MT-Fault-Message": "no", "MT-Fault-InputAddress": address})
    assert failure == {"system": "MassTransit", "message": "no"}


def test_our_own_record_counts_before_that_of_others() -> None:
    headers = {"mqctx-failure": '{"type":"CardExpired"}', "exception-type": "System.Exception"}
    assert message(headers).failure == {"type": "CardExpired"}


def test_a_message_that_nobody_failed_has_none() -> None:
    assert message({"x-original-exchange": "orders"}).failure is None


def test_a_time_that_is_none_is_left_out() -> None:
    headers = {"mqctx-failure": '{"type":"E","at":"yesterday","first_at":"2026-01-31T06:43:48Z"}'}
    assert message(headers).failure == {"type": "E", "first_at": "2026-01-31T06:43:48Z"}
