"""Let `python -m mqctx` be the command `mqctx`."""

from mqctx.cli import main

main()
