# SPDX-License-Identifier: Apache-2.0
"""What the agent is measured under: loops of one call, and work that people do.

A load gives nanoseconds for each turn. The number of turns is found once, without an agent, and is then the same for
all settings, so that counts of events can be compared.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from .children import Children

HERE = Path(__file__).resolve().parent
COMPONENTS = 6
C_FILES = 40
_TRIAL_S = 0.02  # of a loop, to find how many turns it makes
_READY_S = 10
_SOURCE = """\
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
int number_{0}(const char *text)
{{
	char copy[64];
	snprintf(copy, sizeof(copy), "%s %d", text, {0});
	return atoi(copy) + (int)strlen(copy);
}}
"""


@dataclass(frozen=True)
class Load:
    """`run(turns)` gives ns for each turn. A `loop` is timed for as long as is wanted, other loads as they are."""

    name: str
    run: Callable[[int], float]
    turns: int = 1
    loop: bool = False

    def measure(self) -> float:
        return self.run(self.turns)

    def sized(self, wanted_s: float) -> Load:
        """The same with so many turns that it takes about this long now."""
        if not self.loop:
            self.measure()  # its files are in memory from now on
            return self
        turns = 10
        ns = self.run(turns)
        while ns * turns < _TRIAL_S * 1e9:
            turns *= 5
            ns = self.run(turns)
        return replace(self, turns=max(10, int(wanted_s * 1e9 / ns)))


def ordinary_file() -> Path | None:
    """A file of the system with a path of six components, none of them a link."""
    for top in ("/usr/include", "/usr/lib", "/usr/share"):
        for place, folders, names in os.walk(top):
            folders.sort()
            depth = place.count("/")
            if depth == COMPONENTS - 1:
                folders.clear()
                for name in sorted(names):
                    path = Path(place, name)
                    if path.is_file() and path.resolve() == path:
                        return path
    return None


def made_file(scratch: Path) -> Path:
    """One like it, for a machine that has none."""
    path = scratch / "a" / "b" / "c" / "file"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("ordinary\n")
    return path


def build_loops(children: Children, scratch: Path) -> Path:
    program = scratch / "loops"
    children.run(["gcc", "-O2", "-o", str(program), str(HERE / "loops.c")])
    return program


def loops(children: Children, program: Path, scratch: Path) -> Iterator[Load]:
    path = ordinary_file() or made_file(scratch)
    long_file = scratch / "long"
    with long_file.open("wb") as made:
        made.truncate(1 << 20)
    for name, loop, argument in (
        ("getppid", "getppid", "-"),
        ("open+close", "open", path),
        ("openat+close, relative", "openat", path),
        ("open, missing file", "open", path.with_name("missing")),
        ("read of a byte", "read", long_file),
        ("stat", "stat", path),
        ("connect, loopback", "connect", "-"),
        ("vfork+exec, /bin/true", "exec", "/bin/true"),
    ):
        yield Load(name, _loop(children, [str(program), loop], str(argument)), loop=True)


def _loop(children: Children, command: list[str], argument: str) -> Callable[[int], float]:
    return lambda turns: float(children.run([*command, str(turns), argument]))


def work(children: Children, scratch: Path) -> Iterator[Load]:
    yield Load("find /usr", _command(children, ["find", "/usr", "-xdev"]))
    sources = []
    for number in range(C_FILES):
        source = scratch / f"number_{number}.c"
        source.write_text(_SOURCE.format(number))
        sources.append(source)
    yield Load(f"compile, {C_FILES} files", lambda _: compiled(children, sources))


def _command(children: Children, command: list[str]) -> Callable[[int], float]:
    def run(turns: int) -> float:
        start = time.monotonic_ns()
        for _ in range(turns):
            child = children.start(command, stderr=subprocess.DEVNULL)
            child.wait(300)
        return (time.monotonic_ns() - start) / turns

    return run


def compiled(children: Children, sources: list[Path]) -> float:
    """As many at once as there are CPUs, ns for all."""

    def one(source: Path) -> None:
        children.start(["gcc", "-O1", "-c", str(source), "-o", str(source.with_suffix(".o"))]).wait(60)

    start = time.monotonic_ns()
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        list(pool.map(one, sources))
    return float(time.monotonic_ns() - start)


def servers(children: Children, scratch: Path, requests: int) -> Iterator[Load | str]:
    """Servers under load, or a word on why there is none. They run until `children` end."""
    for make, needed in ((redis, ("redis-server", "redis-benchmark")), (nginx, ("nginx", "ab"))):
        missing = [program for program in needed if shutil.which(program) is None]
        yield (
            f"no load on {needed[0]}: {' and '.join(missing)} not installed"
            if missing
            else make(children, scratch, requests)
        )


def redis(children: Children, scratch: Path, requests: int) -> Load:
    port = free_port()
    children.start(["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", str(scratch)])
    wait_for(port)
    command = ["redis-benchmark", "-p", str(port), "-t", "get", "-n", str(requests), "-q"]
    run = _command(children, command)
    return Load("redis, GET", lambda _: run(1) / requests)


def nginx(children: Children, scratch: Path, requests: int) -> Load:
    port = free_port()
    home = scratch / "nginx"
    home.mkdir()
    home.chmod(0o755)
    (home / "index.html").write_text("hello\n")
    temporary = "".join(
        f"{kind}_temp_path {home}/{kind};" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    (home / "nginx.conf").write_text(
        f"daemon off; pid {home}/pid; error_log {home}/error.log; user root; worker_processes 1; events {{}}\n"
        f"http {{ access_log off; {temporary} server {{ listen 127.0.0.1:{port}; root {home}; }} }}\n"
    )
    children.start(["nginx", "-c", str(home / "nginx.conf")], stderr=subprocess.DEVNULL)
    wait_for(port)
    requests //= 4
    run = _command(children, ["ab", "-q", "-n", str(requests), "-c", "4", f"http://127.0.0.1:{port}/index.html"])
    return Load("nginx, a small file", lambda _: run(1) / requests)


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def wait_for(port: int) -> None:
    """Until something listens. Raises TimeoutError."""
    ends = time.monotonic() + _READY_S
    while time.monotonic() < ends:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            time.sleep(0.05)
        else:
            return
    raise TimeoutError(f"nothing listens on port {port}")
