# SPDX-License-Identifier: Apache-2.0
"""Between two batches: the level of shedding is set, and once a second what was lost is told.

Invariant: a turn of the loop costs a few microseconds here; the counters are read once a second.
"""

from __future__ import annotations

import resource
import time
from typing import TYPE_CHECKING, Final, Protocol

from ..log import log
from ..rules.priority import SHEDDING
from ..state import clock
from .drops import INTERVAL_S
from .shedding import CALM, Governor

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..events.counted import Counted
    from .drops import DropMonitor

LOOK_S: Final = 0.02  # between two looks at the use of CPU while little waits

_WHY = {"backlog": "events come faster than they are tested", "cpu": "the agent uses more CPU than it may"}


class Kernel(Protocol):
    """What is steered; kernel.reader.Reader."""

    def backlog(self) -> int: ...
    def shed(self, level: int) -> None: ...
    def level(self) -> int: ...
    def counters(self) -> Counted: ...


class Guard:
    """Called at each turn of the loop. Without a governor nothing is shed."""

    def __init__(
        self,
        kernel: Kernel,
        monitor: DropMonitor,
        governor: Governor | None = None,
        *,
        stop: Callable[[], None] = lambda: None,
        now_s: Callable[[], float] = time.monotonic,
        cpu_s: Callable[[], float] | None = None,
    ) -> None:
        self.kernel = kernel
        self.monitor = monitor
        self.governor = governor
        self._stop = stop
        self._now_s = now_s
        self._cpu_s = cpu_s or used_cpu_s
        self._level = 0
        self._highest = 0  # since the last look at the counters
        self._next_s = self._next_look_s = float("-inf")
        self._pressed_bytes = 0.0 if governor is None else governor.capacity_bytes * CALM
        if governor is not None:
            kernel.shed(governor.level)

    def __call__(self) -> None:
        now_s = self._now_s()
        if self.governor is not None and (now_s >= self._next_look_s or self.kernel.backlog() >= self._pressed_bytes):
            self._next_look_s = now_s + LOOK_S
            in_force = self.kernel.level()
            level = self.governor.decide(now_s, self._cpu_s(), self.kernel.backlog(), in_force)
            if level != in_force:
                self.kernel.shed(level)
            if level != self._level:
                self._tell(level, self.governor.reason)
        if now_s < self._next_s:
            return
        self._next_s = now_s + INTERVAL_S
        self.monitor.check(now_s, clock.now_boot_ns() + clock.boot_to_epoch_ns(), self.kernel.counters(), self._highest)
        self._highest = self._level
        if self.monitor.ended:
            self._stop()

    def limit(self, cpu_limit_percent: float) -> None:
        """Another limit of CPU; what was shed goes on being."""
        before = self.governor
        if before is None or before.cpu_limit_percent == cpu_limit_percent:
            return
        self.governor = Governor(before.capacity_bytes, cpu_limit_percent)
        self.governor.level, self.governor.reason = before.level, before.reason

    def _tell(self, level: int, reason: str) -> None:
        if level > self._level:
            log.warning(f"{_WHY[reason]}: rules less severe than {SHEDDING[level].text} are not asked")
        elif level:
            log.notice(f"calm again: rules down to {SHEDDING[level].text} are asked")
        else:
            log.notice("calm again: all rules are asked")
        self._level = level
        self._highest = max(self._highest, level)


def used_cpu_s() -> float:
    """What this process has used, all threads."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime
