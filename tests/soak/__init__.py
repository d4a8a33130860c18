"""Many messages through one process: what it holds does not grow with them."""
