# SPDX-License-Identifier: Apache-2.0
"""Fields of the event itself: `evt.*` of system calls and `syscall.type`."""

from __future__ import annotations

from functools import lru_cache, partial
from typing import TYPE_CHECKING, Any

from falco_py.events import syscalls, text
from falco_py.events._items import number
from falco_py.events.flags import TABLES, translate
from falco_py.events.record import PathItem
from falco_py.events.symbols import ERRNO

from .model import Field, FieldType, fixed, row

if TYPE_CHECKING:
    from falco_py.events.event import Event
    from falco_py.events.model import Row

T = FieldType

# Event types of the syscall source that are no system calls.
NOT_SYSCALLS = syscalls.NEVER | {"procexit"}
_FILE_KINDS = frozenset({"file", "directory"})
_NET_KINDS = frozenset({"ipv4", "ipv6"})
_IPC_KINDS = frozenset({"unix", "pipe", "event", "signalfd", "eventpoll", "inotify", "timerfd"})
_OPEN_FLAGS = frozenset({"open", "openat", "openat2", "open_by_handle_at"})
_ACCESS = tuple(translate("file_flags", mode) for mode in range(4))  # of the kernel's O_ACCMODE


def _flags_place(row: Row) -> int | None:
    return row.places[[param.name for param in row.params].index("flags")]


_FLAGS_PLACES = {name: _flags_place(syscalls.ROWS[name]) for name in _OPEN_FLAGS}
_OPEN_MODES = frozenset({"open", "openat", "openat2"})
# Falco's encoding, in which read-only has a bit of its own.
O_RDONLY, O_WRONLY, O_CREAT, O_TMPFILE, O_F_CREATED = 0x1, 0x2, 0x4, 0x2000, 0x4000
_EXEC_BITS = 0o111
_DIRECTORY_FDS = ("dirfd", "olddirfd", "olddir", "linkdirfd")
_PATHS = ("name", "path", "pathname", "filename", "oldpath", "linkpath")

_NO_NUMBERS = frozenset(
    {"CHARBUF", "FSPATH", "FSRELPATH", "SOCKADDR", "SOCKTUPLE", "FDLIST", "DYN", "SIGSET", "BYTEBUF", "CHARBUFARRAY"}
)

_indices: dict[str, tuple[Row, dict[str, int]]] = {}


def param_index(e: Event, name: str) -> int | None:
    """Where parameter `name` stands in the event's row; hidden ones are not found."""
    row = e.row
    known = _indices.get(row.name)
    if known is None or known[0] is not row:
        shown = {param.name: i for i, param in enumerate(row.params) if not param.name.startswith("_")}
        known = _indices[row.name] = row, shown
    return known[1].get(name)


def param(e: Event, name: str) -> Any:
    """The typed value of a parameter, None when the event has no such parameter or it is missing."""
    index = param_index(e, name)
    return None if index is None else text.value(e, index)


def arg_by_name(e: Event, name: str) -> str | None:
    index = param_index(e, name)
    return None if index is None else text.arg_text(e, index)


def arg_at(e: Event, index: int) -> str | None:
    params = e.row.params
    return None if index >= len(params) or params[index].name.startswith("_") else text.arg_text(e, index)


def raw_int(e: Event, name: str) -> int | None:
    """A parameter as a number; None for an event that has something else under this name."""
    index = param_index(e, name)
    got = None if index is None else text.raw_value(e, index)
    return got if isinstance(got, int) else None


def raw_bytes(e: Event, name: str) -> bytes | None:
    index = param_index(e, name)
    got = None if index is None else text.raw_value(e, index)
    return got.encode("utf-8", "surrogateescape") if isinstance(got, str) else got if isinstance(got, bytes) else None


def raw_chars(e: Event, name: str) -> str | None:
    index = param_index(e, name)
    got = None if index is None else text.raw_value(e, index)
    if isinstance(got, bytes):
        return got.decode("utf-8", "surrogateescape")
    return None if got is None else str(got)


def args_text(e: Event) -> str:
    return text.args_text(e)


def result_text(e: Event) -> str | None:
    result = e.res
    return None if result is None else text.res_text(result)


def failed(e: Event) -> bool | None:
    result = e.res
    return None if result is None else result < 0


def category(e: Event) -> str:
    """The row's category; reads and writes are of the category of what they read or write."""
    kind = e.row.category
    if not kind.startswith("io_"):
        return "IPC" if kind == "ipc" else kind
    fd_kind = e.fd_type
    if fd_kind in _FILE_KINDS:
        return "file"
    if fd_kind in _NET_KINDS:
        return "net"
    return "IPC" if fd_kind in _IPC_KINDS else "unknown"


def error_count(e: Event, kind: str = "") -> int | None:
    """1 for a failed event, 0 for another; None without a result, or when the event is of another kind."""
    result = e.res
    if result is None:
        return None
    if kind:
        found = category(e)
        if (found if found in ("file", "net", "memory") else "other") != kind:
            return None
    return int(result < 0)


def io_direction(e: Event) -> str | None:
    flags = e.row.flags
    return "read" if "reads_fd" in flags else "write" if "writes_fd" in flags else None


def io_data(e: Event) -> bytes | None:
    data = param(e, "data")
    return data if isinstance(data, bytes) else None


def io_length(e: Event) -> int | None:
    result = e.res
    if result is None or result < 0 or e.fd is None or not e.row.category.startswith("io_"):
        return None
    return result


def is_syslog(e: Event) -> bool:
    if "writes_fd" not in e.row.flags:
        return False
    name = e.fd_name
    return name is not None and (name == "/dev/log" or name.endswith(" /dev/log"))


def open_access(e: Event, flag: int) -> bool:
    """`flag`: O_RDONLY or O_WRONLY. Straight from the record: nearly every rule about files asks, of every open."""
    place = _FLAGS_PLACES.get(e.row.name)
    if place is None:
        return False
    flags = number(e.payload, place)
    return flags is not None and _ACCESS[flags & 3] & flag != 0


def is_open_exec(e: Event) -> bool:
    name = e.name
    if name in _OPEN_MODES:
        flags = param(e, "flags")
        if not isinstance(flags, int) or not flags & (O_CREAT | O_TMPFILE):
            return False
    elif name != "creat":
        return False
    mode = param(e, "mode")
    return isinstance(mode, int) and bool(mode & _EXEC_BITS)


def is_open_create(e: Event) -> bool:
    if e.name not in _OPEN_FLAGS:
        return False
    flags = param(e, "flags")
    if not isinstance(flags, int):
        return False
    result = e.res
    return bool(flags & O_F_CREATED) or (bool(flags & O_TMPFILE) and result is not None and result >= 0)


def abs_path(e: Event, which: str = "") -> str | None:
    """The path that a call with a directory fd names; `which` is "dst" for the second path of calls with two."""
    if all(param_index(e, name) is None for name in _DIRECTORY_FDS):
        return None
    for name in ("newpath",) if which == "dst" and param_index(e, "newpath") is not None else _PATHS:
        value = param(e, name)
        if isinstance(value, PathItem):
            return value.raw if value.raw.startswith("/") else value.absolute
    return None


class Around(int):
    """The time of an event, equal to a number of milliseconds when it is at most so far from a wanted time."""

    distance_ns: int

    def __eq__(self, other: object) -> bool:
        return isinstance(other, int) and self.distance_ns <= other * 1_000_000

    def __ne__(self, other: object) -> bool:
        return not self == other

    __hash__ = int.__hash__


def around(e: Event, wanted_ns: int) -> Around:
    value = Around(e.ts)
    value.distance_ns = abs(e.ts - wanted_ns)
    return value


class _Previous:
    """Times of the last two events that were asked for; both are equal at the first."""

    num = 0
    ts = 0
    before = 0


_previous = _Previous()


def delta_ns(e: Event) -> int:
    """Time since the event before that was asked; 0 for the first."""
    last = _previous
    if e.num != last.num:
        last.before = last.ts or e.ts
        last.ts = e.ts
        last.num = e.num
    return max(last.ts - last.before, 0)


_CALL = "ID"  # the only parameter of a generic event that is known: the name of the call


def _arg_error(arg: str) -> str | None:
    if arg == _CALL or (arg.isascii() and arg.isdigit()):
        return None
    return _name_error(arg)


def _name_error(arg: str) -> str | None:
    if arg in syscalls.UNREAD:
        return None
    if not arg.startswith("_") and any(param.name == arg for row in syscalls.ROWS.values() for param in row.params):
        return None
    return f"unknown event argument {arg}"


def _type_error(arg: str) -> str | None:
    return None if arg in syscalls.ROWS or arg in syscalls.NEVER else f"unknown event type {arg}"


def _abspath_error(arg: str) -> str | None:
    return None if arg in ("src", "dst") else f"evt.abspath.{arg}: expected evt.abspath, evt.abspath.src or .dst"


def _around_error(arg: str) -> str | None:
    return None if arg.isascii() and arg.isdigit() else f"evt.around[{arg}]: expected a time in epoch ns"


def _raw_type(arg: str | None) -> FieldType:
    """A number where any event has one under this name, as Falco's table names numbers first."""
    words = [param.type for row in syscalls.ROWS.values() for param in row.params if param.name == arg]
    words += [syscalls.UNREAD[arg]] if arg in syscalls.UNREAD else []
    for word in words:
        if word not in _NO_NUMBERS:
            return T.UINT64 if word.startswith(("UINT", "FLAGS", "ENUMFLAGS")) else T.INT64
    return T.BYTEBUF if words and words[0] in ("BYTEBUF", "CHARBUFARRAY") else T.CHARBUF


def _raw_code(arg: str | None) -> str:
    kind = _raw_type(arg)
    read = "raw_chars" if kind is T.CHARBUF else "raw_bytes" if kind is T.BYTEBUF else "raw_int"
    return f"{read}(e, {arg!r})"


def _arg_code(arg: str | None) -> str:
    if arg == _CALL:
        return "(e.name if e.row.generic else None)"
    if arg is not None and arg.isascii() and arg.isdigit():
        return f"arg_at(e, {int(arg)})"
    return f"arg_by_name(e, {arg!r})"


@lru_cache(maxsize=256)
def _arg_names(arg: str | None) -> frozenset[str]:
    """The names of flags that any event has under this parameter; nothing when some event has text there."""
    params = [param for row in syscalls.ROWS.values() for param in row.params if param.name == arg]
    if any((param.table is None and param.type in _NO_NUMBERS) or param.type == "DYN" for param in params):
        return frozenset()
    return frozenset(name for param in params if param.table for name, _ in TABLES.get(param.table, ()))


_CATEGORIES = frozenset(
    "IPC" if row.category == "ipc" else row.category
    for row in syscalls.ROWS.values()
    if not row.category.startswith("io_")
) | {"file", "net", "IPC", "unknown"}

_K = "evt"
_row = partial(row, _K)
ROWS: tuple[Field, ...] = (
    _row("evt.latency", T.RELTIME, "Always 0: there are no enter events to measure from.", "0", "DEC", deprecated=True),
    _row("evt.latency.s", T.RELTIME, "Always 0.", "0", "DEC", deprecated=True),
    _row("evt.latency.ns", T.RELTIME, "Always 0.", "0", "10_PADDED_DEC", deprecated=True),
    _row("evt.latency.human", T.CHARBUF, "Always 0ns.", "'0ns'", deprecated=True),
    _row(
        "evt.deltatime",
        T.RELTIME,
        "Time since the event before that a rule asked for, ns.",
        "delta_ns(e)",
        "DEC",
        pinned=True,
    ),
    _row(
        "evt.deltatime.s", T.RELTIME, "Whole seconds of evt.deltatime.", "delta_ns(e) // 1000000000", "DEC", pinned=True
    ),
    _row(
        "evt.deltatime.ns",
        T.RELTIME,
        "Nanoseconds of evt.deltatime below a second.",
        "delta_ns(e) % 1000000000",
        "10_PADDED_DEC",
        pinned=True,
    ),
    _row(
        "evt.dir",
        T.CHARBUF,
        "Always <: events are made when a call returns.",
        "'<'",
        "DIR",
        deprecated=True,
        words=frozenset("<"),
    ),
    _row(
        "evt.type",
        T.CHARBUF,
        "Name of the event, for most the system call.",
        "e.name",
        no_rhs=True,
        no_transformer=True,
    ),
    Field(
        name="evt.type.is",
        klass=_K,
        type=T.UINT32,
        doc="1 when the event is of the named type, else 0.",
        code=lambda arg: f"(1 if e.name == {arg!r} else 0)",
        arg="required",
        arg_kind="key",
        dotted_arg=True,
        check_arg=_type_error,
        print_code=fixed("None"),
        json_code=fixed("None"),
    ),
    _row(
        "syscall.type",
        T.CHARBUF,
        "Name of the system call; missing for other events.",
        "(e.name if e.name not in NOT_SYSCALLS else None)",
    ),
    _row(
        "evt.category",
        T.CHARBUF,
        "Category of the event: file, net, IPC, memory, process, signal, user, time, ...",
        "category(e)",
        words=_CATEGORIES,
    ),
    _row("evt.cpu", T.INT16, "Number of the CPU.", "e.header.cpu", "ID"),
    _row("evt.args", T.CHARBUF, "All parameters as name=value.", "args_text(e)", cost_ns=10_000),
    _row("evt.info", T.CHARBUF, "The same as evt.args.", "args_text(e)", cost_ns=10_000),
    Field(
        name="evt.arg",
        cost_ns=2000,
        klass=_K,
        type=T.CHARBUF,
        doc="One parameter as text, by name (evt.arg.flags) or by number (evt.arg[0]); names rather than numbers "
        "where there are names.",
        code=_arg_code,
        arg="required",
        dotted_arg=True,
        check_arg=_arg_error,
        flag_names=_arg_names,
    ),
    Field(
        name="evt.rawarg",
        klass=_K,
        type=T.DYN,
        doc="One parameter as a value of its own type (evt.rawarg.size).",
        code=_raw_code,
        arg="required",
        arg_kind="key",
        dotted_arg=True,
        no_rhs=True,
        no_transformer=True,
        check_arg=_name_error,
        type_of=_raw_type,
    ),
    _row("evt.buffer", T.BYTEBUF, "The bytes read or written, as far as they were captured.", "io_data(e)"),
    _row("evt.buflen", T.UINT64, "How many bytes a read or write moved.", "io_length(e)", "DEC"),
    _row(
        "evt.res",
        T.CHARBUF,
        "SUCCESS, or the name of the error.",
        "result_text(e)",
        "DEC",
        words=frozenset(("SUCCESS", *ERRNO.values())),
    ),
    _row("evt.rawres", T.INT64, "The return value.", "e.res", "DEC"),
    _row("evt.failed", T.BOOL, "Whether the call failed.", "failed(e)"),
    _row(
        "evt.is_io",
        T.BOOL,
        "Whether the event reads from or writes to an fd.",
        "('reads_fd' in e.row.flags or 'writes_fd' in e.row.flags)",
    ),
    _row("evt.is_io_read", T.BOOL, "Whether the event reads from an fd.", "('reads_fd' in e.row.flags)"),
    _row("evt.is_io_write", T.BOOL, "Whether the event writes to an fd.", "('writes_fd' in e.row.flags)"),
    _row("evt.io_dir", T.CHARBUF, "read or write.", "io_direction(e)", words=frozenset(("read", "write"))),
    _row("evt.is_wait", T.BOOL, "Whether the call may wait.", "('waits' in e.row.flags)"),
    _row("evt.wait_latency", T.RELTIME, "Never known.", "None", "DEC", deprecated=True),
    _row("evt.is_syslog", T.BOOL, "Whether the event writes to /dev/log.", "is_syslog(e)"),
    _row("evt.count", T.UINT32, "Always 1.", "1", "DEC"),
    _row("evt.count.error", T.UINT32, "1 when the event failed.", "error_count(e)", "DEC"),
    *(
        _row(
            f"evt.count.error.{kind}",
            T.UINT32,
            f"1 when the event failed and is of the kind {kind}.",
            f"error_count(e, {kind!r})",
            "DEC",
        )
        for kind in ("file", "net", "memory", "other")
    ),
    _row("evt.count.exit", T.UINT32, "Always 1.", "1", "DEC"),
    Field(
        name="evt.around",
        pinned=True,  # its equality is no equality of values
        klass=_K,
        type=T.UINT64,
        doc="evt.around[T]=D: whether the event is at most D milliseconds away from the epoch time T in ns.",
        code=lambda arg: f"around(e, {int(arg or 0)})",
        arg="required",
        arg_kind="index",
        filter_only=True,
        no_rhs=True,
        no_transformer=True,
        check_arg=_around_error,
        print_format="DEC",
    ),
    Field(
        name="evt.abspath",
        klass=_K,
        type=T.CHARBUF,
        doc="Path of a call that takes a directory fd, made absolute; evt.abspath.src and .dst where there are two.",
        code=lambda arg: f"abs_path(e, {arg or ''!r})",
        arg="optional",
        arg_kind="key",
        dotted_arg=True,
        check_arg=_abspath_error,
    ),
    _row("evt.is_open_read", T.BOOL, "An open for reading.", f"open_access(e, {O_RDONLY})", cost_ns=150),
    _row("evt.is_open_write", T.BOOL, "An open for writing.", f"open_access(e, {O_WRONLY})", cost_ns=150),
    _row("evt.is_open_exec", T.BOOL, "An open that makes an executable file.", "is_open_exec(e)", cost_ns=4000),
    _row("evt.is_open_create", T.BOOL, "An open that made the file.", "is_open_create(e)", cost_ns=4000),
)
