"""mqctx beside OpenTelemetry."""
