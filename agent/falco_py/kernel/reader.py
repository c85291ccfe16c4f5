# SPDX-License-Identifier: Apache-2.0
"""Two rings become one stream in the order of time.

Life-cycle records come before the system calls that follow them, in whichever ring they lie: the rings are drained
system calls first, so every life-cycle record older than a system call in hand is in hand too; those that are newer
wait for the next batch. Invariant: no record is handed over twice or lost here.
"""

from __future__ import annotations

import os
import select
import time
from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    from ..events.record import Header
    from .load import Capture, Counters

Record = tuple["Header", bytes]

BATCH = 1024  # system calls a batch, so that the loop looks at its other duties in between, shedding among them


class Reader:
    """Batches of records, oldest first; what the engine's loop needs to know of the kernel side."""

    def __init__(self, capture: Capture) -> None:
        self.native = capture.numbers.native
        self.compat = capture.numbers.compat
        self._capture = capture
        self._events = capture.events
        self._life = capture.life
        self._held: list[Record] = []
        self._poll = select.epoll()
        self._poll.register(capture.events_fd, select.EPOLLIN)
        self._poll.register(capture.life_fd, select.EPOLLIN)
        self._wake = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._poll.register(self._wake, select.EPOLLIN)

    def batch(self) -> list[Record]:
        """The records that are ready; empty when there are none."""
        now = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
        events = cast("list[Record]", self._events.drain(BATCH))
        life = cast("list[Record]", self._life.drain())
        if self._held:
            life = self._held + life
            self._held = []
        if not life:
            return events
        newest = max(map(_time, events), default=0)
        # what is left, or still being written, may be older than the life-cycle records in hand
        limit = newest if self._events.pending() else max(now, newest)
        ready = [record for record in life if record[0].ts <= limit]
        if len(ready) != len(life):
            self._held = [record for record in life if record[0].ts > limit]
        ready += events
        ready.sort(key=_time)
        return ready

    def wait(self, timeout_s: float) -> None:
        """Sleeps until a record is ready, `wake` was called or `timeout_s` has passed."""
        if self._held or self._life.pending() or self._events.pending():
            return
        if any(fd == self._wake for fd, _ in self._poll.poll(timeout_s)):
            os.eventfd_read(self._wake)

    def wake(self) -> None:
        """The wait in hand, or the next one, returns at once; for signal handlers and other threads."""
        os.eventfd_write(self._wake, 1)

    def backlog(self) -> int:
        """Bytes of system calls not yet read."""
        return self._events.pending()

    @property
    def capacity_bytes(self) -> int:
        """What the ring of the system calls holds."""
        return self._capture.events_bytes

    def shed(self, level: int) -> None:
        self._capture.shed(level)

    def level(self) -> int:
        return self._capture.level()

    def counters(self) -> Counters:
        return self._capture.counters()

    def close(self) -> None:
        self._poll.close()
        os.close(self._wake)


def _time(record: Record) -> int:
    return record[0].ts
