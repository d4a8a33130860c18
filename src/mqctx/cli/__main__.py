"""Let `python -m mqctx.cli` be the command `mqctx`."""

from mqctx.cli import main

main(prog_name="mqctx")
