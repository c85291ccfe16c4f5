# SPDX-License-Identifier: Apache-2.0
"""The base of every output: alerts wait in a queue of its own, and a thread of its own delivers them.

Invariant: `offer` never waits, so a slow or dead output holds up neither the agent nor another output. An alert that is
neither delivered nor waiting is counted in `lost`.
"""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, ClassVar, Final

from ..log import log
from .waiting import Waiting

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .item import Item

BATCH: Final = 1024  # alerts that are delivered at once
FIRST_PAUSE_S, LONGEST_PAUSE_S = 1.0, 30.0  # between two tries while it fails
BLOCK_BYTES: Final = 64 * 1024
BLOCK_S: Final = 1.0  # how long a buffered alert waits for others at most


class OutputError(Exception):
    """Alerts could not be delivered: of those given to `deliver` only the first `delivered`.

    `gone`: it never will be possible again, so nothing is tried any more.
    """

    def __init__(self, reason: str, *, delivered: int = 0, gone: bool = False) -> None:
        super().__init__(reason)
        self.delivered = delivered
        self.gone = gone


class Output:
    """`delivered` and `lost` count alerts; `problem` says why it does not work now, empty while it does.

    `busy_since_s`: when (time.monotonic) the delivery in hand began, 0 between two.
    """

    name: ClassVar[str] = ""
    many: int = BATCH  # how many alerts one call of `deliver` gets at most

    def __init__(self, *, capacity: int = 0, timeout_ms: int = 2000, buffered: bool = False) -> None:
        """`capacity`: alerts that wait, 0 for the agent's own bound; `timeout_ms`: for one delivery, 0 for none."""
        self.timeout_ms = timeout_ms
        self.buffered = buffered
        self.delivered = 0
        self.problem = ""
        self.gone = False
        self.busy_since_s = 0.0
        self._queue = Waiting(capacity)
        self._in_hand: Sequence[Item] = ()
        self._lost = 0  # beside what the queue gave up
        self._reopen = False
        self._closing = threading.Event()
        self._thread: threading.Thread | None = None

    # What others call

    def offer(self, item: Item) -> None:
        """Takes an alert; it goes out after `tell`, or with others."""
        if self.gone:
            self._lost += 1
        else:
            self._queue.put(item)

    def tell(self) -> None:
        """What was offered is to go out."""
        self._queue.tell()

    @property
    def waiting(self) -> int:
        return len(self._queue) + len(self._in_hand)

    @property
    def lost(self) -> int:
        return self._lost + self._queue.lost

    def start(self) -> None:
        self._thread = threading.Thread(target=self._run, name=f"output {self.name}", daemon=True)
        self._thread.start()

    def reopen(self) -> None:
        """Files are opened anew before the next alert, and soon while none waits."""
        self._reopen = True
        self._queue.wake()

    def close(self, timeout_s: float) -> None:
        """Delivers what waits, for at most `timeout_s`; what is left then is lost."""
        self._closing.set()
        self._queue.close()
        if self._thread is not None:
            self._thread.join(timeout_s)
        left = self.waiting
        if left:
            self._lost += left
            log.error(f"{self.name} output: {left} alerts could not be delivered before the end"
                      + (f": {self.problem}" if self.problem else ""))  # fmt: skip

    # What an output gives

    def deliver(self, items: Sequence[Item]) -> None:
        """Delivers all, in order. Raises OutputError."""
        raise NotImplementedError

    def reopened(self) -> None:
        """To open files anew. Raises OutputError."""

    def finish(self) -> None:
        """To let go of files and processes, when all is delivered."""

    # Its thread

    def _run(self) -> None:
        pause_s = 0.0
        while True:
            if pause_s:
                self._closing.wait(pause_s)
            if self.buffered:
                self._queue.gather(BLOCK_BYTES, BLOCK_S)
            items = self._queue.take(self.many, None)
            self._heed_reopen()
            if items:
                pause_s = self._delivered(items, pause_s)
            if self._closing.is_set() and (self.problem or not len(self._queue)):
                break
        self._end()

    def _end(self) -> None:
        try:
            self.finish()
        except Exception as error:  # noqa: BLE001 - the agent's end must not hang on an output
            log.error(f"{self.name} output: {type(error).__name__} at its end: {error}")

    def _heed_reopen(self) -> None:
        if not self._reopen:
            return
        self._reopen = False
        try:
            self.reopened()
        except OutputError as error:
            self._failed(str(error))

    def _delivered(self, items: Sequence[Item], pause_s: float) -> float:
        """Tries to deliver; gives how long to wait before the next try."""
        self._in_hand = items
        self.busy_since_s = time.monotonic()
        done = 0
        try:
            self.deliver(items)
            done = len(items)
        except OutputError as error:
            done = error.delivered
            self.gone = error.gone
            self._failed(str(error))
        except Exception as error:  # noqa: BLE001 - a defect in one output must not end the others
            self._failed(f"{type(error).__name__}: {error}")
        finally:
            self.busy_since_s = 0.0
        self.delivered += done
        left = items[done:]
        self._in_hand = ()
        if not left:
            self._works()
            return 0.0
        if self.gone:
            self._lost += len(left)
            return 0.0
        self._queue.put_back(left)
        return min(LONGEST_PAUSE_S, 2 * pause_s) or FIRST_PAUSE_S

    def _failed(self, reason: str) -> None:
        if not self.problem:
            after = "no more alerts go there" if self.gone else "alerts wait, and it is tried again"
            log.error(f"{self.name} output: {reason}; {after}")
        self.problem = reason

    def _works(self) -> None:
        if self.problem:
            log.notice(f"{self.name} output works again; {self.waiting} alerts wait, {self.lost} were lost so far")
            self.problem = ""
