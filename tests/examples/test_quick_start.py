"""The quick start works as it is pasted, and logs what its page says."""

import re
import socket
import subprocess
import sys
import time
from pathlib import Path

import httpx

PAGE = (Path(__file__).parents[2] / "docs/quick-start.md").read_text()
URL = "amqp://guest:guest@127.0.0.1/"


def test_the_pasted_application_logs_what_the_page_shows(amqp_url: str, tmp_path: Path) -> None:
    (code,) = re.findall(r"^```python\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)
    _before, after = re.findall(r"^```text\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)
    queue = f"orders-{tmp_path.name}"
    code = code.replace(URL, amqp_url).replace('"orders"', f'"{queue}", auto_delete=True', 1)
    (tmp_path / "shop.py").write_text(
        code.replace('routing_key="orders"', f'routing_key="{queue}"')
    )
    log = tmp_path / "log"
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    options = ["--no-access-log", "--port", str(port), "--log-level", "error"]
    with (
        log.open("w") as output,
        subprocess.Popen(
            [sys.executable, "-m", "uvicorn", *options, "shop:app"], cwd=tmp_path, stdout=output
        ) as server,
    ):
        try:
            order(port, "r-1", "acme", "3 books")
            order(port, "r-2", "initech", "1 pen")
            deadline = time.monotonic() + 20
            while len(log.read_text().splitlines()) < 4 and time.monotonic() < deadline:
                time.sleep(0.05)
        finally:
            server.terminate()
    assert sorted(log.read_text().splitlines()) == sorted(after.splitlines())


def order(port: int, request_id: str, tenant: str, body: str) -> None:
    headers = {"X-Request-Id": request_id, "X-Tenant-Id": tenant}
    transport = httpx.HTTPTransport(retries=10)
    with httpx.Client(transport=transport, base_url=f"http://127.0.0.1:{port}") as client:
        answer = client.post("/orders", headers=headers, content=body)
    assert answer.status_code == 202
    assert answer.headers["X-Request-Id"] == request_id


def test_the_page_names_the_commands_curl_sends() -> None:
    curls = re.findall(r"X-Request-Id: (\S+)' -H 'X-Tenant-Id: (\S+)' -d '([^']+)'", PAGE)
    assert curls == [("r-1", "acme", "3 books"), ("r-2", "initech", "1 pen")]
