"""Virtual environments with old versions, each made once and kept."""

import fcntl
import os
import shutil
import subprocess
import sys
from hashlib import sha256
from pathlib import Path

ROOT = Path(__file__).parents[2]
INSTALL_SECONDS = 900
RUN_SECONDS = 300


def python_with(requirements: list[str], cache: Path) -> Path:
    """Return the interpreter of a virtual environment that has these and what they need."""
    wanted = [sys.version, *requirements]
    directory = cache / sha256("\n".join(wanted).encode()).hexdigest()[:16]
    python, finished = directory / "bin" / "python", directory / "finished"
    with directory.with_suffix(".lock").open("w") as lock:
        # Each process of a parallel run asks for it; the first makes it, the others wait.
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not finished.exists():
            shutil.rmtree(directory, ignore_errors=True)
            run_command([sys.executable, "-m", "venv", str(directory)], INSTALL_SECONDS)
            install = [str(python), "-m", "pip", "install", "--quiet"]
            install.append("--disable-pip-version-check")
            run_command([*install, *requirements], INSTALL_SECONDS)
            finished.touch()
    return python


def run_module(python: Path, module: str, *arguments: str) -> None:
    """Run a module of this checkout, with the library of this checkout."""
    paths = os.pathsep.join([str(ROOT / "src"), str(ROOT)])
    run_command([str(python), "-m", module, *arguments], RUN_SECONDS, PYTHONPATH=paths)


def run_command(command: list[str], seconds: float, **environ: str) -> None:
    """Run a command; fail with its output where it fails."""
    ended = subprocess.run(
        command,
        cwd=ROOT,
        env=os.environ | environ,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=seconds,
        check=False,
    )
    assert ended.returncode == 0, f"{command}:\n{ended.stdout[-5000:]}"
