# SPDX-License-Identifier: Apache-2.0
"""The ring as the reader finds it: in order, whole where a record wraps, and safe whatever the records say."""

from __future__ import annotations

import mmap
import os
import struct
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from falco_py.events.record import Header
from falco_py.kernel._ring import Ring

if TYPE_CHECKING:
    from collections.abc import Iterator

PAGE = mmap.PAGESIZE
SIZE = PAGE  # of the data
HEADER = 136
BUSY, DISCARDED = 1 << 31, 1 << 30


class Written:
    """A ring in memory that is written as the kernel does."""

    def __init__(self) -> None:
        self.fd = os.memfd_create("ring")
        os.truncate(self.fd, 2 * PAGE + SIZE)
        self.memory = mmap.mmap(self.fd, 2 * PAGE + SIZE)
        self.ring = Ring(self.fd, SIZE, Header)
        self.position = 0

    def raw(self, word: int, data: bytes) -> None:
        whole = struct.pack("=II", word, 0) + data
        whole += bytes(-len(whole) % 8)
        for index, byte in enumerate(whole):
            self.memory[2 * PAGE + (self.position + index) % SIZE] = byte
        self.position += len(whole)
        struct.pack_into("=Q", self.memory, PAGE, self.position)

    def record(self, number: int, payload: bytes, flags: int = 0) -> None:
        data = struct.pack("=IHHQqII", HEADER + len(payload), 0, 0, number, 0, 0, 0).ljust(HEADER, b"\0") + payload
        self.raw(len(data) | flags, data)

    def close(self) -> None:
        self.ring.close()
        self.memory.close()
        os.close(self.fd)


@pytest.fixture
def written() -> Iterator[Written]:
    made = Written()
    yield made
    made.close()


def test_records_that_wrap_come_whole(written: Written) -> None:
    """Of every length, so that the end of the data cuts headers and payloads at every place."""
    for number in range(1, 400):
        payload = bytes([number % 251]) * (number % 97)
        written.record(number, payload)
        ((header, got),) = written.ring.drain()
        assert (header.ts, got) == (number, payload)
    assert written.position > 10 * SIZE


def test_what_is_being_written_stops_and_what_was_discarded_is_skipped(written: Written) -> None:
    written.record(1, b"a")
    written.record(2, b"b", DISCARDED)
    written.record(3, b"c")
    written.record(4, b"d", BUSY)
    written.record(5, b"e")
    assert [header.ts for header, _ in written.ring.drain()] == [1, 3]
    assert written.ring.drain() == []
    assert written.ring.pending() > 0


@given(st.binary(max_size=600), st.integers(0, (1 << 32) - 1))
def test_no_bytes_make_the_reader_leave_the_ring(data: bytes, word: int) -> None:
    made = Written()
    try:
        made.raw(word, data)
        for _, payload in made.ring.drain(10):
            assert len(payload) <= SIZE
    finally:
        made.close()
