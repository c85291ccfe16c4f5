# SPDX-License-Identifier: Apache-2.0
"""The Kubernetes API becomes facts of this node's pods, for the agent's other threads to look up.

Invariant: nothing here raises because the API server is away, and no caller waits for it. Pods are always watched, what
is around them only while rules ask for fields of it.
"""

from __future__ import annotations

import asyncio
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from ..log import log
from .access import Access
from .client import Client
from .objects import pod_of
from .store import (
    DEPLOYMENTS,
    JOBS,
    NAMESPACES,
    REPLICA_SETS,
    REPLICATION_CONTROLLERS,
    SERVICES,
    Store,
)
from .watch import Pace, Watch

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from concurrent.futures import Future

    from ..background import Background
    from ..config import Kubernetes
    from .objects import ContainerStatus, PodFacts

PODS: Final = "pods"
_WAKE_S: Final = 0.2  # between two calls of `wake`
_CLOSE_S: Final = 5.0


class Kind(NamedTuple):
    """`setting` is the key of falco.yaml that allows it; `fields` are what it is needed for: names, or beginnings."""

    path: str
    setting: str
    fields: tuple[str, ...]


KINDS: Final = {
    NAMESPACES: Kind("/api/v1/namespaces", "pods", ("k8smeta.ns.uid", "k8smeta.ns.label")),
    REPLICA_SETS: Kind(
        "/apis/apps/v1/replicasets", "owners", ("k8smeta.rs.label", "k8smeta.deployment.", "k8smeta.owner.")
    ),
    DEPLOYMENTS: Kind("/apis/apps/v1/deployments", "owners", ("k8smeta.deployment.label",)),
    REPLICATION_CONTROLLERS: Kind("/api/v1/replicationcontrollers", "owners", ("k8smeta.rc.label",)),
    JOBS: Kind("/apis/batch/v1/jobs", "owners", ("k8smeta.owner.",)),
    SERVICES: Kind("/api/v1/services", "services", ("k8smeta.svc.",)),
}


class WatchState(NamedTuple):
    """Of one kind, for metrics and health. `failures` are by reason."""

    kind: str
    connected: bool
    synced: bool
    lists: int
    watches: int
    events: int
    unreadable: int
    failures: dict[str, int]


def state_of(watch: Watch[Any]) -> WatchState:
    return WatchState(
        watch.kind, watch.connected, watch.synced, watch.lists, watch.watches, watch.events, watch.unreadable,
        watch.failures.copy(),
    )  # fmt: skip


class Cluster:
    """`client` is for whatever else is asked of the same API server, in Background's thread.

    All but `start` and `close` may be called from any thread.
    """

    def __init__(
        self, settings: Kubernetes, background: Background, wake: Callable[[], None], *, client: Client | None = None,
        pace: Pace = Pace(),  # noqa: B008 - immutable
    ) -> None:  # fmt: skip
        """`wake` is called in Background's thread when `changed` has something, at most some times a second."""
        self.client = client or Client(Access(settings.kubeconfig))
        self.store = Store(self._has_changed)
        self._settings = settings
        self._background = background
        self._wake = wake
        self._pace = pace
        self._lock = threading.Lock()
        self._started = self._closed = False
        self._kinds: frozenset[str] = frozenset()
        self._watches: dict[str, Watch[Any]] = {}  # replaced, never changed
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._told: set[str] = set()
        self._waking = False
        self._woken_s = float("-inf")

    def start(self) -> None:
        with self._lock:
            if self._started or self._closed:
                return
            self._started = True
        self._settle()

    def want(self, fields: Iterable[str]) -> None:
        """The names of all fields that rules look at, of now: kinds that none of them needs are dropped."""
        wanted = set()
        for kind, about in KINDS.items():
            if any(field.startswith(about.fields) for field in fields):
                if self._settings.pods and getattr(self._settings, about.setting):
                    wanted.add(kind)
                else:
                    self._tell_off(about.setting if self._settings.pods else PODS)
        with self._lock:
            self._kinds = frozenset(wanted)
            ready = self._started and not self._closed
        if ready:
            self._settle()

    def close(self) -> None:
        with self._lock:
            running, self._started, self._closed = self._started, False, True
        if running:
            with suppress(TimeoutError):
                self._background.call(self._end(), _CLOSE_S)

    # What is known

    def pod(self, uid: str) -> PodFacts | None:
        """By the uid in the paths of its cgroups."""
        return self.store.pod(uid)

    def container(self, full_id: str) -> tuple[PodFacts, ContainerStatus] | None:
        return self.store.container(full_id)

    def changed(self) -> list[str]:
        """Uids of pods that are new, other or forgotten since the last call."""
        return self.store.changed()

    @property
    def problem(self) -> str:
        """Why facts may be old or missing; "" when nothing is wrong."""
        return next((watch.problem for watch in self._watches.values() if watch.problem), "")

    @property
    def synced(self) -> bool:
        """All that is wanted was listed once; what there is no right to is not waited for."""
        watches = self._watches
        return bool(watches) and all(watch.synced or watch.hopeless for watch in watches.values())

    @property
    def watches(self) -> list[WatchState]:
        return [state_of(watch) for watch in self._watches.values()]

    # In the loop

    def _settle(self) -> None:
        self._background.start(self._follow()).add_done_callback(_told_of)

    async def _follow(self) -> None:
        """Starts and ends watches, so that they are those that are wanted."""
        with self._lock:
            wanted = {*self._kinds, PODS} if self._settings.pods and not self._closed else set()
        watches = dict(self._watches)
        for kind in watches.keys() - wanted:
            self._tasks.pop(kind).cancel()
            del watches[kind]
            self._watches = watches
            self.store.drop(kind)
        for kind in sorted(wanted - watches.keys(), key=lambda kind: kind != PODS):
            watches[kind] = self._watch(kind)
        self._watches = watches
        loop = asyncio.get_running_loop()
        for kind, watch in watches.items():
            if kind not in self._tasks:
                self._tasks[kind] = loop.create_task(watch.run(), name=f"watch {kind}")

    def _watch(self, kind: str) -> Watch[Any]:
        if kind == PODS:
            node = {"fieldSelector": f"spec.nodeName={self._settings.node_name}"}
            return Watch(self.client, PODS, "/api/v1/pods", self.store, params=node, read=pod_of, pace=self._pace)
        things = self.store.things[kind]
        metadata_only = kind != SERVICES  # their selectors are needed
        return Watch(
            self.client, kind, KINDS[kind].path, things, read=things.read, metadata_only=metadata_only, pace=self._pace
        )

    async def _end(self) -> None:
        tasks, self._tasks = list(self._tasks.values()), {}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self.client.close()

    def _has_changed(self) -> None:
        if self._waking:
            return
        self._waking = True
        loop = asyncio.get_running_loop()
        # At the earliest when what is running now is done: a list changes many pods.
        loop.call_at(max(loop.time(), self._woken_s + _WAKE_S), self._call)

    def _call(self) -> None:
        self._waking = False
        self._woken_s = asyncio.get_running_loop().time()
        self._wake()

    def _tell_off(self, setting: str) -> None:
        if setting not in self._told:
            self._told.add(setting)
            log.notice(
                f"kubernetes: rules ask for facts that are not watched, because kubernetes.{setting} is false: "
                "their fields stay empty"
            )


def _told_of(future: Future[None]) -> None:
    if not future.cancelled() and (error := future.exception()) is not None:
        log.error(f"kubernetes: watches could not be changed: {type(error).__name__}: {error}")
