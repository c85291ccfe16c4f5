# SPDX-License-Identifier: Apache-2.0
"""Cgroup paths become the container they belong to.

Invariant: a 64 digit id in one of the runtimes' layouts is a container by its name alone; any other text is one only
while a runtime's bundle or state for it lies on disk. The innermost container of a nested path wins.
"""

from __future__ import annotations

import math
import os
import re
import time
from collections import OrderedDict
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

SHORT_ID = 12
CACHE_MAX = 8192
_SETTLED_S = 2.0  # a path that no bundle was found for so long is the host's: bundles are written before anything runs
_AGAIN_S = 1.0  # and is looked for again this often
_CANDIDATES_MAX = 8  # path components tried against the disk, innermost first
_NAMESPACES_MAX = 64
_NATIVE = 3  # parts of /NAMESPACE/ID


Pairs = tuple[tuple[str, str], ...]  # (subsystem, path)


class ContainerRef(NamedTuple):
    """A container as the cgroup path names it. `id` is what container.id shows; `pod_uid` is "" outside pods."""

    id: str
    full_id: str
    engine: str
    pod_uid: str


_HEX = "([0-9a-f]{64})"
# A whole path component, and the runtime that names its cgroups so.
_LAYOUTS: tuple[tuple[re.Pattern[str], str], ...] = (
    (re.compile(rf"libpod-(?:payload-)?{_HEX}(?:\.scope.*)?"), "podman"),
    (re.compile(rf"docker-{_HEX}\.scope.*"), "docker"),
    (re.compile(rf"(?:.*:)?cri-containerd[-:]{_HEX}(?:\.scope.*)?"), "containerd"),
    (re.compile(rf"(?:.*:)?crio[-:]{_HEX}(?:\.scope.*)?"), "cri-o"),
    (re.compile(rf"nerdctl-{_HEX}\.scope.*"), "containerd"),
)
_BARE = re.compile(_HEX)
_POD = re.compile(
    r"(?:^|[-/])pod([0-9a-f]{8}(?:[-_][0-9a-f]{4}){3}[-_][0-9a-f]{12}|[0-9a-f]{32})(?=\.slice|[/:]|$)",
)
_LXC = re.compile(r"/lxc(?:/|\.payload[./])([^/]+)(?:/.*)?$")
_LIBVIRT = re.compile(
    r"/(?:libvirt/lxc/([^/]+)|([^/]+)\.libvirt-lxc|machine-lxc\\x2d(?:\d+\\x2d)?([^/]+)\.scope)(?:/.*)?$",
)
_BPM = re.compile(r"/bpm-([^/]+)(?:/.*)?$")
_LAX_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,75}")
_UNITS = (".service", ".slice", ".scope", ".mount", ".socket", ".swap")


def pod_uid(path: str) -> str:
    """The pod uid in a cgroup path, with dashes; "" when there is none. Static pods have 32 digits without dashes."""
    found = _POD.search(path)
    return found.group(1).replace("_", "-") if found else ""


def match(path: str) -> ContainerRef | None:
    """The container that `path` names by its text alone."""
    components = path.split("/")
    for index in range(len(components) - 1, 0, -1):
        component = components[index]
        if len(component) < 64:
            continue
        bare = _BARE.fullmatch(component)
        if bare:
            return _ref(bare.group(1), _bare_engine(components[:index]), path)
        for pattern, engine in _LAYOUTS:
            found = pattern.fullmatch(component)
            if found:
                return _ref(found.group(1), engine, path)
    for pattern, engine in ((_LIBVIRT, "libvirt-lxc"), (_LXC, "lxc"), (_BPM, "bpm")):
        found = pattern.search(path)
        if found:
            name = next(group for group in found.groups() if group)
            if not (engine == "bpm" and name.endswith(_UNITS)):
                return _ref(name, engine, path)
    return None


def _bare_engine(above: list[str]) -> str:
    """A component that is nothing but an id does not say whose it is; the ones above it may."""
    parent = above[-1] if above else ""
    if parent == "libpod_parent":
        return "podman"
    if parent == "k8s.io" or any(part.startswith("kubepods") for part in above) or parent.startswith("pod"):
        return "cri"
    return "docker"


def _ref(full_id: str, engine: str, path: str) -> ContainerRef:
    return ContainerRef(full_id[:SHORT_ID], full_id, engine, pod_uid(path))


class Cgroups:
    """Answers for cgroup paths, with runtimes' state looked up below `root`."""

    def __init__(
        self, root: Path | str = "/", cache_max: int = CACHE_MAX, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._clock = clock
        run = os.path.join(root, "run")
        self._bundles = os.path.join(run, "containerd/io.containerd.runtime.v2.task")
        self._states = ((os.path.join(run, "runc"), "state.json"), (os.path.join(run, "crun"), "status"))
        self._cache: OrderedDict[str, ContainerRef | None] = OrderedDict()
        self._cache_max = cache_max
        self._known: dict[Pairs, tuple[ContainerRef | None, float]] = {}  # answers, and until when they hold
        self._same: dict[Pairs, Pairs] = {}
        self._of_host: dict[str, tuple[float, float]] = {}  # path -> when it was first and last looked for in vain

    def resolve(self, cgroups: Pairs) -> ContainerRef | None:
        """The container of a process with these (subsystem, path) pairs, None for the host.

        Paths that name a container by themselves are cached, and those that have been the host's for a while, for a
        moment. Others are looked up on disk each time: their bundle may come later, and goes away with the container.
        """
        known = self._known.get(cgroups)
        if known is not None and self._clock() < known[1]:
            return known[0]
        undecided = []
        seen = set()
        for _, path in cgroups:
            if path in seen or path == "/":
                continue
            seen.add(path)
            ref = self._strict(path)
            if ref is not None:
                return self._keep(cgroups, ref, math.inf)
            undecided.append(path)
        for path in undecided:
            ref = self._looked_up(path)
            if ref is not None:
                return ref
        return self._keep(cgroups, None, min(map(self._until, undecided), default=math.inf))

    def gone(self, cgroups: Pairs) -> ContainerRef | None:
        """The container that a process outside the host's mount namespace was in, when its bundle is gone already.

        Its path is that of a namespace of containerd's on this machine, and an id in it.
        """
        for _, path in cgroups:
            parts = path.split("/")
            if len(parts) == _NATIVE and not parts[2].endswith(_UNITS) and _LAX_ID.fullmatch(parts[2]):
                namespace = parts[1]
                if namespace in self._namespaces():
                    return _ref(parts[2], "docker" if namespace == "moby" else "containerd", path)
        return None

    def same(self, cgroups: Pairs) -> Pairs:
        """An equal tuple, one for all processes: most are in few places."""
        if len(self._same) >= self._cache_max:
            self._same.clear()
        return self._same.setdefault(cgroups, cgroups)

    def _keep(self, cgroups: Pairs, ref: ContainerRef | None, until: float) -> ContainerRef | None:
        if len(self._known) >= self._cache_max:
            self._known.clear()
        self._known[cgroups] = ref, until
        return ref

    def _until(self, path: str) -> float:
        """When the disk is to be asked again about a path that is the host's; 0 when at once."""
        first, last = self._of_host.get(path, (math.inf, 0.0))
        return last + _AGAIN_S if last - first > _SETTLED_S else 0.0

    def _looked_up(self, path: str) -> ContainerRef | None:
        """A path that has been the host's for a while is not looked for at every exec.

        A bundle that makes a container of it comes with the path, or soon after.
        """
        now = self._clock()
        first, last = self._of_host.get(path, (now, -_AGAIN_S))
        if now - first > _SETTLED_S and now - last < _AGAIN_S:
            return None
        ref = self._on_disk(path)
        if ref is not None or len(self._of_host) >= self._cache_max:
            self._of_host.clear()
        if ref is None:
            self._of_host[path] = first, now
        return ref

    def _strict(self, path: str) -> ContainerRef | None:
        cache = self._cache
        if path in cache:
            cache.move_to_end(path)
            return cache[path]
        ref = cache[path] = match(path)
        if len(cache) > self._cache_max:
            cache.popitem(last=False)
        return ref

    def _on_disk(self, path: str) -> ContainerRef | None:
        components = [part for part in path.split("/") if part]
        namespaces: list[str] | None = None
        for name in components[: -_CANDIDATES_MAX - 1 : -1]:
            if name.endswith(_UNITS) or not _LAX_ID.fullmatch(name):
                continue
            for directory, file in self._states:
                if os.path.isfile(f"{directory}/{name}/{file}"):
                    return _ref(name, "runc", path)
            if namespaces is None:
                namespaces = self._namespaces()
            for namespace in namespaces:
                if os.path.isfile(f"{self._bundles}/{namespace}/{name}/config.json"):
                    return _ref(name, "docker" if namespace == "moby" else "containerd", path)
        return None

    def _namespaces(self) -> list[str]:
        try:
            return os.listdir(self._bundles)[:_NAMESPACES_MAX]
        except OSError:
            return []
