# SPDX-License-Identifier: Apache-2.0
"""Alerts over the syslog socket: their form, a daemon that restarts, and the real rsyslogd."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
from typing import TYPE_CHECKING

import pytest

from falco_py import syslog
from falco_py.outputs.syslog import Syslog
from tests.outputs.items import item, until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def directory(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """With a short name: a socket's path has at most 107 characters."""
    made = tmp_path_factory.mktemp("log")
    yield made
    shutil.rmtree(made)


def daemon(path: Path, kind: int = socket.SOCK_DGRAM) -> socket.socket:
    made = socket.socket(socket.AF_UNIX, kind)
    made.bind(str(path))
    made.settimeout(10)
    return made


def test_a_message_has_facility_severity_time_and_name(directory: Path) -> None:
    with daemon(directory / "log") as listening:
        syslog.Syslog(str(directory / "log")).send(4, "12:00:00.1: Warning ünicode")
        message = listening.recv(1000).decode()
    # facility daemon (3) * 8 + warning (4)
    assert re.fullmatch(
        rf"<28>[A-Z][a-z]{{2}} [ 1-3]\d \d\d:\d\d:\d\d falco\[{os.getpid()}\]: 12:00:00.1: Warning ünicode", message
    )


@pytest.mark.parametrize("severity", range(8))
def test_each_priority_has_its_severity(directory: Path, severity: int) -> None:
    with daemon(directory / "log") as listening:
        syslog.Syslog(str(directory / "log")).send(severity, "x")
        assert listening.recv(1000).startswith(f"<{24 + severity}>".encode())


def test_a_daemon_that_listens_on_a_stream_is_served(directory: Path) -> None:
    with daemon(directory / "log", socket.SOCK_STREAM) as listening:
        listening.listen(1)
        to = syslog.Syslog(str(directory / "log"))
        to.send(3, "one")
        client, _ = listening.accept()
        with client:
            client.settimeout(10)
            assert client.recv(1000).endswith(b": one\0")
        to.close()


def test_a_message_that_is_too_long_is_cut_with_a_mark(directory: Path) -> None:
    with daemon(directory / "log") as listening:
        syslog.Syslog(str(directory / "log")).send(3, "x" * 1_000_000)
        message = listening.recv(1 << 20)
    assert 1024 <= len(message) < 1_000_000
    assert message.endswith(b"x...")


def test_alerts_wait_for_a_daemon_that_is_away(directory: Path) -> None:
    path = directory / "log"
    out = Syslog(path=str(path))
    out.start()
    try:
        out.offer(item("one"))
        out.tell()
        until(lambda: out.problem)
        assert out.problem == f"{path}: No such file or directory"
        with daemon(path) as listening:
            until(lambda: out.delivered == 1)
            assert listening.recv(1000).endswith(b": one")
        path.unlink()
        with daemon(path) as listening:  # restarted
            out.offer(item("two"))
            out.tell()
            until(lambda: out.delivered == 2)
            assert listening.recv(1000).endswith(b": two")
    finally:
        out.close(5)
    assert out.lost == 0


def test_a_daemon_that_takes_nothing_is_told_and_loses_nothing(directory: Path) -> None:
    path = directory / "log"
    with daemon(path) as listening:
        out = Syslog(path=str(path), timeout_ms=100)
        out.start()
        try:
            for number in range(500):
                out.offer(item(f"{number} " + "x" * 2000))
            out.tell()
            until(lambda: out.problem)
            assert out.problem.endswith("it takes nothing")
            numbers = [int(listening.recv(9000).split(b": ", 1)[1].split()[0]) for _ in range(500)]
        finally:
            out.close(5)
    assert numbers == list(range(500))
    assert (out.delivered, out.lost) == (500, 0)


def test_the_real_rsyslogd_files_alerts_by_severity(directory: Path) -> None:
    rsyslogd = shutil.which("rsyslogd", path="/usr/sbin:/usr/bin:/sbin:/bin")
    assert rsyslogd, "rsyslog is missing; run 'make setup'"
    path, all_lines, errors = directory / "log", directory / "daemon.log", directory / "errors.log"
    settings = directory / "rsyslog.conf"
    settings.write_text(
        'module(load="imuxsock" SysSock.Use="off")\n'
        f'input(type="imuxsock" Socket="{path}" UseSysTimeStamp="off")\n'
        'template(name="all" type="string" '
        'string="%syslogfacility-text%.%syslogseverity-text% %programname% %msg%\\n")\n'
        f'daemon.* action(type="omfile" file="{all_lines}" template="all")\n'
        f'daemon.err action(type="omfile" file="{errors}" template="all")\n'
    )
    running = subprocess.Popen(
        [rsyslogd, "-n", "-f", str(settings), "-i", str(directory / "pid")],
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
    )  # fmt: skip
    out = Syslog(path=str(path))
    try:
        until(path.exists)
        out.start()
        for severity in range(8):
            out.offer(item(f"alert {severity}", severity))
        out.tell()
        until(lambda: all_lines.exists() and len(all_lines.read_text().splitlines()) == 8)
        until(lambda: errors.exists() and len(errors.read_text().splitlines()) == 4)
    finally:
        out.close(5)
        running.terminate()
        running.communicate(timeout=10)
    names = ("emerg", "alert", "crit", "err", "warning", "notice", "info", "debug")
    assert all_lines.read_text().splitlines() == [
        f"daemon.{name} falco  alert {number}" for number, name in enumerate(names)
    ]
