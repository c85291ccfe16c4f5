# SPDX-License-Identifier: Apache-2.0
"""The kernel programs tell real system calls with the truth about names, sockets and processes."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from falco_py.events.event import Event
from falco_py.events.record import (
    FLAG_COMPAT,
    KIND_EXEC,
    KIND_EXIT,
    KIND_FORK,
    KIND_STATE,
    KIND_SYSCALL,
    Exec,
    Header,
    decode_exec,
    decode_exit,
    decode_fork,
    decode_state,
)
from falco_py.events.syscalls import ROWS
from falco_py.kernel.load import Capture
from falco_py.kernel.pushdown import everything

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

pytestmark = pytest.mark.live

DEADLINE_S = 5.0
WATCHED = [
    "open",
    "openat",
    "openat2",
    "connect",
    "accept4",
    "sendto",
    "renameat",
    "rename",
    "memfd_create",
    "getppid",
    "dup2",
    "execve",
    "bind",
    "listen",
    "ptrace",
    "symlinkat",
    "linkat",
    "unlinkat",
    "setns",
    "fchmodat",
    "socket",
]


@pytest.fixture(scope="module")
def capture() -> Iterator[Capture]:
    loaded = Capture()
    loaded.want(WATCHED)
    loaded.filter(everything())
    loaded.attach()
    yield loaded
    loaded.close()


class Told:
    """What the kernel told about one process, in order."""

    def __init__(self, capture: Capture, pid: int) -> None:
        self.calls: list[Event] = []
        self.life: list[tuple[Header, bytes]] = []
        end = time.monotonic() + DEADLINE_S
        ended = False
        while not ended and time.monotonic() < end:
            events = capture.events.drain()
            life = capture.life.drain()
            for record in [*events, *life]:
                header, payload = record
                assert isinstance(header, Header)
                if header.pid != pid:
                    continue
                if header.kind == KIND_SYSCALL:
                    name = capture.numbers.event_name(header.nr, bool(header.flags & FLAG_COMPAT))
                    assert name is not None
                    self.calls.append(Event(ROWS[name], header, payload, len(self.calls) + 1, 0))
                else:
                    self.life.append((header, payload))
                    ended |= header.kind == KIND_EXIT
        assert ended, "the end of the process was not told"
        # its system calls lie in the other ring, and were there before its end
        for header, payload in capture.events.drain():  # type: ignore[assignment]
            assert isinstance(header, Header)
            if header.pid == pid and header.kind == KIND_SYSCALL:
                name = capture.numbers.event_name(header.nr, bool(header.flags & FLAG_COMPAT))
                assert name is not None
                self.calls.append(Event(ROWS[name], header, payload, len(self.calls) + 1, 0))

    def named(self, name: str) -> list[Event]:
        return [event for event in self.calls if event.name == name]

    def opened(self, raw: str) -> Event:
        found = [e for e in self.calls if e.opened_as is not None and e.opened_as.raw == raw]
        assert len(found) == 1, (raw, [e.opened_as for e in self.calls])
        return found[0]

    def exec(self) -> Exec:
        found = [decode_exec(payload) for header, payload in self.life if header.kind == KIND_EXEC]
        assert found
        assert found[-1] is not None
        return found[-1]


def in_child(capture: Capture, action: Callable[[], None]) -> Told:
    """Runs `action` in a process of its own and returns what was told about it."""
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            action()
            status = 0
        finally:
            os._exit(status)
    _, status = os.waitpid(pid, 0)
    assert status == 0, "the action failed"
    return Told(capture, pid)


def of_program(capture: Capture, *argv: str, env: dict[str, str] | None = None, cwd: str = "/") -> Told:
    process = subprocess.Popen(argv, env=env, cwd=cwd)
    assert process.wait(timeout=DEADLINE_S) == 0
    return Told(capture, process.pid)


def test_an_open_carries_the_resolved_path_and_the_string(capture: Capture, tmp_path: Path) -> None:
    (tmp_path / "real").write_text("x")
    (tmp_path / "link").symlink_to("real")

    def action() -> None:
        os.chdir(tmp_path)
        os.close(os.open("./link", os.O_RDONLY))

    event = in_child(capture, action).opened("./link")
    assert event.fd_name == f"{tmp_path}/real"
    assert event.fd_nameraw == "./link"
    assert event.fd_typechar == "f"
    assert event.other_spelling()
    event.spelling = 1
    assert event.fd_name == f"{tmp_path}/link"


def test_a_failed_open_names_what_was_passed(capture: Capture, tmp_path: Path) -> None:
    def action() -> None:
        os.chdir(tmp_path)
        with contextlib.suppress(FileNotFoundError):
            os.open("missing", os.O_RDONLY)

    event = in_child(capture, action).opened("missing")
    assert event.res == -2
    assert event.fd_num == -2
    assert event.fd_name == f"{tmp_path}/missing"
    assert event.fd_typechar == "f"


def test_a_path_relative_to_a_directory_fd_has_its_base(capture: Capture, tmp_path: Path) -> None:
    (tmp_path / "f").write_text("x")

    def action() -> None:
        directory = os.open(tmp_path, os.O_RDONLY)
        os.close(os.open("../" + tmp_path.name + "/f", os.O_RDONLY, dir_fd=directory))

    event = in_child(capture, action).opened("../" + tmp_path.name + "/f")
    assert event.opened_as is not None
    assert event.opened_as.base == str(tmp_path)
    assert event.opened_as.absolute == f"{tmp_path}/f"
    assert event.fd_name == f"{tmp_path}/f"


@pytest.mark.parametrize(("name", "depth"), [("deep", 40), ("d" * 100, 39)])
def test_long_and_deep_paths_are_whole(capture: Capture, tmp_path: Path, name: str, depth: int) -> None:
    expected = str(tmp_path) + f"/{name}" * depth + "/leaf"

    def action() -> None:
        os.chdir(tmp_path)
        for _ in range(depth):
            os.mkdir(name)
            os.chdir(name)
        os.close(os.open("leaf", os.O_CREAT | os.O_RDWR))

    event = in_child(capture, action).opened("leaf")
    assert event.fd_name == expected
    assert event.fd is not None
    assert not event.fd.truncated


def test_a_path_too_deep_is_marked(capture: Capture, tmp_path: Path) -> None:
    def action() -> None:
        os.chdir(tmp_path)
        for _ in range(300):
            os.mkdir("d")
            os.chdir("d")
        os.close(os.open("leaf", os.O_CREAT | os.O_RDWR))

    event = in_child(capture, action).opened("leaf")
    assert event.fd is not None
    assert event.fd.truncated
    assert event.fd.name is not None
    assert event.fd.name.endswith("/d/leaf")


def test_paths_cross_mounts(capture: Capture) -> None:
    def action() -> None:
        os.close(os.open("/proc/self/status", os.O_RDONLY))
        os.close(os.open("/dev/shm", os.O_RDONLY))

    told = in_child(capture, action)
    name = told.opened("/proc/self/status").fd_name
    assert name is not None
    assert name.startswith("/proc/")
    assert name.endswith("/status")
    assert told.opened("/dev/shm").fd_name == "/dev/shm"
    assert told.opened("/dev/shm").fd_typechar == "d"


def test_a_connection_has_both_ends(capture: Capture) -> None:
    ports: list[int] = []
    server = socket.create_server(("127.0.0.1", 0))
    port = server.getsockname()[1]

    def action() -> None:
        client = socket.create_connection(("127.0.0.1", port))
        accepted, _ = server.accept()
        os.dup2(accepted.fileno(), 100)
        os.dup2(client.fileno(), 101)

    told = in_child(capture, action)
    server.close()
    connect = told.named("connect")[0]
    assert connect.fd_tuple is not None
    ports.append(connect.fd_tuple[1] or 0)
    name = f"127.0.0.1:{ports[0]}->127.0.0.1:{port}"
    assert connect.fd_name == name
    assert connect.fd_connected is True
    assert connect.fd_l4proto == "tcp"
    accept = told.named("accept4")[0]
    assert accept.fd_name == name
    assert accept.fd_is_server is True
    assert {event.fd_num for event in told.named("dup2")} == {100, 101}
    assert {event.fd_typechar for event in told.named("dup2")} == {"4"}


def test_a_refused_connection_keeps_the_address_that_was_passed(capture: Capture) -> None:
    unused = socket.create_server(("127.0.0.1", 0))
    port = unused.getsockname()[1]
    unused.close()

    def action() -> None:
        with contextlib.suppress(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", port))

    event = in_child(capture, action).named("connect")[0]
    assert event.res == -111
    assert event.fd_tuple is not None
    assert str(event.fd_tuple[2]) == "127.0.0.1"
    assert event.fd_tuple[3] == port


def test_a_datagram_names_its_receiver(capture: Capture) -> None:
    def action() -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
            s.sendto(b"hello", ("127.0.0.1", 9))

    event = in_child(capture, action).named("sendto")[0]
    assert event.fd_l4proto == "udp"
    assert event.fd_connected is False
    assert event.fd_tuple is not None
    assert event.fd_tuple[3] == 9


def test_an_ipv6_socket_is_told_as_such(capture: Capture) -> None:
    server = socket.create_server(("::1", 0), family=socket.AF_INET6)
    port = server.getsockname()[1]

    def action() -> None:
        socket.create_connection(("::1", port)).close()

    event = in_child(capture, action).named("connect")[0]
    server.close()
    assert event.fd_typechar == "6"
    assert event.fd_tuple is not None
    assert str(event.fd_tuple[2]) == "::1"


def test_a_unix_socket_has_its_path(capture: Capture, tmp_path: Path) -> None:
    path = str(tmp_path / "s")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(path)
        server.listen(1)

        def action() -> None:
            with socket.socket(socket.AF_UNIX) as s:
                s.connect(path)

        event = in_child(capture, action).named("connect")[0]
    assert event.fd_typechar == "u"
    assert event.fd_name is not None
    assert event.fd_name.endswith(" " + path)


def test_an_exec_carries_the_image(capture: Capture, tmp_path: Path) -> None:
    env = {"PATH": "/usr/bin:/bin", "MARK": "with space"}
    told = of_program(capture, "/bin/true", "one", "two words", "", env=env, cwd=str(tmp_path))
    ex = told.exec()
    assert ex.args == ("/bin/true", "one", "two words", "")
    assert set(ex.env) == {"PATH=/usr/bin:/bin", "MARK=with space"}
    assert ex.exepath == os.path.realpath("/bin/true")
    assert ex.filename == "/bin/true"
    assert ex.cwd == str(tmp_path)
    status = os.stat("/bin/true")
    assert ex.exe_ino == status.st_ino
    assert ex.exe_mtime_ns == status.st_mtime_ns
    assert ex.exe_ctime_ns == status.st_ctime_ns
    assert ex.ruid == os.getuid()
    assert ex.pgid == os.getpgid(0)
    assert ex.sid == os.getsid(0)
    assert not ex.args_truncated
    assert not ex.at
    header = next(header for header, _ in told.life if header.kind == KIND_EXEC)
    assert header.comm == b"true"
    assert header.ppid == os.getpid()


def test_the_cgroups_of_an_exec_are_those_of_proc(capture: Capture) -> None:
    ex = of_program(capture, "/bin/true").exec()
    own = {}
    for line in Path("/proc/self/cgroup").read_text().splitlines():
        _, controllers, path = line.split(":", 2)
        for controller in controllers.split(","):
            own[controller] = path
    for subsystem, path in ex.cgroups:
        assert own.get(subsystem, own.get("")) == path


def test_long_arguments_are_marked_as_cut(capture: Capture) -> None:
    ex = of_program(capture, "/bin/true", "x" * 10_000).exec()
    assert ex.args_truncated
    assert ex.args[1].startswith("xxxx")


def test_an_exec_from_memory_is_told(capture: Capture) -> None:
    def action() -> None:
        fd = os.memfd_create("program")
        os.write(fd, Path("/bin/true").read_bytes())
        os.set_inheritable(fd, True)
        pid = os.fork()
        if pid == 0:
            os.execve(fd, ["true"], {})
        os.waitpid(pid, 0)

    pid = os.fork()
    if pid == 0:
        action()
        os._exit(0)
    os.waitpid(pid, 0)
    end = time.monotonic() + DEADLINE_S
    found: list[Exec] = []
    while not found and time.monotonic() < end:
        for header, payload in capture.life.drain():
            assert isinstance(header, Header)
            if header.kind == KIND_EXEC and header.ppid == pid:
                ex = decode_exec(payload)
                assert ex is not None
                found.append(ex)
    assert found[0].exepath == "memfd:program"
    assert found[0].exe_flags & 4
    assert found[0].at


def test_fork_and_exit_are_told(capture: Capture) -> None:
    def action() -> None:
        child = os.fork()
        if child == 0:
            os._exit(3)
        os.waitpid(child, 0)

    told = in_child(capture, action)
    forks = [decode_fork(payload) for header, payload in told.life if header.kind == KIND_FORK]
    exits = [decode_exit(payload) for header, payload in told.life if header.kind == KIND_EXIT]
    assert len(forks) == 1
    assert forks[0] is not None
    assert forks[0].start > 0
    assert exits[0] is not None
    assert exits[0].status == 0


def test_a_change_of_name_or_directory_is_told(capture: Capture) -> None:
    def action() -> None:
        os.chdir("/usr")
        Path("/proc/self/comm").write_text("ignored")  # not a call that is followed; the header tells it anyway

    states = [
        decode_state(header, payload) for header, payload in in_child(capture, action).life if header.kind == KIND_STATE
    ]
    assert [state.cwd for state in states] == ["/usr"]


COMPAT = r"""
#include <fcntl.h>
int main(void)
{
	static const char path[] = "/etc/hostname";
	int fd;
	/* 5 is open(2) for a 32-bit call, fstat(2) for a 64-bit one */
	__asm__ volatile("int $0x80" : "=a"(fd) : "a"(5), "b"(path), "c"(O_RDONLY), "d"(0) : "memory");
	return fd < 0;
}
"""


def test_a_32_bit_call_is_not_misread(capture: Capture, tmp_path: Path) -> None:
    (tmp_path / "c.c").write_text(COMPAT)
    program = tmp_path / "c"
    subprocess.run(["cc", "-static", "-no-pie", "-o", str(program), str(tmp_path / "c.c")], check=True)
    told = of_program(capture, str(program))
    calls = [event for event in told.calls if event.header.flags & FLAG_COMPAT]
    assert [event.name for event in calls] == ["open"]
    assert calls[0].fd_name == os.path.realpath("/etc/hostname")
    assert calls[0].opened_as is not None
    assert calls[0].opened_as.raw == "/etc/hostname"


def test_a_call_that_nothing_wants_is_not_told(capture: Capture) -> None:
    def action() -> None:
        os.getuid()
        os.stat("/")
        os.getppid()

    assert {event.name for event in in_child(capture, action).calls} == {"getppid"}
