# SPDX-License-Identifier: Apache-2.0
"""Bytes of a ring record become values: header, items, fds, paths, addresses, life-cycle facts.

The layout is the one of `bpf/lib/types.h`. Invariant: no function raises on any bytes; what is cut off or
out of range decodes to None or to a value marked `truncated`.
"""

from __future__ import annotations

import posixpath
import socket
import struct
import sys
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address
from typing import NamedTuple, cast

from . import _items

KIND_SYSCALL, KIND_EXEC, KIND_FORK, KIND_EXIT, KIND_STATE = range(5)

FLAG_COMPAT = 1  # a 32-bit system call
FLAG_CUT = 2  # the record did not hold everything

ITEM_VALUE, ITEM_STRING, ITEM_PATH, ITEM_DATA, ITEM_SOCKADDR, ITEM_FD, ITEM_DIR, ITEM_NULL, ITEM_FACTS = range(1, 10)
ITEM_LEFT = 10
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
    exec_id: int = 0  # how many execs led to the image, in this process and in those that it was forked from


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


class Fd(NamedTuple):
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


class Exec(NamedTuple):
    """sched_process_exec: the new image of a process. Caller facts are in the header."""

    at: bool  # execveat
    exepath: str
    exepath_truncated: bool
    filename: str  # the string passed
    args: tuple[str, ...]  # argv, argv[0] included
    args_truncated: bool
    env_raw: bytes  # NUL-separated, split when somebody asks: most rules do not
    env_truncated: bool
    cwd: str
    cgroups: tuple[tuple[str, str], ...]  # (subsystem, path); "" is cgroup v2
    loginuid: int  # -1 unset
    ruid: int
    rgid: int
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

    @property
    def env(self) -> tuple[str, ...]:
        return strings(self.env_raw)


class Fork(NamedTuple):
    """sched_process_fork of a process (not of a thread). The header is the parent's."""

    pid: int
    start: int
    vpid: int
    ppid: int  # the parent, or the parent's own parent with CLONE_PARENT
    pidns: int
    pstart: int
    cgroup: int
    comm: bytes


class Exit(NamedTuple):
    """sched_process_exit of the last thread of a process. `status` is the wait status."""

    status: int
    reaper: int  # pid of the real parent at the end


class StateChange(NamedTuple):
    """A change of a process without exec that the process table follows: name (prctl), working directory."""

    comm: bytes | None
    cwd: str | None


# The layout of a record, shared with bpf/lib/types.h. "=": native order, no padding beyond what is written.
_ITEM = struct.Struct("=HBB")
unpack_item = _ITEM.unpack_from  # (size, tag, flags)
_SOCK = struct.Struct("=HHHBBHHI16s16sQQ108s4x")
_FORK = struct.Struct("=IIIIQQQ16s")
_EXIT = struct.Struct("=II")
_VALUE = struct.Struct("=q")

FD_SOCK, FD_CUT, FD_DELETED, FD_DETACHED, FD_FILE = 1, 2, 4, 8, 16  # flags of struct fd_facts

AF_UNIX, AF_INET, AF_INET6 = 1, 2, 10
_V4_MAPPED = b"\0" * 10 + b"\xff\xff"

Item = tuple[int, int, bytes]  # tag, flags, value
Items = list[Item]


def split_items(payload: bytes) -> Items:
    """The items of a record; one that claims to be longer than the record ends the list."""
    return _items.split(payload)


def text(raw: bytes) -> str:
    """Bytes of the kernel as text; what is not UTF-8 becomes surrogates, as in Python's file names."""
    return raw.decode("utf-8", "surrogateescape")


def _port(network_order: int) -> int:
    return socket.ntohs(network_order)


def ip_address(family: int, raw: bytes) -> IpAddress | None:
    """4 or 16 bytes in network order; v4-mapped addresses become IPv4."""
    if family == AF_INET and len(raw) >= 4:
        return IPv4Address(raw[:4])
    if family == AF_INET6 and len(raw) >= 16:
        return IPv4Address(raw[12:16]) if raw[:12] == _V4_MAPPED else IPv6Address(raw[:16])
    return None


def decode_sockaddr(raw: bytes) -> SockAddr | None:
    """A struct sockaddr as the process passed it (sockaddr_in, sockaddr_in6, sockaddr_un)."""
    if len(raw) < 2:
        return None
    family = int.from_bytes(raw[:2], sys.byteorder)
    if family == AF_INET and len(raw) >= 8:
        return SockAddr(family, ip_address(family, raw[4:8]), int.from_bytes(raw[2:4], "big"))
    if family == AF_INET6 and len(raw) >= 24:
        return SockAddr(family, ip_address(family, raw[8:24]), int.from_bytes(raw[2:4], "big"))
    if family == AF_UNIX:
        return SockAddr(family, path=_unix_path(raw[2:]))
    return SockAddr(family)


def _unix_path(raw: bytes) -> str:
    """A file system path ends at NUL; an abstract name starts with one and is written with `@`, as ss(8) does."""
    if raw[:1] == b"\0":
        name = raw[1:].rstrip(b"\0")
        return "@" + text(name) if name else ""
    return text(raw.split(b"\0", 1)[0])


def _decode_sock(raw: bytes) -> Sock | None:
    if len(raw) < _SOCK.size:
        return None
    family, kind, protocol, state, path_len, lport, rport, _, local, remote, ptr, peer, path = _SOCK.unpack_from(raw)
    return Sock(
        family=family,
        type=kind,
        protocol=protocol,
        state=state,
        local_ip=ip_address(family, local),
        local_port=lport,
        remote_ip=ip_address(family, remote),
        remote_port=_port(rport),
        path=_unix_path(path[:path_len]) if path_len else None,
        ptr=ptr,
        peer_ptr=peer,
    )


def decode_fd(raw: bytes) -> Fd | None:
    """An ITEM_FD: struct fd_facts, then struct sock_facts or a path."""
    fd = _items.fd(Fd, raw)
    if fd is not None and fd.sock is not None:  # still the bytes of its facts
        return fd._replace(sock=_decode_sock(cast("bytes", fd.sock)))
    return fd


def clauses_left(payload: bytes) -> tuple[int, int] | None:
    """Of a system call: the generation of the filter's tables, and the clauses on whose account it is told, as bits."""
    raw = _items.left(payload)
    return None if raw is None else (int.from_bytes(raw[:8], sys.byteorder), int.from_bytes(raw[8:], sys.byteorder))


def decode_value(raw: bytes) -> int | None:
    return int(_VALUE.unpack_from(raw)[0]) if len(raw) >= _VALUE.size else None


def strings(raw: bytes) -> tuple[str, ...]:
    """NUL-separated strings; the last may lack its NUL when it was cut."""
    return _items.strings(raw)


def decode_exec(payload: bytes) -> Exec | None:
    """A record of KIND_EXEC: facts, file, directory, file name, cgroups, argv, environment."""
    return _items.exec(Exec, payload)


def decode_fork(payload: bytes) -> Fork | None:
    facts = _items.first(payload)
    if len(facts) < _FORK.size:
        return None
    pid, vpid, ppid, pidns, start, pstart, cgroup, comm = _FORK.unpack_from(facts)
    return Fork(pid, start, vpid, ppid, pidns, pstart, cgroup, comm.split(b"\0", 1)[0])


def decode_exit(payload: bytes) -> Exit | None:
    facts = _items.first(payload)
    return Exit(*_EXIT.unpack_from(facts)) if len(facts) >= _EXIT.size else None


def decode_state(header: Header, payload: bytes) -> StateChange:
    """A record of KIND_STATE: a directory (chdir, fchdir) or nothing (the name in the header changed)."""
    items = split_items(payload)
    if items and items[0][0] == ITEM_DIR:
        return StateChange(comm=None, cwd=text(items[0][2]))
    return StateChange(comm=header.comm, cwd=None)
