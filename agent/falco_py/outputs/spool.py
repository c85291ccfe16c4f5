# SPDX-License-Identifier: Apache-2.0
"""Alerts that wait for a receiver: on disk, and where the disk does not take them in memory.

Invariant: whatever happens to directory, disk and file, `add` keeps the alerts, and what is on disk is sent or stays
there. The disk is tried again and again; when it works what is in memory moves there. One agent at a time has the
directory (flock).
"""

from __future__ import annotations

import errno
import fcntl
import os
import sqlite3
import threading
import time
from itertools import count
from typing import TYPE_CHECKING, Final
from uuid import uuid4

from ..log import log
from .store import IN_MEMORY, BrokenStoreError, Entry, Row, Store, salvaged

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

FILE: Final = "http_output.sqlite"
LOCK: Final = "http_output.lock"
BROKEN: Final = ".broken"
_KEY: Final = "http_output.spool.directory"
_FIRST_RETRY_S, _LAST_RETRY_S = 1.0, 60.0
_QUIET_S: Final = 60.0  # between two lines that say that it is full
_BLOCK_ROWS: Final = 1024
_BLOCK_BYTES: Final = 2 << 20  # of one transaction, so that the write-ahead log stays small

_Fault = (OSError, sqlite3.Error, BrokenStoreError)


class Spool:
    """For many threads. All figures are numbers of alerts but `size_bytes`, of bodies and rows.

    `in_memory`: why alerts are not kept on disk now, empty while they are.
    """

    def __init__(
        self, directory: str, max_size_mb: float, *, retry_s: float = _FIRST_RETRY_S,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:  # fmt: skip
        """Touches nothing: see `open`. `retry_s`: how long after a failure the disk is tried again; then it doubles."""
        self.directory = directory
        self.path = os.path.join(directory, FILE)
        self.max_bytes = int(max_size_mb * (1 << 20))
        self.stored = 0
        self.given_up = 0  # for want of room
        self.lost = 0  # in memory at the end, or in a broken file
        self.broken_files = 0
        self.in_memory = ""
        self._disk: Store | None = None
        self._memory: Store | None = None
        self._lock_fd = -1
        self._opened = False
        self._closed = False
        self._mutex = threading.Lock()
        self._clock = clock
        self._first_retry_s = self._retry_s = retry_s
        self._retry_at_s = 0.0
        self._told_full_s = -_QUIET_S
        self._kept = 0  # in the file when it was found broken
        self._run = uuid4().hex
        self._numbers = count(1)

    @property
    def waiting(self) -> int:
        return sum(store.waiting for store in (self._disk, self._memory) if store is not None)

    @property
    def size_bytes(self) -> int:
        return sum(store.held_bytes for store in (self._disk, self._memory) if store is not None)

    def open(self) -> None:
        """Opens the file, unless that is done. Tells what waits of an earlier run."""
        with self._mutex:
            self._open()

    def _open(self) -> None:
        if self._opened or self._closed:
            return
        self._opened = True
        try:
            disk = self._to_disk()
            if disk.waiting:
                since = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(disk.oldest_s()))
                log.info(f"http output: {disk.waiting} alerts of an earlier run wait, the oldest of {since}")
        except _Fault as error:
            self._failed(error)

    def entry(self, priority: int, type: str, body: bytes) -> Entry:
        """A new request with a key of its own."""
        return Entry(f"{self._run}-{next(self._numbers)}", time.time(), priority, type, body)

    def add(self, entries: Sequence[Entry]) -> None:
        """Keeps them; they are on disk when it returns, unless `in_memory`. Waits for the disk.

        Raises ValueError after `close`.
        """
        for block in blocks(entries):
            with self._mutex:
                if self._closed:
                    raise ValueError("the spool is closed")
                self._open()
                before = self.given_up
                self._add(block)
                self.stored += len(block)
                if self.given_up > before:
                    self._tell_full()

    def _add(self, entries: Sequence[Entry]) -> None:
        if not self.in_memory or self._clock() >= self._retry_at_s:
            try:
                self._return_to_disk()
                self.given_up += self._to_disk().add(entries)
                self._to_disk().delete(())  # what could not be deleted before
            except _Fault as error:
                self._failed(error)
            else:
                self._works()
                return
        if self._memory is None:
            self._memory = Store(IN_MEMORY, self.max_bytes)
        self.given_up += self._memory.add(entries)

    def _tell_full(self) -> None:
        now_s = self._clock()
        if now_s < self._told_full_s + _QUIET_S:
            return
        self._told_full_s = now_s
        log.error(
            f"http output: the spool is full ({self.max_bytes >> 20} MB); {self.given_up} alerts were given up so far, "
            "the oldest of the least severe first (see http_output.spool.max_size_mb)"
        )

    def exchange(self, done: Iterable[Row], most: int, most_bytes: int) -> list[Row]:
        """Deletes what is done, and gives the oldest that were not given yet. Waits for the disk."""
        with self._mutex:
            self._open()
            rows = list(done)
            if self._memory is not None:
                self._memory.delete(row.id for row in rows if row.store is self._memory)
                if self._memory.waiting and self._clock() >= self._retry_at_s:
                    self._add(())
            return self._taken([row.id for row in rows if row.store is self._disk], most, most_bytes)

    def _taken(self, done: Sequence[int], most: int, most_bytes: int) -> list[Row]:
        """Of the disk first: what is in memory is younger, as a rule."""
        try:
            if self._disk is not None:
                self._disk.delete(done)
        except _Fault as error:  # they are deleted with the next ones
            self._failed(error)
        try:
            if self._disk is not None and (taken := self._disk.take(most, most_bytes)):
                return taken
        except _Fault as error:
            self._failed(error)
        return self._memory.take(most, most_bytes) if self._memory is not None else []

    def close(self) -> None:
        """What is in memory moves to the disk, or is lost. Nothing can be added any more."""
        with self._mutex:
            if self._closed:
                return
            if self._memory is not None and self._memory.waiting:
                self._bring_in(self._memory)
            for store in (self._disk, self._memory):
                if store is not None:
                    store.close()
            self._disk = self._memory = None
            self._closed = True
            self._unlock()

    def _bring_in(self, memory: Store) -> None:
        memory.recall()
        try:
            self._return_to_disk()
        except _Fault as error:
            self._failed(error)
        if memory.waiting:
            self.lost += memory.waiting
            log.error(f"http output: {memory.waiting} alerts that waited in memory are lost: {self.in_memory}")

    # The disk

    def _to_disk(self) -> Store:
        """The store on disk, opened if it is not. Raises _Fault."""
        if self._disk is None:
            os.makedirs(self.directory, mode=0o700, exist_ok=True)
            self._lock()
            try:
                os.close(os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600))
                self._disk = self._store()
            except BaseException:
                self._unlock()
                raise
        return self._disk

    def _store(self) -> Store:
        try:
            return Store(self.path, self.max_bytes)
        except BrokenStoreError as error:
            return self._started_anew(error)

    def _started_anew(self, error: BrokenStoreError) -> Store:
        """The broken file is kept aside (the last such one), and what can be read of it is taken over."""
        aside = self.path + BROKEN
        for suffix in ("-wal", "-shm", "-journal", ""):
            try:
                os.replace(self.path + suffix, aside + suffix)
            except FileNotFoundError:
                continue
        self.broken_files += 1
        os.close(os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600))
        store = Store(self.path, self.max_bytes)
        for block in blocks(salvaged(aside)):
            self.given_up += store.add(block)
        self.lost += max(0, self._kept - store.waiting)
        self._kept = 0
        log.error(f"http output: {self.path} is broken ({error}); {store.waiting} alerts could be read and wait in a "
                  f"new one. The broken file is kept as {aside}; it can be deleted")  # fmt: skip
        return store

    def _return_to_disk(self) -> None:
        """Moves what is in memory and not out. Raises _Fault."""
        memory = self._memory
        if memory is None:
            return
        while rows := memory.resting(_BLOCK_ROWS, _BLOCK_BYTES):
            self.given_up += self._to_disk().add([row.entry for row in rows])
            memory.delete(row.id for row in rows)

    def _works(self) -> None:
        if self.in_memory:
            log.notice("http output: alerts wait on disk again")
            self.in_memory = ""
            self._retry_s = self._first_retry_s

    def _failed(self, error: Exception) -> None:
        if isinstance(error, BrokenStoreError) and self._disk is not None:
            self._kept = self._disk.waiting
            self._disk.close()
            self._disk = None
            self._unlock()
        reason, remedy = self._why(error)
        if not self.in_memory:
            log.warning(
                f"http output: alerts cannot be kept on disk: {reason}. Until they can they wait in memory, at most "
                f"{self.max_bytes >> 20} MB, and do not survive a restart of the agent. {remedy}"
            )
        self.in_memory = reason
        self._retry_at_s = self._clock() + self._retry_s
        self._retry_s = min(_LAST_RETRY_S, 2 * self._retry_s)

    def _why(self, error: Exception) -> tuple[str, str]:
        """What is wrong, and the way out."""
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF
        number = getattr(error, "errno", 0)
        other = f"or set {_KEY} to another directory"
        if code == sqlite3.SQLITE_FULL or number in (errno.ENOSPC, errno.EDQUOT):
            return f"the disk of {self.directory} is full", f"Make room there, {other}."
        if number == errno.EWOULDBLOCK or code == sqlite3.SQLITE_BUSY:
            return (f"another process has {self.path} open",
                    f"Each agent needs a directory of its own: see {_KEY}.")  # fmt: skip
        if code == sqlite3.SQLITE_READONLY or number in (errno.EACCES, errno.EPERM, errno.EROFS):
            return f"{self.directory} cannot be written to ({error})", f"Make it writable for the agent, {other}."
        return f"{self.path}: {error}", f"Mend that, {other}."

    def _lock(self) -> None:
        fd = os.open(os.path.join(self.directory, LOCK), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(fd)
            raise
        self._lock_fd = fd

    def _unlock(self) -> None:
        if self._lock_fd >= 0:
            os.close(self._lock_fd)
            self._lock_fd = -1


def blocks(entries: Iterable[Entry]) -> Iterator[list[Entry]]:
    """In parts that are small enough for one transaction."""
    block: list[Entry] = []
    held_bytes = 0
    for entry in entries:
        if block and (len(block) == _BLOCK_ROWS or held_bytes + len(entry.body) > _BLOCK_BYTES):
            yield block
            block, held_bytes = [], 0
        block.append(entry)
        held_bytes += len(entry.body)
    if block:
        yield block
