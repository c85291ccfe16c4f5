# SPDX-License-Identifier: Apache-2.0
"""Alerts in a file: appended, rotated from outside, over a disk that was full."""

from __future__ import annotations

import os
import stat
import subprocess
from typing import TYPE_CHECKING, Any

import pytest

from falco_py.config.model import FileOutput
from falco_py.outputs.file import File
from tests.outputs.items import item, until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Callable[..., File]]:
    made: list[File] = []

    def make(keep_alive: bool = False, path: Path | None = None, **settings: Any) -> File:
        out = File(FileOutput(str(path or tmp_path / "events.txt"), keep_alive), **settings)
        out.start()
        made.append(out)
        return out

    yield make
    for out in made:
        out.close(5)


def send(out: File, *lines: str) -> None:
    before = out.delivered
    for line in lines:
        out.offer(item(line))
    out.tell()
    until(lambda: out.delivered == before + len(lines))


@pytest.mark.parametrize("keep_alive", [False, True])
def test_lines_are_appended(make: Callable[..., File], tmp_path: Path, keep_alive: bool) -> None:
    path = tmp_path / "events.txt"
    path.write_text("before\n")
    out = make(keep_alive)
    send(out, "one", "two")
    send(out, "three")
    assert path.read_text() == "before\none\ntwo\nthree\n"


def test_without_keep_alive_a_file_that_was_moved_away_is_made_anew(make: Callable[..., File], tmp_path: Path) -> None:
    path = tmp_path / "events.txt"
    out = make()
    send(out, "one")
    path.rename(tmp_path / "events.txt.1")
    send(out, "two")
    assert (path.read_text(), (tmp_path / "events.txt.1").read_text()) == ("two\n", "one\n")


def test_with_keep_alive_the_file_stays_until_it_is_reopened(make: Callable[..., File], tmp_path: Path) -> None:
    path, moved = tmp_path / "events.txt", tmp_path / "events.txt.1"
    out = make(True)
    send(out, "one")
    path.rename(moved)
    send(out, "two")
    assert (moved.read_text(), path.exists()) == ("one\ntwo\n", False)
    out.reopen()
    send(out, "three")
    assert (moved.read_text(), path.read_text()) == ("one\ntwo\n", "three\n")


def test_a_directory_that_is_missing_is_told_and_waited_for(make: Callable[..., File], tmp_path: Path) -> None:
    path = tmp_path / "later" / "events.txt"
    out = make(path=path)
    out.offer(item("one"))
    out.tell()
    until(lambda: out.problem)
    assert out.problem == f"{path}: No such file or directory"
    path.parent.mkdir()
    until(lambda: out.delivered == 1)
    assert (path.read_text(), out.problem, out.lost) == ("one\n", "", 0)


def test_a_full_disk_loses_nothing_and_breaks_no_line(make: Callable[..., File], tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(disk)], check=True)
    try:
        ballast = disk / "ballast"
        ballast.write_bytes(b"x" * 40000)
        out = make(True, disk / "events.txt")
        lines = [f"{number} " + "y" * 3000 for number in range(10)]
        for line in lines:
            out.offer(item(line))
        out.tell()
        until(lambda: out.problem)
        assert "No space left on device" in out.problem
        ballast.unlink()
        until(lambda: out.delivered == 10)
        assert (disk / "events.txt").read_text().splitlines() == lines
        out.close(5)
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def test_a_fifo_that_nobody_reads_holds_up_nothing(make: Callable[..., File], tmp_path: Path) -> None:
    path = tmp_path / "fifo"
    os.mkfifo(path)
    out = make(path=path)
    out.offer(item("one"))
    out.tell()
    until(lambda: out.problem)
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    try:
        until(lambda: out.delivered == 1)
        assert os.read(reader, 10) == b"one\n"
    finally:
        os.close(reader)


def test_the_file_has_the_rights_that_the_umask_leaves(make: Callable[..., File], tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        send(make(), "one")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "events.txt").stat().st_mode) == 0o640
