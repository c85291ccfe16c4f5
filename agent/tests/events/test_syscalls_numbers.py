# SPDX-License-Identifier: Apache-2.0
"""Numbers of system calls are the kernel's, as its headers have them, and their names are Falco's."""

from __future__ import annotations

import ctypes
import os
import platform
import re
from pathlib import Path

import pytest

from falco_py.events import numbers

_DEFINE = re.compile(r"^#define (__NR(?:3264)?_)(\w+)\s+(\d+|\(__NR\w*? \+ \d+\))", re.MULTILINE)


def _header(path: Path) -> dict[int, set[str]]:
    found: dict[int, set[str]] = {}
    for _, name, number in _DEFINE.findall(path.read_text(encoding="utf-8")):
        if number.isdigit():
            found.setdefault(int(number), set()).add(name)
    return found


_X86 = Path("/usr/include/x86_64-linux-gnu/asm")
_GENERIC = (Path("/usr/aarch64-linux-gnu/include/asm-generic/unistd.h"), Path("/usr/include/asm-generic/unistd.h"))
HEADERS = [
    (path, table)
    for path, table in (
        (_X86 / "unistd_64.h", numbers.KERNEL_X86_64),
        (_X86 / "unistd_32.h", numbers.KERNEL_I386),
        *((path, numbers.KERNEL_ARM64) for path in _GENERIC),
    )
    if path.exists()
]
# What the generic header has for other machines only.
NOT_ARM64 = {"arch_specific_syscall", "syscalls", "sync_file_range2", "riscv_flush_icache", "riscv_hwprobe"}
# Names that the generic header gives a call, and the one that it has on a 64-bit machine.
ON_64_BIT = {"fstatat": "newfstatat"}
ON_32_BIT = range(403, 424)


def test_the_headers_of_the_compiler_are_there() -> None:
    assert HEADERS


@pytest.mark.parametrize(("path", "table"), HEADERS, ids=lambda value: str(value) if isinstance(value, Path) else "")
def test_numbers_are_those_of_the_header(path: Path, table: dict[int, str]) -> None:
    wrong = []
    for number, names in _header(path).items():
        names = {ON_64_BIT.get(name, name) for name in names}
        if path in _GENERIC and (names <= NOT_ARM64 or number in ON_32_BIT):
            continue
        if table.get(number) not in names:
            wrong.append((number, table.get(number), names))
    assert wrong == []


def test_a_call_by_number_is_that_call() -> None:
    table = {"x86_64": numbers.KERNEL_X86_64, "aarch64": numbers.KERNEL_ARM64}[platform.machine()]
    by_name = {name: number for number, name in table.items()}
    libc = ctypes.CDLL(None)
    assert libc.syscall(by_name["getpid"]) == os.getpid()
    assert libc.syscall(by_name["getppid"]) == os.getppid()
    assert libc.syscall(by_name["getuid"]) == os.getuid()


@pytest.mark.parametrize(
    ("number", "name"),
    [
        (335, "uretprobe"),
        (452, "fchmodat2"),
        (453, "map_shadow_stack"),
        (454, "futex_wake"),
        (462, "mseal"),
        (463, "setxattrat"),
        (467, "open_tree_attr"),
        (469, "file_setattr"),
    ],
)
def test_newer_calls_are_known(number: int, name: str) -> None:
    assert numbers.SYSCALLS_X86_64[number] == name
    if number >= 451:
        assert numbers.SYSCALLS_ARM64[number] == numbers.SYSCALLS_I386[number] == name


def test_names_are_falcos() -> None:
    x86, i386, arm64 = numbers.SYSCALLS_X86_64, numbers.SYSCALLS_I386, numbers.SYSCALLS_ARM64
    assert (x86[17], x86[18], x86[302], x86[166], x86[262]) == ("pread", "pwrite", "prlimit", "umount2", "newfstatat")
    assert (arm64[67], arm64[79], arm64[39], arm64[222]) == ("pread", "newfstatat", "umount2", "mmap")
    assert (i386[22], i386[52], i386[140], i386[221]) == ("umount", "umount2", "llseek", "fcntl")
    assert (i386[213], i386[191], i386[102], i386[117]) == ("setuid", "getrlimit", "socketcall", "ipc")
    assert (i386[195], i386[192], i386[187], i386[239]) == ("stat64", "mmap2", "sendfile", "sendfile")


def test_the_old_mmap_is_not_read_as_mmap() -> None:
    assert numbers.SYSCALLS_I386[90] == "old_mmap"
