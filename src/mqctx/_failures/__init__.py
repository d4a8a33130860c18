"""Why a handler could not process a message: the record that travels with its dead letter."""
