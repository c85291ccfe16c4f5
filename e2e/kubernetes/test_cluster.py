# SPDX-License-Identifier: Apache-2.0
"""The cluster that the other tests stand on: it is a real one, and it leaves the machine as it was."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from e2e.cluster.cluster import START_S, STOP_S, Cluster
from e2e.cluster.images import BUSYBOX
from e2e.cluster.places import PLACES, owed
from e2e.cluster.settings import SYSCTLS
from e2e.waiting import until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from e2e.cluster.processes import Process

ROOT = Path(__file__).resolve().parents[2]
CHANGE_S = 20.0
# What these programs make when nobody tells them another place.
STRAYS = (
    "/opt/containerd", "/opt/cni", "/usr/libexec/kubernetes", "/run/xtables.lock", "/run/kubernetes",
    "/var/run/kubernetes", "/etc/kubernetes", "/etc/containerd/certs.d", "/var/lib/dockershim", "/var/lib/etcd/default",
)  # fmt: skip
WEB = f"""
apiVersion: v1
kind: ConfigMap
metadata: {{name: web}}
data: {{page: "one"}}
---
apiVersion: apps/v1
kind: Deployment
metadata: {{name: web}}
spec:
  selector: {{matchLabels: {{app: web}}}}
  template:
    metadata: {{labels: {{app: web}}}}
    spec:
      terminationGracePeriodSeconds: 1
      containers:
      - name: web
        image: {BUSYBOX}
        command: [sh, -c, "echo serving; exec httpd -f -p 8080 -h /pages"]
        volumeMounts: [{{name: pages, mountPath: /pages}}]
        readinessProbe: {{httpGet: {{port: 8080, path: /page}}, periodSeconds: 1}}
      volumes: [{{name: pages, configMap: {{name: web}}}}]
---
apiVersion: v1
kind: Service
metadata: {{name: web}}
spec: {{selector: {{app: web}}, ports: [{{port: 80, targetPort: 8080}}]}}
"""


@dataclass(frozen=True)
class Host:
    """What a cluster could change of the host, and must not; other clusters may run meanwhile."""

    mounts: frozenset[str]
    interfaces: frozenset[str]
    paths: frozenset[str]
    settings: tuple[str, ...]

    @classmethod
    def now(cls) -> Host:
        settings = [f"/proc/sys/{name}" for name in (*SYSCTLS, "net/ipv4/ip_forward", "kernel/hostname")]
        mounts = Path("/proc/self/mountinfo").read_text().splitlines()
        return cls(
            mounts=frozenset(line for line in mounts if line.split()[4].startswith((*PLACES, "/proc", "/sys", "/tmp"))),
            interfaces=frozenset(name for _, name in socket.if_nameindex()),
            paths=frozenset(path for path in (*PLACES, *STRAYS) if os.path.lexists(path)) - owed(),
            settings=tuple(Path(setting).read_text() for setting in settings),
        )


def start_elsewhere(scratch: Path) -> subprocess.Popen[bytes]:
    """A process of its own that starts a cluster; returns while it still does so, the API server being started."""
    program = (
        f"from e2e.cluster.cluster import Cluster; from pathlib import Path; Cluster(Path({str(scratch)!r})).start()"
    )
    child = subprocess.Popen(
        [sys.executable, "-c", program], cwd=ROOT, stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    until(
        lambda: child.poll() is None and Cluster(scratch).daemon("kube-apiserver"),
        START_S,
        lambda: "nothing was started",
    )
    return child


def living(processes: set[Process]) -> list[Process]:
    return [process for process in processes if process.alive()]


def deploy(cluster: Cluster) -> str:
    """The name of the one pod of WEB, which serves pages."""
    cluster.apply(WEB)
    cluster.kubectl("rollout", "status", "deployment/web", "--timeout=60s", timeout_s=90)
    return cluster.kubectl("get", "pods", "--selector=app=web", "--output=jsonpath={.items[0].metadata.name}").stdout


@pytest.fixture(scope="module")
def pod(cluster: Cluster) -> Iterator[str]:
    yield deploy(cluster)
    cluster.kubectl("delete", "deployment/web", "service/web", "configmap/web", "--cascade=foreground")


# Whatever happens, nothing is left. These come first: each has the machine to itself.


def test_a_stopped_cluster_leaves_nothing(tmp_path: Path) -> None:
    before = Host.now()
    cluster = Cluster(tmp_path / "cluster")
    cluster.start()
    try:
        deploy(cluster)
        processes, cgroups = cluster.processes(), cluster.cgroups
        assert len(living(processes)) > 10
    finally:
        cluster.stop()
    assert living(processes) == []
    assert cgroups.existing() == []
    assert Host.now() == before
    assert [path.name for path in cluster.scratch.iterdir()] == ["log"]
    cluster.stop()  # again does no harm


def test_a_failed_start_says_what_the_daemons_said_and_leaves_nothing(tmp_path: Path) -> None:
    before = Host.now()
    cluster = Cluster(tmp_path / "cluster", api_server=["--no-such-flag"])
    with pytest.raises(RuntimeError, match="kube-apiserver has ended") as failure:
        cluster.start()
    assert "unknown flag: --no-such-flag" in "".join(failure.value.__notes__)
    assert cluster.processes() == set()
    assert Host.now() == before


def test_an_interrupted_start_leaves_nothing(tmp_path: Path) -> None:
    before = Host.now()
    child = start_elsewhere(tmp_path)
    processes, cgroups = Cluster(tmp_path).processes(), Cluster(tmp_path).cgroups
    assert living(processes)
    child.send_signal(signal.SIGINT)
    child.wait(STOP_S)
    assert living(processes) == []
    assert cgroups.existing() == []
    assert Host.now() == before


def test_a_cluster_ends_with_the_process_that_started_it(tmp_path: Path) -> None:
    before = Host.now()
    child = start_elsewhere(tmp_path)
    processes, cgroups = Cluster(tmp_path).processes(), Cluster(tmp_path).cgroups
    child.kill()
    child.wait(STOP_S)
    until(lambda: not living(processes) and not cgroups.existing(), STOP_S, lambda: f"{living(processes)}")
    until(lambda: [path.name for path in tmp_path.iterdir()] == ["log"], STOP_S, lambda: f"{list(tmp_path.iterdir())}")
    assert Host.now() == before


# It is a real one


def test_the_node_is_ready(cluster: Cluster) -> None:
    shown = cluster.kubectl(
        "get", "nodes", '--output=jsonpath={.items[*].status.conditions[?(@.type=="Ready")].status}'
    ).stdout
    assert shown == "True"


def test_a_deployment_runs_in_cgroups_of_its_own(cluster: Cluster, pod: str) -> None:
    uid = cluster.kubectl("get", "pod", pod, "--output=jsonpath={.metadata.uid}").stdout
    shown = cluster.kubectl("exec", pod, "--", "cat", "/proc/self/cgroup").stdout
    paths = {line.split(":", 2)[2] for line in shown.splitlines()}
    assert all(path.startswith("/falco-py-") and f"/kubepods/besteffort/pod{uid}/" in path for path in paths)


def test_logs_are_those_of_the_container(cluster: Cluster, pod: str) -> None:
    assert cluster.kubectl("logs", pod).stdout == "serving\n"


def test_exec_gives_a_terminal(cluster: Cluster, pod: str) -> None:
    shown = cluster.terminal(pod, "sh", text="tty; echo $((6 * 7)); exit\n")
    assert "\n/dev/pts/0\n42\n" in shown
    assert "not a tty" in cluster.kubectl("exec", pod, "--", "tty", check=False).stdout


def test_a_service_is_reachable_from_a_pod(cluster: Cluster, pod: str) -> None:
    address = cluster.kubectl("get", "service/web", "--output=jsonpath={.spec.clusterIP}").stdout
    until(
        lambda: cluster.kubectl("exec", pod, "--", "wget", "-q", "-O-", f"http://{address}/page", check=False).stdout,
        CHANGE_S, lambda: f"{address} does not answer",
    )  # fmt: skip


def test_an_edited_config_map_comes_into_its_volume(cluster: Cluster, pod: str) -> None:
    def page() -> str:
        return cluster.kubectl("exec", pod, "--", "cat", "/pages/page").stdout

    assert page() == "one"
    cluster.kubectl("patch", "configmap/web", '--patch={"data": {"page": "two"}}')
    until(lambda: page() == "two", CHANGE_S, page)


def test_helm_installs_a_chart(cluster: Cluster, tmp_path: Path) -> None:
    (tmp_path / "templates").mkdir()
    (tmp_path / "Chart.yaml").write_text("apiVersion: v2\nname: small\nversion: 1.0.0\n")
    (tmp_path / "templates" / "map.yaml").write_text(
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: '{{ .Release.Name }}'}\ndata: {of: '{{ .Values.of }}'}\n"
    )
    cluster.helm("install", "tried", str(tmp_path), "--set=of=helm", "--wait")
    try:
        assert cluster.kubectl("get", "configmap/tried", "--output=jsonpath={.data.of}").stdout == "helm"
    finally:
        cluster.helm("uninstall", "tried", "--wait")


@pytest.mark.parametrize("daemon", ["containerd", "kubelet", "kube-apiserver"])
def test_pods_live_on_when_a_daemon_is_started_again(cluster: Cluster, pod: str, daemon: str) -> None:
    def tasks() -> set[str]:
        return set(cluster.ctr("tasks", "list").stdout.splitlines())  # with their processes and states

    before, first = tasks(), cluster.daemon(daemon)
    cluster.restart(daemon)
    assert cluster.daemon(daemon) != first
    assert tasks() == before
    until(
        lambda: cluster.kubectl("exec", pod, "--", "true", check=False).returncode == 0,
        CHANGE_S,
        cluster.tail,
    )
    restarts = "--output=jsonpath={.status.containerStatuses[0].restartCount}"
    assert cluster.kubectl("get", "pod", pod, restarts).stdout == "0"
