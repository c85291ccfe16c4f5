# SPDX-License-Identifier: Apache-2.0
"""Things end and come back: the API server, the agent's pod, containerd. Alerts stay complete, and none is missing."""

from __future__ import annotations

import secrets
import time
from typing import TYPE_CHECKING, Any

import pytest
from e2e.cluster.settings import NODE
from e2e.kubernetes.workloads import (
    BEACON,
    BEACON_RULE,
    SENSITIVE,
    beacon,
    facts,
    gaps,
    incomplete,
    pod,
    removed,
    started,
)
from e2e.waiting import until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from e2e.cluster.cluster import Cluster
    from e2e.kubernetes.release import Alert, Release

AWAY_S = 60.0
BACK_S = 90.0
AFTER_S = 3.0
DOWN_S = 3.0
# A container that kubelet starts again and again, with an identity of its own each time: after 10, 20, 40 s.
RESTARTING = pod("restarting", "sh", "-c", "cat /etc/shadow /restarting; sleep 1")


@pytest.fixture(scope="module")
def source(cluster: Cluster) -> Iterator[dict[str, Any]]:
    made = beacon()
    started(cluster, made)
    yield made
    removed(cluster, made)


@pytest.fixture(scope="module")
def watching(release: Release, source: dict[str, Any]) -> Release:
    release.install({"customRules": {"beacon.yaml": BEACON_RULE}})
    release.expect(BEACON)
    return release


def wait_for_alert_after(release: Release, time_s: float, title: str = BEACON) -> Alert:
    """The first alert of an event after `time_s`. Raises AssertionError."""
    return until(
        lambda: next((alert for alert in release.alerts(title) if alert.time_s > time_s), None), BACK_S, release.tail
    )


def between(alerts: list[Alert], first_s: float, last_s: float) -> list[Alert]:
    return [alert for alert in alerts if first_s <= alert.time_s < last_s]


def test_alerts_are_complete_after_the_agents_pod_was_killed(
    cluster: Cluster, watching: Release, source: dict[str, Any], figure: Callable[[str, str], None]
) -> None:
    before = watching.pod()["metadata"]
    (last,) = watching.alerts(BEACON)[-1:]
    killed_s = time.time()
    cluster.kubectl("delete", "pod", before["name"], "--grace-period=0", "--force")
    until(lambda: (pods := watching.get("pods", "--selector=app=falco-py")["items"])
          and pods[0]["metadata"]["uid"] != before["uid"], BACK_S, lambda: "there is no new pod")  # fmt: skip
    watching.ready()
    first = wait_for_alert_after(watching, killed_s)
    figure("not watched while the agent's pod was replaced", f"{first.time_s - last.time_s:.1f} s")
    wait_for_alert_after(watching, first.time_s + AFTER_S)
    alerts = watching.alerts(BEACON)
    assert watching.pod()["metadata"]["uid"] != before["uid"]
    assert gaps(alerts) == []
    assert incomplete(alerts, facts(source)) == []


def test_alerts_are_complete_when_containerd_is_started_again(
    cluster: Cluster, watching: Release, source: dict[str, Any]
) -> None:
    before = watching.pod()["metadata"]["uid"]
    begun_s = time.time()
    cluster.stop_daemon("containerd")
    try:
        time.sleep(DOWN_S)
    finally:
        cluster.start_daemon("containerd")
    ended_s = time.time()
    wait_for_alert_after(watching, ended_s + AFTER_S)
    a_new_pod_is_told(cluster, watching)
    alerts = watching.alerts(BEACON)
    assert between(alerts, begun_s, ended_s)
    assert gaps(alerts) == []
    assert incomplete(alerts, facts(source)) == []
    pod_now = watching.pod()
    assert (pod_now["metadata"]["uid"], pod_now["status"]["containerStatuses"][0]["restartCount"]) == (before, 0)


def a_new_pod_is_told(cluster: Cluster, watching: Release, **more: Any) -> None:
    """`more`: of its spec."""
    mark = f"/later-{secrets.token_hex(4)}"
    later = pod("later", "sh", "-c", f"cat /etc/shadow {mark}; sleep infinity", **more)
    try:
        started(cluster, later)
        assert watching.expect(SENSITIVE, mark).facts() == facts(later)
    finally:
        removed(cluster, later)


def test_alerts_are_complete_while_the_api_server_is_away(
    cluster: Cluster, watching: Release, source: dict[str, Any], figure: Callable[[str, str], None]
) -> None:
    restarting = RESTARTING
    try:
        started(cluster, restarting)
        before = watching.pod()["metadata"]["uid"]
        watching.expect(SENSITIVE, "/restarting")
        away_s = time.time()
        cluster.stop_daemon("kube-apiserver")
        try:
            time.sleep(AWAY_S)
        finally:
            cluster.start_daemon("kube-apiserver")
        back_s = time.time()
        wait_for_alert_after(watching, back_s + AFTER_S)
        assert watching.pod()["metadata"]["uid"] == before

        alerts = watching.alerts(BEACON)
        meanwhile = between(alerts, away_s, back_s)
        figure("alerts while the API server was away", f"{len(meanwhile)} in {back_s - away_s:.0f} s")
        assert between(alerts, 0, away_s)
        assert meanwhile
        assert gaps(alerts) == []
        assert incomplete(alerts, facts(source)) == []

        # Of containers that were started meanwhile.
        fresh = between(watching.alerts(SENSITIVE, "/restarting"), away_s + 1, back_s)
        figure("containers started meanwhile, with all facts", f"{len(fresh)}")
        assert fresh
        assert incomplete(fresh, facts(restarting)) == []
        assert len({alert.fields["container_id"] for alert in fresh}) == len(fresh)

        until(lambda: watching.health() == {"status": "ok"}, BACK_S, lambda: f"{watching.health()}")
        figure("    after its return the agent watches again within", f"{time.time() - back_s:.0f} s")

        # And of pods that come afterwards. Kubelet, and the scheduler, would not look for them for another minute.
        cluster.restart("kubelet")
        a_new_pod_is_told(cluster, watching, nodeName=NODE)
    finally:
        removed(cluster, restarting)
        cluster.kubectl("wait", "--for=condition=Ready", f"node/{NODE}", f"--timeout={BACK_S:.0f}s")
