"""Each example of the page about testing is a test that passes."""

import re
import subprocess
import sys
from pathlib import Path

PAGE = Path(__file__).parents[2] / "docs" / "testing.md"
EXAMPLES = re.findall(r"^```python\n(.*?)^```$", PAGE.read_text(), re.DOTALL | re.MULTILINE)
INI = """
[pytest]
asyncio_mode = auto
asyncio_default_fixture_loop_scope = function
filterwarnings =
    error
    ignore:Using `httpx`
"""


def test_the_examples_pass(tmp_path: Path) -> None:
    (tmp_path / "pytest.ini").write_text(INI)
    for number, code in enumerate(EXAMPLES):
        (tmp_path / f"test_example_{number}.py").write_text(code)
    ran = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "--no-header", str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        cwd=tmp_path,
    )
    tests = sum(code.count("def test_") for code in EXAMPLES)
    assert f"{tests} passed" in ran.stdout, ran.stdout + ran.stderr
    assert len(EXAMPLES) > 10
