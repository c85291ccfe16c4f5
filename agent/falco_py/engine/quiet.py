# SPDX-License-Identifier: Apache-2.0
"""A long time without any event becomes a trial of the capture and, when that fails, an alert.

On a quiet machine nothing may happen for minutes, since the kernel tells only what rules want. So before anybody is
alarmed a program is started, which the kernel must tell whatever the rules are. Invariant: the alert means that the
capture is dead.
"""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING, Final

from ..log import log
from ..rules.priority import Priority
from .alert import InternalAlert

if TYPE_CHECKING:
    from collections.abc import Callable

RULE: Final = "Falco internal: timeouts notification"
PATIENCE_S: Final = 5.0  # from the start of the program to its record


class Quiet:
    """`dead` while the capture does not tell what it must; `tell` gets the alerts."""

    def __init__(self, max_quiet_s: float, tell: Callable[[InternalAlert], None]) -> None:
        self.max_quiet_s = max_quiet_s
        self.dead = False
        self._tell = tell
        self._records = -1
        self._since_s = 0.0
        self._last_ns = 0
        self._tried_s: float | None = None
        self._child: subprocess.Popen[bytes] | None = None

    def check(self, now_s: float, ts_ns: int, records: int) -> None:
        """To be called about once a second. `records`: how many came since the start; `ts_ns`: since the epoch."""
        if self._child is not None and self._child.poll() is not None:
            self._child = None
        if records != self._records:
            if self.dead:
                log.notice("the capture tells events again")
            self._records, self._since_s, self._last_ns = records, now_s, ts_ns
            self._tried_s, self.dead = None, False
        elif self._tried_s is None:
            if now_s - self._since_s >= self.max_quiet_s:
                self._tried_s = now_s
                self._try()
        elif now_s - self._tried_s >= PATIENCE_S:
            self._alarm(now_s, ts_ns)

    def _try(self) -> None:
        try:
            self._child = subprocess.Popen(
                [sys.executable, "-I", "-S", "-c", ""],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
        except OSError as error:
            log.warning(f"the capture cannot be tried: no program can be started: {error.strerror}")

    def _alarm(self, now_s: float, ts_ns: int) -> None:
        quiet_s = int(now_s - self._since_s)
        self.dead = True
        self._tried_s = None
        self._since_s = now_s  # tried, and told, again after as long a time
        message = f"{RULE}. {quiet_s} consecutive timeouts without event, and a program that was started was not seen."
        log.critical(message)
        fields = {"last_event_time": str(self._last_ns)}
        self._tell(InternalAlert(RULE, Priority.DEBUG, "internal", (), ts_ns, message, fields))
