# SPDX-License-Identifier: Apache-2.0
"""Programs that a benchmark starts, and an agent among them. Invariant: whatever ends the benchmark, `end` ends them
all, each by the process group that it was given.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import re
import select
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .observed import MARK

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import TracebackType

SOURCES = Path(__file__).resolve().parent.parent
START_S = 60
STOP_S = 20
LONGEST_S = 900  # an agent that nobody ended ends itself
_SETTLE_S = 3.0
_STEP_S = 0.05
_BUSY_S = 0.01  # of a step: the agent still has something to do


class Children:
    """Started programs; a context that ends them."""

    def __init__(self) -> None:
        self._running: list[subprocess.Popen[bytes]] = []
        self._lock = threading.Lock()  # compilers are started by several threads

    def start(self, command: Sequence[str], **options: Any) -> subprocess.Popen[bytes]:
        options = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, **options}
        with self._lock:
            child: subprocess.Popen[bytes] = subprocess.Popen(command, start_new_session=True, **options)
            self._running = [one for one in self._running if one.poll() is None]
            self._running.append(child)
        return child

    def run(self, command: Sequence[str], timeout_s: float = 120, **options: Any) -> bytes:
        """Its output. Raises CalledProcessError, TimeoutExpired."""
        child = self.start(command, stdout=subprocess.PIPE, **options)
        try:
            said, _ = child.communicate(timeout=timeout_s)
        finally:
            self.stop(child)
        if child.returncode:
            raise subprocess.CalledProcessError(child.returncode, list(command))
        return said

    def stop(self, child: subprocess.Popen[bytes], number: int = signal.SIGKILL) -> None:
        if child.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(child.pid, number)
            try:
                child.wait(STOP_S)
            except subprocess.TimeoutExpired:
                os.killpg(child.pid, signal.SIGKILL)
                child.wait()

    def end(self) -> None:
        for child in self._running:
            self.stop(child, signal.SIGTERM)  # a server ends its workers

    def __enter__(self) -> Children:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: object, trace: TracebackType | None) -> None:
        before = {number: signal.signal(number, signal.SIG_IGN) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            self.end()
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


def cpu_clock(pid: int) -> int:
    """The clock of what a process used of all CPUs, user and system (clock_getcpuclockid(3))."""
    clock = ctypes.c_int()
    failed = ctypes.CDLL(None).clock_getcpuclockid(pid, ctypes.byref(clock))
    if failed:
        raise ProcessLookupError(failed, os.strerror(failed))
    return clock.value


class Agent:
    """An agent that captures, its alerts thrown away or given to `stdout`. A context that ends it."""

    def __init__(
        self, children: Children, options: Sequence[str], scratch: Path, *, stdout: int = subprocess.DEVNULL
    ) -> None:
        config = scratch / "empty.yaml"  # not that of the machine
        config.write_text("{}\n")
        self._children = children
        self._changed = threading.Condition()
        self._lines: list[str] = []
        self._started = False
        self._counters: dict[str, int] | None = None
        began = time.monotonic()
        self.process = children.start(
            [sys.executable, "-m", "benchmarks.observed", "-c", str(config), "-M", str(LONGEST_S), *options],
            cwd=SOURCES,
            stdout=stdout,
            stderr=subprocess.PIPE,
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        with self._changed:
            self._changed.wait_for(lambda: self._started or not self._reader.is_alive(), START_S)
        self.start_s = time.monotonic() - began
        if not self._started:
            children.stop(self.process)
            raise RuntimeError("the agent did not start:\n" + "".join(self._lines[-20:]))
        self.pid = self.process.pid
        self._clock = cpu_clock(self.pid)
        self.settle()

    def _read(self) -> None:
        assert self.process.stderr is not None
        for raw in self.process.stderr:
            line = raw.decode("utf-8", "replace")
            with self._changed:
                if line.startswith(MARK):
                    self._counters = json.loads(line[len(MARK) :])
                else:
                    self._lines.append(line)
                self._started = self._started or "Capture started" in line
                self._changed.notify_all()

    def cpu_s(self) -> float:
        return time.clock_gettime(self._clock)

    def settle(self) -> None:
        """Until it has done what it was given, as its use of CPU shows."""
        ends = time.monotonic() + _SETTLE_S
        used = self.cpu_s()
        while time.monotonic() < ends:
            time.sleep(_STEP_S)
            before, used = used, self.cpu_s()
            if used - before < _BUSY_S:
                return

    def counters(self) -> dict[str, int]:
        """records (read by Python), tested, sent (by the kernel), dropped, shed."""
        with self._changed:
            self._counters = None
            os.kill(self.pid, signal.SIGUSR2)
            if not self._changed.wait_for(lambda: self._counters is not None, STOP_S):
                raise RuntimeError("the agent did not tell its counters:\n" + "".join(self._lines[-20:]))
            assert self._counters is not None
            return self._counters

    def forget_peak(self) -> None:
        """The peak of memory counts from now on (proc_pid_clear_refs(5))."""
        Path(f"/proc/{self.pid}/clear_refs").write_text("5")

    def memory_mb(self, key: str) -> float:
        """`key`: VmHWM, the peak, or VmRSS."""
        found = re.search(rf"{key}:\s+(\d+) kB", Path(f"/proc/{self.pid}/status").read_text())
        return int(found[1]) / 1024 if found else 0.0

    def maps_mb(self) -> float:
        """What the kernel holds for its maps (memlock of /proc/PID/fdinfo)."""
        found = 0
        for entry in Path(f"/proc/{self.pid}/fdinfo").iterdir():
            text = entry.read_text()
            if "map_type:" in text:
                found += sum(int(number) for number in re.findall(r"^memlock:\s*(\d+)", text, re.MULTILINE))
        return found / (1 << 20)

    def stop(self) -> str:
        """What it wrote to stderr."""
        self._children.stop(self.process, signal.SIGINT)
        self._reader.join(timeout=STOP_S)
        return "".join(self._lines)

    def __enter__(self) -> Agent:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: object, trace: TracebackType | None) -> None:
        self.stop()


class Lines:
    """A pipe whose lines are time-stamped as they come: (CLOCK_MONOTONIC ns, line)."""

    def __init__(self) -> None:
        self._end, self.write_end = os.pipe()
        self.lines: list[tuple[int, bytes]] = []
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._read, daemon=True)

    def start(self) -> None:
        """After the writer was started: the end that it has is closed here."""
        os.close(self.write_end)
        self._thread.start()

    def _read(self) -> None:
        rest = b""
        while not self._over.is_set():
            if not select.select([self._end], [], [], 0.2)[0]:
                continue
            block = os.read(self._end, 1 << 16)
            now = time.monotonic_ns()
            if not block:
                break
            *whole, rest = (rest + block).split(b"\n")
            self.lines += [(now, line) for line in whole]

    def close(self) -> None:
        self._over.set()
        self._thread.join()
        os.close(self._end)
