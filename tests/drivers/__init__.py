"""The three clients on a real broker, for all that needs them; each module imports one client."""
