"""Each guarantee names a test that is there."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
NAMED = re.findall(r"`(tests/[^`]+\.py)((?:::\w+)*)`", (ROOT / "docs/guarantees.md").read_text())


@pytest.mark.parametrize(("file", "place"), NAMED, ids="".join)
def test_a_guarantee_names_a_test_that_is_there(file: str, place: str) -> None:
    code = (ROOT / file).read_text()
    *classes, test = place.split("::")[1:] or [""]
    assert all(f"class {name}" in code for name in classes)
    assert f"def {test}(" in code if test else "def test_" in code


def test_guarantees_are_many() -> None:
    assert len(NAMED) > 25
