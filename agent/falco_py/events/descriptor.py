# SPDX-License-Identifier: Apache-2.0
"""What kind of thing an fd is: Falco's word and letter, from the facts the kernel gave.

Source of the words and letters: Falco's fd.type and fd.typechar; of the magic numbers: include/uapi/linux/magic.h.
"""

from __future__ import annotations

import stat
from typing import NamedTuple

from .record import AF_INET, AF_INET6, AF_UNIX, Fd, Sock

AF_NETLINK = 16

_ANON_INODE_FS = 0x09041934
_PIPE_FS = 0x50495045
_PID_FS = 0x50494446
_NAMELESS = frozenset((_ANON_INODE_FS, _PIPE_FS, _PID_FS))


class Kind(NamedTuple):
    char: str
    word: str | None


FILE = Kind("f", "file")
DIRECTORY = Kind("d", "directory")
IPV4 = Kind("4", "ipv4")
IPV6 = Kind("6", "ipv6")
UNIX = Kind("u", "unix")
PIPE = Kind("p", "pipe")
NETLINK = Kind("n", "netlink")
MEMFD = Kind("m", "memfd")
PIDFD = Kind("P", "pidfd")
BPF = Kind("b", "bpf")
UNKNOWN = Kind("o", None)

# Names of anonymous inodes as the kernel creates them (anon_inode_getfile() callers).
_ANONYMOUS = {
    "[eventfd]": Kind("e", "event"),
    "[eventpoll]": Kind("l", "eventpoll"),
    "inotify": Kind("i", "inotify"),
    "[signalfd]": Kind("s", "signalfd"),
    "[timerfd]": Kind("t", "timerfd"),
    "[userfaultfd]": Kind("u", "userfaultfd"),
    "[io_uring]": Kind("r", "io_uring"),
    "[pidfd]": PIDFD,
}

KINDS = (FILE, DIRECTORY, IPV4, IPV6, UNIX, PIPE, NETLINK, MEMFD, BPF, UNKNOWN, *_ANONYMOUS.values())

# The kind that the event's name alone tells, for a call that failed and left no fd.
_OF_FAILED = {
    **dict.fromkeys(("open", "openat", "openat2", "creat", "open_by_handle_at"), FILE),
    **dict.fromkeys(("socket", "accept", "accept4"), IPV4),
    **dict.fromkeys(("pipe", "pipe2"), PIPE),
    **dict.fromkeys(("eventfd", "eventfd2"), _ANONYMOUS["[eventfd]"]),
    **dict.fromkeys(("signalfd", "signalfd4"), _ANONYMOUS["[signalfd]"]),
    **dict.fromkeys(("inotify_init", "inotify_init1"), _ANONYMOUS["inotify"]),
    "timerfd_create": _ANONYMOUS["[timerfd]"],
}


def socket_kind(sock: Sock) -> Kind:
    """v4-mapped IPv6 sockets count as IPv4, as their addresses are shown so."""
    if sock.family == AF_INET:
        return IPV4
    if sock.family == AF_INET6:
        mapped = sock.remote_ip is not None and sock.remote_ip.version == 4
        return IPV4 if mapped else IPV6
    if sock.family == AF_UNIX:
        return UNIX
    if sock.family == AF_NETLINK:
        return NETLINK
    return UNKNOWN


def kind_of(fd: Fd, event_name: str) -> Kind:
    if fd.sock is not None:
        return socket_kind(fd.sock)
    if fd.name is None:
        return _OF_FAILED.get(event_name, UNKNOWN)
    if fd.magic == _ANON_INODE_FS:
        if fd.name.startswith("bpf"):
            return BPF
        return _ANONYMOUS.get(fd.name, UNKNOWN)
    if fd.magic == _PID_FS:
        return PIDFD
    if fd.name.startswith("memfd:"):
        return MEMFD
    kind = stat.S_IFMT(fd.mode)
    if kind == stat.S_IFDIR:
        return DIRECTORY
    if kind == stat.S_IFIFO:
        return PIPE
    return FILE


def is_plain(fd: Fd) -> bool:
    """Is it an ordinary file or directory, or a named pipe: something shown by its path?"""
    return fd.magic not in _NAMELESS and fd.name is not None and not fd.name.startswith("memfd:")


def shown_name(fd: Fd, kind: Kind) -> str:
    """fd.name of what is not a socket: a path, a memfd's name, nothing for pipes and anonymous inodes."""
    if fd.name is None:
        return ""
    if kind is MEMFD:
        return fd.name.removeprefix("memfd:")
    if kind is FILE or kind is DIRECTORY or (kind is PIPE and fd.magic != _PIPE_FS):
        return fd.name
    return ""
