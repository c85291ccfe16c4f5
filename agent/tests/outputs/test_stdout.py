# SPDX-License-Identifier: Apache-2.0
"""Lines reach the reader whole and in order, or are counted as lost."""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING, Any

import pytest

from falco_py.outputs.stdout import Stdout
from tests.outputs.items import item, until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    ends = os.pipe()
    yield ends
    for end in ends:
        try:
            os.close(end)
        except OSError:
            continue


@pytest.fixture
def make(pipe: tuple[int, int]) -> Iterator[Callable[..., Stdout]]:
    made: list[Stdout] = []

    def make(**settings: Any) -> Stdout:
        out = Stdout(fd=pipe[1], **settings)
        made.append(out)
        out.start()
        return out

    yield make
    for out in made:
        reader = threading.Thread(target=lambda: drain(pipe[0]))
        reader.start()
        out.close(5)
        reader.join()


def drain(fd: int) -> bytes:
    found = b""
    try:
        os.set_blocking(fd, False)
        while block := os.read(fd, 1 << 20):
            found += block
    except OSError:  # nothing more, or closed by the test
        pass
    return found


def send(out: Stdout, *lines: str) -> None:
    for line in lines:
        out.offer(item(line))
    out.tell()


def test_lines_are_with_the_reader_soon(pipe: tuple[int, int], make: Callable[..., Stdout]) -> None:
    out = make()
    send(out, "one", "zwei: \udcff")
    assert os.read(pipe[0], 100) == b"one\nzwei: ?\n"
    until(lambda: out.delivered == 2)
    assert (out.lost, out.waiting, out.problem) == (0, 0, "")


def test_buffered_lines_wait_for_a_block(pipe: tuple[int, int], make: Callable[..., Stdout]) -> None:
    out = make(buffered=True)
    line = "x" * 1023
    send(out, *[line] * 63)
    assert drain(pipe[0]) == b""
    os.set_blocking(pipe[0], True)
    send(out, line)
    assert os.read(pipe[0], 1) == b"x"
    until(lambda: out.delivered == 64)


def test_buffered_lines_go_out_after_a_while_and_at_the_end(pipe: tuple[int, int], make: Callable[..., Stdout]) -> None:
    out = make(buffered=True)
    send(out, "one")
    os.set_blocking(pipe[0], True)
    assert os.read(pipe[0], 100) == b"one\n"
    send(out, "two")
    out.close(10)
    assert os.read(pipe[0], 100) == b"two\n"


def test_a_reader_that_is_slow_gets_whole_lines_only(pipe: tuple[int, int], make: Callable[..., Stdout]) -> None:
    os.set_blocking(pipe[1], False)
    out = make(timeout_ms=50)
    lines = [f"{number} " + "y" * 30000 for number in range(8)]
    send(out, *lines)
    until(lambda: out.problem)
    assert "takes nothing" in out.problem
    found = b""
    while found.count(b"\n") < len(lines):
        found += drain(pipe[0])
    assert found.decode().splitlines() == lines
    until(lambda: out.delivered == 8)
    until(lambda: not out.problem)
    assert out.lost == 0


def test_a_reader_that_has_gone_is_told_once_and_lines_are_lost(
    pipe: tuple[int, int], make: Callable[..., Stdout]
) -> None:
    gone = threading.Event()
    out = make(on_gone=gone.set)
    os.close(pipe[0])
    send(out, "one", "two")
    assert gone.wait(10)
    until(lambda: out.lost == 2)
    send(out, "three")
    assert (out.lost, out.delivered, out.waiting, out.gone) == (3, 0, 0, True)


def test_what_a_blocked_reader_leaves_is_lost_at_the_end(pipe: tuple[int, int]) -> None:
    out = Stdout(fd=pipe[1])
    out.start()
    send(out, *["z" * 30000] * 10)
    until(lambda: out.busy_since_s)
    out.close(0.2)
    assert out.lost == 10
    drain(pipe[0])
