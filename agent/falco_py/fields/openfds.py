# SPDX-License-Identifier: Apache-2.0
"""Open fds of a process, read from /proc at the moment a rule asks, become kinds and names.

Invariant: every question is bounded and answers None when the process is gone; it tells about now, not about the
event's moment.
"""

from __future__ import annotations

import os
import stat
from ipaddress import IPv4Address, IPv6Address
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from falco_py.events.event import Event

FDS_MAX = 1024
_NET_MAX_BYTES = 1024 * 1024
_LISTEN = "0A"
_ANONYMOUS = {
    "[eventfd]": "event",
    "[signalfd]": "signalfd",
    "[eventpoll]": "eventpoll",
    "inotify": "inotify",
    "[timerfd]": "timerfd",
    "[userfaultfd]": "userfaultfd",
    "[io_uring]": "io_uring",
    "[pidfd]": "pidfd",
}
_PROTOCOLS = {"TCP": "ipv4", "UDP": "ipv4", "RAW": "ipv4", "PING": "ipv4", "MPTCP": "ipv4", "NETLINK": "netlink"}
UNKNOWN = "<NA>"


def _base(e: Event) -> str:
    return f"{e.table.proc}/{e.header.pid}"


def link_of(base: str, number: int) -> str | None:
    try:
        return os.fsdecode(os.readlink(f"{base}/fd/{number}"))
    except OSError:
        return None


def socket_kind(path: str) -> str:
    """The family of a socket from the name of its protocol, which sockfs shows as an attribute."""
    try:
        name = os.getxattr(path, "system.sockprotoname").rstrip(b"\0").decode("ascii", "replace")
    except OSError:
        return UNKNOWN
    if name.startswith("UNIX"):
        return "unix"
    if name.endswith("v6"):
        return "ipv6"
    return _PROTOCOLS.get(name, UNKNOWN)


def kind_of(path: str, link: str) -> str:
    """The word of fd.type for an fd: `path` is below /proc/PID/fd, `link` where it points."""
    if link.startswith("socket:"):
        return socket_kind(path)
    if link.startswith("pipe:"):
        return "pipe"
    if link.startswith("anon_inode:"):
        rest = link.removeprefix("anon_inode:")
        return "bpf" if rest.startswith("bpf") else _ANONYMOUS.get(rest, UNKNOWN)
    if link.startswith("/memfd:"):
        return "memfd"
    if link.startswith("pidfd:"):
        return "pidfd"
    try:
        mode = os.stat(path).st_mode
    except OSError:
        return "file"
    return "directory" if stat.S_ISDIR(mode) else "pipe" if stat.S_ISFIFO(mode) else "file"


def open_fd_type(e: Event, number: int) -> str | None:
    base = _base(e)
    link = link_of(base, number)
    return None if link is None else kind_of(f"{base}/fd/{number}", link)


def open_fd_type_list(e: Event, number: int) -> tuple[str, ...] | None:
    kind = open_fd_type(e, number)
    return None if kind is None else (kind,)


def open_fd_types(e: Event) -> tuple[str, ...] | None:
    """Kinds of the first `FDS_MAX` fds, each once."""
    base = _base(e)
    kinds: dict[str, None] = {}
    try:
        with os.scandir(base + "/fd") as entries:
            for count, entry in enumerate(entries):
                if count >= FDS_MAX:
                    break
                try:
                    kinds[kind_of(entry.path, os.readlink(entry.path))] = None
                except OSError:
                    continue
    except OSError:
        return None
    return tuple(kinds) or None


def open_fd_name(e: Event, number: int) -> str | None:
    """Path of a file, `client:port->server:port` of a connection, "" for kinds without a name."""
    base = _base(e)
    link = link_of(base, number)
    if link is None:
        return None
    if link.startswith("/memfd:"):
        return link.removeprefix("/memfd:").removesuffix(" (deleted)")
    if link.startswith("/"):
        return link
    if link.startswith("socket:["):
        return _socket_name(base, link[8:-1], socket_kind(f"{base}/fd/{number}"))
    return ""


def _socket_name(base: str, inode: str, kind: str) -> str:
    if kind == "unix":
        return _unix_name(base, inode)
    files = {"ipv4": ("tcp", "udp"), "ipv6": ("tcp6", "udp6")}.get(kind, ())
    for file in files:
        listening = set()
        found = None
        for line in _lines(f"{base}/net/{file}"):
            words = line.split()
            if len(words) < 10:
                continue
            if words[3] == _LISTEN and file.startswith("tcp"):
                listening.add(words[1].rpartition(":")[2])
            if words[9] == inode:
                found = words
        if found is not None:
            local, remote = _address(found[1]), _address(found[2])
            if remote.endswith(":0"):
                return local
            served = found[1].rpartition(":")[2] in listening
            return f"{remote}->{local}" if served else f"{local}->{remote}"
    return ""


def _unix_name(base: str, inode: str) -> str:
    for line in _lines(base + "/net/unix"):
        words = line.split(None, 7)
        if len(words) >= 7 and words[6] == inode:
            return words[7] if len(words) > 7 else ""
    return ""


def _lines(path: str) -> list[str]:
    try:
        with open(path, "rb") as file:
            return file.read(_NET_MAX_BYTES).decode("utf-8", "surrogateescape").split("\n")[1:]
    except OSError:
        return []


def _address(words: str) -> str:
    """`hex:hex` of /proc/net, whose address is made of 32-bit words in the machine's byte order."""
    host, _, port = words.rpartition(":")
    raw = b"".join(int(host[i : i + 8], 16).to_bytes(4, "little") for i in range(0, len(host), 8))
    ip: IPv4Address | IPv6Address
    if len(raw) == 4:
        ip = IPv4Address(raw)
    else:
        ip6 = IPv6Address(raw)
        ip = ip6.ipv4_mapped or ip6
    return f"{ip}:{int(port, 16)}"


def open_fd_count(e: Event) -> int | None:
    """How many fds are open; kernels since 6.2 tell it as the size of the directory."""
    path = _base(e) + "/fd"
    try:
        size = os.stat(path).st_size
        return size or len(os.listdir(path))
    except OSError:
        return None


def thread_count(e: Event) -> int | None:
    """Living threads, the leader included."""
    try:
        return os.stat(_base(e) + "/task").st_nlink - 2
    except OSError:
        return None
