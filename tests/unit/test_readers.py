"""All code that a reader may copy uses public modules only, as do all tests but those of units."""

import re
from importlib import import_module
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


def test_only_tests_of_units_import_or_patch_private_modules() -> None:
    tests = set((ROOT / "tests").rglob("*.py")) - {*(ROOT / "tests/unit").rglob("*")}
    lines = "from mqctx", "import mqctx", "monkeypatch.setattr(", '"mqctx.'
    found = {
        str(path.relative_to(ROOT / "tests"))
        for path in tests
        for line in path.read_text().splitlines()
        if line.strip().startswith(lines) and PRIVATE.search(line)
    }
    assert len(tests) > 100
    assert found == set()


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


def names_in_the_front(module: str) -> set[str]:
    return set(getattr(import_module(module), "__all__", ()))


def test_each_public_name_has_its_place_in_the_reference() -> None:
    text = "".join(page.read_text() for page in (ROOT / "docs/api").glob("*.md"))
    listed = set(re.findall(r"automodule:: (\S+)", text))
    public = {
        ".".join(path.relative_to(ROOT / "src").with_suffix("").parts).removesuffix(".__init__")
        for path in (ROOT / "src/mqctx").rglob("*.py")
    }
    public = {name for name in public if "._" not in name and ".cli" not in name}
    shown = {name for module in listed for name in names_in_the_front(module)}
    missing = {
        name
        for module in public - listed
        for name in names_in_the_front(module)
        if f"{module}.{name}" not in public and name not in shown
    }
    assert missing == set()
