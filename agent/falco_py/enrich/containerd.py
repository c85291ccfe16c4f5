# SPDX-License-Identifier: Apache-2.0
"""containerd's files become facts: of pods (CRI), of nerdctl, of ctr.

The bundle is there 20 ms before the first process runs and tells most of a pod's container. Labels, digests, and images
that are not of pods are in containerd's database, which has a container before there is a bundle, and longer.
"""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from ..bounds import dict_of, items_of, text_of
from . import cni
from .facts import Facts, Found, bare_id
from .spec import CONFIG, annotations_of, take_spec

if TYPE_CHECKING:
    from collections.abc import Mapping

    from falco_py.state.cgroups import ContainerRef

    from .boltdb import State
    from .files import Files

TASKS: Final = "io.containerd.runtime.v2.task"
DOCKERS: Final = "moby"
_PLACES: Final = {  # state -> root
    "/run/containerd": "/var/lib/containerd",
    "/run/k3s/containerd": "/var/lib/rancher/k3s/agent/containerd",
    "/run/host-containerd": "/var/lib/host-containerd",
    "/var/snap/microk8s/common/run/containerd": "/var/snap/microk8s/common/var/lib/containerd",
}
_DATABASE: Final = ("io.containerd.metadata.v1.bolt", "meta.db")
_BLOBS: Final = ("io.containerd.content.v1.content", "blobs", "sha256")
_SCHEMA: Final = "v1"
_ID: Final = re.compile(r"[A-Za-z0-9]+(?:[._-][A-Za-z0-9]+)*")
_ID_MAX: Final = 76
_SHA256: Final = re.compile("[0-9a-f]{64}")
_ANY_TYPE, _ANY_VALUE = 0x0A, 0x12  # tags of the fields
_VARINT_BITS: Final = 28
_CRI: Final = "io.kubernetes.cri."
_OWN_LABELS: Final = ("io.cri-containerd.", "io.containerd.", "containerd.io/")
_MACHINES: Final = {"x86_64": "amd64", "aarch64": "arm64"}


class _Record(NamedTuple):
    """What the database has of a container."""

    image: str
    digest: str
    labels: dict[str, str]
    pod_labels: dict[str, str]


def find(files: Files, ref: ContainerRef) -> Found | None:
    name = ref.full_id
    if len(name) > _ID_MAX or not _ID.fullmatch(name):
        return None
    for state in _PLACES:
        tasks = f"{state}/{TASKS}"
        for namespace in files.names(tasks):
            spec = None if namespace == DOCKERS else files.read(tasks, namespace, name, CONFIG)
            if spec is not None:
                return facts_of(files, f"{tasks}/{namespace}/{name}", spec, ref)
    return _find_ended(files, ref)


def _find_ended(files: Files, ref: ContainerRef) -> Found | None:
    """The bundle goes with the last process, the database has the container until it is removed."""
    for state, root in _PLACES.items():
        tasks = f"{state}/{TASKS}"
        for namespace in files.names(tasks):
            spec = {} if namespace == DOCKERS else _kept_spec(files, root, namespace, ref.full_id)
            if spec:
                return facts_of(files, f"{tasks}/{namespace}/{ref.full_id}", spec, ref)
    return None


def _kept_spec(files: Files, root: str, namespace: str, name: str) -> dict[str, Any]:
    path = _SCHEMA, namespace, "containers", name, "spec"
    packed = files.database(lambda state: state.value(*path), root, *_DATABASE)
    return files.parsed(_unpacked(packed or b""))


def _unpacked(packed: bytes) -> bytes:
    """The value of a google.protobuf.Any: field 2, of a length that a varint says, as field 1, the type's name."""
    at = 0
    while at < len(packed):
        tag, size, shift = packed[at], 0, 0
        at += 1
        while at < len(packed) and shift <= _VARINT_BITS:
            size |= (packed[at] & 0x7F) << shift
            at, shift = at + 1, shift + 7
            if not packed[at - 1] & 0x80:
                break
        if tag == _ANY_VALUE:
            return packed[at : at + size]
        if tag != _ANY_TYPE:
            break
        at += size
    return b""


def is_ours(bundle: str, spec: Mapping[str, Any]) -> bool:
    return is_pods(spec) or f"/{TASKS}/" in bundle


def is_pods(spec: Mapping[str, Any]) -> bool:
    return any(key.startswith(_CRI) for key in annotations_of(spec))


def facts_of(files: Files, bundle: str, spec: Mapping[str, Any], ref: ContainerRef) -> Found:
    """`bundle` ends in STATE/TASKS/NAMESPACE/ID."""
    facts = Facts(type="containerd")
    take_spec(facts, spec, files.place("/proc"))
    notes = annotations_of(spec)

    def note(name: str) -> str:
        return text_of(notes.get(_CRI + name))

    state, _, tail = bundle.rpartition(f"/{TASKS}/")
    namespace = tail.partition("/")[0]
    root = _PLACES.get(state, _PLACES["/run/containerd"])
    facts.pod_name, facts.pod_namespace = note("sandbox-name"), note("sandbox-namespace")
    facts.pod_uid = ref.pod_uid or note("sandbox-uid")
    facts.pod_sandbox_id = note("sandbox-id")
    image = note("image-name") or note("podsandbox.image-name")
    record = files.database(lambda state: _record(state, namespace, ref.full_id, image, facts.pod_sandbox_id),
                            root, *_DATABASE)  # fmt: skip
    if record is not None:
        facts.take_labels(record.labels)
        facts.pod_labels = record.pod_labels
        image = image or record.image
    facts.take_image(image)
    if record is not None:
        facts.image_digest = facts.image_digest or record.digest
        facts.image_id = _image_id(files, root, record.digest)
    if not is_pods(spec):
        facts.name = text_of(notes.get("nerdctl/name")) or ref.full_id
        return Found(facts, record is not None)
    sandbox = note("container-type") == "sandbox"
    facts.name = facts.pod_name if sandbox else note("container-name")
    facts.show_pod("POD" if sandbox else facts.name)
    facts.ip = facts.pod_ip = cni.address(files, facts.pod_sandbox_id)
    return Found(facts)


def _record(state: State, namespace: str, name: str, image: str, sandbox: str) -> _Record | None:
    """None when the database has no such container."""
    here = _SCHEMA, namespace, "containers"
    own = state.value(*here, name, "image")
    if own is None:
        return None
    image = image or _text(own)
    digest = state.value(_SCHEMA, namespace, "images", image, "target", "digest") if image else None
    return _Record(
        image,
        _text(digest or b""),
        _labels(state.values(*here, name, "labels")),
        _labels(state.values(*here, sandbox, "labels")) if sandbox else {},
    )


def _labels(found: Mapping[bytes, bytes]) -> dict[str, str]:
    texts = {_text(key): _text(value) for key, value in found.items()}
    return {key: value for key, value in texts.items() if not key.startswith(_OWN_LABELS)}


def _text(raw: bytes) -> str:
    return raw.decode("utf-8", "replace")


def _image_id(files: Files, root: str, digest: str) -> str:
    """The image's configuration, which its manifest names; an index names manifests for several machines."""
    manifest = _blob(files, root, digest)
    machine = os.uname().machine
    for one in items_of(manifest.get("manifests")):
        platform = dict_of(one.get("platform"))
        if platform.get("os") == "linux" and platform.get("architecture") == _MACHINES.get(machine, machine):
            manifest = _blob(files, root, text_of(one.get("digest")))
            break
    return bare_id(dict_of(manifest.get("config")).get("digest"))


def _blob(files: Files, root: str, digest: str) -> Mapping[str, Any]:
    name = bare_id(digest)
    return files.read(root, *_BLOBS, name) or {} if _SHA256.fullmatch(name) else {}
