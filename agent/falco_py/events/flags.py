# SPDX-License-Identifier: Apache-2.0
"""Kernel bits become Falco's own values, and those become names.

Falco's flag values are the same on every machine; the kernel's are not. Sources of the kernel's numbers:
include/uapi/linux, arch/{x86,arm64}/include/uapi/asm. Invariant: a bit that Falco has no value for is dropped, and
nothing raises on any number or table name.
"""

from __future__ import annotations

import platform
from functools import lru_cache
from typing import TYPE_CHECKING

from .flag_tables import TEXT

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

MACHINE = platform.machine()

Table = tuple[tuple[str, int], ...]
Pairs = tuple[tuple[int, int], ...]  # (kernel bits, Falco's bits)


def _read(text: str) -> dict[str, Table]:
    tables: dict[str, list[tuple[str, int]]] = {}
    entries: list[tuple[str, int]] = []
    for word in text.split():
        if word.endswith(":"):
            entries = tables[word[:-1]] = []
            continue
        name, _, value = word.partition("=")
        entry = (name, int(value, 0))
        if entry not in entries:
            entries.append(entry)
    return {name: tuple(table) for name, table in tables.items()}


TABLES: dict[str, Table] = _read(TEXT)
# The flags of calls that make an fd without an access mode (socket, pipe2, dup3, ...): the names of file_flags.
TABLES["fd_flags"] = TABLES["file_flags"]


# Open flags. O_* of include/uapi/asm-generic/fcntl.h; arm64 has its own numbers for four of them.
_O_ACCMODE, _O_WRONLY, _O_RDWR = 3, 1, 2
_O_NONBLOCK, _O_CLOEXEC = 0o4000, 0o2000000
_O_DSYNC, _O_SYNC_ONLY, _O_TMPFILE_ONLY = 0o10000, 0o4000000, 0o20000000
_F_RDONLY, _F_WRONLY, _F_RDWR, _F_DSYNC, _F_SYNC = 1, 2, 3, 0x10, 0x80
_OPEN_COMMON: Pairs = (
    (0o100, 0x4),  # O_CREAT
    (0o200, 0x20),  # O_EXCL
    (0o1000, 0x100),  # O_TRUNC
    (0o2000, 0x8),  # O_APPEND
    (_O_NONBLOCK, 0x40),
    (_O_DSYNC, _F_DSYNC),
    (_O_SYNC_ONLY, _F_SYNC),  # O_SYNC holds O_DSYNC too
    (_O_CLOEXEC, 0x1000),
    (_O_TMPFILE_ONLY, 0x2000),  # O_TMPFILE holds O_DIRECTORY too
)
_DIRECT, _LARGEFILE, _DIRECTORY = 0x200, 0x800, 0x400
_OPEN_OF: dict[str, Pairs] = {
    "x86_64": (*_OPEN_COMMON, (0o40000, _DIRECT), (0o100000, _LARGEFILE), (0o200000, _DIRECTORY)),
    "aarch64": (*_OPEN_COMMON, (0o200000, _DIRECT), (0o400000, _LARGEFILE), (0o40000, _DIRECTORY)),
}


def _open_pairs(machine: str) -> Pairs:
    return _OPEN_OF.get(machine, _OPEN_OF["x86_64"])


def _file_flags(value: int, machine: str) -> int:
    mode = value & _O_ACCMODE
    out = _F_RDWR if mode == _O_RDWR else _F_WRONLY if mode == _O_WRONLY else _F_RDONLY
    return out | _bits(value, _open_pairs(machine))


def _fd_flags(value: int, machine: str) -> int:
    out = _bits(value, ((_O_NONBLOCK, 0x40), (_O_CLOEXEC, 0x1000)))
    direct = 0o40000 if machine != "aarch64" else 0o200000
    return out | (_DIRECT if value & direct else 0)


def _bits(value: int, pairs: Pairs) -> int:
    out = 0
    for kernel, ours in pairs:
        if value & kernel:
            out |= ours
    return out


# Tables whose bits have other places in the kernel.
_BITS: dict[str, Pairs] = {
    "clone_flags": (
        (0x100, 0x8000),  # CLONE_VM
        (0x200, 0x2),  # CLONE_FS
        (0x400, 0x1),  # CLONE_FILES
        (0x800, 0x800),  # CLONE_SIGHAND
        (0x2000, 0x400),  # CLONE_PTRACE
        (0x4000, 0x8000000),  # CLONE_VFORK
        (0x8000, 0x100),  # CLONE_PARENT
        (0x10000, 0x2000),  # CLONE_THREAD
        (0x20000, 0x20),  # CLONE_NEWNS
        (0x40000, 0x1000),  # CLONE_SYSVSEM
        (0x80000, 0x2000000),  # CLONE_SETTLS
        (0x100000, 0x200),  # CLONE_PARENT_SETTID
        (0x200000, 0x800000),  # CLONE_CHILD_CLEARTID
        (0x800000, 0x4000),  # CLONE_UNTRACED
        (0x1000000, 0x1000000),  # CLONE_CHILD_SETTID
        (0x2000000, 0x10000000),  # CLONE_NEWCGROUP
        (0x4000000, 0x80),  # CLONE_NEWUTS
        (0x8000000, 0x8),  # CLONE_NEWIPC
        (0x10000000, 0x100000),  # CLONE_NEWUSER
        (0x20000000, 0x40),  # CLONE_NEWPID
        (0x40000000, 0x10),  # CLONE_NEWNET
        (0x80000000, 0x4),  # CLONE_IO
    ),
    "prot_flags": ((1, 1), (2, 2), (4, 4), (8, 8), (0x1000000, 0x10), (0x2000000, 0x20)),
    "mmap_flags": (
        (0x1, 0x1),  # MAP_SHARED
        (0x2, 0x2),  # MAP_PRIVATE
        (0x10, 0x4),  # MAP_FIXED
        (0x20, 0x8),  # MAP_ANONYMOUS
        (0x40, 0x10),  # MAP_32BIT (x86)
        (0x100, 0x200),  # MAP_GROWSDOWN
        (0x800, 0x400),  # MAP_DENYWRITE
        (0x1000, 0x800),  # MAP_EXECUTABLE
        (0x2000, 0x4000),  # MAP_LOCKED
        (0x4000, 0x40),  # MAP_NORESERVE
        (0x8000, 0x80),  # MAP_POPULATE
        (0x10000, 0x100),  # MAP_NONBLOCK
    ),
    "fchownat_flags": ((0x100, 0x400), (0x1000, 0x1000)),
    "openat2_flags": ((0x1, 0x10), (0x2, 0x4), (0x4, 0x8), (0x8, 0x1), (0x10, 0x2), (0x20, 0x20)),
    "io_uring_setup_flags": ((0x1, 0x1), (0x2, 0x2), (0x4, 0x8), (0x8, 0x10), (0x10, 0x20), (0x20, 0x40), (0x40, 0x80)),
    "epoll_create1_flags": ((_O_CLOEXEC, 1),),
    "pidfd_open_flags": ((_O_NONBLOCK, 1),),
    "delete_module_flags": ((_O_NONBLOCK, 2), (0o1000, 1)),
    "semop_flags": ((0o4000, 1), (0x1000, 2)),
}

# Tables whose numbers differ, and what stands for a number that is not in them.
_NUMBERS: dict[str, tuple[Mapping[int, int], int]] = {
    "shutdown_how": ({0: 0, 1: 1, 2: 2}, 0xFFFF),
    "rlimit_resources": ({number: number for number in range(16)}, 0xFF),
    "fcntl_commands": (
        {
            **dict(enumerate((1, 2, 3, 4, 5, 6, 8, 9, 0xA, 0xC, 0xD, 0xF, 0x11, 0x12, 0x13))),
            15: 0x15,  # F_SETOWN_EX
            16: 0x16,  # F_GETOWN_EX
            36: 0x1E,  # F_OFD_GETLK
            37: 0x1F,  # F_OFD_SETLK
            38: 0x20,  # F_OFD_SETLKW
            1024: 0x17,  # F_SETLEASE
            1025: 0x18,  # F_GETLEASE
            1026: 0x1B,  # F_NOTIFY
            1029: 0x19,  # F_CANCELLK
            1030: 0x1A,  # F_DUPFD_CLOEXEC
            1031: 0x1C,  # F_SETPIPE_SZ
            1032: 0x1D,  # F_GETPIPE_SZ
        },
        0,
    ),
    "sockopt_levels": ({1: 1, 6: 2}, 0),
    "sockopt_options": (
        {
            **{number: number for number in range(1, 51)},
            55: 0x34,  # SO_MEMINFO
            57: 0x35,  # SO_COOKIE
            59: 0x33,  # SO_PEERGROUPS
            63: 0x1D,  # SO_TIMESTAMP_NEW
            64: 0x23,  # SO_TIMESTAMPNS_NEW
            65: 0x25,  # SO_TIMESTAMPING_NEW
            66: 0x14,  # SO_RCVTIMEO_NEW
            67: 0x15,  # SO_SNDTIMEO_NEW
        },
        0,
    ),
    "semctl_commands": (
        {
            0: 4,
            1: 2,
            2: 1,
            3: 8,
            11: 0x100,
            12: 0x200,
            13: 0x40,
            14: 0x80,
            15: 0x400,
            16: 0x1000,
            17: 0x800,
            18: 0x20,
            19: 0x10,
        },
        0,
    ),
    "quotactl_quota_fmts": ({1: 2, 2: 4, 4: 8}, 1),
}

# include/uapi/linux/ptrace.h; the second half arch/x86/include/uapi/asm/ptrace-abi.h.
_PTRACE = {
    **{number: number + 1 for number in range(10)},
    16: 0xB,  # PTRACE_ATTACH
    17: 0xC,  # PTRACE_DETACH
    24: 0xD,  # PTRACE_SYSCALL
    0x4200: 0xE,  # PTRACE_SETOPTIONS
    0x4201: 0xF,  # PTRACE_GETEVENTMSG
    0x4202: 0x10,  # PTRACE_GETSIGINFO
    0x4203: 0x11,  # PTRACE_SETSIGINFO
    0x4204: 0x12,  # PTRACE_GETREGSET
    0x4205: 0x13,  # PTRACE_SETREGSET
    0x4206: 0x14,  # PTRACE_SEIZE
    0x4207: 0x15,  # PTRACE_INTERRUPT
    0x4208: 0x16,  # PTRACE_LISTEN
    0x4209: 0x17,  # PTRACE_PEEKSIGINFO
    0x420A: 0x18,  # PTRACE_GETSIGMASK
    0x420B: 0x19,  # PTRACE_SETSIGMASK
}
_PTRACE_OF = {
    "x86_64": {
        **_PTRACE,
        12: 0x1A,  # PTRACE_GETREGS
        13: 0x1B,  # PTRACE_SETREGS
        14: 0x1C,  # PTRACE_GETFPREGS
        15: 0x1D,  # PTRACE_SETFPREGS
        18: 0x1E,  # PTRACE_GETFPXREGS
        19: 0x1F,  # PTRACE_SETFPXREGS
        21: 0x20,  # PTRACE_OLDSETOPTIONS
        25: 0x21,  # PTRACE_GET_THREAD_AREA
        26: 0x22,  # PTRACE_SET_THREAD_AREA
        30: 0x23,  # PTRACE_ARCH_PRCTL
        31: 0x24,  # PTRACE_SYSEMU
        32: 0x25,  # PTRACE_SYSEMU_SINGLESTEP
        33: 0x26,  # PTRACE_SINGLEBLOCK
    },
    "aarch64": {**_PTRACE, 31: 0x24, 32: 0x25},
}

# The command of quotactl is the upper part of its argument (SUBCMDSHIFT 8); include/uapi/linux/{quota,dqblk_xfs}.h.
_QUOTA_COMMANDS = {
    0x800001: 0x80,  # Q_SYNC
    0x800002: 0x1,  # Q_QUOTAON
    0x800003: 0x2,  # Q_QUOTAOFF
    0x800004: 0x4,  # Q_GETFMT
    0x800005: 0x8,  # Q_GETINFO
    0x800006: 0x10,  # Q_SETINFO
    0x800007: 0x20,  # Q_GETQUOTA
    0x800008: 0x40,  # Q_SETQUOTA
    0x5801: 0x100,  # Q_XQUOTAON
    0x5802: 0x200,  # Q_XQUOTAOFF
    0x5803: 0x400,  # Q_XGETQUOTA
    0x5804: 0x800,  # Q_XSETQLIM
    0x5805: 0x1000,  # Q_XGETQSTAT
    0x5806: 0x2000,  # Q_XQUOTARM
    0x5807: 0x4000,  # Q_XQUOTASYNC
}
_MS_MGC_MASK, _MS_MGC_VALUE = 0xFFFF0000, 0xC0ED0000
_IPC_CREAT, _IPC_EXCL = 0o1000, 0o2000


def _mount_flags(value: int, _machine: str) -> int:
    """Old programs put a magic number into the upper half; the kernel takes it off."""
    if value & _MS_MGC_MASK == _MS_MGC_VALUE:
        value &= ~_MS_MGC_MASK
    return value & _MASKS["mount_flags"]


def _semget_flags(value: int, _machine: str) -> int:
    return _bits(value, ((_IPC_CREAT, 0x2000), (_IPC_EXCL, 0x4000))) | (value & 0o777)


def _ptrace_request(value: int, machine: str) -> int:
    return _PTRACE_OF.get(machine, _PTRACE).get(value, 0)


def _semctl_command(value: int, _machine: str) -> int:
    numbers, other = _NUMBERS["semctl_commands"]
    return numbers.get(value & 0xFF, other)  # 32-bit callers add IPC_64


def _quotactl_command(value: int, _machine: str) -> int:
    return _QUOTA_COMMANDS.get((value & 0xFFFFFFFF) >> 8, 0)


def _quotactl_type(value: int, _machine: str) -> int:
    return {0: 1, 1: 2}.get(value & 0xFF, 0)


def _register_opcode(value: int, _machine: str) -> int:
    return value & 0x7FFFFFFF  # IORING_REGISTER_USE_REGISTERED_RING


_SPECIAL: dict[str, Callable[[int, str], int]] = {
    "file_flags": _file_flags,
    "fd_flags": _fd_flags,
    "mount_flags": _mount_flags,
    "semget_flags": _semget_flags,
    "semctl_commands": _semctl_command,
    "ptrace_requests": _ptrace_request,
    "quotactl_cmds": _quotactl_command,
    "quotactl_types": _quotactl_type,
    "io_uring_register_opcodes": _register_opcode,
}

# Tables with the kernel's own bits: what Falco has no name for is dropped.
_SAME_BITS = (
    "flock_flags",
    "futex_operations",
    "poll_flags",
    "mount_flags",
    "umount_flags",
    "splice_flags",
    "access_flags",
    "unlinkat_flags",
    "linkat_flags",
    "newfstatat_flags",
    "chmod_mode",
    "renameat2_flags",
    "io_uring_setup_feats",
    "io_uring_enter_flags",
    "mlockall_flags",
    "mlock2_flags",
    "memfd_create_flags",
    "mknod_mode",
    "close_range_flags",
    "finit_module_flags",
)


def _all_bits(table: Table) -> int:
    mask = 0
    for _, value in table:
        mask |= value
    return mask


_MASKS = {name: _all_bits(TABLES[name]) for name in _SAME_BITS}


@lru_cache(maxsize=8192)
@lru_cache(maxsize=8192)
def translate(table: str, kernel_value: int, machine: str = MACHINE) -> int:
    """Falco's value for what the kernel was given; the value itself where both agree or the table is not known."""
    special = _SPECIAL.get(table)
    if special is not None:
        return special(kernel_value, machine)
    pairs = _BITS.get(table)
    if pairs is not None:
        return _bits(kernel_value, pairs)
    mask = _MASKS.get(table)
    if mask is not None:
        return kernel_value & mask
    numbers = _NUMBERS.get(table)
    if numbers is not None:
        return numbers[0].get(kernel_value, numbers[1])
    return kernel_value


@lru_cache(maxsize=8192)
def names(table: str, value: int, enum: bool) -> str:
    """Names of Falco's value, joined with `|`; "" when it has none.

    A number (`enum`) has every name with that value. Bits have each name, in order, whose bits are all still left; the
    name of zero is for zero alone.
    """
    entries = TABLES.get(table, ())
    if enum:
        return "|".join(name for name, number in entries if number == value)
    if not value:
        return "|".join(name for name, number in entries if not number)
    found = []
    left = value
    for name, number in entries:
        if number and left & number == number:
            found.append(name)
            left &= ~number
    return "|".join(found)
