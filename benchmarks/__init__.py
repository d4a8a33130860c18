"""What mqctx costs, beside doing without, doing it by hand, and OpenTelemetry."""
