# SPDX-License-Identifier: Apache-2.0
"""The store that podman, buildah and CRI-O keep containers and images in becomes names, images and configurations.

A store is a directory with `DRIVER-containers` and `DRIVER-images` below it (github.com/containers/storage).
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from ..bounds import text_of
from .spec import CONFIG

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from .files import Files

STORES: Final = ("/var/lib/containers/storage", "/run/containers/storage")
_DRIVERS: Final = ("overlay", "vfs", "btrfs", "zfs")
ID: Final = re.compile("[0-9a-f]{64}")
_BUNDLE: Final = re.compile(r"(/.+)/([a-z0-9]{1,16})-containers/[0-9a-f]{64}/userdata")


class Place(NamedTuple):
    """One driver's part of a store."""

    store: str
    driver: str


class Entry(NamedTuple):
    """What the store itself knows of a container; "" what it does not."""

    name: str = ""
    image: str = ""
    image_id: str = ""


def configurations(files: Files, full_id: str) -> Iterator[tuple[Place, dict[str, Any]]]:
    """What the container was made from, wherever it lies."""
    if not ID.fullmatch(full_id):
        return
    for store in STORES:
        for driver in _DRIVERS:
            spec = files.read(store, f"{driver}-containers", full_id, "userdata", CONFIG)
            if spec is not None:
                yield Place(store, driver), spec


def place_of(bundle: str) -> Place | None:
    """The store that a bundle belongs to."""
    found = _BUNDLE.fullmatch(bundle)
    return Place(found.group(1), found.group(2)) if found else None


def entry(files: Files, place: Place, full_id: str) -> Entry | None:
    """None when the store does not know the container (yet)."""
    below = f"{place.driver}-containers"
    for store in dict.fromkeys((place.store, *STORES)):
        for name in ("containers.json", "volatile-containers.json"):
            found = _with_id(files.kept(store, below, name), full_id)
            if found is not None:
                return _entry(found, files.parsed(text_of(found.get("metadata"))))
    return None


def _entry(found: Mapping[str, Any], metadata: Mapping[str, Any]) -> Entry:
    """`metadata` is what the program that made the container wrote into the store."""
    names = found.get("names")
    first = names[0] if isinstance(names, list) and names else ""
    return Entry(
        text_of(metadata.get("name")) or text_of(first),
        text_of(metadata.get("image-name")),
        text_of(found.get("image")),
    )


def image_digest(files: Files, place: Place, image_id: str) -> str:
    for store in dict.fromkeys((place.store, *STORES)):
        found = _with_id(files.kept(store, f"{place.driver}-images", "images.json"), image_id)
        if found is not None:
            return text_of(found.get("digest"))
    return ""


def _with_id(entries: object, wanted: str) -> Mapping[str, Any] | None:
    if not isinstance(entries, list) or not wanted:
        return None
    return next((one for one in entries if isinstance(one, dict) and one.get("id") == wanted), None)
