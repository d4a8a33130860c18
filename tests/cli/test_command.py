"""The command `mqctx` as a whole, in a process of its own."""

import subprocess
import sys
from importlib.metadata import version

import pytest

WITHOUT = """
import sys
sys.modules[{missing!r}] = None  # an import of it fails, as where it is not installed
sys.argv = ["mqctx", *{arguments!r}]
from mqctx.cli import main
main()
"""
LOADED = """
import sys
sys.argv = ["mqctx", "--help"]
from mqctx.cli import main
try:
    main()
finally:
    print(*(name for name in ("aio_pika", "kombu", "pika") if name in sys.modules))
"""
INTERRUPTED = """
import sys
sys.stdout = None
class Interrupts:
    def find_spec(self, name, *_):
        if name == "click":
            print("interrupted")  # to nowhere
            raise KeyboardInterrupt
sys.meta_path.insert(0, Interrupts())
from mqctx.cli import main
main()
"""


def python(*arguments: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, *arguments]
    return subprocess.run(command, check=False, capture_output=True, text=True, timeout=60)


def test_python_m_mqctx_tells_the_version() -> None:
    assert python("-m", "mqctx", "--version").stdout == f"mqctx {version('mqctx')}\n"


def test_an_unknown_command_is_a_usage_error() -> None:
    result = python("-m", "mqctx", "dance")
    assert "No such command 'dance'" in result.stderr
    assert result.returncode == 2


def test_help_names_each_command_and_loads_no_client() -> None:
    *help_text, loaded = python("-c", LOADED).stdout.splitlines()
    assert any(line.split()[:1] == ["demo"] for line in help_text)
    assert loaded == ""


@pytest.mark.parametrize(
    ("missing", "arguments"), [("click", ["--help"]), ("click", ["demo"]), ("kombu", ["demo"])]
)
def test_a_missing_library_is_one_line_that_names_the_extra(
    missing: str, arguments: list[str]
) -> None:
    result = python("-c", WITHOUT.format(missing=missing, arguments=arguments))
    assert result.stderr == (
        f"mqctx: no module named {missing!r}; install it with: pip install 'mqctx[cli]'\n"
    )
    assert result.returncode == 1


def test_a_fault_in_the_package_itself_keeps_its_traceback() -> None:
    result = python("-c", WITHOUT.format(missing="mqctx.cli._demo.play", arguments=["demo"]))
    assert "Traceback" in result.stderr


def test_closed_streams_and_ctrl_c_while_it_loads_are_no_traceback() -> None:
    result = python("-c", INTERRUPTED)
    assert (result.returncode, result.stderr) == (130, "")
