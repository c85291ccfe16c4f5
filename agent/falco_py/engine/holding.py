# SPDX-License-Identifier: Apache-2.0
"""Events whose container has no facts yet wait for them, and are tested then, or when their time is over.

Invariant: an event that waits keeps what its process and its ancestors were; there are at most MAX_EVENTS of at most
MAX_BYTES, and when there is no room for one more the oldest is tested as it is.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from ..events.event import Event
    from ..state.containers import Containers

MAX_EVENTS: Final = 4096
MAX_BYTES: Final = 8 << 20


@dataclass(slots=True)
class Counters:
    """Of events, since the start. All that were held are one of the others, or wait."""

    held: int = 0
    known: int = 0  # their facts came
    unknown: int = 0  # they did not, in time
    crowded: int = 0  # there was no room to wait longer


class Holding:
    """For one loop; its length is how many wait."""

    def __init__(self, max_events: int = MAX_EVENTS, max_bytes: int = MAX_BYTES) -> None:
        self.counters = Counters()
        self._max_events = max_events
        self._max_bytes = max_bytes
        self._events: deque[Event] = deque()
        self._bytes = 0

    def __len__(self) -> int:
        return len(self._events)

    def hold(self, event: Event) -> list[Event]:
        """Keeps it; gives what has to be tested now instead."""
        event.ancestors  # noqa: B018 - as they are now
        event.process = event.process.as_it_is()
        self._events.append(event)
        self._bytes += len(event.payload)
        self.counters.held += 1
        out = []
        while self._events and (len(self._events) > self._max_events or self._bytes > self._max_bytes):
            out.append(self._out())
            self.counters.crowded += 1
        return out

    def ready(self, containers: Containers) -> list[Event]:
        """Those that need not wait any longer, oldest first, with the facts that there are."""
        let_go: dict[str, bool] = {}  # by container, so that none of its events overtakes another
        out: list[Event] = []
        stay: deque[Event] = deque()
        for event in self._events:
            full_id = event.process.full_container_id
            if full_id not in let_go:
                let_go[full_id] = not containers.is_worth_waiting(full_id)
                if let_go[full_id] and full_id in containers.waiting:
                    containers.give_up(full_id)
            if not let_go[full_id]:
                stay.append(event)
                continue
            known = full_id not in containers.waiting
            self.counters.known += known
            self.counters.unknown += not known
            event.process.container = containers.of(full_id)
            out.append(event)
        if out:
            self._events = stay
            self._bytes = sum(len(event.payload) for event in stay)
        return out

    def rest(self, containers: Containers) -> list[Event]:
        """All, at the end."""
        out = list(self._events)
        for event in out:
            event.process.container = containers.of(event.process.full_container_id)
        self.counters.unknown += len(out)
        self._events.clear()
        self._bytes = 0
        return out

    def _out(self) -> Event:
        event = self._events.popleft()
        self._bytes -= len(event.payload)
        return event
