# SPDX-License-Identifier: Apache-2.0
"""Kernel bits become Falco's, on either machine, and names print in Falco's order."""

from __future__ import annotations

import fcntl
import mmap
import os
import platform
import re
import resource
import socket
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from falco_py.events.flags import TABLES, names, translate

X86, ARM = "x86_64", "aarch64"
OPEN_FLAGS = (
    "O_CREAT O_EXCL O_TRUNC O_APPEND O_NONBLOCK O_DSYNC O_CLOEXEC O_DIRECT O_DIRECTORY O_WRONLY O_RDWR".split()  # noqa: SIM905
)


def value(table: str, name: str) -> int:
    return dict(TABLES[table])[name]


@pytest.mark.parametrize("name", OPEN_FLAGS)
def test_open_flags_of_this_machine(name: str) -> None:
    got = translate("file_flags", getattr(os, name), platform.machine())
    base = 0 if name in ("O_WRONLY", "O_RDWR") else value("file_flags", "O_RDONLY")
    assert got == base | value("file_flags", name)


def test_access_modes() -> None:
    assert [translate("file_flags", mode) for mode in (0, 1, 2)] == [1, 2, 3]


def test_sync_and_tmpfile_hold_a_second_flag() -> None:
    assert names("file_flags", translate("file_flags", 0o4010000), False) == "O_SYNC|O_DSYNC|O_RDONLY"
    assert names("file_flags", translate("file_flags", 0o10000), False) == "O_DSYNC|O_RDONLY"
    assert names("file_flags", translate("file_flags", 0o20200002, X86), False) == "O_DIRECTORY|O_RDWR|O_TMPFILE"
    assert names("file_flags", translate("file_flags", 0o200000, X86), False) == "O_DIRECTORY|O_RDONLY"


def test_arm64_has_other_numbers() -> None:
    for kernel, name in ((0o40000, "O_DIRECTORY"), (0o200000, "O_DIRECT"), (0o400000, "O_LARGEFILE")):
        assert names("file_flags", translate("file_flags", kernel, ARM), False) == f"{name}|O_RDONLY"
    for kernel, name in ((0o200000, "O_DIRECTORY"), (0o40000, "O_DIRECT"), (0o100000, "O_LARGEFILE")):
        assert names("file_flags", translate("file_flags", kernel, X86), False) == f"{name}|O_RDONLY"


def test_calls_without_an_access_mode_get_none() -> None:
    assert translate("fd_flags", os.O_CLOEXEC) == 0x1000
    assert translate("fd_flags", socket.SOCK_RAW | socket.SOCK_NONBLOCK) == 0x40
    assert translate("fd_flags", 0) == 0


CLONE = (
    "CLONE_VM CLONE_FS CLONE_FILES CLONE_SIGHAND CLONE_PTRACE CLONE_VFORK CLONE_PARENT CLONE_THREAD CLONE_NEWNS "
    "CLONE_SYSVSEM CLONE_SETTLS CLONE_PARENT_SETTID CLONE_CHILD_CLEARTID CLONE_UNTRACED CLONE_CHILD_SETTID "
    "CLONE_NEWCGROUP CLONE_NEWUTS CLONE_NEWIPC CLONE_NEWUSER CLONE_NEWPID CLONE_NEWNET CLONE_IO"
)


def _header(path: str) -> dict[str, int]:
    text = Path("/usr/include/linux", path).read_text(encoding="utf-8")
    return {n: int(v, 0) for n, v in re.findall(r"^#define\s+(\w+)\s+(0x[0-9a-fA-F]+|\d+)\b", text, re.MULTILINE)}


@pytest.mark.parametrize("name", CLONE.split())
def test_clone_flags(name: str) -> None:
    assert names("clone_flags", translate("clone_flags", _header("sched.h")[name]), False) == name


def test_the_exit_signal_of_clone_is_no_flag() -> None:
    assert translate("clone_flags", 17) == 0


@pytest.mark.parametrize(
    "name",
    [name for name, _ in TABLES["ptrace_requests"] if name != "PTRACE_UNKNOWN"],
)
def test_ptrace_requests(name: str) -> None:
    known = _header("ptrace.h")
    if platform.machine() == X86:
        abi = Path("/usr/include/x86_64-linux-gnu/asm/ptrace-abi.h").read_text(encoding="utf-8")
        known |= {n: int(v) for n, v in re.findall(r"#\s*define\s+(PTRACE_\w+)\s+(\d+)", abi)}
    elif name not in known:
        assert value("ptrace_requests", name) >= 0x1A
        return
    assert names("ptrace_requests", translate("ptrace_requests", known[name], platform.machine()), True) == name


def test_an_unknown_ptrace_request_is_unknown() -> None:
    assert names("ptrace_requests", translate("ptrace_requests", 0x7777), True) == "PTRACE_UNKNOWN"


def test_x86_requests_mean_nothing_on_arm64() -> None:
    assert translate("ptrace_requests", 12, ARM) == 0
    assert translate("ptrace_requests", 12, X86) == 0x1A


@pytest.mark.parametrize("name", [n for n, _ in TABLES["fcntl_commands"] if hasattr(fcntl, n)])
def test_fcntl_commands(name: str) -> None:
    kernel = getattr(fcntl, name)
    assert name in names("fcntl_commands", translate("fcntl_commands", kernel), True).split("|") or kernel in (5, 6, 7)


@pytest.mark.parametrize("name", [n for n, _ in TABLES["rlimit_resources"] if hasattr(resource, n)])
def test_rlimits(name: str) -> None:
    assert names("rlimit_resources", translate("rlimit_resources", getattr(resource, name)), True) == name


@pytest.mark.parametrize("name", [n for n, _ in TABLES["socket_families"] if hasattr(socket, n)])
def test_socket_families(name: str) -> None:
    assert name in names("socket_families", translate("socket_families", getattr(socket, name)), True).split("|")


@pytest.mark.parametrize("name", [n for n, _ in TABLES["sockopt_options"] if hasattr(socket, n)])
def test_socket_options(name: str) -> None:
    assert names("sockopt_options", translate("sockopt_options", getattr(socket, name)), True) == name


@pytest.mark.parametrize("name", [n for n, _ in TABLES["mmap_flags"] if hasattr(mmap, n)])
def test_mmap_flags(name: str) -> None:
    assert names("mmap_flags", translate("mmap_flags", getattr(mmap, name)), False) == name


@pytest.mark.parametrize(
    ("table", "kernel", "text"),
    [
        ("unlinkat_flags", 0x200, "AT_REMOVEDIR"),
        ("linkat_flags", 0x1400, "AT_SYMLINK_FOLLOW|AT_EMPTY_PATH"),
        ("fchownat_flags", 0x100, "AT_SYMLINK_NOFOLLOW"),
        ("newfstatat_flags", 0x100, "AT_SYMLINK_NOFOLLOW"),
        ("umount_flags", 2, "DETACH"),
        ("mount_flags", 0xC0ED0000 | 0x1000, "BIND"),
        ("mount_flags", 0x1021, "RDONLY|REMOUNT|BIND"),
        ("renameat2_flags", 2, "RENAME_EXCHANGE"),
        ("openat2_flags", 0x08, "RESOLVE_BENEATH"),
        ("openat2_flags", 0x05, "RESOLVE_NO_SYMLINKS|RESOLVE_NO_XDEV"),
        ("access_flags", 0, "F_OK"),
        ("access_flags", 7, "R_OK|W_OK|X_OK"),
        ("prot_flags", 7, "PROT_READ|PROT_WRITE|PROT_EXEC"),
        ("prot_flags", 0, "PROT_NONE"),
        ("chmod_mode", 0o4755, "S_IXOTH|S_IROTH|S_IXGRP|S_IRGRP|S_IXUSR|S_IWUSR|S_IRUSR|S_ISUID"),
        ("memfd_create_flags", 1, "MFD_CLOEXEC"),
        ("epoll_create1_flags", 0o2000000, "EPOLL_CLOEXEC"),
        ("pidfd_open_flags", 0o4000, "PIDFD_NONBLOCK"),
        ("delete_module_flags", 0o5000, "O_NONBLOCK|O_TRUNC"),
        ("close_range_flags", 6, "CLOSE_RANGE_UNSHARE|CLOSE_RANGE_CLOEXEC"),
        ("finit_module_flags", 3, "MODULE_INIT_IGNORE_MODVERSIONS|MODULE_INIT_IGNORE_VERMAGIC"),
        ("semget_flags", 0o3600, "IPC_EXCL|IPC_CREAT"),
        ("semctl_commands", 0, "IPC_RMID"),
        ("semctl_commands", 0x100 | 16, "SETVAL"),
        ("quotactl_cmds", 0x80000200, "Q_QUOTAON"),
        ("quotactl_cmds", 0x80000801, "Q_SETQUOTA"),
        ("quotactl_types", 0x80000801, "GRPQUOTA"),
        ("io_uring_setup_flags", 0x6, "IORING_SETUP_SQPOLL|IORING_SETUP_SQ_AFF"),
        ("futex_operations", 0x189, "FUTEX_CLOCK_REALTIME|FUTEX_PRIVATE_FLAG|FUTEX_WAIT_BITSET"),
    ],
)
def test_bits_and_their_names(table: str, kernel: int, text: str) -> None:
    assert names(table, translate(table, kernel), False) == text


@pytest.mark.parametrize(
    ("table", "kernel", "text"),
    [
        ("shutdown_how", 1, "SHUT_WR"),
        ("shutdown_how", 9, "SHUT_UNKNOWN"),
        ("bpf_commands", 5, "BPF_PROG_LOAD"),
        ("bpf_commands", 10, "BPF_PROG_TEST_RUN|BPF_PROG_RUN"),
        ("prctl_options", 15, "PR_SET_NAME"),
        ("prctl_options", 33, "PR_MCE_KILL"),
        ("sockopt_levels", 1, "SOL_SOCKET"),
        ("sockopt_levels", 6, "SOL_TCP"),
        ("io_uring_register_opcodes", 0x80000000 | 1, "IORING_UNREGISTER_BUFFERS"),
        ("lseek_whence", 2, "SEEK_END"),
        ("keyctl_operations", 0, "KEYCTL_GET_KEYRING_ID"),
        ("socket_families", 1, "AF_LOCAL|AF_UNIX"),
        ("fsconfig_cmds", 1, "FSCONFIG_SET_STRING"),
    ],
)
def test_numbers_and_their_names(table: str, kernel: int, text: str) -> None:
    assert names(table, translate(table, kernel), True) == text


@given(st.sampled_from(sorted([*TABLES, "no such table"])), st.integers(), st.sampled_from([X86, ARM, "riscv64"]))
def test_no_number_raises(table: str, number: int, machine: str) -> None:
    got = translate(table, number, machine)
    assert isinstance(names(table, got, True), str)
    assert isinstance(names(table, got, False), str)


BIT_TABLES = [
    name
    for name in TABLES
    if name.endswith(("_flags", "_mode")) and name not in ("file_flags", "fd_flags", "execve_flags")
]


@given(st.sampled_from(BIT_TABLES), st.integers(0, 2**32 - 1), st.integers(0, 2**32 - 1))
def test_bits_are_translated_one_by_one(table: str, one: int, two: int) -> None:
    if table == "mount_flags":
        one, two = one & 0xFFFF, two & 0xFFFF
    assert translate(table, one) | translate(table, two) == translate(table, one | two)
