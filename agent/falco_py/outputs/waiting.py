# SPDX-License-Identifier: Apache-2.0
"""Alerts that wait for one output: a queue with a bound, in which the severe outlive the others.

When full, the oldest of the least severe is given up, be it the one that has just come. Invariant: `put` never waits
but for a short lock, and at most `capacity` alerts and about `capacity_bytes` of lines are held.
"""

from __future__ import annotations

import threading
from collections import deque
from heapq import merge
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .item import Item

CAPACITY: Final = 10_000
CAPACITY_BYTES: Final = 32 << 20
_SEVERITIES: Final = 8


class Waiting:
    """`lost` counts what was given up."""

    def __init__(self, capacity: int = 0, capacity_bytes: int = CAPACITY_BYTES) -> None:
        """`capacity` 0: CAPACITY."""
        self.capacity = capacity or CAPACITY
        self.capacity_bytes = capacity_bytes
        self.lost = 0
        self._by_severity: list[deque[tuple[int, Item]]] = [deque() for _ in range(_SEVERITIES)]
        self._number = 0
        self._held = 0
        self._held_bytes = 0
        self._changed = threading.Condition()
        self._closed = False

    def __len__(self) -> int:
        return self._held

    def put(self, item: Item) -> None:
        """The reader is not woken: see `tell`."""
        with self._changed:
            self._number += 1
            self._by_severity[item.alert.priority].append((self._number, item))
            self._held += 1
            self._held_bytes += len(item.line)
            if self._held > self.capacity or self._held_bytes > self.capacity_bytes:
                self._give_up()

    def tell(self) -> None:
        """Wakes the reader, when there is something to read."""
        if self._held:
            with self._changed:
                self._changed.notify()

    def wake(self) -> None:
        """Ends the reader's wait, whether there is something to read or not."""
        with self._changed:
            self._changed.notify()

    def put_back(self, items: Sequence[Item]) -> None:
        """What was taken and could not be delivered, before all that waits."""
        with self._changed:
            for offset, item in enumerate(reversed(items)):
                self._by_severity[item.alert.priority].appendleft((-self._number - offset, item))
                self._held_bytes += len(item.line)
            self._held += len(items)
            self._number += len(items)
            while self._held > self.capacity or self._held_bytes > self.capacity_bytes:
                self._give_up()

    def _give_up(self) -> None:
        for queue in reversed(self._by_severity):
            if queue:
                _, item = queue.popleft()
                self._held -= 1
                self._held_bytes -= len(item.line)
                self.lost += 1
                return

    def take(self, most: int, timeout_s: float | None) -> list[Item]:
        """The oldest, at most `most`; waits for them. Empty after `timeout_s`, `wake` or `close`."""
        with self._changed:
            if not self._held and not self._closed:
                self._changed.wait(timeout_s)
            if not self._held:
                return []
            if self._held <= most:
                taken = [item for _, item in merge(*self._by_severity, key=_number)]
                for queue in self._by_severity:
                    queue.clear()
                self._held = self._held_bytes = 0
                return taken
            taken = []
            for _ in range(most):
                queue = min((queue for queue in self._by_severity if queue), key=lambda queue: queue[0][0])
                item = queue.popleft()[1]
                self._held_bytes -= len(item.line)
                taken.append(item)
            self._held -= len(taken)
            return taken

    def gather(self, enough_bytes: int, timeout_s: float) -> None:
        """Waits for `timeout_s` after the first alert, but no longer than until so many bytes wait, or `close`.

        `wake` ends the wait for the first.
        """
        with self._changed:
            if not self._closed and not self._held:
                self._changed.wait()
            if self._held:
                self._changed.wait_for(lambda: self._closed or self._held_bytes >= enough_bytes, timeout_s)

    def close(self) -> None:
        """From now on `take` does not wait."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()


def _number(entry: tuple[int, Item]) -> int:
    return entry[0]
