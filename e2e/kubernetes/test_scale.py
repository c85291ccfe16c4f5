# SPDX-License-Identifier: Apache-2.0
"""A large cluster beside a full node: what it costs the agent, and the API server.

It comes last, as it leaves its pods and namespaces in the cluster.
"""

from __future__ import annotations

import contextlib
import sys
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

from e2e.cluster.images import PAUSE
from e2e.cluster.settings import NODE
from e2e.kubernetes import crowd
from e2e.kubernetes.bpf import processes
from e2e.kubernetes.workloads import BEACON, BEACON_RULE, beacon, facts, incomplete, make, pod, started
from e2e.waiting import until

if TYPE_CHECKING:
    from collections.abc import Callable

    from e2e.cluster.cluster import Cluster
    from e2e.kubernetes.audit import Requests
    from e2e.kubernetes.release import Release

PODS, NAMESPACES = 3000, 500
HERE = 100
MOST_BYTES = 15_000_000
POD_S = 180.0
SETTLED_S = 30.0
# Needs every kind that the agent can watch.
RULES = (
    BEACON_RULE
    + """\
- rule: All kinds
  desc: Reads what only the API server has.
  condition: >
    evt.type in (execve, execveat) and proc.args startswith probe- and k8smeta.ns.label[none] != some
    and not k8smeta.svc.name in (some) and k8smeta.deployment.label[none] != some and k8smeta.rs.label[none] != some
    and k8smeta.rc.label[none] != some and k8smeta.owner.name != some
  output: All kinds | args=%proc.args
  priority: NOTICE
"""
)
KINDS = {
    "pods", "namespaces", "services", "replicationcontrollers", "apps/replicasets", "apps/deployments", "batch/jobs",
    "configmaps/falco-rules",
}  # fmt: skip


def memory_bytes(release: Release) -> int:
    """Resident memory of the agent (proc(5), VmRSS of /proc/PID/status)."""
    found = 0
    for pid in processes(release.pod()["metadata"]["uid"]):
        with contextlib.suppress(OSError, KeyError):
            lines = Path(f"/proc/{pid}/status").read_text().splitlines()
            status = dict(line.split(":", 1) for line in lines)
            if status["Name"].strip() != "pause":
                found += int(status["VmRSS"].split()[0]) * 1024
    return found


def told(release: Release, kind: str) -> float:
    """How many changes of objects of a kind the agent has been told."""
    name = f'falcosecurity_falco_py_kubernetes_changes_total{{kind="{kind}"}} '
    return next(float(line.split()[-1]) for line in release.ask("/metrics").splitlines() if line.startswith(name))


def test_a_large_cluster_costs_little(
    cluster: Cluster, release: Release, requests: Requests, figure: Callable[[str, str], None]
) -> None:
    source = beacon()
    place = requests.length()
    # A DaemonSet makes a pod for a node that nobody runs, too.
    release.install({"customRules": {"all.yaml": RULES}, "nodeSelector": {"kubernetes.io/hostname": NODE},
                     "metrics": {"enabled": True}})  # fmt: skip
    here = [pod(f"here-{number}", "/bin/pause", image=PAUSE) for number in range(HERE)]
    started(cluster, source)
    release.expect(BEACON)
    assert release.health() == {"status": "ok"}
    alone = memory_bytes(release)

    begun = time.monotonic()
    make(cluster, *here)
    cluster.kubectl("wait", "--for=condition=Ready", "pods", "--all", f"--timeout={POD_S:.0f}s", timeout_s=POD_S)
    figure(f"{HERE} pods on this node run after", f"{time.monotonic() - begun:.0f} s")
    until(lambda: told(release, "pods") > HERE, SETTLED_S, lambda: f"{told(release, 'pods')} changes of pods")
    full = memory_bytes(release)

    took = cluster.run(sys.executable, crowd.__file__, str(cluster.kubeconfig), str(PODS), str(NAMESPACES)).stdout
    figure(f"{PODS} pods, {NAMESPACES} namespaces in the API after", took.strip())
    listed = cluster.kubectl("get", "pods", "--all-namespaces", "--output=name",
                             f"--field-selector=spec.nodeName={crowd.NODE}").stdout  # fmt: skip
    assert len(listed.splitlines()) == PODS
    until(lambda: told(release, "namespaces") >= NAMESPACES, SETTLED_S,
          lambda: f"{told(release, 'namespaces')} changes of namespaces")  # fmt: skip
    crowded = memory_bytes(release)
    figure("the agent's memory: alone, beside 100 pods here, and 3,000 elsewhere",
           f"{alone / 1e6:.1f}, {full / 1e6:.1f}, {crowded / 1e6:.1f} MB")  # fmt: skip

    asked = requests.since(place)
    events = {one: asked.pop(one) for one in list(asked) if one[1].startswith("events")}
    figure("requests to the API server", f"{asked.total()}: {sorted({kind for _, kind in asked})}, Events: {events}")
    wanted = Counter({(verb, kind): 1 for verb in ("list", "watch") for kind in KINDS})
    assert asked == wanted
    assert crowded - full <= MOST_BYTES
    assert crowded - alone <= MOST_BYTES

    # It still works, and knows pods.
    alerts = release.alerts(BEACON)
    assert incomplete(alerts, facts(source)) == []
    last = alerts[-1].time_s
    until(lambda: release.alerts(BEACON)[-1].time_s > last + 1, SETTLED_S, release.tail)
