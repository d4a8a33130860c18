"""The README on PyPI, where it stands apart from its repository."""

import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
README = PROJECT["tool"]["hatch"]["metadata"]["hooks"]["fancy-pypi-readme"]


def test_every_link_of_the_readme_leads_to_a_file_below_the_home_of_the_project() -> None:
    text = (ROOT / "README.md").read_text()
    for each in README["substitutions"]:
        text = re.sub(each["pattern"], each["replacement"], text)
    badges = ("https://img.shields.io/pypi/", "https://pypi.org/project/mqctx/")
    links = [link for link in re.findall(r"\]\(([^)]*)\)", text) if not link.startswith(badges)]
    home = PROJECT["project"]["urls"]["Homepage"] + "/"
    assert len(links) > 20
    assert [link for link in links if not link.startswith(home)] == []
    assert [link for link in links if not (ROOT / link.removeprefix(home)).is_file()] == []
