# SPDX-License-Identifier: Apache-2.0
"""A BPF object becomes loaded maps and programs, in a child process while the agent does other things.

Invariant: the child ends when the agent does or after `LIMIT_S`; it never outlives `close`.
"""

from __future__ import annotations

import os
import platform
import socket
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

from . import bpf
from .host import HostError

OBJECTS = Path(__file__).parent / "objects"
LIMIT_S = 60.0
_SCRIPT = Path(__file__).with_name("loader.py")
_MAX_FDS = 128
_LOG_LINES = 12


class Loading:
    """Of one object. `maps` by name, `programs` (file descriptors) by name, once `wait` has returned."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._log = os.fdopen(os.memfd_create("falco-py-loader"), "w+b")  # read when the child has ended
        self._channel, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._channel.settimeout(LIMIT_S)
        self.maps: dict[str, bpf.Map] = {}
        self.programs: dict[str, int] = {}
        with theirs:
            self._child = subprocess.Popen(
                [sys.executable, "-P", str(_SCRIPT), str(path), str(theirs.fileno())],
                stdin=subprocess.DEVNULL,
                stdout=self._log,
                stderr=self._log,
                pass_fds=(theirs.fileno(),),
            )

    def wait(self) -> None:
        """Until the object is loaded. Raises HostError."""
        try:
            said, fds, _, _ = socket.recv_fds(self._channel, 16, _MAX_FDS, socket.MSG_CMSG_CLOEXEC)
        except TimeoutError:
            raise self._refused(f"not loaded after {LIMIT_S:.0f} seconds") from None
        if not said:
            with suppress(subprocess.TimeoutExpired):
                self._child.wait(LIMIT_S)
            raise self._refused(f"exit code {self._child.poll()}")
        for fd in fds:
            if os.readlink(f"/proc/self/fd/{fd}") == "anon_inode:bpf-prog":
                self.programs[bpf.program_name(fd)] = fd
            else:
                found = bpf.Map(fd)
                self.maps[found.name] = found
        self._end()

    def _refused(self, otherwise: str) -> HostError:
        self._log.seek(0)
        said = self._log.read().decode("utf-8", "replace").strip().splitlines()[-_LOG_LINES:]
        return HostError(
            f"the kernel refused the BPF object {self._path.name}: {said[-1] if said else otherwise}"
            + "".join(f"\n    {line}" for line in said[:-1]),
            "check `dmesg`, that no lockdown mode or seccomp profile forbids bpf(2), and that the kernel has "
            "CONFIG_BPF_SYSCALL, CONFIG_BPF_EVENTS and CONFIG_DEBUG_INFO_BTF.",
        )

    def _end(self) -> None:
        if self._child.poll() is None:
            try:
                self._child.wait(1)
            except subprocess.TimeoutExpired:
                self._child.kill()
                self._child.wait()
        self._channel.close()
        self._log.close()

    def close(self) -> None:
        """Ends the child and gives back what was loaded; what is attached stays."""
        if self._child.poll() is None:
            self._child.kill()
        self._end()
        for one in self.maps.values():
            one.close()
        for fd in self.programs.values():
            os.close(fd)
        self.maps, self.programs = {}, {}


def begin() -> Loading:
    """Starts to load the base layer of this machine; `load.Capture` takes it. Raises HostError."""
    path = OBJECTS / f"base.{platform.machine()}.bpf.o"
    if not path.exists():
        raise HostError(f"{path} is missing.", "build it: `make setup`.")
    return Loading(path)
