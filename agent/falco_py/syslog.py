# SPDX-License-Identifier: Apache-2.0
"""A line becomes a message to the syslog daemon of this machine, over the socket `/dev/log`.

The form is that of syslog(3): `<PRI>Mmm dd HH:MM:SS falco[PID]: text`, which rsyslog, syslog-ng and the journal read.
Invariant: a daemon that is away, restarts or takes nothing gives an OSError or a time-out, never silence.
"""

from __future__ import annotations

import errno
import os
import socket
import time
from typing import Final

PATH: Final = "/dev/log"
DAEMON: Final = 3  # facility
IDENT: Final = "falco"
_MONTHS: Final = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_LEAST_BYTES: Final = 1024
_CUT: Final = b"..."


class Syslog:
    """One connection, made when first used and again after the daemon came back. One thread uses it."""

    def __init__(self, path: str = PATH, *, timeout_s: float | None = 2.0, facility: int = DAEMON) -> None:
        """`timeout_s`: how long a message may wait for the daemon: None without end, 0 not at all."""
        self.path = path
        self.timeout_s = timeout_s
        self.facility = facility
        self._socket: socket.socket | None = None
        self._stream = False
        self._most_bytes = 0  # of one message; 0: not known to be bounded

    def send(self, severity: int, text: str) -> None:
        """Sends one message; a text that the daemon's socket cannot take whole is cut and ends in `...`.

        Raises OSError (TimeoutError among them) when the daemon did not take it.
        """
        now = time.localtime()
        stamp = f"{_MONTHS[now.tm_mon - 1]} {now.tm_mday:2d} {now.tm_hour:02d}:{now.tm_min:02d}:{now.tm_sec:02d}"
        head = f"<{self.facility << 3 | severity}>{stamp} {IDENT}[{os.getpid()}]: "
        message = (head + text).encode("utf-8", "replace")
        for last in (False, True):
            to = self._socket or self._connected()
            try:
                self._send(to, message)
                return
            except (TimeoutError, BlockingIOError):
                raise
            except OSError:
                self.close()
                if last:
                    raise  # else: the daemon may have started anew since

    def _send(self, to: socket.socket, message: bytes) -> None:
        if self._stream:
            to.sendall(message + b"\0")
            return
        while True:
            if self._most_bytes and len(message) > self._most_bytes:
                message = message[: self._most_bytes - len(_CUT)] + _CUT
            try:
                to.send(message)
                return
            except OSError as error:
                if error.errno != errno.EMSGSIZE or len(message) <= _LEAST_BYTES:
                    raise
                self._most_bytes = max(_LEAST_BYTES, len(message) // 2)

    def _connected(self) -> socket.socket:
        """Raises OSError."""
        for kind in (socket.SOCK_DGRAM, socket.SOCK_STREAM):
            made = socket.socket(socket.AF_UNIX, kind)
            made.settimeout(self.timeout_s)
            try:
                made.connect(self.path)
            except OSError as error:
                made.close()
                if error.errno == errno.EPROTOTYPE and kind == socket.SOCK_DGRAM:
                    continue
                raise
            self._socket, self._stream = made, kind == socket.SOCK_STREAM
            return made
        raise OSError(errno.EPROTOTYPE, os.strerror(errno.EPROTOTYPE))

    def close(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None
