# SPDX-License-Identifier: Apache-2.0
"""Containers become their facts: once each, and again a few times while something is missing.

A runtime's files are there before the container's own program runs, but not always before the first process of the
runtime in its cgroup. Invariant: a container whose facts are whole is not looked up again; the table is bounded.
"""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

    from .cgroups import ContainerRef

MAX_CONTAINERS: Final = 4096
HURRIED: Final = 11  # tries in the first two seconds: files that are later than that are seldom
EAGER: Final = 8  # tries that a new program in the container may make without waiting
TRIES: Final = 15  # after that only a new program in the container asks, seldom
_FIRST_WAIT_S: Final = 0.002  # doubled from try to try: the last one is half a minute after the first
_SELDOM_S: Final = 60.0
_AT_ONCE: Final = 16  # containers that are looked up between two batches
WAIT_S: Final = 2.0
FORGET_S: Final = 30.0  # a container is forgotten when it had no process this long, at most twice as long


class Lookup(Protocol):
    """Where facts come from; enrich.sources.Sources is the real one. None of it raises or waits."""

    wants_pod: bool

    @property
    def failures(self) -> Mapping[str, int]:
        """By reason."""

    def find(self, ref: ContainerRef) -> tuple[Any, bool]:
        """The facts, None when there are none (yet), and whether nothing more is to come."""

    def changed(self) -> Collection[str]:
        """Uids of the pods whose facts are others than before."""

    def renewed(self, ref: ContainerRef, facts: Any) -> Any:
        """Facts that were found, with what is known of the pod now."""

    def missing(self, ref: ContainerRef, facts: Any) -> str:
        """Why facts that are not whole are not, in a word."""


@dataclass(slots=True)
class Counters:
    """What happened to the table since the start."""

    looked_up: int = 0
    late: int = 0  # facts that came after a container's first process
    given_up: int = 0  # containers of which something stays missing
    forgotten: int = 0  # without processes
    evicted: int = 0  # thrown out because the table was full


class _Entry:
    __slots__ = ("facts", "first_s", "next_s", "ref", "tries", "unused", "whole")

    def __init__(self, ref: ContainerRef | None, now_s: float) -> None:
        self.first_s = now_s
        self.ref = ref
        self.facts: Any = None
        self.whole = False
        self.tries = 0
        self.next_s = 0.0
        self.unused = False


class Containers:
    """`waiting`: the full ids of those that something is missing of, and that are still looked up.

    `wait_s`: how long after a container's first process its events may wait for its facts. `sources` counts containers
    by where their facts came from, `unknown` those that it could not be waited for any longer, by what was missing.
    """

    def __init__(
        self,
        lookup: Lookup | None = None,
        clock: Callable[[], float] = time.monotonic,
        max_size: int = MAX_CONTAINERS,
    ) -> None:
        self.counters = Counters()
        self.waiting: dict[str, _Entry] = {}
        self.wait_s = WAIT_S
        self.sources: Counter[str] = Counter()
        self.unknown: Counter[str] = Counter()
        self._lookup = lookup
        self._clock = clock
        self._max_size = max_size
        self._by_id: dict[str, _Entry] = {}
        self._next_s = 0.0  # nothing that waits is due before
        self._forgot_s = clock()

    def __len__(self) -> int:
        return len(self._by_id)

    @property
    def failures(self) -> Mapping[str, int]:
        return {} if self._lookup is None else self._lookup.failures

    def of(self, full_id: str) -> Any:
        entry = self._by_id.get(full_id)
        return None if entry is None else entry.facts

    def is_awaited(self, full_id: str) -> bool:
        """Whether facts may come in a moment."""
        entry = self.waiting.get(full_id)
        return entry is not None and entry.tries < HURRIED

    def is_worth_waiting(self, full_id: str) -> bool:
        """Whether events of the container are to wait for its facts."""
        entry = self.waiting.get(full_id)
        return entry is not None and self._clock() < entry.first_s + self.wait_s

    def next_try_s(self) -> float:
        """How long until something that waits is looked for again."""
        return max(0.0, self._next_s - self._clock())

    def missing(self, full_id: str) -> str:
        """Why facts are missing, in a word; "" when none are."""
        entry = self._by_id.get(full_id)
        if entry is None or entry.whole or entry.ref is None or self._lookup is None:
            return ""
        return self._lookup.missing(entry.ref, entry.facts)

    def give_up(self, full_id: str) -> None:
        """Its events were not to wait any longer."""
        self.unknown[self.missing(full_id)] += 1

    def ask(self, ref: ContainerRef) -> tuple[Any, bool]:
        """The facts for a new process of a container, and whether other processes of it have to get them, too."""
        entry = self._by_id.get(ref.full_id)
        if entry is None:
            entry = self._added(ref.full_id, ref)
            self._try(entry)
            return entry.facts, False
        if entry.whole or (entry.tries >= EAGER and self._clock() < entry.next_s):
            return entry.facts, False
        entry.ref = ref
        late = self._try(entry)
        return entry.facts, late

    def found_late(self) -> list[str]:
        """Of those that wait: who has facts now that were not there before."""
        now_s = self._clock()
        if now_s < self._next_s:
            return []
        due = [full_id for full_id, entry in self.waiting.items() if entry.next_s <= now_s][:_AT_ONCE]
        found = [full_id for full_id in due if self._try(self._by_id[full_id])]
        self._next_s = min((entry.next_s for entry in self.waiting.values()), default=0.0)
        return found

    def renewed(self) -> list[str]:
        """Of all: whose pod is another than before, so that there are other facts."""
        changed = () if self._lookup is None else self._lookup.changed()
        return [full_id for full_id, entry in self._by_id.items() if self._renew(entry, changed)] if changed else []

    def want_pods(self, wanted: bool) -> None:
        """Whether rules look at what only the API server has: facts that were whole without it are so no longer."""
        lookup = self._lookup
        if lookup is None or lookup.wants_pod == wanted:
            return
        lookup.wants_pod = wanted
        if wanted:
            self._next_s = self._clock()
            for full_id, entry in self._by_id.items():
                entry.tries, entry.next_s, entry.first_s = 1, self._next_s, self._next_s
                self.waiting[full_id] = entry

    def take(self, full_id: str, facts: Any) -> None:
        """Facts from elsewhere; None takes them away."""
        if facts is None:
            self._drop(full_id)
            return
        entry = self._by_id.get(full_id) or self._added(full_id, None)
        entry.facts, entry.whole = facts, True
        self.waiting.pop(full_id, None)

    def is_time_to_forget(self) -> bool:
        return bool(self._by_id) and self._clock() - self._forgot_s >= FORGET_S

    def forget(self, used: set[str]) -> None:
        """`used`: the full ids of containers that have processes."""
        self._forgot_s = self._clock()
        for full_id, entry in list(self._by_id.items()):
            if full_id in used:
                entry.unused = False
            elif entry.unused:
                self._drop(full_id)
                self.counters.forgotten += 1
            else:
                entry.unused = True

    def _added(self, full_id: str, ref: ContainerRef | None) -> _Entry:
        if len(self._by_id) >= self._max_size:
            self._drop(next(iter(self._by_id)))
            self.counters.evicted += 1
        entry = self._by_id[full_id] = _Entry(ref, self._clock())
        return entry

    def _drop(self, full_id: str) -> None:
        self._by_id.pop(full_id, None)
        self.waiting.pop(full_id, None)

    def _renew(self, entry: _Entry, changed: Collection[str]) -> bool:
        ref, facts = entry.ref, entry.facts
        if ref is None or self._lookup is None:
            return False
        if not (ref.pod_uid in changed or getattr(facts, "pod_uid", "") in changed):
            return False
        if not entry.whole:
            return self._try(entry)
        entry.facts = self._lookup.renewed(ref, facts)
        return bool(entry.facts != facts)

    def _try(self, entry: _Entry) -> bool:
        """Whether there are other facts than before."""
        ref = entry.ref
        if self._lookup is None or ref is None:
            entry.whole = True
            return False
        before = entry.facts
        facts, entry.whole = self._lookup.find(ref)
        self.counters.looked_up += 1
        entry.tries += 1
        entry.facts = before if facts is None else facts
        if entry.whole:
            self.waiting.pop(ref.full_id, None)
            self.sources[getattr(entry.facts, "source", "files")] += 1
        elif entry.tries < TRIES:
            entry.next_s = self._clock() + _FIRST_WAIT_S * 2 ** (entry.tries - 1)
            self.waiting[ref.full_id] = entry
            self._next_s = min(self._next_s, entry.next_s) if len(self.waiting) > 1 else entry.next_s
        else:
            entry.next_s = self._clock() + _SELDOM_S
            if self.waiting.pop(ref.full_id, None) is not None:
                self.counters.given_up += 1
        late = entry.tries > 1 and entry.facts != before
        self.counters.late += late
        return late
