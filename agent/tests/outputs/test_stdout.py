# SPDX-License-Identifier: Apache-2.0
"""Lines reach the reader whole, or are counted as lost."""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING

import pytest

from falco_py.outputs import Stdout

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    ends = os.pipe()
    yield ends
    for end in ends:
        try:
            os.close(end)
        except OSError:
            continue


def drain(fd: int) -> bytes:
    os.set_blocking(fd, False)
    found = b""
    try:
        while block := os.read(fd, 1 << 20):
            found += block
    except BlockingIOError:
        pass
    return found


def test_a_line_is_with_the_reader_at_once(pipe: tuple[int, int]) -> None:
    out = Stdout(fd=pipe[1])
    assert out.write("one")
    assert drain(pipe[0]) == b"one\n"
    assert (out.written, out.lost) == (1, 0)


def test_buffered_lines_wait_for_the_flush(pipe: tuple[int, int]) -> None:
    out = Stdout(fd=pipe[1], buffered=True)
    out.write("one")
    out.write("two")
    assert drain(pipe[0]) == b""
    assert out.flush()
    assert drain(pipe[0]) == b"one\ntwo\n"
    assert out.written == 2


def test_a_full_buffer_goes_out(pipe: tuple[int, int]) -> None:
    out = Stdout(fd=pipe[1], buffered=True, wait_ms=0)
    os.set_blocking(pipe[1], False)
    lines = 0
    while not drain(pipe[0]):
        out.write("x" * 999)
        lines += 1
    assert lines == 66  # 65536 bytes in lines of 1000


def test_what_cannot_be_encoded_is_replaced(pipe: tuple[int, int]) -> None:
    Stdout(fd=pipe[1]).write("é\udcff")
    assert drain(pipe[0]) == "é?\n".encode()


def test_a_reader_that_has_gone_closes_the_output(pipe: tuple[int, int]) -> None:
    os.close(pipe[0])
    out = Stdout(fd=pipe[1])
    assert not out.write("one")
    assert not out.write("two")
    assert out.closed
    assert (out.written, out.lost) == (0, 2)


def test_no_stdout_at_all_closes_the_output(pipe: tuple[int, int]) -> None:
    os.close(pipe[1])
    out = Stdout(fd=pipe[1])
    assert not out.write("one")
    assert out.closed


def test_a_full_disk_loses_lines_but_is_tried_again() -> None:
    full = os.open("/dev/full", os.O_WRONLY)
    try:
        out = Stdout(fd=full)
        assert not out.write("one")
        assert not out.closed
        assert out.lost == 1
    finally:
        os.close(full)


def test_a_slow_reader_sees_whole_lines_only(pipe: tuple[int, int]) -> None:
    os.set_blocking(pipe[1], False)
    out = Stdout(fd=pipe[1], wait_ms=0)
    lines = [f"{number:04d}" + "x" * 9_000 for number in range(40)]
    sent = [line for line in lines if out.write(line)]
    assert out.lost > 0
    seen = drain(pipe[0])
    assert out.write("last")
    seen += drain(pipe[0])
    read = seen.decode().split("\n")[:-1]
    assert set(read) <= {*lines, "last"}
    assert read[-1] == "last"
    assert len(read) == out.written
    assert out.written + out.lost == len(lines) + 1
    assert read[: len(sent)] == sent


def test_a_long_line_is_written_in_parts_to_a_reader_that_keeps_up(pipe: tuple[int, int]) -> None:
    os.set_blocking(pipe[1], False)
    found: list[bytes] = []

    def read() -> None:
        size = 0
        while size < 1_000_001:
            found.append(os.read(pipe[0], 10_000))
            size += len(found[-1])

    reader = threading.Thread(target=read)
    reader.start()
    out = Stdout(fd=pipe[1], wait_ms=5_000)
    assert out.write("x" * 1_000_000)
    reader.join(10)
    assert b"".join(found) == b"x" * 1_000_000 + b"\n"


def test_a_file_is_appended_to(tmp_path: Path) -> None:
    path = tmp_path / "alerts"
    fd = os.open(path, os.O_WRONLY | os.O_CREAT)
    Stdout(fd=fd).write("one")
    os.close(fd)
    assert path.read_text() == "one\n"
