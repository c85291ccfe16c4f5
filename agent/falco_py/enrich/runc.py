# SPDX-License-Identifier: Apache-2.0
"""What runc or crun itself knows of a container becomes its bundle: for containers whose runtime keeps its files at
another place than usual, or that nobody but runc manages.

The state is written while the container is made, before its own program starts.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from ..bounds import text_of, texts_of
from . import containerd, crio, podman, storage
from .facts import Facts, Found
from .spec import CONFIG, annotations_of, take_spec

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from falco_py.state.cgroups import ContainerRef

    from .files import Files

_ROOTS: Final = ("/run/runc", "/run/docker/runtime-runc/moby")
_BY_NAMESPACE: Final = ("/run/containerd/runc", "/run/docker/runtime-runc")
_CRUN: Final = "/run/crun"
_ID: Final = re.compile(r"[\w+.-]{1,255}", re.ASCII)
_BUNDLE: Final = "bundle="
_IMAGE: Final = "org.opencontainers.image.ref.name"


class _Start(NamedTuple):
    bundle: str
    engine: str


def find(files: Files, ref: ContainerRef) -> Found | None:
    name = ref.full_id
    if not _ID.fullmatch(name) or name in (".", ".."):
        return None
    for bundle, engine in _bundles(files, name):
        spec = files.read(bundle, CONFIG) if bundle.startswith("/") else None
        return Found(Facts(name=name, type=engine), whole=False) if spec is None else _facts(files, bundle, spec, ref)
    return None


def _bundles(files: Files, name: str) -> Iterator[_Start]:
    for root in _ROOTS:
        yield from _of_runc(files.read(root, name, "state.json"))
    for root in _BY_NAMESPACE:
        for namespace in files.names(root):
            yield from _of_runc(files.read(root, namespace, name, "state.json"))
    status = files.read(_CRUN, name, "status")
    if status is not None:
        yield _Start(text_of(status.get("bundle")), "crun")


def _of_runc(state: dict[str, Any] | None) -> Iterator[_Start]:
    """libcontainer keeps the bundle's path as a label, KEY=VALUE."""
    if state is not None:
        config = state.get("config")
        labels = texts_of(config.get("labels")) if isinstance(config, dict) else []
        yield _Start(next((one.removeprefix(_BUNDLE) for one in labels if one.startswith(_BUNDLE)), ""), "runc")


def _facts(files: Files, bundle: str, spec: Mapping[str, Any], ref: ContainerRef) -> Found:
    place = storage.place_of(bundle)
    if place is not None and podman.is_ours(spec):
        return podman.facts_of(files, place, spec, ref)
    if place is not None and crio.is_ours(spec):
        return crio.facts_of(files, place, spec, ref)
    if containerd.is_ours(bundle, spec):
        return containerd.facts_of(files, bundle, spec, ref)
    facts = Facts(name=ref.full_id, type=ref.engine, pod_uid=ref.pod_uid)
    take_spec(facts, spec, files.place("/proc"))
    facts.take_image(text_of(annotations_of(spec).get(_IMAGE)))
    return Found(facts)
