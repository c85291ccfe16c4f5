# SPDX-License-Identifier: Apache-2.0
"""Parameters print as Falco prints them, and nothing that a process passes makes printing fail."""

from __future__ import annotations

import socket
import struct
import time
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from falco_py.events import text
from falco_py.events.event import Event
from falco_py.events.model import Kernel, Op
from falco_py.events.record import (
    ITEM_CUT,
    ITEM_DATA,
    ITEM_DIR,
    ITEM_FD,
    ITEM_NULL,
    ITEM_PATH,
    ITEM_SOCKADDR,
    ITEM_STRING,
    ITEM_VALUE,
    KIND_SYSCALL,
    Header,
    SockAddr,
)
from falco_py.events.symbols import ERRNO, errno_name, signal_name
from falco_py.events.syscalls import ROWS

FD_FILE = 16
USERS = {0: "root", 1000: "ann"}


def item(tag: int, raw: bytes = b"", flags: int = 0) -> bytes:
    return struct.pack("=HBB", len(raw), tag, flags) + raw


def number(value: int) -> bytes:
    return item(ITEM_VALUE, struct.pack("=Q", value & 0xFFFFFFFFFFFFFFFF))


def string(raw: bytes) -> bytes:
    return item(ITEM_STRING, raw)


def path(raw: bytes, base: bytes | None = None) -> bytes:
    return item(ITEM_PATH, raw) + (item(ITEM_DIR, base) if base is not None else item(ITEM_DIR, flags=ITEM_CUT))


def file(num: int, name: bytes, mode: int = 0o100644) -> bytes:
    return item(ITEM_FD, struct.pack("=iHBBIIQII", num, mode, 0, FD_FILE, 8 << 20 | 1, 0xEF53, 77, 0, 0) + name)


def header(ret: int = 0, **values: Any) -> Header:
    fields = dict.fromkeys(Header._fields, 0) | {
        "kind": KIND_SYSCALL,
        "ret": ret,
        "pid": 100,
        "tid": 101,
        "ppid": 1,
        "comm": b"worker",
        "uid": 1000,
        "cap_effective": 0x1FF,
    }
    return Header(**(fields | values))


def event(name: str, *items: bytes, ret: int = 0, life: Any = None, **values: Any) -> Event:
    made = Event(ROWS[name], header(ret, **values), b"".join(items), 1, 1_700_000_000_000_000_000)
    made.process = SimpleNamespace(
        pid=100, comm="bash", exe="-bash", args=("-c", "ls"), env=("A=1",), cwd="/home", exepath="/bin/bash",
        cgroups=(("", "/system.slice"),), filename="bash", fdlimit=1024, exe_ctime_ns=1_700_000_000_000_000_001,
    )  # fmt: skip
    others = {7: SimpleNamespace(comm="victim")}
    users = SimpleNamespace(
        user_name=lambda _process, uid: USERS.get(uid),
        group_name=lambda _process, gid: {0: "wheel"}.get(gid),
    )
    made.table = SimpleNamespace(by_pid=others.get, users=users)
    made.life = life
    return made


def arg(made: Event, name: str) -> str | None:
    index = text.find_param(made.row, name)
    assert index is not None
    return text.arg_text(made, index)


def raw(made: Event, name: str) -> str | None:
    index = text.find_param(made.row, name)
    assert index is not None
    return text.raw_text(made, index)


def test_all_parameters_of_an_open() -> None:
    made = event(
        "openat",
        file(3, b"/etc/passwd"),
        number(-100),
        path(b"passwd", b"/etc"),
        number(0o1001),
        number(0o644),
        ret=3,
    )
    assert text.args_text(made) == (
        "fd=3(<f>/etc/passwd) dirfd=-100(AT_FDCWD) name=passwd(/etc/passwd) flags=258(O_TRUNC|O_WRONLY) mode=0 "
        "dev=801 ino=77"
    )


def test_the_mode_of_an_open_counts_only_when_it_makes_a_file() -> None:
    def opened(flags: int) -> Event:
        return event("openat", file(3, b"/a"), number(-100), path(b"/a"), number(flags), number(0o644), ret=3)

    assert arg(opened(0o101), "mode") == "0644"
    assert arg(opened(0), "mode") == "0"
    assert arg(opened(0o101), "flags") == "O_CREAT|O_WRONLY"
    assert raw(opened(0o101), "flags") == "6"


def test_only_a_relative_path_has_a_resolved_form() -> None:
    assert text.pair(event("rmdir", path(b"/tmp/../x")), 1) == ("/tmp/../x", "")
    assert text.pair(event("rmdir", path(b"../x", b"/tmp/a")), 1) == ("../x", "/tmp/x")
    assert text.pair(event("rmdir", path(b"../x")), 1) == ("../x", "")
    assert text.pair(event("rmdir", item(ITEM_NULL), item(ITEM_DIR)), 1) == ("<NA>", "")


def test_results() -> None:
    assert [text.res_text(res) for res in (0, 5, -2, -512, -9999)] == [
        "SUCCESS",
        "SUCCESS",
        "ENOENT",
        "ERESTARTSYS",
        "-9999",
    ]
    failed = event("rmdir", path(b"/x"), ret=-2)
    assert text.args_text(failed) == "res=-2(ENOENT) path=/x"


def test_a_failed_open_names_the_error() -> None:
    made = event("open", item(ITEM_FD, b""), path(b"/x"), number(0), number(0), ret=-13)
    assert text.pair(made, 0) == ("-13", "EACCES")


def test_an_fd_that_the_event_did_not_resolve_is_a_number() -> None:
    made = event("dup2", file(9, b"/dev/null", 0o20666), number(4), number(9), ret=9)
    assert (arg(made, "oldfd"), arg(made, "newfd"), arg(made, "res")) == ("4", "<f>/dev/null", "<f>/dev/null")


def test_a_process_is_shown_by_name() -> None:
    made = event("kill", number(7), number(9))
    assert text.args_text(made) == "res=0 pid=7(victim) sig=9(SIGKILL)"
    assert arg(event("kill", number(101), number(9)), "pid") == "worker"
    assert arg(event("kill", number(8), number(0)), "pid") == "8"
    assert arg(event("kill", number(-1), number(0)), "pid") == "-1"


def test_users_and_groups() -> None:
    made = event("setresuid", number(0), number(5), number(0xFFFFFFFF))
    assert text.args_text(made) == "res=0 ruid=0(root) euid=5(<NA>) suid=-1(<NONE>)"
    assert arg(event("setgid", number(0)), "gid") == "wheel"
    assert arg(event("setregid", number(0), number(1)), "rgid") == "wheel"
    assert text.args_text(event("getuid", ret=1000)) == "uid=1000(ann)"


def test_bytes_show_dots() -> None:
    made = event("write", file(1, b"/x"), item(ITEM_DATA, b"a b\n\0\xff~"), number(1), number(7), ret=7)
    assert arg(made, "data") == "a b...~"
    assert text.raw_value(made, 1) == b"a b\n\0\xff~"
    empty = event("write", file(1, b"/x"), item(ITEM_DATA, b""), number(1), number(0))
    assert arg(empty, "data") == "NULL"


def test_lists_of_a_process_end_each_item_as_the_kernel_does() -> None:
    made = event("execve", life=SimpleNamespace(filename="/bin/ls", exe_flags=1, loginuid=-1, env=("A=1", "B=2")))
    assert arg(made, "args") == "-c.ls."
    assert arg(made, "env") == "A=1.B=2."
    assert arg(made, "cgroups") == "=/system.slice."
    assert arg(made, "flags") == "EXE_WRITABLE"
    assert (raw(made, "loginuid"), arg(made, "loginuid")) == ("-1", "<NONE>")
    assert (arg(made, "tid"), arg(made, "ptid"), arg(made, "cap_effective")) == ("worker", "1", "1FF")
    assert arg(made, "filename") == "/bin/ls"


def test_a_failed_exec_tells_what_it_was_asked_for() -> None:
    made = event("execve", path(b"./nope", b"/tmp"), ret=-2)
    assert (arg(made, "res"), arg(made, "filename"), raw(made, "filename")) == ("ENOENT", "/tmp/nope", "./nope")


def test_hidden_parameters_are_not_printed() -> None:
    made = event("nanosleep", number(1), number(500_000_000))
    assert text.args_text(made) == "res=0 interval=1500000000(1.5s)"


@pytest.mark.parametrize(("status", "shown"), [(0x100, "ret=1 sig=0 core=0"), (0x8B, "ret=0 sig=11(SIGSEGV) core=1")])
def test_the_end_of_a_process(status: int, shown: str) -> None:
    made = event("procexit", life=SimpleNamespace(status=status, reaper=7))
    assert text.args_text(made) == f"status={status} {shown} reaper_tid=7(victim)"


def test_addresses() -> None:
    def bound(sockaddr: bytes) -> str | None:
        return arg(event("bind", item(ITEM_FD, b""), item(ITEM_SOCKADDR, sockaddr), number(3)), "addr")

    inet = struct.pack("=H", socket.AF_INET) + b"\x00\x50\x7f\x00\x00\x01" + bytes(8)
    assert bound(inet) == "127.0.0.1:80"
    assert bound(struct.pack("=H", socket.AF_UNIX) + b"/run/x.sock\0") == "/run/x.sock"
    assert bound(struct.pack("=H", 16) + bytes(10)) == "family 16"
    assert text.pair(event("bind", item(ITEM_FD, b""), item(ITEM_NULL), number(3)), 1) == ("<NA>", "")


def test_modes() -> None:
    made = event("chmod", path(b"/x"), number(0o4755))
    assert text.pair(made, 2) == ("04755", "S_IXOTH|S_IROTH|S_IXGRP|S_IRGRP|S_IXUSR|S_IWUSR|S_IRUSR|S_ISUID")


def test_number_formats() -> None:
    assert text.number_text(0xABC, "hex") == "ABC"
    assert text.number_text(-1, "hex", 32) == "FFFFFFFF"
    assert text.number_text(0o644, "oct") == "0644"
    assert text.number_text(0, "oct") == "0"
    assert text.number_text(-5, "dec") == "-5"


def test_prctl_has_a_string_only_where_the_option_takes_one() -> None:
    made = event("prctl", number(15), string(b"kworker"), number(0x7FFE))
    assert (arg(made, "option"), arg(made, "arg2_str")) == ("PR_SET_NAME", "kworker")
    assert arg(event("prctl", number(4), string(b"junk"), number(1)), "arg2_str") == ""


def test_ptrace_data_is_a_signal_when_the_request_delivers_one() -> None:
    assert arg(event("ptrace", number(0xDEAD), number(9), number(7), number(7)), "data") == "SIGKILL"
    attach = event("ptrace", number(0xDEAD), number(9), number(16), number(7))
    assert text.args_text(attach) == "res=0 addr=DEAD data=9 request=11(PTRACE_ATTACH) pid=7(victim)"


def test_socket_options_print_by_their_kind() -> None:
    def option(level: int, name: int, raw_bytes: bytes) -> str | None:
        fd = item(ITEM_FD, b"")
        made = event("setsockopt", fd, number(3), number(level), number(name), item(ITEM_DATA, raw_bytes), number(4))
        return arg(made, "val")

    assert option(1, socket.SO_REUSEADDR, struct.pack("=i", 1)) == "1"
    assert option(1, 20, struct.pack("=qq", 1, 500_000)) == "1.5s"
    assert option(0, 2, b"ab\0\0") == "ab.."
    assert option(1, 25, b"eth0") == "eth0"
    assert option(1, 2, b"\1") == "."


def test_keys_print_strings_where_the_operation_takes_them() -> None:
    def items(operation: int) -> tuple[bytes, ...]:
        numbers = (number(operation), number(-2), number(2), number(3), number(4))
        return (*numbers, item(ITEM_NULL), string(b"user"), string(b"secret"))

    search = event("keyctl", *items(10))
    assert [arg(search, name) for name in ("arg2", "arg3", "arg4", "arg5")] == ["-2", "user", "secret", "4"]
    assert arg(event("keyctl", *items(3)), "arg3") == "2"


def test_times() -> None:
    made = event("execve", life=SimpleNamespace(filename="x"))
    local = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(1_700_000_000))
    assert arg(made, "exe_ino_ctime") == f"{local}.000000001"


def test_a_generic_event_has_no_arguments() -> None:
    assert text.args_text(event("mremap")) == ""
    assert text.arg_text(event("mremap"), 0) is None


def test_parameters_are_found_by_name() -> None:
    assert text.find_param(ROWS["openat"], "flags") == 3
    assert text.find_param(ROWS["openat"], "nope") is None


def test_short_numbers_of_a_structure_have_a_sign() -> None:
    made = event("semop", number(1), number(0), number(0xFFFF), *[number(0)] * 4, number(5))
    assert arg(made, "sem_op_0") == "-1"


def test_symbols() -> None:
    assert (errno_name(-1), errno_name(-11), errno_name(-95), errno_name(-133)) == (
        "EPERM", "EAGAIN", "EOPNOTSUPP", "EHWPOISON",
    )  # fmt: skip
    assert len(ERRNO) > 140
    assert (signal_name(15), signal_name(0), signal_name(64)) == ("SIGTERM", "", "")


VALUES = st.one_of(
    st.none(),
    st.integers(),
    st.binary(max_size=40),
    st.text(max_size=20),
    st.tuples(st.text(max_size=5), st.text(max_size=5)),
    st.builds(SockAddr, st.integers(0, 65535)),
)


@settings(max_examples=400, deadline=None)
@given(st.sampled_from(sorted(ROWS)), st.lists(VALUES, min_size=32, max_size=32), st.integers())
def test_no_value_makes_printing_fail(name: str, values: list[Any], ret: int) -> None:
    made = event(name, ret=ret)
    made._args = values[: len(made.row.params)]
    for index in range(len(made.row.params)):
        assert isinstance(text.arg_text(made, index), str)
        text.raw_value(made, index)
    text.args_text(made)
    text.res_text(ret)


@settings(max_examples=400, deadline=None)
@given(
    st.sampled_from([row.name for row in ROWS.values() if row.params]),
    st.lists(st.tuples(st.integers(1, 9), st.binary(max_size=60)), max_size=14),
    st.integers(-(2**63), 2**63 - 1),
)
def test_no_record_makes_printing_fail(name: str, items: list[tuple[int, bytes]], ret: int) -> None:
    made = event(name, *(item(tag, raw_bytes) for tag, raw_bytes in items), ret=ret)
    assert isinstance(text.args_text(made), str)


def test_each_kernel_parameter_reads_one_item() -> None:
    for row in ROWS.values():
        made = event(row.name, *_items(row.name))
        for index, param in enumerate(row.params):
            if isinstance(param.source, Kernel):
                assert made.arg(index) is not None, f"{row.name}.{param.name}"


def _items(name: str) -> list[bytes]:
    out = [] if ROWS[name].fd is None else [file(5, b"/x")]
    for param in ROWS[name].params:
        if not isinstance(param.source, Kernel):
            continue
        if param.source.op in (Op.VALUE, Op.MEMORY):
            out.append(number(1))
        elif param.source.op == Op.PATH:
            out.append(path(b"/x"))
        elif param.source.op == Op.STRING:
            out.append(string(b"x"))
        elif param.source.op in (Op.SOCKADDR, Op.MSGNAME):
            out.append(item(ITEM_SOCKADDR, struct.pack("=H", 16) + bytes(10)))
        else:
            out.append(item(ITEM_DATA, b"x"))
    return out
