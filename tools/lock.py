"""Renew uv.lock, with the options of `uv lock`: which versions, but not from where.

So the file serves with any index. `make` gives the versions to pip, which knows the one of its
machine. `uv sync` resolves anew, with these versions preferred, and writes its own index into its
copy of the file.
"""

import re
import subprocess
import sys
from pathlib import Path

LOCK = Path("uv.lock")
LEFT_OUT = {
    r"^sdist = .*\n": "",
    r"^wheels = \[\n(?:    .*\n)*\]\n": "",
    r"source = \{ registry = \S+ \}": 'source = { registry = "index" }',
    # Without these uv takes the file for outdated, and resolves instead of missing the wheels.
    r"^\[package\.metadata(?:\.requires-dev)?\]\n(?:.+\n)*\n?": "",
}

subprocess.run(["uv", "lock", *sys.argv[1:]], check=True)
text = LOCK.read_text()
for pattern, replacement in LEFT_OUT.items():
    text = re.sub(pattern, replacement, text, flags=re.MULTILINE)
assert "://" not in text, "an address is left"
LOCK.write_text(text)
