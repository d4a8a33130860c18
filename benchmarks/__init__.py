"""The cost of mqctx, beside doing without, doing it by hand, and OpenTelemetry."""
