"""The context: its values, variables, and the isolation of calls. Knows no client and no format."""
