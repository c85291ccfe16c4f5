# SPDX-License-Identifier: Apache-2.0
"""A real Alertmanager takes alerts, with the configuration that docs/http-output.md shows."""

from __future__ import annotations

import json
import re
import subprocess
import time
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from falco_py.background import Background
from falco_py.config.load import load
from falco_py.engine.alert import Alert
from falco_py.outputs.http import Http
from falco_py.outputs.item import Item
from tests.outputs.items import until
from tests.outputs.receiver import free_port

if TYPE_CHECKING:
    from collections.abc import Iterator

    from falco_py.config.model import Config

PAGE = Path(__file__).resolve().parents[3] / "docs" / "http-output.md"
CONFIGURATION = "route: {receiver: nobody}\nreceivers: [{name: nobody}]\n"
DOCUMENTED = "127.0.0.1:9093"


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[str]:
    """Its address."""
    (tmp_path / "alertmanager.yml").write_text(CONFIGURATION)
    address = f"127.0.0.1:{free_port()}"
    with (tmp_path / "alertmanager.log").open("wb") as log:
        process = subprocess.Popen(
            ["prometheus-alertmanager", f"--config.file={tmp_path / 'alertmanager.yml'}",
             f"--storage.path={tmp_path / 'data'}", f"--web.listen-address={address}",
             "--cluster.listen-address="],
            stdout=log, stderr=log,
        )  # fmt: skip
    try:

        def ready() -> bool:
            assert process.poll() is None, (tmp_path / "alertmanager.log").read_text()
            try:
                with urllib.request.urlopen(f"http://{address}/-/ready", timeout=1) as answer:
                    return bool(answer.status == 200)
            except OSError:
                return False

        until(ready, 30)
        yield address
    finally:
        process.terminate()
        process.wait(20)


def documented(address: str, tmp_path: Path) -> Config:
    """The page's configuration, with the test's address and directory."""
    found = re.search(r"```yaml alertmanager\n(.*?)```", PAGE.read_text(), re.DOTALL)
    assert found is not None
    text = found[1]
    assert DOCUMENTED in text
    path = tmp_path / "falco.yaml"
    path.write_text(text.replace(DOCUMENTED, address))
    return load(str(path), [f"http_output.spool.directory={tmp_path / 'spool'}"])


def test_amtool_shows_what_was_posted(manager: str, tmp_path: Path) -> None:
    config = documented(manager, tmp_path)
    assert config.outputs.http is not None
    background = Background()
    http = Http(config.outputs.http, json_output=config.json_output, background=background)
    http.start()
    alert = Alert(
        rule="Read sensitive file untrusted", priority=4, source="syscall", tags=("mitre", "container"),
        ts_ns=time.time_ns(), message='Sensitive file opened | file=/etc/shadow command=cat "x" \u202e \n',
        fields={"k8s.ns.name": "shop", "k8s.pod.name": "cart-1", "container.name": "cart"}, hostname="node-1",
    )  # fmt: skip
    try:
        http.offer(Item(alert, alert.line(config)))
        http.tell()
        until(lambda: http.sent)
        assert http.problem == ""
    finally:
        http.close(5)
        background.close()
    asked = ["amtool", f"--alertmanager.url=http://{manager}", "alert", "query", "--output=json", "severity=warning"]
    (found,) = json.loads(subprocess.run(asked, check=True, capture_output=True, text=True, timeout=20).stdout)
    assert found["labels"] == {
        "alertname": "Read sensitive file untrusted", "severity": "warning", "priority": "warning",
        "source": "syscall", "hostname": "node-1", "namespace": "shop", "pod": "cart-1", "container": "cart",
    }  # fmt: skip
    assert found["annotations"]["summary"] == 'Sensitive file opened | file=/etc/shadow command=cat "x" \\u202e \\n'
    assert found["annotations"]["tags"] == "container,mitre"
    assert found["status"]["state"] == "active"
