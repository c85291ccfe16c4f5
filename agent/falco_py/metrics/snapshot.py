# SPDX-License-Identifier: Apache-2.0
"""Readings become the fields of the alert "Falco internal: metrics snapshot", and lines of metrics.output_file.

Rates are those between the last two readings. Invariant: a field that is 0 is left out unless
metrics.include_empty_values, but for those that tell who is speaking and how much was seen and lost.
"""

from __future__ import annotations

import errno
import os
import stat
from typing import TYPE_CHECKING, Final

from ..log import log
from ..visible import json_line
from .table import METRICS, Switch, happened, lost

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ..config.model import Metrics
    from .reading import Reading

RULE: Final = "Falco internal: metrics snapshot"
MESSAGE: Final = "Falco metrics snapshot"
_NS: Final = 1e9
_MODE: Final = 0o640

DERIVED: Final[tuple[tuple[str, Switch, str], ...]] = (
    ("evt.time", Switch.ALWAYS, "When the figures were read, in ns since 1970."),
    ("evt.source", Switch.ALWAYS, "`syscall`."),
    ("falco.num_evts", Switch.ALWAYS, "Events that rules were tested on."),
    ("falco.num_evts_prev", Switch.ALWAYS, "The same in the snapshot before."),
    ("falco.evts_rate_sec", Switch.ALWAYS, "By second, between the two; from the second snapshot on."),
    ("falco.host_netinfo.interfaces.{interface}.protocols.ipv4.addresses", Switch.ALWAYS,
     "Addresses of a network interface, joined by commas; not of the loopback."),
    ("falco.host_netinfo.interfaces.{interface}.protocols.ipv6.addresses", Switch.ALWAYS, "The same of IPv6."),
    ("scap.n_evts_prev", Switch.KERNEL, "`scap.n_evts` in the snapshot before."),
    ("scap.evts_rate_sec", Switch.KERNEL, "By second, between the two."),
    ("scap.n_drops_prev", Switch.KERNEL, "`scap.n_drops` in the snapshot before."),
    ("scap.evts_drop_rate_sec", Switch.KERNEL, "By second, between the two."),
    ("scap.n_drops_perc", Switch.KERNEL, "Drops between the two, of the events between the two, in percent."),
)  # fmt: skip
"""Fields that are no metrics: they need two readings, or are texts."""


class Snapshot:
    """`samples` counts the calls of `fields`."""

    def __init__(self, settings: Metrics) -> None:
        self._settings = settings
        self._metrics = [metric for metric in METRICS if metric.key and metric.switch.on(settings)]
        self._before: Reading | None = None
        self.samples = 0

    def fields(self, reading: Reading) -> dict[str, object]:
        """The output fields of the next snapshot. To be called by one thread."""
        self.samples += 1
        made: dict[str, object] = {"evt.time": reading.now_ns, "evt.source": reading.source}
        for metric in self._metrics:
            for key, value in metric.told(self._settings, reading):
                before = made.get(key)  # names that differ in other characters only are one key: their sum
                both = isinstance(before, int | float) and not isinstance(value, str)
                made[key] = before + value if both else value  # type: ignore[operator]
        made.update(self._rates(reading))
        for interface in reading.interfaces:
            key = f"falco.host_netinfo.interfaces.{interface.name}.protocols"
            if interface.ipv4:
                made[f"{key}.ipv4.addresses"] = ",".join(interface.ipv4)
            if interface.ipv6:
                made[f"{key}.ipv6.addresses"] = ",".join(interface.ipv6)
        self._before = reading
        return made

    def line(self, fields: dict[str, object]) -> str:
        """The line of metrics.output_file for what `fields` gave last."""
        return json_line({"output_fields": fields, "sample": self.samples})

    def _rates(self, reading: Reading) -> Iterator[tuple[str, object]]:
        before = self._before
        passed_s = 0.0 if before is None else (reading.now_ns - before.now_ns) / _NS
        yield "falco.num_evts", reading.events
        yield "falco.num_evts_prev", 0 if before is None else before.events
        if before is not None:
            yield "falco.evts_rate_sec", _rate(reading.events - before.events, passed_s)
        if reading.kernel is None or not Switch.KERNEL.on(self._settings):
            return
        kernel_before = None if before is None else before.kernel
        seen_before = 0 if kernel_before is None else happened(kernel_before)
        lost_before = 0 if kernel_before is None else lost(kernel_before)
        seen, drops = happened(reading.kernel) - seen_before, lost(reading.kernel) - lost_before
        yield "scap.n_evts_prev", seen_before
        yield "scap.n_drops_prev", lost_before
        yield "scap.evts_rate_sec", _rate(seen, passed_s)
        yield "scap.evts_drop_rate_sec", _rate(drops, passed_s)
        yield "scap.n_drops_perc", round(100 * drops / seen, 1) if seen > 0 else 0.0


def _rate(count: int, passed_s: float) -> float:
    return round(max(0, count) / passed_s, 1) if passed_s > 0 else 0.0


class MetricsFile:
    """Lines at the end of a file, which is opened for each: whoever moves or deletes it gets a new one.

    `written` and `lost` count lines; what fails is told once, until it works again.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self.written = 0
        self.lost = 0
        self.problem = ""  # why the last line was lost

    def append(self, line: str) -> bool:
        """False when the line is lost. The file then ends as before: there is never half a line."""
        try:
            self._append(line.encode("utf-8", "replace") + b"\n")
        except OSError as error:
            self.lost += 1
            reason = error.strerror or str(error)
            if reason != self.problem:
                self.problem = reason
                log.error(
                    f"metrics.output_file: {self.path} cannot be written: {reason}; snapshots are lost until it can. "
                    "What to do: check the path, its permissions and the room on the disk."
                )
            return False
        self.written += 1
        if self.problem:
            self.problem = ""
            log.notice(f"metrics.output_file: {self.path} can be written again")
        return True

    def _append(self, data: bytes) -> None:
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOCTTY | os.O_NONBLOCK
        fd = os.open(self.path, flags, _MODE)
        try:
            about = os.fstat(fd)
            try:
                whole = os.write(fd, data) == len(data)
            except BlockingIOError:
                raise OSError(errno.EAGAIN, "its reader does not keep up") from None
            if not whole:
                if stat.S_ISREG(about.st_mode):
                    os.ftruncate(fd, about.st_size)
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        finally:
            os.close(fd)
