"""What happens to contexts when connections, channels, consumers and brokers fail."""
