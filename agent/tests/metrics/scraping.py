# SPDX-License-Identifier: Apache-2.0
"""A real Prometheus that scrapes one target, and what it answers."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

DEADLINE_S = 60.0


def program(name: str) -> str:
    found = shutil.which(name)
    assert found, f"{name} is missing; 'make test' installs it"
    return found


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as made:
        port: int = made.getsockname()[1]
        return port


@contextmanager
def prometheus(directory: Path, target: str, token: str = "") -> Iterator[str]:
    """Scrapes `target` (host:port) each second while the block runs; gives the address where it answers."""
    job: dict[str, Any] = {"job_name": "falco", "static_configs": [{"targets": [target]}]}
    if token:
        job["authorization"] = {"credentials": token}
    config = directory / "prometheus.yml"
    config.write_text(json.dumps({"global": {"scrape_interval": "1s"}, "scrape_configs": [job]}))  # which is YAML
    port = free_port()
    with (directory / "prometheus.log").open("wb") as log:
        running = subprocess.Popen(
            [program("prometheus"), f"--config.file={config}", f"--storage.tsdb.path={directory / 'data'}",
             f"--web.listen-address=127.0.0.1:{port}"],
            stdin=subprocess.DEVNULL, stdout=log, stderr=log,
        )  # fmt: skip
        try:
            yield f"http://127.0.0.1:{port}"
        finally:
            running.kill()
            running.wait(20)


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
