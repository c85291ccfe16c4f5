# SPDX-License-Identifier: Apache-2.0
"""One kind of object is listed once and watched from then on; what comes of it goes to a sink.

Invariant: `run` ends only when it is cancelled, and after any gap the sink is told all that changed in it: by a watch
from the last version that was seen or, where the server has forgotten that one, by a list.

Lists ask for `resourceVersion=0` first, as client-go's reflectors do: the API server answers from its cache, which has
an index of pods by node. A list of the newest state would make it read all pods of the cluster from etcd, for each node
of the cluster. Later lists ask for nothing older than what was seen. None is paged: the cache does not page, and the
items are taken one by one as they come.
"""

from __future__ import annotations

import asyncio
import random
from typing import TYPE_CHECKING, Any, Final, Generic, NamedTuple, Protocol, TypeVar

from ..log import log
from .client import JSON, ApiError, loaded, refusal

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from .client import Client

T = TypeVar("T")
T_contra = TypeVar("T_contra", contravariant=True)

_AS: Final = "application/json;as={};g=meta.k8s.io;v=v1,application/json"
METADATA_LIST: Final = _AS.format("PartialObjectMetadataList")
METADATA: Final = _AS.format("PartialObjectMetadata")
_STALE: Final = (400, 410)  # the version that was asked for is not one that the server has
_SLOW: Final = (401, 403, 404)  # what a person must mend
_PATIENCE: Final = 5  # so often they are tried like the others: an API server that has just started knows no roles yet
_OVERLOADED: Final = (429, 500, 502, 503, 504)
_STEPS: Final = 16
_REASONS_MAX: Final = 32


class Sink(Protocol[T_contra]):
    """Called in the loop's thread; what it raises is counted and told, and the watch goes on."""

    def replace(self, objects: Sequence[T_contra]) -> None:
        """These are all there are: after each list."""

    def put(self, item: T_contra) -> None: ...

    def remove(self, item: T_contra) -> None: ...


class Pace(NamedTuple):
    """Seconds. Before the attempt after n failures: a random part of `first` * 2**n, at most `longest`."""

    first: float = 1.0
    longest: float = 30.0
    slow: float = 60.0  # to twice that, where a right is missing
    steady: float = 5.0  # a watch that ends before this, with nothing in it, was none
    watch_least: float = 290.0
    watch_most: float = 580.0
    silence: float = 30.0  # the server's end of a watch may be so late


class Watch(Generic[T]):
    """`problem` is "" while it works. Counters may be read from any thread.

    `failures` counts by reason: the API's, or Timeout, Unreachable, Closed, NoAccess, TooLarge, Malformed, Defect.
    """

    def __init__(
        self,
        client: Client,
        kind: str,
        path: str,
        sink: Sink[T],
        *,
        params: Mapping[str, str] | None = None,
        metadata_only: bool = False,
        read: Callable[[dict[str, Any]], T | None] | None = None,
        pace: Pace = Pace(),  # noqa: B008 - immutable
    ) -> None:
        """`read` makes of an object's JSON what the sink takes; None, and what it raises, is counted and passed over.

        Without it the sink gets the JSON.
        """
        self.kind = kind
        self.path = path
        self.synced = False  # a list was taken whole
        self.connected = False
        self.hopeless = False  # a person must mend it: a right is missing
        self.problem = ""
        self.lists = 0
        self.watches = 0
        self.events = 0
        self.unreadable = 0  # objects and events
        self.failures: dict[str, int] = {}
        self._client = client
        self._sink = sink
        self._params = dict(params or {})
        self._accepts = (METADATA_LIST, METADATA) if metadata_only else (JSON, JSON)
        self._read: Callable[[dict[str, Any]], Any] = read or _itself
        self._pace = pace
        self._version = ""  # the newest that was seen
        self._known = False  # the sink has the state of that version
        self._newest = False  # the next list must be of the newest state: the version that is known is of no use
        self._failed = 0  # in a row
        self._forgotten = False  # the version, since it worked last
        self._told_rights = False
        self._told_defect = False

    async def run(self) -> None:
        try:
            while True:
                try:
                    if not self._known:
                        await self._list()
                    await self._watch()
                except ApiError as error:
                    await self._pause(error)
                except Exception as error:  # noqa: BLE001 - a defect of ours: it must go on
                    self._known = False
                    await self._pause(_defect(error))
        finally:
            self._client.away.discard(self)

    async def _list(self) -> None:
        params = dict(self._params)
        if not self._newest:
            params |= {"resourceVersion": self._version or "0", "resourceVersionMatch": "NotOlderThan"}
        self.lists += 1
        objects: list[T] = []

        def take(item: object) -> None:
            found = self._object(item)
            if found is not None:
                objects.append(found)

        listed = None
        try:
            while listed is None or listed.next:
                if listed is not None:  # it pages without having been asked to
                    params = self._params | {"continue": listed.next}
                listed = await self._client.list(self.path, params, take, self._accepts[0])
        except ApiError as error:
            self._newest = self._newest or _stale(error)
            raise
        if not listed.version:
            raise ApiError(0, "Malformed", f"{self.path} is a list without a version")
        self._sent(self._sink.replace, objects)
        self._version = listed.version
        self._newest = False
        self._known = self.synced = True

    async def _watch(self) -> None:
        pace = self._pace
        loop = asyncio.get_running_loop()
        seconds = random.uniform(pace.watch_least, pace.watch_most)
        params = self._params | {
            "watch": "1",
            "allowWatchBookmarks": "true",
            "resourceVersion": self._version,
            "timeoutSeconds": str(max(1, round(seconds))),
        }
        self.watches += 1
        steady = None
        silence_s = seconds + pace.silence
        try:
            async with self._client.stream(self.path, params, accept=self._accepts[1], silence_s=silence_s) as lines:
                self.connected = True
                self.problem = ""
                steady = loop.call_later(pace.steady, self._works)
                async for line in lines:
                    self._event(line)
                    if self._failed or self._forgotten:
                        self._works()
        except ApiError as error:
            if _stale(error):
                self._known = False
            raise
        finally:
            self.connected = False
            if steady is not None:
                steady.cancel()
        # It ends when its time is over, or the server's. Only one that ends again and again has to wait.
        if steady.when() > loop.time():
            raise ApiError(0, "Closed", "the server ends the watch at once")

    def _event(self, line: bytes) -> None:
        """Raises ApiError."""
        event = loaded(line)
        if not isinstance(event, dict):
            self._known = False  # nobody knows what it was
            raise ApiError(0, "Malformed", "a line of the watch is no JSON object")
        kind, item = event.get("type"), event.get("object")
        if kind == "ERROR":
            code = item.get("code") if isinstance(item, dict) else None
            error = refusal(code if isinstance(code, int) else 0, item, "Error")
            self._known = self._known and error.status in _OVERLOADED
            raise error
        if kind in ("ADDED", "MODIFIED"):
            self.events += 1
            self._sent(self._sink.put, self._object(item))
        elif kind == "DELETED":
            self.events += 1
            self._sent(self._sink.remove, self._object(item))
        elif kind != "BOOKMARK":
            self.unreadable += 1
        self._version = _version(item) or self._version

    def _object(self, item: object) -> T | None:
        found: T | None = None
        if isinstance(item, dict):
            try:
                found = self._read(item)
            except Exception as error:  # noqa: BLE001 - one object must not hide the others
                self._fault(_defect(error))
        if found is None:
            self.unreadable += 1
        return found

    def _sent(self, take: Callable[[Any], None], what: object) -> None:
        if what is None:
            return
        try:
            take(what)
        except Exception as error:  # noqa: BLE001
            self._fault(_defect(error))

    # What is counted and told

    def _works(self) -> None:
        self._failed = 0
        self._forgotten = self.hopeless = False
        self._back()
        if self._told_rights:
            self._told_rights = False
            log.notice(f"kubernetes: {self.kind} are watched now")

    async def _pause(self, error: ApiError) -> None:
        self._count(error)
        self.problem = f"{self.kind}: {error}"
        self.hopeless = error.status in _SLOW and self._failed >= _PATIENCE
        pace = self._pace
        if self.hopeless:
            pause_s = random.uniform(pace.slow, 2 * pace.slow)
        else:
            pause_s = random.uniform(0.0, min(pace.longest, pace.first * 2 ** min(self._failed, _STEPS)))
        if _stale(error) and not self._forgotten:
            self._forgotten = True  # it answers, and a list will do
        else:
            self._failed += 1
            if self._failed > 1:  # one is nothing: servers are restarted
                self._tell(error)
        await asyncio.sleep(max(pause_s, error.retry_after_s))

    def _tell(self, error: ApiError) -> None:
        """Once until it works again. A server that is away is told for all kinds, what a person must mend for each."""
        rest = "what is known stays" if self.synced else "nothing is known yet"
        if error.status in _SLOW:
            if not self._told_rights:
                self._told_rights = True
                hint = f"; its service account needs list and watch of {self.kind}" if error.status == 403 else ""
                log.warning(f"kubernetes: {self.kind} cannot be watched: {error}; {rest}, and it is tried again{hint}")
        elif self not in self._client.away:
            if not self._client.away:
                log.warning(f"kubernetes: {self.kind} cannot be watched: {error}; {rest}, and it is tried again")
            self._client.away.add(self)

    def _back(self) -> None:
        away = self._client.away
        if self in away:
            away.discard(self)
            if not away:
                log.notice("kubernetes: the API server answers again")

    def _fault(self, error: ApiError) -> None:
        self._count(error)
        if not self._told_defect:
            self._told_defect = True
            log.error(f"kubernetes: {self.kind}: {error.message}; it goes on")

    def _count(self, error: ApiError) -> None:
        reason = error.reason
        if reason not in self.failures and len(self.failures) >= _REASONS_MAX:
            reason = "Other"
        self.failures[reason] = self.failures.get(reason, 0) + 1


def _itself(item: dict[str, Any]) -> dict[str, Any]:
    return item


def _version(item: object) -> str:
    metadata = item.get("metadata") if isinstance(item, dict) else None
    found = metadata.get("resourceVersion") if isinstance(metadata, dict) else None
    return found if isinstance(found, str) else ""


def _stale(error: ApiError) -> bool:
    """The version is too old, or newer than all that the server has: etcd may have been restored."""
    return error.status in _STALE or (error.status in _OVERLOADED and "resource version" in error.message.lower())


def _defect(error: Exception) -> ApiError:
    return ApiError(0, "Defect", f"{type(error).__name__}: {error}")
