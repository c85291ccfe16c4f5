# SPDX-License-Identifier: Apache-2.0
"""Directories become a file descriptor that is readable as soon as a file in one of them is another: inotify(7).

Written here because the libraries for it ask the kernel for opens as well, so that whoever opens files in the directory
keeps the agent busy, or start other programs to find the C library.
"""

from __future__ import annotations

import ctypes
import errno
import os
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

CLOSE_WRITE, MOVED_FROM, MOVED_TO, CREATE, DELETE = 0x8, 0x40, 0x80, 0x100, 0x200
DELETE_SELF, MOVE_SELF, ONLYDIR = 0x400, 0x800, 0x1000000
MASK: Final = CLOSE_WRITE | MOVED_FROM | MOVED_TO | CREATE | DELETE | DELETE_SELF | MOVE_SELF | ONLYDIR
_GONE: Final = (errno.ENOENT, errno.ENOTDIR, errno.EACCES)

_libc = ctypes.CDLL(None, use_errno=True)


def watch(directories: Iterable[str]) -> int:
    """The file descriptor, which is the caller's. What is no directory, or may not be read, is left out.

    Raises OSError when the kernel has no room for more watches.
    """
    fd = _checked(_libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC))
    try:
        for directory in directories:
            try:
                _checked(_libc.inotify_add_watch(fd, os.fsencode(directory), MASK))
            except OSError as error:
                if error.errno not in _GONE:
                    raise
    except OSError:
        os.close(fd)
        raise
    return fd


def _checked(result: int) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return result
