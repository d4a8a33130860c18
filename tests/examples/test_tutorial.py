"""The tutorial's files work as they are pasted, and its commands show what the page says."""

import re
import runpy
import subprocess
import sys
import warnings
from pathlib import Path

import pytest
from click.testing import CliRunner

from mqctx.cli import commands
from tests.integration.broker import Broker
from tests.integration.traced import Command, Vhost, until, vhost_of

PAGE = (Path(__file__).parents[2] / "docs/tutorial.md").read_text()
URL = "amqp://guest:guest@127.0.0.1/"
FILES = dict(re.findall(r"^```python\n# (\w+\.py)\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE))
SHOWN = re.findall(r"^```text\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)


def mqctx(vhost: Vhost, *arguments: str) -> str:
    where = ["--broker", vhost.url, "--management", vhost.management]
    result = CliRunner().invoke(commands, [*arguments, *where], env={"COLUMNS": "100"})
    assert result.exit_code == 0, result.output
    return re.sub(r"\d\d:\d\d:\d\d", "HH:MM:SS", result.stdout)


def without_times(journey: str) -> str:
    """Return a journey without what is another each time: times, and ports."""
    times = re.sub(r"\d\d:\d\d:\d\d\.\d{3}", "HH:MM:SS", journey)
    return re.sub(r"[\d.]+ m?s\b", "N s", re.sub(r"[\d.]+:\d+$", "host:port", times, flags=re.M))


class Billing:
    """The service in a process of its own."""

    def __init__(self, folder: Path) -> None:
        self.log = folder / "billing.log"
        with self.log.open("a") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-u", "billing.py"], cwd=folder, stdout=output, stderr=output
            )

    def __enter__(self) -> "Billing":
        return self

    def __exit__(self, *_: object) -> None:
        self.process.terminate()
        self.process.wait()

    def says(self, text: str) -> None:
        until(lambda: text in self.log.read_text())


def test_two_services_and_a_dead_letter_that_goes_back(
    broker: Broker,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    log, inspected, redriven, journey = SHOWN
    shop_lines = [line for line in log.splitlines(keepends=True) if line.startswith("shop")]
    (billed,) = (line for line in log.splitlines() if line.startswith("billing"))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it would rather have another client below it
        from starlette.testclient import TestClient  # noqa: PLC0415

    with vhost_of(broker) as vhost:
        vhost.change(default_queue_type="classic")  # as a broker has it from the start
        for name, code in FILES.items():
            (tmp_path / name).write_text(code.replace(URL, vhost.url))
        monkeypatch.syspath_prepend(tmp_path)
        app = runpy.run_path(str(tmp_path / "shop.py"))["app"]
        del sys.modules["log"]

        def order(request_id: str, tenant: str, body: str) -> None:
            headers = {"X-Request-Id": request_id, "X-Tenant-Id": tenant}
            assert client.post("/orders", headers=headers, content=body).status_code == 202

        with TestClient(app) as client:
            with Billing(tmp_path) as billing:
                order("r-1", "acme", "3 books")
                order("r-2", "initech", "1 pen")
                billing.says(billed)
                billing.says("KeyError: 'initech'")
                until(lambda: "KeyError" in mqctx(vhost, "inspect", "orders.dead"))
            assert capsys.readouterr().out == "".join(shop_lines)
            expected = re.sub(r"\d\d:\d\d:\d\d", "HH:MM:SS", inspected)
            assert mqctx(vhost, "inspect", "orders.dead") == expected

            code = (tmp_path / "billing.py").read_text()
            code = code.replace('{"acme": "4242"}', '{"acme": "4242", "initech": "5555"}')
            (tmp_path / "billing.py").write_text(code)
            where = ("redrive", "orders.dead", "--where", "tenant=initech")
            assert "orders" in mqctx(vhost, *where)
            mqctx(vhost, *where, "--yes")
            with Billing(tmp_path) as billing:
                billing.says(redriven)
                trace = Command(vhost, "--no-color")
                until(lambda: vhost.is_traced)
                order("r-3", "acme", "1 ink")
                billing.says("1 ink")
                code, out, err = trace.end()
            assert (code, without_times(out)) == (0, without_times(journey)), err


def test_the_page_names_each_file() -> None:
    assert FILES.keys() == {"log.py", "shop.py", "billing.py"}
