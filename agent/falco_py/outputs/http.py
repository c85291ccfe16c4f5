# SPDX-License-Identifier: Apache-2.0
"""Alerts are posted to a URL, over a spool on disk.

Invariant: an alert that `deliver` has taken is in the spool when it returns, and stays there until the receiver has
it: over outages of the receiver and restarts of the agent. It may be sent more than once, never changed.
"""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, ClassVar, Final

from ..log import log
from .output import Output
from .receiver import Receiver
from .sender import FIRST_PAUSE_S, LONGEST_PAUSE_S, Sender
from .shapes import shape
from .spool import Spool

if TYPE_CHECKING:
    from collections.abc import Sequence
    from concurrent.futures import Future

    from ..background import Background
    from ..config import HttpOutput
    from .item import Item

_END_S: Final = 2.0  # for what is left of closing when its time is over


class Http(Output):
    """`delivered` counts alerts that are in the spool, `sent` those that the receiver has."""

    name: ClassVar[str] = "http"

    def __init__(
        self,
        settings: HttpOutput,
        *,
        json_output: bool,
        background: Background,
        capacity: int = 0,
        timeout_ms: int = 2000,
        first_pause_s: float = FIRST_PAUSE_S,
        longest_pause_s: float = LONGEST_PAUSE_S,
    ) -> None:
        """Opens neither spool nor connection: see `start`. Raises SettingError."""
        super().__init__(capacity=capacity, timeout_ms=timeout_ms)
        self._shape = shape(settings.format, json_output=json_output)
        self._background = background
        self._spool = Spool(settings.spool_directory, settings.spool_max_size_mb)
        self._receiver = Receiver(settings, timeout_ms)
        self._sender = Sender(
            self._spool,
            self._receiver,
            on_problem=self._problem_is,
            first_pause_s=first_pause_s,
            longest_pause_s=longest_pause_s,
        )
        self._sending: Future[None] | None = None
        self._telling = threading.Lock()
        self._ending = False

    # For the metrics

    @property
    def sent(self) -> int:
        return self._sender.sent

    @property
    def refused(self) -> int:
        """Alerts that the receiver would not take, three times each."""
        return self._sender.refused

    @property
    def retried(self) -> int:
        """Requests that were made again after one that failed."""
        return self._sender.retried + self._receiver.resent

    @property
    def given_up(self) -> int:
        """Alerts that had no room in the spool."""
        return self._spool.given_up

    @property
    def stored(self) -> int:
        return self._spool.stored

    @property
    def spool_waiting(self) -> int:
        return self._spool.waiting

    @property
    def spool_bytes(self) -> int:
        return self._spool.size_bytes

    @property
    def spool_in_memory(self) -> str:
        """Why the spool is not on disk now; empty when it is."""
        return self._spool.in_memory

    @property
    def consecutive_timeouts(self) -> int:
        return self._sender.consecutive_timeouts

    @property
    def lost(self) -> int:
        return super().lost + self._spool.given_up + self._spool.lost + self._sender.refused

    # What an output gives

    def start(self) -> None:
        if self._receiver.settings.insecure and self._receiver.url.scheme == "https":
            log.warning(
                f"http output: the certificate of {self._receiver.place} is not verified (http_output.insecure)"
            )
        self._sending = self._background.start(self._sender.run())
        self._sending.add_done_callback(self._over)
        super().start()

    def deliver(self, items: Sequence[Item]) -> None:
        entries = []
        for item in items:
            body = self._shape(item)
            entries.append(self._spool.entry(item.alert.priority, body.type, body.data))
        self._spool.add(entries)
        self._sender.wake()

    def close(self, timeout_s: float) -> None:
        """All goes to the spool; then it is sent, for at most `timeout_s`. The rest waits there for the next start."""
        ends_s = time.monotonic() + timeout_s
        with self._telling:
            self._ending = True  # a receiver that is away must not keep the thread from storing what waits
            self.problem = ""
        super().close(timeout_s)
        if self._sending is not None:
            left_s = max(0.0, ends_s - time.monotonic())
            try:
                self._background.call(self._sender.drain(left_s), left_s + _END_S)
            except TimeoutError:
                self._sending.cancel()
        left = self._spool.waiting
        if left and not self._spool.in_memory:
            log.info(f"http output: {left} alerts wait in {self._spool.path} for the next start")
        self._spool.close()

    # What the sender tells

    def _problem_is(self, problem: str) -> None:
        with self._telling:
            if not self._ending:
                self.problem = problem

    def _works(self) -> None:
        """Alerts were stored; the problem is now what the sender has to say of the receiver."""
        self._problem_is(self._sender.problem)

    def _over(self, sending: Future[None]) -> None:
        if not sending.cancelled() and (error := sending.exception()) is not None:
            self._problem_is(f"{type(error).__name__}: {error}")
            log.error(f"http output: sending has ended: {type(error).__name__}: {error}; alerts stay in the spool")
