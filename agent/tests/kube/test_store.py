# SPDX-License-Identifier: Apache-2.0
"""A pod's facts are made of its own and of the objects around it, in whatever order these become known."""

from __future__ import annotations

import itertools
import sys
import threading
import tracemalloc
from typing import TYPE_CHECKING, Any

import pytest

from falco_py.kube import store as stores
from falco_py.kube.objects import ServiceFacts, pod_of
from falco_py.kube.store import (
    DEPLOYMENTS,
    JOBS,
    NAMESPACES,
    REPLICA_SETS,
    REPLICATION_CONTROLLERS,
    SERVICES,
    Store,
    Things,
)
from tests.kube.api import item, pod

if TYPE_CHECKING:
    from collections.abc import Callable

    from falco_py.kube.objects import Pod, PodFacts
    from falco_py.kube.store import Packed

ID, OTHER_ID = "a" * 64, "b" * 64
HASH = "0123456789abcdef0123456789abcdef"


def a_pod(name: str = "web-1", **more: Any) -> Pod:
    found = pod_of(pod(name, **more))
    assert found is not None
    return found


def a_thing(*args: Any, **more: Any) -> Packed:
    things = Store(lambda: None).things
    found = things[SERVICES if "spec" in more else NAMESPACES].read(item(*args, **more))
    assert found is not None
    return found


class Told:
    def __init__(self) -> None:
        self.times = 0

    def __call__(self) -> None:
        self.times += 1


@pytest.fixture
def told() -> Told:
    return Told()


@pytest.fixture
def store(told: Told) -> Store:
    return Store(told)


def facts(store: Store, name: str = "web-1") -> PodFacts:
    found = store.pod(f"uid-of-{name}")
    assert found is not None
    return found


WEB: list[Callable[[Store], None]] = [
    lambda store: store.put(a_pod(labels={"app": "web", "x": "y"}, owner=("ReplicaSet", "web-5", "uid-of-web-5"))),
    lambda store: store.things[NAMESPACES].put(a_thing("shop", "", labels={"team": "red"})),
    lambda store: store.things[REPLICA_SETS].put(
        a_thing("web-5", labels={"hash": "5"}, owner=("Deployment", "web", "uid-of-web"))
    ),
    lambda store: store.things[DEPLOYMENTS].put(a_thing("web", labels={"tier": "front"})),
    lambda store: store.things[SERVICES].put(a_thing("web-svc", labels={"s": "1"}, spec={"selector": {"app": "web"}})),
]


@pytest.mark.parametrize("order", list(itertools.permutations(range(len(WEB)))))
def test_all_is_joined_in_any_order(order: tuple[int, ...], store: Store) -> None:
    for index in order:
        WEB[index](store)

    found = facts(store)
    assert (found.ns_uid, found.ns_labels) == ("uid-of-shop", {"team": "red"})
    assert (found.rs_name, found.rs_uid, found.rs_labels) == ("web-5", "uid-of-web-5", {"hash": "5"})
    assert (found.deployment_name, found.deployment_uid, found.deployment_labels) == (
        "web", "uid-of-web", {"tier": "front"}
    )  # fmt: skip
    assert found.services == (ServiceFacts("web-svc", "uid-of-web-svc", {"s": "1"}),)
    assert (found.owner_kind, found.owner_name, found.owner_uid) == ("Deployment", "web", "uid-of-web")


def test_what_is_known_of_the_owner_without_any_other_object(store: Store) -> None:
    WEB[0](store)
    found = facts(store)

    assert (found.rs_name, found.rs_uid, found.deployment_name) == ("web-5", "uid-of-web-5", "")
    assert (found.owner_kind, found.owner_name) == ("ReplicaSet", "web-5")


def test_the_owner_in_the_end_is_told(store: Store) -> None:
    store.put(a_pod("a", owner=("Job", "nightly-1", "job")))
    store.put(a_pod("b", owner=("StatefulSet", "db", "set")))
    store.put(a_pod("c", owner=("ReplicationController", "old", "rc")))
    store.put(a_pod("d", owner=("ReplicaSet", "canary-7", "rs")))
    store.put(a_pod("e"))
    store.things[JOBS].put(a_thing("nightly-1", uid="job", owner=("CronJob", "nightly", "cron")))
    store.things[REPLICATION_CONTROLLERS].put(a_thing("old", uid="rc", labels={"a": "b"}))
    store.things[REPLICA_SETS].put(a_thing("canary-7", uid="rs", owner=("Rollout", "canary", "rollout")))

    owners = [(one.owner_kind, one.owner_name, one.owner_uid) for one in (facts(store, name) for name in "abcde")]
    assert owners == [
        ("CronJob", "nightly", "cron"), ("StatefulSet", "db", "set"), ("ReplicationController", "old", "rc"),
        ("Rollout", "canary", "rollout"), ("", "", ""),
    ]  # fmt: skip
    assert (facts(store, "c").rc_name, facts(store, "c").rc_uid, facts(store, "c").rc_labels) == (
        "old",
        "rc",
        {"a": "b"},
    )
    assert (facts(store, "d").deployment_name, facts(store, "d").rs_name) == ("", "canary-7")


def test_services_of_the_namespace_that_select_the_pod_are_its_own(store: Store) -> None:
    store.put(a_pod(labels={"app": "web", "v": "2"}))
    put = store.things[SERVICES].put
    put(a_thing("z", spec={"selector": {"app": "web"}}))
    put(a_thing("a", spec={"selector": {"v": "2", "app": "web"}}))
    put(a_thing("other", spec={"selector": {"app": "db"}}))
    put(a_thing("more", spec={"selector": {"app": "web", "w": "1"}}))
    put(a_thing("none", spec={"selector": {}}))
    put(a_thing("far", "elsewhere", spec={"selector": {"app": "web"}}))
    assert [one.name for one in facts(store).services] == ["a", "z"]

    store.things[SERVICES].remove(a_thing("z", spec={}))
    assert [one.name for one in facts(store).services] == ["a"]
    store.put(a_pod(labels={"app": "db"}))
    assert [one.name for one in facts(store).services] == ["other"]
    store.things[SERVICES].replace([])
    assert facts(store).services == ()


def test_what_was_known_of_a_pod_stays_when_its_owners_are_deleted_first(store: Store) -> None:
    for step in WEB:
        step(store)
    before = facts(store)
    store.things[DEPLOYMENTS].remove(a_thing("web"))
    store.things[REPLICA_SETS].remove(a_thing("web-5"))
    store.things[NAMESPACES].remove(a_thing("shop", ""))
    store.things[REPLICA_SETS].replace([])
    assert facts(store) is before

    store.put(a_pod(labels={"app": "db"}, owner=("ReplicaSet", "web-5", "uid-of-web-5")))
    now = facts(store)
    assert (now.ns_labels, now.rs_labels, now.deployment_labels, now.owner_kind, now.services) == (
        {"team": "red"}, {"hash": "5"}, {"tier": "front"}, "Deployment", ()
    )  # fmt: skip
    store.put(a_pod(owner=("ReplicaSet", "taken-1", "uid-of-taken-1")))
    now = facts(store)
    assert (now.rs_name, now.rs_labels, now.deployment_name, now.owner_name) == ("taken-1", {}, "", "taken-1")


def test_what_is_known_now_counts(store: Store) -> None:
    for step in WEB:
        step(store)
    store.things[REPLICA_SETS].replace([a_thing("web-5", labels={"hash": "6"})])

    now = facts(store)
    assert (now.rs_labels, now.deployment_name, now.owner_kind) == ({"hash": "6"}, "", "ReplicaSet")


def test_an_object_that_comes_again_as_it_was_is_no_work() -> None:
    changed: list[Packed | None] = []
    things = Things(changed.append, lambda one: one.uid)
    for labels in ({"a": "b"}, {"a": "b"}, {"a": "c"}):
        things.put(a_thing("x", labels=labels))
    things.remove(a_thing("y"))

    assert len(changed) == 2


@pytest.mark.parametrize("kind", [NAMESPACES, REPLICA_SETS, DEPLOYMENTS, SERVICES])
def test_a_kind_that_is_dropped_leaves_nothing(kind: str, store: Store) -> None:
    for step in WEB:
        step(store)
    store.changed()
    store.drop(kind)

    now = facts(store)
    assert (not now.ns_labels, not now.deployment_name, not now.deployment_labels, not now.services) == (
        kind == NAMESPACES, kind == REPLICA_SETS, kind in (REPLICA_SETS, DEPLOYMENTS), kind == SERVICES
    )  # fmt: skip
    assert len(store.things[kind]) == 0
    assert store.changed() == ["uid-of-web-1"]


def test_only_pods_that_are_other_than_before_are_told(store: Store, told: Told) -> None:
    for step in WEB:
        step(store)
    store.put(a_pod("lone"))
    assert sorted(store.changed()) == ["uid-of-lone", "uid-of-web-1"]
    assert store.changed() == []
    before, times = facts(store), told.times

    for step in WEB:
        step(store)
    store.things[NAMESPACES].put(a_thing("elsewhere", ""))
    store.things[REPLICA_SETS].put(a_thing("other-1", labels={"a": "b"}))
    store.things[SERVICES].replace([a_thing("web-svc", labels={"s": "1"}, spec={"selector": {"app": "web"}})])
    assert (store.changed(), told.times) == ([], times)
    assert facts(store) is before

    store.things[DEPLOYMENTS].put(a_thing("web", labels={"tier": "back"}))
    assert (store.changed(), told.times) == (["uid-of-web-1"], times + 1)
    store.things[NAMESPACES].put(a_thing("shop", "", labels={"team": "blue"}))
    assert sorted(store.changed()) == ["uid-of-lone", "uid-of-web-1"]


def test_a_container_is_found_by_its_id_and_after_a_restart_by_both(store: Store) -> None:
    store.put(a_pod())
    assert store.container(ID) is None
    store.put(a_pod(full_id=ID))
    found = store.container(ID)
    assert found is not None
    assert (found[0].name, found[1].name, found[1].full_id) == ("web-1", "main", ID)

    again = pod("web-1", full_id=OTHER_ID)
    again["status"]["containerStatuses"][0]["lastState"] = {"terminated": {"containerID": f"containerd://{ID}"}}
    restarted = pod_of(again)
    assert restarted is not None
    store.put(restarted)
    for full_id in (ID, OTHER_ID):
        found = store.container(full_id)
        assert found is not None
        assert (found[0] is facts(store), found[1].full_id) == (True, OTHER_ID)

    store.put(a_pod(full_id=OTHER_ID))
    assert store.container(ID) is None


def test_a_container_has_the_facts_of_now(store: Store) -> None:
    store.put(a_pod(full_id=ID))
    WEB[1](store)

    found = store.container(ID)
    assert found is not None
    assert found[0].ns_uid == "uid-of-shop"


def static(name: str, created: str) -> Pod:
    made = pod(name, full_id=ID)
    made["metadata"]["creationTimestamp"] = created
    made["metadata"]["annotations"] = dict.fromkeys(["kubernetes.io/config.hash", "kubernetes.io/config.mirror"], HASH)
    found = pod_of(made)
    assert found is not None
    return found


def test_a_static_pod_is_found_by_both_its_uids(store: Store) -> None:
    store.put(static("etcd", "2026-01-01T00:00:00Z"))

    assert store.pod(HASH) is store.pod("uid-of-etcd") is not None
    assert sorted(store.changed()) == [HASH, "uid-of-etcd"]


def test_nobody_takes_the_uid_of_a_static_pod_from_it(store: Store) -> None:
    real, forged = static("etcd", "2026-01-01T00:00:00Z"), static("a-forged", "2026-02-02T00:00:00Z")
    store.replace([forged, real])
    store.put(forged)
    found = store.pod(HASH)
    assert found is not None
    assert found.name == "etcd"

    store.remove(real)
    store.put(static("etcd-again", "2026-03-03T00:00:00Z"))
    found = store.pod(HASH)
    assert found is not None
    assert found.name == "etcd-again"


def test_a_pod_that_is_gone_is_remembered_for_what_its_processes_still_do(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stores, "GONE_MAX", 2)
    for name, full_id in (("a", ID), ("b", OTHER_ID), ("c", ""), ("d", "")):
        store.put(a_pod(name, full_id=full_id))
    store.changed()
    store.remove(a_pod("a"))
    store.replace([a_pod("c"), a_pod("d")])
    assert (store.pods, store.changed()) == (2, [])
    assert (store.pod("uid-of-a"), store.container(ID)) != (None, None)

    store.remove(a_pod("c"))
    assert (store.pod("uid-of-a"), store.container(ID)) == (None, None)
    assert store.changed() == ["uid-of-a"]
    assert store.pod("uid-of-b") is not None
    assert store.container(OTHER_ID) is not None


def test_a_list_adds_and_removes(store: Store) -> None:
    store.replace([a_pod("a"), a_pod("b")])
    store.changed()
    store.replace([a_pod("b"), a_pod("c")])

    assert store.pods == 2
    assert store.changed() == ["uid-of-c"]
    store.remove(a_pod("unknown"))
    assert store.pods == 2


def test_tables_have_bounds_and_what_has_no_room_is_counted(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stores, "PODS_MAX", 2)
    monkeypatch.setattr(stores, "THINGS_MAX", 2)
    monkeypatch.setattr(stores, "SERVICES_MAX", 1)
    store.replace([a_pod(name, labels={"app": "web"}) for name in "abcd"])
    store.things[SERVICES].replace([a_thing(name, spec={"selector": {"app": "web"}}) for name in "abc"])
    store.things[NAMESPACES].put(a_thing("shop", ""))

    assert (store.pods, store.left_out) == (2, 2)
    assert (len(store.things[SERVICES]), store.things[SERVICES].left_out) == (2, 1)
    assert len(facts(store, "a").services) == 1
    store.put(a_pod("a", full_id=ID))  # one that is known has its room
    assert store.container(ID) is not None


def test_more_changes_than_are_kept_are_changes_of_all(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stores, "CHANGED_MAX", 2)
    store.replace([a_pod(name) for name in "abcde"])

    assert sorted(store.changed()) == [f"uid-of-{name}" for name in "abcde"]
    assert store.changed() == []


def test_no_change_is_lost_between_threads(store: Store) -> None:
    seen: set[str] = set()
    over = threading.Event()

    def read() -> None:
        while not over.is_set():
            seen.update(store.changed())

    before_s = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    reader = threading.Thread(target=read)
    reader.start()
    try:
        for index in range(10_000):
            store._note(str(index))
    finally:
        sys.setswitchinterval(before_s)
        over.set()
        reader.join(10)
    seen.update(store.changed())

    assert len(seen) == 10_000


def test_thousands_of_objects_that_no_pod_needs_cost_little(store: Store) -> None:
    store.replace([a_pod(f"p-{index}") for index in range(100)])
    labels = {"app.kubernetes.io/name": "shop", "pod-template-hash": "5d59d67564"}
    tracemalloc.start()
    store.things[NAMESPACES].replace([a_thing(f"team-{index}", "", labels=labels) for index in range(500)])
    store.things[REPLICA_SETS].replace(
        [
            a_thing(f"web-{index}", uid=f"d2b5f3a4-7c1e-4f5b-9a70-{index:012}", labels=labels,
                    owner=("Deployment", f"web-{index}", f"e2b5f3a4-7c1e-4f5b-9a70-{index:012}"))
            for index in range(3000)
        ]
    )  # fmt: skip
    held, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert held < 3_000_000
