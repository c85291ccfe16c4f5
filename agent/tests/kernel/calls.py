# SPDX-License-Identifier: Apache-2.0
"""System calls as the kernel program would tell them, and rules made at random about them."""

from __future__ import annotations

import socket
import struct
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import TYPE_CHECKING, NamedTuple

from falco_py.events.event import Event
from falco_py.events.model import RESULT, Kernel, Op
from falco_py.events.record import ITEM_DIR, ITEM_FD, ITEM_NULL, ITEM_PATH, ITEM_VALUE, KIND_SYSCALL, Header
from falco_py.events.syscalls import ROWS
from falco_py.kernel.decisions import OPEN_CLASSES, Opened
from falco_py.kernel.pushdown import Call
from falco_py.kernel.tables import CREAT_CALL, UNKNOWN_OPEN, value_class, value_parameter
from falco_py.state.process import Process
from falco_py.state.processes import ProcessTable

if TYPE_CHECKING:
    import random

_FD = struct.Struct("=iHBBIIQII")
_FD_FILE = 16
REGULAR, FOLDER = 0o100644, 0o040755
SECOND_NS = 1_000_000_000
Owner = tuple[ProcessTable, Process]
CREAT, TRUNC, TMPFILE, CLOEXEC = 0o100, 0o1000, 0o20200000, 0o2000000
OPENS = ("open", "openat", "openat2", "creat")
PATHS = (
    "/",
    "/etc",
    "/etc/shadow",
    "/etc/shadow2",
    "/etc/ssh/x",
    "/usr/bin/ls",
    "/home/u/.ssh/id",
    "/shadow",
    "/a/../b",
)


def item(tag: int, raw: bytes) -> bytes:
    return struct.pack("=HBB", len(raw), tag, 0) + raw


def header(name: str, ret: int, comm: bytes) -> Header:
    return Header(
        kind=KIND_SYSCALL, flags=0, ts=100 * SECOND_NS, ret=ret, nr=1, cpu=0, pid=60, tid=60, ppid=50, uid=0, gid=0,
        vpid=60, vtid=60, mntns=0, start=60 * SECOND_NS, pstart=50 * SECOND_NS, cgroup=7, comm=comm, cap_effective=0,
        cap_permitted=0, cap_inheritable=0,
    )  # fmt: skip


def processes(exepath: str, args: tuple[str, ...], container: str) -> tuple[ProcessTable, Process]:
    table = ProcessTable()
    parent = Process(50, 50 * SECOND_NS)
    parent.comm, parent.exe, parent.exepath = "bash", "bash", "/usr/bin/bash"
    child = Process(60, 60 * SECOND_NS)
    child.comm, child.exe, child.exepath, child.args = "cat", exepath.rpartition("/")[2], exepath, args
    child.ppid, child.pstart, child.container_id = 50, 50 * SECOND_NS, container
    for one in (parent, child):
        one.exec_id = 0
        table._insert(one)
    return table, child


def event(
    name: str, ret: int, args: dict[int, int], path: str, comm: bytes, owner: tuple[ProcessTable, Process]
) -> Event:
    """`args`: values of argument registers. `path`: what the call names, absolute and as it is passed."""
    row = ROWS[name]
    payload = b""
    if row.fd is not None:
        num = ret if row.fd == RESULT else args.get(row.fd, 3)
        flags = _FD_FILE if num >= 0 else 0
        mode = REGULAR if num >= 0 else 0
        facts = _FD.pack(num, mode, 0, flags, 8 << 20 | 1, 0xEF53, 77, args.get(1, 0), 0x1D)
        payload += item(ITEM_FD, facts + (path.encode() if num >= 0 else b""))
    for _, op in row.kernel_params:
        payload += _of_op(op, args, path)
    made = Event(row, header(name, ret, comm), payload, 1, 1_700_000_000 * SECOND_NS)
    made.table, made.process = owner
    return made


_SOCK_FLAG = 1
_MODE_SOCKET = 0o140777
_SOCK_BYTES = struct.Struct("=HHHBBHHI16s16sQQ108sI")
_KINDS = {("4", 6): 2, ("4", 17): 3, ("4", 0): 4, ("6", 6): 5, ("6", 17): 6, ("6", 0): 7}
ADDRESSES = ("127.0.0.1", "10.1.2.3", "8.8.8.8", "::1", "2001:db8::1", "::ffff:10.9.9.9")
PORTS = (22, 53, 443, 40_000)


class Connection(NamedTuple):
    """Of a connect or accept: the server's end, and whether the socket still knows its peer."""

    address: str
    port: int
    protocol: int
    known: bool

    @property
    def family(self) -> str:
        return "6" if ":" in self.address else "4"

    def raw(self, remote: bool) -> bytes:
        packed = ip_address(self.address).packed.ljust(16, b"\0")
        own = (b"\x7f\0\0\1" if self.family == "4" else b"\0" * 15 + b"\1").ljust(16, b"\0")
        kind = {6: 1, 17: 2}.get(self.protocol, 3)
        there, here = (self.port, 50_000) if remote else (50_000, self.port)
        return _SOCK_BYTES.pack(
            2 if self.family == "4" else 10, kind, self.protocol, 1, 0, here,
            socket.htons(there) if self.known else 0, 0,
            own if remote else packed, packed if remote else own, 1, 0, b"", 0,
        )  # fmt: skip


def connected(name: str, ret: int, comm: bytes, to: Connection, owner: Owner) -> Event:
    row = ROWS[name]
    facts = _FD.pack(ret if name != "connect" else 3, _MODE_SOCKET, 0, _FD_FILE | _SOCK_FLAG, 1, 0, 77, 0, 0)
    payload = item(ITEM_FD, facts + to.raw(name == "connect"))
    for _, op in row.kernel_params:
        payload += _of_op(op, {}, "")
    made = Event(row, header(name, ret, comm), payload, 1, 1_700_000_000 * SECOND_NS)
    made.table, made.process = owner
    return made


def connection_call(name: str, ret: int, comm: bytes, to: Connection, process: int | None) -> Call:
    """What the kernel program knows of the same call."""
    address = ip_address(to.address)
    if isinstance(address, IPv4Address):
        address = IPv6Address(b"\0" * 10 + b"\xff\xff" + address.packed)
    return Call(
        name, ret, name=comm, process=process, kind=_KINDS[to.family, to.protocol], port=to.port if to.known else None,
        address=address if to.known else None,
    )  # fmt: skip


def random_connection(luck: random.Random) -> Connection:
    return Connection(luck.choice(ADDRESSES), luck.choice(PORTS), luck.choice((6, 17, 0)), luck.random() < 0.8)


def _of_op(op: Kernel, args: dict[int, int], path: str) -> bytes:
    if op.op == Op.PATH:
        return item(ITEM_PATH, path.encode()) + item(ITEM_DIR, b"/root")
    if op.op != Op.VALUE:
        return item(ITEM_NULL, b"")
    value = args.get(op.arg, 0)
    if op.a and op.a < 8:
        value &= (1 << 8 * op.a) - 1
        if op.b and value >> (8 * op.a - 1):
            value -= 1 << 8 * op.a
    return item(ITEM_VALUE, struct.pack("=q", value - (1 << 64) if value >> 63 else value))


def call(name: str, ret: int, args: dict[int, int], path: str, comm: bytes, process: int | None) -> Call:
    """What the kernel program knows of the same call."""
    flags = args.get(2 if name == "openat" else 1, 0)
    opened = OPEN_CLASSES.index(Opened(flags & 3, bool(flags & CREAT), bool(flags & TRUNC), bool(flags & 0o20000000)))
    special = {"openat2": UNKNOWN_OPEN, "creat": CREAT_CALL}
    param = value_parameter(ROWS[name])
    value = None
    if param is not None:
        assert isinstance(param.source, Kernel)
        found = value_class(param, args.get(param.source.arg, 0))
        value = found if found < 256 else None
    row = ROWS[name]
    number = None if row.fd in (None, RESULT) else args.get(row.fd, 3)
    undecided = any(part in (".", "..") for part in path.split("/")) or (path.endswith("/") and path != "/")
    return Call(
        name, ret, opened=special.get(name, opened if name in OPENS else UNKNOWN_OPEN), name=comm, process=process,
        value=value, number=number, spellings=None if undecided else (path,),
    )  # fmt: skip


# Rules at random

_PARTS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("evt.type {eq} {v}", ("open", "openat", "creat", "openat2", "ptrace", "kill", "dup", "chmod", "fchmod")),
    ("evt.type in ({v}, {w})", ("open", "openat", "ptrace", "socket")),
    ("evt.rawres {cmp} {v}", ("-2", "-1", "0", "1", "2", "3", "5")),
    ("evt.failed = {v}", ("true", "false")),
    ("evt.res {eq} {v}", ("SUCCESS", "ENOENT", "EPERM")),
    ("fd.num {cmp} {v}", ("-1", "0", "3", "5")),
    ("evt.is_open_read {eq} {v}", ("true", "false")),
    ("evt.is_open_write {eq} {v}", ("true", "false")),
    ("evt.is_open_exec = {v}", ("true", "false")),
    ("evt.is_open_create = {v}", ("true", "false")),
    ("evt.arg.flags contains {v}", ("O_TRUNC", "O_CREAT", "O_RDONLY", "O_TMPFILE", "TRUNC")),
    ("fd.name {text} {v}", ("/etc", "/etc/shadow", "/shadow", "/usr", "id")),
    ("fd.name in ({v}, {w})", ("/etc/shadow", "/usr/bin/ls", "/x")),
    ("fd.name pmatch ({v}, {w})", ("/etc", "/usr/bin", "/home/*/.ssh")),
    ("fd.directory {text} {v}", ("/etc", "/", "/home/u/.ssh")),
    ("fd.filename {text} {v}", ("shadow", "id", "ls")),
    ("fd.nameraw contains {v}", ("../", "shadow")),
    ("fd.typechar {eq} {v}", ("f", "d", "4")),
    ("proc.name {text} {v}", ("cat", "ca", "bash", "nginx")),
    ("proc.name in ({v}, {w})", ("cat", "bash", "nginx")),
    ("proc.name exists", ("",)),
    ("proc.exepath {text} {v}", ("/usr/bin", "/usr/bin/cat", "/tmp/x")),
    ("basename(proc.exepath) in ({v}, {w})", ("cat", "x")),
    ("proc.cmdline contains {v}", ("cat", "-x", "secret")),
    ("proc.args[0] {eq} {v}", ("-x", "secret")),
    ("container.id {eq} {v}", ("host", "abc")),
    ("proc.pname {eq} {v}", ("bash", "sshd")),
    ("user.uid {eq} {v}", ("0", "5")),
    ("evt.arg.request contains {v}", ("PTRACE_ATTACH", "PTRACE_TRACEME", "PTRACE")),
    ("evt.arg.domain {eq} {v}", ("AF_INET", "AF_PACKET")),
    ("evt.arg.mode contains {v}", ("S_ISUID", "S_ISGID", "S_IROTH", "S_IS", "OTH", "0")),
    ("evt.arg.mode {eq} {v}", ("S_ISUID", "0")),
    ("evt.arg.flags contains {v}", ("CLONE_NEWUSER", "CLONE_NEW", "CLONE_VM", "NEWNS")),
    ("evt.arg.sig {eq} {v}", ("SIGKILL", "SIGTERM", "9")),
    ("evt.num = 0", ("",)),
    ("fd.l4proto {eq} {v}", ("tcp", "udp", "<NA>")),
    ("fd.sport {cmp} {v}", ("22", "53", "443")),
    ("fd.sport in ({v}, {w})", ("22", "53", "443", "1")),
    ("fd.rport {eq} {v}", ("22", "443")),
    ("fd.sip {eq} {v}", ("127.0.0.1", "8.8.8.8", "::1")),
    ("fd.snet in ({v}, {w})", ("10.0.0.0/8", "10.1.0.0/16", "127.0.0.0/8", "2001:db8::/32")),
    ("fd.rnet {eq} {v}", ("10.0.0.0/8", "0.0.0.0/0")),
    ("fd.lip {eq} {v}", ("127.0.0.1", "10.1.2.3")),
)


def condition(luck: random.Random, depth: int = 3) -> str:
    if depth == 0 or luck.random() < 0.35:
        form, values = luck.choice(_PARTS)
        return form.format(
            v=luck.choice(values), w=luck.choice(values), eq=luck.choice(("=", "!=")),
            cmp=luck.choice(("=", "!=", "<", "<=", ">", ">=")),
            text=luck.choice(("=", "!=", "startswith", "endswith", "contains", "glob")),
        )  # fmt: skip
    if luck.random() < 0.25:
        return f"not ({condition(luck, depth - 1)})"
    word = luck.choice((" and ", " and ", " or "))
    return "(" + word.join(condition(luck, depth - 1) for _ in range(luck.randint(2, 4))) + ")"


def rules(luck: random.Random) -> str:
    """Rules as text, each on some event types."""
    made = []
    for number in range(luck.randint(1, 5)):
        named = (
            "open",
            "openat",
            "openat2",
            "creat",
            "ptrace",
            "socket",
            "kill",
            "dup",
            "connect",
            "accept4",
            "chmod",
            "unshare",
        )
        types = ", ".join(luck.sample(named, 3))
        head = f"evt.type in ({types}) and " if luck.random() < 0.8 else ""
        made.append(
            f"- rule: r{number}\n  desc: d\n  condition: {head}{condition(luck)}\n  output: o\n  priority: INFO\n"
        )
    return "".join(made)


NUMBERS = (0, 1, 2, 3, 9, 15, 16, 17, 300, 0x4206, 0o4755, 0o2644, 0o1777, 1 << 28, 3 << 17)


def random_call(luck: random.Random) -> tuple[str, int, dict[int, int], str, bytes]:
    name = luck.choice((*OPENS, "openat", "openat", "ptrace", "socket", "kill", "dup", "chmod", "unshare", "fchmod"))
    flags = luck.choice((0, 1, 2, 3)) | luck.choice((0, CREAT, TRUNC, CREAT | TRUNC, TMPFILE, CLOEXEC))
    args: dict[int, int] = {index: luck.choice(NUMBERS) for index in range(6)}
    if name in OPENS:
        args[2 if name == "openat" else 1] = flags
    comm = luck.choice((b"cat", b"bash", b"x", b"cats"))
    return name, luck.choice((-2, -1, -115, 0, 1, 2, 3, 7)), args, luck.choice(PATHS), comm
