# SPDX-License-Identifier: Apache-2.0
"""Fields of the event of a new image are those of the new image; threads have names of their own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, get_type_hints

import pytest

from falco_py.events.event import Event
from falco_py.events.record import KIND_EXEC, Exec
from falco_py.events.syscalls import ROWS
from tests.fields.made import EPOCH_NS, SECOND_NS, event, header, process, table, value

if TYPE_CHECKING:
    from pathlib import Path

    from falco_py.state.processes import ProcessTable


def image(**values: Any) -> Exec:
    empty = {str: "", int: 0, bool: False, bytes: b""}
    defaults = {name: empty.get(kind, ()) for name, kind in get_type_hints(Exec).items()}
    return Exec(**{**defaults, **values})


@pytest.fixture
def processes(tmp_path: Path) -> ProcessTable:
    return table(
        tmp_path,
        process(30, 80, "bash", exe="-bash"),
        process(40, 90, "bash", ppid=30, pstart=80 * SECOND_NS, exe="-bash"),
    )


def executed(processes: ProcessTable) -> Event:
    new = image(
        exepath="/usr/bin/nc.traditional", filename="./nc", args=("nc", "-e", "/bin/sh"), env_raw=b"A=1\0B=2\0",
        cwd="/tmp", loginuid=-1, sid=30, pgid=40, vpgid=40, tty=34816, exe_flags=1 | 2, exe_ino=9, exe_ctime_ns=5,
        exe_mtime_ns=6, vm_size_kb=100, vm_rss_kb=50, fdlimit=1024, pgft_min=7,
        cgroups=(("", "/system.slice/x.service"),),
    )  # fmt: skip
    at = header(kind=KIND_EXEC, comm=b"nc", cap_effective=1 << 13)
    e = Event(ROWS["execve"], at, b"", 1, EPOCH_NS)
    e.table = processes
    e.process = processes.on_exec(at, new)
    e.life = new
    return e


@pytest.mark.parametrize(
    ("name", "wanted"),
    [
        ("evt.type", "execve"), ("evt.res", "SUCCESS"), ("evt.arg.res", "0"), ("evt.arg.exe", "nc"),
        ("evt.arg.filename", "./nc"), ("evt.rawarg.filename", "./nc"),
        ("evt.arg.trusted_exepath", "/usr/bin/nc.traditional"),
        ("evt.rawarg.args", b"-e\0/bin/sh\0"), ("evt.rawarg.env", b"A=1\0B=2\0"), ("evt.arg.comm", "nc"),
        ("evt.arg.flags", "EXE_WRITABLE|EXE_UPPER_LAYER"), ("evt.rawarg.flags", 3), ("evt.rawarg.uid", 0),
        ("evt.rawarg.tid", 40), ("evt.arg._filename", None), ("evt.rawarg.cgroups", b"=/system.slice/x.service\0"),
        ("proc.name", "nc"), ("proc.exe", "nc"), ("proc.exepath", "/usr/bin/nc.traditional"),
        ("proc.cmdline", "nc -e /bin/sh"), ("proc.args", "-e /bin/sh"), ("proc.pname", "bash"), ("proc.aname[0]", "nc"),
        ("proc.env", "A=1 B=2"), ("proc.cwd", "/tmp/"), ("proc.is_exe_writable", True),
        ("proc.is_exe_upper_layer", True), ("proc.is_exe_lower_layer", False), ("proc.tty", 34816),
        ("proc.vmrss", 50), ("proc.exe_ino", 9), ("proc.exe_ino.ctime", 5), ("proc.fdlimit", 1024),
        ("thread.pfminor", 7), ("thread.cap_effective", "CAP_NET_RAW"),
        ("thread.cgroup.cpu", "/system.slice/x.service"),
        ("user.loginuid", -1), ("user.loginname", "<NA>"), ("fd.name", None), ("fd.num", None),
    ],
)  # fmt: skip
def test_field_of_an_exec(name: str, wanted: Any, processes: ProcessTable) -> None:
    assert value(name, executed(processes)) == wanted


def test_parameters_are_printed_without_the_hidden_ones(processes: ProcessTable) -> None:
    text = value("evt.args", executed(processes))
    assert text.startswith("res=0 exe=nc args=-e./bin/sh. ")
    assert "_filename" not in text
    assert value(f"evt.arg[{len(ROWS['execve'].params) - 1}]", executed(processes)) is None


def test_failed_exec_tells_the_old_image_and_the_name_it_asked_for(processes: ProcessTable) -> None:
    from tests.fields.made import path

    e = event("execve", path(b"/nope"), on=processes, ret=-2, comm=b"bash")
    names = ["evt.res", "proc.name", "proc.exe", "evt.arg.filename"]
    assert [value(name, e) for name in names] == ["ENOENT", "bash", "-bash", "/nope"]


def test_name_is_the_threads_and_that_of_ancestors_is_their_process(processes: ProcessTable) -> None:
    e = event("getpid", on=processes, tid=41, comm=b"worker\xff")
    assert value("proc.name", e) == "worker\udcff"
    assert value("proc.cmdline", e) == "worker\udcff"
    assert value("proc.aname[0]", e) == "bash"
    e.process.args = ("-l",)
    assert value("proc.cmdline", e) == "worker\udcff -l"
