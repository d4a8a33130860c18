"""Change the code at random places, and see whether a test notices: `python tools/mutation.py`.

mutmut makes the changes, as `[tool.mutmut]` in pyproject.toml says. Trying each takes hours; a
sample that the seed decides tells enough. A change that nobody can notice has its reason in
tools/mutation.toml; it counts in the first of the two figures, and not in the second. Exits with 1
if fewer than nine of ten that could be noticed were.
"""

import argparse
import json
import random
import subprocess
import sys
import tomllib
from collections import Counter
from pathlib import Path
from typing import NamedTuple

MADE = Path("mutants")
EXPLAINED = Path("tools/mutation.toml")
ENOUGH = 0.9
NOTICED = {
    **dict.fromkeys((1, 3, -9, -11), "killed"),  # -9, -11: it took the tests' process with it
    **dict.fromkeys((36, 24, -24, 152, 255), "timeout"),
}
"""Exit codes for a change that a test noticed by failing, or by running on for ever."""


class Change(NamedTuple):
    """A line of code before and after it was changed."""

    file: str
    before: str
    after: str


def main() -> None:
    """Try a sample, and tell what became of it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=300, help="how many changes to try")
    parser.add_argument("--seed", default="mqctx", help="decides which")
    parser.add_argument("--at-once", default="1", help="how many of them at the same time")
    arguments = parser.parse_args()
    run = ("run", "--max-children", arguments.at_once)
    mutmut(*run, "none: make the changes, and see which tests reach what")
    every = sorted(results())
    sample = random.Random(arguments.seed).sample(every, min(arguments.count, len(every)))
    mutmut(*run, *sample)
    sys.exit(report(sample, len(every)))


def mutmut(*arguments: str) -> str:
    """Run mutmut, which ends with 1 where nothing was to be tried, and return what `show` says."""
    command = [sys.executable, "-m", "mutmut", *arguments]
    shown = subprocess.PIPE if arguments[0] == "show" else None
    return subprocess.run(command, check=False, stdout=shown, text=True).stdout or ""


def results() -> dict[str, int | None]:
    """Return each change by its name, with the exit code of the tests if it was tried."""
    found: dict[str, int | None] = {}
    for file in MADE.rglob("*.meta"):
        found |= json.loads(file.read_text())["exit_code_by_key"]
    return found


def explained() -> dict[Change, str]:
    """Return why each of some changes makes no difference; tell of lines that are gone."""
    reasons: dict[Change, str] = {}
    for each in tomllib.loads(EXPLAINED.read_text())["same"]:
        change = Change(each["file"], each["before"], each["after"])
        reasons[change] = each["why"]
        lines = {line.strip() for line in Path(change.file).read_text().splitlines()}
        if change.before not in lines:
            sys.stdout.write(f"no longer in {change.file}: {change.before}\n")
    return reasons


def change_of(diff: str) -> Change:
    """Return what a diff of one line shows."""
    file, before, after = (
        next(line for line in diff.splitlines() if line.startswith(sign))
        for sign in ("---", "- ", "+ ")
    )
    return Change(file.removeprefix("--- "), before[1:].strip(), after[1:].strip())


def report(sample: list[str], total: int) -> int:
    """Print what became of the sample, and return the exit code that this deserves."""
    codes = results()
    if missing := [name for name in sample if codes[name] is None]:
        sys.stdout.write(f"{len(missing)} of {len(sample)} were not tried: see above\n")
        return 1
    outcome = {name: NOTICED.get(codes[name] or 0, "survived") for name in sample}
    counts = Counter(outcome.values())
    reasons, same = explained(), 0
    for name in sorted(name for name in sample if outcome[name] == "survived"):
        diff = mutmut("show", name)
        why = reasons.get(change_of(diff))
        same += why is not None
        sys.stdout.write(diff if why is None else f"# {name}: {why}\n")
    noticed = len(sample) - counts["survived"]
    could_be = len(sample) - same
    sys.stdout.write(
        f"{len(sample)} of {total} tried: {dict(counts)}\n"
        f"noticed: {noticed / len(sample):.1%} of all, "
        f"{noticed / could_be:.1%} of the {could_be} that make a difference\n"
    )
    return noticed / could_be < ENOUGH


if __name__ == "__main__":
    main()
