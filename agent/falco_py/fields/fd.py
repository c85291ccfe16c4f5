# SPDX-License-Identifier: Apache-2.0
"""Fields of the fd that an event is about: `fd.*`.

Values come from the kernel's view of the fd at the event. Missing for events that neither make, use nor close an fd;
after a failed open only the name remains.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .model import Field, FieldType, fixed, index_error

if TYPE_CHECKING:
    from falco_py.events.event import Event

T = FieldType

MINOR_BITS = 20  # of the kernel's dev_t
UPPER, LOWER = 1, 2  # layers of an overlay file system
CLIENT_IP, CLIENT_PORT, SERVER_IP, SERVER_PORT = range(4)
_NO_DIRECTORY_TYPES = ("open", "openat", "openat2", "creat")


def _entry(e: Event) -> Any:
    """The fd when there is one, None after a failed call."""
    fd = e.fd
    return fd if fd is not None and fd.num >= 0 else None


def fd_number(e: Event) -> int | None:
    fd = e.fd
    return None if fd is None else max(fd.num, -1)


def directory_of(name: str) -> str:
    """The part before the last slash, "/" when that is empty or there is no slash."""
    if name.endswith("/"):
        return name
    cut = name.rfind("/")
    return "/" if cut <= 0 else name[:cut]


def fd_directory(e: Event) -> str | None:
    name = e.fd_name
    if name is None:
        return None
    if _entry(e) is None:
        return directory_of(name) if e.name in _NO_DIRECTORY_TYPES else None
    kind = e.fd_type
    if kind == "directory":
        return name
    return directory_of(name) if kind == "file" else None


def fd_filename(e: Event) -> str | None:
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
    fd = _entry(e)
    return None if fd is None else fd.dev


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
            Field(name=f"fd.{letter}ip", klass=_K, type=T.IPADDR, doc=f"{who.capitalize()} address.", code=fixed(ip)),
            Field(
                name=f"fd.{letter}port",
                klass=_K,
                type=T.PORT,
                doc=f"{who.capitalize()} port.",
                code=fixed(port),
                print_format="DEC",
            ),
            Field(
                name=f"fd.{letter}proto",
                klass=_K,
                type=T.CHARBUF,
                doc=f"{who.capitalize()} port as text.",
                code=fixed(f"port_text({port})"),
            ),
            Field(
                name=f"fd.{letter}net",
                klass=_K,
                type=T.IPNET,
                doc=f"Whether the {who} address is in a network.",
                code=fixed(ip),
                filter_only=True,
                no_rhs=True,
                no_transformer=True,
            ),
            Field(
                name=f"fd.{letter}ip.name",
                klass=_K,
                type=T.DOMAIN,
                doc=f"Host name of the {who} address: the names compared with are resolved.",
                code=fixed(ip),
                print_code=fixed(f"domain_name({ip})"),
                no_rhs=True,
                no_transformer=True,
            ),
        ]
    return tuple(rows)


ROWS: tuple[Field, ...] = (
    Field(
        name="fd.num",
        klass=_K,
        type=T.INT64,
        doc="Number of the fd, -1 after a failed call.",
        code=fixed("fd_number(e)"),
        print_format="ID",
    ),
    Field(
        name="fd.type",
        klass=_K,
        type=T.CHARBUF,
        doc="Kind of the fd: file, directory, ipv4, ipv6, unix, pipe, event, signalfd, eventpoll, inotify, timerfd, "
        "netlink, bpf, userfaultfd, io_uring, memfd or pidfd.",
        code=fixed("e.fd_type"),
        print_format="DEC",
    ),
    Field(
        name="fd.typechar",
        klass=_K,
        type=T.CHARBUF,
        doc="Kind of the fd as one character.",
        code=fixed("e.fd_typechar"),
        print_format="DEC",
    ),
    Field(
        name="fd.name",
        klass=_K,
        type=T.CHARBUF,
        doc="Path of a file, both ends of a connection, address of a server socket, path of a unix socket.",
        code=fixed("e.fd_name"),
    ),
    Field(
        name="fd.directory",
        klass=_K,
        type=T.CHARBUF,
        doc="Directory of a file; a directory itself.",
        code=fixed("fd_directory(e)"),
    ),
    Field(
        name="fd.filename",
        klass=_K,
        type=T.CHARBUF,
        doc="Name of a file without its directory.",
        code=fixed("fd_filename(e)"),
    ),
    Field(
        name="fd.ip",
        klass=_K,
        type=T.IPADDR,
        doc="Client or server address.",
        code=fixed(f"both_ends(e, {CLIENT_IP})"),
        filter_only=True,
        no_rhs=True,
        no_transformer=True,
        multi="endpoints",
    ),
    Field(
        name="fd.port",
        klass=_K,
        type=T.PORT,
        doc="Client or server port.",
        code=fixed(f"both_ends(e, {CLIENT_PORT})"),
        filter_only=True,
        no_rhs=True,
        no_transformer=True,
        multi="endpoints",
        print_format="DEC",
    ),
    Field(
        name="fd.proto",
        klass=_K,
        type=T.PORT,
        doc="Client or server port.",
        code=fixed(f"both_ends(e, {CLIENT_PORT})"),
        filter_only=True,
        no_rhs=True,
        no_transformer=True,
        multi="endpoints",
    ),
    Field(
        name="fd.net",
        klass=_K,
        type=T.IPNET,
        doc="Whether the client or the server address is in a network.",
        code=fixed(f"both_ends(e, {CLIENT_IP})"),
        filter_only=True,
        no_rhs=True,
        no_transformer=True,
        multi="endpoints",
    ),
    *_ends(),
    Field(
        name="fd.l4proto",
        klass=_K,
        type=T.CHARBUF,
        doc="Transport protocol: tcp, udp, icmp or raw.",
        code=fixed("e.fd_l4proto"),
    ),
    Field(name="fd.sockfamily", klass=_K, type=T.CHARBUF, doc="ip or unix.", code=fixed("fd_family(e)")),
    Field(
        name="fd.is_server",
        klass=_K,
        type=T.BOOL,
        doc="Whether the process is the server of the connection.",
        code=fixed("e.fd_is_server"),
    ),
    Field(name="fd.uid", klass=_K, type=T.CHARBUF, doc="Thread id and fd number.", code=fixed("fd_uid(e)")),
    Field(
        name="fd.containername",
        klass=_K,
        type=T.CHARBUF,
        doc="Container id and fd.name.",
        code=fixed("in_container(e, e.fd_name)"),
    ),
    Field(
        name="fd.containerdirectory",
        klass=_K,
        type=T.CHARBUF,
        doc="Container id and fd.directory.",
        code=fixed("in_container(e, fd_directory(e))"),
    ),
    Field(
        name="fd.connected", klass=_K, type=T.BOOL, doc="Whether a socket is connected.", code=fixed("e.fd_connected")
    ),
    Field(
        name="fd.name_changed",
        klass=_K,
        type=T.BOOL,
        doc="Whether this event changed the name of the fd.",
        code=fixed("e.fd_name_changed"),
    ),
    Field(
        name="fd.dev",
        klass=_K,
        type=T.INT32,
        doc="Device number of the file.",
        code=fixed("fd_device(e)"),
        print_format="HEX",
    ),
    Field(
        name="fd.dev.major",
        klass=_K,
        type=T.INT32,
        doc="Major device number.",
        code=fixed("fd_device_major(e)"),
        print_format="DEC",
    ),
    Field(
        name="fd.dev.minor",
        klass=_K,
        type=T.INT32,
        doc="Minor device number.",
        code=fixed("fd_device_minor(e)"),
        print_format="DEC",
    ),
    Field(name="fd.ino", klass=_K, type=T.INT64, doc="Inode number.", code=fixed("fd_inode(e)"), print_format="DEC"),
    Field(name="fd.nameraw", klass=_K, type=T.CHARBUF, doc="Path as it was passed.", code=fixed("e.fd_nameraw")),
    Field(
        name="fd.types",
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
    ),
    Field(
        name="fd.is_upper_layer",
        klass=_K,
        type=T.BOOL,
        doc="Whether the file lies in the upper layer of overlayfs.",
        code=fixed(f"fd_in_layer(e, {UPPER})"),
    ),
    Field(
        name="fd.is_lower_layer",
        klass=_K,
        type=T.BOOL,
        doc="Whether the file lies in the lower layer of overlayfs.",
        code=fixed(f"fd_in_layer(e, {LOWER})"),
    ),
)
