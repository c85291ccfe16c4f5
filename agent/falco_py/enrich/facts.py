# SPDX-License-Identifier: Apache-2.0
"""What is known of one container, and the reading of untrusted JSON into it.

Invariant: every text in `Facts` is short and encodable, every list in it is short; unknown is "" or None.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from ..bounds import ALL_MAX, ITEMS_MAX, labels_of, text_of

if TYPE_CHECKING:
    from collections.abc import Iterable

POD_NAME: Final = "io.kubernetes.pod.name"
POD_NAMESPACE: Final = "io.kubernetes.pod.namespace"
POD_UID: Final = "io.kubernetes.pod.uid"
POD_SANDBOX: Final = "io.kubernetes.sandbox.id"
POD_CONTAINER: Final = "io.kubernetes.container.name"
_SHA256: Final = "sha256:"
FILES: Final = "files"  # of the runtime
API: Final = "api"  # server
SPEC: Final = "spec"  # of the pod, because it leaves one possibility


class Mount(NamedTuple):
    """`rdwr` is whether it may be written."""

    source: str
    destination: str
    mode: str
    rdwr: bool
    propagation: str


@dataclass(slots=True)
class Facts:
    """In the shape of fields.container.ContainerFacts."""

    name: str = ""
    type: str = ""
    image: str = ""
    image_id: str = ""
    image_repository: str = ""
    image_tag: str = ""
    image_digest: str = ""
    privileged: bool | None = None
    mounts: tuple[Mount, ...] | None = None
    labels: dict[str, str] = field(default_factory=dict)
    ip: str = ""
    cni_json: str = ""
    host_pid: bool | None = None
    host_network: bool | None = None
    host_ipc: bool | None = None
    pod_name: str = ""
    pod_namespace: str = ""
    pod_uid: str = ""
    pod_sandbox_id: str = ""
    pod_labels: dict[str, str] = field(default_factory=dict)
    pod_ip: str = ""
    source: str = FILES  # where name and image come from
    pod: Any = None  # what the API server has of the pod and its objects: kube.store.PodFacts

    def __getattr__(self, name: str) -> Any:
        """What is not of the container is of its pod."""
        pod = None if name == "pod" else self.pod
        if pod is None:
            raise AttributeError(name)
        return getattr(pod, name)

    def with_pod(self, pod: Any) -> Facts:
        """The same container with what the API server has of its pod; None takes that away."""
        made = replace(self, pod=pod)
        if pod is None:
            return made
        made.pod_name, made.pod_namespace, made.pod_uid = pod.name, pod.namespace, made.pod_uid or pod.uid
        made.pod_labels = pod.labels
        made.pod_ip = pod.ip or self.pod_ip
        made.ip = self.ip or pod.ip
        return made

    def take_image(self, reference: str) -> None:
        """The image as it was asked for: NAME, NAME:TAG, NAME@DIGEST or NAME:TAG@DIGEST."""
        self.image = reference
        name, _, digest = reference.partition("@")
        before, colon, tag = name.rpartition(":")
        if colon and "/" not in tag:
            name = before
        else:
            tag = ""
        self.image_repository, self.image_tag = name, tag
        self.image_digest = digest or self.image_digest

    def take_labels(self, value: object) -> None:
        """The labels, and what Kubernetes wrote into them."""
        self.labels = labels_of(value)
        self.pod_name = self.pod_name or self.labels.get(POD_NAME, "")
        self.pod_namespace = self.pod_namespace or self.labels.get(POD_NAMESPACE, "")
        self.pod_uid = self.pod_uid or self.labels.get(POD_UID, "")
        self.pod_sandbox_id = self.pod_sandbox_id or self.labels.get(POD_SANDBOX, "")

    def show_pod(self, container: str) -> None:
        """The pod as the labels that a runtime would give."""
        shown = {POD_NAME: self.pod_name, POD_NAMESPACE: self.pod_namespace, POD_UID: self.pod_uid,
                 POD_SANDBOX: self.pod_sandbox_id, POD_CONTAINER: container}  # fmt: skip
        self.labels = {**{key: value for key, value in shown.items() if value}, **self.labels}


class Found(NamedTuple):
    """`whole`: nothing more is to come."""

    facts: Facts
    whole: bool = True


def bare_id(value: object) -> str:
    """An id without the name of its hash."""
    return text_of(value).removeprefix(_SHA256)


def bounded(mounts: Iterable[Mount]) -> tuple[Mount, ...]:
    kept: list[Mount] = []
    left = ALL_MAX
    for mount in mounts:
        left -= len(mount.source) + len(mount.destination) + len(mount.mode) + len(mount.propagation)
        if left < 0 or len(kept) >= ITEMS_MAX:
            break
        kept.append(mount)
    return tuple(kept)
