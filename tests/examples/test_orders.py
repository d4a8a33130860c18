"""The example of five processes tells each request's story whole, and nothing of another."""

import os
import re
import subprocess
import sys
from pathlib import Path

from tests.integration.broker import Broker
from tests.integration.traced import vhost_of

ROOT = Path(__file__).parents[2]
SERVICES = {"api", "billing", "mail", "partner", "shipping"}


def test_each_request_is_told_by_five_processes_and_none_is_mixed_up(
    broker: Broker, tmp_path: Path
) -> None:
    with vhost_of(broker) as vhost:
        vhost.change(default_queue_type="classic")
        told = subprocess.run(
            [sys.executable, ROOT / "examples/orders/run.py"],
            env={
                **os.environ,
                "MQCTX_BROKER_URL": vhost.url,
                "MQCTX_MANAGEMENT_URL": vhost.management,
            },
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=180,
            check=False,
        )
    assert told.returncode == 0, told.stderr
    *stories, summary, journey, counts = told.stdout.strip().split("\n\n")
    requests = {story.splitlines()[0]: story.splitlines()[1:] for story in stories}
    assert set(requests) == {"r-ada-1", "r-bob-2", "r-cyd-3"}
    for request_id, lines in requests.items():
        assert {line.split()[2] for line in lines} == SERVICES
        assert {line.split()[3] for line in lines} == {OWNERS[request_id]}
    assert re.fullmatch(r"3 requests, \d+ lines of 5 processes, 0 mixed up\.", summary)
    runs = re.findall(r"handled by (\S+) \S+: returned in", journey)
    assert sorted(runs) == ["billing", "mail", "shipping"]
    assert counts.startswith("3 journeys, 9 publishes, 9 deliveries, 9 runs in ")
    assert "(0 inferred; " in counts
    assert '"handler":"mail.confirm"' in (tmp_path / "mqctx-orders.html").read_text()


OWNERS = {"r-ada-1": "acme/ada", "r-bob-2": "umbrella/bob", "r-cyd-3": "acme/cyd"}
