"""The active context in log records, one module per logging library."""
