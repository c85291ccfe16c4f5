# SPDX-License-Identifier: Apache-2.0
"""However an open spells the path, an event that a rule about it matches is told; what no rule names is not."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from falco_py.events.event import Event
from falco_py.events.record import KIND_SYSCALL, Header
from falco_py.events.syscalls import ROWS
from falco_py.kernel.load import Capture
from falco_py.state.processes import ProcessTable
from tests.kernel.test_pushdown import bundle, planned

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from falco_py.rules.bundle import Bundle

pytestmark = pytest.mark.live

# What is appended to a directory that has `sub/`, and leads to `mark` there as a rule's author would write it.
DETOURS = ("mark", "./mark", "sub/../mark", "/mark", "sub/./../mark", "./sub//..//mark", "sub/.././mark")
PLAIN = (".hidden", "..hidden", "dot.", "dots..", "a.b", ".x/..y/z..", "sub/..a", "sub/.a", "...", "a/...")


@pytest.fixture(scope="module")
def capture() -> Iterator[Capture]:
    loaded = Capture()
    loaded.want(("open", "openat"))
    loaded.attach()
    yield loaded
    loaded.close()


def opens(capture: Capture, paths: list[tuple[str, str]]) -> list[Event]:
    """Opens of (working directory, path) in a child."""
    capture.events.drain()
    pid = os.fork()
    if pid == 0:
        for directory, path in paths:
            try:
                os.chdir(directory)
                os.close(os.open(path, os.O_RDONLY))
            except OSError:
                pass
        os._exit(0)
    os.waitpid(pid, 0)
    table = ProcessTable()
    found = []
    for header, payload in capture.events.drain():
        assert isinstance(header, Header)
        if header.pid == pid and header.kind == KIND_SYSCALL:
            event = Event(ROWS["openat"], header, payload, 1, 0)
            event.table, event.process = table, table.get(header)
            found.append(event)
    return found


def matched(rules: Bundle, event: Event) -> bool:
    matcher = rules.matchers["openat"]
    if matcher(event):
        return True
    event.spelling = int(event.other_spelling())
    return bool(event.spelling and matcher(event))


@pytest.mark.parametrize("target", ["file", "missing"])
@pytest.mark.parametrize(
    "asks", ["fd.name = {0}", "fd.filename = mark", "fd.name startswith {0}", "fd.directory = {1}"]
)
def test_detours_of_every_length_to_a_link_are_told(capture: Capture, tmp_path: Path, asks: str, target: str) -> None:
    """Words of eight characters are looked at: each part of a detour comes to stand at every place of one."""
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "file").touch()
    for length in range(1, 18):
        directory = tmp_path / ("d" * length)
        (directory / "sub").mkdir(parents=True)
        (directory / "mark").symlink_to(f"../elsewhere/{target}")
        rules = bundle("evt.type = openat and " + asks.format(directory / "mark", directory))
        capture.filter(planned(rules))
        spelled = [(str(directory), detour.lstrip("/")) for detour in DETOURS]
        spelled += [(str(tmp_path), f"{directory.name}/{detour}") for detour in DETOURS]
        spelled += [("/", f"{directory}/{detour}") for detour in DETOURS]
        spelled += [("/", f"/../{str(directory)[1:]}/{detour}") for detour in DETOURS]
        spelled += [("/", f"{str(directory)[1:]}/{detour}") for detour in DETOURS]
        told = opens(capture, spelled)
        assert len(told) >= len(spelled), (length, [event.fd_nameraw for event in told])
        if target == "file" or "filename" not in asks:  # a failed open has no fd.filename
            assert sum(matched(rules, event) for event in told) == len(spelled)


@pytest.mark.parametrize("end", ["..", "../", "../.", "../sub/.."])
def test_detours_that_end_in_dots_are_told(capture: Capture, tmp_path: Path, end: str) -> None:
    (tmp_path / "elsewhere" / "deep" / "sub").mkdir(parents=True)
    (tmp_path / "elsewhere" / "sub").mkdir()
    for length in range(1, 10):
        directory = tmp_path / ("d" * length)
        directory.mkdir()
        (directory / "far").symlink_to("../elsewhere/deep")
        rules = bundle(f"evt.type = openat and fd.name = {directory}")
        capture.filter(planned(rules))
        told = opens(capture, [("/", f"{directory}/far/{end}"), (str(directory), f"far/{end}")])
        assert sum(matched(rules, event) for event in told) == 2


def test_paths_with_dots_that_lead_nowhere_else_are_decided(capture: Capture, tmp_path: Path) -> None:
    rules = bundle("evt.type = openat and fd.name = /no/such/file", "evt.type = openat and fd.filename = nobody")
    capture.filter(planned(rules))
    for length in range(1, 18):
        directory = tmp_path / ("d" * length)
        for name in PLAIN:
            (directory / name).parent.mkdir(parents=True, exist_ok=True)
            (directory / name).touch()
        spelled = []
        for name in PLAIN:  # between them one that leaves dots where the next path is read to
            spelled += [("/", f"{directory}/{name}"), ("/", "/.." * 80), (str(directory), name), ("/", "/.." * 80)]
        assert {event.fd_name for event in opens(capture, spelled)} == {"/"}


def test_a_named_last_component_is_told_whatever_stands_behind_its_beginning(capture: Capture, tmp_path: Path) -> None:
    """Names are told from others by eight characters first, then whole."""
    names = ["a" * length for length in (1, 7, 8, 9, 16, 62, 63)] + ["b" * 8 + "x"]
    others = ["a" * length for length in (2, 10, 64, 100)] + ["b" * 8, "b" * 8 + "y"]
    rules = bundle(f"evt.type = openat and fd.filename in ({', '.join(names)})")
    capture.filter(planned(rules))
    for name in (*names, *others):
        (tmp_path / name).touch()
    spelled = [("/", f"{tmp_path}/{name}") for name in (*names, *others)]
    spelled += [(str(tmp_path), name) for name in (*names, *others)]
    assert sorted(str(event.fd_name) for event in opens(capture, spelled)) == sorted(
        f"{tmp_path}/{name}" for name in names * 2
    )


ENDS = ("m", "em", ".pem", "key.pem", "_key.pem", "s_key.pem", "rsa_key.pem", "é.pem")


@pytest.mark.parametrize("asks", ["fd.name endswith {0}", "fd.filename endswith {0}", "fd.name glob *{0}"])
def test_files_are_told_by_how_their_names_end(capture: Capture, tmp_path: Path, asks: str) -> None:
    names = [f"{front}{end}" for front in ("", "a", "abcdefgh", "n" * 70) for end in ENDS]
    names += ["pem", "x.pe", "b.pem.bak"]
    for name in names:
        (tmp_path / name).touch()
    (tmp_path / "link.pem").symlink_to("pem")
    (tmp_path / "link").symlink_to("abcdefgh.pem")
    names += ["link.pem", "link"]
    spelled = [("/", f"{tmp_path}/{name}") for name in names] + [(str(tmp_path), name) for name in names]
    for end in ENDS:
        rules = bundle("evt.type = openat and " + asks.format(end))
        capture.filter(planned(rules))
        told = opens(capture, spelled)
        names_of = {path: (path, "abcdefgh.pem" if path.endswith("link") else path) for _, path in spelled}
        expected = [path for _, path in spelled if any(name.endswith(end) for name in names_of[path])]
        assert [event.fd_nameraw for event in told if matched(rules, event)] == expected
        cut = end.encode()[-8:]
        kept = [path for _, path in spelled if any(name.encode().endswith(cut) for name in names_of[path])]
        assert [event.opened_as.raw for event in told if event.opened_as] == kept


@pytest.mark.parametrize("asks", ["fd.name endswith /.ssh/id", "fd.name glob /*/.ssh/id", "fd.name endswith /id"])
def test_files_are_told_by_the_last_component_that_an_end_holds(capture: Capture, tmp_path: Path, asks: str) -> None:
    (tmp_path / ".ssh").mkdir()
    for name in ("id", "xid", "id2", "known"):
        (tmp_path / ".ssh" / name).touch()
    rules = bundle(f"evt.type = openat and {asks}")
    capture.filter(planned(rules))
    told = opens(capture, [("/", f"{tmp_path}/.ssh/{name}") for name in ("id", "xid", "id2", "known")])
    assert [event.fd_name for event in told if matched(rules, event)] == [f"{tmp_path}/.ssh/id"]
    assert len(told) == 1
