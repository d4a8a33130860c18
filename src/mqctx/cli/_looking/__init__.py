"""Shared by the commands that look at queues: options, exit codes, and what they print."""
