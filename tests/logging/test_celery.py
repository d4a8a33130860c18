"""Which lines of a Celery worker carry the context, however its logging is set up."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).parents[2]
SECONDS = 30.0
"""How long the worker may take for its task."""


def worker_log(tmp_path: Path, *arguments: str) -> list[str]:
    """Return what a worker logs until its task is done."""
    out = tmp_path / "out"
    with out.open("w") as stream:
        worker = subprocess.Popen(
            [sys.executable, "-m", "tests.logging.shop", *arguments],
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdout=stream,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            deadline = time.monotonic() + SECONDS
            while "succeeded in" not in out.read_text() and time.monotonic() < deadline:
                assert worker.poll() is None, out.read_text()
                time.sleep(0.02)
        finally:
            # With its children. It would take some seconds to end by itself, without a word more.
            if worker.poll() is None:
                os.killpg(worker.pid, signal.SIGKILL)
            worker.wait(SECONDS)
    return out.read_text().splitlines()


def test_lines_of_celerys_own_handlers_do_after_two_signals(tmp_path: Path) -> None:
    lines = worker_log(tmp_path, "signals", "--pool=prefork")
    start = lines.index("task bill: by a task's logger [request_id=r-1]")
    assert lines[start + 1 : start + 4] == [
        "library: by a library [request_id=r-1]",
        "celery.redirected: printed [request_id=r-1]",
        "task bill: done []",
    ]
    assert not any("Logging error" in line for line in lines)


def test_lines_of_the_applications_handlers_do(tmp_path: Path) -> None:
    lines = worker_log(tmp_path, "dict", "--pool=solo")
    said = [json.loads(line) for line in lines if line.startswith("{")]
    assert [
        (line["name"], line["message"], line.get("request_id"))
        for line in said
        if line["name"] in ("orders", "library")
    ] == [
        ("orders", "by a task's logger", "r-1"),
        ("library", "by a library", "r-1"),
        ("orders", "done", None),
    ]
