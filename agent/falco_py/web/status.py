# SPDX-License-Identifier: Apache-2.0
"""What the agent knows of itself, told to whoever connects to a unix socket: one JSON document, then the end.

Only the user who runs the agent may connect. Invariant: a client can neither hold up the agent nor pile up: one is
served at a time, in a thread of its own, with a time limit; a few wait, others are refused.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import stat
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

DEFAULT_PATH: Final = "/run/falco-py/status.sock"
VARIABLE: Final = "FALCO_PY_STATUS_SOCKET"
CLIENT_S: Final = 2.0
ANSWER_S: Final = 5.0
WAITING: Final = 4  # clients in the backlog
MAX_ANSWER_BYTES: Final = 16 << 20
_CHUNK: Final = 1 << 16


class StatusError(Exception):
    """No agent answers, or not as one does."""


def socket_path() -> str:
    """Of the environment, else the default; empty when the environment wants none."""
    return os.environ.get(VARIABLE, DEFAULT_PATH)


class Status:
    """Answers with `snapshot()` while the block runs. `problem`: why it does not, empty when it does."""

    def __init__(self, path: str, snapshot: Callable[[], dict[str, Any]]) -> None:
        self.path = path
        self.snapshot = snapshot
        self.problem = ""
        self.failures = 0
        self._socket: socket.socket | None = None
        self._inode = 0

    def __enter__(self) -> Status:
        try:
            self._socket = self._bound()
        except (OSError, StatusError) as error:
            self.problem = str(error)
            return self
        threading.Thread(target=self._serve, args=(self._socket,), name="status", daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._socket is None:
            return
        with contextlib.suppress(OSError):
            if os.lstat(self.path).st_ino == self._inode:  # not that of an agent that came after
                os.unlink(self.path)
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)  # ends accept()
        self._socket.close()

    def _bound(self) -> socket.socket:
        """Raises OSError and StatusError."""
        directory = Path(self.path).parent
        with contextlib.suppress(FileExistsError):
            directory.mkdir(mode=0o755)
        self._take_away_old()
        made = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            before = os.umask(0o177)
            try:
                made.bind(self.path)
            finally:
                os.umask(before)
            self._inode = os.lstat(self.path).st_ino
            made.listen(WAITING)
        except OSError:
            made.close()
            raise
        return made

    def _take_away_old(self) -> None:
        """A socket that an agent left when it was killed. Raises StatusError when what is there is in use."""
        try:
            mode = os.lstat(self.path).st_mode
        except FileNotFoundError:
            return
        if not stat.S_ISSOCK(mode):
            raise StatusError(f"{self.path} is there and is no socket")
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
            probe.settimeout(CLIENT_S)
            try:
                probe.connect(self.path)
            except ConnectionRefusedError:
                os.unlink(self.path)
                return
        raise StatusError(f"another agent answers on {self.path}")

    def _serve(self, listening: socket.socket) -> None:
        while True:
            try:
                client, _ = listening.accept()
            except OSError:
                return  # closed
            with client:
                try:
                    client.settimeout(CLIENT_S)
                    client.sendall(json.dumps(self.snapshot()).encode())
                except Exception:  # noqa: BLE001 - the next client is answered whatever happened to this one
                    self.failures += 1


def ask(path: str) -> dict[str, Any]:
    """What the agent that listens on `path` tells. Raises StatusError."""
    data = bytearray()
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as to:
        to.settimeout(ANSWER_S)
        try:
            to.connect(path)
            while part := to.recv(_CHUNK):
                data += part
                if len(data) > MAX_ANSWER_BYTES:
                    raise StatusError("the answer does not end")
        except OSError as error:
            raise StatusError(error.strerror or str(error)) from None
    try:
        found = json.loads(data)
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise StatusError("the answer is not that of an agent")
    return found
