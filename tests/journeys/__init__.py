"""`mqctx trace` beside real brokers."""
