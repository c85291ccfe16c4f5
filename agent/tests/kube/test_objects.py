# SPDX-License-Identifier: Apache-2.0
"""Objects become facts; whatever their JSON holds, nothing raises and nothing is large."""

from __future__ import annotations

import sys
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from falco_py.bounds import ALL_MAX, ITEMS_MAX, TEXT_MAX
from falco_py.kube.objects import ContainerStatus, Owner, pod_of, service_of, thing_of
from tests.kube.api import item, pod

ID, OLD_ID = "a" * 64, "b" * 64
DIGEST = "sha256:" + "c" * 64
POD_UID = "b7a1a5d0-0000-4000-8000-000000000000"
HASH = "0123456789abcdef0123456789abcdef"


def container_of(spec: dict[str, Any], status: dict[str, Any], kind: str = "container") -> ContainerStatus:
    made = item("a")
    made["spec"] = {f"{kind}s": [{"name": "main", **spec}]}
    made["status"] = {f"{kind}Statuses": [{"name": "main", **status}]}
    found = pod_of(made)
    assert found is not None
    return found.facts.containers["main"]


def test_a_pod_becomes_facts() -> None:
    made = item("web-1", "shop", "7-8-9", {"app": "web"}, ("ReplicaSet", "web", "4-5-6"))
    made["spec"] = {
        "hostNetwork": True,
        "containers": [{"name": "main", "image": "shop:1"}, {"name": "side", "image": "s"}],
    }
    made["status"] = {
        "podIP": "10.1.0.7",
        "containerStatuses": [
            {"name": "main", "image": "registry/shop:1", "imageID": f"registry/shop@{DIGEST}", "containerID": f"containerd://{ID}"}
        ],
    }  # fmt: skip

    found = pod_of(made)

    assert found is not None
    facts = found.facts
    assert (facts.uid, facts.name, facts.namespace, facts.labels, facts.ip) == (
        "7-8-9", "web-1", "shop", {"app": "web"}, "10.1.0.7"
    )  # fmt: skip
    assert (facts.host_network, facts.host_pid, facts.host_ipc) == (True, False, False)
    assert found.controller == Owner("ReplicaSet", "web", "4-5-6")
    assert facts.containers == {
        "main": ContainerStatus("main", "registry/shop:1", ID, "", DIGEST, False),
        "side": ContainerStatus("side", "s", privileged=False),
    }
    assert found.ids == {ID: "main"}


@pytest.mark.parametrize("kind", ["container", "initContainer", "ephemeralContainer"])
def test_containers_of_all_kinds_are_known(kind: str) -> None:
    found = container_of(
        {"image": "x", "securityContext": {"privileged": True}}, {"containerID": f"cri-o://{ID}"}, kind
    )

    assert found == ContainerStatus("main", "x", ID, privileged=True)


@pytest.mark.parametrize(
    ("status", "image", "image_id", "digest"),
    [
        ({}, "asked:1", "", ""),
        ({"image": "docker.io/library/asked:1", "imageID": DIGEST}, "docker.io/library/asked:1", DIGEST, ""),
        ({"image": DIGEST, "imageID": f"docker-pullable://x/y@{DIGEST}"}, "asked:1", "", DIGEST),
    ],
)
def test_the_image_is_that_which_the_runtime_took(
    status: dict[str, Any], image: str, image_id: str, digest: str
) -> None:
    found = container_of({"image": "asked:1"}, status)

    assert (found.image, found.image_id, found.image_digest) == (image, image_id, digest)


def test_the_container_before_a_restart_is_known_as_well() -> None:
    made = pod("a", full_id=ID)
    made["status"]["containerStatuses"][0]["lastState"] = {"terminated": {"containerID": f"containerd://{OLD_ID}"}}
    found = pod_of(made)

    assert found is not None
    assert found.ids == {ID: "main", OLD_ID: "main"}
    assert found.facts.containers["main"].full_id == ID


@pytest.mark.parametrize(
    ("annotations", "expected"),
    [
        ({"kubernetes.io/config.hash": HASH, "kubernetes.io/config.mirror": HASH}, HASH),
        ({"kubernetes.io/config.hash": HASH}, ""),
        ({"kubernetes.io/config.hash": HASH, "kubernetes.io/config.mirror": "0" * 32}, ""),
        # The uid of somebody else's pod
        (dict.fromkeys(["kubernetes.io/config.hash", "kubernetes.io/config.mirror"], POD_UID), ""),
        (None, ""),
    ],
)  # fmt: skip
def test_a_static_pod_has_another_uid_in_its_cgroups(annotations: Any, expected: str) -> None:
    made = pod("a")
    made["metadata"]["annotations"] = annotations
    found = pod_of(made)

    assert found is not None
    assert found.static_uid == expected


def test_only_the_controller_owns() -> None:
    made = item("a")
    made["metadata"]["ownerReferences"] = [
        {"kind": "Node", "name": "n", "uid": "1"},
        {"kind": "Job", "name": "j", "uid": "2", "controller": True},
    ]
    found = thing_of(made)

    assert found is not None
    assert found.controller == Owner("Job", "j", "2")


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ({"selector": {"app": "web"}}, {"app": "web"}),
        ({"selector": None}, {}),
        ({}, {}),
        ({"selector": {"app": "web"}, "type": "ExternalName"}, {}),
        ({"selector": {"app": "web", "tier": "x" * 200}}, {}),  # not: all that have only the one
        ({"selector": {"app": "web", "tier": 1}}, {}),
    ],
)
def test_a_service_selects_what_its_selector_says(spec: dict[str, Any], expected: dict[str, str]) -> None:
    found = service_of(item("web", spec=spec))

    assert found is not None
    assert found.selector == expected


@pytest.mark.parametrize(
    "metadata", [None, [], {}, {"name": "a"}, {"uid": "a"}, {"name": "", "uid": "a"}, {"name": 1, "uid": 2}]
)
def test_what_has_no_name_or_uid_is_nothing(metadata: Any) -> None:
    assert (
        pod_of({"metadata": metadata}) is thing_of({"metadata": metadata}) is service_of({"metadata": metadata}) is None
    )


KEYS = [
    "metadata", "spec", "status", "name", "uid", "namespace", "labels", "annotations", "ownerReferences", "controller",
    "kind", "containers", "initContainers", "containerStatuses", "ephemeralContainers", "image", "imageID",
    "containerID", "state", "lastState", "terminated", "securityContext", "privileged", "selector", "type", "podIP",
    "hostPID", "kubernetes.io/config.hash", "kubernetes.io/config.mirror", "creationTimestamp",
]  # fmt: skip
keys = st.sampled_from(KEYS) | st.text(max_size=3)
leaves = (
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.sampled_from(["x" * 9999, "\ud800", HASH])
)
anything = st.recursive(
    leaves, lambda one: st.lists(one, max_size=3) | st.dictionaries(keys, one, max_size=6), max_leaves=40
)
metadata = st.dictionaries(keys, anything, max_size=6).map(lambda found: {"name": "a", "uid": "b", **found})
shaped = st.dictionaries(keys, anything, max_size=6).flatmap(
    lambda found: metadata.map(lambda about: {**found, "metadata": about})
)


@settings(max_examples=150)
@given(st.dictionaries(keys, anything, max_size=6) | shaped)
def test_any_json_gives_facts_or_nothing(made: dict[str, Any]) -> None:
    for found in (pod_of(made), thing_of(made), service_of(made)):
        if found is not None:
            repr(found).encode()  # no halves of characters


def test_a_pod_of_megabytes_becomes_little() -> None:
    huge = "x" * 500_000
    many = [{"name": f"{index}{huge}", "image": huge, "env": [{"value": huge}]} for index in range(500)]
    made = item("a", huge, huge, {f"key-{index}": "y" * 90 for index in range(5_000)} | {"long": huge})
    made["metadata"]["ownerReferences"] = many
    made["spec"] = {"containers": many}
    made["status"] = {"containerStatuses": many, "podIP": huge}

    found = pod_of(made)

    assert found is not None
    assert len(found.facts.containers) <= ITEMS_MAX
    assert len(found.facts.uid) == TEXT_MAX
    assert sum(len(key) + len(value) for key, value in found.facts.labels.items()) <= ALL_MAX
    assert sum(sys.getsizeof(one) for one in found.facts.containers) < 2 * ITEMS_MAX * TEXT_MAX
