# SPDX-License-Identifier: Apache-2.0
"""The agent's own programs are loaded and attached, and a real program and a real call must be told by them.

Invariant: everything is detached and closed again, whatever happens; nothing is tried that another check has ruled out.
"""

from __future__ import annotations

import os
import select
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from ..events.record import KIND_EXEC, KIND_SYSCALL
from ..kernel.host import HostError
from .finding import Check, cannot, fine

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from ..events.record import Header
    from ..kernel.load import Capture
    from .finding import Finding, Question

DEADLINE_S: Final = 5.0
_CALL: Final = "getppid"  # seldom made, so that little is told but ours
_SLICE_MS: Final = 100
_LOAD_S: Final = 75.0  # the loader has a limit of its own, 60 s


def _hooks(question: Question) -> Iterator[Finding]:
    from ..kernel.load import PROGRAMS, Capture
    from ..kernel.pushdown import everything

    if question.forbidden:
        yield cannot("hooks", f"not tried, because of: {', '.join(question.forbidden)}", "see above")
        return
    began = time.monotonic()
    try:
        capture = Capture()
    except HostError as error:
        yield cannot("hooks", error.message, error.remedy)
        return
    with closing(capture):
        capture.want([_CALL], state=False)
        capture.filter(everything())
        loaded = time.monotonic()
        try:
            capture.attach()
        except HostError as error:
            yield cannot("hooks", error.message, error.remedy)
            return
        attached = time.monotonic()
        yield fine("hooks", f"{len(PROGRAMS)} programs loaded in {loaded - began:.2f} s, attached in "
                   f"{(attached - loaded) * 1000:.0f} ms")  # fmt: skip
        yield _told(capture)


def _told(capture: Capture) -> Finding:
    """Runs a program and makes a call, and waits for the records of both."""
    started: list[int] = []

    def run() -> None:
        started.append(_child())

    exec_ms = _waits(run, capture.life_fd, capture.life.drain, lambda one: one.kind == KIND_EXEC
                     and bool({one.pid, one.vpid} & set(started)))  # fmt: skip
    call_ms = _waits(lambda: [os.getppid()], capture.events_fd, capture.events.drain, lambda one: one.kind
                     == KIND_SYSCALL and os.getpid() in (one.pid, one.vpid))  # fmt: skip
    late = [what for what, took in (("a program's start", exec_ms), (f"{_CALL}(2)", call_ms)) if took is None]
    if late:
        return cannot(
            "test event",
            f"{' and '.join(late)} was not told within {DEADLINE_S:g} s, although the hooks are attached",
            "see `dmesg`; a kernel without CONFIG_BPF_EVENTS, or one that is overloaded, can be the cause",
        )
    return fine("test event", f"a program's start was told after {_ms(exec_ms)}, a system call after {_ms(call_ms)}")


def _ms(took: float | None) -> str:
    return f"{max(took or 0, 0.01):.2g} ms"


def _child() -> int:
    """Runs a program that does nothing; gives its pid."""
    command = next(([path] for path in ("/bin/true", "/usr/bin/true") if Path(path).exists()),
                   [sys.executable, "-I", "-S", "-c", ""])  # fmt: skip
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL) as child:
        try:
            child.wait(DEADLINE_S)
        except subprocess.TimeoutExpired:
            child.kill()
    return child.pid


def _waits(
    act: Callable[[], object],
    ring: int,
    drain: Callable[[], list[Any]],
    ours: Callable[[Header], bool],
) -> float | None:
    """Milliseconds from `act` to its record in hand; None when it does not come."""
    poll = select.epoll()
    poll.register(ring, select.EPOLLIN)
    with closing(poll):
        drain()
        began = time.monotonic()
        act()
        while time.monotonic() - began < DEADLINE_S:
            if any(ours(header) for header, _ in drain()):
                return (time.monotonic() - began) * 1000
            poll.poll(_SLICE_MS / 1000)
    return None


def _optional(_question: Question) -> Iterator[Finding]:
    there = {
        "kprobes": os.path.exists("/sys/bus/event_source/devices/kprobe"),
        "fentry (ftrace)": os.path.exists("/proc/sys/kernel/ftrace_enabled"),
        "BPF LSM": _has_lsm(),
    }
    groups = {"here": True, "not here": False, "not known": None}
    facts = [
        f"{word}: {', '.join(names)}"
        for word, state in groups.items()
        if (names := [name for name, found in there.items() if found is state])
    ]
    yield fine("other hooks", f"none is needed; {'; '.join(facts)}")


def _has_lsm() -> bool | None:
    """None where the list of security modules cannot be read."""
    try:
        return "bpf" in Path("/sys/kernel/security/lsm").read_text().strip().split(",")
    except OSError:
        return None


CHECKS: Final = (Check("hooks", _hooks, _LOAD_S), Check("other hooks", _optional))
