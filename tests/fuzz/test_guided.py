"""The coverage-guided fuzzer, for a minute."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SECONDS = 60


@pytest.mark.full
def test_guided_by_coverage_the_decoders_hold(tmp_path: Path) -> None:
    corpus = tmp_path / "corpus"
    corpus.mkdir()
    fuzzer = [sys.executable, "-m", "tests.fuzz.guided", str(SECONDS), str(corpus)]
    paths = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    ended = subprocess.run(
        fuzzer,
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": paths},
        capture_output=True,
        text=True,
        errors="replace",
        timeout=20 * SECONDS,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr[-5000:]
    done = re.search(r"stat::number_of_executed_units: +(\d+)", ended.stderr)
    grown = re.findall(r"cov: (\d+) ", ended.stderr)
    assert done is not None
    assert int(done[1]) > 10_000
    assert int(grown[-1]) > 100
