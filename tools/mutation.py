"""Change the code at random places, and see whether a test notices: `python tools/mutation.py`.

mutmut makes the changes, as `[tool.mutmut]` in pyproject.toml says. Trying each takes hours; a
sample that the seed decides tells enough. Exits with 1 if fewer than nine of ten were noticed.
"""

import argparse
import json
import random
import subprocess
import sys
from collections import Counter
from pathlib import Path

MADE = Path("mutants")
ENOUGH = 0.9
NOTICED = {1: "killed", 3: "killed", 36: "timeout", -24: "timeout", 24: "timeout", 152: "timeout"}
"""Exit codes for a change that a test noticed by failing, or by running on for ever."""


def main() -> None:
    """Try a sample, and tell what became of it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=300, help="how many changes to try")
    parser.add_argument("--seed", default="mqctx", help="decides which")
    arguments = parser.parse_args()
    mutmut("run", "--max-children", "1", "none: make the changes, and see which tests reach what")
    every = sorted(results())
    sample = random.Random(arguments.seed).sample(every, min(arguments.count, len(every)))
    mutmut("run", "--max-children", "1", *sample)
    sys.exit(report(sample, len(every)))


def mutmut(*arguments: str) -> None:
    """Run mutmut, which ends with 1 where nothing was to be tried."""
    subprocess.run([sys.executable, "-m", "mutmut", *arguments], check=False)


def results() -> dict[str, int | None]:
    """Return each change by its name, with the exit code of the tests if it was tried."""
    found: dict[str, int | None] = {}
    for file in MADE.rglob("*.meta"):
        found |= json.loads(file.read_text())["exit_code_by_key"]
    return found


def report(sample: list[str], total: int) -> int:
    """Print what became of the sample, and return the exit code that this deserves."""
    outcome = {name: NOTICED.get(code or 0, "survived") for name, code in results().items()}
    counts = Counter(outcome[name] for name in sample)
    for name in sorted(name for name in sample if outcome[name] == "survived"):
        shown = [sys.executable, "-m", "mutmut", "show", name]
        subprocess.run(shown, check=False)
    noticed = 1 - counts["survived"] / len(sample)
    sys.stdout.write(f"{len(sample)} of {total} tried, {noticed:.1%} noticed: {dict(counts)}\n")
    return noticed < ENOUGH


if __name__ == "__main__":
    main()
