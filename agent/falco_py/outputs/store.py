# SPDX-License-Identifier: Apache-2.0
"""Requests that are to be sent become rows of one SQLite database, on disk or in memory.

Invariant: what `add` was given is on the disk when it returns (WAL, synchronous=FULL), all of it or, when it raises,
nothing. More than the bound is never kept: the oldest of the least severe are given up, but for those that are out,
that is, with the sender.
"""

from __future__ import annotations

import sqlite3
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

IN_MEMORY: Final = ":memory:"
ROW_BYTES: Final = 96  # what a row takes beside its body: key, index, headers
_VERSION: Final = 1  # of the tables; user_version of the database
_PAGE_BYTES: Final = 4096
_SLACK: Final = 1.25  # how much larger than its rows the file may be, for pages that are not full
_SLACK_PAGES: Final = 64
_WAL_PAGES: Final = 512
_SHRINK_PAGES: Final = 1024  # a file that is larger gives room back when it is empty
_VICTIMS: Final = 256
_IDS: Final = 500
_BROKEN: Final = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_ERROR)

_TABLES: Final = """
CREATE TABLE alerts (
    id INTEGER PRIMARY KEY,
    key TEXT NOT NULL,
    created_s REAL NOT NULL,
    priority INTEGER NOT NULL,
    type TEXT NOT NULL,
    body BLOB NOT NULL
);
CREATE INDEX least_severe ON alerts (priority DESC, id);
"""
_COLUMNS: Final = "id, key, created_s, priority, type, body"


class Entry(NamedTuple):
    """A request that is to be sent."""

    key: str  # Idempotency-Key: never given twice
    created_s: float  # since the epoch
    priority: int
    type: str  # Content-Type
    body: bytes


class Row(NamedTuple):
    """An entry that is kept as `id` of `store`."""

    store: Store
    id: int
    entry: Entry


class BrokenStoreError(Exception):
    """The file is no database, or not one of ours."""


class Store:
    """For one thread at a time. `waiting` rows hold `held_bytes`; methods raise sqlite3.Error, BrokenStoreError."""

    def __init__(self, path: str, max_bytes: int) -> None:
        self.path = path
        self.max_bytes = max_bytes
        self.waiting = 0
        self.held_bytes = 0
        self._out: set[int] = set()
        self._last_out = 0
        self._last_id = 0
        self._undeleted: list[int] = []
        self._max_pages = int(max_bytes * _SLACK) // _PAGE_BYTES + _SLACK_PAGES
        self._database = sqlite3.connect(path, timeout=1.0, isolation_level=None, check_same_thread=False)
        try:
            with _told():
                self._open()
        except BaseException:
            self._database.close()
            raise

    def _open(self) -> None:
        run = self._database.execute
        run("PRAGMA locking_mode=EXCLUSIVE")  # spares the file of shared memory, which not every file system can have
        run(f"PRAGMA page_size={_PAGE_BYTES}")
        run("PRAGMA auto_vacuum=INCREMENTAL")
        run("PRAGMA journal_mode=WAL")
        run("PRAGMA synchronous=FULL")
        run("PRAGMA secure_delete=OFF")  # some distributions have it on: each delete would write whole pages of zeros
        run(f"PRAGMA wal_autocheckpoint={_WAL_PAGES}")
        version = self._number("PRAGMA user_version")
        if not version:
            self._database.executescript(f"BEGIN IMMEDIATE; {_TABLES} PRAGMA user_version={_VERSION}; COMMIT;")
        elif version != _VERSION:
            raise BrokenStoreError(f"its version is {version}, expected {_VERSION}")
        (answer,) = run("PRAGMA quick_check(1)").fetchone()
        if answer != "ok":
            raise BrokenStoreError(str(answer))
        self.waiting, self.held_bytes, self._last_id = run(
            f"SELECT count(*), coalesce(sum(length(body) + {ROW_BYTES}), 0), coalesce(max(id), 0) FROM alerts"
        ).fetchone()

    def oldest_s(self) -> float:
        """When the oldest row was made, since the epoch; 0 without rows."""
        with _told():
            found = self._database.execute("SELECT created_s FROM alerts ORDER BY id LIMIT 1").fetchone()
        return float(found[0]) if found else 0.0

    def add(self, entries: Sequence[Entry]) -> int:
        """Keeps them. How many, old or new, were given up for want of room."""
        first = self._last_id + 1
        rows = ((first + offset, *entry) for offset, entry in enumerate(entries))
        held = self.held_bytes + sum(len(entry.body) + ROW_BYTES for entry in entries)
        with self._transaction():
            self._database.executemany(f"INSERT INTO alerts ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?)", rows)
            given_up, given_up_bytes = self._make_room(held)
        self._last_id += len(entries)
        self.waiting += len(entries) - given_up
        self.held_bytes = held - given_up_bytes
        return given_up

    def _make_room(self, held_bytes: int) -> tuple[int, int]:
        """How many rows are given up, and how many bytes."""
        given_up = freed_bytes = 0
        while not self._fits(held_bytes - freed_bytes):
            victims = self._victims()
            if not victims:
                break  # all that is left is out
            for id, size_bytes in victims:
                if self._fits(held_bytes - freed_bytes):
                    break
                self._database.execute("DELETE FROM alerts WHERE id = ?", (id,))
                given_up += 1
                freed_bytes += size_bytes
        return given_up, freed_bytes

    def _fits(self, held_bytes: int) -> bool:
        return held_bytes <= self.max_bytes and self._used_pages() <= self._max_pages

    def _victims(self) -> list[tuple[int, int]]:
        """Ids and sizes of what may be given up, the first to go first."""
        found = self._database.execute(
            f"SELECT id, length(body) + {ROW_BYTES} FROM alerts ORDER BY priority DESC, id LIMIT ?",
            (_VICTIMS + len(self._out),),
        ).fetchall()
        return [(id, size_bytes) for id, size_bytes in found if id not in self._out]

    def take(self, most: int, most_bytes: int) -> list[Row]:
        """The oldest that were not taken yet, at least one if there is one. They are out until they are deleted."""
        rows = self._read(self._last_out, most, most_bytes)
        if rows:
            self._last_out = rows[-1].id
            self._out.update(row.id for row in rows)
        return rows

    def recall(self) -> None:
        """Nothing is out any more."""
        self._out.clear()
        self._last_out = 0

    def resting(self, most: int, most_bytes: int) -> list[Row]:
        """The oldest that are not out."""
        return self._read(self._last_out, most, most_bytes)

    def _read(self, after: int, most: int, most_bytes: int) -> list[Row]:
        rows: list[Row] = []
        held_bytes = 0
        with _told():
            found = self._database.execute(
                f"SELECT {_COLUMNS} FROM alerts WHERE id > ? ORDER BY id LIMIT ?", (after, most)
            )
            with closing(found):
                for id, *values in found:
                    row = Row(self, id, Entry(*values))
                    held_bytes += len(row.entry.body)
                    if rows and held_bytes > most_bytes:
                        break
                    rows.append(row)
        return rows

    def delete(self, ids: Iterable[int]) -> None:
        """Those that are not there are none. When it raises they are deleted with the next ones."""
        self._undeleted += ids
        ids = self._undeleted
        if not ids:
            return
        count = freed_bytes = 0
        with self._transaction():
            for start in range(0, len(ids), _IDS):
                some = ids[start : start + _IDS]
                marks = ", ".join("?" * len(some))
                sizes = self._database.execute(
                    f"DELETE FROM alerts WHERE id IN ({marks}) RETURNING length(body) + {ROW_BYTES}", some
                ).fetchall()
                count += len(sizes)
                freed_bytes += sum(size_bytes for (size_bytes,) in sizes)
        self.waiting -= count
        self.held_bytes -= freed_bytes
        self._out.difference_update(ids)
        self._undeleted = []
        if not self.waiting:
            self._shrink()

    def _shrink(self) -> None:
        with _told():
            if self._number("PRAGMA page_count") <= _SHRINK_PAGES:
                return
            while free := self._number("PRAGMA freelist_count"):  # in steps: the write-ahead log holds each
                self._database.execute(f"PRAGMA incremental_vacuum({min(free, _WAL_PAGES)})").fetchall()

    def close(self) -> None:
        self._database.close()

    def _number(self, query: str) -> int:
        (number,) = self._database.execute(query).fetchone()
        return int(number)

    def _used_pages(self) -> int:
        return self._number("PRAGMA page_count") - self._number("PRAGMA freelist_count")

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        with _told():
            self._database.execute("BEGIN IMMEDIATE")
            try:
                yield
                self._database.execute("COMMIT")
            except BaseException:
                if self._database.in_transaction:  # some errors have rolled it back
                    self._database.execute("ROLLBACK")
                raise


@contextmanager
def _told() -> Iterator[None]:
    """Errors that mean a broken file become BrokenStoreError."""
    try:
        yield
    except sqlite3.DatabaseError as error:
        if getattr(error, "sqlite_errorcode", 0) & 0xFF in _BROKEN:
            raise BrokenStoreError(str(error)) from error
        raise


def salvaged(path: str) -> Iterator[Entry]:
    """What can still be read of a broken store: from both ends, up to where it is broken."""
    last = 0  # read from the beginning
    for order in ("ASC", "DESC"):
        try:
            with closing(sqlite3.connect(path, timeout=1.0, isolation_level=None)) as database:
                database.execute("PRAGMA locking_mode=EXCLUSIVE")
                for id, *values in database.execute(f"SELECT {_COLUMNS} FROM alerts ORDER BY id {order}"):
                    if order == "ASC":
                        last = id
                    elif id <= last:
                        break
                    entry = _sound(values)
                    if entry is not None:
                        yield entry
        except sqlite3.Error:
            continue


def _sound(values: Sequence[object]) -> Entry | None:
    match values:
        case [str(key), float(created_s), int(priority), str(type), bytes(body)] if 0 <= priority <= 7:
            return Entry(key, created_s, priority, type, body)
    return None
