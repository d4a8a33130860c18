"""What became of each request in the broker: its publishes, deliveries and handler runs, joined."""
