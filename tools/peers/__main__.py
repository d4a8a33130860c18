"""Run the tests of clients and frameworks, bare and with mqctx, and compare them one by one.

    python tools/peers [NAME...]

A name stands for all that begin with it. The source packages come from the package index, in the
installed versions, into a temporary folder. A test that passes bare and not with mqctx is a
difference. The exit code is 1 if there is one that `EXPECTED` does not explain, or if the tests of
a project did not run.
"""

import json
import os
import pwd
import shutil
import signal
import subprocess
import sys
import tarfile
import tempfile
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from time import monotonic

HERE = Path(__file__).parent
RUN_SECONDS = 1800
TEST_SECONDS = 60
TRIES = 3
"""How often a test may fail with mqctx before it counts: some depend on time."""


@dataclass(frozen=True)
class Peer:
    """A project whose source package has its tests."""

    name: str
    setup: str
    """The setup that the plugin makes."""
    tests: str = "tests"
    options: tuple[str, ...] = ("-p", "no:aiomisc")  # whose threads Celery's tests take for leaks
    left_out: tuple[str, ...] = ()
    """A file that cannot pass here, and why."""


PEERS = (
    Peer("kombu", "kombu", "t/unit"),
    Peer("starlette", "starlette", options=("-p", "no:aiomisc", "-p", "no:asyncio")),
    Peer("taskiq", "taskiq"),
    Peer("opentelemetry-instrumentation-aio-pika", "aio_pika"),
    Peer("opentelemetry-instrumentation-celery", "celery kombu"),
    Peer("opentelemetry-instrumentation-pika", "pika"),
    Peer(
        "aio-pika",
        "aio_pika",
        options=("-p", "no:asyncio"),
        left_out=("tests/test_amqps.py", "TLS: it needs an image of their own, with certificates"),
    ),
    Peer("celery", "celery kombu", "t/unit"),
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
    *("-W", "ignore::pytest.PytestRemovedIn10Warning", f"--timeout={TEST_SECONDS}"),
)
_RANKS = ("unfinished", "passed", "skipped", "failed")
Outcomes = dict[str, str]


@dataclass
class Verdict:
    """The comparison of the tests of one project."""

    peer: Peer
    bare: Outcomes = field(default_factory=dict)
    expected: dict[str, str] = field(default_factory=dict)
    """The differences that are right, and why."""
    broken: list[str] = field(default_factory=list)
    """Those that are not, or why the tests did not run."""
    seconds: float = 0

    def __str__(self) -> str:
        counts = Counter(self.bare.values())
        others = "".join(f", {counts[each]} {each}" for each in _RANKS if each != "passed")
        return (
            f"{self.peer.name}: bare, {counts['passed']} passed{others}; of the passed, with mqctx "
            f"{len(self.broken)} differ, and {len(self.expected)} as expected "
            f"({self.seconds:.0f} s)"
        )


def main() -> int:
    """Return 1 if mqctx breaks a test."""
    names = sys.argv[1:] or [""]
    peers = [peer for peer in PEERS if peer.name.startswith(tuple(names))]
    if not all(any(peer.name.startswith(name) for peer in peers) for name in names):
        raise SystemExit(f"known are: {' '.join(peer.name for peer in PEERS)}")
    verdicts = [judge(peer) for peer in peers]
    tell("\nSummary")
    for verdict in verdicts:
        tell(f"  {verdict}")
        if verdict.peer.left_out:
            tell(f"    left out: {' - '.join(verdict.peer.left_out)}")
        for reason in sorted({*verdict.expected.values()}):
            count = [*verdict.expected.values()].count(reason)
            tell(f"    expected, {count}: {reason}")
        for test in verdict.broken:
            tell("    BROKEN:", test)
    return any(verdict.broken for verdict in verdicts)


def unprivileged() -> tuple[str, ...]:
    """Return the command before which root puts the tests' own: some refuse root."""
    setpriv = shutil.which("setpriv")
    if os.geteuid() or setpriv is None:
        return ()
    nobody = pwd.getpwnam("nobody")
    return (
        *(setpriv, f"--reuid={nobody.pw_uid}", f"--regid={nobody.pw_gid}", "--clear-groups"),
        # The interpreter, or this folder, may be in one that only root can read.
        *("--inh-caps=+dac_override", "--ambient-caps=+dac_override", "--"),
    )


def judge(peer: Peer) -> Verdict:
    """Fetch the tests of a project, run and compare them."""
    verdict, began = Verdict(peer), monotonic()
    with tempfile.TemporaryDirectory() as folder:
        try:
            compare(verdict, fetch(peer, Path(folder)))
        except (OSError, RuntimeError, subprocess.SubprocessError) as error:
            verdict.broken.append(f"its tests did not run: {error}")
    verdict.seconds = monotonic() - began
    tell(str(verdict))
    return verdict


def fetch(peer: Peer, folder: Path) -> Path:
    """Return the folder of the source package."""
    requirement = f"{peer.name}=={version(peer.name)}"
    options = ("--quiet", "--no-deps", "--no-binary", peer.name, "--dest", str(folder))
    pip = (sys.executable, "-m", "pip", "--disable-pip-version-check", "download")
    subprocess.run((*pip, *options, requirement), check=True, timeout=600)
    (package,) = folder.glob("*.tar.gz")
    with tarfile.open(package) as archive:
        archive.extractall(folder, filter="data")
    (source,) = (each for each in folder.iterdir() if each.is_dir())
    return source


def compare(verdict: Verdict, source: Path) -> None:
    """Find the tests that pass bare and do not with mqctx."""
    peer = verdict.peer
    verdict.bare = run(peer, source, "")
    suspects = [test for test, outcome in verdict.bare.items() if outcome == "passed"]
    if not suspects:
        raise RuntimeError("none passes bare")
    where = [peer.tests]
    for _ in range(TRIES):
        ours = run(peer, source, peer.setup, *where)
        suspects = [test for test in suspects if ours.get(test) != "passed"]
        unexpected = [test for test in suspects if _reason(peer, test) is None]
        if not unexpected:
            break
        # Whole files, since a test may fail for what one before it left.
        where = list(dict.fromkeys(test.partition("::")[0] for test in suspects))
    for test in suspects:
        reason = _reason(peer, test)
        if reason is None:
            verdict.broken.append(f"{test}: {ours.get(test, 'not run')}")
        else:
            verdict.expected[test] = reason


def _reason(peer: Peer, test: str) -> str | None:
    name = test.rpartition("::")[2].partition("[")[0]
    return EXPECTED.get(peer.name, {}).get(name)


def tell(*words: str) -> None:
    """Print a line, and do not keep it back while the next tests run."""
    sys.stdout.write(" ".join(words) + "\n")
    sys.stdout.flush()


def run(peer: Peer, source: Path, setup: str, *tests: str) -> Outcomes:
    """Run the tests of a source package, or some of them, and return what became of each."""
    # One run must not find what another left in its folder.
    scratch = Path(tempfile.mkdtemp(dir=source.parent))
    outcomes = scratch / "outcomes"
    environment = {
        **os.environ,
        "HOME": str(scratch),
        "TMPDIR": str(scratch),
        "PEERS_SETUP": setup,
        "PEERS_OUTCOMES": str(outcomes),
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONPATH": os.pathsep.join([str(HERE), os.environ.get("PYTHONPATH", "")]),
    }
    options = (*OPTIONS, *peer.options, *(f"--ignore={each}" for each in peer.left_out[:1]))
    pytest = (sys.executable, "-m", "pytest", *options, *(tests or (peer.tests,)))
    command = (*unprivileged(), *pytest)
    if command != pytest:
        subprocess.run(("chown", "--recursive", "nobody", source.parent), check=True)
    began = monotonic()
    with (scratch / "log").open("w+") as log:
        process = subprocess.Popen(
            command,
            cwd=source,
            env=environment,
            stdout=log,
            stderr=log,
            stdin=subprocess.DEVNULL,
            start_new_session=True,  # some try what a terminal does to them
        )
        try:
            process.wait(RUN_SECONDS)
        except subprocess.TimeoutExpired:
            tell(f"{peer.name}: stopped after {RUN_SECONDS} s")
        finally:  # with the processes that the tests have started
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        log.seek(0)
        said = log.read()
    tell(
        f"{peer.name}, {f'with {setup}' if setup else 'bare'}, {monotonic() - began:.0f} s:",
        (said.strip().splitlines() or ["nothing"])[-1],
    )
    found = read(outcomes)
    if not found:
        raise RuntimeError(f"no test was begun:\n{said[-2000:]}")
    return found


def read(outcomes: Path) -> Outcomes:
    """Return the worst that was noted of each test."""
    found: Outcomes = {}
    for line in outcomes.read_text().splitlines() if outcomes.exists() else ():
        test, outcome = json.loads(line)
        found[test] = max(found.get(test, outcome), outcome, key=_RANKS.index)
    return found


sys.exit(main())
