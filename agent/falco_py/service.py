# SPDX-License-Identifier: Apache-2.0
"""What the agent is doing becomes a message to the service manager that started it: sd_notify(3).

Without NOTIFY_SOCKET nothing is sent. Invariant: never raises and never waits.
"""

from __future__ import annotations

import os
import socket
import time
from typing import Final

_US: Final = 1_000_000


def notify(*assignments: str) -> bool:
    """Sends lines such as `READY=1`; whether the manager took them."""
    path = os.environ.get("NOTIFY_SOCKET", "")
    if path[:1] not in ("/", "@"):
        return False
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK) as to:
            to.connect("\0" + path[1:] if path[0] == "@" else path)
            to.send("\n".join(assignments).encode())
    except OSError:
        return False
    return True


def reloading() -> str:
    """RELOADING=1 with the time that the manager wants beside it."""
    return f"RELOADING=1\nMONOTONIC_USEC={time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000}"


def watchdog_s() -> float:
    """How often the manager wants to hear WATCHDOG=1: half of its limit, in seconds; 0 when it does not."""
    if os.environ.get("WATCHDOG_PID", str(os.getpid())) != str(os.getpid()):
        return 0.0
    try:
        return max(0, int(os.environ.get("WATCHDOG_USEC", "0"))) / _US / 2
    except ValueError:
        return 0.0
