# SPDX-License-Identifier: Apache-2.0
"""Boot time (CLOCK_BOOTTIME, what kernel records carry) becomes epoch time.

Invariant: `boot_to_epoch_ns()` is cheap (no system call) and follows steps of the wall clock after `refresh()`.
"""

from __future__ import annotations

import time

TICK_NS = 10_000_000  # unit of start times in /proc/PID/stat (USER_HZ is 100 on all supported machines)
_SAMPLES = 5


def measure() -> int:
    """Epoch ns minus boot ns, from the tightest of a few readings."""
    best_width = best = 0
    for i in range(_SAMPLES):
        before = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
        wall = time.clock_gettime_ns(time.CLOCK_REALTIME)
        after = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
        if i == 0 or after - before < best_width:
            best_width = after - before
            best = wall - (before + after) // 2
    return best


_offset_ns = measure()


def boot_to_epoch_ns() -> int:
    """What to add to a boot time to get an epoch time, as of the last `refresh()`."""
    return _offset_ns


def refresh() -> int:
    """Measure the offset again (the wall clock may have been set); returns it."""
    global _offset_ns
    _offset_ns = measure()
    return _offset_ns


def now_boot_ns() -> int:
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME)


def same_start(exact_ns: int, other_ns: int) -> bool:
    """Whether two start times (boot ns) are the same process start; either may be known to a tick only."""
    return exact_ns // TICK_NS == other_ns // TICK_NS
