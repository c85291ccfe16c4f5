# SPDX-License-Identifier: Apache-2.0
"""A real Prometheus scrapes the web server and answers questions about what it found."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import pytest

from falco_py.background import Background
from falco_py.config.model import WebServer as Settings
from falco_py.metrics.prometheus import Exposition
from falco_py.web.server import Health, WebServer
from tests.metrics.made import ALL, reading

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

PROMETHEUS = shutil.which("prometheus")
DEADLINE_S = 60.0
TOKEN = "a token with spaces"
pytestmark = pytest.mark.skipif(
    PROMETHEUS is None, reason="prometheus is not installed (Debian's package of that name)"
)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as made:
        port: int = made.getsockname()[1]
        return port


@pytest.fixture
def started() -> Iterator[Callable[..., str]]:
    """Starts a web server and a Prometheus that scrapes it; gives the address of the latter."""
    with ExitStack() as stack:

        def start(directory: Path, given: str) -> str:
            background, exposition = Background(), Exposition(ALL)
            settings = Settings(
                listen_address="127.0.0.1", listen_port=0, prometheus_metrics_enabled=True, bearer_token=TOKEN
            )
            web = WebServer(settings, background, Health, dict, lambda: exposition.text(reading()))
            stack.callback(background.close)
            stack.callback(web.close)
            web.start()
            config = directory / "prometheus.yml"
            config.write_text(json.dumps({  # which is YAML
                "global": {"scrape_interval": "1s"},
                "scrape_configs": [{
                    "job_name": "falco",
                    "authorization": {"credentials": given},
                    "static_configs": [{"targets": [f"127.0.0.1:{web.port}"]}],
                }],
            }))  # fmt: skip
            port = free_port()
            assert PROMETHEUS is not None
            log = stack.enter_context((directory / "prometheus.log").open("wb"))
            running = subprocess.Popen(
                [PROMETHEUS, f"--config.file={config}", f"--storage.tsdb.path={directory / 'data'}",
                 f"--web.listen-address=127.0.0.1:{port}"],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            )  # fmt: skip
            stack.callback(running.wait, 20)
            stack.callback(running.kill)
            return f"http://127.0.0.1:{port}"

        yield start


def found(address: str, query: str) -> list[dict[str, Any]]:
    """What a query gives, once it gives anything."""
    url = f"{address}/api/v1/query?{urllib.parse.urlencode({'query': query})}"
    end = time.monotonic() + DEADLINE_S
    while True:
        try:
            with urllib.request.urlopen(url, timeout=5) as answer:
                result: list[dict[str, Any]] = json.load(answer)["data"]["result"]
        except (urllib.error.URLError, ConnectionError):
            result = []
        if result:
            return result
        assert time.monotonic() < end, f"no answer to {query}"
        time.sleep(0.1)


def test_prometheus_knows_the_figures(started: Callable[..., str], tmp_path: Path) -> None:
    address = started(tmp_path, TOKEN)
    (rule,) = found(address, 'falcosecurity_falco_rules_matches_total{tag_T1555="true"}')
    assert rule["value"][1] == "5"
    assert rule["metric"]["rule_name"] == "Read sensitive file (untrusted)"
    (lost,) = found(address, "sum(falcosecurity_scap_n_drops_total) / sum(falcosecurity_scap_n_evts_total)")
    assert float(lost["value"][1]) == pytest.approx(10 / 810)
    (start,) = found(address, "falcosecurity_falco_start_timestamp_nanoseconds / 1e9")
    assert float(start["value"][1]) == 1_700_000_000
    assert [one["value"][1] for one in found(address, "up")] == ["1"]
    assert len(found(address, '{__name__=~"falcosecurity_.+"}')) > 100


def test_prometheus_with_another_token_gets_nothing(started: Callable[..., str], tmp_path: Path) -> None:
    address = started(tmp_path, "wrong")
    assert [one["value"][1] for one in found(address, "up")] == ["0"]
