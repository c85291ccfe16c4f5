# SPDX-License-Identifier: Apache-2.0
"""Whether something can be reached or written, found out without sending or leaving anything.

Invariant: no function waits longer than `LIMIT_S` for a peer, and none leaves a file or a byte behind.
"""

from __future__ import annotations

import os
import socket
import ssl
import stat
import tempfile
import time
from contextlib import suppress
from typing import Final

LIMIT_S: Final = 3.0
_REFUSAL_S: Final = 0.3  # TLS 1.3: a server refuses a client's certificate only after the handshake


def connect(host: str, port: int, tls: ssl.SSLContext | None) -> str:
    """Connects, shakes hands and closes; gives what was found. Raises OSError (ssl.SSLError and TimeoutError are)."""
    began = time.monotonic()
    with socket.create_connection((host, port), timeout=LIMIT_S) as plain:
        if tls is None:
            return f"TCP in {(time.monotonic() - began) * 1000:.0f} ms"
        with tls.wrap_socket(plain, server_hostname=host) as secure:
            took = f"{secure.version()} in {(time.monotonic() - began) * 1000:.0f} ms"
            secure.settimeout(_REFUSAL_S)
            with suppress(TimeoutError):  # it waits for a request: accepted
                secure.recv(1)
            return took


def reason(error: OSError) -> str:
    """An error of `connect` or of a file in plain words."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not trusted: {error.verify_message}"
    if isinstance(error, ssl.SSLError):
        return f"TLS: {(error.reason or str(error)).replace('_', ' ').lower()}"
    if isinstance(error, TimeoutError):
        return f"no answer within {LIMIT_S:g} s"
    return error.strerror or str(error)


def try_directory(path: str) -> None:
    """Makes a file without a name there, which is gone when this returns. Raises OSError."""
    with tempfile.TemporaryFile(dir=path):
        pass


def try_append(path: str) -> None:
    """Opens a file for appending, or tries its directory when it is not there yet. Raises OSError."""
    try:
        fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY)
    except FileNotFoundError:
        try_directory(os.path.dirname(path) or ".")
    else:
        os.close(fd)


def try_unix(path: str) -> str:
    """Connects to a socket as a client; gives its kind. Raises OSError."""
    for kind, name in ((socket.SOCK_DGRAM, "datagrams"), (socket.SOCK_STREAM, "a stream")):
        with socket.socket(socket.AF_UNIX, kind) as client:
            client.settimeout(LIMIT_S)
            try:
                client.connect(path)
            except OSError:
                if kind == socket.SOCK_STREAM:
                    raise
            else:
                return name
    raise AssertionError("unreachable")


def is_socket(path: str) -> bool:
    try:
        return stat.S_ISSOCK(os.stat(path).st_mode)
    except OSError:
        return False


def free_mib(path: str) -> int:
    """What an ordinary user may still write there. Raises OSError."""
    found = os.statvfs(path)
    return found.f_bavail * found.f_frsize >> 20


def nearest_directory(path: str) -> str:
    """The directory itself, or the next one above it that is there."""
    path = os.path.abspath(path)
    while not os.path.isdir(path) and path != "/":
        path = os.path.dirname(path)
    return path
