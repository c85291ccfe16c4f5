# SPDX-License-Identifier: Apache-2.0
"""Kinds and names of open fds are those of the living process."""

from __future__ import annotations

import os
import select
import socket
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from falco_py.fields import openfds

if TYPE_CHECKING:
    from pathlib import Path


def own(pid: int | None = None) -> Any:
    """An event of this very process."""
    return SimpleNamespace(table=SimpleNamespace(proc="/proc"), header=SimpleNamespace(pid=pid or os.getpid()))


def test_kinds_of_files(tmp_path: Path) -> None:
    (tmp_path / "f").touch()
    os.mkfifo(tmp_path / "fifo")
    file = os.open(tmp_path / "f", os.O_RDONLY)
    directory = os.open(tmp_path, os.O_RDONLY)
    fifo = os.open(tmp_path / "fifo", os.O_RDONLY | os.O_NONBLOCK)
    memory = os.memfd_create("x")
    ends = os.pipe()
    try:
        found = [openfds.open_fd_type(own(), fd) for fd in (file, directory, fifo, memory, ends[0])]
        assert found == ["file", "directory", "pipe", "memfd", "pipe"]
        assert openfds.open_fd_name(own(), file) == str(tmp_path / "f")
        assert openfds.open_fd_name(own(), memory) == "x"
        assert openfds.open_fd_name(own(), ends[0]) == ""
    finally:
        for fd in (file, directory, fifo, memory, *ends):
            os.close(fd)


@pytest.mark.parametrize(
    ("family", "kind", "word"),
    [
        (socket.AF_INET, socket.SOCK_STREAM, "ipv4"),
        (socket.AF_INET6, socket.SOCK_DGRAM, "ipv6"),
        (socket.AF_UNIX, socket.SOCK_STREAM, "unix"),
        (socket.AF_NETLINK, socket.SOCK_RAW, "netlink"),
    ],
)
def test_kinds_of_sockets(family: int, kind: int, word: str) -> None:
    with socket.socket(family, kind) as made:
        assert openfds.open_fd_type(own(), made.fileno()) == word
        assert word in (openfds.open_fd_types(own()) or ())


def test_kind_of_epoll() -> None:
    with select.epoll() as made:
        assert openfds.open_fd_type(own(), made.fileno()) == "eventpoll"


def test_name_of_a_connection_has_the_client_first() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        with socket.create_connection(("127.0.0.1", port)) as client:
            accepted, _ = server.accept()
            with accepted:
                name = f"127.0.0.1:{client.getsockname()[1]}->127.0.0.1:{port}"
                assert openfds.open_fd_name(own(), client.fileno()) == name
                assert openfds.open_fd_name(own(), accepted.fileno()) == name
                assert openfds.open_fd_name(own(), server.fileno()) == f"127.0.0.1:{port}"


def test_counts() -> None:
    before = openfds.open_fd_count(own())
    assert before is not None
    fd = os.open("/", os.O_RDONLY)
    try:
        assert openfds.open_fd_count(own()) == before + 1
    finally:
        os.close(fd)
    threads = openfds.thread_count(own())
    assert threads is not None
    assert threads >= 1


def test_a_process_that_is_gone_has_nothing() -> None:
    gone = own(4_000_000)
    assert openfds.open_fd_type(gone, 0) is None
    assert openfds.open_fd_type_list(gone, 0) is None
    assert openfds.open_fd_name(gone, 0) is None
    assert openfds.open_fd_types(gone) is None
    assert openfds.open_fd_count(gone) is None
    assert openfds.thread_count(gone) is None
