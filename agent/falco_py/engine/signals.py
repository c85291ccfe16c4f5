# SPDX-License-Identifier: Apache-2.0
"""Signals become flags that the loop looks at, and a call that wakes it.

SIGINT and SIGTERM: end in order, a second one ends at once. SIGHUP: reload. SIGUSR1: outputs open their files anew.
Invariant: from the first line of the agent's life on none of them ends it in the middle of something.
"""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType, TracebackType

_ENDS: Final = (signal.SIGINT, signal.SIGTERM)


class Signals:
    """In force while the block runs. `wake` is called in the main thread, at each signal."""

    def __init__(self) -> None:
        self.end = False
        self.reload = False
        self.reopen = False
        self.wake: Callable[[], None] = lambda: None
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> Signals:
        for number in (*_ENDS, signal.SIGHUP, signal.SIGUSR1):
            self._before[number] = signal.signal(number, self._on)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _on(self, number: int, _frame: FrameType | None) -> None:
        if number == signal.SIGHUP:
            self.reload = True
        elif number == signal.SIGUSR1:
            self.reopen = True
        elif self.end:
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)
        else:
            self.end = True
        self.wake()
