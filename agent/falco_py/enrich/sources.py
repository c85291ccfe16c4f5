# SPDX-License-Identifier: Apache-2.0
"""A container becomes facts from the files of its runtime, and from what the API server has of its pod.

The files are there before the container's own program runs. The pod is known since it was scheduled, but which of its
containers an id is, only some time after the start. Invariant: as for Runtimes.find: nothing here waits or raises.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from ..bounds import text_of
from ..fields.container import API_AWAY, NO_FILES, NO_POD, NO_STATUS, PART
from .facts import API, FILES, SPEC, Facts, bare_id

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from falco_py.state.cgroups import ContainerRef

    from .runtimes import Runtimes


class Pods(Protocol):
    """What the API server has of this node's pods; kube.cluster.Cluster is the real one. None of it waits."""

    @property
    def synced(self) -> bool: ...
    def pod(self, uid: str) -> Any: ...
    def container(self, full_id: str) -> tuple[Any, Any] | None: ...
    def changed(self) -> Collection[str]: ...


class Sources:
    """`wants_pod`: rules look at facts that only the API server has, so that without them nothing is whole."""

    def __init__(self, runtimes: Runtimes, pods: Pods | None = None) -> None:
        self.wants_pod = False
        self._runtimes = runtimes
        self._pods = pods

    @property
    def failures(self) -> Mapping[str, int]:
        return self._runtimes.failures

    def find(self, ref: ContainerRef) -> tuple[Facts | None, bool]:
        """What is known, and whether nothing more is to come."""
        facts, whole = self._runtimes.find(ref)
        if self._pods is None:
            return facts, whole
        if facts is None or not whole or not facts.image:
            told, is_all = self._told(ref, self._pods)
            if told is not None and (facts is None or is_all):
                facts, whole = told if facts is None else _filled(facts, told), is_all
        if facts is None:
            return None, False
        facts = self.renewed(ref, facts)
        return facts, whole and not self._lacks_pod(ref, facts)

    def renewed(self, ref: ContainerRef, facts: Facts) -> Facts:
        """`facts` with what is known of the pod now."""
        if self._pods is None:
            return facts
        uid = ref.pod_uid or facts.pod_uid
        pod = self._pods.pod(uid) if uid else None
        if pod is None or pod is facts.pod:  # a pod that is gone from the API may still end its processes
            return facts
        made = facts.with_pod(pod)
        status = pod.containers.get(facts.name)
        if status is not None and status.full_id == ref.full_id:
            made.image_digest = made.image_digest or status.image_digest
        return made

    def changed(self) -> Collection[str]:
        """Uids of pods that are others than before."""
        return () if self._pods is None else self._pods.changed()

    def missing(self, ref: ContainerRef, facts: Facts | None) -> str:
        """A key of fields.container.REASONS: why facts that are not whole are not."""
        pods = self._pods
        uid = ref.pod_uid or ("" if facts is None else facts.pod_uid)
        known = pods is not None and bool(uid) and pods.pod(uid) is not None
        if pods is None or not uid or (known and pods.synced):
            if facts is None or facts.source != FILES:
                return NO_STATUS if known else NO_FILES
            return PART
        return NO_POD if pods.synced else API_AWAY

    def _lacks_pod(self, ref: ContainerRef, facts: Facts) -> bool:
        if not self.wants_pod or self._pods is None or not (ref.pod_uid or facts.pod_uid):
            return False
        return facts.pod is None or not self._pods.synced

    def _told(self, ref: ContainerRef, pods: Pods) -> tuple[Facts | None, bool]:
        """By the API server alone."""
        found = pods.container(ref.full_id)
        if found is not None:
            return _of_status(ref, *found, source=API), True
        pod = pods.pod(ref.pod_uid) if ref.pod_uid else None
        if pod is None:
            return None, False
        nameless = [one for one in pod.containers.values() if not one.full_id]
        if len(nameless) == 1:
            return _of_status(ref, pod, nameless[0], source=SPEC), False
        return Facts(type=ref.engine, source=API).with_pod(pod), False


def _of_status(ref: ContainerRef, pod: Any, status: Any, source: str) -> Facts:
    facts = Facts(name=status.name, type=ref.engine, source=source, privileged=status.privileged)
    facts.take_image(text_of(status.image))
    facts.image_digest = facts.image_digest or status.image_digest
    facts.image_id = bare_id(status.image_id)
    facts.host_pid, facts.host_network, facts.host_ipc = pod.host_pid, pod.host_network, pod.host_ipc
    return facts.with_pod(pod)


def _filled(facts: Facts, told: Facts) -> Facts:
    """What the files had, with image and pod of the other."""
    if told.image:
        facts.take_image(told.image)
        facts.image_digest = facts.image_digest or told.image_digest
        facts.image_id = facts.image_id or told.image_id
    facts.name = told.name or facts.name
    facts.privileged = told.privileged if facts.privileged is None else facts.privileged
    return facts
