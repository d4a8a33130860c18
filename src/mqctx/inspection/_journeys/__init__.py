"""The journey of each request through the broker: its publishes, deliveries and handler runs."""
