"""One module per library that carries messages.

Each client (aio-pika, kombu, pika) has the same names: publish, consume_with_context, restored,
instrument, uninstrument. Frameworks have what their users expect: `instrument` for Celery, a
middleware for FastStream, taskiq and dramatiq.
"""
