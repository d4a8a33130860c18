"""The views of `mqctx trace`: on a terminal, line by line, or in files."""
