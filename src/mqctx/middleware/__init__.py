"""The edge in: each HTTP request gets a context, in ASGI and WSGI applications."""
