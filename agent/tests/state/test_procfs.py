# SPDX-License-Identifier: Apache-2.0
"""Whatever stands in /proc is read without failing, and means what proc(5) says."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from falco_py.state import procfs
from falco_py.state.process import EXE_FROM_MEMFD
from tests.state.made import SECOND_NS, proc_entry


def read(root: Path, pid: int = 40):  # type: ignore[no-untyped-def]
    return procfs.read_process(root / "proc", pid)


def test_everything_of_a_process_is_read(tmp_path: Path) -> None:
    proc_entry(tmp_path, 40, ppid=1, cgroup=b"5:cpu,cpuacct:/a:b\n1:name=systemd:/c\n0::/d\n")
    found = read(tmp_path)
    assert (found.pid, found.start, found.ppid, found.comm) == (40, 90 * SECOND_NS, 1, "sh")
    assert (found.exe, found.args, found.env, found.cmdline) == ("sh", ("-x",), ("A=b", "C=d"), "sh -x")
    assert (found.exepath, found.cwd) == ("/usr/bin/sh", "/tmp")
    assert (found.uid, found.gid) == (1000, 50)  # the effective ones
    assert (found.pgid, found.sid, found.vpid, found.vpgid) == (11, 3, 9, 2)
    assert (found.tty, found.pgft_min, found.pgft_maj) == (34816, 5, 6)
    assert (found.cap_effective, found.cap_permitted, found.cap_inheritable) == (0xA80425FB, 1, 0)
    assert (found.vm_size_kb, found.vm_rss_kb, found.vm_swap_kb) == (10, 9, 8)
    assert (found.loginuid, found.sessionid, found.fdlimit) == (-1, 0, 1024)
    assert found.cgroups == (("cpu", "/a:b"), ("cpuacct", "/a:b"), ("name=systemd", "/c"), ("", "/d"))
    assert (found.mntns, found.pidns) == (7, 5)


@pytest.mark.parametrize("comm", [b") S 1 (", b"a\nb", b"(((", b")))", b"", b"\xff\xfe", b") R 1 1 1 1 1 1 1 1 1"])
def test_names_cannot_break_the_reading_of_stat(tmp_path: Path, comm: bytes) -> None:
    proc_entry(tmp_path, 40, comm=comm, ppid=77)
    found = read(tmp_path)
    assert found.comm.encode("utf-8", "surrogateescape") == comm
    assert (found.ppid, found.start) == (77, 90 * SECOND_NS)


def test_bytes_that_are_no_utf8_survive(tmp_path: Path) -> None:
    proc_entry(tmp_path, 40, cmdline=b"\xff\0\xc3\0\0", environ=b"\xfe=\xfd\0", cwd=b"/\xff", exe=b"/bin/\xff")
    found = read(tmp_path)
    assert (found.exe, *found.args) == ("\udcff", "\udcc3", "")
    assert os.fsencode(found.cwd) == b"/\xff"
    assert os.fsencode(found.exepath) == b"/bin/\xff"


def test_missing_files_leave_defaults(tmp_path: Path) -> None:
    base = proc_entry(tmp_path, 40)
    for name in ("status", "cmdline", "environ", "loginuid", "sessionid", "cgroup", "limits", "cwd", "exe", "ns/mnt"):
        (base / name).unlink()
    found = read(tmp_path)
    assert (found.comm, found.exe, found.exepath, found.cwd, found.loginuid) == ("sh", "", "", "", -1)
    assert (found.mntns, found.cgroups, found.vpid) == (0, (), 40)


def test_a_process_that_is_gone_is_none(tmp_path: Path) -> None:
    assert read(tmp_path) is None
    assert procfs.pids(tmp_path / "proc") == []


def test_a_memfd_executable_is_marked(tmp_path: Path) -> None:
    proc_entry(tmp_path, 40, exe=b"/memfd:x (deleted)")
    assert read(tmp_path).exe_flags == EXE_FROM_MEMFD


def test_long_argv_is_cut_and_said_to_be(tmp_path: Path) -> None:
    proc_entry(tmp_path, 40, cmdline=b"sh\0" + b"x" * procfs.ARGS_MAX_BYTES)
    found = read(tmp_path)
    assert found.args_truncated
    assert len(found.args[0]) == procfs.ARGS_MAX_BYTES - 3


def test_whole_argv_is_only_taken_when_it_begins_as_the_kernel_said(tmp_path: Path) -> None:
    proc_entry(tmp_path, 40, cmdline=b"sh\0-c\0long long\0more\0")
    start = 90 * SECOND_NS + 5
    proc = tmp_path / "proc"
    assert procfs.read_args(proc, 40, start, ("sh", "-c", "long")) == (("sh", "-c", "long long", "more"), False)
    assert procfs.read_args(proc, 40, start, ("sh", "-x", "long")) is None
    assert procfs.read_args(proc, 40, start, ("sh", "-c", "long long", "more", "x")) is None
    assert procfs.read_args(proc, 40, start + SECOND_NS, ("sh", "-c", "long")) is None
    assert procfs.read_args(proc, 41, start, ("sh",)) is None


def test_this_process_is_read_as_it_is() -> None:
    found = procfs.read_process("/proc", os.getpid())
    assert found is not None
    assert found.exepath == os.path.realpath(sys.executable)
    assert found.cwd == str(Path.cwd())
    assert (found.ppid, found.pgid) == (os.getppid(), os.getpgrp())
    assert found.exe_ino == Path(sys.executable).stat().st_ino
    assert (found.uid, found.gid) == (os.geteuid(), os.getegid())
    assert found.args_text.split(" ")[-1:] == sys.orig_argv[-1].split(" ")[-1:]


def test_a_running_child_is_read_as_it_was_started(tmp_path: Path) -> None:
    with subprocess.Popen(["/bin/sleep", "60"], cwd=tmp_path, env={"K": "v v"}, start_new_session=True) as child:
        try:
            end = time.monotonic() + 10
            found = procfs.read_process("/proc", child.pid)
            # Popen returns when the new image is sure, an instant before its arguments are in place
            while (found is None or not found.args) and time.monotonic() < end:
                found = procfs.read_process("/proc", child.pid)
        finally:
            child.kill()
    assert found is not None
    assert (found.comm, found.cmdline, found.exe, found.env) == ("sleep", "sleep 60", "/bin/sleep", ("K=v v",))
    assert (found.cwd, found.tty, found.pgid) == (str(tmp_path), 0, child.pid)
    assert found.sid == found.vpid


@given(st.binary(max_size=300))
def test_no_content_of_stat_raises(raw: bytes) -> None:
    procfs.parse_stat(raw)
    procfs.parse_cgroups(raw)
    procfs.split_args(raw)
