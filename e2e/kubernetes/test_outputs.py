# SPDX-License-Identifier: Apache-2.0
"""Alerts and figures leave the agent: to a receiver in the cluster, and for Prometheus."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from e2e.kubernetes.workloads import SENSITIVE, make, pod, removed, started
from e2e.waiting import until
from prometheus_client.parser import text_string_to_metric_families

if TYPE_CHECKING:
    from collections.abc import Iterator

    from e2e.cluster.cluster import Cluster
    from e2e.kubernetes.release import Release

RECEIVED_S = 30.0
PORT = 8080
RULE = "Read sensitive file untrusted"
RECEIVER = """\
import http.server

class Receiver(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        print(self.rfile.read(int(self.headers["Content-Length"])).decode(), flush=True)
        self.send_response(200)
        self.end_headers()

    def log_message(self, *words):
        pass

http.server.HTTPServer(("", 8080), Receiver).serve_forever()
"""


@pytest.fixture(scope="module")
def receiver(cluster: Cluster, image: str) -> Iterator[str]:
    """Where alerts can be posted to. Its pod, `receiver`, prints what it gets."""
    made = pod("receiver", "python3", "-c", RECEIVER, image=image)
    made["spec"]["containers"][0]["readinessProbe"] = {"tcpSocket": {"port": PORT}, "periodSeconds": 1}
    made["metadata"]["labels"] = {"app": "receiver"}
    service = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "receiver", "namespace": "default"},
        "spec": {"selector": {"app": "receiver"}, "ports": [{"port": PORT}]},
    }
    make(cluster, service)
    started(cluster, made)
    address = cluster.kubectl("get", "service/receiver", "--output=jsonpath={.spec.clusterIP}").stdout
    yield f"http://{address}:{PORT}/alerts"
    removed(cluster, made, service)


@pytest.fixture(scope="module")
def victim(cluster: Cluster) -> Iterator[dict[str, Any]]:
    made = pod("victim", "sleep", "infinity")
    started(cluster, made)
    yield made
    removed(cluster, made)


@pytest.fixture(scope="module")
def sending(release: Release, receiver: str, victim: dict[str, Any]) -> Release:
    """An agent that was installed as it is, and got the receiver's address later."""
    release.install()
    release.upgrade({"webhook": {"enabled": True, "url": receiver}, "falco": {"json_output": True},
                     "metrics": {"enabled": True}})  # fmt: skip
    return release


def read_shadow(cluster: Cluster, mark: str) -> None:
    cluster.kubectl("exec", "victim", "--", "cat", "/etc/shadow", f"/{mark}", check=False)


def received(cluster: Cluster, mark: str) -> list[dict[str, Any]]:
    said = cluster.kubectl("logs", "receiver").stdout.splitlines()
    return [json.loads(line) for line in said if mark in line]


def matches(text: str) -> float:
    """Of RULE, in a text of Prometheus."""
    return sum(
        sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.name == "falcosecurity_falco_rules_matches_total" and sample.labels["rule_name"] == RULE
    )


def test_a_receiver_in_the_cluster_gets_the_alert(sending: Release, victim: dict[str, Any], mark: str) -> None:
    cluster = sending.cluster
    read_shadow(cluster, mark)
    (alert,) = until(lambda: received(cluster, mark), RECEIVED_S, sending.tail)
    assert alert["rule"] == RULE
    assert alert["output"].startswith(f"{alert['time'][:4]}")
    assert SENSITIVE in alert["output"]
    assert alert["hostname"] == "node1"
    fields = alert["output_fields"]
    (container,) = victim["spec"]["containers"]
    assert fields["k8s.pod.name"] == "victim"
    assert fields["k8s.ns.name"] == "default"
    assert fields["container.name"] == container["name"]
    assert f"{fields['container.image.repository']}:{fields['container.image.tag']}" == container["image"]
    assert fields["proc.cmdline"] == f"cat /etc/shadow /{mark}"


def test_the_rules_counter_moves(sending: Release, mark: str) -> None:
    before = matches(sending.ask("/metrics"))
    read_shadow(sending.cluster, mark)
    until(lambda: matches(sending.ask("/metrics")) == before + 1, RECEIVED_S, lambda: sending.ask("/metrics")[:4000])
