"""One module per client, each with the same names: publish, consume_with_context, restored."""
