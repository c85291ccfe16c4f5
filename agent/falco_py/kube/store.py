# SPDX-License-Identifier: Apache-2.0
"""Pods, and the objects around them, become one PodFacts a pod, made anew when one of them changes.

All that changes anything belongs to the loop's thread; what other threads read are dictionaries of immutable values.
Invariant: every table has a bound, and what has no room is counted; a pod whose facts come out equal has not changed.
Objects that no pod of this node needs are kept as well, as a few hundred bytes each: its pod may come later. What was
known of a pod's namespace and owners stays with it when these are deleted first: its processes still run.
"""

from __future__ import annotations

import json
import threading
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from .objects import Owner, Pod, PodFacts, ServiceFacts, Thing, service_of, thing_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from .objects import ContainerStatus

NAMESPACES: Final = "namespaces"
REPLICA_SETS: Final = "replicasets"
DEPLOYMENTS: Final = "deployments"
REPLICATION_CONTROLLERS: Final = "replicationcontrollers"
JOBS: Final = "jobs"
SERVICES: Final = "services"

PODS_MAX: Final = 4096  # kubelet runs 110, and some run 500
THINGS_MAX: Final = 100_000  # of a kind
SERVICES_MAX: Final = 64  # of a pod
GONE_MAX: Final = 128
CHANGED_MAX: Final = 8192

_OWNERS: Final = {"ReplicaSet": REPLICA_SETS, "ReplicationController": REPLICATION_CONTROLLERS, "Job": JOBS}
# Of PodFacts: what is known of a pod's owner from other objects than the pod.
_OF_OWNER: Final = ("rs_labels", "rc_labels", "deployment_name", "deployment_uid", "deployment_labels")


class Packed(NamedTuple):
    """An object as it is kept: `packed` is all of it."""

    uid: str
    name: str
    namespace: str
    packed: bytes


class Things:
    """A watch.Sink: the objects of one kind, packed, each under its uid or whatever `key_of` says."""

    def __init__(
        self,
        changed: Callable[[Packed | None], None],
        key_of: Callable[[Packed], str],
        thing_of: Callable[[Mapping[str, Any]], Thing | None] = thing_of,
    ) -> None:
        """`changed` is told of the object that is new, other or gone; None is any of them."""
        self.left_out = 0
        self._changed = changed
        self._key_of = key_of
        self._thing_of = thing_of
        self._packed: dict[str, bytes] = {}

    def __len__(self) -> int:
        return len(self._packed)

    def read(self, item: Mapping[str, Any]) -> Packed | None:
        """Of its JSON. A list is read object by object: so all of it never lies here in any larger form."""
        thing = self._thing_of(item)
        if thing is None:
            return None
        return Packed(thing.uid, thing.name, thing.namespace, json.dumps(thing, separators=(",", ":")).encode())

    def find(self, key: str) -> Thing | None:
        packed = self._packed.get(key)
        if packed is None:
            return None
        name, namespace, uid, labels, controller, selector = json.loads(packed)
        return Thing(name, namespace, uid, labels, None if controller is None else Owner(*controller), selector)

    def replace(self, objects: Iterable[Packed]) -> None:
        self._packed = {}
        for one in objects:
            self._keep(one)
        self._changed(None)

    def put(self, item: Packed) -> None:
        if self._keep(item):
            self._changed(item)

    def remove(self, item: Packed) -> None:
        if self._packed.pop(self._key_of(item), None) is not None:
            self._changed(item)

    def _keep(self, one: Packed) -> bool:
        """Whether it is other than before."""
        key = self._key_of(one)
        before = self._packed.get(key)
        if before is None and len(self._packed) >= THINGS_MAX:
            self.left_out += 1
            return False
        self._packed[key] = one.packed
        return before != one.packed


class Services(Things):
    """Those of a namespace can be found, too."""

    def __init__(self, changed: Callable[[Packed | None], None]) -> None:
        super().__init__(changed, _uid, service_of)
        self._uids: dict[str, set[str]] = {}

    def of(self, namespace: str) -> Iterator[Thing]:
        for uid in self._uids.get(namespace, ()):
            found = self.find(uid)
            if found is not None:
                yield found

    def replace(self, objects: Iterable[Packed]) -> None:
        self._uids = {}
        super().replace(objects)

    def remove(self, item: Packed) -> None:
        uids = self._uids.get(item.namespace)
        if uids is not None:
            uids.discard(item.uid)
            if not uids:
                del self._uids[item.namespace]
        super().remove(item)

    def _keep(self, one: Packed) -> bool:
        kept = super()._keep(one)
        if kept:
            self._uids.setdefault(one.namespace, set()).add(one.uid)
        return kept


class Store:
    """As a watch.Sink it takes the pods of this node; `things` are the sinks of the other kinds.

    `changed` is called in the loop's thread whenever facts of a pod are other than before.
    """

    def __init__(self, changed: Callable[[], None]) -> None:
        self.left_out = 0  # pods
        self._services = Services(self._of_service)
        self.things: dict[str, Things] = {
            NAMESPACES: Things(self._of_namespace, _name),
            REPLICA_SETS: Things(self._of_controller, _uid),
            REPLICATION_CONTROLLERS: Things(self._of_controller, _uid),
            JOBS: Things(self._of_controller, _uid),
            DEPLOYMENTS: Things(self._of_deployment, _uid),
            SERVICES: self._services,
        }
        self._tell = changed
        self._pods: dict[str, Pod] = {}
        self._gone: dict[str, Pod] = {}  # the oldest first
        self._facts: dict[str, PodFacts] = {}  # by uid and static uid
        self._containers: dict[str, tuple[PodFacts, ContainerStatus]] = {}
        self._lock = threading.Lock()
        self._changed: set[str] = set()
        self._all_changed = False

    # For any thread

    def pod(self, uid: str) -> PodFacts | None:
        """Also of one of the last GONE_MAX that are gone: deleted by force, its processes may go on for a while."""
        return self._facts.get(uid)

    def container(self, full_id: str) -> tuple[PodFacts, ContainerStatus] | None:
        return self._containers.get(full_id)

    def changed(self) -> list[str]:
        """Uids of the pods that are new, other or forgotten since the last call."""
        if not self._changed:
            return []
        with self._lock:
            found, self._changed = self._changed, set()
            if self._all_changed:
                self._all_changed = False
                found.update(self._facts.copy())
        return list(found)

    def drop(self, kind: str) -> None:
        """Nobody asks for that kind any more. In the loop's thread."""
        self.things[kind].replace(())
        for pod in self._pods.values():
            self._join(pod, None)

    @property
    def pods(self) -> int:
        return len(self._pods)

    # As the sink of the pods

    def replace(self, objects: Sequence[Pod]) -> None:
        # The oldest has the right to a static uid.
        pods = sorted(objects, key=lambda pod: pod.created)
        uids = {pod.facts.uid for pod in pods}
        for uid in [uid for uid in self._pods if uid not in uids]:
            self._lose(uid)
        for pod in pods:
            self.put(pod)

    def put(self, item: Pod) -> None:
        uid = item.facts.uid
        if uid not in self._pods and len(self._pods) >= PODS_MAX:
            self.left_out += 1
            return
        before = self._gone.pop(uid, None) or self._pods.get(uid)
        self._pods[uid] = item
        known = None
        if before is not None:
            for full_id in before.ids.keys() - item.ids.keys():
                self._containers.pop(full_id, None)
            if before.controller == item.controller:
                known = self._facts.get(uid)
        self._join(item, known)

    def remove(self, item: Pod) -> None:
        if item.facts.uid in self._pods:
            self._lose(item.facts.uid)

    def _lose(self, uid: str) -> None:
        self._gone[uid] = self._pods.pop(uid)
        if len(self._gone) > GONE_MAX:
            oldest = next(iter(self._gone))
            self._forget(self._gone.pop(oldest))

    def _forget(self, pod: Pod) -> None:
        for uid in (pod.facts.uid, pod.static_uid):
            known = self._facts.get(uid)
            if known is not None and known.uid == pod.facts.uid:
                del self._facts[uid]
                self._note(uid)
        for full_id in pod.ids:
            found = self._containers.get(full_id)
            if found is not None and found[0].uid == pod.facts.uid:
                del self._containers[full_id]

    # What a change of another object changes

    def _of_namespace(self, one: Packed | None) -> None:
        self._join_those(lambda pod: one is None or pod.facts.namespace == one.name)

    def _of_service(self, one: Packed | None) -> None:
        self._join_those(lambda pod: one is None or pod.facts.namespace == one.namespace)

    def _of_controller(self, one: Packed | None) -> None:
        self._join_those(lambda pod: pod.controller is not None and (one is None or pod.controller.uid == one.uid))

    def _of_deployment(self, one: Packed | None) -> None:
        self._join_those(lambda pod: one is None or self._facts[pod.facts.uid].deployment_uid == one.uid)

    def _join_those(self, affected: Callable[[Pod], bool]) -> None:
        for pod in self._pods.values():
            if affected(pod):
                self._join(pod, self._facts.get(pod.facts.uid))

    # The join

    def _join(self, pod: Pod, known: PodFacts | None) -> None:
        facts = self._joined(pod, known)
        uid = facts.uid
        before = self._facts.get(uid)
        if before == facts:
            facts = before
        else:
            self._facts[uid] = facts
            self._note(uid)
        static_uid = pod.static_uid
        if static_uid:
            claimed = self._facts.get(static_uid)
            mine = claimed is None or claimed.uid == uid or claimed.uid not in self._pods
            if mine and claimed is not facts:
                self._facts[static_uid] = facts
                self._note(static_uid)
        for full_id, name in pod.ids.items():
            found = self._containers.get(full_id)
            if found is None or found[0] is not facts:
                self._containers[full_id] = (facts, facts.containers[name])

    def _joined(self, pod: Pod, known: PodFacts | None) -> PodFacts:
        """`known`: what holds of objects that are gone now; of a pod with the same controller."""
        facts = pod.facts
        more: dict[str, Any] = {}
        namespace = self.things[NAMESPACES].find(facts.namespace)
        if namespace is not None:
            more |= {"ns_uid": namespace.uid, "ns_labels": namespace.labels}
        elif known is not None:
            more |= {"ns_uid": known.ns_uid, "ns_labels": known.ns_labels}
        if pod.controller is not None:
            owner = self._with_owner(pod.controller, known, more)
            more |= {"owner_kind": owner.kind, "owner_name": owner.name, "owner_uid": owner.uid}
        services = self._selecting(facts)
        if services:
            more["services"] = services
        return replace(facts, **more) if more else facts

    def _with_owner(self, owner: Owner, known: PodFacts | None, more: dict[str, Any]) -> Owner:
        """The owner in the end; what is known on the way to it goes into `more`."""
        kind = _OWNERS.get(owner.kind)
        if kind is None:
            return owner
        thing = self.things[kind].find(owner.uid)
        if kind == REPLICA_SETS:
            more |= {"rs_name": owner.name, "rs_uid": owner.uid}
        elif kind == REPLICATION_CONTROLLERS:
            more |= {"rc_name": owner.name, "rc_uid": owner.uid}
        if thing is None:
            if known is None:
                return owner
            more |= {name: getattr(known, name) for name in _OF_OWNER}
            return Owner(known.owner_kind, known.owner_name, known.owner_uid)
        if kind == REPLICA_SETS:
            more["rs_labels"] = thing.labels
        elif kind == REPLICATION_CONTROLLERS:
            more["rc_labels"] = thing.labels
        above = thing.controller
        if above is None:
            return owner
        if kind == REPLICA_SETS and above.kind == "Deployment":
            more |= {"deployment_name": above.name, "deployment_uid": above.uid}
            deployment = self.things[DEPLOYMENTS].find(above.uid)
            if deployment is not None:
                more["deployment_labels"] = deployment.labels
            elif known is not None and known.deployment_uid == above.uid:
                more["deployment_labels"] = known.deployment_labels
        return above

    def _selecting(self, facts: PodFacts) -> tuple[ServiceFacts, ...]:
        labels = facts.labels.items()
        found = [
            ServiceFacts(service.name, service.uid, service.labels)
            for service in self._services.of(facts.namespace)
            if service.selector and service.selector.items() <= labels
        ]
        found.sort(key=lambda service: service.name)
        return tuple(found[:SERVICES_MAX])

    def _note(self, uid: str) -> None:
        with self._lock:
            if len(self._changed) < CHANGED_MAX:
                self._changed.add(uid)
            else:
                self._all_changed = True
        self._tell()


def _name(one: Packed) -> str:
    return one.name


def _uid(one: Packed) -> str:
    return one.uid
