# SPDX-License-Identifier: Apache-2.0
"""podman's part of the store becomes facts.

Name and image are in the store's list, labels in podman's own database (where that is bbolt: before podman 5), the rest
in the configuration.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from ..bounds import labels_of, text_of
from . import storage
from .facts import Facts, Found
from .spec import annotations_of, take_spec

if TYPE_CHECKING:
    from collections.abc import Mapping

    from falco_py.state.cgroups import ContainerRef

    from .files import Files
    from .storage import Place

MANAGER: Final = "io.container.manager"
_DATABASE: Final = ("libpod", "bolt_state.db")
_PRIVILEGED: Final = {"TRUE": True, "FALSE": False}


def is_ours(spec: Mapping[str, Any]) -> bool:
    return annotations_of(spec).get(MANAGER) == "libpod"


def find(files: Files, ref: ContainerRef) -> Found | None:
    for place, spec in storage.configurations(files, ref.full_id):
        if is_ours(spec):
            return facts_of(files, place, spec, ref)
    return None


def facts_of(files: Files, place: Place, spec: Mapping[str, Any], ref: ContainerRef) -> Found:
    facts = Facts(type="podman")
    take_spec(facts, spec, files.place("/proc"))
    notes = annotations_of(spec)
    told = _PRIVILEGED.get(text_of(notes.get("io.podman.annotations.privileged")))
    if told is not None:
        facts.privileged = told
    known = storage.entry(files, place, ref.full_id)
    if known is not None:
        facts.name = known.name
        facts.take_image(known.image)
        facts.image_id = known.image_id
        facts.image_digest = facts.image_digest or storage.image_digest(files, place, known.image_id)
    config = files.database(lambda state: state.value("ctr", ref.full_id, "config"), place.store, *_DATABASE)
    if config:
        facts.labels = labels_of(files.parsed(config).get("labels"))
    return Found(facts, known is not None)
