# SPDX-License-Identifier: Apache-2.0
"""Alerts outlast the process, a full disk, a broken file and another agent; without room the least severe go."""

from __future__ import annotations

import fcntl
import os
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from falco_py.outputs.spool import BROKEN, FILE, LOCK, Spool
from falco_py.outputs.store import IN_MEMORY, ROW_BYTES, Entry, Row, Store

if TYPE_CHECKING:
    from collections.abc import Iterator

AGENT = Path(__file__).resolve().parents[2]
MB = 1 << 20


@pytest.fixture
def directory(tmp_path: Path) -> str:
    return str(tmp_path / "spool")


@pytest.fixture
def spool(directory: str) -> Iterator[Spool]:
    made = Spool(directory, 4, retry_s=0.0)
    yield made
    made.close()


def put(spool: Spool, *bodies: str, priority: int = 4) -> list[str]:
    """Adds them at once; their keys."""
    entries = [spool.entry(priority, "text/plain", body.encode()) for body in bodies]
    spool.add(entries)
    return [entry.key for entry in entries]


def bodies(rows: list[Row]) -> list[str]:
    return [row.entry.body.decode() for row in rows]


def everything(spool: Spool) -> list[Row]:
    found: list[Row] = []
    while rows := spool.exchange((), 1000, MB):
        found += rows
    return found


class TestKeeping:
    def test_what_was_added_is_there_for_the_next_one_that_opens(self, directory: str) -> None:
        first = Spool(directory, 4)
        keys = put(first, "a", "b") + put(first, "c")
        first.close()
        second = Spool(directory, 4)
        rows = everything(second)
        second.close()
        assert bodies(rows) == ["a", "b", "c"]
        assert [row.entry.key for row in rows] == keys
        assert {row.entry.type for row in rows} == {"text/plain"}

    def test_keys_are_never_given_twice(self, directory: str) -> None:
        keys: set[str] = set()
        for _ in range(3):
            one = Spool(directory, 4)
            keys.update(put(one, "a", "b"))
            one.exchange(everything(one), 0, 0)
            one.close()
        assert len(keys) == 6

    def test_what_is_done_is_gone(self, directory: str) -> None:
        first = Spool(directory, 4)
        put(first, "a", "b", "c")
        first.exchange(everything(first)[:2], 0, 0)
        assert (first.waiting, first.size_bytes) == (1, 1 + ROW_BYTES)
        first.close()
        second = Spool(directory, 4)
        assert bodies(everything(second)) == ["c"]
        second.close()

    def test_nothing_is_given_twice_in_one_run(self, spool: Spool) -> None:
        put(spool, "a", "b")
        assert bodies(spool.exchange((), 1, MB)) == ["a"]
        put(spool, "c")
        assert bodies(everything(spool)) == ["b", "c"]

    def test_ids_go_on_when_all_is_done(self, spool: Spool) -> None:
        put(spool, "a")
        spool.exchange(everything(spool), 0, 0)
        put(spool, "b")
        assert bodies(everything(spool)) == ["b"]

    def test_only_so_many_bytes_are_given_but_always_one(self, spool: Spool) -> None:
        put(spool, "a" * 100, "b" * 100, "c" * 100)
        assert len(spool.exchange((), 10, 200)) == 2
        assert len(spool.exchange((), 10, 1)) == 1

    def test_directory_and_file_are_for_the_agent_only(self, tmp_path: Path) -> None:
        spool = Spool(str(tmp_path / "var" / "falco"), 4)
        put(spool, "a")
        assert os.stat(tmp_path / "var" / "falco").st_mode & 0o777 == 0o700
        for name in (FILE, f"{FILE}-wal", LOCK):
            assert os.stat(tmp_path / "var" / "falco" / name).st_mode & 0o777 == 0o600
        spool.close()

    def test_it_is_told_what_waits_of_an_earlier_run(self, directory: str, capfd: pytest.CaptureFixture[str]) -> None:
        first = Spool(directory, 4)
        put(first, "a", "b")
        first.close()
        second = Spool(directory, 4)
        second.open()
        second.close()
        assert "http output: 2 alerts of an earlier run wait, the oldest of " in capfd.readouterr().err

    def test_a_closed_spool_takes_nothing(self, spool: Spool) -> None:
        spool.close()
        with pytest.raises(ValueError, match="closed"):
            put(spool, "a")
        assert everything(spool) == []


class TestBound:
    def test_the_oldest_of_the_least_severe_go_first(self, directory: str) -> None:
        spool = Spool(directory, 4000 / MB)
        body = "x" * (1000 - ROW_BYTES)
        put(spool, "d1" + body[2:], priority=7)
        put(spool, "c1" + body[2:], priority=2)
        put(spool, "d2" + body[2:], priority=7)
        put(spool, "w1" + body[2:], priority=4)
        put(spool, "w2" + body[2:], priority=4)
        put(spool, "c2" + body[2:], priority=2)
        assert [body[:2] for body in bodies(everything(spool))] == ["c1", "w1", "w2", "c2"]
        assert (spool.given_up, spool.stored, spool.waiting) == (2, 6, 4)
        spool.close()

    def test_that_it_is_full_is_told_once_a_minute(self, directory: str, capfd: pytest.CaptureFixture[str]) -> None:
        now_s = 100.0
        spool = Spool(directory, 2000 / MB, clock=lambda: now_s)
        for _ in range(10):
            put(spool, "x" * 500)
        assert capfd.readouterr().err.count("the spool is full (0 MB); 1 alerts were given up so far") == 1
        now_s += 61
        put(spool, "x" * 500)
        assert "8 alerts were given up so far" in capfd.readouterr().err
        spool.close()

    def test_the_newcomer_goes_when_it_is_the_least_severe(self, directory: str) -> None:
        spool = Spool(directory, 2000 / MB)
        put(spool, *["w" * (1000 - ROW_BYTES)] * 2, priority=4)
        put(spool, "d" * (1000 - ROW_BYTES), priority=7)
        assert [body[0] for body in bodies(everything(spool))] == ["w", "w"]
        assert spool.given_up == 1
        spool.close()

    @settings(max_examples=200, deadline=None)
    @given(
        st.lists(
            st.one_of(
                st.lists(st.tuples(st.integers(0, 7), st.integers(0, 900)), max_size=8),  # add
                st.integers(1, 5),  # take so many
                st.just("delete"),  # the first that is out
            ),
            max_size=40,
        )
    )
    def test_it_gives_up_what_a_plain_list_would(self, steps: list[Any]) -> None:
        limit = 4000
        store = Store(IN_MEMORY, limit)
        model: list[list[Any]] = []  # [name, priority, size, out], the oldest first
        out: list[Row] = []
        given_up = expected_given_up = named = 0
        for step in steps:
            if step == "delete":
                if out:
                    row = out.pop(0)
                    store.delete([row.id])
                    model = [kept for kept in model if kept[0] != row.entry.key]
            elif isinstance(step, int):
                expected = [kept for kept in model if not kept[3]][:step]
                taken = store.take(step, MB)
                assert [row.entry.key for row in taken] == [kept[0] for kept in expected]
                out += taken
                for kept in expected:
                    kept[3] = True
            else:
                entries = []
                for priority, size in step:
                    named += 1
                    entries.append(Entry(str(named), 0.0, priority, "", b"x" * size))
                    model.append([str(named), priority, size + ROW_BYTES, False])
                given_up += store.add(entries)
                while sum(kept[2] for kept in model) > limit:
                    victims = [kept for kept in model if not kept[3]]
                    if not victims:
                        break
                    worst = max(kept[1] for kept in victims)
                    model.remove(next(kept for kept in victims if kept[1] == worst))
                    expected_given_up += 1
        assert given_up == expected_given_up
        assert store.waiting == len(model)
        assert store.held_bytes == sum(kept[2] for kept in model)
        store.recall()
        assert [row.entry.key for row in store.take(1000, MB)] == [kept[0] for kept in model]
        store.close()

    def test_the_file_does_not_outgrow_the_bound_whatever_comes(self, directory: str) -> None:
        spool = Spool(directory, 1)
        largest = 0
        for turn in range(60):  # sizes that fill pages badly, severities that go here and there
            for priority in (7, 3, 5, 2):
                put(spool, *["x" * (700 + 331 * ((turn + number) % 9)) for number in range(50)], priority=priority)
            largest = max(largest, os.path.getsize(os.path.join(directory, FILE)))
            assert os.path.getsize(os.path.join(directory, f"{FILE}-wal")) < 4 * MB
        assert largest < 2 * MB
        assert spool.given_up > 10_000
        assert 0.6 * MB < spool.size_bytes <= MB
        kept = {row.entry.priority for row in everything(spool)}
        assert kept == {2}
        spool.close()

    def test_rows_that_fill_half_a_page_do_not_double_the_file(self, directory: str) -> None:
        spool = Spool(directory, 1)
        for _ in range(40):
            put(spool, *["x" * 2100] * 20)
        assert os.path.getsize(os.path.join(directory, FILE)) < 1.25 * MB + 400_000
        assert spool.size_bytes > 0.7 * MB
        spool.close()

    def test_an_empty_spool_gives_its_room_back(self, directory: str) -> None:
        spool = Spool(directory, 16)
        put(spool, *["x" * 4000] * 3000)
        spool.exchange(everything(spool), 0, 0)
        assert os.path.getsize(os.path.join(directory, f"{FILE}-wal")) < 5 * MB
        spool.close()
        assert os.path.getsize(os.path.join(directory, FILE)) < MB


class TestNoDisk:
    def test_where_no_directory_can_be_made_alerts_wait_in_memory(
        self, tmp_path: Path, capfd: pytest.CaptureFixture[str]
    ) -> None:
        (tmp_path / "file").write_text("")
        spool = Spool(str(tmp_path / "file" / "spool"), 4)
        put(spool, "a")
        put(spool, "b")
        assert bodies(everything(spool)) == ["a", "b"]
        assert spool.in_memory
        told = capfd.readouterr().err
        assert told.count("alerts cannot be kept on disk") == 1
        assert "do not survive a restart of the agent" in told
        assert "set http_output.spool.directory to another directory" in told
        spool.close()
        assert spool.lost == 2
        assert "2 alerts that waited in memory are lost" in capfd.readouterr().err

    def test_memory_has_the_same_bound(self, tmp_path: Path) -> None:
        (tmp_path / "file").write_text("")
        spool = Spool(str(tmp_path / "file" / "spool"), 10_000 / MB)
        put(spool, *["x" * (1000 - ROW_BYTES)] * 25)
        assert (spool.waiting, spool.given_up) == (10, 15)
        spool.close()

    def test_two_agents_never_share_one(self, directory: str, capfd: pytest.CaptureFixture[str]) -> None:
        first, second = Spool(directory, 4), Spool(directory, 4)
        put(first, "a")
        put(second, "b")
        assert "another process has" in capfd.readouterr().err
        assert bodies(everything(first)) == ["a"]
        assert bodies(everything(second)) == ["b"]
        first.close()
        second.close()

    def test_who_has_the_lock_has_the_directory(self, directory: str) -> None:
        os.mkdir(directory)
        with open(os.path.join(directory, LOCK), "w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            spool = Spool(directory, 4)
            put(spool, "a")
            assert "another process has" in spool.in_memory
            assert not os.path.exists(os.path.join(directory, FILE))
        spool.close()
        assert spool.lost == 0

    def test_alerts_move_to_the_disk_when_it_can_be_had(
        self, directory: str, capfd: pytest.CaptureFixture[str]
    ) -> None:
        first, second = Spool(directory, 4), Spool(directory, 4, retry_s=0.0)
        put(first, "a")
        keys = put(second, "b")
        first.close()
        keys += put(second, "c")
        assert not second.in_memory
        assert "alerts wait on disk again" in capfd.readouterr().err
        second.close()
        third = Spool(directory, 4)
        rows = everything(third)
        third.close()
        assert bodies(rows) == ["a", "b", "c"]
        assert [row.entry.key for row in rows][1:] == keys

    def test_what_is_out_while_others_move_is_deleted_where_it_is(self, directory: str) -> None:
        first, second = Spool(directory, 4), Spool(directory, 4, retry_s=0.0)
        first.open()
        put(second, "a", "b")
        (row,) = second.exchange((), 1, MB)
        first.close()
        assert bodies(second.exchange((), 10, MB)) == ["b"]  # asking moves them, too
        assert second.waiting == 2
        second.exchange([row], 0, 0)
        assert second.waiting == 1
        second.close()

    def test_at_the_end_the_disk_is_tried_once_more(self, directory: str) -> None:
        first, second = Spool(directory, 4), Spool(directory, 4, retry_s=3600.0)
        first.open()
        put(second, "a", "b")
        everything(second)  # they are out, and were not sent
        first.close()
        second.close()
        assert second.lost == 0
        third = Spool(directory, 4)
        assert bodies(everything(third)) == ["a", "b"]
        third.close()

    def test_the_disk_is_not_tried_with_every_alert(self, tmp_path: Path) -> None:
        (tmp_path / "spool").write_text("")
        now_s = 100.0
        spool = Spool(str(tmp_path / "spool"), 4, retry_s=1.0, clock=lambda: now_s)
        put(spool, "a")
        (tmp_path / "spool").unlink()
        now_s += 0.9
        put(spool, "b")
        assert spool.in_memory
        now_s += 0.2
        put(spool, "c")
        assert not spool.in_memory
        spool.close()

    @pytest.mark.parametrize("fault", ["full", "readonly"])
    def test_a_disk_that_takes_nothing_more_loses_nothing(self, tmp_path: Path, fault: str) -> None:
        """In a mount namespace of its own, on a file system of 1 MB."""
        done = subprocess.run(
            ["unshare", "-m", sys.executable, __file__, fault, str(tmp_path)],
            env={**os.environ, "PYTHONPATH": str(AGENT)},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        assert done.stderr.count("alerts cannot be kept on disk") == 1, done.stderr
        assert done.stderr.count("alerts wait on disk again") == 1, done.stderr


class TestBrokenFile:
    def test_a_file_that_is_no_database_is_kept_aside(self, directory: str, capfd: pytest.CaptureFixture[str]) -> None:
        os.mkdir(directory)
        path = Path(directory, FILE)
        path.write_text("no database at all, " * 500)
        spool = Spool(directory, 4)
        put(spool, "a")
        assert (spool.broken_files, spool.in_memory) == (1, "")
        assert Path(f"{path}{BROKEN}").read_text().startswith("no database")
        told = capfd.readouterr().err
        assert f"{path} is broken (file is not a database); 0 alerts could be read" in told
        spool.close()
        again = Spool(directory, 4)
        assert bodies(everything(again)) == ["a"]
        again.close()

    def test_what_can_be_read_of_a_broken_file_is_sent(self, directory: str) -> None:
        first = Spool(directory, 4)
        put(first, *[f"{number} " + "x" * 500 for number in range(1000)])
        first.close()
        path = Path(directory, FILE)
        data = bytearray(path.read_bytes())
        middle = len(data) // 2 // 4096 * 4096
        data[middle : middle + 4096] = b"\xff" * 4096
        path.write_bytes(data)
        second = Spool(directory, 4)
        numbers = [int(body.split()[0]) for body in bodies(everything(second))]
        assert second.broken_files == 1
        assert len(numbers) == len(set(numbers))
        assert len(numbers) > 950
        second.close()

    def test_a_file_of_another_version_is_kept_aside(self, directory: str) -> None:
        first = Spool(directory, 4)
        put(first, "a")
        first.close()
        database = sqlite3.connect(os.path.join(directory, FILE))
        database.execute("PRAGMA user_version=99")
        database.close()
        second = Spool(directory, 4)
        assert bodies(everything(second)) == ["a"]
        assert second.broken_files == 1
        second.close()

    def test_a_file_that_breaks_while_it_is_used_is_replaced(self, directory: str) -> None:
        spool = Spool(directory, 4, retry_s=0.0)
        put(spool, *[f"{number} " + "x" * 3000 for number in range(1100)])
        path = Path(directory, FILE)
        pages = path.stat().st_size // 4096
        with path.open("r+b") as file:  # what is neither in SQLite's cache nor in the write-ahead log
            for page in range(pages // 8, pages // 4):
                file.seek(page * 4096)
                file.write(b"\xff" * 4096)
        found: set[str] = set()
        for turn in range(5):
            put(spool, f"later{turn}")
            while rows := spool.exchange((), 100, MB):
                found.update(bodies(rows))
        assert {f"later{turn}" for turn in range(5)} <= found
        assert spool.broken_files == 1
        assert spool.lost + len({body.split()[0] for body in found}) >= 1105
        assert spool.in_memory == ""
        spool.close()


class TestKill:
    @pytest.mark.parametrize("batch", [1, 7])
    def test_a_kill_loses_nothing_that_was_accepted(self, directory: str, batch: int) -> None:
        process = subprocess.Popen(
            [sys.executable, __file__, "accept", directory, str(batch)],
            env={**os.environ, "PYTHONPATH": str(AGENT)},
            stdout=subprocess.PIPE,
            text=True,
        )
        assert process.stdout is not None
        accepted = [process.stdout.readline().strip() for _ in range(300)]
        process.send_signal(signal.SIGKILL)
        accepted += [line.strip() for line in process.stdout if line.endswith("\n")]
        process.wait(10)
        process.stdout.close()
        spool = Spool(directory, 64)
        kept = [row.entry.key for row in everything(spool)]
        spool.close()
        assert spool.broken_files == 0
        assert kept[: len(accepted)] == accepted
        assert len(kept) <= len(accepted) + batch  # committed, not yet told


def _accept(directory: str, batch: int) -> None:
    """Accepts until it is killed, and says so each time."""
    spool = Spool(directory, 64)
    while True:
        print("\n".join(put(spool, *["x" * 700] * batch)), flush=True)


def _fault(fault: str, directory: str) -> None:
    """A disk that is full or read-only for a while: all alerts are there at the end."""
    options = "size=1m" if fault == "full" else "size=16m"
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", directory], check=True)
    spool = Spool(directory, 4, retry_s=0.0)
    put(spool, "first")
    if fault == "full":
        with open(os.path.join(directory, "filler"), "wb", buffering=0) as filler:
            try:
                while True:
                    filler.write(b"x" * 4096)
            except OSError:
                pass
    else:
        spool.close()
        subprocess.run(["mount", "-o", "remount,ro", directory], check=True)
        spool = Spool(directory, 4, retry_s=0.0)
    for number in range(20):
        put(spool, f"{number} " + "x" * 10_000)
    assert spool.in_memory, "it was not noticed"
    if fault == "full":
        rows = spool.exchange((), 3, MB)
        assert bodies(rows)[0] == "first"
        spool.exchange(rows[:1], 0, 0)
        os.unlink(os.path.join(directory, "filler"))
    else:
        subprocess.run(["mount", "-o", "remount,rw", directory], check=True)
    put(spool, "last")
    assert not spool.in_memory, spool.in_memory
    assert spool.lost == spool.given_up == 0
    spool.close()
    spool = Spool(directory, 4)
    found = {body.split()[0] for body in bodies(everything(spool))}
    spool.close()
    expected = {"first", "last", *map(str, range(20))}
    assert found == (expected - {"first"} if fault == "full" else expected), found


if __name__ == "__main__":
    if sys.argv[1] == "accept":
        _accept(sys.argv[2], int(sys.argv[3]))
    else:
        _fault(sys.argv[1], sys.argv[2])
