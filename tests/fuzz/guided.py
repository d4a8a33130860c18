"""A coverage-guided fuzzer on the decoders: `python -m tests.fuzz.guided SECONDS CORPUS_DIR`.

It is guided by the coverage of mqctx, and of the JSON parser in pure Python with which the
result is compared: msgspec's own is in C and shows none. Ends with a traceback, and the value
beside it in CORPUS_DIR, where `Oracle.check` fails, a value takes 20 seconds, or memory 2 GB.
"""

import itertools
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

from tests.fuzz.hostile import DECLARED_TEXTS, NAMES, TEXT_TOKENS, TOKENS, Hostile
from tests.fuzz.layouts import ORACLES


def main(seconds: int, corpus: Path) -> None:
    """Fuzz for some seconds."""
    atheris = import_module("atheris")
    checked = instrumented_check(atheris)
    write_corpus(corpus)
    options = [
        f"-max_total_time={seconds}",
        "-timeout=20",
        "-rss_limit_mb=2048",
        "-max_len=4200",
        "-seed=2026",
        "-print_final_stats=1",
        f"-artifact_prefix={corpus}/",
        f"-dict={write_dictionary(corpus)}",
        str(corpus),
    ]
    atheris.Setup([sys.argv[0], *options], checked)
    atheris.Fuzz()


def instrumented_check(atheris: Any) -> Any:
    """Import what guides the fuzzer anew, instrumented, and return what it calls."""
    anew = ("json", "mqctx", "tests.fuzz.layouts", "tests.fuzz.oracle")
    for name in [name for name in sys.modules if name.startswith(anew)]:
        del sys.modules[name]
    with atheris.instrument_imports(include=["json", "mqctx"]):
        load = pure_python_loads(import_module("json.decoder"), import_module("json.scanner"))
        oracle = import_module("tests.fuzz.oracle")
        layouts = import_module("tests.fuzz.layouts")
    oracle.declare()
    checks = [oracle.Oracle(load=load).check]
    checks += [make().check for make in layouts.ORACLES.values()]

    def check_one(data: bytes) -> None:
        # The first byte chooses the format, and the type in which the header arrives.
        kind, raw = data[0] if data else 0, data[1:]
        check = checks[kind // 3 % len(checks)]
        check([raw.decode(errors="surrogateescape"), raw, bytearray(raw)][kind % 3])

    return check_one


def pure_python_loads(decoder: Any, scanner: Any) -> Any:
    """Return `json.loads` as it works without its C accelerator."""
    parser = decoder.JSONDecoder()
    parser.parse_string = decoder.py_scanstring
    parser.scan_once = scanner.py_make_scanner(parser)

    def loads(raw: Any) -> object:
        text = raw if isinstance(raw, str) else raw.decode(errors="surrogatepass")
        return parser.decode(text)

    return loads


def write_corpus(corpus: Path) -> None:
    """Write values to start from, for each format."""
    layouts = [None, *(make().layout for make in ORACLES.values())]
    for number, layout in enumerate(layouts):
        for place, raw in enumerate(itertools.islice(Hostile(1, layout), 500)):
            if isinstance(raw, str):
                encoded = bytes([3 * number]) + raw.encode(errors="surrogatepass")
            elif isinstance(raw, bytes | bytearray):
                encoded = bytes([3 * number + 1]) + raw
            else:
                continue
            (corpus / f"start-{number}-{place}").write_bytes(encoded[:4200])


def write_dictionary(corpus: Path) -> Path:
    """Write the tokens that are worth inserting, in libFuzzer's format; return where."""
    tokens = [*TOKENS, *TEXT_TOKENS, *(f'"{name}":'.encode() for name in [*NAMES, *DECLARED_TEXTS])]
    escaped = ("".join(f"\\x{byte:02x}" for byte in token) for token in tokens if len(token) < 99)
    path = corpus.with_suffix(".dict")
    path.write_text("".join(f'"{token}"\n' for token in escaped))
    return path


if __name__ == "__main__":
    main(int(sys.argv[1]), Path(sys.argv[2]))
