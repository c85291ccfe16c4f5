# SPDX-License-Identifier: Apache-2.0
"""Files of the runtime and the API server's pods give one container's facts; what lacks is said."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from falco_py.enrich.facts import API, FILES, SPEC, Facts
from falco_py.enrich.sources import Sources
from falco_py.fields.container import REASONS
from falco_py.state.cgroups import ContainerRef

if TYPE_CHECKING:
    from collections.abc import Mapping

ID = "a" * 64
UID = "a781dab0-755f-455a-aac6-b7e26c0947dc"
REF = ContainerRef(ID[:12], ID, "cri", UID)
ALONE = REF._replace(pod_uid="")


def container(name: str = "app", full_id: str = "", **more: Any) -> Any:
    values = {"image": "registry.test/shop/web:1", "image_id": "", "image_digest": "", "privileged": False}
    return SimpleNamespace(name=name, full_id=full_id, **{**values, **more})


def pod(*containers: Any, **more: Any) -> Any:
    values: dict[str, Any] = {
        "uid": UID, "name": "web-0", "namespace": "shop", "labels": {"app": "web"}, "ip": "10.0.0.7",
        "host_pid": False, "host_network": False, "host_ipc": False, "ns_labels": {"team": "blue"},
    }  # fmt: skip
    return SimpleNamespace(containers={one.name: one for one in containers}, **{**values, **more})


class Files:
    """In place of Runtimes."""

    def __init__(self, facts: Facts | None = None, whole: bool = False) -> None:
        self.answer = facts, whole
        self.failures: Mapping[str, int] = {}

    def find(self, _ref: ContainerRef) -> tuple[Facts | None, bool]:
        return self.answer


class Pods:
    """In place of kube.cluster.Cluster."""

    def __init__(self, *pods: Any, synced: bool = True) -> None:
        self.pods = {one.uid: one for one in pods}
        self.synced = synced
        self.told: list[str] = []

    def pod(self, uid: str) -> Any:
        return self.pods.get(uid)

    def container(self, full_id: str) -> tuple[Any, Any] | None:
        for one in self.pods.values():
            for status in one.containers.values():
                if status.full_id == full_id:
                    return one, status
        return None

    def changed(self) -> list[str]:
        return self.told


def sources(files: Files, pods: Pods | None = None, *, wants_pod: bool = False) -> Sources:
    made = Sources(files, pods)  # type: ignore[arg-type]
    made.wants_pod = wants_pod
    return made


def by_files(**more: Any) -> Facts:
    made = Facts(name="app", type="containerd", pod_name="web-0", pod_namespace="shop", pod_uid=UID, **more)
    made.take_image("registry.test/shop/web:1")
    return made


class TestFilesAlone:
    @pytest.mark.parametrize("answer", [(None, False), (by_files(), True), (by_files(), False)])
    def test_what_they_say_is_it(self, answer: tuple[Facts | None, bool]) -> None:
        assert sources(Files(*answer), wants_pod=True).find(REF) == answer

    def test_without_them_nothing_is_known(self) -> None:
        assert sources(Files()).missing(REF, None) == "no_files"
        assert sources(Files()).missing(REF, by_files()) == "part"
        assert sources(Files()).changed() == ()


class TestFilesAndPod:
    def test_the_pod_is_added(self) -> None:
        facts, whole = sources(Files(by_files(), True), Pods(pod(container()))).find(REF)
        assert facts is not None
        assert whole
        assert (facts.name, facts.image_tag, facts.type, facts.source) == ("app", "1", "containerd", FILES)
        assert (facts.pod_labels, facts.pod_ip, facts.ip) == ({"app": "web"}, "10.0.0.7", "10.0.0.7")
        assert facts.ns_labels == {"team": "blue"}

    def test_what_files_know_of_the_address_stays(self) -> None:
        known = by_files(ip="10.0.0.8", pod_ip="10.0.0.8")
        facts, _ = sources(Files(known, True), Pods(pod(ip=""))).find(REF)
        assert facts is not None
        assert (facts.ip, facts.pod_ip) == ("10.0.0.8", "10.0.0.8")

    def test_the_digest_is_taken_from_the_status_of_the_same_container(self) -> None:
        status = container(full_id=ID, image_digest="sha256:1")
        facts, _ = sources(Files(by_files(), True), Pods(pod(status))).find(REF)
        assert facts is not None
        assert facts.image_digest == "sha256:1"
        former = container(full_id="b" * 64, image_digest="sha256:1")
        facts, _ = sources(Files(by_files(), True), Pods(pod(former))).find(REF)
        assert facts is not None
        assert facts.image_digest == ""

    def test_the_pod_may_come_later_and_change(self) -> None:
        pods = Pods()
        made = sources(Files(by_files(), True), pods)
        facts, whole = made.find(REF)
        assert facts is not None
        assert whole
        assert facts.pod is None
        pods.pods = {UID: pod()}
        facts = made.renewed(REF, facts)
        assert facts.pod_labels == {"app": "web"}
        pods.pods = {UID: pod(labels={"app": "api"})}
        assert made.renewed(REF, facts).pod_labels == {"app": "api"}
        pods.pods = {}
        assert made.renewed(REF, facts) is facts  # its processes may end after it

    def test_rules_that_want_the_pod_wait_for_it(self) -> None:
        pods = Pods()
        made = sources(Files(by_files(), True), pods, wants_pod=True)
        facts, whole = made.find(REF)
        assert (facts, whole) == (by_files(), False)
        assert made.missing(REF, facts) == "no_pod"
        pods.synced = False
        assert made.missing(REF, facts) == "api_away"
        pods.pods = {UID: pod()}
        facts, whole = made.find(REF)
        assert not whole  # namespaces and owners are not there yet
        assert made.missing(REF, facts) == "api_away"
        pods.synced = True
        assert made.find(REF)[1]

    def test_a_container_outside_pods_waits_for_no_pod(self) -> None:
        facts = Facts(name="web", type="docker", image="a")
        assert sources(Files(facts, True), Pods(), wants_pod=True).find(ALONE) == (facts, True)


class TestPodAlone:
    def test_the_status_names_the_container(self) -> None:
        status = container(full_id=ID, image_id="sha256:12", image_digest="sha256:34", privileged=True)
        facts, whole = sources(Files(), Pods(pod(container("side"), status, host_network=True))).find(REF)
        assert facts is not None
        assert whole
        assert (facts.name, facts.image_repository, facts.image_tag) == ("app", "registry.test/shop/web", "1")
        assert (facts.image_id, facts.image_digest, facts.privileged) == ("12", "sha256:34", True)
        assert (facts.pod_name, facts.pod_namespace, facts.pod_uid) == ("web-0", "shop", UID)
        assert (facts.host_network, facts.host_pid, facts.type, facts.source) == (True, False, "cri", API)

    def test_before_the_status_the_only_possibility_is_taken_for_the_time_being(self) -> None:
        made = sources(Files(), Pods(pod(container("side", "b" * 64), container())))
        facts, whole = made.find(REF)
        assert facts is not None
        assert not whole
        assert (facts.name, facts.image_tag, facts.source) == ("app", "1", SPEC)
        assert made.missing(REF, facts) == "no_status"

    def test_of_several_possibilities_none_is_taken(self) -> None:
        facts, whole = sources(Files(), Pods(pod(container(), container("side")))).find(REF)
        assert facts is not None
        assert not whole
        assert (facts.name, facts.image, facts.pod_name, facts.pod_labels) == ("", "", "web-0", {"app": "web"})

    def test_a_container_that_was_started_again_is_not_taken_for_anything_else(self) -> None:
        pods = Pods(pod(container(full_id="b" * 64)))
        facts, whole = sources(Files(), pods).find(REF)
        assert facts is not None
        assert not whole
        assert (facts.name, facts.image, facts.pod_name) == ("", "", "web-0")
        pods.pods = {UID: pod(container(full_id=ID))}
        facts, whole = sources(Files(), pods).find(REF)
        assert facts is not None
        assert whole
        assert facts.name == "app"

    def test_what_lacks_is_said(self) -> None:
        assert sources(Files(), Pods()).missing(REF, None) == "no_pod"
        assert sources(Files(), Pods(synced=False)).missing(REF, None) == "api_away"
        assert sources(Files(), Pods()).missing(ALONE, None) == "no_files"
        assert {"no_pod", "api_away", "no_files", "no_status", "part"} == REASONS.keys()

    def test_a_part_of_the_files_is_filled(self) -> None:
        part = Facts(name=ID, type="runc")
        facts, whole = sources(Files(part), Pods(pod(container(full_id=ID)))).find(REF)
        assert facts is not None
        assert whole
        assert (facts.name, facts.image_tag, facts.type, facts.privileged) == ("app", "1", "runc", False)
