"""Each example of the page about testing is a test that passes."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

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
    assert f"{len(each_test())} passed" in ran.stdout, ran.stdout + ran.stderr
    assert len(EXAMPLES) > 10


def each_test() -> list[str]:
    """Return the code of each test in the examples."""
    nodes = ((code, node) for code in EXAMPLES for node in ast.parse(code).body)
    texts = (ast.get_source_segment(code, node) or "" for code, node in nodes)
    return [text for text in texts if "def test_" in text]


def test_each_test_of_an_example_takes_less_than_ten_lines() -> None:
    assert max(text.count("\n") + 1 for text in each_test()) < 10


@pytest.mark.parametrize(
    "parts",
    [
        ("FastAPI(", "TestClient(", "with sent(", "aio_pika_message(", "@pytest.mark.mqctx("),
        ("Client()", ".delay(", '"task_always_eager"', "celery_request(", "@pytest.mark.mqctx("),
        ("TestRabbitBroker(", "@broker.subscriber(", "@broker.publisher("),
    ],
    ids=["FastAPI and aio-pika", "Django and Celery", "FastStream"],
)
def test_whole_applications_are_among_the_examples(parts: tuple[str, ...]) -> None:
    assert any(all(part in code for part in parts) for code in EXAMPLES)
