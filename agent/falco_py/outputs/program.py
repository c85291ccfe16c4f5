# SPDX-License-Identifier: Apache-2.0
"""Alerts become lines on the standard input of a program, which the shell starts.

With keep_alive one process takes all lines and is started again when it ends; else each alert has a process of its own.
Invariant: a process that takes too long is killed with all that it started in its session's group, every one is waited
for, and an alert counts as delivered only when the program took it (and, without keep_alive, ended).
"""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any, ClassVar, Final

from ..log import log
from .lines import Lines
from .output import Output, OutputError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..config.model import ProgramOutput
    from .item import Item

_SHELL: Final = "/bin/sh"
_END_S: Final = 2.0  # for a process whose input was closed
_TOLD: Final = 10.0  # seconds between two lines of the log about exit codes


class Program(Output):
    """`failures` counts programs that ended with another code than 0, `killed` those that took too long."""

    name: ClassVar[str] = "program"

    def __init__(self, settings: ProgramOutput, **others: Any) -> None:
        super().__init__(**others)
        self.settings = settings
        self.failures = 0
        self.killed = 0
        self.many = 64 if settings.keep_alive else 1
        self._process: subprocess.Popen[bytes] | None = None
        self._lines = Lines(settings.timeout_s)
        self._told_s = float("-inf")

    def deliver(self, items: Sequence[Item]) -> None:
        if self.settings.keep_alive:
            self._feed(items)
        else:
            for done, item in enumerate(items):
                self._run_for(item, done)

    def _feed(self, items: Sequence[Item]) -> None:
        """To the process that stays."""
        process = self._process
        if process is None or process.poll() is not None:
            if process is not None:
                self._ended(process)
            process = self._process = self._started()
        assert process.stdin is not None
        try:
            self._lines.write(process.stdin.fileno(), items)
        except OutputError as error:
            delivered = error.delivered
            if self._lines.rest:  # a line that was begun is given whole to the next process
                delivered -= 1
                self._lines.rest = b""
            self._stop(0.0)
            why = "the program ended" if error.gone else f"the program took nothing for {self.settings.timeout_s:g} s"
            raise OutputError(why, delivered=delivered) from None

    def _run_for(self, item: Item, done: int) -> None:
        process = self._started(done)
        ends_s = time.monotonic() + self.settings.timeout_s
        assert process.stdin is not None
        with suppress(OutputError):  # a program need not read its input
            Lines(self.settings.timeout_s).write(process.stdin.fileno(), (item,))
        with suppress(OSError):
            process.stdin.close()
        self._wait(process, max(0.0, ends_s - time.monotonic()))
        self._ended(process)

    def _started(self, done: int = 0) -> subprocess.Popen[bytes]:
        """Raises OutputError."""
        try:
            process = subprocess.Popen(
                [_SHELL, "-c", self.settings.program], stdin=subprocess.PIPE, start_new_session=True, bufsize=0
            )
        except OSError as error:
            raise OutputError(f"{_SHELL} cannot be started: {error.strerror}", delivered=done) from None
        assert process.stdin is not None
        fcntl.fcntl(process.stdin, fcntl.F_SETFL, os.O_NONBLOCK | fcntl.fcntl(process.stdin, fcntl.F_GETFL))
        return process

    def _wait(self, process: subprocess.Popen[bytes], timeout_s: float) -> None:
        """Until it ended; after `timeout_s` it is killed, with what it started."""
        try:
            process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            self.killed += 1
            self._tell(f"the program took longer than {timeout_s:.1f} s and was killed")
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()

    def _stop(self, timeout_s: float) -> None:
        """Ends the process that stays: its input ends, and it has `timeout_s`."""
        process, self._process = self._process, None
        if process is None:
            return
        assert process.stdin is not None
        with suppress(OSError):
            process.stdin.close()
        self._wait(process, timeout_s)

    def _ended(self, process: subprocess.Popen[bytes]) -> None:
        if process.returncode > 0:
            self.failures += 1
            self._tell(f"the program ended with code {process.returncode}")

    def _tell(self, text: str) -> None:
        now_s = time.monotonic()
        if now_s - self._told_s >= _TOLD:
            self._told_s = now_s
            log.error(f"program output: {text}; ended otherwise than with 0: {self.failures}, killed: {self.killed}")

    def reopened(self) -> None:
        self._stop(_END_S)

    def finish(self) -> None:
        self._stop(_END_S)
