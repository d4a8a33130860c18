"""Contexts stay right when connections, channels, consumers and brokers fail."""
