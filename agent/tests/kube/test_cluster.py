# SPDX-License-Identifier: Apache-2.0
"""This node's pods are known with what is around them, as far as rules ask for it, whatever the API server does."""

from __future__ import annotations

import threading
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from falco_py.background import Background
from falco_py.config import Kubernetes
from falco_py.kube.cluster import KINDS, Cluster
from falco_py.kube.watch import Pace
from tests.kube.api import (
    DEPLOYMENTS,
    JOBS,
    NAMESPACES,
    PODS,
    REPLICA_SETS,
    SERVICES,
    Api,
    item,
    kubeconfig,
    pod,
    status,
)
from tests.outputs.items import until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

ID = "a" * 64
FAST = Pace(first=0.01, longest=0.05, slow=0.2, steady=0.2, watch_least=100, watch_most=100)
ALL = ("k8smeta.ns.label", "k8smeta.deployment.labels", "k8smeta.rc.labels", "k8smeta.svc.name", "k8smeta.owner.kind")


@pytest.fixture
def woken() -> list[float]:
    """When."""
    return []


@pytest.fixture
def settings(api: Api, tmp_path: Path) -> Kubernetes:
    return Kubernetes(node_name="node-1", kubeconfig=kubeconfig(tmp_path / "config", api.url))


@pytest.fixture
def make(settings: Kubernetes, woken: list[float]) -> Iterator[Callable[..., Cluster]]:
    background = Background()
    made: list[Cluster] = []

    def make(**changes: Any) -> Cluster:
        made.append(
            Cluster(replace(settings, **changes), background, lambda: woken.append(time.monotonic()), pace=FAST)
        )
        return made[-1]

    yield make
    for cluster in made:
        cluster.close()
    background.close()


def settled(cluster: Cluster, *kinds: str) -> None:
    until(
        lambda: (
            {one.kind for one in cluster.watches} == {"pods", *kinds}
            and all(one.synced and one.connected for one in cluster.watches)
        )
    )


def web(api: Api) -> None:
    """A pod and all around it."""
    api.put(NAMESPACES, item("shop", "", labels={"team": "red"}))
    api.put(DEPLOYMENTS, item("web", labels={"tier": "front"}))
    api.put(REPLICA_SETS, item("web-5", labels={"hash": "5"}, owner=("Deployment", "web", "uid-of-web")))
    api.put(SERVICES, item("web-svc", labels={"s": "1"}, spec={"selector": {"app": "web"}}))
    api.put(PODS, pod("web-1", full_id=ID, labels={"app": "web"}, owner=("ReplicaSet", "web-5", "uid-of-web-5")))


def test_a_pod_of_this_node_is_known_with_all_that_rules_ask_for(api: Api, make: Callable[..., Cluster]) -> None:
    web(api)
    api.put(PODS, pod("far", node="node-2"))
    cluster = make()
    cluster.want(ALL)
    cluster.start()
    settled(cluster, *KINDS)

    found = cluster.container(ID)
    assert found is not None
    facts, container = found
    assert facts is cluster.pod("uid-of-web-1")
    assert (facts.name, facts.ns_labels, facts.rs_labels, facts.deployment_name, facts.deployment_labels) == (
        "web-1", {"team": "red"}, {"hash": "5"}, "web", {"tier": "front"}
    )  # fmt: skip
    assert [service.name for service in facts.services] == ["web-svc"]
    assert (facts.owner_kind, facts.owner_name) == ("Deployment", "web")
    assert (container.name, container.image) == ("main", "localhost/shop:1")
    assert cluster.pod("uid-of-far") is None
    assert cluster.synced
    assert cluster.problem == ""
    for path in (PODS, NAMESPACES, DEPLOYMENTS, REPLICA_SETS, SERVICES, JOBS):
        assert (len(api.lists(path)), len(api.watches(path))) == (1, 1)


def test_only_services_and_pods_are_asked_for_whole(api: Api, make: Callable[..., Cluster]) -> None:
    cluster = make()
    cluster.want(ALL)
    cluster.start()
    settled(cluster, *KINDS)

    assert {one.path for one in api.requests if one.headers["accept"] == "application/json"} == {PODS, SERVICES}


@pytest.mark.parametrize(
    ("fields", "kinds"),
    [
        (("k8s.ns.name", "k8smeta.ns.name", "k8smeta.pod.labels", "k8smeta.rs.name", "k8smeta.rc.uid"), set()),
        (("k8smeta.ns.uid",), {"namespaces"}),
        (("k8smeta.ns.label[team]",), {"namespaces"}),
        (("k8smeta.rs.labels",), {"replicasets"}),
        (("k8smeta.deployment.name",), {"replicasets"}),
        (("k8smeta.deployment.label",), {"replicasets", "deployments"}),
        (("k8smeta.rc.label",), {"replicationcontrollers"}),
        (("k8smeta.svc.uid",), {"services"}),
        (("k8smeta.owner.name",), {"replicasets", "jobs"}),
    ],
)
def test_kinds_are_watched_when_rules_ask_for_their_fields(
    fields: tuple[str, ...], kinds: set[str], make: Callable[..., Cluster], api: Api
) -> None:
    cluster = make()
    cluster.want(fields)
    cluster.start()
    settled(cluster, *kinds)

    assert len({one.path for one in api.requests}) == 1 + len(kinds)


def test_other_rules_change_what_is_watched_and_nothing_else(api: Api, make: Callable[..., Cluster]) -> None:
    web(api)
    cluster = make()
    cluster.start()
    settled(cluster)
    cluster.want(["k8smeta.ns.label", "k8smeta.svc.name"])
    settled(cluster, "namespaces", "services")
    facts = cluster.pod("uid-of-web-1")
    assert facts is not None
    assert (facts.ns_labels, len(facts.services)) == ({"team": "red"}, 1)

    cluster.want(["k8smeta.svc.name", "k8smeta.owner.kind"])
    settled(cluster, "services", "replicasets", "jobs")
    until(lambda: not api.watched(NAMESPACES))
    facts = cluster.pod("uid-of-web-1")
    assert facts is not None
    assert (facts.ns_labels, len(facts.services), facts.owner_kind) == ({}, 1, "Deployment")

    cluster.want(())
    settled(cluster)
    until(lambda: api.watched(PODS) == 1 and not api.watched(SERVICES))
    assert {one.path: (len(api.lists(one.path)), len(api.watches(one.path))) for one in api.requests} == dict.fromkeys(
        [PODS, NAMESPACES, SERVICES, REPLICA_SETS, JOBS], (1, 1)
    )


def test_what_the_settings_forbid_is_not_watched_and_told_once(
    api: Api, make: Callable[..., Cluster], lines: list[str]
) -> None:
    cluster = make(owners=False, services=False)
    cluster.want(ALL)
    cluster.want(ALL)
    cluster.start()
    settled(cluster, "namespaces")

    assert sorted(lines) == [
        f"notice: kubernetes: rules ask for facts that are not watched, because kubernetes.{setting} is false: "
        "their fields stay empty"
        for setting in ("owners", "services")
    ]


def test_without_pods_nothing_is_asked(api: Api, make: Callable[..., Cluster], lines: list[str]) -> None:
    cluster = make(pods=False, node_name="")
    cluster.start()
    cluster.want(ALL)
    other = make()
    other.start()
    settled(other)

    assert {one.path for one in api.requests} == {PODS}
    assert (cluster.watches, cluster.synced) == ([], False)
    assert [line.partition("because ")[2][:15] for line in lines] == ["kubernetes.pods"]


def test_changes_are_told_and_the_reader_is_woken_some_times_a_second(
    api: Api, make: Callable[..., Cluster], woken: list[float]
) -> None:
    cluster = make()
    cluster.start()
    settled(cluster)
    assert (cluster.changed(), woken) == ([], [])
    for index in range(100):
        api.put(PODS, pod(f"p-{index}"))
    until(lambda: cluster.store.pods == 100)
    until(lambda: woken and not cluster._waking)

    assert sorted(cluster.changed()) == sorted(f"uid-of-p-{index}" for index in range(100))
    assert len(woken) <= 1 + (woken[-1] - woken[0]) / 0.19
    before = len(woken)
    api.delete(PODS, pod("p-1"))
    api.put(PODS, pod("p-2", labels={"a": "b"}))
    until(lambda: len(woken) > before)
    assert cluster.changed() == ["uid-of-p-2"]


def test_what_is_known_stays_while_the_server_is_away(api: Api, make: Callable[..., Cluster]) -> None:
    web(api)
    cluster = make()
    cluster.want(["k8smeta.ns.label"])
    cluster.start()
    settled(cluster, "namespaces")
    api.stop()
    until(lambda: cluster.problem)
    assert "Unreachable" in cluster.problem
    facts = cluster.pod("uid-of-web-1")
    assert facts is not None
    assert facts.ns_labels == {"team": "red"}
    assert cluster.synced

    api.put(PODS, pod("new"))
    api.start()
    until(lambda: cluster.pod("uid-of-new"))
    settled(cluster, "namespaces")
    assert cluster.problem == ""
    assert len(api.lists(PODS)) == len(api.lists(NAMESPACES)) == 1


def test_a_server_that_is_away_at_the_start_is_waited_for(api: Api, make: Callable[..., Cluster]) -> None:
    web(api)
    api.stop()
    cluster = make()
    cluster.start()
    until(lambda: cluster.problem)
    assert (cluster.synced, cluster.pod("uid-of-web-1")) == (False, None)

    api.start()
    until(lambda: cluster.pod("uid-of-web-1"))


def test_what_there_is_no_right_to_holds_up_nothing(api: Api, make: Callable[..., Cluster], lines: list[str]) -> None:
    web(api)
    api.answer = lambda asked: status(403, "Forbidden", "no") if asked.path == NAMESPACES else None
    cluster = make()
    cluster.want(ALL)
    cluster.start()
    until(lambda: cluster.synced)
    facts = cluster.pod("uid-of-web-1")

    assert facts is not None
    assert (facts.deployment_labels, facts.ns_labels) == ({"tier": "front"}, {})
    assert cluster.problem.startswith("namespaces: 403 Forbidden")
    assert len(lines) == 1


def test_credentials_that_are_wrong_are_a_problem_and_no_error(make: Callable[..., Cluster], tmp_path: Path) -> None:
    cluster = make(kubeconfig=str(tmp_path / "none"))
    cluster.start()
    until(lambda: cluster.problem)

    assert "NoAccess" in cluster.problem


def test_the_end_is_quick_and_leaves_nothing(api: Api, make: Callable[..., Cluster]) -> None:
    web(api)
    cluster = make()
    cluster.want(ALL)
    cluster.start()
    settled(cluster, *KINDS)
    began_s = time.monotonic()
    cluster.close()

    assert time.monotonic() - began_s < 2
    assert cluster.client._session is None
    until(lambda: not any(api.watched(one.path) for one in api.requests))
    cluster.want(())
    cluster.start()
    cluster.close()
    assert cluster.pod("uid-of-web-1") is not None


def test_rules_may_be_changed_from_many_threads(api: Api, make: Callable[..., Cluster]) -> None:
    cluster = make()
    cluster.start()
    threads = [threading.Thread(target=cluster.want, args=([field],)) for field in ALL * 4]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    cluster.want(["k8smeta.svc.name"])
    settled(cluster, "services")

    until(lambda: sorted({one.path for one in api.requests if api.watched(one.path)}) == [PODS, SERVICES])
