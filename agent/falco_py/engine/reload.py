# SPDX-License-Identifier: Apache-2.0
"""A wish to reload becomes new rules and settings, made in a thread beside the running ones, and then put in their
place between two batches.

Invariant: whatever is wrong with what was read changes nothing; wishes that come during a reload give one more.
"""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Final, Generic, TypeVar

from ..log import log

if TYPE_CHECKING:
    from collections.abc import Callable

CLOSE_S: Final = 5.0
Made = TypeVar("Made")


class Reloader(Generic[Made]):
    """`prepare` runs in the thread and gives None when nothing has changed, `adopt` and `refuse` in the loop's.

    `done` and `failed` count reloads; `at_ns` is when the last was adopted, since the epoch.
    """

    def __init__(
        self,
        prepare: Callable[[str], Made | None],
        adopt: Callable[[Made], None],
        refuse: Callable[[Exception], None],
        wake: Callable[[], None],
    ) -> None:
        self.done = 0
        self.failed = 0
        self.refused = False  # the last one was
        self.at_ns = time.time_ns()
        self._prepare = prepare
        self._adopt = adopt
        self._refuse = refuse
        self._wake = wake
        self._asked = ""
        self._thread: threading.Thread | None = None
        self.prepared_s = self.adopted_s = 0.0  # what the last reload took, beside the loop and in it
        self._made: Made | None = None
        self._error: Exception | None = None

    def ask(self, why: str) -> None:
        """From any thread, and from signal handlers."""
        self._asked = why
        self._wake()

    def close(self) -> None:
        """Waits for what is being prepared: it uses what the caller is about to close."""
        if self._thread is not None:
            self._thread.join(CLOSE_S)

    @property
    def busy(self) -> bool:
        return self._thread is not None

    def turn(self) -> None:
        """Between two batches: begins what was asked for, takes what is ready."""
        thread = self._thread
        if thread is not None:
            if thread.is_alive():
                return
            self._thread = None
            self._take()
        if self._asked:
            why, self._asked = self._asked, ""
            self._thread = threading.Thread(target=self._run, args=(why,), name="reload", daemon=True)
            self._thread.start()

    def _run(self, why: str) -> None:
        began_s = time.monotonic()
        try:
            self._made = self._prepare(why)
        except Exception as error:  # noqa: BLE001 - told by `refuse`; the agent goes on as it is
            self._error = error
        self.prepared_s = time.monotonic() - began_s
        self._wake()

    def _take(self) -> None:
        made, self._made = self._made, None
        error, self._error = self._error, None
        try:
            if error is not None:
                raise error
            if made is None:
                return
            began_s = time.monotonic()
            self._adopt(made)
            self.adopted_s = time.monotonic() - began_s
        except Exception as error:  # noqa: BLE001
            self.failed += 1
            self.refused = True
            self._refuse(error)
            return
        self.done += 1
        self.refused = False
        self.at_ns = time.time_ns()
        log.debug(
            f"Reload {self.done}: {self.prepared_s:.2f} s beside the events, {self.adopted_s * 1000:.0f} ms between two"
        )
