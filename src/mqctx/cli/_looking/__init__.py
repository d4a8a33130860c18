"""What the commands that look at queues share: options, exit codes, and what they print."""
