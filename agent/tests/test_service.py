# SPDX-License-Identifier: Apache-2.0
"""What the service manager is told, over its socket."""

from __future__ import annotations

import os
import socket
from typing import TYPE_CHECKING

from falco_py import service

if TYPE_CHECKING:
    from pathlib import Path

    import pytest


def test_a_message_reaches_the_socket_of_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        manager.settimeout(10)
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        assert service.notify("READY=1", "STATUS=fine")
        assert manager.recv(100) == b"READY=1\nSTATUS=fine"


def test_an_abstract_socket_is_one_as_well(monkeypatch: pytest.MonkeyPatch) -> None:
    name = f"falco-py-test-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind("\0" + name)
        manager.settimeout(10)
        monkeypatch.setenv("NOTIFY_SOCKET", "@" + name)
        assert service.notify("WATCHDOG=1")
        assert manager.recv(100) == b"WATCHDOG=1"


def test_without_a_manager_nothing_happens(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    assert not service.notify("READY=1")
    monkeypatch.setenv("NOTIFY_SOCKET", "/nonexistent/socket")
    assert not service.notify("READY=1")


def test_the_watchdog_is_fed_twice_in_its_time_and_only_by_the_one_it_is_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WATCHDOG_USEC", "60000000")
    monkeypatch.delenv("WATCHDOG_PID", raising=False)
    assert service.watchdog_s() == 30
    monkeypatch.setenv("WATCHDOG_PID", str(os.getpid()))
    assert service.watchdog_s() == 30
    monkeypatch.setenv("WATCHDOG_PID", "1")
    assert service.watchdog_s() == 0
    monkeypatch.setenv("WATCHDOG_PID", str(os.getpid()))
    monkeypatch.setenv("WATCHDOG_USEC", "soon")
    assert service.watchdog_s() == 0
