# SPDX-License-Identifier: Apache-2.0
"""Parameters of an event become text: the raw form (`-2`, `577`) and the resolved one (`ENOENT`, `O_TRUNC|O_CREAT`).

Invariant: nothing here raises on any value; a parameter that has none is `<NA>`, or `NULL` for bytes, tuples, variants.
"""

from __future__ import annotations

import time
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from . import dynamic, flags
from .model import Param, Row, User
from .record import PathItem, SockAddr
from .symbols import errno_name, signal_name, signal_set

if TYPE_CHECKING:
    from collections.abc import Callable

    from .event import Event

NA, NULL = "<NA>", "NULL"
AT_FDCWD = -100
_UNSET_ID = 0xFFFFFFFF
_NO_TIME = 0xFFFFFFFFFFFFFFFF
_NS = 1_000_000_000
_L4_LETTER = {"tcp": "t", "udp": "u", "icmp": "i", "raw": "r"}
_NULL_TYPES = frozenset(("BYTEBUF", "SOCKTUPLE", "FDLIST", "CHARBUFARRAY", "DYN"))
_MAKES_FILE = 0x4 | 0x2000  # O_CREAT, O_TMPFILE in Falco's numbers
_DOTS = dict.fromkeys((*range(32), *range(127, 256)), ".")

Pair = tuple[str, str]  # raw text, resolved text ("" when there is none)


@lru_cache(maxsize=4096)
def find_param(row: Row, name: str) -> int | None:
    """The index of a parameter of this event; None when the event has none of that name."""
    for index, param in enumerate(row.params):
        if param.name == name:
            return index
    return None


# Typed values


def value(e: Event, index: int) -> Any:
    """The typed value of parameter `index`, made from others or from the header where the record has no item for it."""
    params = e.row.params
    if not 0 <= index < len(params):
        return None
    param = params[index]
    if param.name == "filename" and e.life is None and e.row.name in _EXECS:
        asked = find_param(e.row, "_filename")
        return None if asked is None else e.arg(asked)
    got = e.arg(index)
    if got is None:
        return _made(e, param.source.what) if isinstance(param.source, User) else None
    if param.name == "mode" and e.row.name in _OPENS_WITH_MODE:
        made = find_param(e.row, "flags")
        opened = None if made is None else e.arg(made)
        if isinstance(opened, int) and not opened & _MAKES_FILE:
            return 0  # the caller passed none
    elif param.name == "dev" and isinstance(param.source, User) and isinstance(got, int):
        return user_dev(got)
    elif param.type == "INT16" and isinstance(got, int) and got >= 0x8000:
        return got - 0x10000
    return got


def user_dev(dev: int) -> int:
    """A kernel dev_t as stat(2) shows it: new_encode_dev() of include/linux/kdev_t.h."""
    major, minor = dev >> 20, dev & 0xFFFFF
    return minor & 0xFF | major << 8 | (minor & ~0xFF) << 12


_OPENS_WITH_MODE = frozenset(("open", "openat", "openat2"))
_EXECS = frozenset(("execve", "execveat"))


def _made(e: Event, what: str) -> Any:
    kind, _, rest = what.partition(".")
    if kind == "header":
        return getattr(e.header, rest, None)
    if kind == "exit":
        return wait_status(getattr(e.life, "status", None), rest)
    if what == "fd.name":
        return None if e.fd is None else e.fd.name
    if what == "timespec":
        seconds, rest_ns = find_param(e.row, "_seconds"), find_param(e.row, "_nanoseconds")
        if seconds is None or rest_ns is None:
            return None
        whole, part = e.arg(seconds), e.arg(rest_ns)
        if isinstance(whole, int) and isinstance(part, int):
            return whole * _NS + part
    return None


def wait_status(status: int | None, part: str) -> int | None:
    """`ret`, `sig` or `core` of a wait status; see wait(2)."""
    if status is None:
        return None
    if part == "ret":
        return status >> 8 & 0xFF
    if part == "sig":
        return status & 0x7F
    if part == "core":
        return int(status & 0x80 != 0)
    return None


def raw_value(e: Event, index: int) -> Any:
    """evt.rawarg: int, str or bytes; None for values that have no such form."""
    got = value(e, index)
    if isinstance(got, PathItem):
        return got.raw
    if isinstance(got, tuple):
        return _joined(got)
    return None if isinstance(got, SockAddr) else got


def _joined(items: tuple[Any, ...]) -> bytes:
    """As the kernel holds them: each item ended by NUL; a cgroup is `subsystem=/path`."""
    out = b""
    for item in items:
        text = "=".join(map(str, item)) if isinstance(item, tuple) else str(item)
        out += text.encode("utf-8", "surrogateescape") + b"\0"
    return out


# Texts


def res_text(res: int) -> str:
    """evt.res"""
    return "SUCCESS" if res >= 0 else errno_name(res) or str(res)


def arg_text(e: Event, index: int) -> str | None:
    """evt.arg: the resolved text, else the raw one; None when the event has no such parameter."""
    if not 0 <= index < len(e.row.params):
        return None
    raw, resolved = pair(e, index)
    return resolved or raw


def raw_text(e: Event, index: int) -> str | None:
    """The raw text of a parameter; None when the event has no such parameter."""
    return pair(e, index)[0] if 0 <= index < len(e.row.params) else None


def args_text(e: Event) -> str:
    """evt.args: `name=raw` or `name=raw(resolved)`, in order, blank separated."""
    parts = []
    for index, param in enumerate(e.row.params):
        if param.name.startswith("_"):
            continue
        raw, resolved = pair(e, index)
        parts.append(f"{param.name}={raw}({resolved})" if resolved else f"{param.name}={raw}")
    return " ".join(parts)


def pair(e: Event, index: int) -> Pair:
    """(raw text, resolved text or "") of parameter `index` of the row."""
    param = e.row.params[index]
    got = value(e, index)
    kind = param.type
    if got is None or got in (b"", ()):
        return (NULL if kind in _NULL_TYPES else NA), ""
    write = _TYPES.get(kind)
    if write is None:
        write = _TYPES_OF_WIDTH.get(kind.rstrip("0123456789"), _other)
    return write(e, param, got)


def _other(_e: Event, _param: Param, got: Any) -> Pair:
    if isinstance(got, PathItem):
        return got.raw, ""
    if isinstance(got, bytes):
        return dotted(got), ""
    return str(got), ""


def dotted(raw: bytes) -> str:
    """Printable ASCII as it is, any other byte as a dot."""
    return raw.decode("latin-1").translate(_DOTS)


def number_text(number: int, number_format: str, bits: int = 64) -> str:
    """dec; hex in capitals without 0x; oct with a leading 0. Negative numbers show their `bits` in hex and oct."""
    if number_format == "hex":
        return f"{number & (1 << bits) - 1:X}"
    if number_format == "oct":
        octal = f"{number & (1 << bits) - 1:o}"
        return octal if octal == "0" else "0" + octal
    return str(number)


def _width(kind: str) -> int:
    digits = kind.lstrip("UINTFLAGSEM")
    return int(digits) if digits.isdigit() else 64


def _number(e: Event, param: Param, got: Any) -> Pair:
    if not isinstance(got, int):
        return _other(e, param, got)
    return number_text(got, param.format, _width(param.type)), ""


def _flags(e: Event, param: Param, got: Any) -> Pair:
    if not isinstance(got, int):
        return _other(e, param, got)
    return str(got), flags.names(param.table or "", got, False)


def _enum(e: Event, param: Param, got: Any) -> Pair:
    if not isinstance(got, int):
        return _other(e, param, got)
    return str(got), flags.names(param.table or "", got, True)


def _mode(e: Event, param: Param, got: Any) -> Pair:
    if not isinstance(got, int):
        return _other(e, param, got)
    return number_text(got, param.format, 32), flags.names(param.table or "", got, False)


def _errno(e: Event, param: Param, got: Any) -> Pair:
    return (str(got), errno_name(got)) if isinstance(got, int) else _other(e, param, got)


def _fd(e: Event, param: Param, got: Any) -> Pair:
    if not isinstance(got, int):
        return _other(e, param, got)
    if got < 0:
        return str(got), "AT_FDCWD" if got == AT_FDCWD else errno_name(got)
    fd = e.fd
    if fd is None or fd.num != got or (fd.name is None and fd.sock is None):
        return str(got), ""
    letter = _L4_LETTER.get(e.fd_l4proto or "", "") if fd.sock is not None else ""
    return str(got), f"<{e.fd_typechar or 'o'}{letter}>{e.fd_name or ''}"


def _pid(e: Event, param: Param, got: Any) -> Pair:
    if not isinstance(got, int):
        return _other(e, param, got)
    return str(got), _comm(e, got) if got > 0 else ""


def _comm(e: Event, pid: int) -> str:
    if pid == e.header.tid:
        return e.header.comm.decode("utf-8", "surrogateescape")
    process = e.table.by_pid(pid) if e.table is not None else None
    return "" if process is None else process.comm


def _id(e: Event, param: Param, got: Any) -> Pair:
    if not isinstance(got, int):
        return _other(e, param, got)
    number = got & _UNSET_ID
    if number == _UNSET_ID:
        return "-1", "<NONE>"
    users = e.table.users if e.table is not None else None
    if users is None:
        return str(number), NA
    # Falco's table has the ids of setregid as users; they are groups
    if param.type == "GID" or param.name.endswith("gid"):
        name = users.group_name(e.process, number)
    else:
        name = users.user_name(e.process, number)
    return str(number), name or NA


def _chars(e: Event, param: Param, got: Any) -> Pair:
    if isinstance(got, bytes):
        return got.split(b"\0", 1)[0].decode("utf-8", "surrogateescape"), ""
    if param.name == "arg2_str" and not dynamic.prctl_takes_string(e.arg(1)):
        return "", ""
    return _other(e, param, got)


def _path(_e: Event, _param: Param, got: Any) -> Pair:
    if isinstance(got, PathItem):
        if got.raw.startswith("/"):
            return got.raw, ""
        return got.raw, got.absolute or ""
    return str(got), ""


def _bytes(e: Event, param: Param, got: Any) -> Pair:
    return _other(e, param, _joined(got) if isinstance(got, tuple) else got)


def _sockaddr(e: Event, param: Param, got: Any) -> Pair:
    if not isinstance(got, SockAddr):
        return _other(e, param, got)
    if got.ip is not None:
        return f"{got.ip}:{got.port}", ""
    return (got.path if got.path is not None else f"family {got.family}"), ""


def _tuple(e: Event, param: Param, got: Any) -> Pair:
    ends = e.fd_tuple
    if ends is not None and None not in ends:
        return f"{ends[0]}:{ends[1]}->{ends[2]}:{ends[3]}", ""
    if got:
        return _other(e, param, got)
    sock = None if e.fd is None else e.fd.sock
    return (NULL if sock is None else f"family {sock.family}"), ""


def _signal(e: Event, param: Param, got: Any) -> Pair:
    return (str(got), signal_name(got)) if isinstance(got, int) else _other(e, param, got)


def _signals(e: Event, param: Param, got: Any) -> Pair:
    return (signal_set(got), "") if isinstance(got, int) else _other(e, param, got)


def _reltime(e: Event, param: Param, got: Any) -> Pair:
    if not isinstance(got, int):
        return _other(e, param, got)
    if got in (_NO_TIME, -1):
        return "none", ""
    return str(got), f"{got / _NS:g}s"


def _abstime(e: Event, param: Param, got: Any) -> Pair:
    if not isinstance(got, int):
        return _other(e, param, got)
    seconds, rest_ns = divmod(got, _NS)
    try:
        local = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(seconds))
    except (OverflowError, ValueError, OSError):  # outside what the C library can tell
        return str(got), ""
    return f"{local}.{rest_ns:09d}", ""


def _dyn(e: Event, param: Param, got: Any) -> Pair:
    variant = dynamic.variant(e, param, got)
    return variant if variant is not None else _other(e, param, got)


_TYPES: dict[str, Callable[[Event, Param, Any], Pair]] = {
    "ERRNO": _errno,
    "FD": _fd,
    "PID": _pid,
    "UID": _id,
    "GID": _id,
    "CHARBUF": _chars,
    "FSPATH": _path,
    "FSRELPATH": _path,
    "BYTEBUF": _bytes,
    "SOCKADDR": _sockaddr,
    "SOCKTUPLE": _tuple,
    "MODE": _mode,
    "SIGTYPE": _signal,
    "SIGSET": _signals,
    "RELTIME": _reltime,
    "ABSTIME": _abstime,
    "DYN": _dyn,
}
_TYPES_OF_WIDTH: dict[str, Callable[[Event, Param, Any], Pair]] = {
    "INT": _number,
    "UINT": _number,
    "FLAGS": _flags,
    "ENUMFLAGS": _enum,
}
