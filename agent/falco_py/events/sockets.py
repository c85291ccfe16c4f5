# SPDX-License-Identifier: Apache-2.0
"""A socket and what a call says of it become Falco's view: client and server ends, name, state.

The kernel gives both ends of the socket itself; the address that a call passed or got back is used only where the
socket has no peer (datagrams, failed connects).
"""

from __future__ import annotations

import socket
from collections import OrderedDict
from typing import NamedTuple

from .record import AF_INET, AF_INET6, IpAddress, Sock, SockAddr

TCP_ESTABLISHED, TCP_CLOSE, TCP_LISTEN = 1, 7, 10
FIRST_EPHEMERAL_PORT = 32768  # net.ipv4.ip_local_port_range

_L4 = {socket.IPPROTO_TCP: "tcp", socket.IPPROTO_UDP: "udp", socket.IPPROTO_ICMP: "icmp", 58: "icmp"}

End = tuple[IpAddress | None, int]


class Ends(NamedTuple):
    """Both ends in both views. An end is None when it is not known; `client` and `server` are local or remote."""

    local: End | None
    remote: End | None
    client: End | None
    server: End | None


def is_inet(sock: Sock) -> bool:
    return sock.family in (AF_INET, AF_INET6)


def l4proto(sock: Sock) -> str:
    """tcp, udp, icmp, raw, or Falco's text for anything else."""
    if is_inet(sock):
        if sock.type == socket.SOCK_RAW:
            return "raw"
        return _L4.get(sock.protocol, "<NA>")
    return "<NA>"


def connected(sock: Sock, event: str, res: int) -> bool:
    if event == "connect":
        return res == 0
    return sock.state == TCP_ESTABLISHED


def listening(sock: Sock) -> bool:
    return sock.state == TCP_LISTEN


def ends(sock: Sock, event: str, address: SockAddr | None) -> Ends:
    """The ends of an inet socket; `address` is the one that the call passed (connect, sendto) or got (recvfrom)."""
    local: End | None = (sock.local_ip, sock.local_port)
    remote: End | None = (sock.remote_ip, sock.remote_port)
    if sock.remote_port == 0:
        remote = None
        if address is not None and address.ip is not None and address.port is not None and event != "bind":
            remote = (address.ip, address.port)
    if event == "bind" and address is not None and address.ip is not None and address.port is not None:
        local = (sock.local_ip or address.ip, sock.local_port or address.port)
    if remote is None:
        # bound or listening: the address is the server's; a socket that was never bound has no end yet
        if sock.local_port == 0:
            return Ends(None, None, None, None)
        return Ends(None, None, None, local)
    if _local_is_server(sock, event, remote):
        return Ends(local, remote, remote, local)
    return Ends(local, remote, local, remote)


def _local_is_server(sock: Sock, event: str, remote: End) -> bool:
    """Who began: told by the call where it can be, else by which port is of the range that clients get."""
    if event in ("accept", "accept4"):
        return True
    if event == "connect":
        return False
    if event in ("recvfrom", "recvmsg", "recvmmsg") and sock.remote_port == 0:
        return True
    if event in ("sendto", "sendmsg", "sendmmsg") and sock.remote_port == 0:
        return False
    return sock.local_port < FIRST_EPHEMERAL_PORT <= remote[1]


def _end_text(end: End) -> str:
    ip, port = end
    return f"{ip if ip is not None else ''}:{port}"


def inet_name(sock: Sock, at: Ends) -> str:
    """fd.name of an inet socket: client->server, the bound address, or nothing before it has one."""
    raw = l4proto(sock) in ("icmp", "raw")
    if at.client is not None and at.server is not None:
        if raw:
            return f"{at.client[0]}->{at.server[0]}"
        return f"{_end_text(at.client)}->{_end_text(at.server)}"
    return _end_text(at.server) if at.server is not None else ""


def unix_name(sock: Sock, address: SockAddr | None) -> str:
    path = sock.path or (address.path if address is not None else None) or ""
    return f"{sock.ptr:x}->{sock.peer_ptr:x} {path}".rstrip()


class SocketNames:
    """The last name of each socket that was asked about, to tell whether a call changed it.

    Bounded: when full, the one not asked about for longest goes, and its next call counts as a change.
    """

    def __init__(self, most: int = 16384) -> None:
        self._most = most
        self._names: OrderedDict[int, str] = OrderedDict()

    def changed(self, sock: Sock, name: str) -> bool:
        before = self._names.pop(sock.ptr, None)
        self._names[sock.ptr] = name
        if len(self._names) > self._most:
            self._names.popitem(last=False)
        return before != name
