# SPDX-License-Identifier: Apache-2.0
"""The event table becomes what the kernel programs read: one `struct row` for each system call number, and the mask of
the calls that are wanted.

The layout is that of bpf/lib/types.h. Invariant: a number that no table knows is never wanted.
"""

from __future__ import annotations

import platform
import struct
from typing import TYPE_CHECKING

from ..events.model import Kernel, Op
from ..events.syscalls import ROWS, SYSCALLS_ARM64, SYSCALLS_I386, SYSCALLS_X86_64

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from ..events.model import Param, Row

MAX_SYSCALLS = 1024
MAX_OPS = 12
FD_NONE = 254
VALUE_NONE = 255
UNKNOWN_OPEN, CREAT_CALL = 32, 33
WANTED_64, WANTED_32, STATE_64, STATE_32 = 1, 2, 4, 8
ROW_EXEC, ROW_CHDIR, ROW_PRCTL, ROW_OPEN, ROW_CONNECT, ROW_ACCEPT = 1, 2, 4, 8, 16, 32
VALUE_BITS, NO_BIT = 8, 255
ROW_SIZE = 8 + 4 * MAX_OPS + VALUE_BITS

# Falco's names of the drop counters, in the order of `class` in struct row.
CLASSES = ("clone_fork", "execve", "connect", "open", "dir_file", "close", "proc", "other_interest")
# CLASS_FORK and CLASS_EXEC: what starts a process is never shed.
NEVER_SHED = frozenset(("clone", "clone3", "fork", "vfork", "execve", "execveat"))

_CLASS_OF = {
    **dict.fromkeys(("clone", "clone3", "fork", "vfork"), 0),
    **dict.fromkeys(("execve", "execveat"), 1),
    "connect": 2,
    **dict.fromkeys(("open", "openat", "openat2", "creat", "open_by_handle_at"), 3),
    **dict.fromkeys(("close", "close_range"), 5),
}
# Opens by name, which the kernel filters by path: see kernel.pushdown.
FILTERED_OPENS = ("open", "openat", "openat2", "creat")

# Calls that tell which end of a connection is the server.
SERVER_ENDS = {"connect": "remote", "accept": "local", "accept4": "local"}

_FLAG_OF = {
    "connect": ROW_CONNECT,
    "accept": ROW_ACCEPT,
    "accept4": ROW_ACCEPT,
    "execve": ROW_EXEC,
    "execveat": ROW_EXEC,
    "chdir": ROW_CHDIR,
    "fchdir": ROW_CHDIR,
    "prctl": ROW_PRCTL,
    **dict.fromkeys(FILTERED_OPENS, ROW_OPEN),
}

# Changes of a process that the process table follows: see ProcessTable.on_state.
STATE_EVENTS = frozenset(("chdir", "fchdir", "prctl"))


# The argument of an open that holds its flags; openat2 has them in user memory, creat has none.
_FLAGS_ARGUMENT = {"open": 1, "openat": 2, "openat2": UNKNOWN_OPEN, "creat": CREAT_CALL}


# Of flags, by their table: the numbers of the kernel's bits that are looked up together, each with a name of its own.
# They are those that rules ask for: namespaces, set-id, what others may do, execution.
FLAG_BITS: dict[str, tuple[int, ...]] = {
    "access_flags": (0, 1, 2),
    "chmod_mode": (0, 1, 3, 4, 6, 9, 10, 11),
    "clone_flags": (16, 17, 25, 26, 27, 28, 29, 30),
    "linkat_flags": (10, 12),
    "memfd_create_flags": (0, 1, 2),
    "mount_flags": (0, 1, 2, 3, 5, 12, 13, 14),
    "prot_flags": (0, 1, 2, 3, 24, 25),
    "renameat2_flags": (0, 1, 2),
    "umount_flags": (0, 1, 2, 3),
    "unlinkat_flags": (9,),
}


def value_parameter(row: Row) -> Param | None:
    """The parameter that the kernel looks up by value.

    One of which each value has a name, such as ptrace's request or kill's signal; else one with flags of FLAG_BITS.
    """
    flags = None
    for param in row.params:
        source = param.source
        if not isinstance(source, Kernel) or source.op != Op.VALUE:
            continue
        if param.type.startswith("ENUMFLAGS") or param.type == "SIGTYPE":
            return param
        if flags is None and param.table in FLAG_BITS:
            flags = param
    return flags


def bits_of(param: Param) -> tuple[int, ...]:
    """Of a parameter that is looked up: the bits that are, () when it is the whole number."""
    numbered = param.type.startswith("ENUMFLAGS") or param.type == "SIGTYPE"
    return () if numbered else FLAG_BITS[param.table or ""]


def value_class(param: Param, value: int) -> int:
    """By what the kernel looks the argument up (value_class() of bpf/lib/filter.h), unless that is 256 or more."""
    bits = bits_of(param)
    return sum((value >> bit & 1) << place for place, bit in enumerate(bits)) if bits else value


class NumberTable:
    """Numbers of one machine: 64-bit calls and, where the kernel can run them, 32-bit calls."""

    def __init__(self, machine: str | None = None) -> None:
        machine = machine or platform.machine()
        if machine == "x86_64":
            self.native, self.compat = SYSCALLS_X86_64, SYSCALLS_I386
        elif machine == "aarch64":
            self.native, self.compat = SYSCALLS_ARM64, {}
        else:
            raise ValueError(f"{machine}: no system call table for this machine (x86_64 and aarch64 are known)")
        self.machine = machine

    def event_name(self, nr: int, compat: bool) -> str | None:
        """evt.type of a number; None for a number that no table knows."""
        return (self.compat if compat else self.native).get(nr)

    def row_names(self) -> list[str | None]:
        """The event type of each row of the kernel's table."""
        made: list[str | None] = [None] * (2 * MAX_SYSCALLS)
        for offset, table in ((0, self.native), (MAX_SYSCALLS, self.compat)):
            for nr, name in table.items():
                if nr < MAX_SYSCALLS:
                    made[offset + nr] = name
        return made

    def names(self) -> frozenset[str]:
        return frozenset(self.native.values()) | frozenset(self.compat.values())


def class_of(row: Row) -> int:
    known = _CLASS_OF.get(row.name)
    if known is not None:
        return known
    if row.category == "file":
        return 4
    return 6 if row.category in ("process", "user", "signal") else 7


def classes_of(event_types: Iterable[str]) -> frozenset[str]:
    """The classes by which calls of these event types are counted."""
    return frozenset(CLASSES[class_of(ROWS[name])] for name in event_types if name in ROWS)


def pack_row(row: Row) -> bytes:
    """struct row. Raises ValueError when a row asks for more operations than the kernel program does."""
    ops = row.kernel_params
    if len(ops) > MAX_OPS:
        raise ValueError(f"{row.name}: {len(ops)} kernel operations, at most {MAX_OPS}")
    fd = FD_NONE if row.fd is None else row.fd
    path = next((op for _, op in ops if op.op == Op.PATH), Kernel(Op.NONE))
    flags = _FLAGS_ARGUMENT.get(row.name, 0)
    value = value_parameter(row)
    value_arg = VALUE_NONE if value is None else value.source.arg  # type: ignore[union-attr]
    out = struct.pack("=8B", len(ops), fd, class_of(row), _FLAG_OF.get(row.name, 0), path.arg, path.a, flags, value_arg)
    for _, op in ops:
        out += struct.pack("=4B", op.op, op.arg, op.a, op.b)
    bits = () if value is None else bits_of(value)
    return out.ljust(ROW_SIZE - VALUE_BITS, b"\0") + bytes(bits).ljust(VALUE_BITS, bytes([NO_BIT]))


def row_entries(numbers: NumberTable) -> Iterator[tuple[int, bytes]]:
    """(index in the kernel's array, struct row) for every known number."""
    for offset, table in ((0, numbers.native), (MAX_SYSCALLS, numbers.compat)):
        for nr, name in table.items():
            if nr < MAX_SYSCALLS:
                yield offset + nr, pack_row(ROWS[name])


def wanted_mask(numbers: NumberTable, event_names: Iterable[str], state: bool = True) -> bytes:
    """One byte for each number: which calling conventions are told, to the rules and to the process table."""
    wanted = frozenset(event_names)
    mask = bytearray(MAX_SYSCALLS)
    for table, rule_bit, state_bit in (
        (numbers.native, WANTED_64, STATE_64),
        (numbers.compat, WANTED_32, STATE_32),
    ):
        for nr, name in table.items():
            if nr >= MAX_SYSCALLS:
                continue
            if name in wanted:
                mask[nr] |= rule_bit
            if state and name in STATE_EVENTS:
                mask[nr] |= state_bit
    return bytes(mask)
