# SPDX-License-Identifier: Apache-2.0
"""One object's JSON, as the API server has it, becomes the little that is kept of it.

Invariant: nothing here raises, whatever the JSON holds, and what comes out is short (bounds.py); an object without name
or uid becomes None. What pods are made of is written by everybody who may create one.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from ..bounds import bool_of, dict_of, items_of, labels_of, text_of

if TYPE_CHECKING:
    from collections.abc import Mapping

# The containers of a pod's spec, each with its place in the status.
_CONTAINERS: Final = (
    ("containers", "containerStatuses"),
    ("initContainers", "initContainerStatuses"),
    ("ephemeralContainers", "ephemeralContainerStatuses"),
)
_STATES: Final = ("state", "lastState")
# A static pod has this instead of its uid in the paths of its cgroups, since kubelet makes those before the API knows
# the pod: pkg/kubelet/types/pod_update.go. It is an MD5, which no pod has as its uid; anybody may write an annotation.
_STATIC: Final = ("kubernetes.io/config.hash", "kubernetes.io/config.mirror")
_MD5: Final = re.compile(r"[0-9a-f]{32}")


@dataclass(frozen=True, slots=True)
class ContainerStatus:
    """`full_id` is "" until it runs; after a restart it is that of the new one."""

    name: str
    image: str = ""  # with registry and tag once the runtime has told it, as it was asked for until then
    full_id: str = ""
    image_id: str = ""
    image_digest: str = ""
    privileged: bool | None = None


class ServiceFacts(NamedTuple):
    """A service that selects the pod."""

    name: str
    uid: str
    labels: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class PodFacts:
    """A pod and the objects around it; "", empty or None is unknown. The names are those of the fields.

    `owner_*` is the object that the pod belongs to in the end, as far as it is known: the Deployment rather than its
    ReplicaSet, the CronJob rather than its Job.
    """

    uid: str
    name: str
    namespace: str
    labels: Mapping[str, str] = field(default_factory=dict)
    ip: str = ""
    containers: Mapping[str, ContainerStatus] = field(default_factory=dict)  # by name; init and ephemeral ones, too
    host_network: bool | None = None
    host_pid: bool | None = None
    host_ipc: bool | None = None
    ns_uid: str = ""
    ns_labels: Mapping[str, str] = field(default_factory=dict)
    owner_kind: str = ""
    owner_name: str = ""
    owner_uid: str = ""
    rs_name: str = ""
    rs_uid: str = ""
    rs_labels: Mapping[str, str] = field(default_factory=dict)
    deployment_name: str = ""
    deployment_uid: str = ""
    deployment_labels: Mapping[str, str] = field(default_factory=dict)
    rc_name: str = ""
    rc_uid: str = ""
    rc_labels: Mapping[str, str] = field(default_factory=dict)
    services: tuple[ServiceFacts, ...] = ()


class Owner(NamedTuple):
    """The controller of an object."""

    kind: str
    name: str
    uid: str


class Pod(NamedTuple):
    """What the pod's own JSON says. `ids`: containers of now and before, full id to name. `created`: sorts by time."""

    facts: PodFacts
    controller: Owner | None
    static_uid: str
    created: str
    ids: Mapping[str, str]


class Thing(NamedTuple):
    """Any other object. `selector` is empty for what selects no pods."""

    name: str
    namespace: str
    uid: str
    labels: Mapping[str, str]
    controller: Owner | None
    selector: Mapping[str, str]


def pod_of(item: Mapping[str, Any]) -> Pod | None:
    thing = thing_of(item)
    if thing is None:
        return None
    spec, status = dict_of(item.get("spec")), dict_of(item.get("status"))
    containers: dict[str, ContainerStatus] = {}
    ids: dict[str, str] = {}
    for in_spec, in_status in _CONTAINERS:
        told = {text_of(one.get("name")): one for one in items_of(status.get(in_status))}
        for one in items_of(spec.get(in_spec)):
            name = text_of(one.get("name"))
            if name:
                about = told.get(name, {})
                containers[name] = made = _container(name, one, about)
                ids.update(dict.fromkeys(_ids(about, made.full_id), name))
    metadata = dict_of(item.get("metadata"))
    facts = PodFacts(
        uid=thing.uid,
        name=thing.name,
        namespace=thing.namespace,
        labels=thing.labels,
        ip=text_of(status.get("podIP")),
        containers=containers,
        # What a spec leaves out is false.
        host_network=bool_of(spec.get("hostNetwork", False)) if spec else None,
        host_pid=bool_of(spec.get("hostPID", False)) if spec else None,
        host_ipc=bool_of(spec.get("hostIPC", False)) if spec else None,
    )
    return Pod(facts, thing.controller, _static_uid(metadata), text_of(metadata.get("creationTimestamp")), ids)


def thing_of(item: Mapping[str, Any]) -> Thing | None:
    metadata = dict_of(item.get("metadata"))
    name, uid = text_of(metadata.get("name")), text_of(metadata.get("uid"))
    if not name or not uid:
        return None
    namespace = text_of(metadata.get("namespace"))
    return Thing(name, namespace, uid, labels_of(metadata.get("labels")), _controller(metadata), {})


def service_of(item: Mapping[str, Any]) -> Thing | None:
    thing = thing_of(item)
    spec = dict_of(item.get("spec"))
    if thing is None or spec.get("type") == "ExternalName":  # such a one is a name only, whatever it says it selects
        return thing
    selector = labels_of(spec.get("selector"))
    if len(selector) != len(dict_of(spec.get("selector"))):  # with a part left out it would select more
        return thing
    return thing._replace(selector=selector)


def _static_uid(metadata: Mapping[str, Any]) -> str:
    annotations = dict_of(metadata.get("annotations"))
    found = {text_of(annotations.get(key)) for key in _STATIC}
    uid = found.pop()
    return uid if not found and _MD5.fullmatch(uid) else ""


def _controller(metadata: Mapping[str, Any]) -> Owner | None:
    for one in items_of(metadata.get("ownerReferences")):
        if one.get("controller") is True:
            found = Owner(text_of(one.get("kind")), text_of(one.get("name")), text_of(one.get("uid")))
            return found if all(found) else None
    return None


def _container(name: str, spec: Mapping[str, Any], status: Mapping[str, Any]) -> ContainerStatus:
    image = text_of(status.get("image"))
    if not image or image.startswith("sha256:"):  # an image without a name
        image = text_of(spec.get("image")) or image
    reference = _bare(status.get("imageID"))
    _, at, digest = reference.rpartition("@")
    return ContainerStatus(
        name=name,
        image=image,
        full_id=_bare(status.get("containerID")),
        image_id="" if at else reference,
        image_digest=digest if at else "",
        privileged=bool_of(dict_of(spec.get("securityContext")).get("privileged", False)),
    )


def _ids(status: Mapping[str, Any], now: str) -> list[str]:
    """Of a container that was started again, events of the one before may still come."""
    before = (dict_of(dict_of(status.get(key)).get("terminated")).get("containerID") for key in _STATES)
    return [one for one in (now, *map(_bare, before)) if one]


def _bare(value: object) -> str:
    """Without the name of the runtime: containerd://ID, docker-pullable://IMAGE@DIGEST."""
    text = text_of(value)
    return text.partition("://")[2] if "://" in text else text
