# SPDX-License-Identifier: Apache-2.0
"""CRI-O's containers become facts: all of them are annotations of the configuration."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from ..bounds import labels_of, text_of
from . import cni, storage
from .facts import POD_CONTAINER, POD_NAME, POD_NAMESPACE, POD_UID, Facts, Found
from .podman import MANAGER
from .spec import annotations_of, take_spec

if TYPE_CHECKING:
    from collections.abc import Mapping

    from falco_py.state.cgroups import ContainerRef

    from .files import Files
    from .storage import Place

_OWN: Final = "io.kubernetes.cri-o."
_TRUTH: Final = {"true": True, "false": False}


def is_ours(spec: Mapping[str, Any]) -> bool:
    notes = annotations_of(spec)
    return notes.get(MANAGER) == "cri-o" or f"{_OWN}ContainerType" in notes


def find(files: Files, ref: ContainerRef) -> Found | None:
    for place, spec in storage.configurations(files, ref.full_id):
        if is_ours(spec):
            return facts_of(files, place, spec, ref)
    return None


def facts_of(files: Files, place: Place, spec: Mapping[str, Any], ref: ContainerRef) -> Found:
    facts = Facts(type="cri-o", pod_uid=ref.pod_uid)
    take_spec(facts, spec, files.place("/proc"))
    notes = annotations_of(spec)

    def note(name: str) -> str:
        return text_of(notes.get(_OWN + name))

    sandbox = note("ContainerType") == "sandbox"
    metadata, labels = files.parsed(note("Metadata")), files.parsed(note("Labels"))
    facts.take_labels({**{key: notes[key] for key in (POD_NAME, POD_NAMESPACE, POD_UID) if key in notes}, **labels})
    facts.pod_sandbox_id = note("SandboxID")
    facts.pod_name = facts.pod_name or (note("KubeName") if sandbox else "")
    facts.pod_namespace = facts.pod_namespace or note("Namespace")
    facts.name = facts.pod_name if sandbox else text_of(metadata.get("name")) or facts.labels.get(POD_CONTAINER, "")
    facts.show_pod("POD" if sandbox else facts.name)
    facts.take_image(note("ImageName") or note("Image"))
    facts.image_id = _hex(note("ImageRef")) or _hex(note("Image"))
    facts.image_digest = facts.image_digest or storage.image_digest(files, place, facts.image_id)
    if sandbox:
        facts.pod_labels = labels_of(labels)
        facts.cni_json = note("CNIResult")
    facts.ip = facts.pod_ip = note("IP.0") or note("IP") or cni.address(files, facts.pod_sandbox_id)
    told = _TRUTH.get(note("PrivilegedRuntime"))
    if told is not None and not facts.privileged:
        facts.privileged = told
    return Found(facts)


def _hex(text: str) -> str:
    return text if storage.ID.fullmatch(text) else ""
