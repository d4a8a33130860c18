"""Load for `mqctx trace`: `python -m tests.integration.trace_load load URL SECONDS RATE`.

Publishes requests of five messages each, at most RATE messages a second, to a queue that a thread
of it empties. Prints how many were published, and how many were delivered when all were there.

`python -m tests.integration.trace_load drop URL` receives RabbitMQ's events, and forgets them.
"""

import json
import sys
import threading
import time
from typing import Any

import pika

QUEUE = "load"
_BATCH = 50
_BODY = b"x" * 200


def consume(url: str, is_over: threading.Event, counts: dict[str, int]) -> None:
    """Take all messages, and count them."""
    connection: Any = pika.BlockingConnection(pika.URLParameters(url))
    channel = connection.channel()

    def on_message(*_: object) -> None:
        counts["delivered"] += 1

    channel.basic_consume(QUEUE, on_message, auto_ack=True)
    while not is_over.is_set():
        connection.process_data_events(0.1)
    connection.close()


def publish(url: str, seconds: float, rate: float) -> int:
    """Publish for so long, and return how many messages."""
    connection: Any = pika.BlockingConnection(pika.URLParameters(url))
    channel = connection.channel()
    began = time.monotonic()
    count = 0
    while (passed := time.monotonic() - began) < seconds:
        if count > passed * rate:
            connection.process_data_events(0.002)
            continue
        for number in range(count, count + _BATCH):
            context = f'{{"request_id":"r-{number // 5}","tenant":"t-{number // 5 % 7}"}}'
            sent = pika.BasicProperties(headers={"mqctx": context}, message_id=str(number))
            channel.basic_publish("", QUEUE, _BODY, sent)
        count += _BATCH
    # Answered once all are there.
    channel.queue_declare(QUEUE, passive=True)
    connection.close()
    return count


def drop(url: str) -> None:
    """Receive all events, until the process is ended."""
    connection: Any = pika.BlockingConnection(pika.URLParameters(url))
    channel = connection.channel()
    queue = channel.queue_declare(
        "", exclusive=True, arguments={"x-max-length": 20_000, "x-queue-type": "classic"}
    ).method.queue
    channel.queue_bind(queue, "amq.rabbitmq.trace", "#")
    channel.basic_qos(prefetch_count=500)

    def on_event(_channel: object, method: Any, *_: object) -> None:
        if method.delivery_tag % 250 == 0:
            channel.basic_ack(method.delivery_tag, multiple=True)

    channel.basic_consume(queue, on_event)
    channel.start_consuming()


def load(url: str, seconds: str, rate: str) -> None:
    """Publish, and consume."""
    counts = {"published": 0, "delivered": 0}
    is_over = threading.Event()
    with pika.BlockingConnection(pika.URLParameters(url)) as connection:
        connection.channel().queue_declare(QUEUE, arguments={"x-queue-type": "classic"})
    consumer = threading.Thread(target=consume, args=(url, is_over, counts))
    consumer.start()
    counts["published"] = publish(url, float(seconds), float(rate))
    end = time.monotonic() + 30
    while counts["delivered"] < counts["published"] and time.monotonic() < end:
        time.sleep(0.05)
    is_over.set()
    consumer.join()
    print(json.dumps(counts))  # noqa: T201 - for who started it


if __name__ == "__main__":
    (load if sys.argv[1] == "load" else drop)(*sys.argv[2:])
