# SPDX-License-Identifier: Apache-2.0
"""/proc and the kernel's list of addresses become what the agent and the machine use, with Falco's meanings.

Invariant: what cannot be read is 0 or missing, and nothing here raises.
"""

from __future__ import annotations

import os
import socket
import struct
import time
from typing import TYPE_CHECKING, Final

from ..state.procfs import read_bytes
from .reading import Interface, Resources

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

MAX_INTERFACES: Final = 64  # nodes have one for each pod; the machine's own come first
CGROUP_VARIABLE: Final = "FALCO_CGROUP_MEM_PATH"
_CGROUP_FILES: Final = ("/sys/fs/cgroup/memory/memory.usage_in_bytes", "/sys/fs/cgroup/memory.current")  # v1, v2
_SELF: Final = "/proc/self"
_MAX_BYTES: Final = 1 << 20
_TICKS: Final = os.sysconf("SC_CLK_TCK")
# include/uapi/linux/rtnetlink.h, if_addr.h
_NETLINK_ROUTE, _RTM_NEWADDR, _RTM_GETADDR, _NLMSG_ERROR, _NLMSG_DONE = 0, 20, 22, 2, 3
_NLM_F_REQUEST, _NLM_F_DUMP = 1, 0x300
_IFA_ADDRESS, _IFA_LOCAL = 1, 2
_HEADER: Final = struct.Struct("=IHHII")  # length, type, flags, sequence, port
_ADDRESS: Final = struct.Struct("=BBBBI")  # family, prefix length, flags, scope, interface
_ATTRIBUTE: Final = struct.Struct("=HH")  # length, type
_NETLINK_S: Final = 1.0


class Host:
    """`root`: where the machine's file system is seen (HOST_ROOT). `resources` takes a millisecond or so."""

    def __init__(self, root: Path | str = "/", environment: Mapping[str, str] = os.environ) -> None:
        self._proc = os.path.join(str(root), "proc")
        given = environment.get(CGROUP_VARIABLE)
        self._cgroup_files = (given,) if given else _CGROUP_FILES
        self._own_start_s = _started_s()
        self.boot_ns = _number(self._lines("stat"), b"btime") * 1_000_000_000
        self.cpus = os.cpu_count() or 0
        self.kernel_release = os.uname().release

    def resources(self) -> Resources:
        own = _fields(_read(f"{_SELF}/status"))
        stat = self._lines("stat")
        memory = _fields(_read(f"{self._proc}/meminfo"))
        held = (memory.get(name, 0) for name in (b"MemFree", b"Buffers", b"Cached"))
        times = os.times()
        elapsed_s = time.clock_gettime(time.CLOCK_BOOTTIME) - self._own_start_s
        return Resources(
            cpu_ratio=round((times.user + times.system) / elapsed_s, 4) if elapsed_s > 0 else 0.0,
            rss_bytes=own.get(b"VmRSS", 0),
            vsz_bytes=own.get(b"VmSize", 0),
            pss_bytes=_fields(_read(f"{_SELF}/smaps_rollup")).get(b"Pss", 0),
            container_bytes=next((found for path in self._cgroup_files if (found := _first(_read(path)))), 0),
            host_cpu_ratio=_busy(stat),
            host_used_bytes=max(0, memory.get(b"MemTotal", 0) - sum(held)),
            host_running=_number(stat, b"procs_running"),
            host_open_fds=_first(_read(f"{self._proc}/sys/fs/file-nr")),
        )

    def _lines(self, name: str) -> list[bytes]:
        return _read(f"{self._proc}/{name}").split(b"\n")


def interfaces() -> list[Interface]:
    """Network interfaces with addresses, without the loopback, in the order in which they were made."""
    by_index: dict[int, tuple[list[str], list[str]]] = {}
    for family, index, address in _addresses():
        ipv4, ipv6 = by_index.setdefault(index, ([], []))
        if family == socket.AF_INET:
            ipv4.append(socket.inet_ntop(family, address))
        else:
            ipv6.append(":".join(f"{group:x}" for group in struct.unpack("!8H", address)))  # as Falco writes them
    found = []
    for index in sorted(by_index):
        try:
            name = socket.if_indextoname(index)
        except OSError:
            continue
        if name != "lo":
            ipv4, ipv6 = by_index[index]
            found.append(Interface(name, tuple(ipv4), tuple(ipv6)))
    return found[:MAX_INTERFACES]


def _addresses() -> Iterator[tuple[int, int, bytes]]:
    """(family, index of the interface, address) of all addresses, as RTM_GETADDR of rtnetlink(7) gives them."""
    ask = _HEADER.pack(_HEADER.size + _ADDRESS.size, _RTM_GETADDR, _NLM_F_REQUEST | _NLM_F_DUMP, 1, 0)
    try:
        with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, _NETLINK_ROUTE) as kernel:
            kernel.settimeout(_NETLINK_S)
            kernel.sendto(ask + _ADDRESS.pack(0, 0, 0, 0, 0), (0, 0))
            answer: list[tuple[int, bytes]] = []
            while not answer or answer[-1][0] not in (_NLMSG_DONE, _NLMSG_ERROR):
                answer += list(_messages(kernel.recv(_MAX_BYTES)))
    except OSError:
        return
    for kind, body in answer:
        if kind != _RTM_NEWADDR or len(body) < _ADDRESS.size:
            continue
        family, _, _, _, index = _ADDRESS.unpack_from(body)
        attributes = dict(_attributes(body[_ADDRESS.size :]))
        address = attributes.get(_IFA_LOCAL) or attributes.get(_IFA_ADDRESS, b"")
        if (family, len(address)) in ((socket.AF_INET, 4), (socket.AF_INET6, 16)):
            yield family, index, address


def _messages(data: bytes) -> Iterator[tuple[int, bytes]]:
    while len(data) >= _HEADER.size:
        length, kind, _, _, _ = _HEADER.unpack_from(data)
        if length < _HEADER.size:
            return
        yield kind, data[_HEADER.size : length]
        data = data[-(-length // 4) * 4 :]


def _attributes(data: bytes) -> Iterator[tuple[int, bytes]]:
    while len(data) >= _ATTRIBUTE.size:
        length, kind = _ATTRIBUTE.unpack_from(data)
        if length < _ATTRIBUTE.size:
            return
        yield kind, data[_ATTRIBUTE.size : length]
        data = data[-(-length // 4) * 4 :]


def _read(path: str) -> bytes:
    return read_bytes(path, _MAX_BYTES) or b""


def _fields(text: bytes) -> dict[bytes, int]:
    """Lines `Name:  12 kB` in bytes."""
    found = {}
    for line in text.split(b"\n"):
        name, _, rest = line.partition(b":")
        words = rest.split()
        if len(words) == 2 and words[1] == b"kB" and words[0].isdigit():
            found[name] = int(words[0]) << 10
    return found


def _number(lines: list[bytes], name: bytes) -> int:
    """Of the line `name 12`."""
    return next((_first(line[len(name) :]) for line in lines if line.startswith(name + b" ")), 0)


def _first(text: bytes) -> int:
    words = text.split(None, 1)
    return int(words[0]) if words and words[0].isdigit() else 0


def _busy(stat: list[bytes]) -> float:
    """The part of all time of all CPUs that was not idle: user, nice, system, idle, iowait, irq, softirq."""
    words = stat[0].split()[1:8] if stat[0].startswith(b"cpu ") else []
    times = [int(word) for word in words if word.isdigit()]
    whole = sum(times)
    return round(1 - times[3] / whole, 4) if len(times) == 7 and whole else 0.0


def _started_s() -> float:
    """When this process started, in seconds since the machine did."""
    rest = _read(f"{_SELF}/stat").rpartition(b")")[2].split()
    return int(rest[19]) / _TICKS if len(rest) > 19 and rest[19].isdigit() else time.clock_gettime(time.CLOCK_BOOTTIME)
