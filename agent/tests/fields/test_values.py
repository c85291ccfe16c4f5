# SPDX-License-Identifier: Apache-2.0
"""Fields have the values that Falco gives them."""

from __future__ import annotations

import re
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from falco_py.events.record import ITEM_CUT, ITEM_DIR, ITEM_PATH
from falco_py.fields.catalogue import CATALOGUE
from falco_py.state.process import EXE_FROM_MEMFD
from tests.fields.made import (
    EPOCH_NS,
    SECOND_NS,
    data,
    event,
    file,
    item,
    no_file,
    number,
    path,
    printed,
    process,
    table,
    value,
)

if TYPE_CHECKING:
    from pathlib import Path

    from falco_py.state.processes import ProcessTable

O_WRONLY, O_CREAT = 0o1, 0o100
ID = "c0ffee" + "0" * 58


@pytest.fixture
def processes(tmp_path: Path) -> ProcessTable:
    """init 1 > sshd 20 > bash 30 > cat 40."""
    etc = tmp_path / "etc"
    etc.mkdir()
    (etc / "passwd").write_text("root:x:0:0::/root:/bin/bash\nann:x:1000:1000::/home/ann:/bin/zsh\n")
    (etc / "group").write_text("root:x:0:\nstaff:x:50:\n")
    return table(
        tmp_path,
        process(1, 1, "systemd", exe="/sbin/init", exepath="/usr/lib/systemd/systemd", sid=1, pgid=1),
        process(20, 70, "sshd", ppid=1, pstart=SECOND_NS, exe="sshd:", exepath="/usr/sbin/sshd", args=("-D",),
                env=("LANG=C", "FROM=10.0.0.1"), sid=20, pgid=20, vpgid=20),
        process(30, 80, "bash", ppid=20, pstart=70 * SECOND_NS, exe="-bash", exepath="/usr/bin/bash", sid=30, pgid=30,
                vpgid=30, uid=1000),
        process(40, 90, "cat", ppid=30, pstart=80 * SECOND_NS, exe="/bin/cat", exepath="/usr/bin/cat",
                args=("-n", "/etc/shadow", ""), env=("HOME= /root ", "A=b=c"), cwd="/tmp", loginuid=1000, tty=34816,
                sid=30, pgid=40, vpgid=40, exe_ino=9, exe_ctime_ns=EPOCH_NS - 25 * SECOND_NS,
                exe_mtime_ns=EPOCH_NS - 60 * SECOND_NS, exe_flags=EXE_FROM_MEMFD, vm_size_kb=11, fdlimit=1024,
                cgroups=(("memory", "/a"), ("", "/b"))),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("name", "wanted"),
    [
        ("proc.name", "cat"), ("proc.exe", "/bin/cat"), ("proc.exepath", "/usr/bin/cat"),
        ("proc.cmdline", "cat -n /etc/shadow "), ("proc.exeline", "/bin/cat -n /etc/shadow "),
        ("proc.args", "-n /etc/shadow "), ("proc.args[1]", "/etc/shadow"), ("proc.args[9]", ""),
        ("proc.cmdnargs", 3), ("proc.cmdlenargs", 13), ("proc.pname", "bash"), ("proc.pexe", "-bash"),
        ("proc.pexepath", "/usr/bin/bash"), ("proc.pcmdline", "bash"), ("proc.aname", ("bash", "sshd", "systemd")),
        ("proc.aname[0]", "cat"), ("proc.aname[1]", "bash"), ("proc.aname[3]", "systemd"), ("proc.aname[4]", None),
        ("proc.aexepath[2]", "/usr/sbin/sshd"), ("proc.acmdline[2]", "sshd -D"), ("proc.aargs", " -D "),
        ("proc.apid[1]", 30), ("proc.apid", (30, 20, 1)), ("proc.env[HOME]", "/root"), ("proc.env[A]", "b=c"),
        ("proc.env[NONE]", ""), ("proc.env", "HOME= /root  A=b=c"), ("proc.aenv[FROM]", "10.0.0.1"),
        ("proc.aenv[2]", "LANG=C FROM=10.0.0.1"), ("proc.aenv[NONE]", None), ("proc.cwd", "/tmp/"),
        ("proc.loginshellid", 30), ("proc.tty", 34816), ("proc.pid", 40), ("proc.ppid", 30), ("proc.vpid", 40),
        ("proc.pvpid", 30), ("proc.sid", 30), ("proc.sname", "bash"), ("proc.sid.exe", "-bash"),
        ("proc.sid.exepath", "/usr/bin/bash"), ("proc.pgid.name", "cat"), ("proc.vpgid.name", "cat"),
        ("proc.duration", 10 * SECOND_NS), ("proc.ppid.duration", 20 * SECOND_NS),
        ("proc.pid.ts", EPOCH_NS - 10 * SECOND_NS), ("proc.ppid.ts", EPOCH_NS - 20 * SECOND_NS),
        ("proc.is_exe_from_memfd", True), ("proc.is_exe_writable", False), ("proc.is_exe_upper_layer", False),
        ("proc.is_sid_leader", False), ("proc.is_pgid_leader", True), ("proc.is_vpgid_leader", True),
        ("proc.exe_ino", 9), ("proc.exe_ino.ctime", EPOCH_NS - 25 * SECOND_NS),
        ("proc.exe_ino.ctime_duration_proc_start", 15 * SECOND_NS), ("proc.exe_ino.ctime_duration_pidns_start", None),
        ("proc.pidns_init_start_ts", None), ("proc.vmsize", 11), ("proc.fdlimit", 1024), ("proc.nthreads", None),
        ("proc.stdin.type", None), ("fd.types", None), ("thread.tid", 40), ("thread.ismain", True),
        ("thread.cgroups", "memory=/a =/b"), ("thread.cgroup.memory", "/a"), ("thread.cgroup.cpu", "/b"),
        ("thread.cgroup.pids", None), ("thread.vmsize", 11), ("user.uid", 0), ("user.name", "root"),
        ("user.homedir", "/root"), ("user.shell", "/bin/bash"), ("user.loginuid", 1000), ("user.loginname", "ann"),
        ("group.gid", 0), ("group.name", "root"), ("container.id", "host"), ("container.full_id", "host"),
        ("container.name", "host"), ("container.type", "host"), ("container.privileged", None),
        ("container.image.repository", None), ("container.start_ts", None), ("k8s.pod.name", None),
    ],
)  # fmt: skip
def test_process_field(name: str, wanted: Any, processes: ProcessTable) -> None:
    assert value(name, event("getpid", on=processes)) == wanted


@pytest.mark.parametrize(
    ("name", "wanted"),
    [
        ("proc.aname", "bash sshd systemd"), ("proc.aname[2]", "sshd"), ("proc.apid", 40), ("proc.apid[2]", 20),
        ("proc.aenv", " LANG=C FROM=10.0.0.1 "), ("evt.type.is.open", None),
    ],
)  # fmt: skip
def test_process_field_in_an_output(name: str, wanted: Any, processes: ProcessTable) -> None:
    assert printed(name, event("getpid", on=processes)) == wanted


def test_ids_are_those_of_the_thread_at_the_event(processes: ProcessTable) -> None:
    e = event("getpid", on=processes, uid=1000, gid=50, tid=41, cap_effective=1 << 21 | 1)
    names = ["user.uid", "user.name", "group.name", "thread.ismain", "thread.cap_effective", "thread.cap_permitted"]
    assert [value(name, e) for name in names] == [1000, "ann", "staff", False, "CAP_CHOWN CAP_SYS_ADMIN", ""]


def test_names_that_nobody_knows_are_a_text_not_missing(processes: ProcessTable) -> None:
    e = event("getpid", on=processes, uid=4242, gid=4242)
    names = ["user.name", "user.homedir", "user.shell", "group.name"]
    assert [value(name, e) for name in names] == ["<NA>"] * 4
    e.process.loginuid = -1
    e.process.exepath = ""
    assert value("user.loginname", e) == value("proc.exepath", e) == "<NA>"


def test_session_leader_in_a_container_is_found_in_its_own_pid_namespace(tmp_path: Path) -> None:
    inside = {"pidns": 5, "sid": 1, "vpgid": 1}
    processes = table(
        tmp_path,
        process(1, 1, "systemd", sid=1, pidns=4),
        process(30, 80, "nginx", ppid=1, pstart=SECOND_NS, vpid=1, exe="nginx:", **inside),
        process(40, 90, "sh", ppid=30, pstart=80 * SECOND_NS, vpid=9, **inside),
    )
    e = event("getpid", on=processes, vpid=9)
    assert value("proc.sname", e) == value("proc.vpgid.name", e) == "nginx"


def test_container_fields_read_the_facts_of_enrichment(processes: ProcessTable) -> None:
    e = event("getpid", on=processes)
    own = e.process
    own.container_id, own.full_container_id, own.container_engine, own.pod_uid = ID[:12], ID, "containerd", "u-1"
    own.pidns_start_ns = 60 * SECOND_NS
    assert value("container.id", e) == ID[:12]
    assert value("container.name", e) is None
    assert value("container.type", e) == "containerd"
    assert value("k8s.pod.uid", e) == value("k8smeta.pod.uid", e) == "u-1"
    assert value("container.start_ts", e) == EPOCH_NS - 40 * SECOND_NS
    assert value("container.duration", e) == 40 * SECOND_NS
    mount = SimpleNamespace(source="/var/x", destination="/etc/x", mode="ro", rdwr=False, propagation="private")
    own.container = SimpleNamespace(
        name="web", image="docker.io/nginx:1", image_repository="docker.io/nginx", image_tag="", privileged=True,
        mounts=(mount,), labels={"app": "x", "io.kubernetes.pod.name": "p", "b": "y"}, pod_name="web-0",
        pod_namespace="shop", pod_sandbox_id="f" * 64, pod_labels={"tier": "front"},
    )  # fmt: skip
    wanted = {
        "container.name": "web", "container.image": "docker.io/nginx:1", "container.image.tag": None,
        "container.image.repository": "docker.io/nginx", "container.privileged": True, "container.label[app]": "x",
        "container.label[none]": None, "container.labels": "app:x, b:y", "k8s.pod.name": "web-0",
        "k8s.ns.name": "shop", "k8s.pod.sandbox_id": "f" * 12, "k8s.pod.label[tier]": "front",
        "k8smeta.pod.labels": ("tier:front",), "container.mounts": "/var/x:/etc/x:ro:false:private",
        "container.mount[0]": "/var/x:/etc/x:ro:false:private", "container.mount[1]": None,
        "container.mount[/var/*]": "/var/x:/etc/x:ro:false:private", "container.mount.source[/etc/x]": "/var/x",
        "container.mount.dest[/var/x]": "/etc/x", "container.mount.rdwr[0]": "false",
        "container.mount.mode[/nope]": None, "container.ip": None, "fd.containername": None,
    }  # fmt: skip
    assert {name: value(name, e) for name in wanted} == wanted


def opened(
    processes: ProcessTable, flags: int, ret: int = 3, name: bytes = b"/etc/shadow", mode: int = 0o100644
) -> Any:
    fd = file(ret, name, mode) if ret >= 0 else no_file(ret)
    payload = fd + number(-100) + path(b"shadow", b"/etc") + number(flags) + number(0o755)
    return event("openat", payload, on=processes, ret=ret)


def test_fields_of_a_successful_open(processes: ProcessTable) -> None:
    e = opened(processes, 0)
    wanted = {
        "evt.type": "openat", "syscall.type": "openat", "evt.num": 5, "evt.cpu": 3, "evt.res": "SUCCESS",
        "evt.rawres": 3, "evt.failed": False, "evt.category": "file", "evt.is_open_read": True,
        "evt.is_open_write": False, "evt.is_open_exec": False, "fd.num": 3, "fd.name": "/etc/shadow",
        "fd.directory": "/etc", "fd.filename": "shadow", "fd.type": "file", "fd.typechar": "f",
        "fd.nameraw": "shadow", "fd.ino": 77, "fd.dev": 8 << 8 | 1, "fd.dev.major": 8, "fd.dev.minor": 1,
        "fd.uid": "403", "fd.containername": "host:/etc/shadow", "fd.containerdirectory": "host:/etc",
        "fs.path.name": "/etc/shadow", "fs.path.nameraw": "shadow", "fs.path.source": None, "fd.ip": None,
        "fd.sip": None, "fd.sport": None, "fd.snet": None, "fd.sproto": None, "fd.sockfamily": None,
        "evt.abspath": "/etc/shadow", "evt.type.is.openat": 1, "evt.type.is.open": 0, "evt.count.error": 0,
        "evt.count.error.file": 0, "evt.count.error.net": None, "evt.is_io": False, "evt.dir": "<",
        "evt.arg.fd": "<f>/etc/shadow", "evt.arg[0]": "<f>/etc/shadow", "evt.arg.request": None, "evt.arg[99]": None,
        "evt.rawarg.fd": 3, "evt.rawarg.name": "shadow", "evt.rawarg.request": None,
    }  # fmt: skip
    assert {name: value(name, e) for name in wanted} == wanted
    assert "name=shadow(/etc/shadow)" in value("evt.args", e) == value("evt.info", e)


def test_fields_of_a_failed_open(processes: ProcessTable) -> None:
    e = opened(processes, O_WRONLY, ret=-2)
    wanted = {
        "evt.res": "ENOENT", "evt.rawres": -2, "evt.failed": True, "evt.is_open_write": True, "fd.num": -1,
        "fd.name": "/etc/shadow", "fd.directory": "/etc", "fd.filename": None, "fd.type": None, "fd.typechar": "f",
        "fd.dev": None, "fd.ino": None, "fs.path.name": None, "evt.count.error": 1, "evt.count.error.file": 1,
    }  # fmt: skip
    assert {name: value(name, e) for name in wanted} == wanted


def test_open_that_makes_an_executable(processes: ProcessTable) -> None:
    assert value("evt.is_open_exec", opened(processes, O_CREAT | O_WRONLY))
    assert not value("evt.is_open_exec", opened(processes, O_WRONLY))
    assert not value("evt.is_open_create", opened(processes, O_CREAT | O_WRONLY))  # it was there before


def test_directory_of_names_without_a_directory(processes: ProcessTable) -> None:
    assert value("fd.directory", opened(processes, 0, name=b"/x")) == "/"
    assert value("fd.directory", opened(processes, 0, name=b"/var/log", mode=0o040755)) == "/var/log"
    assert value("fd.filename", opened(processes, 0, name=b"/var/log", mode=0o040755)) is None


def test_fd_fields_are_missing_for_events_without_an_fd(processes: ProcessTable) -> None:
    e = event("getpid", on=processes)
    names = ["fd.num", "fd.name", "fd.type", "fd.typechar", "fd.directory", "fd.l4proto", "fd.is_server", "fd.uid"]
    assert [value(name, e) for name in names] == [None] * len(names)


def test_paths_of_renames_and_links(processes: ProcessTable) -> None:
    renamed = event("rename", path(b"a", b"/home") + path(b"/tmp/../b"), on=processes)
    assert value("fs.path.source", renamed) == "/home/a"
    assert value("fs.path.sourceraw", renamed) == "a"
    assert value("fs.path.target", renamed) == "/b"
    assert value("fs.path.name", renamed) is None
    linked = event("link", path(b"/old") + path(b"/new"), on=processes)
    assert (value("fs.path.source", linked), value("fs.path.target", linked)) == ("/new", "/old")
    failed = event("rename", path(b"a", b"/home") + path(b"/b"), on=processes, ret=-1)
    assert value("fs.path.source", failed) is None


def test_path_with_an_unknown_directory_is_marked(processes: ProcessTable) -> None:
    payload = item(ITEM_PATH, b"x") + item(ITEM_DIR, flags=ITEM_CUT)
    assert value("fs.path.name", event("unlink", payload, on=processes)) == "<UNKNOWN>/x"


def test_io_fields(processes: ProcessTable) -> None:
    payload = file(4, b"/etc/x") + data(b"secret") + number(4) + number(6)
    e = event("write", payload, on=processes, ret=6)
    names = ["evt.is_io", "evt.is_io_write", "evt.is_io_read", "evt.io_dir", "evt.buffer", "evt.buflen", "evt.category"]
    assert [value(name, e) for name in names] == [True, True, False, "write", b"secret", 6, "file"]
    assert value("evt.buflen", event("write", payload, on=processes, ret=-9)) is None


def test_times_print_as_text_and_are_numbers_in_json(processes: ProcessTable) -> None:
    e = event("getpid", on=processes)
    assert re.fullmatch(r"\d\d:\d\d:20\.123456789", value("evt.time", e))
    assert value("evt.time.iso8601", e) == "2023-11-14T22:13:20.123456789+0000"
    assert re.fullmatch(r"2023-11-1\d \d\d:\d\d:20", value("evt.datetime.s", e))
    assert value("evt.rawtime.s", e) == 1_700_000_000
    assert value("evt.rawtime.ns", e) == 123_456_789
    json_code = CATALOGUE["evt.time"].json_code
    assert json_code is not None
    assert eval(json_code(None), {}, {"e": e}) == EPOCH_NS


def test_times_follow_the_second(processes: ProcessTable) -> None:
    e = event("getpid", on=processes)
    before = value("evt.time.iso8601", e)
    e.ts += SECOND_NS
    assert value("evt.time.iso8601", e) == before.replace(":20.", ":21.")


def test_around_compares_milliseconds(processes: ProcessTable) -> None:
    e = event("getpid", on=processes)
    assert value(f"evt.around[{EPOCH_NS + 2_000_000}]", e) == 2
    assert value(f"evt.around[{EPOCH_NS + 2_000_000}]", e) != 1


def test_counter_goes_up(processes: ProcessTable) -> None:
    e = event("getpid", on=processes)
    first = value("util.cnt", e)
    assert value("util.cnt", e) == first + 1


def test_delta_is_the_time_since_the_event_before(processes: ProcessTable) -> None:
    e = event("getpid", on=processes)
    value("evt.deltatime", e)
    e.num, e.ts = 6, e.ts + 5
    assert value("evt.deltatime", e) == 5
    assert value("evt.deltatime", e) == 5


def test_life_cycle_events_are_no_system_calls(processes: ProcessTable) -> None:
    e = event("procexit", on=processes)
    assert value("evt.type", e) == "procexit"
    assert value("syscall.type", e) is None
