# SPDX-License-Identifier: Apache-2.0
"""A bbolt database (go.etcd.io/bbolt, file format 2) becomes the values at paths of names, without its lock.

Its pages are never changed in place: a page that the newest state uses is written anew only after the next state is
complete. Invariant: what `read` gives is from one state, which was the newest from the beginning to the end of the
reading; damage raises `DamagedError` and nothing else, after a bounded number of pages.
"""

from __future__ import annotations

import os
import struct
from typing import TYPE_CHECKING, Final, NamedTuple, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

T = TypeVar("T")

_PAGE: Final = struct.Struct("<QHHI")  # number, kind, elements, pages that follow
_BRANCH: Final = struct.Struct("<IIQ")  # distance and size of the key, page
_LEAF: Final = struct.Struct("<IIII")  # kind, distance, size of the key, size of the value
_META: Final = struct.Struct("<IIIIQQQQQQ")
_BUCKET: Final = struct.Struct("<QQ")  # first page, sequence
_MAGIC, _VERSION = 0xED0CDAED, 2
_IS_BRANCH, _IS_LEAF, _IS_BUCKET = 1, 2, 1
_SIZES: Final = (4096, 8192, 16384, 65536)
PAGES_MAX: Final = 256  # of one reading
_OVERFLOW_MAX: Final = 64
_LEVELS_MAX: Final = 16
_TRIES: Final = 3


class DamagedError(Exception):
    """It is no such database, or was changed too fast."""


class _Meta(NamedTuple):
    state: int
    page_bytes: int
    root: int


class State:
    """One state of a database."""

    def __init__(self, file: int, page_bytes: int, root: int) -> None:
        self._file = file
        self._page_bytes = page_bytes
        self._root = root
        self._left = PAGES_MAX

    def value(self, *path: str) -> bytes | None:
        """What stands at the end of a path of buckets. Raises DamagedError."""
        found = self._found(path)
        return None if found is None or found[0] & _IS_BUCKET else found[1]

    def values(self, *path: str) -> dict[bytes, bytes]:
        """All that a bucket holds but other buckets. Raises DamagedError."""
        found = self._found(path)
        if found is None or not found[0] & _IS_BUCKET:
            return {}
        return {key: value for kind, key, value in self._items(self._top(found[1]), 0) if not kind & _IS_BUCKET}

    def _found(self, path: tuple[str, ...]) -> tuple[int, bytes] | None:
        here = self._page(self._root)
        found = None
        for name in path:
            if found is not None:
                if not found[0] & _IS_BUCKET:
                    return None
                here = self._top(found[1])
            found = self._search(here, name.encode("utf-8", "surrogateescape"))
            if found is None:
                return None
        return found

    def _top(self, bucket: bytes) -> bytes:
        """A small bucket is in the value itself."""
        if len(bucket) < _BUCKET.size:
            raise DamagedError
        root = _BUCKET.unpack_from(bucket)[0]
        return self._page(root) if root else bucket[_BUCKET.size :]

    def _page(self, number: int) -> bytes:
        self._left -= 1
        if self._left < 0 or not 0 < number < 1 << 40:
            raise DamagedError
        page = os.pread(self._file, self._page_bytes, number * self._page_bytes)
        if len(page) < _PAGE.size:
            raise DamagedError
        _, _, _, more = _PAGE.unpack_from(page)
        if more:
            if more > _OVERFLOW_MAX:
                raise DamagedError
            page += os.pread(self._file, more * self._page_bytes, (number + 1) * self._page_bytes)
        return page

    def _search(self, page: bytes, wanted: bytes) -> tuple[int, bytes] | None:
        for _ in range(_LEVELS_MAX):
            _, kind, count, _ = _PAGE.unpack_from(page)
            if kind & _IS_LEAF:
                at = _last(page, count, _leaf_key, wanted)
                if at < 0:
                    return None
                of, key, value = _leaf(page, at)
                return (of, value) if key == wanted else None
            if not kind & _IS_BRANCH:
                raise DamagedError
            at = _last(page, count, _branch_key, wanted)
            page = self._page(_BRANCH.unpack_from(page, _PAGE.size + max(at, 0) * _BRANCH.size)[2])
        raise DamagedError

    def _items(self, page: bytes, level: int) -> Iterator[tuple[int, bytes, bytes]]:
        _, kind, count, _ = _PAGE.unpack_from(page)
        if level > _LEVELS_MAX:
            raise DamagedError
        for at in range(count):
            if kind & _IS_LEAF:
                yield _leaf(page, at)
            elif kind & _IS_BRANCH:
                yield from self._items(
                    self._page(_BRANCH.unpack_from(page, _PAGE.size + at * _BRANCH.size)[2]), level + 1
                )
            else:
                raise DamagedError


def _last(page: bytes, count: int, key_of: Callable[[bytes, int], bytes], wanted: bytes) -> int:
    """The last element whose key is not after `wanted`, -1 when all are."""
    low, high = 0, count
    while low < high:
        middle = (low + high) // 2
        if key_of(page, middle) <= wanted:
            low = middle + 1
        else:
            high = middle
    return low - 1


def _leaf(page: bytes, at: int) -> tuple[int, bytes, bytes]:
    place = _PAGE.size + at * _LEAF.size
    kind, distance, key_bytes, value_bytes = _LEAF.unpack_from(page, place)
    start = place + distance
    end = start + key_bytes + value_bytes
    if end > len(page):
        raise DamagedError
    return kind, page[start : start + key_bytes], page[start + key_bytes : end]


def _leaf_key(page: bytes, at: int) -> bytes:
    return _leaf(page, at)[1]


def _branch_key(page: bytes, at: int) -> bytes:
    place = _PAGE.size + at * _BRANCH.size
    distance, size, _ = _BRANCH.unpack_from(page, place)
    start = place + distance
    if start + size > len(page):
        raise DamagedError
    return page[start : start + size]


def read(file: int, look: Callable[[State], T]) -> T:
    """What `look` finds in the newest state. Raises DamagedError and OSError."""
    try:
        before = _heads(file)
        for _ in range(_TRIES):
            newest = _newest(before)
            damaged = False
            try:
                found = look(State(file, newest.page_bytes, newest.root))
            except DamagedError:
                damaged = True
            after = _heads(file)
            if after == before:
                if damaged:
                    break
                return found
            before = after
    except struct.error:
        pass
    raise DamagedError


def _heads(file: int) -> tuple[bytes, ...]:
    """Where the two first pages may begin; they tell the newest state and the one before it."""
    return tuple(os.pread(file, _PAGE.size + _META.size, at) for at in (0, *_SIZES))


def _newest(heads: tuple[bytes, ...]) -> _Meta:
    metas = [meta for raw in heads if (meta := _meta(raw)) is not None]
    if not metas:
        raise DamagedError
    return max(metas)


def _meta(raw: bytes) -> _Meta | None:
    if len(raw) < _PAGE.size + _META.size:
        return None
    magic, version, page_bytes, _, root, _, _, _, state, checksum = _META.unpack_from(raw, _PAGE.size)
    if (magic, version) != (_MAGIC, _VERSION) or page_bytes not in _SIZES:
        return None
    if checksum != _fnv(raw[_PAGE.size : _PAGE.size + _META.size - 8]):
        return None
    return _Meta(state, page_bytes, root)


def _fnv(raw: bytes) -> int:
    """FNV-1a of 64 bits."""
    value = 0xCBF29CE484222325
    for byte in raw:
        value = (value ^ byte) * 0x100000001B3 & 0xFFFFFFFFFFFFFFFF
    return value
