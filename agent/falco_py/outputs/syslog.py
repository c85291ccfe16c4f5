# SPDX-License-Identifier: Apache-2.0
"""Alerts become messages to the syslog daemon: facility daemon, severity of the rule.

Invariant: alerts wait while the daemon is away; none is lost because it was restarted.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from .. import syslog
from .output import Output, OutputError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .item import Item


class Syslog(Output):
    name: ClassVar[str] = "syslog"

    def __init__(self, *, path: str = syslog.PATH, **settings: Any) -> None:
        super().__init__(**settings)
        self._to = syslog.Syslog(path, timeout_s=self.timeout_ms / 1000 or None)

    def deliver(self, items: Sequence[Item]) -> None:
        for done, item in enumerate(items):
            try:
                self._to.send(item.alert.priority, item.line)
            except OSError as error:
                reason = "it takes nothing" if isinstance(error, TimeoutError) else error.strerror or str(error)
                raise OutputError(f"{self._to.path}: {reason}", delivered=done) from None

    def reopened(self) -> None:
        self._to.close()

    def finish(self) -> None:
        self._to.close()
