"""Print as requirements the lowest version of each library that pyproject.toml allows."""

import sys
import tomllib
from pathlib import Path

project = tomllib.loads(Path("pyproject.toml").read_text())["project"]
groups = [project["dependencies"], *project["optional-dependencies"].values()]
lowest = {
    requirement.replace(">=", "==")
    for group in groups
    for requirement in group
    if not requirement.startswith(project["name"])
}
sys.stdout.write("\n".join(sorted(lowest)) + "\n")
