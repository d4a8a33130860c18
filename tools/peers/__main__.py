"""Run the tests of clients and frameworks, bare and with mqctx, and compare them one by one.

    python tools/peers [NAME...]

The source packages come from the package index, in the installed versions, into a temporary folder.
A test that passes bare and fails with mqctx is printed, and makes the exit code 1.
"""

import json
import os
import subprocess
import sys
import tarfile
import tempfile
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

HERE = Path(__file__).parent


@dataclass(frozen=True)
class Peer:
    """A project whose source package has its tests."""

    name: str
    setup: str
    """What the plugin sets up."""
    tests: str = "tests"
    options: tuple[str, ...] = ("-p", "no:aiomisc")  # whose threads Celery's tests take for leaks


PEERS = (
    Peer("kombu", "kombu", "t/unit"),
    Peer("celery", "celery kombu", "t/unit"),
    Peer("aio-pika", "aio_pika", options=("-p", "no:asyncio")),
    Peer("starlette", "starlette", options=("-p", "no:aiomisc", "-p", "no:asyncio")),
    Peer("taskiq", "taskiq"),
    Peer("opentelemetry-instrumentation-aio-pika", "aio_pika"),
    Peer("opentelemetry-instrumentation-celery", "celery kombu"),
    Peer("opentelemetry-instrumentation-pika", "pika"),
)
_ID = "it compares all headers of a response or request, and each bears its id"
EXPECTED = {
    "starlette": {
        "test_request_headers": _ID,
        "test_websocket_route_middleware": _ID,
        "test_websocket_headers": _ID,
        "test_additional_headers": _ID,
        "test_no_additional_headers": _ID,
    }
}
"""Tests that fail with mqctx, by their names, and why that is right."""

# Some files need what has no wheels; others' plugins warn of pytest's next version.
OPTIONS = (
    *("-q", "-p", "plugin", "-p", "no:cacheprovider", "--continue-on-collection-errors"),
    *("-W", "ignore::pytest.PytestRemovedIn10Warning"),
)
Outcomes = dict[str, str]


def main() -> int:
    """Return 1 if mqctx breaks a test."""
    names = sys.argv[1:]
    broken = 0
    for peer in PEERS:
        if not names or peer.name in names:
            with tempfile.TemporaryDirectory() as folder:
                broken += compare(peer, fetch(peer, Path(folder)))
    return 1 if broken else 0


def fetch(peer: Peer, folder: Path) -> Path:
    """Return the folder of the source package."""
    requirement = f"{peer.name}=={version(peer.name)}"
    options = ("--quiet", "--no-deps", "--no-binary", peer.name, "--dest", str(folder))
    pip = (sys.executable, "-m", "pip", "--disable-pip-version-check", "download")
    subprocess.run((*pip, *options, requirement), check=True)
    (package,) = folder.glob("*.tar.gz")
    with tarfile.open(package) as archive:
        archive.extractall(folder, filter="data")
    (source,) = (each for each in folder.iterdir() if each.is_dir())
    return source


def compare(peer: Peer, source: Path) -> int:
    """Print which tests pass bare and fail with mqctx; return how many were not expected to."""
    bare, ours = run(peer, source, ""), run(peer, source, peer.setup)
    passed = [test for test, outcome in bare.items() if outcome == "passed"]
    suspects = [test for test in passed if ours.get(test) != "passed"]
    if suspects:  # some depend on time: only what fails again counts
        again = run(peer, source, peer.setup, *suspects)
        suspects = [test for test in suspects if again.get(test) != "passed"]
    tell(f"{peer.name}: {len(passed)} of {len(bare)} pass bare, {len(suspects)} fail with mqctx")
    broken = 0
    for test in suspects:
        reason = EXPECTED.get(peer.name, {}).get(test.split("::")[-1].split("[")[0])
        tell("  BROKEN:" if reason is None else f"  as {reason}:", test)
        broken += reason is None
    return broken + (not passed)


def tell(*words: str) -> None:
    """Print a line, and do not keep it back while the next tests run."""
    sys.stdout.write(" ".join(words) + "\n")
    sys.stdout.flush()


def run(peer: Peer, source: Path, setup: str, *tests: str) -> Outcomes:
    """Run the tests of a source package, or some of them, and return what became of each."""
    outcomes = source / "outcomes.json"
    scratch = tempfile.mkdtemp(dir=source.parent)  # what one run leaves there is not for the next
    environment = {
        **os.environ,
        "TMPDIR": scratch,
        "PEERS_SETUP": setup,
        "PEERS_OUTCOMES": str(outcomes),
        "PYTHONPATH": os.pathsep.join([str(HERE), os.environ.get("PYTHONPATH", "")]),
    }
    command = (sys.executable, "-m", "pytest", *OPTIONS, *peer.options, *(tests or (peer.tests,)))
    with (source.parent / "log").open("w+") as log:
        subprocess.run(
            command,
            cwd=source,
            env=environment,
            stdout=log,
            stderr=log,
            timeout=3600,
            stdin=subprocess.DEVNULL,
            start_new_session=True,  # some try what a terminal does to them
            check=False,  # that tests fail is among what is to be compared
        )
        if not outcomes.exists():
            log.seek(0)
            raise SystemExit(f"{peer.name}: its tests did not run:\n{log.read()[-2000:]}")
    found: Outcomes = json.loads(outcomes.read_text())
    outcomes.unlink()
    return found


sys.exit(main())
