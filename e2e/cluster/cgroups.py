# SPDX-License-Identifier: Apache-2.0
"""A name becomes a cgroup of that name in every hierarchy of the machine, with all of the cluster's pods below it.

A kubelet kills whatever it finds under its root and does not know, so no two kubelets, and no test that makes
/kubepods by hand, may share one. Invariant: nothing but this sub-tree is touched.
"""

from __future__ import annotations

import contextlib
import time
from pathlib import Path
from typing import Final

from e2e.cluster.processes import Process

_REMOVE_S: Final = 15.0
_STEP_S: Final = 0.1


class Cgroups:
    """`root` is the cgroup's path as kubelet takes it."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.root = f"/{name}"
        self._trees = [(Path(mount) / name, kind) for mount, kind in _hierarchies()]

    def make(self) -> None:
        for tree, kind in self._trees:
            tree.mkdir()
            if kind == "cgroup" and (tree / "cpuset.cpus").exists():  # version 1: nothing may run until these are set
                for setting in ("cpuset.cpus", "cpuset.mems"):
                    (tree / setting).write_text((tree.parent / setting).read_text())

    def existing(self) -> list[Path]:
        """All of its directories, those further down first."""
        found = [path for tree, _ in self._trees if tree.is_dir() for path in (tree, *tree.rglob("*/"))]
        return sorted((path for path in found if path.is_dir()), key=lambda path: len(path.parts), reverse=True)

    def processes(self) -> set[Process]:
        found = set()
        for directory in self.existing():
            with contextlib.suppress(OSError):  # removed since
                for pid in (directory / "cgroup.procs").read_text().split():
                    with contextlib.suppress(ProcessLookupError):
                        found.add(Process.of(int(pid)))
        return {process for process in found if process.alive()}

    def remove(self) -> None:
        """Removes it once its processes have ended. Raises RuntimeError: what is left."""
        ends = time.monotonic() + _REMOVE_S
        while left := self.existing():
            for directory in left:
                with contextlib.suppress(OSError):  # a process that is about to end
                    directory.rmdir()
            if not self.existing():
                return
            if time.monotonic() > ends:
                raise RuntimeError(f"cgroups could not be removed: {', '.join(map(str, self.existing()))}")
            time.sleep(_STEP_S)


def _hierarchies() -> list[tuple[str, str]]:
    """Mount point and type, cgroup or cgroup2 (proc(5), /proc/PID/mountinfo)."""
    found = {}
    for line in Path("/proc/self/mountinfo").read_text(encoding="utf-8").splitlines():
        before, _, after = line.partition(" - ")
        kind = after.split()[0]
        if kind in ("cgroup", "cgroup2"):
            found[before.split()[4]] = kind
    return sorted(found.items())
