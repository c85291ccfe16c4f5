# SPDX-License-Identifier: Apache-2.0
"""A process that goes by its number and its start, so that no other is taken for it, and who lives in a namespace."""

from __future__ import annotations

import os
import signal
from dataclasses import dataclass
from pathlib import Path
from typing import Final

NAMESPACES: Final = ("mnt", "net", "uts")
_DEAD: Final = ("Z", "X")


@dataclass(frozen=True)
class Process:
    """`started`: clock ticks after the start of the machine (proc(5), /proc/PID/stat, field 22)."""

    pid: int
    started: int

    @classmethod
    def of(cls, pid: int) -> Process:
        """Raises ProcessLookupError."""
        return cls(pid, int(_stat(pid)[19]))

    def alive(self) -> bool:
        """Whether it runs; one that nobody waited for yet does not."""
        try:
            stat = _stat(self.pid)
        except ProcessLookupError:
            return False
        return int(stat[19]) == self.started and stat[0] not in _DEAD

    def kill(self, how: signal.Signals = signal.SIGKILL) -> None:
        """Sends a signal to it and to no other; nothing when it has ended."""
        try:
            reference = os.pidfd_open(self.pid)
        except ProcessLookupError:
            return
        try:
            if self.alive():
                signal.pidfd_send_signal(reference, how)
        except ProcessLookupError:
            return
        finally:
            os.close(reference)

    def namespaces(self) -> dict[str, str]:
        """Of each kind its identity, such as net:[4026531840]. Raises OSError when it has ended."""
        return {kind: os.readlink(f"/proc/{self.pid}/ns/{kind}") for kind in NAMESPACES}


def everybody() -> list[Process]:
    found = []
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                found.append(Process.of(int(entry)))
            except ProcessLookupError:
                continue
    return found


def inhabitants(namespaces: dict[str, str]) -> list[Process]:
    """The processes that are in one of `namespaces`. Never this process's own: those are left out of the search."""
    own = Process.of(os.getpid()).namespaces()
    wanted = {kind: identity for kind, identity in namespaces.items() if identity != own[kind]}
    found = []
    for process in everybody():
        for kind, identity in wanted.items():
            try:
                if os.readlink(f"/proc/{process.pid}/ns/{kind}") == identity:
                    found.append(process)
                    break
            except OSError:  # ended, or closed to us as to everybody
                break
    return found


def _stat(pid: int) -> list[str]:
    """The fields of /proc/PID/stat from the state, field 3, on. Raises ProcessLookupError."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        raise ProcessLookupError(pid) from None
    return text.rpartition(")")[2].split()
