# SPDX-License-Identifier: Apache-2.0
"""Two rings are read as one stream in the order of time."""

from __future__ import annotations

import os
import time
from types import SimpleNamespace
from typing import Any

import pytest

from falco_py.events.record import Header
from falco_py.kernel import reader
from falco_py.kernel.reader import Reader


class FakeRing:
    """A ring whose records are added by the test."""

    def __init__(self) -> None:
        self.records: list[Any] = []

    def drain(self, most: int = 1 << 30) -> list[Any]:
        taken, self.records = self.records[:most], self.records[most:]
        return taken

    def pending(self) -> int:
        return len(self.records)


def record(ts: int, name: bytes) -> tuple[Header, bytes]:
    return Header(0, 0, ts, 0, 0, 0, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, name, 0, 0, 0), b""


@pytest.fixture
def rings() -> Any:
    read_end, write_end = os.pipe()
    other, other_write = os.pipe()
    numbers = SimpleNamespace(native={}, compat={})
    capture = SimpleNamespace(events=FakeRing(), life=FakeRing(), events_fd=read_end, life_fd=other, numbers=numbers)
    yield capture
    for fd in (read_end, write_end, other, other_write):
        os.close(fd)


def names(batch: list[Any]) -> list[bytes]:
    return [header.comm for header, _ in batch]


def test_records_come_in_the_order_of_time(rings: Any) -> None:
    source = Reader(rings)
    now = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
    rings.events.records = [record(now - 8, b"e1"), record(now - 4, b"e2")]
    rings.life.records = [record(now - 6, b"l1"), record(now - 4, b"l2")]
    assert names(source.batch()) == [b"e1", b"l1", b"l2", b"e2"]
    source.close()


def test_life_records_wait_for_the_system_calls_before_them(rings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reader, "BATCH", 2)
    source = Reader(rings)
    now = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
    rings.events.records = [record(now - 9, b"e1"), record(now - 8, b"e2"), record(now - 7, b"e3")]
    rings.life.records = [record(now - 6, b"exec")]
    assert names(source.batch()) == [b"e1", b"e2"]
    assert names(source.batch()) == [b"e3", b"exec"]
    source.close()


class HeldUpRing(FakeRing):
    """A ring whose first record is still being written."""

    busy = True

    def drain(self, most: int = 1 << 30) -> list[Any]:
        return [] if self.busy else super().drain(most)


def test_life_records_wait_for_a_system_call_that_is_being_written(rings: Any) -> None:
    rings.events = HeldUpRing()
    source = Reader(rings)
    now = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
    rings.events.records = [record(now - 9, b"open")]
    rings.life.records = [record(now - 8, b"exec")]
    assert source.batch() == []
    rings.events.busy = False
    assert names(source.batch()) == [b"open", b"exec"]
    source.close()


def test_nothing_is_lost_or_told_twice(rings: Any) -> None:
    source = Reader(rings)
    far = time.clock_gettime_ns(time.CLOCK_BOOTTIME) + 10**12
    rings.life.records = [record(far, b"later")]
    assert source.batch() == []
    rings.events.records = [record(far + 1, b"e")]
    assert names(source.batch()) == [b"later", b"e"]
    assert source.batch() == []
    source.close()


def test_one_wait_ends_at_once_when_it_was_waked(rings: Any) -> None:
    source = Reader(rings)
    source.wake()
    source.wake()
    began = time.monotonic()
    source.wait(60)
    assert time.monotonic() - began < 30
    began = time.monotonic()
    source.wait(0.2)
    assert time.monotonic() - began >= 0.2
    source.close()
