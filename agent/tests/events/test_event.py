# SPDX-License-Identifier: Apache-2.0
"""Events read what the kernel wrote, and no bytes whatever make them raise."""

from __future__ import annotations

import os
import struct
from ipaddress import IPv4Address, IPv6Address
from types import SimpleNamespace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from falco_py.events import _items, record, sockets
from falco_py.events.event import Event
from falco_py.events.record import (
    AF_INET,
    ITEM_CUT,
    ITEM_DIR,
    ITEM_FD,
    ITEM_NULL,
    ITEM_PATH,
    ITEM_SOCKADDR,
    ITEM_VALUE,
    Header,
    Sock,
    SockAddr,
    absolute_path,
    decode_exec,
    decode_exit,
    decode_fork,
    decode_sockaddr,
    split_items,
)
from falco_py.events.syscalls import ROWS
from tests.events.layout import EXEC_FACTS

HEADER = Header(0, 0, 10, 3, 257, 0, 7, 7, 1, 0, 0, 7, 7, 1, 5, 1, 9, b"cat", 0, 0, 0)


def item(tag: int, raw: bytes, flags: int = 0) -> bytes:
    return struct.pack("=HBB", len(raw), tag, flags) + raw


def value(number: int) -> bytes:
    return item(ITEM_VALUE, struct.pack("=q", number))


def file_item(path: str, num: int = 3, mode: int = 0o100644, file_mode: int = 0, layer: int = 0) -> bytes:
    facts = struct.pack("=iHBBIIQII", num, mode, layer, record.FD_FILE, 0xFE00000, 0xEF53, 99, 0, file_mode)
    return item(ITEM_FD, facts + path.encode())


def openat(raw: str, resolved: str, base: str | None = None, flags: int = 0, **facts: int) -> Event:
    directory = item(ITEM_DIR, base.encode()) if base is not None else item(ITEM_DIR, b"", ITEM_CUT)
    payload = file_item(resolved, **facts) + value(-100) + item(ITEM_PATH, raw.encode()) + directory
    return Event(ROWS["openat"], HEADER, payload + value(flags) + value(0), 1, 1)


def test_a_relative_open_has_both_spellings() -> None:
    event = openat("../shadow", "/etc/shadow", base="/etc/ssh")
    assert event.fd_name == "/etc/shadow"
    assert not event.other_spelling()
    link = openat("l", "/etc/shadow", base="/tmp")
    assert link.other_spelling()
    link.spelling = 1
    assert link.fd_name == "/tmp/l"
    assert link.fd_nameraw == "l"


def test_open_flags_tell_creation_and_layer() -> None:
    event = openat("/f", "/f", flags=0o101, file_mode=0x100000, layer=1)
    flags = event.arg(3)
    assert flags & 0x4000  # O_F_CREATED
    assert flags & 0x8000  # FD_UPPER_LAYER
    assert flags & 0x4  # O_CREAT
    assert flags & 0x2  # O_WRONLY


def test_a_number_is_read_without_the_other_parameters() -> None:
    event = openat("../shadow", "/etc/shadow", base="/etc/ssh", flags=0o101)
    assert [_items.number(event.payload, place) for place in range(6)] == [-100, None, None, 0o101, 0, None]
    assert event.arg(3) == 6  # the same parameter in Falco's numbers


def test_an_unreadable_name_leaves_the_other_parameters() -> None:
    payload = (
        file_item("/etc/x") + value(-100) + item(ITEM_NULL, b"") + item(ITEM_DIR, b"/tmp") + value(0) + value(0o644)
    )
    event = Event(ROWS["openat"], HEADER, payload, 1, 1)
    assert event.arg(2) is None
    assert event.arg(1) == -100
    assert event.fd_name == "/etc/x"


@pytest.mark.parametrize(
    ("raw", "base", "expected"),
    [
        ("/a//b/../c", None, "/a/c"),
        ("b", "/a", "/a/b"),
        ("../b", "/a", "/b"),
        ("b", "/", "/b"),
        ("//etc/x", None, "/etc/x"),
        ("b", None, None),
    ],
)
def test_paths_are_joined_by_their_text(raw: str, base: str | None, expected: str | None) -> None:
    assert absolute_path(raw, base) == expected


def sock(local: str, lport: int, remote: str, rport: int, kind: int = 1, proto: int = 6, state: int = 1) -> Sock:
    return Sock(AF_INET, kind, proto, state, IPv4Address(local), lport, IPv4Address(remote), rport, None, 1, 0)


def test_the_caller_is_the_client_of_a_connect_and_the_server_of_an_accept() -> None:
    s = sock("10.0.0.1", 40000, "10.0.0.2", 80)
    assert sockets.inet_name(s, sockets.ends(s, "connect", None)) == "10.0.0.1:40000->10.0.0.2:80"
    assert sockets.inet_name(s, sockets.ends(s, "accept4", None)) == "10.0.0.2:80->10.0.0.1:40000"


def test_ports_tell_who_began_elsewhere() -> None:
    s = sock("10.0.0.1", 80, "10.0.0.2", 40000)
    assert sockets.ends(s, "dup2", None).server == (IPv4Address("10.0.0.1"), 80)


def test_a_bound_socket_has_a_server_end_only() -> None:
    s = sock("0.0.0.0", 80, "0.0.0.0", 0, state=sockets.TCP_LISTEN)
    at = sockets.ends(s, "listen", None)
    assert (at.client, at.server) == (None, (IPv4Address("0.0.0.0"), 80))
    assert sockets.inet_name(s, at) == "0.0.0.0:80"


def test_a_fresh_socket_has_no_name() -> None:
    s = sock("0.0.0.0", 0, "0.0.0.0", 0, state=sockets.TCP_CLOSE)
    assert sockets.inet_name(s, sockets.ends(s, "socket", None)) == ""


def test_a_datagram_takes_the_address_of_the_call() -> None:
    s = sock("0.0.0.0", 5000, "0.0.0.0", 0, kind=2, proto=17, state=7)
    at = sockets.ends(s, "sendto", SockAddr(AF_INET, IPv4Address("8.8.8.8"), 53))
    assert at.server == (IPv4Address("8.8.8.8"), 53)


def test_names_of_sockets_change_once() -> None:
    names = sockets.SocketNames(most=2)
    s = sock("0.0.0.0", 5000, "0.0.0.0", 0)
    assert names.changed(s, "a")
    assert not names.changed(s, "a")
    assert names.changed(s, "b")


def test_addresses_are_decoded() -> None:
    v4 = struct.pack("=H", 2) + (80).to_bytes(2, "big") + IPv4Address("1.2.3.4").packed + bytes(8)
    assert decode_sockaddr(v4) == SockAddr(2, IPv4Address("1.2.3.4"), 80)
    v6 = struct.pack("=H", 10) + (80).to_bytes(2, "big") + bytes(4) + IPv6Address("::1").packed + bytes(4)
    assert decode_sockaddr(v6) == SockAddr(10, IPv6Address("::1"), 80)
    mapped = (
        struct.pack("=H", 10) + (80).to_bytes(2, "big") + bytes(4) + IPv6Address("::ffff:1.2.3.4").packed + bytes(4)
    )
    assert decode_sockaddr(mapped) == SockAddr(10, IPv4Address("1.2.3.4"), 80)
    assert decode_sockaddr(struct.pack("=H", 1) + b"/run/s\0junk") == SockAddr(1, path="/run/s")
    assert decode_sockaddr(struct.pack("=H", 1) + b"\0name") == SockAddr(1, path="@name")
    assert decode_sockaddr(b"\2") is None


PROPERTIES = (
    "name res fd fd_num fd_kind fd_typechar fd_type opened_as fd_name fd_nameraw fd_ends fd_tuple fd_local fd_remote "
    "fd_connected fd_name_changed fd_is_server fd_l4proto file cut"
)

items = st.lists(
    st.builds(item, st.integers(0, 12), st.binary(max_size=80), st.integers(0, 3)), max_size=10
).map(b"".join)  # fmt: skip


@settings(max_examples=1500, deadline=None)
@given(
    st.sampled_from(sorted(ROWS)),
    st.one_of(
        st.binary(max_size=200), items, st.builds(lambda a, b: file_item("/x") + a + b, items, st.binary(max_size=9))
    ),
    st.integers(-(2**63), 2**63 - 1),
    st.integers(0, 1),
)
def test_no_bytes_make_an_event_raise(name: str, payload: bytes, ret: int, spelling: int) -> None:
    event = Event(ROWS[name], HEADER._replace(ret=ret), payload, 1, 1)
    event.process = SimpleNamespace()
    event.socket_names = sockets.SocketNames()
    event.spelling = spelling
    for one in PROPERTIES.split():
        getattr(event, one)
    event.other_spelling()
    for index in range(-1, len(event.row.params) + 1):
        event.arg(index)
    for place in range(-1, 12):
        _items.number(payload, place)
        _items.as_passed(payload, place)


def whole_items(payload: bytes) -> list[tuple[int, int, bytes]]:
    """The items that the native reader finds, with a leading fd item put back."""
    starts = _items.starts(payload)
    first = split_items(payload)[:1]
    if first and first[0][0] == ITEM_FD:
        starts = [0, *starts]
    found = []
    for at in starts:
        size, tag, flags = record.unpack_item(payload, at)
        found.append((tag, flags, payload[at + 4 : at + 4 + size]))
    return found


def split(payload: bytes) -> list[tuple[int, int, bytes]]:
    found, at = [], 0
    while at + 4 <= len(payload):
        size, tag, flags = record.unpack_item(payload, at)
        if at + 4 + size > len(payload):
            break
        found.append((tag, flags, payload[at + 4 : at + 4 + size]))
        at += 4 + size
    return found


def strings(raw: bytes) -> tuple[str, ...]:
    return tuple(map(record.text, raw.removesuffix(b"\0").split(b"\0"))) if raw else ()


def exec_of(payload: bytes) -> record.Exec | None:
    """What the native reader must find in a record of an exec."""
    found = split(payload)
    found += [(ITEM_NULL, 0, b"")] * (12 - len(found))
    if len(found[0][2]) < EXEC_FACTS.size:
        return None
    facts = EXEC_FACTS.unpack_from(found[0][2])
    at, exe_flags, loginuid, sessionid, ruid, rgid, euid, egid, suid, fsuid, tty, sid, pgid, vpgid = facts[:14]
    pidns, exe_dev, pidns_start, exe_ino, ctime, mtime, vm_size, vm_rss, vm_swap, maj, minor, fdlimit = facts[14:]
    exe = record.decode_fd(found[1][2])
    path = exe.name or "" if exe else ""
    args, env = found[10], found[11]
    page_kb = os.sysconf("SC_PAGESIZE") // 1024
    size, rss, swap = (pages * page_kb % 2**64 for pages in (vm_size, vm_rss, vm_swap))
    subsystems = ("", "memory", "cpu", "cpuset", "devices", "pids")  # in the order of exec_cgroups(), bpf/lib/exec.h
    return record.Exec(
        bool(at), path, bool(exe and exe.truncated), record.text(found[3][2]),
        strings(args[2]), bool(args[1] & 1) or args[0] == ITEM_NULL,
        env[2], bool(env[1] & 1) or env[0] == ITEM_NULL,
        record.text(found[2][2]),
        tuple((name, record.text(raw)) for name, (tag, _, raw) in zip(subsystems, found[4:10], strict=True)
              if tag == record.ITEM_DIR),
        -1 if loginuid == 2**32 - 1 else loginuid,
        ruid, rgid, euid, egid, suid, fsuid, sessionid, tty, sid, pgid, vpgid,
        pidns, pidns_start, exe_flags | 4 * path.startswith("memfd:"), exe_dev, exe_ino, ctime, mtime, size, rss, swap,
        maj, minor, fdlimit,
    )  # fmt: skip


exec_payloads = st.builds(
    lambda facts, file, rest: item(record.ITEM_FACTS, facts) + file + rest,
    st.binary(min_size=EXEC_FACTS.size, max_size=EXEC_FACTS.size),
    st.one_of(
        st.builds(lambda at, raw: item(ITEM_FD, at + raw), st.binary(min_size=40, max_size=40), st.binary(max_size=40)),
        st.sampled_from(["/bin/true", "/memfd:x"]).map(file_item),
        st.just(item(ITEM_FD, bytes(7) + b"\x18" + bytes(32) + b"/memfd:kit")),
    ),
    st.lists(
        st.builds(item, st.sampled_from([4, 7, 8]), st.one_of(st.binary(max_size=60), st.just(b"a\0b\0")),
                  st.integers(0, 1)), max_size=12
    ).map(b"".join),
)  # fmt: skip


@settings(max_examples=1500, deadline=None)
@given(st.one_of(exec_payloads, items, st.binary(max_size=400)))
def test_an_exec_is_read_as_its_layout_says(payload: bytes) -> None:
    assert decode_exec(payload) == exec_of(payload)
    assert split_items(payload) == split(payload)
    assert record.strings(payload) == strings(payload)


@settings(max_examples=500, deadline=None)
@given(st.one_of(st.binary(max_size=400), items))
def test_no_bytes_make_a_life_record_raise(payload: bytes) -> None:
    decode_exec(payload)
    decode_fork(payload)
    decode_exit(payload)
    assert whole_items(payload) == split_items(payload)
    for tag, _, raw in split_items(payload):
        if tag == ITEM_SOCKADDR:
            decode_sockaddr(raw)
