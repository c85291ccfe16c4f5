# SPDX-License-Identifier: Apache-2.0
"""Alerts become lines written to a file descriptor.

Invariant: the reader never sees half a line glued to another: the rest of a line that was begun goes out first.
"""

from __future__ import annotations

import errno
import os
import select
import time
from typing import TYPE_CHECKING, Final

from .output import OutputError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .item import Item

_LONGEST_S: Final = 86400.0
_GONE: Final = (errno.EPIPE, errno.EBADF, errno.EIO)


class Lines:
    """`rest`: the end of a line whose beginning is out."""

    __slots__ = ("rest", "wait_s")

    def __init__(self, wait_s: float) -> None:
        """`wait_s`: for a reader that takes nothing, where `fd` does not block by itself."""
        self.rest = b""
        self.wait_s = wait_s

    def write(self, fd: int, items: Sequence[Item]) -> None:
        """Writes a line for each. Raises OutputError; a line that was begun counts as delivered."""
        lines = [item.line.encode("utf-8", "replace") + b"\n" for item in items]
        data = memoryview(self.rest + b"".join(lines))
        sent, reason, gone = self._send(fd, data)
        if sent == len(data):
            self.rest = b""
            return
        rest = len(self.rest)
        if sent < rest:
            self.rest = self.rest[sent:]
            raise OutputError(reason, gone=gone)
        self.rest = b""
        sent -= rest
        delivered = 0
        for line in lines:
            if sent <= 0:
                break
            if sent < len(line):
                self.rest = line[sent:]
            sent -= len(line)
            delivered += 1
        if gone and self.rest:
            delivered -= 1  # its end will never come
            self.rest = b""
        raise OutputError(reason, delivered=delivered, gone=gone)

    def _send(self, fd: int, data: memoryview) -> tuple[int, str, bool]:
        """How many bytes were taken; when not all, why, and whether the reader has gone for good."""
        sent = 0
        ends_s = time.monotonic() + self.wait_s
        while sent < len(data):
            try:
                sent += os.write(fd, data[sent:])
            except BlockingIOError:
                if not writable(fd, ends_s - time.monotonic()):
                    return sent, "the reader takes nothing", False
            except OSError as error:  # a full disk may have room again; a reader that has gone does not come back
                return sent, error.strerror or str(error), error.errno in _GONE
        return sent, "", False


def write_text(fd: int, text: str, timeout_s: float) -> bool:
    """Writes `text` as far as the reader takes it in time; whether that was all of it."""
    data = memoryview(text.encode("utf-8", "replace"))
    ends_s = time.monotonic() + timeout_s
    while data:
        if not writable(fd, ends_s - time.monotonic()):
            return False
        try:
            data = data[os.write(fd, data[: select.PIPE_BUF]) :]  # what poll(2) promises room for
        except OSError:
            return False
    return True


def writable(fd: int, timeout_s: float) -> bool:
    poll = select.poll()
    poll.register(fd, select.POLLOUT)
    return bool(poll.poll(min(max(0.0, timeout_s), _LONGEST_S) * 1000))
