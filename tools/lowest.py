"""Print requirements: the lowest version of each client that pyproject.toml allows, and the tests'.

The tests' own versions are read from standard input, as locked; where a client is among what they
need, the client's lowest version counts.
"""

import re
import sys
import tomllib
from pathlib import Path

project = tomllib.loads(Path("pyproject.toml").read_text())["project"]
groups = [project["dependencies"], *project["optional-dependencies"].values()]
lowest = {
    re.split(r"[\[>]", requirement)[0]: requirement.replace(">=", "==")
    for group in groups
    for requirement in group
    if not requirement.startswith(project["name"])
}
locked = [line for line in sys.stdin if re.split("[=; ]", line)[0] not in lowest]
sys.stdout.write("".join(locked) + "\n".join(lowest.values()) + "\n")
