# SPDX-License-Identifier: Apache-2.0
"""How much waits and how much CPU the agent uses become a level of shedding.

Level 0 asks all rules, each further one only the more severe (`rules.priority.SHEDDING`). Quick to raise: each look
may, and the kernel does by itself as the ring fills; slow to lower: a step at a time after seconds of calm, and the
longer, the sooner the step before had to be taken back. Invariant: pure; time, CPU and the kernel's level come in, a
level comes out.
"""

from __future__ import annotations

from collections import deque
from typing import Final

from ..rules.priority import SHEDDING

TOP: Final = len(SHEDDING) - 1
FILLED: Final = (0.25, 0.375, 0.5, 0.625)  # FIRST_EIGHTHS and following, bpf/lib/types.h
"""From which part of the ring that waits on each level holds; the rest is for the most severe rules."""
CALM: Final = 0.125  # less than this part waits
CALM_CPU: Final = 0.7  # less than this part of the limit is used
WINDOW_S: Final = 1.0
HOLD_S: Final = 5.0  # of calm before a step down
MAX_HOLD_S: Final = 60.0
_SAMPLE_S: Final = 0.02  # the window holds at most WINDOW_S / _SAMPLE_S samples and a few


class Governor:
    """`level` is the last decision; `reason` why it was raised last: "backlog" or "cpu"."""

    __slots__ = (
        "_calm_since_s", "_hold_s", "_limit", "_lowered_s", "_raised_s", "_samples", "_settling", "_tried",
        "capacity_bytes", "cpu_limit_percent", "level", "reason",
    )  # fmt: skip

    def __init__(self, capacity_bytes: int, cpu_limit_percent: float = 0.0) -> None:
        """`cpu_limit_percent`: of one core; 0 is no limit."""
        self.capacity_bytes = capacity_bytes
        self.level = 0
        self.reason = ""
        self.cpu_limit_percent = cpu_limit_percent
        self._limit = cpu_limit_percent / 100
        self._samples: deque[tuple[float, float]] = deque()  # (time, CPU seconds of the process until then)
        self._settling = False
        self._raised_s = self._lowered_s = float("-inf")
        self._calm_since_s: float | None = None
        self._hold_s = HOLD_S
        self._tried = False  # the last step was down

    def decide(self, now_s: float, cpu_s: float, backlog_bytes: int, in_force: int) -> int:
        """The level from now on. `cpu_s`: what the process has used since its start; `in_force`: the kernel's level."""
        filled = backlog_bytes / self.capacity_bytes
        used = self._used(now_s, cpu_s, filled) if self._limit else 0.0
        wanted, reason = max(in_force, sum(filled >= mark for mark in FILLED)), "backlog"
        if used > self._limit and wanted <= self.level:
            wanted, reason = min(self.level + 1, TOP), "cpu"
        if wanted > self.level:
            self._raise(now_s, wanted, reason)
        elif self.level and filled < CALM and used <= self._limit * CALM_CPU:
            if self._calm_since_s is None:
                self._calm_since_s = now_s
            elif now_s - self._calm_since_s >= self._hold_s:
                self.level -= 1
                self._lowered_s = self._calm_since_s = now_s
                self._tried = True
        else:
            self._calm_since_s = None
        return self.level

    def _raise(self, now_s: float, level: int, reason: str) -> None:
        calm_s = now_s - self._lowered_s
        if calm_s > MAX_HOLD_S:
            self._hold_s = HOLD_S
        elif self._tried and calm_s < self._hold_s:
            self._hold_s = min(2 * self._hold_s, MAX_HOLD_S)
        self._tried = False
        self.level, self.reason = level, reason
        self._raised_s = now_s
        self._calm_since_s = None
        self._settling = True

    def _used(self, now_s: float, cpu_s: float, filled: float) -> float:
        """Cores used in the last second. What had gathered before a step up is not held against the new level."""
        samples = self._samples
        if self._settling:
            samples.clear()
            self._settling = filled >= CALM / 2 and now_s - self._raised_s < WINDOW_S
        while len(samples) > 1 and samples[1][0] <= now_s - WINDOW_S:
            samples.popleft()
        if not samples or now_s - samples[-1][0] >= _SAMPLE_S:
            samples.append((now_s, cpu_s))
        return (cpu_s - samples[0][1]) / max(WINDOW_S, now_s - samples[0][0])
