# SPDX-License-Identifier: Apache-2.0
"""A running agent whose rules are a ConfigMap of an API server: edits count at once, mistakes change nothing."""

from __future__ import annotations

import http.client
import json
import time
from typing import TYPE_CHECKING, Any

import pytest

from tests.kube.configmaps import NAME, NAMESPACE, ApiServer
from tests.live.harness import Agent
from tests.live.test_reload import open_file, reloads
from tests.outputs.items import until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

FILE = "falco_rules.local.yaml"
EDIT_S = 5.0  # from an edit to its effect
REFUSAL = "Not reloaded: "
CONNECTED = "falcosecurity_falco_py_kubernetes_connected"
KNOWN = "a file changed: to what is in use, or was refused"
LEFT_OUT = "Falco internal: rules file left out"


def rule(version: int, directory: Path) -> str:
    return (
        "- rule: Canary\n  desc: numbered files\n"
        f"  condition: evt.type in (open, openat) and fd.name startswith {directory}/canary-\n"
        f"  output: canary %fd.name version={version}\n  priority: NOTICE\n"
    )


def broken(version: int, directory: Path) -> str:
    return rule(version, directory).replace("evt.type in", "evt.tpye in")


class Node:
    """An agent, the API server, and the directory where the kubelet would mount the ConfigMap."""

    def __init__(self, tmp_path: Path) -> None:
        self.tmp_path = tmp_path
        self.volume = tmp_path / "rules.d"
        self.volume.mkdir()
        self.server = ApiServer().start()
        self.agent: Agent | None = None
        self._opened = 0

    @property
    def path(self) -> str:
        return str(self.volume / FILE)

    def start(self, *more: str, base: str = "") -> Agent:
        kubeconfig = self.server.kubeconfig(self.tmp_path / "kubeconfig")
        config = self.tmp_path / "falco.yaml"
        config.write_text(
            json.dumps(
                {
                    "kubernetes": {
                        "enabled": True,
                        "kubeconfig": str(kubeconfig),
                        "node_name": "node-1",
                        "pods": False,
                        "rules_configmap": f"{NAMESPACE}/{NAME}",
                        "rules_directory": str(self.volume),
                    },
                    "webserver": {
                        "enabled": True,
                        "listen_address": "127.0.0.1",
                        "listen_port": 0,
                        "prometheus_metrics_enabled": True,
                    },
                    "metrics": {"enabled": True, "output_rule": False},
                    "log_level": "debug",
                }
            )
        )
        others = self.tmp_path / "base.yaml"
        others.write_text(base or "- list: nothing\n  items: []\n")
        self.agent = Agent([others, self.volume], self.tmp_path / "agent", options=("-c", str(config), *more)).start()
        return self.agent

    def edit(self, text: str) -> None:
        self.server.put({FILE: text})

    def write(self, text: str) -> None:
        """What the kubelet does."""
        new = self.volume / "..new"
        new.write_text(text)
        new.rename(self.path)

    def configure(self, text: str) -> None:
        """Another falco.yaml, at once: one that is written in place may be read half way."""
        new = self.tmp_path / "new.yaml"
        new.write_text(text)
        new.rename(self.tmp_path / "falco.yaml")

    def fires(self, version: int) -> None:
        assert self.agent is not None
        self._opened += 1
        open_file(self.tmp_path / f"canary-{self._opened}")
        self.agent.expect("Canary", f"canary-{self._opened} version={version}")

    def events(self, reason: str) -> list[dict[str, Any]]:
        return [one for one in self.server.written() if one["reason"] == reason]

    def get(self, path: str) -> str:
        assert self.agent is not None
        agent = self.agent
        line = until(lambda: next((one for one in agent.errors if "listening on" in one), None))
        client = http.client.HTTPConnection("127.0.0.1", int(line.rpartition(":")[2]), timeout=10)
        try:
            client.request("GET", path)
            return client.getresponse().read().decode()
        finally:
            client.close()

    def health(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.get("/healthz"))
        return found

    def lines(self, text: str) -> int:
        assert self.agent is not None
        return sum(text in line for line in self.agent.errors)

    def stop(self) -> None:
        if self.agent is not None:
            self.agent.stop()
        self.server.stop()


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Node]:
    made = Node(tmp_path)
    yield made
    made.stop()


def test_edits_count_at_once_and_mistakes_change_nothing(node: Node, tmp_path: Path) -> None:
    node.write(rule(1, tmp_path))
    node.edit(rule(1, tmp_path))
    agent = node.start()
    until(lambda: node.server.asked("GET", "configmaps") == 2)  # the list, and the watch
    node.fires(1)

    began_s = time.monotonic()
    node.edit(rule(2, tmp_path))
    until(lambda: reloads(agent) == 1)
    took_s = time.monotonic() - began_s
    assert took_s < EDIT_S
    node.fires(2)
    versions = json.loads(node.get("/versions"))
    assert versions["rules_generation"] == 1
    assert node.lines(f"rules generation 1, digest {versions['rules_digest']}") == 1
    assert f'rules_digest_info{{digest="{versions["rules_digest"]}"}} 1' in node.get("/metrics")

    node.edit(broken(3, tmp_path))
    (event,) = until(lambda: node.events("RulesRefused"))
    place = f"{node.path}:3:14"
    assert event["message"].startswith(f"node node-1: {place}: rule 'Canary': ")
    assert "evt.tpye" in event["message"]
    assert event["involvedObject"]["uid"] == f"uid-{NAME}"
    health = node.health()
    assert health["status"] == "degraded"
    assert f"the last reload was refused: {place}" in health["reasons"][0]
    assert "falcosecurity_falco_py_reload_refused 1" in node.get("/metrics").replace(".0", "")
    node.fires(2)

    assert not node.lines(KNOWN)
    node.write(broken(3, tmp_path))  # the volume catches up: it is refused already
    until(lambda: node.lines(KNOWN))
    assert node.lines(REFUSAL) == 1

    node.edit(rule(2, tmp_path))  # back to what runs: that is news, too
    until(lambda: reloads(agent) == 2)
    assert node.health() == {"status": "ok"}
    node.fires(2)
    (event,) = until(lambda: node.events("RulesLoaded"), 20)
    assert event["type"] == "Normal"
    assert f"rules generation 2, digest {versions['rules_digest']}" in event["message"]
    assert node.lines(REFUSAL) == 1

    node.edit(broken(3, tmp_path))  # and so is the same mistake once more
    until(lambda: node.lines(REFUSAL) == 2)


def test_while_the_api_server_is_away_the_volume_counts(node: Node, tmp_path: Path) -> None:
    node.write(rule(1, tmp_path))
    node.edit(rule(2, tmp_path))
    agent = node.start()
    until(lambda: reloads(agent) == 1)
    node.fires(2)
    node.server.stop()
    until(lambda: f'{CONNECTED}{{kind="configmaps"}} 0' in node.get("/metrics"))
    node.write(rule(3, tmp_path))
    until(lambda: reloads(agent) == 2)
    node.fires(3)
    node.server.start()
    node.edit(rule(4, tmp_path))
    until(lambda: reloads(agent) == 3, 60)
    node.fires(4)


def test_an_agent_starts_without_the_broken_file_and_takes_it_when_it_is_mended(node: Node, tmp_path: Path) -> None:
    node.write(broken(1, tmp_path))
    node.edit(broken(1, tmp_path))
    other = rule(9, tmp_path).replace("Canary", "Other").replace("canary-", "other-")
    agent = node.start("-o", "engine.falco_py.broken_rules_files=skip", base=other)
    open_file(tmp_path / "other-1")
    agent.expect("Other", "other-1")
    alert = agent.expect(LEFT_OUT, node.path)
    assert "evt.tpye" in alert.fields["reason"]
    assert alert.priority == "Critical"
    health = node.health()
    assert health["status"] == "degraded"
    assert health["reasons"][0].startswith(f"{node.path} is left out: {node.path}:3:14: ")
    assert "falcosecurity_falco_py_files_left_out 1" in node.get("/metrics").replace(".0", "")
    (event,) = until(lambda: node.events("RulesRefused"))
    assert event["message"].endswith("; 1 rules file is left out, the others are in use")
    assert reloads(agent) == 0  # the API server has the same
    node.edit(rule(2, tmp_path))
    until(lambda: reloads(agent) == 1)
    node.fires(2)
    assert node.health() == {"status": "ok"}
    until(lambda: node.events("RulesLoaded"), 20)


def test_a_change_of_the_section_waits_for_the_next_start(node: Node, tmp_path: Path) -> None:
    node.write(rule(1, tmp_path))
    node.edit(rule(1, tmp_path))
    agent = node.start()
    config = tmp_path / "falco.yaml"
    node.configure(config.read_text().replace("node-1", "node-2"))
    until(lambda: reloads(agent) == 1)
    assert node.lines("kubernetes: what it says now counts when the agent starts again") == 1
    assert node.health()["reasons"] == ["kubernetes in falco.yaml is another than at the start, which counts"]
    node.edit(rule(2, tmp_path))
    until(lambda: reloads(agent) == 2)
    node.fires(2)


def test_a_mistake_in_falco_yaml_is_not_told_on_the_configmap_of_the_rules(node: Node, tmp_path: Path) -> None:
    node.write(rule(1, tmp_path))
    node.edit(rule(1, tmp_path))
    agent = node.start()
    config = tmp_path / "falco.yaml"
    good = config.read_text()
    for text, status in ((good.replace('"debug"', '"loud"'), "degraded"), (good, "ok")):
        node.configure(text)
        until(lambda status=status: node.health()["status"] == status)
    assert reloads(agent) == 1, agent.log()
    node.edit(broken(2, tmp_path))
    until(node.server.written)
    (event,) = node.server.written()
    assert event["reason"] == "RulesRefused"
    assert node.path in event["message"]
