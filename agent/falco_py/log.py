# SPDX-License-Identifier: Apache-2.0
"""What the agent has to say about itself becomes one line on stderr, in Falco's form.

`Tue Mar  4 17:35:48 2025: message` (local time, names always English), or with ISO times
`2025-03-04T17:35:48+0000: message`. Invariant: one call, one line, whatever the message holds; a stderr that
cannot be written to never stops the agent. Nothing on the hot path logs.
"""

from __future__ import annotations

import os
import time
from enum import IntEnum
from typing import Final

from .visible import visible

_DAYS: Final = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS: Final = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_STDERR: Final = 2


class Level(IntEnum):
    """Severity of a line; the numbers are syslog's."""

    EMERGENCY = 0
    ALERT = 1
    CRITICAL = 2
    ERROR = 3
    WARNING = 4
    NOTICE = 5
    INFO = 6
    DEBUG = 7


class Log:
    """Lines at or above `level` go to `fd`; `lost` counts those that could not be written."""

    __slots__ = ("enabled", "fd", "iso", "level", "lost")

    def __init__(
        self, *, level: Level = Level.INFO, iso: bool = False, enabled: bool = True, fd: int = _STDERR
    ) -> None:
        self.level = level
        self.iso = iso
        self.enabled = enabled
        self.fd = fd
        self.lost = 0

    def configure(self, *, level: Level, iso: bool, enabled: bool) -> None:
        self.level = level
        self.iso = iso
        self.enabled = enabled

    def write(self, level: Level, message: str) -> None:
        if not self.enabled or level > self.level:
            return
        try:
            os.write(self.fd, f"{stamp(time.time(), iso=self.iso)}: {visible(message)}\n".encode())
        except OSError:
            self.lost += 1

    def critical(self, message: str) -> None:
        self.write(Level.CRITICAL, message)

    def error(self, message: str) -> None:
        self.write(Level.ERROR, message)

    def warning(self, message: str) -> None:
        self.write(Level.WARNING, message)

    def notice(self, message: str) -> None:
        self.write(Level.NOTICE, message)

    def info(self, message: str) -> None:
        self.write(Level.INFO, message)

    def debug(self, message: str) -> None:
        self.write(Level.DEBUG, message)


def stamp(now_s: float, *, iso: bool) -> str:
    """The time in front of a line. `now_s` is seconds since the epoch."""
    if iso:
        return time.strftime("%Y-%m-%dT%H:%M:%S+0000", time.gmtime(now_s))
    t = time.localtime(now_s)
    day, month = _DAYS[t.tm_wday], _MONTHS[t.tm_mon - 1]
    return f"{day} {month} {t.tm_mday:2d} {t.tm_hour:02d}:{t.tm_min:02d}:{t.tm_sec:02d} {t.tm_year}"


log = Log()
"""The agent's log; `cli` sets it up from the configuration."""
