# SPDX-License-Identifier: Apache-2.0
"""Bytes of a ring record become values: header, items, fds, paths, addresses, life-cycle facts.

The layout is the one of `bpf/lib/types.h`. Invariant: no function raises on any bytes; what is cut off or
out of range decodes to None or to a value marked `truncated`.
"""

from __future__ import annotations

import posixpath
import socket
import struct
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address
from typing import NamedTuple

KIND_SYSCALL, KIND_EXEC, KIND_FORK, KIND_EXIT, KIND_STATE = range(5)

FLAG_COMPAT = 1  # a 32-bit system call
FLAG_CUT = 2  # the record did not hold everything

ITEM_VALUE, ITEM_STRING, ITEM_PATH, ITEM_DATA, ITEM_SOCKADDR, ITEM_FD, ITEM_DIR, ITEM_NULL = range(1, 9)
ITEM_CUT = 1  # item flag: the value was longer

IpAddress = IPv4Address | IPv6Address


class Header(NamedTuple):
    """Who did it, read from `task_struct` at the event. Times are ns since boot (CLOCK_BOOTTIME)."""

    kind: int
    flags: int
    ts: int
    ret: int
    nr: int  # system call number of the calling convention (32-bit numbers when FLAG_COMPAT)
    cpu: int
    pid: int  # tgid
    tid: int
    ppid: int  # tgid of the real parent
    uid: int
    gid: int
    vpid: int  # tgid in the innermost pid namespace
    vtid: int
    mntns: int  # inode number of the mount namespace
    start: int  # start of the thread group leader
    pstart: int  # start of the parent
    cgroup: int  # id of the cgroup (kernfs node)
    comm: bytes  # name of the thread
    cap_effective: int
    cap_permitted: int
    cap_inheritable: int


@dataclass(frozen=True, slots=True)
class SockAddr:
    """A struct sockaddr: `ip` and `port` for AF_INET and AF_INET6, `path` for AF_UNIX, else only `family`."""

    family: int
    ip: IpAddress | None = None
    port: int | None = None
    path: str | None = None


@dataclass(frozen=True, slots=True)
class Sock:
    """A socket read from `struct sock`; addresses are the socket's own (local) and its peer's (remote).

    v4-mapped IPv6 addresses are given as IPv4. `ptr` tells unix sockets apart.
    """

    family: int
    type: int
    protocol: int
    state: int
    local_ip: IpAddress | None
    local_port: int
    remote_ip: IpAddress | None
    remote_port: int
    path: str | None
    ptr: int
    peer_ptr: int


@dataclass(frozen=True, slots=True)
class Fd:
    """An fd as the kernel saw it at the event: a path (`name`) or a socket (`sock`).

    `num` is negative and everything else None or 0 when the call that should have made it failed.
    """

    num: int
    mode: int  # st_mode
    dev: int  # kernel dev_t: major << 20 | minor
    ino: int
    magic: int  # superblock magic
    file_flags: int  # struct file f_flags
    file_mode: int  # struct file f_mode
    layer: int  # 0 not on overlayfs, 1 upper, 2 lower
    name: str | None  # resolved path
    truncated: bool
    deleted: bool
    sock: Sock | None


class PathItem(NamedTuple):
    """A path as passed, and the directory it starts from when it is relative (None: unknown)."""

    raw: str
    base: str | None
    truncated: bool

    @property
    def absolute(self) -> str | None:
        return absolute_path(self.raw, self.base)


def absolute_path(raw: str, base: str | None) -> str | None:
    """`raw` joined to `base` with `.`, `..` and repeated slashes removed by the text alone; None without a base."""
    if raw.startswith("/"):
        path = posixpath.normpath(raw)
    elif base is None:
        return None
    else:
        path = posixpath.normpath(base + "/" + raw)
    return path[1:] if path.startswith("//") else path


@dataclass(frozen=True, slots=True)
class Exec:
    """sched_process_exec: the new image of a process. Caller facts are in the header."""

    at: bool  # execveat
    exepath: str
    exepath_truncated: bool
    filename: str  # the string passed
    args: tuple[str, ...]  # argv, argv[0] included
    args_truncated: bool
    env: tuple[str, ...]
    env_truncated: bool
    cwd: str
    cgroups: tuple[tuple[str, str], ...]  # (subsystem, path); "" is cgroup v2
    loginuid: int  # -1 unset
    euid: int
    egid: int
    suid: int
    fsuid: int
    sessionid: int
    tty: int  # controlling terminal number, 0 none
    sid: int  # in the process's pid namespace
    pgid: int  # host
    vpgid: int  # in the process's pid namespace
    pidns: int
    pidns_start_ns: int  # start of the pid namespace's init, boot ns
    exe_flags: int  # EXE_WRITABLE 1, EXE_UPPER_LAYER 2, EXE_FROM_MEMFD 4, EXE_LOWER_LAYER 8
    exe_dev: int
    exe_ino: int
    exe_ctime_ns: int  # epoch
    exe_mtime_ns: int  # epoch
    vm_size_kb: int
    vm_rss_kb: int
    vm_swap_kb: int
    pgft_maj: int
    pgft_min: int
    fdlimit: int


@dataclass(frozen=True, slots=True)
class Fork:
    """sched_process_fork of a process (not of a thread). The header is the parent's."""

    pid: int
    start: int
    vpid: int
    pidns: int
    cgroup: int
    comm: bytes


@dataclass(frozen=True, slots=True)
class Exit:
    """sched_process_exit of the last thread of a process. `status` is the wait status."""

    status: int


class StateChange(NamedTuple):
    """A change of a process without exec that the process table follows: name (prctl), working directory."""

    comm: bytes | None
    cwd: str | None
