"""One module per library that carries messages.

For each client (aio-pika, kombu, pika) the same names: publish, consume_with_context, restored,
instrument, uninstrument. For what stands on them, what its users know: `instrument` for Celery, a
middleware for FastStream, taskiq and dramatiq.
"""
