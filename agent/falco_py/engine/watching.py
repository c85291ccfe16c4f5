# SPDX-License-Identifier: Apache-2.0
"""A change of files becomes a call.

What is watched are the directories of the files, so that a file that an editor or a ConfigMap puts in the place of
another is seen too. Invariant: `changed` is called only when the content of the files is another than it was before;
whoever fills a watched directory with other files, or opens them, cannot make the agent busy.
"""

from __future__ import annotations

import os
import select
import threading
import zlib
from pathlib import Path
from typing import TYPE_CHECKING, Final

from ..log import log
from . import inotify
from .overlay import files_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from .overlay import Overlay

PAUSE_S: Final = 0.2  # after an event, before looking: an editor writes, renames and removes
LONGEST_PAUSE_S: Final = 5.0  # while events come that change nothing
LOOK_S: Final = 30.0  # between two looks without an event: not every file system tells of changes
_TRIES: Final = 10  # while directories come and go
POLL_S: Final = 2.0  # the same where the kernel cannot tell of any

Fingerprint = tuple[tuple[str, int, int], ...]


def fingerprint(paths: Iterable[str], overlay: Overlay | None = None) -> Fingerprint:
    """(file, length, CRC-32) of the files and of the .yaml and .yml files of the directories that exist, as `overlay`
    has them where it has.
    """
    found = []
    for file in dict.fromkeys(file for path in paths for file in files_of(path, overlay)):
        try:
            text = None if overlay is None else overlay.text(file)
            content = Path(file).read_bytes() if text is None else text.encode()
            found.append((file, len(content), zlib.crc32(content)))
        except OSError as error:
            found.append((file, -1, error.errno or 0))
    return tuple(found)


def directories(paths: Iterable[str]) -> frozenset[str]:
    """Where changes of `paths` show: their directories and those that links lead to, or what is there of them."""
    found = set()
    for path in paths:
        for spelling in (os.path.abspath(path), os.path.realpath(path)):
            directory = spelling if os.path.isdir(spelling) else os.path.dirname(spelling)
            while not os.path.isdir(directory):
                directory = os.path.dirname(directory)
            found.add(directory)
            found.add(os.path.realpath(directory))
            if directory == spelling:
                found.add(os.path.dirname(spelling))  # the directory itself may be replaced
    return frozenset(found)


class Watcher:
    """Watches in a thread of its own from the first `follow` to `close`; `look` says what the files are now."""

    def __init__(self, changed: Callable[[], None], look: Callable[[Iterable[str]], Fingerprint] = fingerprint) -> None:
        self._changed = changed
        self._content = look
        self._paths: tuple[str, ...] = ()
        self._seen: Fingerprint = ()
        self._wake = -1  # ends the wait in hand
        self._closed = False
        self._polls = False  # told
        self._thread: threading.Thread | None = None

    def follow(self, paths: Iterable[str], seen: Fingerprint) -> None:
        """From now on these files and directories; `seen` is what they were when they were read."""
        self._paths, self._seen = tuple(paths), seen
        if self._thread is None and not self._closed:
            self._wake = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
            self._thread = threading.Thread(target=self._run, name="watch", daemon=True)
            self._thread.start()
        elif self._wake >= 0:
            os.eventfd_write(self._wake, 1)

    def close(self) -> None:
        self._closed = True
        if self._thread is not None:
            os.eventfd_write(self._wake, 1)
            self._thread.join(PAUSE_S)

    def _run(self) -> None:
        pause_s = PAUSE_S
        while not self._closed:
            # Watched first and looked at then: what changes in between is seen. What came is never read: to ask the
            # kernel anew costs the same however much it was.
            told, limit_s = self._asked(), LOOK_S
            if told < 0:
                limit_s = POLL_S
            try:
                changed = self._look()
                pause_s = PAUSE_S if changed else min(LONGEST_PAUSE_S, 2 * pause_s)
                if self._wait(told, limit_s):
                    self._wait(-1, pause_s)
                else:
                    pause_s = PAUSE_S
            finally:
                if told >= 0:
                    os.close(told)

    def _asked(self) -> int:
        """A file descriptor that is readable when something happens in the directories; -1 when that cannot be."""
        try:
            wanted = directories(self._paths)
            for _ in range(_TRIES):
                told = inotify.watch(wanted)
                now = directories(self._paths)
                if now == wanted:  # what comes into being from here on is told
                    return told
                os.close(told)
                wanted = now
            return inotify.watch(wanted)
        except OSError as error:
            if not self._polls:
                self._polls = True
                log.warning(
                    f"files cannot be watched: {error.strerror}; they are looked at every {POLL_S:g} s instead. "
                    "Raising fs.inotify.max_user_instances or fs.inotify.max_user_watches may help."
                )
            return -1

    def _wait(self, told: int, timeout_s: float) -> bool:
        """Whether something happened before the time was over; `follow` and `close` end the wait as well."""
        poll = select.poll()
        poll.register(self._wake, select.POLLIN)
        if told >= 0:
            poll.register(told, select.POLLIN)
        ready = [fd for fd, _ in poll.poll(timeout_s * 1000)]
        if self._wake in ready:
            os.eventfd_read(self._wake)
        return told in ready

    def _look(self) -> bool:
        """Whether the content is another than before."""
        now = self._content(self._paths)
        if now == self._seen:
            return False
        self._seen = now
        self._changed()
        return True
