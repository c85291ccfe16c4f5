# SPDX-License-Identifier: Apache-2.0
"""Alerts become lines on stdout.

Unbuffered, each line is with the reader before `write` returns; buffered, lines go out in blocks. Invariant: the
reader never sees half a line glued to another: what a slow reader left over goes out first. A reader that has gone
ends the output (`closed`), a write that waits too long loses whole lines; both are counted, neither raises.
"""

from __future__ import annotations

import errno
import os
import select
from typing import Final

_BLOCK_BYTES: Final = 64 * 1024
_WAIT_MS: Final = 2000  # Falco's output_timeout
_STDOUT: Final = 1
_GONE: Final = (errno.EPIPE, errno.EBADF, errno.EIO)


class Stdout:
    """`written` counts lines given to the reader (or its buffer), `lost` those that were not."""

    __slots__ = ("_buffer", "_held_bytes", "_rest", "buffered", "closed", "fd", "lost", "wait_ms", "written")

    def __init__(self, *, buffered: bool = False, fd: int = _STDOUT, wait_ms: int = _WAIT_MS) -> None:
        self.fd = fd
        self.buffered = buffered
        self.wait_ms = wait_ms
        self.written = 0
        self.lost = 0
        self.closed = False  # the reader has gone; the agent ends
        self._buffer: list[bytes] = []
        self._held_bytes = 0
        self._rest = b""  # the end of a line whose beginning is out

    def write(self, line: str) -> bool:
        """Writes `line` (without newline). False when it is lost."""
        if self.closed:
            self.lost += 1
            return False
        data = line.encode("utf-8", "replace") + b"\n"
        self._buffer.append(data)
        self._held_bytes += len(data)
        if self.buffered and self._held_bytes < _BLOCK_BYTES:
            return True
        return self.flush()

    def flush(self) -> bool:
        """Gives the reader all that is held. False when lines are lost."""
        lines, self._buffer, self._held_bytes = self._buffer, [], 0
        if self.closed:
            self.lost += len(lines)
            return False
        data = self._rest + b"".join(lines)
        sent = self._send(data)
        if sent == len(data):
            self._rest = b""
            self.written += len(lines)
            return True
        return self._keep_whole_lines(lines, sent)

    def _keep_whole_lines(self, lines: list[bytes], sent: int) -> bool:
        """After `sent` bytes the reader took no more: the line that was begun is kept, those after it are lost."""
        sent -= len(self._rest)
        if sent < 0:
            self._rest = self._rest[sent:]
            self.lost += len(lines)
            return False
        self._rest = b""
        for index, line in enumerate(lines):
            if sent >= len(line):
                sent -= len(line)
                self.written += 1
                continue
            begun = sent > 0 and not self.closed
            if begun:
                self._rest = line[sent:]
                self.written += 1
            self.lost += len(lines) - index - begun
            return False
        return True

    def _send(self, data: bytes) -> int:
        """How many bytes of `data` the reader took."""
        sent = 0
        while sent < len(data):
            try:
                sent += os.write(self.fd, data[sent:])
            except BlockingIOError:
                if not self._writable():
                    break
            except OSError as error:  # a full disk may have room again later; a reader that has gone does not return
                self.closed = error.errno in _GONE
                break
        return sent

    def _writable(self) -> bool:
        poll = select.poll()
        poll.register(self.fd, select.POLLOUT)
        return bool(poll.poll(self.wait_ms))
