"""Read what is in a queue and leave it there: for scripts, and below the commands."""
