# SPDX-License-Identifier: Apache-2.0
"""The first process of a pod trips a rule at once, fifty times: each alert says which pod it was, whatever the facts
come from.
"""

from __future__ import annotations

import secrets
import statistics
from typing import TYPE_CHECKING, Any

import pytest
from e2e.cluster.images import BUSYBOX
from e2e.kubernetes.release import LINE_S, MISSING
from e2e.kubernetes.workloads import SENSITIVE, facts, make, removed
from e2e.waiting import until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from e2e.cluster.cluster import Cluster
    from e2e.kubernetes.release import Alert, Release

PODS = 50
PODS_S = 90.0
EARLY_MS = 50.0
STARTED = "First process"
RULE = """\
- rule: First process
  desc: The very first event of the pods below.
  condition: evt.type in (execve, execveat) and proc.name = sed and proc.args contains fpy
  output: First process | args=%proc.args
  priority: NOTICE
"""
SOURCES: dict[str, dict[str, Any]] = {
    "files and API": {},
    "API alone": {"hostMounts": {"runtimes": []}},
    "files alone": {"kubernetes": {"pods": False, "owners": False, "services": False}},
}


@pytest.fixture(scope="module", params=list(SOURCES))
def sources(request: pytest.FixtureRequest, release: Release) -> Iterator[str]:
    """Where the agent may learn what a container is."""
    name: str = request.param
    release.install({"customRules": {"first.yaml": RULE}, **SOURCES[name]})
    yield name
    release.uninstall()


@pytest.fixture
def job(cluster: Cluster) -> Iterator[dict[str, Any]]:
    """Its pods do nothing but read a file, saying the word of the job's annotation `mark`, and end."""
    mark = f"fpy{secrets.token_hex(6)}"
    made = {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": f"hasty-{mark[-6:]}", "namespace": "default", "annotations": {"mark": mark}},
        "spec": {
            "completions": PODS,
            "parallelism": 10,
            "backoffLimit": 0,
            "template": {
                "spec": {
                    "restartPolicy": "Never",
                    "terminationGracePeriodSeconds": 0,
                    "containers": [
                        {"name": "first", "image": BUSYBOX, "command": ["sed", "-n", f"/{mark}/p", "/etc/shadow"]},
                    ],
                },
            },
        },
    }
    make(cluster, made)
    yield made
    removed(cluster, made, cascade="foreground")


def test_each_of_fifty_alerts_names_its_pod(
    cluster: Cluster, sources: str, release: Release, job: dict[str, Any], figure: Callable[[str, str], None]
) -> None:
    mark = job["metadata"]["annotations"]["mark"]

    def pods() -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = release.get("pods", f"--selector=job-name={job['metadata']['name']}")["items"]
        return found

    cluster.kubectl("wait", "--for=condition=Complete", f"job/{job['metadata']['name']}", f"--timeout={PODS_S:.0f}s")
    wanted = sorted((facts(one) for one in pods()), key=str)
    for title in (STARTED, SENSITIVE):
        until(lambda: len(release.alerts(title, mark)) >= PODS, LINE_S, lambda: said(release.alerts(title, mark)))  # noqa: B023
        alerts = release.alerts(title, mark)
        figure(f"{title}, facts from {sources}", f"{len(alerts) - len(lacking(alerts))} of {PODS} complete")
        assert len(alerts) == PODS
        assert not lacking(alerts), said(lacking(alerts))
        assert sorted((alert.facts() for alert in alerts), key=str) == wanted
    begun = {alert.fields["k8s_pod_name"]: alert.time_s for alert in release.alerts(STARTED, mark)}
    ages_ms = [1e3 * (alert.time_s - begun[alert.fields["k8s_pod_name"]]) for alert in release.alerts(SENSITIVE, mark)]
    # The first alert is of the very start; that of the file as early as a busy machine lets the process run.
    figure("    the file was read after", f"median {statistics.median(ages_ms):.2f} ms, most {max(ages_ms):.2f} ms")
    assert statistics.median(ages_ms) < EARLY_MS


def lacking(alerts: list[Alert]) -> list[Alert]:
    return [alert for alert in alerts if MISSING in alert.facts().values()]


def said(alerts: list[Alert]) -> str:
    return "\n".join(f"{alert.fields}" for alert in alerts)
