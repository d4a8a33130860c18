"""Messages on the wire of AMQP 0-9-1, without any client."""
