"""What `mqctx trace` shows, and where."""
