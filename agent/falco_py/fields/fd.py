# SPDX-License-Identifier: Apache-2.0
"""Fields of the fd that an event is about: `fd.*`.

Values come from the kernel's view of the fd at the event. Missing for events that neither make, use nor close an fd;
after a failed open only the name remains.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from falco_py.events.descriptor import KINDS
from falco_py.events.text import user_dev

from .model import Field, FieldType, fixed, index_error, row

if TYPE_CHECKING:
    from falco_py.events.event import Event

T = FieldType

MINOR_BITS = 20  # of the kernel's dev_t
UPPER, LOWER = 1, 2  # layers of an overlay file system
CLIENT_IP, CLIENT_PORT, SERVER_IP, SERVER_PORT = range(4)
KIND_WORDS = frozenset(kind.word for kind in KINDS if kind.word is not None)
_KIND_CHARS = frozenset(kind.char for kind in KINDS)
_OPENS = frozenset({"open", "openat", "openat2", "creat"})


def _entry(e: Event) -> Any:
    """The fd when there is one, None after a failed call."""
    fd = e.fd
    return fd if fd is not None and fd.num >= 0 else None


def fd_number(e: Event) -> int | None:
    file = e.file
    if file is not None:
        return file[0]
    fd = e.fd
    return None if fd is None else max(fd.num, -1)


def directory_of(name: str) -> str:
    """The part before the last slash, "/" when that is empty or there is no slash."""
    if name.endswith("/"):
        return name
    cut = name.rfind("/")
    return "/" if cut <= 0 else name[:cut]


def fd_directory(e: Event) -> str | None:
    file = e.file
    if file is not None and not e.spelling:
        return file[3]
    name = e.fd_name
    if name is None:
        return None
    if _entry(e) is None:
        return directory_of(name) if e.name in _OPENS else None
    kind = e.fd_type
    if kind == "directory":
        return name
    return directory_of(name) if kind == "file" else None


def fd_filename(e: Event) -> str | None:
    file = e.file
    if file is not None and not e.spelling:
        return file[4]
    if _entry(e) is None or e.fd_type != "file":
        return None
    name = e.fd_name
    return None if name is None else name[name.rfind("/") + 1 :] if "/" in name else "/"


def tuple_item(e: Event, index: int) -> Any:
    ends = e.fd_tuple
    return None if ends is None else ends[index]


def both_ends(e: Event, index: int) -> tuple[Any, ...] | None:
    """What is known of items `index` (client) and `index + 2` (server); None when nothing is."""
    ends = e.fd_tuple
    if ends is None:
        return None
    found = tuple(end for end in (ends[index], ends[index + 2]) if end is not None)
    return found or None


def local_end(e: Event, index: int) -> Any:
    end = e.fd_local
    return None if end is None else end[index]


def remote_end(e: Event, index: int) -> Any:
    end = e.fd_remote
    return None if end is None else end[index]


def port_text(port: int | None) -> str | None:
    return None if port is None else str(port)


def fd_family(e: Event) -> str | None:
    kind = e.fd_type
    if kind in ("ipv4", "ipv6"):
        return "ip"
    return "unix" if kind == "unix" else None


def fd_uid(e: Event) -> str | None:
    fd = e.fd
    return None if fd is None else f"{e.header.tid}{max(fd.num, -1)}"


def in_container(e: Event, name: str | None) -> str | None:
    return None if name is None else f"{e.process.container_id or 'host'}:{name}"


def fd_device(e: Event) -> int | None:
    """The device as stat(2) gives it."""
    fd = _entry(e)
    return None if fd is None else user_dev(fd.dev)


def fd_device_major(e: Event) -> int | None:
    fd = _entry(e)
    return None if fd is None else fd.dev >> MINOR_BITS


def fd_device_minor(e: Event) -> int | None:
    fd = _entry(e)
    return None if fd is None else fd.dev & (1 << MINOR_BITS) - 1


def fd_inode(e: Event) -> int | None:
    fd = _entry(e)
    return None if fd is None else fd.ino


def fd_in_layer(e: Event, layer: int) -> bool | None:
    fd = _entry(e)
    return None if fd is None else fd.layer == layer


_K = "fd"
_row = partial(row, _K)


def _ends() -> tuple[Field, ...]:
    """The rows that exist for each of the four ends of a connection."""
    rows = []
    for letter, who, ip, port in (
        ("c", "client", f"tuple_item(e, {CLIENT_IP})", f"tuple_item(e, {CLIENT_PORT})"),
        ("s", "server", f"tuple_item(e, {SERVER_IP})", f"tuple_item(e, {SERVER_PORT})"),
        ("l", "local", "local_end(e, 0)", "local_end(e, 1)"),
        ("r", "remote", "remote_end(e, 0)", "remote_end(e, 1)"),
    ):
        rows += [
            _row(f"fd.{letter}ip", T.IPADDR, f"{who.capitalize()} address.", ip),
            _row(f"fd.{letter}port", T.PORT, f"{who.capitalize()} port.", port, "DEC"),
            _row(f"fd.{letter}proto", T.CHARBUF, f"{who.capitalize()} port as text.", f"port_text({port})"),
            _row(
                f"fd.{letter}net",
                T.IPNET,
                f"Whether the {who} address is in a network.",
                ip,
                filter_only=True,
                no_rhs=True,
                no_transformer=True,
            ),
            _row(
                f"fd.{letter}ip.name",
                T.DOMAIN,
                f"Host name of the {who} address: the names compared with are resolved.",
                ip,
                print_code=fixed(f"domain_text({ip})"),
                json_code=fixed(f"domain_text({ip})"),
                no_rhs=True,
                no_transformer=True,
            ),
        ]
    return tuple(rows)


ROWS: tuple[Field, ...] = (
    _row("fd.num", T.INT64, "Number of the fd, -1 after a failed call.", "fd_number(e)", "ID"),
    _row(
        "fd.type",
        T.CHARBUF,
        "Kind of the fd: file, directory, ipv4, ipv6, unix, pipe, event, signalfd, eventpoll, inotify, timerfd, "
        "netlink, bpf, userfaultfd, io_uring, memfd or pidfd.",
        "e.fd_type",
        "DEC",
        words=KIND_WORDS,
    ),
    _row("fd.typechar", T.CHARBUF, "Kind of the fd as one character.", "e.fd_typechar", "DEC", words=_KIND_CHARS),
    _row(
        "fd.name",
        T.CHARBUF,
        "Path of a file, both ends of a connection, address of a server socket, path of a unix socket.",
        "e.fd_name",
        cost_ns=150,
    ),
    _row("fd.directory", T.CHARBUF, "Directory of a file; a directory itself.", "fd_directory(e)", cost_ns=120),
    _row("fd.filename", T.CHARBUF, "Name of a file without its directory.", "fd_filename(e)", cost_ns=120),
    _row(
        "fd.ip",
        T.IPADDR,
        "Client or server address.",
        f"both_ends(e, {CLIENT_IP})",
        filter_only=True,
        no_rhs=True,
        no_transformer=True,
        multi="endpoints",
    ),
    _row(
        "fd.port",
        T.PORT,
        "Client or server port.",
        f"both_ends(e, {CLIENT_PORT})",
        "DEC",
        filter_only=True,
        no_rhs=True,
        no_transformer=True,
        multi="endpoints",
    ),
    _row(
        "fd.proto",
        T.PORT,
        "Client or server port.",
        f"both_ends(e, {CLIENT_PORT})",
        filter_only=True,
        no_rhs=True,
        no_transformer=True,
        multi="endpoints",
    ),
    _row(
        "fd.net",
        T.IPNET,
        "Whether the client or the server address is in a network.",
        f"both_ends(e, {CLIENT_IP})",
        filter_only=True,
        no_rhs=True,
        no_transformer=True,
        multi="endpoints",
    ),
    *_ends(),
    _row(
        "fd.l4proto",
        T.CHARBUF,
        "Transport protocol: tcp, udp, icmp or raw.",
        "e.fd_l4proto",
        words=frozenset(("tcp", "udp", "icmp", "raw", "<NA>")),
    ),
    _row("fd.sockfamily", T.CHARBUF, "ip or unix.", "fd_family(e)", words=frozenset(("ip", "unix"))),
    _row("fd.is_server", T.BOOL, "Whether the process is the server of the connection.", "e.fd_is_server"),
    _row("fd.uid", T.CHARBUF, "Thread id and fd number.", "fd_uid(e)"),
    _row("fd.containername", T.CHARBUF, "Container id and fd.name.", "in_container(e, e.fd_name)"),
    _row("fd.containerdirectory", T.CHARBUF, "Container id and fd.directory.", "in_container(e, fd_directory(e))"),
    _row("fd.connected", T.BOOL, "Whether a socket is connected.", "e.fd_connected"),
    _row("fd.name_changed", T.BOOL, "Whether this event changed the name of the fd.", "e.fd_name_changed", pinned=True),
    _row("fd.dev", T.INT32, "Device number of the file.", "fd_device(e)", "HEX"),
    _row("fd.dev.major", T.INT32, "Major device number.", "fd_device_major(e)", "DEC"),
    _row("fd.dev.minor", T.INT32, "Minor device number.", "fd_device_minor(e)", "DEC"),
    _row("fd.ino", T.INT64, "Inode number.", "fd_inode(e)", "DEC"),
    _row("fd.nameraw", T.CHARBUF, "Path as it was passed.", "e.fd_nameraw", cost_ns=1500),
    Field(
        name="fd.types",
        cost_ns=100_000,
        klass=_K,
        type=T.CHARBUF,
        doc="Kinds of all open fds of the process; fd.types[N] of one of them. Read when the rule is tested.",
        code=lambda arg: "open_fd_types(e)" if arg is None else f"open_fd_type_list(e, {int(arg)})",
        arg="optional",
        arg_kind="index",
        is_list=True,
        no_rhs=True,
        check_arg=index_error("fd.types"),
        print_format="DEC",
        words=KIND_WORDS,
    ),
    _row(
        "fd.is_upper_layer",
        T.BOOL,
        "Whether the file lies in the upper layer of overlayfs.",
        f"fd_in_layer(e, {UPPER})",
    ),
    _row(
        "fd.is_lower_layer",
        T.BOOL,
        "Whether the file lies in the lower layer of overlayfs.",
        f"fd_in_layer(e, {LOWER})",
    ),
)
