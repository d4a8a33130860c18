"""The edge out: HTTP calls that carry the context to the services that may have it."""
