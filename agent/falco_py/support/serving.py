# SPDX-License-Identifier: Apache-2.0
"""The web server's port and an agent that runs already become findings.

Invariant: a port is tried by binding it, never by listening; an agent is asked, never signalled.
"""

from __future__ import annotations

import errno
import ipaddress
import os
import socket
import ssl
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from .. import __version__
from ..web.status import StatusError, ask, socket_path
from . import reach
from .finding import Check, fine, warn, wrong

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .finding import Finding, Question

_LISTEN: Final = "0A"  # of /proc/net/tcp
_MOST_PROCESSES: Final = 20_000


def running(question: Question) -> tuple[int, dict[str, Any] | None, str]:
    """Of the agent that runs: its pid (0: none known), what it tells of itself, and why it does not tell."""
    pid = 0
    with suppress(OSError, ValueError):
        pid = int(Path(question.pid_file).read_text().strip())
    path = socket_path()
    try:
        told = ask(path) if path else None
    except StatusError as error:
        return pid, None, str(error)
    return int(told.get("pid", 0) or pid) if told else pid, told, ""


def _alive(pid: int) -> bool:
    return pid > 0 and os.path.exists(f"/proc/{pid}/stat")


def _agent(question: Question) -> Iterator[Finding]:
    pid, told, problem = running(question)
    if told is not None:
        version = told.get("version", "?")
        fact = f"version {version}, pid {pid}, answers on {socket_path()}"
        if version != __version__:
            yield warn("running agent", f"{fact}; this is {__version__}", "restart it: `systemctl restart falco`")
        else:
            yield fine("running agent", fact)
    elif pid and not _alive(pid):
        yield warn("running agent", f"{question.pid_file} names pid {pid}, which does not run",
                   "an agent was killed; start it again, which writes the file anew")  # fmt: skip
    elif pid:
        yield warn("running agent", f"pid {pid} ({question.pid_file}) does not answer on {socket_path()}: {problem}",
                   "ask as the same user, with the same FALCO_PY_STATUS_SOCKET; its log says more")  # fmt: skip
    else:
        yield fine("running agent", f"none is known: no {question.pid_file}, nothing answers on {socket_path() or '-'}")


def holder(port: int) -> int | None:
    """The pid that listens on a TCP port; 0 when somebody does who cannot be seen, None when nobody does."""
    inodes = set()
    for name in ("tcp", "tcp6"):
        with suppress(OSError):
            for line in Path(f"/proc/net/{name}").read_text().splitlines()[1:]:
                parts = line.split()
                if parts[3] == _LISTEN and int(parts[1].rpartition(":")[2], 16) == port:
                    inodes.add(f"socket:[{parts[9]}]")
    if not inodes:
        return None
    for pid in sorted((int(one) for one in os.listdir("/proc") if one.isdigit()), reverse=True)[:_MOST_PROCESSES]:
        with suppress(OSError):
            for fd in os.listdir(f"/proc/{pid}/fd"):
                with suppress(OSError):
                    if os.readlink(f"/proc/{pid}/fd/{fd}") in inodes:
                        return pid
    return 0


def _name(pid: int) -> str:
    with suppress(OSError):
        return Path(f"/proc/{pid}/comm").read_text().strip()
    return "?"


def _web_server(question: Question) -> Iterator[Finding]:
    config = question.config
    if config is None:
        return
    server = config.webserver
    if server is None:
        yield fine("web server", "off: no health check, no metrics over HTTP")
        return
    try:
        if server.ssl_enabled:
            _load_certificate(server.ssl_certificate)
    except OSError as error:
        yield wrong("web server", f"{server.ssl_certificate} cannot be loaded: {reach.reason(error)}",
                    "webserver.ssl_certificate must be a PEM file with key and certificate")  # fmt: skip
    address, port = server.listen_address, server.listen_port
    family = socket.AF_INET6 if ipaddress.ip_address(address).version == 6 else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_STREAM) as tried:
            tried.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            tried.bind((address, port))
    except OSError as error:
        yield _taken(question, f"{address}, port {port}", port, error)
    else:
        yield fine("web server", f"{address}, port {port or 'any'} is free")


def _load_certificate(path: str) -> None:
    """Raises OSError, which ssl.SSLError is. An empty password: OpenSSL would ask the terminal for one."""
    ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(path, password="")


def _taken(question: Question, where: str, port: int, error: OSError) -> Finding:
    if error.errno != errno.EADDRINUSE:
        remedy = "set webserver.listen_address to an address of this machine, and listen_port to one from 1024"
        return wrong("web server", f"{where}: {reach.reason(error)}", remedy)
    pid = holder(port)
    agent, _, _ = running(question)
    if pid and pid == agent:
        return fine("web server", f"{where} is held by the running agent (pid {pid})")
    who = f"pid {pid} ({_name(pid)})" if pid else "another process"
    return wrong("web server", f"{where} is held by {who}", "end it, or set webserver.listen_port to another port")


CHECKS: Final = (Check("running agent", _agent), Check("web server", _web_server))
