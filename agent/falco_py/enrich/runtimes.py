# SPDX-License-Identifier: Apache-2.0
"""A container that a cgroup path named becomes facts, from the files of the runtime that it most likely belongs to.

Invariant: `find` reads a bounded number of small files, never waits, and never raises.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from . import containerd, crio, docker, podman, runc
from .facts import Facts
from .files import Files

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from falco_py.state.cgroups import ContainerRef

    from .facts import Found

_ALL: Final = (containerd.find, docker.find, podman.find, crio.find, runc.find)
_FIRST: Final = {
    "docker": docker.find, "podman": podman.find, "cri-o": crio.find, "runc": runc.find, "containerd": containerd.find,
}  # fmt: skip
_WITHOUT_FILES: Final = ("lxc", "libvirt-lxc", "bpm")


class Runtimes:
    """`root` is where the host's file system is seen (HOST_ROOT)."""

    def __init__(self, root: Path | str = "/") -> None:
        self._files = Files(root)

    @property
    def failures(self) -> Mapping[str, int]:
        """What could not be read or understood, by reason."""
        return self._files.failures

    def find(self, ref: ContainerRef) -> tuple[Facts | None, bool]:
        """What is known, and whether nothing more is to come."""
        if ref.engine in _WITHOUT_FILES:
            return Facts(name=ref.full_id, type=ref.engine), True
        first = _FIRST.get(ref.engine)
        part: Found | None = None
        for source in _ALL if first is None else (first, *(one for one in _ALL if one is not first)):
            try:
                found = source(self._files, ref)
            except Exception:  # noqa: BLE001 - files of others must not end the agent; it is counted
                self._files.failures["unexpected"] += 1
                continue
            if found is not None and found.whole:
                return found
            part = part or found
        return part or (None, False)
