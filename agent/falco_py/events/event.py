# SPDX-License-Identifier: Apache-2.0
"""One event, its values read lazily from the record that the kernel wrote.

Invariant: nothing here raises on any record content; what cannot be decoded reads as None (Falco's NULL).
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from . import _items, descriptor, flags, sockets
from .model import Kernel, Op, Param, Row, User
from .record import (
    ITEM_CUT,
    ITEM_DIR,
    ITEM_FD,
    ITEM_NULL,
    ITEM_PATH,
    Fd,
    Header,
    IpAddress,
    PathItem,
    SockAddr,
    absolute_path,
    decode_fd,
    decode_sockaddr,
    decode_value,
    text,
    unpack_item,
)

_FMODE_CREATED = 0x100000  # include/linux/fs.h
_O_F_CREATED = 0x4000  # Falco's file_flags
_LAYER_FLAG = {0: 0, 1: 0x8000, 2: 0x10000}  # FD_UPPER_LAYER, FD_LOWER_LAYER
_CREAT_LAYER_FLAG = {0: 0, 1: 1, 2: 2}
_RESULT_NAMES = frozenset(("res", "fd"))
_NO_FD = Fd(-1, 0, 0, 0, 0, 0, 0, 0, None, False, False, None)
_UNREAD = object()
_OPENS = frozenset(("open", "openat", "openat2", "creat"))
OpenFile = tuple[int, str, str, str, str | None]  # fd number, fd.typechar, fd.name, fd.directory, fd.filename


@lru_cache(maxsize=1024)
def has_result(row: Row) -> bool:
    return bool(row.params) and row.params[0].name in _RESULT_NAMES


@lru_cache(maxsize=1024)
def _path_param(row: Row) -> int | None:
    """Of a call that opens by name: the index of the parameter that holds the name."""
    if row.name not in _OPENS:
        return None
    return next((i for i, p in enumerate(row.params) if p.name == "name"), None)


@lru_cache(maxsize=1024)
def _address_param(row: Row) -> int | None:
    return next((i for i, p in enumerate(row.params) if p.type == "SOCKADDR"), None)


class Event:
    """An event of one row.

    Header values are plain attributes of `header` (pid, tid, uid, ... see `record.Header`). `process` is the
    entry of the process table for the event's process, set by the engine before any rule is tested, `table` that table.
    `spelling` chooses which path `fd_name` gives: 0 the resolved one, 1 the one the process passed.
    """

    __slots__ = (
        "_above",
        "_args",
        "_ends",
        "_fd",
        "_file",
        "_kind",
        "_name",
        "_name_changed",
        "_starts",
        "header",
        "life",
        "num",
        "payload",
        "process",
        "row",
        "socket_names",
        "spelling",
        "table",
        "ts",
    )

    def __init__(self, row: Row, header: Header, payload: bytes, num: int, ts: int) -> None:
        self.row = row
        self.header = header
        self.payload = payload
        self.num = num
        self.ts = ts  # epoch ns
        self.process: Any = None  # state.processes.Process
        self.table: Any = None  # state.processes.ProcessTable
        self.life: Any = None  # record.Exec, record.Exit or None
        self.socket_names: sockets.SocketNames | None = None
        self.spelling = 0
        self._above: list[Any] | None = None
        self._fd: Fd | None = None
        self._file: Any = _UNREAD
        self._kind: descriptor.Kind | None = None
        self._name: Any = _UNREAD  # the resolved one
        self._args: list[Any] | None = None
        self._starts: list[int] | None = None  # of the parameters' items in the payload
        self._ends: sockets.Ends | None = None
        self._name_changed: bool | None = None

    @property
    def name(self) -> str:
        """evt.type"""
        return self.row.name

    @property
    def res(self) -> int | None:
        """The return value; None for events that carry none."""
        return self.header.ret if has_result(self.row) else None

    @property
    def ancestors(self) -> list[Any]:
        """Parent, grandparent and so on as the process table knows them at the event."""
        above = self._above
        if above is None:
            above = self._above = list(self.table.ancestors(self.process))
        return above

    # Parameters

    def arg(self, index: int) -> Any:
        """The typed value of parameter `index`: int, str, bytes, PathItem, SockAddr, tuple, or None when missing."""
        args = self._args
        if args is None:
            args = self._args = [_UNREAD] * len(self.row.params)
        if not 0 <= index < len(args):
            return None
        value = args[index]
        if value is _UNREAD:
            value = args[index] = self._read(index)
        return value

    def _read(self, index: int) -> Any:
        row = self.row
        param = row.params[index]
        source = param.source
        if isinstance(source, User):
            return self._user_value(source.what)
        payload = self.payload
        starts = self._starts
        if starts is None:
            starts = self._starts = _items.starts(payload)
        place = row.places[index]
        if place is None or place >= len(starts):
            return None
        at = starts[place]
        size, tag, item_flags = unpack_item(payload, at)
        raw = payload[at + 4 : at + 4 + size]
        if source.op == Op.PATH:
            base = starts[place + 1] if place + 1 < len(starts) else None
            return self._path(tag, item_flags, raw, base)
        value = _kernel_value(param, source, tag, raw)
        if param.table == "file_flags" and row.name in _OPENS and isinstance(value, int):
            return self._with_open_facts(value)
        return value

    def _path(self, tag: int, item_flags: int, raw: bytes, base: int | None) -> PathItem | None:
        """`base`: where the item of the directory begins."""
        if tag != ITEM_PATH:
            return None
        directory = None
        if base is not None:
            size, dir_tag, dir_flags = unpack_item(self.payload, base)
            if dir_tag == ITEM_DIR and not dir_flags & ITEM_CUT:
                directory = text(self.payload[base + 4 : base + 4 + size])
        return PathItem(text(raw), directory, bool(item_flags & ITEM_CUT))

    def _with_open_facts(self, value: int) -> int:
        """The flags of an open also tell whether it made the file, and the overlay layer, as Falco's driver does."""
        fd = self.fd
        if fd is not None:
            if fd.file_mode & _FMODE_CREATED:
                value |= _O_F_CREATED
            value |= _LAYER_FLAG.get(fd.layer, 0)
        return value

    def _user_value(self, what: str) -> Any:
        if what == "res":
            return self.header.ret
        kind, _, rest = what.partition(".")
        if kind == "proc" or (kind == "exec" and self.life is None):
            return getattr(self.process, rest, None)
        if kind in ("exec", "exit"):
            return getattr(self.life, rest, getattr(self.process, rest, None))
        if what.startswith("const:"):
            return int(what[6:])
        fd = self.fd
        if fd is None:
            return None
        if what == "fd.dev":
            return fd.dev
        if what == "fd.ino":
            return fd.ino
        if what == "fd.layer":
            return _CREAT_LAYER_FLAG.get(fd.layer, 0)
        if what == "tuple":
            return self.fd_name if fd.sock is not None else None
        return None

    # The fd

    @property
    def fd(self) -> Fd | None:
        """The fd that the event is about; None for events about none."""
        if self.row.fd is None:
            return None
        fd = self._fd
        if fd is None:
            payload = self.payload
            if len(payload) > 4 and payload[2] == ITEM_FD:
                fd = decode_fd(payload[4 : 4 + int.from_bytes(payload[:2], "little")])
            self._fd = fd = fd or _NO_FD
        return fd

    @property
    def file(self) -> OpenFile | None:
        """What most rules ask of an open file or directory; None: ask for each part, in its own way."""
        file = self._file
        if file is _UNREAD:
            file = self._file = None if self.row.fd is None else _items.file(self.payload)
        found: OpenFile | None = file
        return found

    @property
    def cut(self) -> bool:
        """Whether the kernel program had to cut the path of the fd."""
        if self.file is not None:
            return False
        fd = self.fd
        return fd is not None and fd.truncated

    def replace_fd(self, fd: Fd) -> None:
        """Puts in what was found out later (a path that was cut in the kernel)."""
        self._fd = fd
        self._file = None
        self._kind = None
        self._name = _UNREAD

    @property
    def fd_num(self) -> int | None:
        fd = self.fd
        return None if fd is None else fd.num

    @property
    def fd_kind(self) -> descriptor.Kind | None:
        kind = self._kind
        if kind is None:
            fd = self.fd
            if fd is not None:
                kind = self._kind = descriptor.kind_of(fd, self.row.name)
        return kind

    @property
    def fd_typechar(self) -> str | None:
        file = self.file
        if file is not None:
            return file[1]
        kind = self.fd_kind
        return None if kind is None else kind.char

    @property
    def fd_type(self) -> str | None:
        fd = self.fd
        if fd is None or (fd.name is None and fd.sock is None):
            return None
        kind = self.fd_kind
        return None if kind is None else kind.word

    @property
    def opened_as(self) -> PathItem | None:
        """Of a call that opens by name: the name as passed."""
        index = _path_param(self.row)
        if index is None:
            return None
        value = self.arg(index)
        return value if isinstance(value, PathItem) else None

    @property
    def fd_name(self) -> str | None:
        """fd.name, in the spelling chosen by `spelling`."""
        if self.spelling:
            return self._fd_name()
        file = self.file
        if file is not None:
            return file[2]
        if self._name is _UNREAD:
            self._name = self._fd_name()
        name: str | None = self._name
        return name

    def _fd_name(self) -> str | None:
        fd = self.fd
        if fd is None:
            return None
        if fd.sock is not None:
            return self._socket_name(fd.sock)
        if self.spelling or fd.name is None:
            passed = self.opened_as
            if passed is not None:
                absolute = passed.absolute
                if absolute is not None:
                    return absolute
            if fd.name is None:
                return None
        if descriptor.is_plain(fd):
            return fd.name
        return descriptor.shown_name(fd, descriptor.kind_of(fd, self.row.name))

    @property
    def fd_nameraw(self) -> str | None:
        """The path as passed, repeated slashes collapsed; the same as fd_name where no path was passed."""
        passed = self.opened_as
        if passed is None:
            return self.fd_name
        return _collapse(passed.raw)

    def other_spelling(self) -> bool:
        """Whether the path as passed differs from that of the file really opened."""
        index = _path_param(self.row)
        if index is None:
            return False
        place = self.row.places[index]
        if place is not None and self.file is not None and _items.as_passed(self.payload, place):
            return False
        passed = self.opened_as
        if passed is None:
            return False
        fd = self.fd
        if fd is None or fd.name is None:
            return False
        absolute = passed.absolute
        return absolute is not None and absolute != fd.name

    # Sockets

    @property
    def _address(self) -> SockAddr | None:
        index = _address_param(self.row)
        if index is None:
            return None
        value = self.arg(index)
        return value if isinstance(value, SockAddr) else None

    @property
    def fd_ends(self) -> sockets.Ends | None:
        ends = self._ends
        if ends is None:
            fd = self.fd
            if fd is None or fd.sock is None or not sockets.is_inet(fd.sock):
                return None
            ends = self._ends = sockets.ends(fd.sock, self.row.name, self._address)
        return ends

    def _socket_name(self, sock: Any) -> str:
        ends = self.fd_ends
        if ends is not None:
            return sockets.inet_name(sock, ends)
        if descriptor.socket_kind(sock) is descriptor.UNIX:
            return sockets.unix_name(sock, self._address)
        return ""

    @property
    def fd_tuple(self) -> tuple[IpAddress | None, int | None, IpAddress | None, int | None] | None:
        """(client address, client port, server address, server port); None when the fd is no inet socket."""
        ends = self.fd_ends
        if ends is None:
            return None
        client, server = ends.client or (None, None), ends.server or (None, None)
        return client[0], client[1], server[0], server[1]

    @property
    def fd_local(self) -> tuple[IpAddress | None, int] | None:
        ends = self.fd_ends
        return None if ends is None else ends.local

    @property
    def fd_remote(self) -> tuple[IpAddress | None, int] | None:
        ends = self.fd_ends
        return None if ends is None else ends.remote

    @property
    def fd_connected(self) -> bool | None:
        fd = self.fd
        if fd is None:
            return None
        if fd.sock is None:
            return False
        return sockets.connected(fd.sock, self.row.name, self.header.ret)

    @property
    def fd_name_changed(self) -> bool | None:
        fd = self.fd
        if fd is None:
            return None
        if fd.sock is None or self.socket_names is None:
            return False
        if self._name_changed is None:
            self._name_changed = self.socket_names.changed(fd.sock, self._socket_name(fd.sock))
        return self._name_changed

    @property
    def fd_is_server(self) -> bool | None:
        fd = self.fd
        if fd is None:
            return None
        if fd.sock is None:
            return False
        ends = self.fd_ends
        if ends is None:
            return False
        return sockets.listening(fd.sock) or (
            ends.server is not None and (ends.local is None or ends.server == ends.local)
        )

    @property
    def fd_l4proto(self) -> str | None:
        fd = self.fd
        if fd is None:
            return None
        return sockets.l4proto(fd.sock) if fd.sock is not None else "<NA>"


def _collapse(raw: str) -> str:
    while "//" in raw:
        raw = raw.replace("//", "/")
    return raw


def _kernel_value(param: Param, source: Kernel, tag: int, raw: bytes) -> Any:
    """The value of a parameter that the kernel extracted; paths apart, which have two items."""
    if tag == ITEM_NULL:
        return None
    op = source.op
    if op == Op.VALUE or op == Op.MEMORY:
        value = decode_value(raw)
        if value is None:
            return None
        if value < 0 and param.type.startswith("U"):
            value &= 0xFFFFFFFFFFFFFFFF
        return flags.translate(param.table, value) if param.table is not None else value
    if op == Op.STRING:
        return text(raw)
    if op in (Op.SOCKADDR, Op.MSGNAME):
        return decode_sockaddr(raw)
    return raw


__all__ = ["Event", "absolute_path"]
