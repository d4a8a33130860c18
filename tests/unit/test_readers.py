"""Whatever a reader may copy uses public modules only."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PRIVATE = re.compile(r"\bmqctx(?:\.\w+)*\._[a-z]\w*|from mqctx[\w.]* import .*\b_[a-z]\w*")
SHOWN = [
    ROOT / "README.md",
    *(ROOT / "docs").rglob("*.md"),
    *(path for folder in ("examples", "benchmarks") for path in (ROOT / folder).rglob("*.py")),
]


@pytest.mark.parametrize("path", SHOWN, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_private_module_is_shown(path: Path) -> None:
    assert PRIVATE.findall(path.read_text()) == []


@pytest.mark.parametrize(
    "line",
    [
        "from mqctx._core.context import Context",
        "import mqctx.adapters._handler as handler",
        "from mqctx.logging import _fields",
        "from mqctx.middleware import asgi, _request",
    ],
)
def test_a_private_import_would_be_found(line: str) -> None:
    assert PRIVATE.search(line)
