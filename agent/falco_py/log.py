# SPDX-License-Identifier: Apache-2.0
"""What the agent has to say about itself becomes one line on stderr and one message to syslog, in Falco's form.

`Tue Mar  4 17:35:48 2025: message` (local time, names always English), with ISO times
`2025-03-04T17:35:48+0000: message`, or as JSON. Invariant: one call, one line, whatever the message holds; a stderr or
a syslog daemon that takes nothing never stops the agent. Nothing on the hot path logs.
"""

from __future__ import annotations

import os
import time
from enum import IntEnum
from typing import TYPE_CHECKING, Final

from .visible import json_line, visible

if TYPE_CHECKING:
    from .syslog import Syslog

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
    """Lines at or above `level` go to `fd`, and to syslog when that is wanted.

    `lost` counts those that stderr did not take, `syslog_lost` those that syslog did not.
    """

    __slots__ = ("_journal", "_syslog", "as_json", "enabled", "fd", "iso", "level", "lost", "syslog_lost")

    def __init__(
        self, *, level: Level = Level.INFO, iso: bool = False, enabled: bool = True, fd: int = _STDERR
    ) -> None:
        self.level = level
        self.iso = iso
        self.enabled = enabled
        self.as_json = False
        self.fd = fd
        self.lost = 0
        self.syslog_lost = 0
        self._syslog: Syslog | None = None
        self._journal = is_journal(fd)

    def configure(
        self, *, level: Level, iso: bool, enabled: bool, as_json: bool = False, syslog: Syslog | None = None
    ) -> None:
        """`syslog`: where lines go as well; not when they reach the journal over `fd` already."""
        self.level = level
        self.iso = iso
        self.enabled = enabled
        self.as_json = as_json
        self._journal = is_journal(self.fd)
        before, self._syslog = self._syslog, None if self._journal and enabled else syslog
        if before is not None and before is not syslog:
            before.close()

    def write(self, level: Level, message: str) -> None:
        if level > self.level:
            return
        syslog = self._syslog
        if self.enabled:
            # The journal takes the number as the line's priority and leaves it out: sd-daemon(3).
            head = f"<{int(level)}>" if self._journal else ""
            try:
                os.write(self.fd, f"{head}{self._line(level, message)}\n".encode())
            except OSError:
                self.lost += 1
        if syslog is not None:
            try:
                syslog.send(level, self._line(level, message) if self.as_json else visible(message))
            except OSError:
                self.syslog_lost += 1

    def _line(self, level: Level, message: str) -> str:
        now_s = time.time()
        if self.as_json:
            return json_line({"level": level.name.lower(), "message": message, "time": stamp(now_s, iso=True)})
        return f"{stamp(now_s, iso=self.iso)}: {visible(message)}"

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


def is_journal(fd: int) -> bool:
    """Whether `fd` is the stream to the journal that systemd gave: JOURNAL_STREAM, systemd.exec(5)."""
    device, _, inode = os.environ.get("JOURNAL_STREAM", "").partition(":")
    try:
        status = os.fstat(fd)
    except OSError:
        return False
    return (device, inode) == (str(status.st_dev), str(status.st_ino))


def stamp(now_s: float, *, iso: bool) -> str:
    """The time in front of a line. `now_s` is seconds since the epoch."""
    if iso:
        return time.strftime("%Y-%m-%dT%H:%M:%S+0000", time.gmtime(now_s))
    t = time.localtime(now_s)
    day, month = _DAYS[t.tm_wday], _MONTHS[t.tm_mon - 1]
    return f"{day} {month} {t.tm_mday:2d} {t.tm_hour:02d}:{t.tm_min:02d}:{t.tm_sec:02d} {t.tm_year}"


log = Log()
"""The agent's log; `cli` sets it up from the configuration."""
