# SPDX-License-Identifier: Apache-2.0
"""Alerts become lines at the end of a file.

With keep_alive the file stays open until `reopen`; else it is opened for each delivery, so that it may be moved away at
any time. Invariant: an alert is a whole line of one file, also when the file was moved away while it was written.
"""

from __future__ import annotations

import os
from contextlib import suppress
from math import inf
from typing import TYPE_CHECKING, Any, ClassVar, Final

from .lines import Lines
from .output import Output, OutputError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..config.model import FileOutput
    from .item import Item

# A FIFO that nobody reads must not hold up the thread: O_NONBLOCK.
_FLAGS: Final = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOCTTY | os.O_NONBLOCK
_MODE: Final = 0o666  # less the umask, as Falco


class File(Output):
    name: ClassVar[str] = "file"

    def __init__(self, settings: FileOutput, **others: Any) -> None:
        super().__init__(**others)
        self.settings = settings
        self._lines = Lines(self.timeout_ms / 1000 or inf)
        self._fd = -1

    def deliver(self, items: Sequence[Item]) -> None:
        fd = self._opened()
        try:
            self._lines.write(fd, items)
        except OutputError as error:
            if error.gone or not self._lines.rest:  # the rest of a line that was begun belongs into this very file
                self._release()
            raise OutputError(f"{self.settings.filename}: {error}", delivered=error.delivered) from None
        if not self.settings.keep_alive:
            self._release()

    def _opened(self) -> int:
        if self._fd < 0:
            try:
                self._fd = os.open(self.settings.filename, _FLAGS, _MODE)
            except OSError as error:
                raise OutputError(f"{self.settings.filename}: {error.strerror}") from None
        return self._fd

    def _release(self) -> None:
        if self._fd >= 0:
            with suppress(OSError):  # written is written; nothing more can be done
                os.close(self._fd)
            self._fd = -1
            self._lines.rest = b""

    def reopened(self) -> None:
        if self._lines.rest:
            with suppress(OutputError):
                self._lines.write(self._fd, ())
        self._release()

    def finish(self) -> None:
        self._release()
