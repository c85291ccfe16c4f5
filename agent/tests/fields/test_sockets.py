# SPDX-License-Identifier: Apache-2.0
"""Fields of sockets tell client and server, local and remote, from the kernel's view of the socket."""

from __future__ import annotations

import socket
import struct
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any

import pytest

from falco_py.events.record import ITEM_FD, ITEM_SOCKADDR
from falco_py.fields import dns
from tests.fields.made import event, item, number, printed, process, table, value

if TYPE_CHECKING:
    from pathlib import Path

    from falco_py.state.processes import ProcessTable

FD_SOCK = 1
TCP_ESTABLISHED, TCP_SYN_SENT, TCP_LISTEN = 1, 2, 10
LOCAL, REMOTE = ip_address("10.0.0.5"), ip_address("192.0.2.7")
NO_ADDRESS = ip_address("0.0.0.0")


def sock(
    local: tuple[Any, int], remote: tuple[Any, int], *, kind: int = socket.SOCK_STREAM, protocol: int = 6,
    state: int = TCP_ESTABLISHED, family: int = socket.AF_INET, path: bytes = b"",
) -> bytes:  # fmt: skip
    facts = struct.pack("=iHBBIIQII", 5, 0o140777, 0, FD_SOCK, 8, 0, 1234, 2, 3)
    addresses = [address.packed.ljust(16, b"\0") for address in (local[0], remote[0])]
    ports = local[1], socket.htons(remote[1])
    end = struct.pack(
        "=HHHBBHHI16s16sQQ108s4x", family, kind, protocol, state, len(path), *ports, 0, *addresses, 0xA0, 0xB0, path
    )
    return item(ITEM_FD, facts + end)


def address(ip: Any, port: int) -> bytes:
    return item(ITEM_SOCKADDR, struct.pack("=H", socket.AF_INET) + struct.pack(">H", port) + ip.packed + bytes(8))


@pytest.fixture
def processes(tmp_path: Path) -> ProcessTable:
    return table(tmp_path, process(40, 90, "curl"))


def connect(processes: ProcessTable, ret: int = 0, **facts: Any) -> Any:
    payload = sock((LOCAL, 40000), (REMOTE, 443), **facts) + number(5) + address(REMOTE, 443)
    return event("connect", payload, on=processes, ret=ret)


def test_fields_of_a_connect(processes: ProcessTable) -> None:
    e = connect(processes)
    wanted = {
        "fd.num": 5, "fd.type": "ipv4", "fd.typechar": "4", "fd.name": "10.0.0.5:40000->192.0.2.7:443",
        "fd.cip": LOCAL, "fd.sip": REMOTE, "fd.lip": LOCAL, "fd.rip": REMOTE, "fd.cport": 40000, "fd.sport": 443,
        "fd.lport": 40000, "fd.rport": 443, "fd.cnet": LOCAL, "fd.snet": REMOTE, "fd.lnet": LOCAL, "fd.rnet": REMOTE,
        "fd.cproto": "40000", "fd.sproto": "443", "fd.lproto": "40000", "fd.rproto": "443", "fd.ip": (LOCAL, REMOTE),
        "fd.net": (LOCAL, REMOTE), "fd.port": (40000, 443), "fd.proto": (40000, 443), "fd.l4proto": "tcp",
        "fd.sockfamily": "ip", "fd.is_server": False, "fd.connected": True, "fd.uid": "405", "fd.directory": None,
        "fd.filename": None, "fd.containername": "host:10.0.0.5:40000->192.0.2.7:443", "evt.category": "net",
        "evt.res": "SUCCESS", "evt.rawarg.fd": 5, "evt.arg.tuple": "10.0.0.5:40000->192.0.2.7:443",
        "evt.arg.addr": "192.0.2.7:443", "fs.path.name": None, "evt.count.error.net": 0, "evt.is_open_read": False,
    }  # fmt: skip
    assert {name: value(name, e) for name in wanted} == wanted


def test_connect_under_way_is_not_connected(processes: ProcessTable) -> None:
    e = connect(processes, ret=-115, state=TCP_SYN_SENT)
    wanted = {"evt.res": "EINPROGRESS", "fd.connected": False, "fd.sip": REMOTE, "fd.sport": 443, "evt.failed": True}
    assert {name: value(name, e) for name in wanted} == wanted


def test_accepted_connection_has_the_process_as_its_server(processes: ProcessTable) -> None:
    e = event("accept4", sock((LOCAL, 80), (REMOTE, 50000)), on=processes, ret=5)
    wanted = {
        "fd.cip": REMOTE, "fd.sip": LOCAL, "fd.cport": 50000, "fd.sport": 80, "fd.lport": 80, "fd.rport": 50000,
        "fd.is_server": True, "fd.name": "192.0.2.7:50000->10.0.0.5:80",
    }  # fmt: skip
    assert {name: value(name, e) for name in wanted} == wanted


def test_listening_socket_has_a_server_end_alone(processes: ProcessTable) -> None:
    e = event("listen", sock((NO_ADDRESS, 80), (NO_ADDRESS, 0), state=TCP_LISTEN), on=processes)
    wanted = {
        "fd.sip": NO_ADDRESS, "fd.sport": 80, "fd.cip": None, "fd.cport": None, "fd.lip": None, "fd.rport": None,
        "fd.ip": (NO_ADDRESS,), "fd.port": (80,), "fd.is_server": True, "fd.name": "0.0.0.0:80",
    }  # fmt: skip
    assert {name: value(name, e) for name in wanted} == wanted


def test_unix_socket_has_a_path_and_no_addresses(processes: ProcessTable) -> None:
    payload = sock((NO_ADDRESS, 0), (NO_ADDRESS, 0), family=socket.AF_UNIX, path=b"/run/x.sock") + number(5)
    e = event("connect", payload, on=processes)
    wanted = {
        "fd.type": "unix", "fd.typechar": "u", "fd.sockfamily": "unix", "fd.name": "a0->b0 /run/x.sock", "fd.sip": None,
        "fd.ip": None, "fd.port": None, "fd.snet": None, "fd.sip.name": None, "fd.l4proto": "<NA>",
    }  # fmt: skip
    assert {name: value(name, e) for name in wanted} == wanted


def test_write_to_the_log_socket_is_told(processes: ProcessTable) -> None:
    ends = (NO_ADDRESS, 0), (NO_ADDRESS, 0)
    log, other = (sock(*ends, family=socket.AF_UNIX, path=path) for path in (b"/dev/log", b"/run/x"))
    assert value("evt.is_syslog", event("sendto", log, on=processes, ret=3)) is True
    assert value("evt.is_syslog", event("sendto", other, on=processes, ret=3)) is False


def test_host_name_is_compared_by_address_and_printed_when_known(
    processes: ProcessTable, monkeypatch: pytest.MonkeyPatch
) -> None:
    e = connect(processes)
    assert value("fd.sip.name", e) == REMOTE
    assert printed("fd.sip.name", e) == "192.0.2.7"
    monkeypatch.setattr(dns.Resolver, "name_of", lambda _self, ip: "web.test" if ip == REMOTE else None)
    assert printed("fd.sip.name", e) == "web.test"
    assert printed("fd.cip.name", e) == "10.0.0.5"
