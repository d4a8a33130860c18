"""The examples in the docs of the logging libraries say what they log."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[2] / "docs" / "integrations"
EXAMPLES = [
    pytest.param(code, id=f"{page}:{number}")
    for page in ("logging", "structlog", "loguru")
    for number, code in enumerate(
        re.findall(r"^```python\n(.*?)^```$", (DOCS / f"{page}.md").read_text(), re.DOTALL | re.M)
    )
]


@pytest.mark.parametrize("code", EXAMPLES)
def test_an_example_logs_what_it_says(code: str) -> None:
    ran = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True
    )
    said = re.findall(r"log(?:ger)?\.\w+\(.*\)  # (.*)", code)
    assert said
    assert ran.stderr.splitlines() == said
