# SPDX-License-Identifier: Apache-2.0
"""The chart as a person uses it, with nothing set: install, look, upgrade, uninstall."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from e2e.kubernetes.bpf import living, objects
from e2e.kubernetes.release import NAME, RULES
from e2e.kubernetes.workloads import SENSITIVE, facts, pod, removed, started
from e2e.waiting import until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from e2e.cluster.cluster import Cluster
    from e2e.kubernetes.release import Release

SHELL = "A shell was spawned in a container with an attached terminal"
END_S = 30.0
# What the agent, or a mount of its pod, could leave on the node.
STRAYS = ("/var/lib/falco", "/var/lib/falco-py", "/run/falco-py", "/etc/falco", "/sys/fs/bpf/falco-py")
KINDS = (
    "daemonsets,deployments,replicasets,pods,services,endpointslices,configmaps,secrets,serviceaccounts,roles,"
    "rolebindings,networkpolicies,controllerrevisions,leases,persistentvolumeclaims"
)
CLUSTER_KINDS = "clusterroles,clusterrolebindings,namespaces,persistentvolumes,priorityclasses"
EDITED = """\
- rule: Of a person
  desc: It must survive whatever helm does.
  condition: evt.type in (execve, execveat) and proc.name = true and proc.args contains {mark}
  output: Of a person | args=%proc.args
  priority: NOTICE
"""


@pytest.fixture(scope="module")
def installed(release: Release, figure: Callable[[str, str], None]) -> Release:
    begun = time.monotonic()
    release.install()
    figure("helm install to a Ready agent", f"{time.monotonic() - begun:.1f} s")
    return release


@pytest.fixture(scope="module")
def victim(cluster: Cluster) -> Iterator[dict[str, Any]]:
    made = pod("victim", "sleep", "infinity")
    started(cluster, made)
    yield made
    removed(cluster, made)


def everything(cluster: Cluster) -> set[str]:
    """The names of all objects of the API that could be the release's."""
    of_namespaces = cluster.kubectl("get", KINDS, "--all-namespaces", "--output=name", "--ignore-not-found")
    of_cluster = cluster.kubectl("get", CLUSTER_KINDS, "--output=name")
    return set(of_namespaces.stdout.split()) | set(of_cluster.stdout.split())


def test_a_stock_install_is_ready(installed: Release) -> None:
    status = installed.get("daemonset", NAME)["status"]
    assert (status["numberReady"], status["desiredNumberScheduled"]) == (1, 1)
    assert installed.health() == {"status": "ok"}


def test_a_shell_in_a_pod_is_told(installed: Release, victim: dict[str, Any]) -> None:
    shown = installed.cluster.terminal("victim", "sh", text="echo $((6 * 7)); exit\n")
    assert "\n42\n" in shown
    alert = installed.expect(SHELL, "k8s_pod_name=victim")
    assert alert.title == SHELL
    assert alert.facts() == facts(victim)
    assert alert.fields["process"] == "sh"
    assert alert.fields["terminal"].startswith("348")


def test_what_is_done_in_it_is_told(installed: Release, victim: dict[str, Any], mark: str) -> None:
    installed.cluster.terminal("victim", "sh", text=f"cat /etc/shadow /{mark}; exit 0\n")
    alert = installed.expect(SENSITIVE, mark)
    assert alert.facts() == facts(victim)
    assert alert.fields["file"] == "/etc/shadow"
    assert alert.fields["command"] == f"cat /etc/shadow /{mark}"


def test_helm_test_passes(installed: Release) -> None:
    said = installed.cluster.helm("test", NAME, "--logs").stdout
    assert "Succeeded" in said
    assert '"status": "ok"' in said.replace('":"', '": "')


def test_an_upgrade_keeps_what_a_person_edited(installed: Release, victim: dict[str, Any], mark: str) -> None:
    cluster = installed.cluster
    edited = {"data": {"person.yaml": EDITED.format(mark=mark)}}
    cluster.kubectl("patch", "configmap", RULES, f"--patch={json.dumps(edited)}")
    before = installed.pod()["metadata"]["uid"]
    installed.upgrade({"podAnnotations": {"example.org/changed": "yes"}})
    assert installed.pod()["metadata"]["uid"] != before
    assert installed.get("configmap", RULES)["data"]["person.yaml"] == EDITED.format(mark=mark)
    ran = ("exec", "victim", "--", "/bin/true", mark)
    alert = installed.expect("Of a person", mark, act=lambda: cluster.kubectl(*ran))
    assert alert.facts() == facts(victim)


def test_uninstall_leaves_the_edited_rules_and_nothing_else(cluster: Cluster, release: Release) -> None:
    release.uninstall()
    strays = {path for path in STRAYS if Path(path).exists()}
    before = everything(cluster)
    release.install({"webhook": {"enabled": True, "url": "http://127.0.0.1:9/"}, "metrics": {"enabled": True},
                     "customRules": {"own.yaml": "[]"}, "networkPolicy": {"create": True}})  # fmt: skip
    cluster.kubectl("patch", "configmap", RULES, '--patch={"data": {"person.yaml": "[]"}}')
    kernel = objects(release.pod()["metadata"]["uid"])
    assert kernel.programs
    assert kernel.maps
    assert living(kernel) == kernel

    release.uninstall(rules=False)
    assert release.get("configmap", RULES)["data"]["person.yaml"] == "[]"
    until(lambda: everything(cluster) - before == {f"configmap/{RULES}"}, END_S,
          lambda: f"{everything(cluster) - before}")  # fmt: skip
    assert before - everything(cluster) == set()
    until(lambda: not living(kernel).programs and not living(kernel).maps, END_S, lambda: f"{living(kernel)}")
    assert {path for path in STRAYS if Path(path).exists()} == strays

    release.install()
    assert release.get("configmap", RULES)["data"]["person.yaml"] == "[]"
