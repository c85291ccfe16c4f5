# SPDX-License-Identifier: Apache-2.0
"""What belongs to a pod, as alerts have it and as the API server has it: they are the same."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from e2e.cluster.images import BUSYBOX
from e2e.kubernetes.workloads import make, removed

if TYPE_CHECKING:
    from collections.abc import Iterator

    from e2e.cluster.cluster import Cluster
    from e2e.kubernetes.release import Alert, Release

JOB_S = 90.0
NAMESPACE = "facts"
FIELDS = (
    "k8s.pod.uid", "k8s.pod.ip", "k8s.pod.label[app]", "k8s.pod.sandbox_id",
    "k8smeta.pod.uid", "k8smeta.pod.ip", "k8smeta.pod.label[app]", "k8smeta.ns.name", "k8smeta.ns.uid",
    "k8smeta.ns.label[tier]", "k8smeta.deployment.name", "k8smeta.deployment.uid", "k8smeta.deployment.label[of]",
    "k8smeta.rs.name", "k8smeta.rs.uid", "k8smeta.rs.label[app]", "k8smeta.svc.name", "k8smeta.svc.uid",
    "k8smeta.svc.label[of]", "k8smeta.owner.kind", "k8smeta.owner.name", "k8smeta.owner.uid",
    "container.image", "container.privileged", "container.type", "container.full_id", "container.mounts",
)  # fmt: skip
RULE = (
    "- rule: Facts\n  desc: Prints all of them.\n"
    "  condition: evt.type in (execve, execveat) and proc.name = true and proc.args startswith facts-\n"
    "  output: Facts | args=%proc.args " + " ".join(f"{name.replace('[', '.').strip(']')}=%{name}" for name in FIELDS)
) + "\n  priority: NOTICE\n"


def controlled(kind: str, name: str, command: str) -> dict[str, Any]:
    """What makes pods, which run a command."""
    template = {
        "metadata": {"labels": {"app": name}},
        "spec": {
            "restartPolicy": "Never" if kind == "CronJob" else "Always",
            "terminationGracePeriodSeconds": 0,
            "containers": [{"name": "one", "image": BUSYBOX, "command": ["sh", "-c", command]}],
        },
    }
    made: dict[str, Any] = {
        "apiVersion": "batch/v1" if kind == "CronJob" else "apps/v1",
        "kind": kind,
        "metadata": {"name": name, "namespace": NAMESPACE, "labels": {"of": f"{name}-of"}},
    }
    if kind == "CronJob":
        made["spec"] = {"schedule": "* * * * *", "jobTemplate": {"spec": {"template": template}}}
    else:
        made["spec"] = {"selector": {"matchLabels": {"app": name}}, "template": template}
    return made


def repeating(mark: str) -> str:
    return f"while :; do /bin/true facts-{mark}; sleep 0.5; done"


@pytest.fixture(scope="module")
def telling(cluster: Cluster, release: Release) -> Iterator[Release]:
    """An agent whose rule prints all facts, in a cluster with a namespace for the test."""
    namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE, "labels": {"tier": "top"}}}
    make(cluster, namespace)
    release.install({"customRules": {"facts.yaml": RULE}})
    yield release
    removed(cluster, namespace)


def of(release: Release, kind: str, name: str) -> dict[str, Any]:
    found: dict[str, Any] = release.get(kind, name, f"--namespace={NAMESPACE}")
    return found


def told(alert: Alert) -> dict[str, str]:
    return {name: alert.fields[name.replace("[", ".").strip("]")] for name in FIELDS}


def of_pod(release: Release, alert: Alert) -> dict[str, str]:
    """What every pod has."""
    pod = of(release, "pod", alert.fields["k8s_pod_name"])
    namespace = release.get("namespace", NAMESPACE)
    (status,) = pod["status"]["containerStatuses"]
    facts = {
        "uid": pod["metadata"]["uid"],
        "ip": pod["status"]["podIP"],
        "label[app]": pod["metadata"]["labels"]["app"],
    }
    return {
        **{f"{where}.{name}": value for where in ("k8s.pod", "k8smeta.pod") for name, value in facts.items()},
        "k8smeta.ns.name": NAMESPACE,
        "k8smeta.ns.uid": namespace["metadata"]["uid"],
        "k8smeta.ns.label[tier]": "top",
        "container.image": status["image"],
        "container.privileged": "false",
        "container.type": "containerd",
        "container.full_id": status["containerID"].removeprefix("containerd://"),
    }


def owner(release: Release, kind: str, name: str) -> dict[str, str]:
    uid = of(release, kind, name)["metadata"]["uid"]
    return {"k8smeta.owner.kind": kind, "k8smeta.owner.name": name, "k8smeta.owner.uid": uid}


def compare(alert: Alert, wanted: dict[str, str]) -> None:
    found = told(alert)
    assert {name: found[name] for name in wanted} == wanted


def test_a_pod_of_a_deployment_with_services(cluster: Cluster, telling: Release) -> None:
    services = [
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": name, "namespace": NAMESPACE, "labels": {"of": f"{name}-of"}},
            "spec": {"selector": selector, "ports": [{"port": 80}]},
        }
        for name, selector in (("web", {"app": "web"}), ("other", {"app": "other"}))
    ]
    deployment = controlled("Deployment", "web", repeating("web"))
    make(cluster, *services, deployment)
    try:
        first = telling.expect("Facts | args=facts-web")
        alert = telling.expect("Facts | args=facts-web", "k8s.pod.ip=10.")
        (rs,) = telling.get("replicasets", f"--namespace={NAMESPACE}", "--selector=app=web")["items"]
        web = of(telling, "service", "web")
        wanted = {
            **of_pod(telling, alert),
            **owner(telling, "Deployment", "web"),
            "k8smeta.deployment.name": "web",
            "k8smeta.deployment.uid": of(telling, "deployment", "web")["metadata"]["uid"],
            "k8smeta.deployment.label[of]": "web-of",
            "k8smeta.rs.name": rs["metadata"]["name"],
            "k8smeta.rs.uid": rs["metadata"]["uid"],
            "k8smeta.rs.label[app]": "web",
            "k8smeta.svc.name": "(web)",
            "k8smeta.svc.uid": f"({web['metadata']['uid']})",
            "k8smeta.svc.label[of]": "(web-of)",
        }
        compare(alert, wanted)
        # The very first one had all of it but what there was not yet.
        later = ("k8s.pod.ip", "k8smeta.pod.ip")
        compare(first, {name: value for name, value in wanted.items() if name not in later})
    finally:
        removed(cluster, deployment, *services)


@pytest.mark.parametrize("kind", ["DaemonSet", "StatefulSet"])
def test_a_pod_of_another_controller(cluster: Cluster, telling: Release, kind: str) -> None:
    name = kind.lower()
    made = controlled(kind, name, repeating(name))
    make(cluster, made)
    try:
        alert = telling.expect(f"Facts | args=facts-{name}", "k8s.pod.ip=10.")
        compare(alert, {**of_pod(telling, alert), **owner(telling, kind, name)})
    finally:
        removed(cluster, made)


def test_a_pod_of_a_cron_job(cluster: Cluster, telling: Release) -> None:
    made = controlled("CronJob", "cron", f"/bin/true facts-cron; {repeating('again')}")
    make(cluster, made)
    try:
        # As its controller does it, without waiting for the minute to end.
        job = telling.cluster.kubectl("create", "job", "cron-1", "--from=cronjob/cron", f"--namespace={NAMESPACE}",
                                      "--dry-run=client", "--output=json").stdout  # fmt: skip
        cluster.kubectl("create", "--filename=-", text=job)
        first = telling.expect("Facts | args=facts-cron", deadline_s=JOB_S)
        alert = telling.expect("Facts | args=facts-again", "k8s.pod.ip=10.", deadline_s=JOB_S)
        compare(alert, {**of_pod(telling, alert), **owner(telling, "CronJob", "cron")})
        compare(first, owner(telling, "CronJob", "cron"))
    finally:
        removed(cluster, made)


def test_a_pod_of_nobody(cluster: Cluster, telling: Release) -> None:
    made = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "lonely", "namespace": NAMESPACE, "labels": {"app": "lonely"}},
        "spec": {"containers": [{"name": "one", "image": BUSYBOX, "command": ["sh", "-c", repeating("lonely")]}],
                 "terminationGracePeriodSeconds": 0},
    }  # fmt: skip
    make(cluster, made)
    try:
        alert = telling.expect("Facts | args=facts-lonely", "k8s.pod.ip=10.")
        nothing = ("k8smeta.owner.kind", "k8smeta.deployment.name", "k8smeta.rs.name", "k8smeta.svc.name")
        compare(alert, {**of_pod(telling, alert), **dict.fromkeys(nothing, "<NA>")})
    finally:
        removed(cluster, made)
