"""The sessions that CI runs on each Python: `nox`, or `nox --session tests-3.13`."""

import nox

nox.options.default_venv_backend = "venv"
nox.options.error_on_missing_interpreters = False
nox.needs_version = ">=2025.5"

# Without the GIL from 3.14 on: msgspec has no build for 3.13t.
PYTHONS = ["3.11", "3.12", "3.13", "3.14", "3.14t"]
WITHOUT_NEIGHBOURS = ["unit", "adapters"]
WITHOUT_BROKER = [
    *WITHOUT_NEIGHBOURS,
    *("middleware", "http_clients", "logging", "opentelemetry", "testing"),
]
WITH_MORE = [  # a broker, or Chromium
    *(f"tests/opentelemetry/test_{name}.py" for name in ("celery", "side_by_side")),
    "tests/unit/on_broker",
    "tests/unit/pages",
]


@nox.session(python=PYTHONS)
def tests(session: nox.Session) -> None:
    """Run what needs no broker against the installed wheel; arguments replace the folders."""
    # Among the neighbours is gevent, which has no build without the GIL.
    has_gil = not str(session.python).endswith("t")
    install(session, "test", *["neighbours"] * has_gil)
    folders = session.posargs or [
        *(f"tests/{folder}" for folder in (WITHOUT_BROKER if has_gil else WITHOUT_NEIGHBOURS)),
        *(f"--ignore={each}" for each in WITH_MORE),
    ]
    session.run("pytest", "--quiet", "--numprocesses", "auto", "--dist", "loadfile", *folders)


@nox.session
def types(session: nox.Session) -> None:
    """Check that every public name has a known type, as a user's type checker sees it."""
    install(session, "types", "test")
    with session.chdir(session.create_tmp()):  # beside the source tree, that would be what it reads
        session.run("pyright", "--verifytypes", "mqctx", "--ignoreexternal")
    session.run("mypy", "--strict", "--package", "mqctx")


@nox.session
def dependencies(session: nox.Session) -> None:
    """Check that what is imported is declared, and that no declared version is known to be weak."""
    install(session, "release")
    session.run("deptry", "src")
    session.run(
        *("pip-audit", "--strict", "--disable-pip", "--no-deps"),
        *("--requirement", "constraints.txt"),
    )


@nox.session
def mutation(session: nox.Session) -> None:
    """Change the code at random: tests must notice nine of ten. --count and --seed choose."""
    install(session, "test", "neighbours", "mutation")
    session.run("python", "tools/mutation.py", *session.posargs)


def install(session: nox.Session, *groups: str) -> None:
    """Build the wheel, and install it with the tested versions of everything else."""
    session.install("--constraint", "constraints.txt", "pip>=25.1", "build")
    wheels = session.create_tmp()
    session.run("python", "-m", "build", "--outdir", wheels, silent=True)
    names = [argument for group in groups for argument in ("--group", group)]
    session.install("--constraint", "constraints.txt", *names, ".[all]")
    session.install("--no-deps", "--force-reinstall", "--no-index", "--find-links", wheels, "mqctx")
